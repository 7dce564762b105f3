"""Results of a long evaluation, example by example, kept as they come.

    <folder>/identity.json          what the results depend on
    <folder>/00000128-00000256.npz  arrays of examples 128 to 255, one row an example

An evaluation that is cut off computes what no file has, and gives what an uninterrupted one gives,
since a result may depend on its example's index but not on its batch. Several hosts that see one
disk have a part of the examples each (`Share`), which follows from their numbers alone: nothing is
agreed on while they run, none is computed twice or lost, and there may be more or fewer hosts, or
devices, when an evaluation goes on.
"""

import hashlib
import json
import logging
import os
import re
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from options.errors import StorageError
from options.progress import Bar, progress_bar
from storage import json_text, npz
from storage.files import atomic_write

logger = logging.getLogger(__name__)
# Arrays with a leading axis over examples.
Rows = dict[str, Any]
# What at most is lost when a process is killed; what is interrupted loses nothing.
WRITE_SECONDS = 5.0
LOOK_SECONDS = 2.0  # between two looks at what other hosts have done
Range = tuple[int, int]  # from, to (not included)
File = tuple[int, int, Path]  # with the rows of a range
NAME = re.compile(r"\d+-\d+\.npz")


def fingerprint(arrays: Iterable[Any]) -> str:
    """A checksum of arrays, for an identity."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
    return f"{crc:08x}"


class Share(NamedTuple):
    """The part of one host: number `host` of `of`."""

    host: int = 0
    of: int = 1

    def part(self, count: int) -> Range:
        """Which of `count` examples; the parts of all hosts are equal to within one."""
        return self.host * count // self.of, (self.host + 1) * count // self.of


ALONE = Share()


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
        """How many of the first examples have rows, without a gap."""
        self._drop_damaged(0, None)
        return self._reached(0)

    def gaps(self, start: int, stop: int) -> list[Range]:
        """Which of the examples from `start` to `stop` have no rows. Files of some of them that are
        damaged are removed, to be computed again."""
        self._drop_damaged(start, stop)
        files, found, at = self._files(), [], start
        while (at := _end(_chain(files, at), at)) < stop:
            to = min([first for first, _, _ in files if first > at] + [stop])
            found.append((at, min(to, stop)))
            at = to
        return found

    def keep(self, start: int, rows: Rows) -> None:
        """Keep the rows of examples from `start` on, written whole or not at all."""
        stop = start + len(next(iter(rows.values())))
        with atomic_write(self.folder / f"{start:08d}-{stop:08d}.npz") as file:
            np.savez_compressed(file, **rows)

    def read(self, count: int) -> Rows:
        """Rows of the first `count` examples, as far as there are any without a gap."""
        parts, at = [], 0
        for start, stop, path in _chain(self._files(), 0):
            if at < count:
                parts.append({name: rows[at - start :] for name, rows in npz.read(path).items()})
                at = stop
        return {name: rows[:count] for name, rows in _joined(parts).items()} if parts else {}

    def has(self, count: int) -> bool:
        """Whether the first `count` examples have rows, by the names of files alone."""
        return self._reached(0) >= count

    def _reached(self, at: int) -> int:
        return _end(_chain(self._files(), at), at)

    def _drop_damaged(self, start: int, stop: int | None) -> None:
        for first, last, path in self._files():
            if last <= start or (stop is not None and first >= stop):
                continue
            try:
                counts = {len(rows) for rows in npz.read(path).values()}
                if counts != {last - first}:
                    raise ValueError(f"{sorted(counts)} rows in place of {last - first}")
            except npz.UNREADABLE as error:
                logger.warning("%s is damaged (%s); its rows are computed again", path, error)
                path.unlink()

    def _files(self) -> list[File]:
        """All files, by where they begin."""
        with os.scandir(self.folder) as entries:
            paths = [Path(entry.path) for entry in entries if entry.is_file()]
        found = []
        for path in paths:
            if NAME.fullmatch(path.name):
                start, stop = (int(part) for part in path.stem.split("-"))
                found.append((start, stop, path))
        return sorted(found)


def _chain(files: list[File], at: int) -> list[File]:
    """Files that continue one another from example `at` on. They may overlap: evaluations at once,
    and hosts whose number has changed, cut at other places. Of those that continue a chain the one
    that goes furthest is taken, so that the chain is as long as it can be."""
    chain: list[File] = []
    best, rest = None, iter([*files, None])
    file = next(rest)
    while True:
        while file is not None and file[0] <= at:
            best = file if best is None or file[1] > best[1] else best
            file = next(rest)
        if best is None or best[1] <= at:
            return chain
        chain.append(best)
        at = best[1]


def _end(chain: list[File], at: int) -> int:
    return chain[-1][1] if chain else at


def fill(
    store: Resumable,
    count: int,
    batch_size: int | Callable[[int], int],
    compute: Callable[[np.ndarray], Rows],
    description: str,
    progress: bool = True,
    share: Share = ALONE,
) -> Rows:
    """Rows of examples 0 .. count - 1, computing those that the store lacks.

    batch_size: of the examples that are computed at once, or what says so for a number of them; it
        is only asked where rows lack.
    compute: from consecutive indices, batch_size of them or `count` if that is less, to their
        rows. Beyond the end of the set the last index is repeated, so that one program serves all
        batches; those rows are dropped.
    share: of this host, which computes its part and waits for the others.
    """
    start, stop = share.part(count)
    gaps = store.gaps(start, stop)
    if callable(batch_size):
        batch_size = batch_size(stop - start) if gaps else 1
    size = min(batch_size, count)
    lacking = sum(last - first for first, last in gaps)
    bar = progress_bar(
        desc=description,
        total=stop - start,
        initial=stop - start - lacking,
        unit="image",
        disable=not progress,
    )
    bar.doing("first batch, and compiling")
    with bar:
        for gap in gaps:
            _fill_gap(store, gap, size, count, compute, bar)
        while share.of > 1 and not store.has(count):
            bar.doing("waiting for other hosts")
            time.sleep(LOOK_SECONDS)
    found = store.read(count)
    if (kept := len(next(iter(found.values()), ()))) != count:
        but = f"{store.folder} has the rows of {kept} of {count} examples: were some removed?"
        raise StorageError("eval", but=but)
    return found


def _fill_gap(
    store: Resumable,
    gap: Range,
    size: int,
    count: int,
    compute: Callable[[np.ndarray], Rows],
    bar: Bar,
) -> None:
    """Computes and keeps the rows of a gap, in files of WRITE_SECONDS each."""
    start, stop = gap
    pending: list[Rows] = []
    written, done = time.monotonic(), start
    try:
        while done < stop:
            wanted = min(size, stop - done)
            rows = compute(np.minimum(np.arange(done, done + size), count - 1))
            pending.append({name: np.asarray(row)[:wanted] for name, row in rows.items()})
            done += wanted
            bar.doing("")
            bar.update(wanted)
            if time.monotonic() > written + WRITE_SECONDS:
                store.keep(start, _joined(pending))
                pending, start, written = [], done, time.monotonic()
    finally:
        if pending:
            store.keep(start, _joined(pending))


def _joined(parts: list[Rows]) -> Rows:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
