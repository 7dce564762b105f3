"""A folder of images as a data set, its sub-folders as classes.

    images/cat/1.png             the folders directly below are the classes, in the order of
    images/cat/more/2.jpg        their names, or of their numbers where all are numbers; what
    images/dog/3.webp            lies deeper belongs to the class above it
    images/4.png                 beside class folders: left out, and named

A folder without sub-folders is a set without classes. Names that begin with a dot are skipped.

Every file is decoded once when the folder is opened, so that what cannot be read is found and
named then, not in the middle of a run. `cache` names a file that keeps the outcome.
"""

import json
import logging
import os
import zlib
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int32
from tqdm import tqdm

from data.image_file import RefusedImage, decode
from data.source import Record, Source
from options.choices import require
from options.errors import InvalidValue, StorageError, Words
from options.fields import hidden

logger = logging.getLogger(__name__)
NAMES_SHOWN = 10
BESIDE_CLASSES = "lies beside the class folders"
# Sub-folders of these names alone are splits, though some be missing.
SPLITS = {"train", "test", "val", "valid", "validation"}
NO_IMAGE = "class folder without a readable image"
# 16-bit files whose values fill fewer bits than this would keep at most 16 grey levels.
FEWEST_VALUES = 4096
TOO_DARK = (
    "16-bit grey of which no value exceeds {largest} of 65535, so that its range is not known; as "
    "numbers, with a Scaled space, it is read exactly"
)
NUMBERS, PIXELS = np.dtype(np.float32), np.dtype(np.uint8)


@dataclass(frozen=True)
class Folder:
    """A folder of images; see `data.image_folder`.

    Attributes:
      path: of the folder.
      channels: 1 or 3, to which all images are brought; 0 for 1 where all are grey, else 3.
      numbers: read the values of the files exactly, as float32 (16- and 32-bit grey TIFF and PNG,
        whose range is arbitrary), in place of 8-bit pixels.
      splits: sub-folders that hold the splits, the training split first, where all of them are
        there or nothing else is; otherwise the folder is all there is of every split.
    """

    path: str = ""
    channels: int = hidden(0)
    numbers: bool = False
    splits: tuple[str, ...] = hidden(("train", "test"))

    def __post_init__(self) -> None:
        require(self.path, "path", self.path, "a folder of images")
        require(self.channels in (0, 1, 3), "channels", self.channels, "0, 1 or 3")

    def read(self, split: str = "train") -> "ImageFolder":
        """The images of a split. Classes have the numbers that they have in the training split."""
        root = _existing(self.path)
        channels, numbers = self.channels, self.numbers
        if not self._is_split(root):
            return folder(root, channels=channels, numbers=numbers)
        require((root / split).is_dir(), "split", split, f"one of {_below(root)}, as in {root}")
        first = next((name for name in self.splits if (root / name).is_dir()), split)
        classes = class_folders(root / first)
        own = class_folders(root / split)
        for name in set(own) - set(classes):
            but = f"{root / first} has no class {name!r}"
            raise InvalidValue("path", Words(str(root / split / name)), but=but)
        if classes and not own:
            but = f"{root / first} has class folders"
            raise InvalidValue("path", Words(f"{root / split} without class folders"), but=but)
        place, names = root / split, classes or None
        found = folder(place, channels=channels, numbers=numbers, class_names=names)
        return replace(found, name=f"{root.name}/{split}")

    def _is_split(self, root: Path) -> bool:
        below = set(_below(root))
        return set(self.splits) <= below or (bool(below) and below <= SPLITS | set(self.splits))


@dataclass(frozen=True)
class Outcome:
    """What decoding one file gave: see `Decoded`, or why it was refused."""

    height: int = 0
    width: int = 0
    conversions: tuple[str, ...] = ()
    refusal: str | None = None
    grey: bool = False
    largest: int | None = None


@dataclass(frozen=True)
class Report:
    """What was found in a folder: names of files by what was done to them, or against them."""

    folder: str
    images: int
    converted: dict[str, list[str]]
    left_out: dict[str, list[str]]

    def __str__(self) -> str:
        count = sum(len(names) for names in self.left_out.values())
        lines = [f"{self.folder}: {self.images} images, {count} files left out"]
        for heading, groups in (("converted", self.converted), ("left out", self.left_out)):
            for what, names in groups.items():
                shown = ", ".join(names[:NAMES_SHOWN])
                more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
                lines.append(f"  {heading}, {what} ({len(names)}): {shown}{more}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class ImageFolder(Source):
    """The readable images of a folder, in the order of their paths; see `folder`."""

    name: str
    root: Path
    files: tuple[str, ...]
    labels: Int32[np.ndarray, "n"]
    class_names: tuple[str, ...]
    shape: tuple[int, ...] | None
    report: Report
    dtype: np.dtype = PIXELS
    num_channels: int = 3

    @property
    def channels(self) -> int:
        return self.num_channels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Record:
        path = self.root / self.files[index]
        try:
            pixels = decode(path, self.channels, self.dtype == NUMBERS).pixels
        except RefusedImage as error:
            expected = "a readable image, as it was when its folder was opened"
            raise StorageError(str(path), Words(str(error)), expected) from error
        return Record(image=pixels, label=int(self.labels[index]))

    def checksum(self) -> str:
        """Of names, times and sizes of the files, without reading them; see `Source.checksum`."""
        about = [(file, _stamp(self.root / file)) for file in self.files]
        content = (about, self.labels.tolist(), self.class_names, self.channels, str(self.dtype))
        return f"{zlib.crc32(repr(content).encode()):08x}"


def folder(
    path: str | Path,
    *,
    channels: int = 0,
    numbers: bool = False,
    class_names: Sequence[str] | None = None,
    cache: str | Path | None = None,
) -> ImageFolder:
    """The images in `path` by the rules of `data.image_file`; `channels` and `numbers` as `Folder`.

    class_names: the classes, where they are known from another folder; others are an error.

    Logs one report of what was converted or left out, which is kept as `source.report`.
    InvalidValue where there is no folder, no readable image in it, or more images beside the class
    folders than in them.
    """
    root = _existing(path)
    require(channels in (0, 1, 3), "channels", channels, "0, 1 or 3")
    files = _files(root)
    outcomes = _without_dark(_scan(root, files, numbers, Path(cache) if cache else None))
    outcomes = _without_beside(root, outcomes)
    good = {file: outcome for file, outcome in outcomes.items() if outcome.refusal is None}
    with_images = {file.partition("/")[0] for file in good if "/" in file}
    names = tuple(class_names or in_order(with_images))
    report = _report(str(root), outcomes)
    if empty := sorted((set(_below(root)) if with_images else set(names)) - with_images):
        report.left_out[NO_IMAGE] = empty
    if not good:
        raise InvalidValue("path", Words(f"no readable image; {report}"))
    if report.converted or report.left_out:
        logger.warning("%s", report)

    index = {name: label for label, name in enumerate(names)}
    channels = channels or (1 if all(outcome.grey for outcome in good.values()) else 3)
    sizes = {(outcome.height, outcome.width) for outcome in good.values()}
    return ImageFolder(
        name=root.name,
        root=root,
        files=tuple(good),
        labels=np.array([index.get(file.partition("/")[0], 0) for file in good], np.int32),
        class_names=names,
        shape=(*sizes.pop(), channels) if len(sizes) == 1 else None,
        report=report,
        dtype=NUMBERS if numbers else PIXELS,
        num_channels=channels,
    )


def in_order(names: set[str]) -> list[str]:
    """Classes as they are numbered: in the order of their names, or of numbers where all are."""
    numbered = all(name.isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name) if numbered else 0, name))


def class_folders(root: Path) -> list[str]:
    """The class folders in `root`, in order: those with a readable image. Decodes one of each."""
    return in_order(
        {name for name in _below(root) if any(map(_readable, _paths(root / name, root)))}
    )


def _readable(path: Path) -> bool:
    return _outcome(path, numbers=True).refusal is None


def _existing(path: str | Path) -> Path:
    root = Path(path).expanduser()
    require(root.is_dir(), "path", str(path), "a folder")
    return root


def _below(root: Path) -> list[str]:
    """Sub-folders, those with a leading dot left out."""
    return sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(root: Path) -> list[str]:
    """Relative paths of all files below, in a fixed order."""
    return sorted(path.relative_to(root).as_posix() for path in _paths(root, root))


def _paths(place: Path, root: Path) -> list[Path]:
    """Files below `place`; names with a leading dot are skipped, and links that lead back."""
    found = []
    for at, folders, names in os.walk(place, followlinks=True):
        here = Path(at).resolve()
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not here.is_relative_to(Path(at, name).resolve())
        ]
        found += [Path(at, name) for name in names if not name.startswith(".")]
    return found


def _scan(root: Path, files: list[str], numbers: bool, cache: Path | None) -> dict[str, Outcome]:
    """Decode every file whose outcome the cache does not hold, with a progress bar."""
    stamps = {file: [numbers, *_stamp(root / file)] for file in files}
    known = _read_cache(cache)
    outcomes = {
        file: known[file][1] for file in files if file in known and known[file][0] == stamps[file]
    }
    rest = [file for file in files if file not in outcomes]
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda file: _outcome(root / file, numbers), rest)
        bar = tqdm(results, f"Checking {root.name}", len(rest), unit="file", disable=not rest)
        outcomes |= zip(rest, bar, strict=True)
    if cache and rest:
        _write_cache(cache, stamps, outcomes)
    return {file: outcomes[file] for file in files}


def _outcome(path: Path, numbers: bool) -> Outcome:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        return Outcome(refusal="not a file")
    try:
        decoded = decode(path, numbers=numbers)
    except RefusedImage as error:
        return Outcome(refusal=str(error))
    height, width, _ = decoded.pixels.shape
    conversions, grey, largest = decoded.conversions, decoded.grey, decoded.largest
    return Outcome(height, width, conversions, None, grey, largest)


def _without_dark(outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
    """16-bit files refused if their values, taken together, would keep 16 levels of 256."""
    largest = max((o.largest for o in outcomes.values() if o.largest is not None), default=None)
    if largest is None or largest >= FEWEST_VALUES:
        return outcomes
    dark = Outcome(refusal=TOO_DARK.format(largest=largest))
    return {file: o if o.largest is None else dark for file, o in outcomes.items()}


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
            "images in class folders, or no sub-folders with images",
        )
    return outcomes | {file: Outcome(refusal=BESIDE_CLASSES) for file in beside}


def _report(name: str, outcomes: dict[str, Outcome]) -> Report:
    converted, left_out = defaultdict(list), defaultdict(list)
    for file, outcome in outcomes.items():
        for conversion in outcome.conversions:
            converted[conversion].append(file)
        if outcome.refusal is not None:
            left_out[outcome.refusal].append(file)
    images = sum(outcome.refusal is None for outcome in outcomes.values())
    return Report(name, images, dict(converted), dict(left_out))


def _stamp(path: Path) -> list[int]:
    """What changes when a file does: its time and its size."""
    try:
        stat = path.stat()
    except OSError:  # a dangling link, which decoding will name
        return []
    return [stat.st_mtime_ns, stat.st_size]


def _read_cache(cache: Path | None) -> dict[str, tuple[list[int], Outcome]]:
    """{file: (stamp, outcome)}; empty where there is no readable cache."""
    try:
        entries = json.loads(cache.read_text()).items() if cache else ()
        return {
            file: (stamp, Outcome(height, width, tuple(conversions), refusal, grey, largest))
            for file, (stamp, height, width, conversions, refusal, grey, largest) in entries
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_cache(cache: Path, stamps: dict, outcomes: dict[str, Outcome]) -> None:
    content = {file: (stamps[file], *astuple(outcome)) for file, outcome in outcomes.items()}
    cache.parent.mkdir(parents=True, exist_ok=True)
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content))
    temporary.replace(cache)
