"""Tables in Markdown, of cells that are text or Markdown within a line."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A header, a rule and the rows."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(text: str) -> str:
    """A text that stays in its cell, whatever it holds: bars and tags are escaped, lines joined."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
