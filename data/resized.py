"""Images at the size of the states, kept on disk: large files are decoded once, not every epoch.

    <folder>/<hash>.images   one row of grey levels an image
    <folder>/<hash>.sums     the checksum of each row, 0 for one that is not there yet

The hash is of the files (names, times, sizes) and of what is done to them. A row is believed if its
checksum is right, so that whatever cuts a writer off, and several writers at once, do no harm.
"""

import hashlib
import logging
import shutil
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int32

from data.source import Record, Records, Source
from data.transforms import Transform, height_width

logger = logging.getLogger(__name__)
SHARE = 0.25  # of the free disk that the rows of one source may take


class Resized(Source):
    """A source of 8-bit images of any size, resized by a transform that crops none at random.

    folder: where rows are kept.
    """

    def __init__(self, source: Source, transform: Transform, folder: Path) -> None:
        assert transform.image_size is not None
        self.source, self.transform = source, transform.for_evaluation()
        self.name, self.class_names, self.remark = source.name, source.class_names, source.remark
        self.shape = (*height_width(transform.image_size), source.channels)
        self.unsplit = source.unsplit
        made_of = repr((source.checksum(), self.shape, transform.crop, transform.resize))
        place = folder / hashlib.sha256(made_of.encode()).hexdigest()[:16]
        place.parent.mkdir(parents=True, exist_ok=True)
        count, size = len(source), int(np.prod(self.shape))
        self._rows = _opened(place.with_suffix(".images"), np.uint8, (count, size))
        self._sums = _opened(place.with_suffix(".sums"), np.uint32, (count,))

    def key(self, index: int) -> str:
        return self.source.key(index)

    def each_label(self) -> Int32[np.ndarray, "n"]:
        return self.source.each_label()

    def checksum(self) -> str:
        return self.source.checksum()

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Record:
        row = np.array(self._rows[index])
        if not self._sums[index] or _sum(row) != self._sums[index]:
            record = self.source[index]
            row = np.ascontiguousarray(self.transform.resized(record["image"])).reshape(-1)
            self._rows[index] = row
            self._sums[index] = _sum(row)
        label = int(self.each_label()[index])
        return Record(image=row.reshape(self.shape), label=label)

    def take(self, indices: Int[np.ndarray, "b"]) -> Records:
        """As `Source.take`, in one array."""
        found = [self[int(i)] for i in indices]
        labels = np.array([record["label"] for record in found], np.int32)
        return Records(image=np.stack([record["image"] for record in found]), label=labels)


def fits(source: Source, transform: Transform, folder: Path) -> bool:
    """Whether there is disk enough to keep the images of a source resized."""
    assert transform.image_size is not None
    needed = len(source) * source.channels * int(np.prod(height_width(transform.image_size)))
    there = next(part for part in (folder, *folder.parents) if part.exists())
    free = shutil.disk_usage(there).free
    if needed > SHARE * free:
        logger.warning(
            "%s: its resized images would take %.1f GB of the %.1f GB that are free, so files are "
            "decoded every epoch", source.name, needed / 1e9, free / 1e9,
        )  # fmt: skip
    return needed <= SHARE * free


def _opened(path: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """The array in a file, zeros where it is new."""
    if not path.exists() or path.stat().st_size != np.dtype(dtype).itemsize * np.prod(shape):
        with open(path, "wb") as file:
            file.truncate(int(np.dtype(dtype).itemsize * np.prod(shape)))
    return np.memmap(path, dtype, "r+", shape=shape)


def _sum(row: np.ndarray) -> int:
    """A checksum that is never 0."""
    return zlib.crc32(row.tobytes()) | 1
