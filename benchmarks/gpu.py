"""All that is to be known of this project on a GPU, within minutes.

    python -m benchmarks.gpu --out runs/gpu --torch_python PATH       (6 minutes on an H100)
    python -m benchmarks.gpu --dry                          (every section on a CPU, at toy sizes)

The card and its software, the golden tests at the default precision, the ceilings, training steps,
sampling, likelihood, memory, compilation and a profile; PyTorch on the same work beside it, where a
Python has torch and diffusers. `gpu.json` in the folder is written after every measurement and
`gpu.md`, the tables, too, so that a run that is cut loses nothing; what fails or does not fit into
the time is a row that says so.
"""

import argparse
import contextlib
import datetime
import importlib.util
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu_sections import FIRST, KINDS, SECTIONS, TORCH, Section, next_wave, takes
from benchmarks.gpu_tables import tables
from benchmarks.worker import ROOT, Failed, Worker
from options.choices import choose, require_at_least_one
from options.errors import InvalidValue
from options.program import one_line_errors
from storage import json_text
from storage.files import atomic_write

NO_TORCH = "not run: no Python with torch and diffusers (--torch_python names one)"
OVER = {"error": "the time was over"}
ENVIRONMENT = {
    # Each process takes the device memory that it needs rather than most of it at its start.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    # One card, the first of those that may be used, for all: PyTorch's side takes one.
    "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0],
}


@dataclass(frozen=True)
class Options:
    """A run of the command.

    Attributes:
      out: folder of the results. seconds: of the whole run. together: sections that are prepared
        side by side. torch_python: an interpreter with torch and diffusers, "" for none.
      sections: kinds of sections, see `gpu_sections`. dry: toy sizes, and as long as it takes.
    """

    out: Path
    seconds: float = 360.0
    together: int = 8
    torch_python: str = ""
    sections: tuple[str, ...] = KINDS
    dry: bool = False

    def __post_init__(self) -> None:
        require_at_least_one(self, "seconds", "together")
        for kind in self.sections:
            choose(dict.fromkeys(KINDS), kind, "sections")


@dataclass
class Record:
    """What was found, on disk after every addition.

    Attributes:
      about: the command, the commit and the date. sections: by name: "state" ("done" or why not),
        "facts", and "measures" (each a dict, of one that failed with "error").
    """

    out: Path
    about: dict[str, Any] = field(default_factory=dict)
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, section: Section, **found: Any) -> None:
        """Adds to what is known of a section."""
        self.sections.setdefault(section.name, {"measures": {}}).update(found)
        self.write()

    def measured(self, section: Section, measure: str, found: dict[str, Any]) -> None:
        """Adds what a measure of a section found."""
        self.sections[section.name]["measures"][measure] = found
        self.write()

    def write(self) -> None:
        known = {"about": self.about, "sections": self.sections}
        json_text.write(self.out / "gpu.json", known, indent=1)
        with atomic_write(self.out / "gpu.md", "w") as file:
            file.write("\n".join(table.markdown() for table in tables(known)))


@dataclass
class Clock:
    """The seconds that are left."""

    seconds: float
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.began)


Start = Callable[[Section, float], Worker]  # of a section that may take so long to get ready


class Command:
    """One run: waves of sections, until all were measured or the time is over."""

    def __init__(self, options: Options, record: Record, start: Start):
        self.options, self.record, self._start = options, record, start
        self.clock = Clock(options.seconds)

    def run(self) -> None:
        """The machine first, by itself; InvalidValue if it has no GPU and this is no dry run."""
        self.wave([FIRST])
        platform = self.record.sections[FIRST.name].get("facts", {}).get("platform")
        if platform == "cpu" and not self.options.dry:
            raise InvalidValue("platform", platform, "a GPU, or --dry for a try of every section")
        pending = [s for s in SECTIONS if s.kind in self.options.sections]
        for section in pending:
            without = section.module == TORCH and not self.options.torch_python
            self.record.note(section, state=NO_TORCH if without else "not run")
        pending = [s for s in pending if s.module != TORCH or self.options.torch_python]
        while wave := next_wave(pending, self._budget, self.options.together):
            self.wave(wave)
            pending = [section for section in pending if section not in wave]
        waiting = {section.name for section in pending}
        for section in pending:
            why = f"needs {takes([section]):.0f} s, {self.clock.left:.0f} s were left"
            if section.after in waiting:
                why = f"comes after {section.after}, which was not run"
            self.record.note(section, state=f"not run: {why}")

    @property
    def _budget(self) -> float:
        return math.inf if self.options.dry else self.clock.left

    def wave(self, wave: Sequence[Section]) -> None:
        """Prepares sections side by side; then measures one after another."""
        measuring = 0.0 if self.options.dry else sum(section.measure for section in wave)
        began, workers = self.clock.left, dict[Section, Worker]()
        try:
            for section in wave:
                say(f"preparing {section.name}")
                limit = self._limit(2 * section.prepare, self.clock.left - measuring)
                with self.failing(section):
                    workers[section] = self._start(section, limit)
            ready = [section for section in workers if self.get_ready(section, workers[section])]
            say(f"prepared within {began - self.clock.left:.0f} s")
            for section in ready:
                self.measure(section, workers[section])
        finally:
            for worker in workers.values():
                worker.kill()

    def _limit(self, usual: float, left: float) -> float:
        """Seconds to wait for something: twice as long as it takes, if there are so many."""
        return left if self.options.dry else min(usual, left)

    def get_ready(self, section: Section, worker: Worker) -> bool:
        """Whether the section is; if not, the record says why."""
        with self.failing(section):
            self.record.note(section, state="prepared", facts=worker.facts)
            return True
        return False

    @contextlib.contextmanager
    def failing(self, section: Section) -> Iterator[None]:
        """Inside, what fails is the section's state in the record."""
        try:
            yield
        except Failed as error:
            self.record.note(section, state=f"failed: {error}")
            say(f"{section.name} failed: {error}")

    def measure(self, section: Section, worker: Worker) -> None:
        """Asks a section for all its measures; one that fails is noted as such."""
        for name, count in worker.facts["measures"].items():
            say(f"{section.name}: {name}")
            worker.limit = self._limit(max(30.0, 2 * section.measure), self.clock.left)
            try:
                found = worker.ask(name, count) if worker.limit > 0 else OVER
            except Failed as error:
                found = {"error": str(error)}
                say(f"{section.name}: {name} failed: {error}")
            self.record.measured(section, name, found)
        with contextlib.suppress(Failed):  # what it has measured is known
            worker.close()
        self.record.note(section, state="done", peak_mb=worker.peak)


def say(line: str) -> None:
    print(line, flush=True)


def torch_python(named: str) -> str:
    """The interpreter with PyTorch: the one that is named, or this one if it has it, or "" ."""
    own = all(importlib.util.find_spec(name) for name in ("torch", "diffusers"))
    return named or (sys.executable if own else "")


def commit() -> str:
    """Of this checkout; "" where it is none."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of the results")
    parser.add_argument("--seconds", type=float, default=360.0, help="of the whole run")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--together",
        type=int,
        default=max(1, min(8, cores // 2)),
        help="sections to compile side by side; 1: each alone",
    )
    parser.add_argument("--torch_python", default="", help="a Python with torch and diffusers")
    parser.add_argument("--sections", default=",".join(KINDS))
    parser.add_argument("--dry", action="store_true", help="every section at toy sizes")
    args = parser.parse_args()
    with one_line_errors(), tempfile.TemporaryDirectory() as cache:
        measure_all(args, Path(cache))


def measure_all(args: argparse.Namespace, cache: Path) -> None:
    """The whole run, with a cache of compiled programs that begins empty."""
    options = Options(
        args.out,
        args.seconds,
        args.together,
        torch_python(args.torch_python),
        tuple(args.sections.split(",")),
        args.dry,
    )
    environment = ENVIRONMENT | {"JAX_COMPILATION_CACHE_DIR": str(cache)}

    def start(section: Section, limit: float) -> Worker:
        return Worker(section.command(options.torch_python, options.dry), environment, limit)

    about = {
        "command": " ".join(["python -m benchmarks.gpu", *sys.argv[1:]]),
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "together": options.together,
        "dry": options.dry,
    }
    command = Command(options, Record(options.out, about), start)
    command.run()
    say(f"{options.seconds - command.clock.left:.0f} s; written to {options.out}")


if __name__ == "__main__":
    main()
