"""Results of a long evaluation, example by example, kept as they come.

    <folder>/identity.json          what the results depend on
    <folder>/00000128-00000256.npz  arrays of examples 128 to 255, one row an example

An evaluation that is cut off goes on behind the last file, and gives what an uninterrupted one
gives, since a result may depend on its example's index but not on its batch.
"""

import hashlib
import json
import logging
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from options.errors import StorageError
from options.progress import progress_bar
from storage import json_text, npz
from storage.files import atomic_write

logger = logging.getLogger(__name__)
# Arrays with a leading axis over examples.
Rows = dict[str, Any]
# What at most is lost when a process is killed; what is interrupted loses nothing.
WRITE_SECONDS = 5.0


def fingerprint(arrays: Iterable[Any]) -> str:
    """A checksum of arrays, for an identity."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
    return f"{crc:08x}"


class Resumable:
    """Rows of examples 0, 1, ..., under `parent`, in a folder of their own for each identity.

    identity: JSON-able; everything that the rows depend on. Another identity never sees them.
    """

    def __init__(self, parent: Path, name: str, identity: Mapping[str, Any]) -> None:
        text = json.dumps(json_text.plain(identity), sort_keys=True, indent=2)
        self.folder = parent / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "identity.json").exists():
            with atomic_write(self.folder / "identity.json", "w") as file:
                file.write(f"{text}\n")

    @property
    def done(self) -> int:
        """How many examples have rows. Files that are damaged are removed, to be computed again."""
        for start, stop, path in self._files():
            try:
                counts = {len(rows) for rows in npz.read(path).values()}
                if counts != {stop - start}:
                    raise ValueError(f"{sorted(counts)} rows in place of {stop - start}")
            except npz.UNREADABLE as error:
                logger.warning("%s is damaged (%s); its rows are computed again", path, error)
                path.unlink()
        files = self._files()
        return files[-1][1] if files else 0

    def keep(self, start: int, rows: Rows) -> None:
        """Keep the rows of examples from `start` on, written whole or not at all."""
        stop = start + len(next(iter(rows.values())))
        with atomic_write(self.folder / f"{start:08d}-{stop:08d}.npz") as file:
            np.savez_compressed(file, **rows)

    def read(self, count: int) -> Rows:
        """Rows of the first `count` examples."""
        parts = []
        for start, _, path in self._files():
            if start < count:
                parts.append(npz.read(path))
        return {name: rows[:count] for name, rows in _joined(parts).items()} if parts else {}

    def _files(self) -> list[tuple[int, int, Path]]:
        """The longest chain of files that continue one another from example 0, as (start, stop,
        path). Two evaluations at once leave several chains, each cut elsewhere."""
        chains: dict[int, list[tuple[int, int, Path]]] = {}  # the longest, by where it begins
        files = (path for path in self.folder.glob("[0-9]*-[0-9]*.npz") if path.is_file())
        for path in sorted(files, reverse=True):
            start, stop = (int(part) for part in path.stem.split("-"))
            chain = [(start, stop, path), *chains.get(stop, [])]
            if start not in chains or chain[-1][1] > chains[start][-1][1]:
                chains[start] = chain
        return chains.get(0, [])


def fill(
    store: Resumable,
    count: int,
    batch_size: int | Callable[[int], int],
    compute: Callable[[np.ndarray], Rows],
    description: str,
    progress: bool = True,
) -> Rows:
    """Rows of examples 0 .. count - 1, computing those that the store lacks.

    batch_size: of the examples that are computed at once, or what says so for `count` of them; it
        is only asked where rows lack.
    compute: from consecutive indices, batch_size of them or `count` if that is less, to their
        rows. Beyond the end of the set the last index is repeated, so that one program serves all
        batches; those rows are dropped.
    """
    pending: list[Rows] = []
    written = time.monotonic()
    start = done = min(store.done, count)
    if callable(batch_size):
        batch_size = batch_size(count) if done < count else 1
    batch_size = min(batch_size, count)
    bar = progress_bar(
        desc=description, total=count, initial=done, unit="image", disable=not progress
    )
    bar.doing("first batch, and compiling")
    try:
        while done < count:
            wanted = min(batch_size, count - done)
            rows = compute(np.minimum(np.arange(done, done + batch_size), count - 1))
            pending.append({name: np.asarray(row)[:wanted] for name, row in rows.items()})
            done += wanted
            bar.doing("")
            bar.update(wanted)
            if time.monotonic() > written + WRITE_SECONDS:
                store.keep(start, _joined(pending))
                pending, start, written = [], done, time.monotonic()
    finally:
        bar.close()
        if pending:
            store.keep(start, _joined(pending))
    found = store.read(count)
    if (kept := len(next(iter(found.values()), ()))) != count:
        but = f"{store.folder} has the rows of {kept} of {count} examples: were some removed?"
        raise StorageError("eval", but=but)
    return found


def _joined(parts: list[Rows]) -> Rows:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
