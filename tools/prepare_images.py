"""Prepares published sets of images, from the files that you have, as folders to train on.

    python -m tools.prepare_images celeba --source ~/celeba --out ~/data/celeba64
    python -m tools.prepare_images celeba --source ~/celeba --out ~/data/smiles --attributes Smiling
    python -m tools.prepare_images celebahq --source celeba_hq.zip --out ~/data/celebahq256
    python -m tools.prepare_images ffhq --source ~/images1024x1024 --out ~/data/ffhq256
    python -m tools.prepare_images afhq --source ~/afhq --out ~/data/afhq512
    python -m tools.prepare_images lsun --source ~/church --out ~/data/church256

Writes PNG files that `data.source=folder` reads, OUT/train/CLASS/NAME.png, where the set has
splits and classes. docs/data.md says which files each set is published in. Images that are damaged
or missing are counted and named. The folder is there when all of it is; what is cut off goes on
when the command is given again. CIFAR-10 has a program of its own, tools.prepare_cifar10.
"""

import argparse
import dataclasses
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from data.image_file import RefusedImage
from data.transforms import FILTERS, resize
from options.choices import choose, listed, require
from options.errors import InvalidValue, StorageError, Words
from options.program import one_line_errors
from options.progress import progress_bar
from storage import json_text
from storage.pictures import write_png
from storage.workdir import require_writable
from tools.image_sets import SETS
from tools.image_sets.files import Item, Published

AT_ONCE = 256  # images that are under way
NAMES = 10  # that are printed
REPORT, SETTINGS = ".prepared.json", ".settings.json"  # hidden, so that they are no data
Made = tuple[Item, str | None]  # and why it was refused


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What became of a set.

    Attributes:
      images: how many there are, by split and class.
      damaged: why each was left out, by name. missing: names of what the set has beside them.
    """

    images: dict[str, int]
    damaged: dict[str, str]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{name or 'images'}: {count:,}" for name, count in sorted(self.images.items())]
        lines = [", ".join(parts)]
        for what, names in (("damaged", list(self.damaged)), ("missing", list(self.missing))):
            if names:
                lines.append(f"{len(names):,} {what}: {listed(names, NAMES)}")
        return "\n".join(lines)


def prepare(published: Published, source: Path, out: Path, by: str = "bilinear") -> Prepared:
    """Writes all images of a set that lies in `source` into `out`, which is new.

    by: how images are resized, see `data.transforms.FILTERS`.
    """
    choose(FILTERS, by, "resize")
    require(published.size >= 0, "size", published.size, "0 or more")
    require(not out.exists(), "out", str(out), "a folder that is not there yet")
    listing = published.listing(source)
    unfinished = out.with_name(f".{out.name}.unfinished")
    _claim(unfinished, {"set": repr(published), "source": str(source.resolve()), "resize": by})
    images: dict[str, int] = {}
    damaged: dict[str, str] = {}

    def made(item: Item) -> Made:
        return item, _write(published, item, unfinished, by)

    with progress_bar(desc="preparing", total=listing.total, unit="image") as bar:
        for item, refusal in _each(made, listing.items):
            bar.update()
            place = "/".join(filter(None, (item.split, item.label)))
            if refusal is None:
                images[place] = images.get(place, 0) + 1
            else:
                damaged["/".join(filter(None, (place, item.name)))] = refusal
    if not images:
        got = Words(f"{source}, of which no image can be read: {next(iter(damaged.values()))}")
        raise InvalidValue("source", got, "images")
    found = Prepared(images, damaged, tuple(listing.missing))
    json_text.write(unfinished / REPORT, dataclasses.asdict(found))
    (unfinished / SETTINGS).unlink()
    os.replace(unfinished, out)
    return found


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Begins a folder, or goes on with one of the same settings; else InvalidValue."""
    path = folder / SETTINGS
    require_writable(folder)
    mine = json_text.plain(settings)
    if path.exists():
        theirs = _read(path)
        expected = f"the command that began it, or to remove {folder}"
        require(theirs == mine, "out", Words(f"{folder}, begun otherwise: {theirs}"), expected)
    json_text.write(path, mine)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise StorageError("out", but=f"{path} is damaged: {error}; remove it") from None


def _each(function: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """The function of each item, in their order, in several threads, a few at a time."""
    rest = iter(items)
    with ThreadPoolExecutor() as pool:
        while some := list(itertools.islice(rest, AT_ONCE)):
            yield from pool.map(function, some)


def _write(published: Published, item: Item, folder: Path, by: str) -> str | None:
    """Writes one image if it is not there; why not, where it is refused."""
    target = folder / item.split / item.label / f"{item.name}.png"
    if target.is_file():
        return None
    try:
        content = item.read()
    except Exception as error:  # of a zip or a database, whose damage has no one class
        return f"{type(error).__name__}: {error}"
    try:
        image = published.cropped(published.pixels(content))
    except RefusedImage as error:
        return str(error)
    if published.size:
        image = resize(image, published.size, by=by)
    write_png(target, image)
    return None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help=f"one of {', '.join(SETS)}")
    parser.add_argument("--source", type=Path, required=True, help="folder or zip, as published")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, a new one")
    parser.add_argument("--size", type=int, help="of the squares; 0: as they are")
    parser.add_argument("--resize", default="bilinear", help=f"one of {', '.join(FILTERS)}")
    parser.add_argument("--attributes", help="of celeba: names between commas, which are classes")
    args = parser.parse_args()
    with one_line_errors():
        made = choose(SETS, args.name, "name")
        given = {"size": args.size, "attributes": args.attributes}
        given = {name: value for name, value in given.items() if value is not None}
        known = {field.name for field in dataclasses.fields(made)}  # type: ignore[arg-type]
        for name in given.keys() - known:
            raise InvalidValue(name, given[name], but=f"{args.name} has none")
        out = args.out.expanduser()
        print(prepare(made(**given), args.source.expanduser(), out, args.resize))
        print(out)


if __name__ == "__main__":
    main()
