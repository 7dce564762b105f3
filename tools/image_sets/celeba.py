"""CelebA."""

import dataclasses
import functools
import re
from pathlib import Path

from data.image_file import RefusedImage
from options.choices import did_you_mean, listed, require
from tools.image_sets.files import (
    Cropped,
    Files,
    Item,
    Listing,
    Pixels,
    Published,
    Read,
    files_of,
    wrong,
)


@dataclasses.dataclass(frozen=True)
class CelebA(Published):
    """CelebA, aligned and cropped, 178 x 218 (Liu et al. 2015).

    The central 140 x 140 pixels, as Song et al. 2021 crop it for 64 pixels. Splits are those of
    `list_eval_partition`, classes are attributes.

    Attributes:
      size: see `Published`.
      attributes: between commas, of list_attr_celeba; a class for each combination; empty: none.
    """

    size: int = 64
    attributes: str = ""
    side = 140
    splits = ("train", "val", "test")
    expected = (
        "img_align_celeba (a folder or .zip) and list_eval_partition.txt, and for attributes "
        "list_attr_celeba.txt; or the .csv files of these names"
    )

    def listing(self, source: Path) -> Listing:
        files = files_of(source)
        tables = {
            name: _table(files.read(found[0][0]).decode())
            for name in ("list_eval_partition", "list_attr_celeba")
            if (found := files.matching(rf"{name}\.(?:txt|csv)"))
        }
        images = self._images(source, files)
        needed = ["list_eval_partition", *(["list_attr_celeba"] if self.attributes else [])]
        if not images or any(name not in tables for name in needed):
            raise wrong(source, files.names, self.expected)
        labels = self._labels(*tables["list_attr_celeba"]) if self.attributes else {}
        partition = tables["list_eval_partition"][1]
        items, missing = [], []
        for name, (number, *_) in partition.items():
            if name not in images or (labels and name not in labels):
                missing.append(name)
                continue
            split = self.splits[int(number)]
            items.append(Item(split, labels.get(name, ""), Path(name).stem, images[name]))
        if not items:
            raise wrong(source, files.names, self.expected)
        return Listing(items, len(items), missing)

    def _images(self, source: Path, files: Files) -> dict[str, Read]:
        """By name; of a zip beside the lists, where the images are in one."""
        archive = files.matching(r"img_align_celeba\.zip")
        if archive and source.is_dir():
            files = files_of(source / archive[0][0])
        found = files.matching(r"img_align_celeba/(\d{6}\.(?:jpg|png))")
        return {match[1]: functools.partial(files.read, name) for name, match in found}

    def _labels(self, names: list[str], rows: dict[str, list[str]]) -> dict[str, str]:
        wanted = [part.strip() for part in self.attributes.split(",")]
        for name in wanted:
            known = f"some of {listed(names, 50)}{did_you_mean(name, names)}"
            require(name in names, "attributes", name, known)
        columns = [names.index(name) for name in wanted]
        return {
            file: "+".join(
                name if int(values[column]) > 0 else f"no_{name}"
                for name, column in zip(wanted, columns, strict=True)
            )
            for file, values in rows.items()
        }

    def cropped(self, image: Pixels) -> Cropped:
        top, left = ((side - self.side) // 2 for side in image.shape[:2])
        if min(top, left) < 0:
            raise RefusedImage(f"{image.shape[1]} x {image.shape[0]}, less than {self.side}")
        return image[top : top + self.side, left : left + self.side]


def _table(text: str) -> tuple[list[str], dict[str, list[str]]]:
    """(names of the columns, values by file) of a list of CelebA's, or the same as CSV."""
    lines = text.splitlines()
    comma = "," if lines and "," in lines[0] else None
    rows = [[cell.strip() for cell in line.split(comma)] for line in lines if line.strip()]
    heads = [row for row in rows[:2] if not re.fullmatch(r"\d+\.\w+", row[0])]
    names = heads[-1] if heads else []
    return names[bool(comma) :], {row[0]: row[1:] for row in rows[len(heads) :]}
