"""LSUN."""

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from options.choices import did_you_mean_path, require
from options.errors import InvalidValue, Words
from options.project import extra
from tools.image_sets.files import Item, Listing, Published, wrong


@dataclasses.dataclass(frozen=True)
class LSUN(Published):
    """LSUN (Yu et al. 2015): LMDB databases of encoded images, one for each category and split,
    `church_outdoor_train_lmdb` and `church_outdoor_val_lmdb`.

    The shorter side is 256 or more; the middle is taken, as Song et al. 2021 do. Several categories
    are classes.

    Attributes:
      size: see `Published`.
    """

    size: int = 256
    splits = {"train": "train", "val": "test"}
    expected = "unpacked folders CATEGORY_train_lmdb and CATEGORY_val_lmdb, each with a data.mdb"

    def listing(self, source: Path) -> Listing:
        require(source.is_dir(), "source", str(source), f"a folder{did_you_mean_path(source)}")
        candidates = sorted({file.parent for file in source.rglob("data.mdb")})
        named = {path: re.fullmatch(r"(.+)_(train|val)_lmdb", path.name) for path in candidates}
        found = {path: match for path, match in named.items() if match}
        if not found:
            raise wrong(source, sorted(path.name for path in source.iterdir()), self.expected)
        categories = {match[1] for match in found.values()}
        databases = []
        for path, match in found.items():
            label = match[1] if len(categories) > 1 else ""
            databases.append((self.splits[match[2]], label, _opened(path)))
        splits = {split for split, _, _ in databases}
        missing = [f"a {name} database" for name in self.splits.values() if name not in splits]
        count = sum(database.stat()["entries"] for _, _, database in databases)
        return Listing(self._items(databases), count, missing)

    @staticmethod
    def _items(databases: Sequence[tuple[str, str, "Database"]]) -> Iterator[Item]:
        several = len({split for split, _, _ in databases}) > 1
        for split, label, database in databases:
            with database.begin() as transaction:
                for key in transaction.cursor().iternext(values=False):
                    read = functools.partial(_read, database, bytes(key))
                    name = re.sub(r"[^\w.-]", "_", bytes(key).decode("ascii", "replace"))
                    yield Item(split if several else "", label, name, read)


@runtime_checkable
class Database(Protocol):
    """What is used of `lmdb.Environment`."""

    def stat(self) -> Any: ...

    def begin(self): ...


def _opened(path: Path) -> Database:
    with extra("lsun"):
        import lmdb
    try:
        return lmdb.open(str(path), readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        got = Words(f"{path}, which cannot be opened: {error}")
        raise InvalidValue("source", got, "a whole database") from error


def _read(database: Database, key: bytes) -> bytes:
    with database.begin() as transaction:
        return bytes(transaction.get(key))
