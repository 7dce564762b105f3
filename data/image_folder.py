"""A folder of images as a data set, its sub-folders as classes.

    pictures/cat/1.png           the folders directly below are the classes, in the order of
    pictures/cat/more/2.jpg      their names; what lies deeper belongs to the class above it
    pictures/dog/3.webp
    pictures/4.png               beside class folders: left out, and named

A folder without sub-folders is a set without classes. Names that begin with a dot are skipped.

Every file is decoded once when the folder is opened, so that what cannot be read is found and
named then, not in the middle of a run. `cache` names a file that keeps the outcome.
"""

import json
import logging
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32
from tqdm import tqdm

from data.image_file import RefusedImage, decode
from data.source import Record, Source

logger = logging.getLogger(__name__)
NAMES_SHOWN = 10
BESIDE_CLASSES = "lies beside the class folders"


@dataclass(frozen=True)
class Outcome:
    """What decoding one file gave: its size and conversions, or why it was refused."""

    height: int = 0
    width: int = 0
    conversions: tuple[str, ...] = ()
    refusal: str | None = None


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
    image_shape: tuple[int, int, int] | None
    channels: int
    report: Report

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Record:
        path = self.root / self.files[index]
        try:
            pixels = decode(path, self.channels).pixels
        except RefusedImage as error:
            raise OSError(f"{path} was readable when its folder was opened: {error}") from error
        return Record(image=pixels, label=int(self.labels[index]))


def folder(path: str | Path, *, channels: int = 3, cache: str | Path | None = None) -> ImageFolder:
    """The images in `path` with 1 or 3 `channels`; by the rules of `data.image_file`.

    Logs one report of what was converted or left out, which is kept as `source.report`. Raises
    FileNotFoundError or ValueError where there is no folder or no readable image in it.
    """
    root = Path(path).expanduser()
    if channels not in (1, 3):
        raise ValueError(f"channels: got {channels}, expected 1 or 3")
    if not root.is_dir():
        raise FileNotFoundError(f"path: no folder {root}")
    outcomes = _scan(root, _files(root), Path(cache) if cache else None)
    report = _report(str(root), outcomes)
    if not report.images:
        raise ValueError(f"path: no readable image; {report}")
    if report.converted or report.left_out:
        logger.warning("%s", report)

    good = {file: outcome for file, outcome in outcomes.items() if outcome.refusal is None}
    classes = sorted({file.partition("/")[0] for file in good if "/" in file})
    index = {name: label for label, name in enumerate(classes)}
    sizes = {(outcome.height, outcome.width) for outcome in good.values()}
    return ImageFolder(
        name=root.name,
        root=root,
        files=tuple(good),
        labels=np.array([index.get(file.partition("/")[0], 0) for file in good], np.int32),
        class_names=tuple(classes),
        image_shape=(*sizes.pop(), channels) if len(sizes) == 1 else None,
        channels=channels,
        report=report,
    )


def _files(root: Path) -> list[str]:
    """Relative paths of all files below, in a fixed order; names with a leading dot are skipped,
    and links that lead back to where they are."""
    found = []
    for place, folders, names in os.walk(root, followlinks=True):
        here = Path(place).resolve()
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not here.is_relative_to(Path(place, name).resolve())
        ]
        relative = Path(place).relative_to(root)
        found += [(relative / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(found)


def _scan(root: Path, files: list[str], cache: Path | None) -> dict[str, Outcome]:
    """Decode every file whose outcome the cache does not hold, with a progress bar."""
    stamps = {file: _stamp(root / file) for file in files}
    known = _read_cache(cache)
    outcomes = {
        file: known[file][1] for file in files if file in known and known[file][0] == stamps[file]
    }
    rest = [file for file in files if file not in outcomes]
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda file: _outcome(root / file), rest)
        bar = tqdm(results, f"Checking {root.name}", len(rest), unit="file", disable=not rest)
        outcomes |= zip(rest, bar, strict=True)
    if cache and rest:
        _write_cache(cache, stamps, outcomes)
    outcomes = {file: outcomes[file] for file in files}
    if any("/" in file and outcomes[file].refusal is None for file in files):
        beside = [file for file in files if "/" not in file and outcomes[file].refusal is None]
        outcomes |= {file: Outcome(refusal=BESIDE_CLASSES) for file in beside}
    return outcomes


def _outcome(path: Path) -> Outcome:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        return Outcome(refusal="not a file")
    try:
        decoded = decode(path)
    except RefusedImage as error:
        return Outcome(refusal=str(error))
    height, width, _ = decoded.pixels.shape
    return Outcome(height, width, decoded.conversions)


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
            file: (stamp, Outcome(height, width, tuple(conversions), refusal))
            for file, (stamp, height, width, conversions, refusal) in entries
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_cache(cache: Path, stamps: dict, outcomes: dict[str, Outcome]) -> None:
    content = {file: (stamps[file], *astuple(outcome)) for file, outcome in outcomes.items()}
    cache.parent.mkdir(parents=True, exist_ok=True)
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content))
    temporary.replace(cache)
