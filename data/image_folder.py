"""A folder of images as a data set, its sub-folders as classes.

    images/cat/1.png             the folders directly below are the classes, in the order of
    images/cat/more/2.jpg        their names, or of their numbers where all are numbers; what
    images/dog/3.webp            lies deeper belongs to the class above it
    images/4.png                 beside class folders: left out, and named

or, with classes=False, all images below are one set without classes. A folder without sub-folders
is such a set. Names that begin with a dot are skipped.

Every file is decoded once when the folder is opened, so that what cannot be read is found and
named then, not in the middle of a run. The outcome is kept in the user's cache, where files that
have not changed are not looked at again.
"""

import hashlib
import logging
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from data.folder_scan import (
    NAMES_SHOWN,
    Outcome,
    Report,
    below,
    outcome_of,
    paths,
    report_of,
    said_of_levels,
    scan,
    stamp,
    without_dark,
)
from data.image_file import RefusedImage, decode, is_grey
from data.source import Record, Source
from options.choices import did_you_mean_path, listed, require
from options.errors import InvalidValue, StorageError, Words
from options.fields import hidden
from storage.files import cache_folder

logger = logging.getLogger(__name__)
BESIDE_CLASSES = "lies beside the class folders"
NO_IMAGE = "class folder without a readable image"
# Sub-folders of these names alone are splits, though some be missing.
SPLITS = {"train", "test", "val", "valid", "validation"}
NUMBERS, PIXELS = np.dtype(np.float32), np.dtype(np.uint8)


@dataclass(frozen=True)
class Folder:
    """A folder of images; see `data.image_folder`.

    Attributes:
      path: of the folder.
      channels: 1 or 3, to which all images are brought; 0 for 1 where all are grey, else 3.
      classes: whether sub-folders are classes.
      numbers: read the values of the files exactly, as float32 (16- and 32-bit grey TIFF and PNG,
        whose range is arbitrary), in place of 8-bit pixels.
      size: (height, width) that the images will be resized to, if it is known; see `decode`.
      splits: sub-folders that hold the splits, the training split first, where all of them are
        there or nothing else is; otherwise the folder is all there is of every split, of which
        `data.holdout` sets some aside.
    """

    path: str = ""
    channels: int = hidden(0)
    classes: bool = True
    numbers: bool = False
    size: tuple[int, int] | None = hidden(None)
    splits: tuple[str, ...] = hidden(("train", "test"))

    def __post_init__(self) -> None:
        require(self.path, "path", self.path, "a folder of images")
        require(self.channels in (0, 1, 3), "channels", self.channels, "0, 1 or 3")

    def read(self, split: str = "train") -> "ImageFolder":
        """The images of a split; their channels and classes are those of the training split."""
        root = existing_folder(self.path)
        inside = below(root)
        grey = not self.channels and all(map(is_grey, paths(root)))
        channels = self.channels or (1 if grey else 3)
        if not self._is_split(set(inside)):
            return replace(self._opened(root, channels), unsplit=True)
        require(split in inside, "split", split, f"one of {inside}, as in {root}")
        splits = [name for name in (*self.splits, split) if name in inside]
        classes = {name: class_folders(root / name) if self.classes else [] for name in splits}
        known = classes[splits[0]]
        for name in splits:
            _check_classes(root, splits[0], known, name, classes[name])
        found = self._opened(root / split, channels, known or None)
        beside = self._beside(root)
        if beside:
            logger.warning("%s", beside)
        remark = "; ".join(said for said in (found.remark, beside) if said)
        return replace(found, name=f"{root.name}/{split}", remark=remark)

    def _beside(self, root: Path) -> str:
        """What of a folder of splits is of none, "" for nothing; InvalidValue if that is more than
        is in them."""
        files = [path.relative_to(root) for path in paths(root)]
        of_none = [file for file in files if file.parts[0] not in SPLITS | set(self.splits)]
        images = [file for file in of_none if outcome_of(root / file, True).refusal is None]
        if not images:
            return ""
        names = sorted({file.parts[0] for file in images})
        got = f"{len(images)} images in {root} beside its splits: {listed(names, NAMES_SHOWN)}"
        if 2 * len(images) > len(images) + len(files) - len(of_none):
            raise InvalidValue("path", Words(got), "images in the splits, or no folders called so")
        return f"{got}; they are left out"

    def _opened(
        self, root: Path, channels: int, class_names: Sequence[str] | None = None
    ) -> "ImageFolder":
        return folder(
            root,
            channels=channels,
            classes=self.classes,
            numbers=self.numbers,
            class_names=class_names,
            size=self.size,
            cache=checks_of(root),
        )

    def _is_split(self, inside: set[str]) -> bool:
        return set(self.splits) <= inside or (bool(inside) and inside <= SPLITS | set(self.splits))


@dataclass(frozen=True, eq=False)
class ImageFolder(Source):
    """The readable images of a folder, in the order of their paths; see `folder`.

    Attributes:
      outcomes: what decoding every file gave, those that are left out among them.
    """

    name: str
    root: Path
    files: tuple[str, ...]
    labels: Int32[np.ndarray, "n"]
    class_names: tuple[str, ...]
    shape: tuple[int, ...] | None
    report: Report
    dtype: np.dtype = PIXELS
    num_channels: int = 3
    unsplit: bool = False
    size: tuple[int, int] | None = None
    remark: str = ""
    size_of_most: tuple[int, int] | None = None
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    is_of_files: ClassVar[bool] = True

    @property
    def channels(self) -> int:
        return self.num_channels

    @property
    def usual_size(self) -> tuple[int, int] | None:
        return self.size_of_most

    def key(self, index: int) -> str:
        return self.files[index]

    def each_label(self) -> Int32[np.ndarray, "n"]:
        return self.labels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Record:
        path = self.root / self.files[index]
        try:
            pixels = decode(path, self.channels, self.dtype == NUMBERS, self.size).pixels
        except RefusedImage as error:
            expected = "a readable image, as it was when its folder was opened"
            raise StorageError(str(path), Words(str(error)), expected) from error
        return Record(image=pixels, label=int(self.labels[index]))

    def checksum(self) -> str:
        """Of names, times and sizes of the files, without reading them; see `Source.checksum`."""
        about = [(file, stamp(self.root / file)) for file in self.files]
        how = (self.channels, str(self.dtype), self.size)
        content = (about, self.labels.tolist(), self.class_names, *how)
        return f"{zlib.crc32(repr(content).encode()):08x}"


def folder(
    path: str | Path,
    *,
    channels: int = 0,
    classes: bool = True,
    numbers: bool = False,
    class_names: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    cache: str | Path | None = None,
) -> ImageFolder:
    """The images in `path` by the rules of `data.image_file`; `channels`, `classes`, `numbers` and
    `size` as of `Folder`.

    cache: a file that keeps what was found in the files.
    class_names: the classes, of which all class folders are; None for the class folders found.

    Logs one report of what was converted or left out, which is kept as `source.report`.
    InvalidValue where there is no folder, no readable image in it, or more images beside the class
    folders than in them.
    """
    root = existing_folder(path)
    require(channels in (0, 1, 3), "channels", channels, "0, 1 or 3")
    outcomes = without_dark(scan(root, numbers, Path(cache) if cache else None, size))
    outcomes = _without_beside(root, outcomes) if classes else outcomes
    good = {file: outcome for file, outcome in outcomes.items() if outcome.refusal is None}
    with_images = {file.partition("/")[0] for file in good if classes and "/" in file}
    names = tuple(class_names or in_order(with_images))
    other = sorted(with_images - set(names))
    require(not other, "path", Words(f"class folders {other} in {root}"), f"classes of {names}")
    report = report_of(str(root), outcomes)
    if empty := sorted((set(below(root)) if with_images else set()) - with_images):
        report.left_out[NO_IMAGE] = empty
    if not good:
        raise InvalidValue("path", Words(f"no readable image; {report}"))
    if report.converted or report.left_out:
        logger.warning("%s", report)
    levels = said_of_levels(good)
    if levels:
        logger.warning("%s: %s", root, levels)

    index = {name: label for label, name in enumerate(names)}
    channels = channels or (1 if all(outcome.grey for outcome in good.values()) else 3)
    sizes = Counter((outcome.height, outcome.width) for outcome in good.values())
    most = max(sizes, key=lambda size: (sizes[size], size))
    return ImageFolder(
        name=root.name,
        root=root,
        files=tuple(good),
        labels=np.array([index.get(file.partition("/")[0], 0) for file in good], np.int32),
        class_names=names,
        shape=(*most, channels) if len(sizes) == 1 else None,
        report=report,
        dtype=NUMBERS if numbers else PIXELS,
        num_channels=channels,
        size=size,
        size_of_most=most,
        outcomes=outcomes,
        remark=f"{NO_IMAGE}: {', '.join(empty)}" if empty else "",
    )


def checks_of(root: Path) -> Path:
    """Where what was found in the files of a folder is kept."""
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return cache_folder() / "folders" / f"{name}.json"


def in_order(names: set[str]) -> list[str]:
    """Classes as they are numbered: in the order of their names, or of numbers where all are."""
    numbered = all(name.isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name) if numbered else 0, name))


def class_folders(root: Path) -> list[str]:
    """The class folders in `root`, in order: those with a readable image. Decodes one of each."""

    def readable(path: Path) -> bool:
        return outcome_of(path, numbers=True).refusal is None

    return in_order({name for name in below(root) if any(map(readable, paths(root / name)))})


def _check_classes(
    root: Path, first: str, known: Sequence[str], split: str, own: Sequence[str]
) -> None:
    """InvalidValue where a split has a class that the first has not, or none where it has some."""
    for name in sorted(set(own) - set(known)):
        but = f"{root / first} has no class {name!r}"
        raise InvalidValue("path", Words(str(root / split / name)), but=but)
    if known and not own:
        got = Words(f"{root / split} without class folders")
        raise InvalidValue("path", got, but=f"{root / first} has some")


def _without_beside(root: Path, outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
    """What lies beside class folders refused; InvalidValue if that is more than is in them."""
    good = [file for file, outcome in outcomes.items() if outcome.refusal is None]
    beside = [file for file in good if "/" not in file]
    if not beside or len(beside) == len(good):
        return outcomes
    if len(beside) > len(good) / 2:
        names = sorted({file.partition("/")[0] for file in good if "/" in file})
        raise InvalidValue(
            "path",
            Words(f"{len(beside)} images in {root} beside {len(good) - len(beside)} in {names}"),
            "images in class folders, or classes=False to take all as one set",
        )
    return outcomes | {file: Outcome(refusal=BESIDE_CLASSES) for file in beside}


def existing_folder(path: str | Path) -> Path:
    root = Path(path).expanduser()
    require(root.is_dir(), "path", str(path), f"a folder{did_you_mean_path(root)}")
    return root
