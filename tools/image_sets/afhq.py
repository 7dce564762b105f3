"""AFHQ."""

import dataclasses
import functools
from pathlib import Path

from tools.image_sets.files import Item, Listing, Published, files_of, wrong


@dataclasses.dataclass(frozen=True)
class AFHQ(Published):
    """AFHQ, 512 x 512 (Choi et al. 2020): version 1 with `train` and `val`, version 2 with `train`
    and `test`; cats, dogs and wild animals.

    Attributes:
      size: see `Published`.
    """

    size: int = 512
    splits = {"train": "train", "val": "test", "test": "test"}
    classes = ("cat", "dog", "wild")
    expected = "train/cat, train/dog, train/wild, and the same in val or test, in a folder or a zip"

    def listing(self, source: Path) -> Listing:
        files = files_of(source)
        inner = "|".join(self.classes)
        found = files.matching(rf"(train|val|test)/({inner})/([^/]+)\.(?:jpg|png)")
        there = {(self.splits[match[1]], match[2]) for _, match in found}
        missing = [
            f"{split}/{name}"
            for split in ("train", "test")
            for name in self.classes
            if (split, name) not in there
        ]
        if not any(split in {"train"} for split, _ in there):
            raise wrong(source, files.names, self.expected)
        items = [
            Item(self.splits[m[1]], m[2], m[3], functools.partial(files.read, name))
            for name, m in found
        ]
        return Listing(items, len(items), missing)
