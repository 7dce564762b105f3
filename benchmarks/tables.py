"""Tables in Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
        lines = [_line(self.header), _line(["---"] * len(self.header))]
        lines += [_line([show(cell) for cell in row]) for row in self.rows]
        parts = [f"## {self.title}", "\n".join(lines), self.note]
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


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
