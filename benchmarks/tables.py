"""Tables in Markdown, and the machine that they were measured on."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tools.markdown import table

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """A titled table. Numbers are shown to three digits, None as a dash."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def markdown(self) -> str:
        """The title as a heading, the table, the note."""
        for row in self.rows:
            assert len(row) == len(self.header), f"{self.title}: {row}"
        body = table(self.header, [[show(cell) for cell in row] for row in self.rows])
        parts = [f"## {self.title}", body, self.note]
        return "\n\n".join(part for part in parts if part) + "\n"


def show(cell: Cell) -> str:
    """A cell as text."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if cell == 0 or abs(cell) >= 100:
        return f"{cell:.0f}"
    return f"{cell:.3g}"


def times(slow: float | None, fast: float | None) -> str | None:
    """How many times `fast` is faster (or smaller) than `slow`, "1.50 x"."""
    return None if slow is None or fast is None else f"{slow / fast:.2f} x"


def machine() -> str:
    """The processor, its cores and the versions, in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "flax"))
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {names[0]}; Python {platform.python_version()}, {packages}"
