"""A measurement in a process of its own, so that its peak memory and compilation are its own.

The child prepares and prints one line of facts; for every line "NAME COUNT" that it then reads it
measures so and answers; at the end of its input it prints its peak memory. The parent can so
alternate between several children, A B A B, on a machine whose speed drifts. All answers are lines
of JSON.
"""

import contextlib
import functools
import json
import math
import os
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RUN = "run"


def serve(run: Callable[[], None], facts: dict[str, Any], warm_up: int = 1) -> None:
    """The child's side. run: does once, to the end, what is measured."""
    for _ in range(warm_up):
        run()
    answer(facts, {RUN: lambda count: seconds_of(run, count)})


def seconds_of(run: Callable[[], None], count: int) -> list[float]:
    """The seconds that each of so many runs took."""
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return seconds


def answer(facts: dict[str, Any], measures: Mapping[str, Callable[[int], Any]]) -> None:
    """The child's side, of several measures: says the facts, then what is asked for.

    One that fails is answered by the first line of its error, and the next may be asked for.
    """
    _say(facts)
    for line in sys.stdin:
        name, _, count = line.rpartition(" ")
        try:
            _say({"answer": measures[name](int(count))})
        except Exception as error:
            traceback.print_exc()
            _say({"error": first_line(error)})
    _say(peak_memory())


def answer_midway(measure: Callable[[Callable[[dict[str, Any]], None]], Any]) -> None:
    """The child's side, of one measure that is ready in the midst of what it does.

    It is given `hold`, which says the facts and returns when the measure is asked for.
    """

    def hold(facts: dict[str, Any]) -> None:
        _say(facts)
        sys.stdin.readline()

    _say({"answer": measure(hold)})
    sys.stdin.read()
    _say(peak_memory())


def first_line(error: BaseException) -> str:
    """The type of an error and the first line of what it says."""
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _say(message: Any) -> None:
    # Whatever else the child prints goes where it redirected its output to.
    print(json.dumps(message), file=sys.__stdout__, flush=True)


def peak_memory() -> float:
    """The most MB that this process has held.

    VmHWM rather than getrusage's ru_maxrss, which also counts what its parent held at the fork.
    """
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").open())
    return int(status["VmHWM"].split()[0]) * 1024 / 1e6


class Failed(RuntimeError):
    """A child that ended, could not do what it was asked, or took too long: one line says which."""


class Worker:
    """The parent's side.

    limit: seconds that it may take to get ready, and then for each answer; it is ended when it
    takes longer. Failed where there is no such program as the command's.
    """

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str] | None = None,
        limit: float = math.inf,
    ):
        self._errors = tempfile.TemporaryFile("w+", errors="replace")
        try:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | (environment or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                process_group=0,  # it is ended with what it has started
            )
        except OSError as error:
            raise Failed(first_line(error)) from None
        self.limit, self._asked = limit, time.monotonic()
        self.seconds: list[float] = []
        self.peak = 0.0

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What the child says when it is ready, which is waited for."""
        return self._hear()

    def ready(self) -> "Worker":
        """This worker, once it has said its facts."""
        self.facts  # noqa: B018
        return self

    def ask(self, name: str, count: int = 1) -> Any:
        """The answer of one of the child's measures; Failed with the line that it says instead."""
        self.ready()
        self._asked = time.monotonic()
        assert self._process.stdin
        try:
            print(name, count, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._ended() from None
        heard = self._hear()
        if "error" in heard:
            raise Failed(heard["error"])
        return heard["answer"]

    def run(self, repeats: int) -> None:
        """Measures `repeats` times more."""
        self.seconds += self.ask(RUN, repeats)

    def close(self) -> None:
        """Ends the child, after its last word: its peak memory in MB."""
        self.ready()
        self._asked = time.monotonic()
        assert self._process.stdin
        try:
            self._process.stdin.close()  # which writes what is left of a question
        except BrokenPipeError:
            raise self._ended() from None
        self.peak = self._hear()
        self._process.wait()

    def kill(self) -> None:
        """Ends the child, and whatever it has started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def ms(self) -> float:
        """The median so far, in ms."""
        return 1e3 * statistics.median(self.seconds)

    def _hear(self) -> Any:
        assert self._process.stdout
        left = max(self._asked + self.limit - time.monotonic(), 0.0)
        timeout = None if math.isinf(left) else left
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            self.kill()
            raise Failed(f"no answer within {self.limit:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            self.kill()
            raise Failed(f"said {line.strip()!r}, which is no answer") from None

    def _ended(self) -> Failed:
        """What to raise of a child that ended; the end of its errors goes to this process's."""
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read()
        print(said[-4000:], file=sys.stderr)
        return Failed(reason(said) or f"ended with status {status}")


def reason(errors: str) -> str:
    """The line of a process's errors that says why it ended; "" where none does.

    That of its last exception, or of a program that ends with one line, this.
    """
    last = errors.rpartition("Traceback (most recent call last):\n")[2]
    lines = [line for line in last.splitlines() if line.strip() and not line.startswith(" ")]
    if "Traceback (most recent call last):" in errors:
        return lines[0].strip() if lines else ""
    found = [line for line in lines if re.match(r"[\w.]*[Ee]rror:", line)]
    return found[-1].strip() if found else ""


@dataclass
class Race:
    """How it went: those who were measured to the end, by name, and why the others were not."""

    workers: dict[str, Worker] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def attempt(self, name: str, step: Callable[[], Any]) -> None:
        """Does a step of a contestant, who is out if it fails."""
        try:
            step()
        except Failed as error:
            self.failed[name] = f"failed: {error}"
            if (worker := self.workers.pop(name, None)) is not None:
                worker.kill()


def race(starts: Mapping[str, Callable[[], Worker]], rounds: int, repeats: int) -> Race:
    """Measures contestants in turn, A B C A B C ..., and closes them.

    They get ready one after another, so that none is prepared or measured beside another's
    preparation.
    """
    result = Race()

    def begin(name: str) -> None:
        result.workers[name] = starts[name]().ready()

    for name in starts:
        result.attempt(name, functools.partial(begin, name))
    for _ in range(rounds):
        for name, worker in list(result.workers.items()):
            result.attempt(name, functools.partial(worker.run, repeats))
    for name, worker in list(result.workers.items()):
        result.attempt(name, worker.close)
    return result
