"""A measurement in a process of its own, so that its peak memory and compilation are its own.

The child prepares and prints one line of facts; for every number that it then reads it runs so many
times and answers with the seconds that each run took; at the end of its input it prints its peak
memory. The parent can so alternate between several children, A B A B, on a machine whose speed
drifts. All messages are lines of JSON.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def serve(run: Callable[[], None], facts: dict[str, Any], warm_up: int = 1) -> None:
    """The child's side. run: does once, to the end, what is measured."""
    for _ in range(warm_up):
        run()
    _say(facts)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
        _say(seconds)
    _say(peak_memory())


def _say(message: Any) -> None:
    print(json.dumps(message), flush=True)


def peak_memory() -> float:
    """The most MB that this process has held.

    VmHWM rather than getrusage's ru_maxrss, which also counts what its parent held at the fork.
    """
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").open())
    return int(status["VmHWM"].split()[0]) * 1024 / 1e6


class Worker:
    """The parent's side. `facts`: what the child said when it was ready."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None):
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.seconds: list[float] = []
        self.peak = 0.0
        self.facts: dict[str, Any] = self._hear()

    def run(self, repeats: int) -> None:
        """Measures `repeats` times more."""
        assert self._process.stdin
        print(repeats, file=self._process.stdin, flush=True)
        self.seconds += self._hear()

    def close(self) -> None:
        """Ends the child, after its last word: its peak memory in MB."""
        assert self._process.stdin
        self._process.stdin.close()
        self.peak = self._hear()
        self._process.wait()

    @property
    def ms(self) -> float:
        """The median so far, in ms."""
        return 1e3 * statistics.median(self.seconds)

    def _hear(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r}: ended with status {self._process.wait()}")
        return json.loads(line)


def take_turns(workers: list[Worker], rounds: int, repeats: int) -> None:
    """Measures all of them, A B C A B C ..., and closes them."""
    for _ in range(rounds):
        for worker in workers:
            worker.run(repeats)
    for worker in workers:
        worker.close()
