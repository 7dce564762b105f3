"""What is in a folder of images: every file is decoded once, and what was found is reported."""

import json
import logging
import os
import zlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

from data.image_file import RefusedImage, Size, decode
from options.choices import listed
from options.progress import progress_bar
from storage import json_text

logger = logging.getLogger(__name__)
NAMES_SHOWN = 10
# Files of texts beside images, which `data.captions` reads.
CAPTIONS = ("captions.txt", "captions.tsv", "captions.csv", "metadata.jsonl", "metadata.csv")
# 16-bit files whose values fill fewer bits than this would keep at most 64 of 256 levels; below the
# second limit fewer than 200.
FEWEST_VALUES, FEW_VALUES = 2**14, 200 * 257
TOO_DARK = (
    "16-bit values of which none exceeds {largest} of 65535, so that their range is not known; as "
    "numbers, with a Scaled space, grey ones are read exactly"
)


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
                lines.append(f"  {heading}, {what} ({len(names)}): {listed(names, NAMES_SHOWN)}")
        return "\n".join(lines)


def below(root: Path) -> list[str]:
    """Sub-folders, those with a leading dot left out."""
    return sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def paths(root: Path) -> list[Path]:
    """Files below; names with a leading dot are skipped, links that lead back, and `CAPTIONS`."""
    found = []
    for at, folders, names in os.walk(root, followlinks=True):
        here = Path(at).resolve()
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not here.is_relative_to(Path(at, name).resolve())
        ]
        found += [
            Path(at, name) for name in names if not name.startswith(".") and name not in CAPTIONS
        ]
    return found


def scan(root: Path, numbers: bool, cache: Path | None, size: Size = None) -> dict[str, Outcome]:
    """The outcome of every file below, by relative path in a fixed order, with a progress bar.

    numbers, size: see `decode`. cache: a file that holds outcomes, of which those of unchanged
    files are taken, and which is written anew.
    """
    files = sorted(path.relative_to(root).as_posix() for path in paths(root))
    how = [numbers, *(size or ())]
    stamps = {file: [*how, *stamp(root / file)] for file in files}
    known = _read_cache(cache)
    outcomes = {
        file: known[file][1] for file in files if file in known and known[file][0] == stamps[file]
    }
    rest = [file for file in files if file not in outcomes]
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda file: outcome_of(root / file, numbers, size), rest)
        bar = progress_bar(
            results, f"checking {root.name}", len(rest), unit="file", disable=not rest
        )
        outcomes |= zip(rest, bar, strict=True)
    if cache and rest:
        _write_cache(cache, stamps, outcomes)
    return {file: outcomes[file] for file in files}


def outcome_of(path: Path, numbers: bool, size: Size = None) -> Outcome:
    """What decoding a file gives."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        return Outcome(refusal="not a file")
    try:
        decoded = decode(path, numbers=numbers, size=size)
    except RefusedImage as error:
        return Outcome(refusal=str(error))
    height, width, _ = decoded.pixels.shape
    conversions, grey, largest = decoded.conversions, decoded.grey, decoded.largest
    return Outcome(height, width, conversions, None, grey, largest)


def without_dark(outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
    """16-bit files refused if their values, taken together, would keep at most 64 levels of 256."""
    largest = _largest(outcomes)
    if largest is None or largest >= FEWEST_VALUES:
        return outcomes
    dark = Outcome(refusal=TOO_DARK.format(largest=largest))
    return {file: o if o.largest is None else dark for file, o in outcomes.items()}


def said_of_levels(outcomes: dict[str, Outcome]) -> str:
    """A line where 16-bit files, taken together, keep fewer than 200 levels of 256; else none."""
    largest = _largest(outcomes)
    if largest is None or largest >= FEW_VALUES:
        return ""
    return f"16-bit values up to {largest} of 65535 become {largest // 257 + 1} levels of 256"


def _largest(outcomes: dict[str, Outcome]) -> int | None:
    """The largest value of all 16-bit files that are not refused; None where there is none."""
    good = (o.largest for o in outcomes.values() if o.refusal is None and o.largest is not None)
    return max(good, default=None)


def report_of(name: str, outcomes: dict[str, Outcome]) -> Report:
    """The report on a folder of this name."""
    converted, left_out = defaultdict(list), defaultdict(list)
    for file, outcome in outcomes.items():
        for conversion in outcome.conversions:
            converted[conversion].append(file)
        if outcome.refusal is not None:
            left_out[outcome.refusal].append(file)
    images = sum(outcome.refusal is None for outcome in outcomes.values())
    return Report(name, images, dict(converted), dict(left_out))


def stamp(path: Path) -> list[int]:
    """What changes when a file does: its time and its size."""
    try:
        stat = path.stat()
    except OSError:  # a dangling link, which decoding will name
        return []
    return [stat.st_mtime_ns, stat.st_size]


def _read_cache(cache: Path | None) -> dict[str, tuple[list[int], Outcome]]:
    """{file: (stamp, outcome)}; empty where there is no readable cache."""
    try:
        crc, content = json.loads(cache.read_text()) if cache else (_sum({}), {})
        if crc != _sum(content):
            return {}
        return {
            file: (stamp, Outcome(height, width, tuple(conversions), refusal, grey, largest))
            for file, (stamp, height, width, conversions, refusal, grey, largest) in content.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _sum(content: dict) -> int:
    """A checksum of what a cache holds."""
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _write_cache(cache: Path, stamps: dict, outcomes: dict[str, Outcome]) -> None:
    content = {file: (stamps[file], *astuple(outcome)) for file, outcome in outcomes.items()}
    try:
        json_text.write(cache, [_sum(content), content], indent=None)
    except OSError as error:
        logger.warning("files are checked again next time: %s", error)
