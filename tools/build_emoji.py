"""Build the colour data set: emoji of five styles and nine classes, drawn at any size.

    make emoji                     (fetches what it needs, then draws 32 and 64 px)
    python -m tools.build_emoji --archives FOLDER --out runs/emoji --sizes 32,64

FOLDER holds the npm packages that --packages prints, as `npm pack` leaves them; `resvg_py` (PyPI)
draws their SVG. Each size becomes one file for `data.arrays`. The drawings are by

    noto, noto-v1      Google, Apache 2.0          fluent-emoji-flat   Microsoft, MIT
    twemoji            Twitter and jdecked, CC BY 4.0
    emojione           Emoji One 2.3, CC BY 4.0

Variants by skin tone are left out: they are near copies. An emoji's class is what most styles say.
A tenth of the emoji is the test split, with all genders and all styles that call it by one name.
Where a style has a name of its own (`flag-chile`, `flag-for-chile`), its drawing is another emoji:
57 of the 760 tested drawings at 32 px have a cousin of another style that is trained on.
"""

import argparse
import io
import json
import re
import tarfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from options.choices import require
from options.errors import InvalidValue, StorageError, UserError, Words
from options.program import one_line_errors
from options.progress import progress_bar
from storage.files import atomic_write

# Each style, and the version of its package that data/emoji.npz was made of.
STYLES = {
    "noto": "1.2.9",
    "noto-v1": "1.2.5",
    "twemoji": "1.2.5",
    "fluent-emoji-flat": "1.2.6",
    "emojione": "1.2.3",
}
# Categories as the packages spell them, and the class each is.
CLASSES = {
    "Activities": "activities",
    "Animals & Nature": "animals",
    "Flags": "flags",
    "Food & Drink": "food",
    "Objects": "objects",
    "People & Body": "people",
    "Smileys & Emotion": "smileys",
    "Symbols": "symbols",
    "Travel & Places": "travel",
}
CLASS_NAMES = tuple(sorted(CLASSES.values()))
SKIN_TONE = re.compile(r"-(medium-)?(light|medium|dark)$")  # as some spell it
GENDER = re.compile(r"\b(man|woman|men|women|person|people|male|female|boy|girl)\b-?")
NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
ONE_TESTED_IN = 10  # emoji


class Icon(NamedTuple):
    """A drawing: its style, the emoji's name, and SVG text."""

    style: str
    name: str
    svg: str


def read_package(archive: Path, style: str) -> tuple[list[Icon], dict[str, str]]:
    """The icons of an npm archive, and the class of each name that has one."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            icons, metadata = (_json(tar, f"package/{name}.json") for name in ("icons", "metadata"))
    except (OSError, EOFError, tarfile.TarError, zlib.error, KeyError, ValueError) as error:
        but = f"{archive} is not a whole npm package: {error}"
        raise StorageError("archives", but=but) from None
    found = []
    for name, icon in icons["icons"].items():
        plain = SKIN_TONE.sub("", name)
        if "skin-tone" in name or (plain != name and plain in icons["icons"]):
            continue
        box = [icon.get(k, icons.get(k, 0)) for k in ("left", "top")]
        box += [icon.get(k, icons.get(k, 16)) for k in ("width", "height")]
        view = " ".join(map(str, box))
        head = f'<svg {NAMESPACES} viewBox="{view}">'
        found.append(Icon(style, name, f"{head}{icon['body']}</svg>"))
    classes = {
        name: CLASSES[category]
        for category, names in metadata["categories"].items()
        if category in CLASSES
        for name in names
    }
    return found, classes


def _json(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    member = tar.extractfile(name)
    assert member is not None, f"{name} is not a file"
    return json.load(member)


def package(style: str) -> str:
    """A style's package, as `npm pack` takes it."""
    return f"@iconify-json/{style}@{STYLES[style]}"


def is_tested(name: str) -> bool:
    """Whether an emoji belongs to the test split: by its name without genders."""
    return zlib.crc32(GENDER.sub("", name).encode()) % ONE_TESTED_IN == 0


def collect(folder: Path) -> Iterator[tuple[Icon, int]]:
    """All icons with their labels, in a fixed order; those of no known class are left out."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    everything: list[Icon] = []
    for style, version in STYLES.items():
        archive = folder / f"iconify-json-{style}-{version}.tgz"
        if not archive.is_file():
            but = f"it lacks {archive.name}; `npm pack {package(style)}` leaves it"
            raise StorageError("archives", str(folder), but=but)
        icons, classes = read_package(archive, style)
        everything += icons
        for name, label in classes.items():
            votes[name][label] += 1
    for icon in sorted(everything, key=lambda icon: (icon.name, icon.style)):
        if icon.name in votes:
            label = votes[icon.name].most_common(1)[0][0]
            yield icon, CLASS_NAMES.index(label)


def draw(svg: str, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The image on white, antialiased, with an edge of a sixteenth of the size."""
    try:
        import resvg_py
    except ModuleNotFoundError as error:
        raise UserError("resvg_py", but=f"{error}; `make emoji` installs it") from None

    inner = size - 2 * (size // 16)
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=inner, height=inner))
    with Image.open(io.BytesIO(png)) as drawn:
        image = Image.new("RGBA", (size, size), "white")
        place = tuple((size - side) // 2 for side in drawn.size)
        image.alpha_composite(drawn.convert("RGBA"), place)
    return np.asarray(image.convert("RGB"))


def build(icons: Sequence[tuple[Icon, int]], size: int) -> dict[str, Any]:
    """The arrays of a data file, see `data.arrays`; empty and equal images are left out."""
    seen: set[bytes] = set()
    parts: dict[str, list[Any]] = defaultdict(list)
    for icon, label in progress_bar(icons, f"{size} px", unit="icon"):
        image = draw(icon.svg, size)
        if image.std() < 1 or image.tobytes() in seen:
            continue
        seen.add(image.tobytes())
        split = "test" if is_tested(icon.name) else "train"
        parts[f"{split}_images"].append(image)
        parts[f"{split}_labels"].append(label)
        parts[f"{split}_names"].append(f"{icon.style}/{icon.name}")
    arrays = {name: np.array(values) for name, values in parts.items()}
    for split in ("train", "test"):  # any leading part is then a random sample
        order = np.random.default_rng(0).permutation(len(arrays[f"{split}_labels"]))
        for what in ("images", "labels", "names"):
            arrays[f"{split}_{what}"] = arrays[f"{split}_{what}"][order]
        arrays[f"{split}_labels"] = arrays[f"{split}_labels"].astype(np.uint8)
    return arrays | {"class_names": np.array(CLASS_NAMES)}


def sizes_of(text: str) -> list[int]:
    """Sides in pixels, between commas."""
    sizes = text.split(",")
    usable = all(size.isdecimal() and int(size) >= 1 for size in sizes)
    require(usable, "sizes", text, "numbers of at least 1, as in '32,64'")
    return [int(size) for size in sizes]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archives", type=Path, help="folder of npm packages")
    parser.add_argument("--out", type=Path, default=Path("runs/emoji"))
    parser.add_argument("--sizes", default="32,64", help="sides in pixels, as 32,64")
    parser.add_argument("--packages", action="store_true", help="name the npm packages, and end")
    args = parser.parse_args()
    if args.packages:
        print(*map(package, STYLES))
        return
    with one_line_errors():
        draw_all(args)


def draw_all(args: argparse.Namespace) -> None:
    """Writes the file of every size, and prints how many of each class are in it."""
    sizes = sizes_of(args.sizes)
    if args.archives is None:
        raise InvalidValue("archives", Words("nothing"), "a folder of npm packages")
    icons = list(collect(args.archives))
    for size in sizes:
        arrays = build(icons, size)
        path = args.out / f"emoji_{size}.npz"
        with atomic_write(path) as file:
            np.savez_compressed(file, **arrays)
        for split in ("train", "test"):
            counts = np.bincount(arrays[f"{split}_labels"], minlength=len(CLASS_NAMES))
            listed = ", ".join(f"{n} {c}" for n, c in zip(CLASS_NAMES, counts, strict=True))
            print(f"{path}: {counts.sum()} {split}: {listed}")


if __name__ == "__main__":
    main()
