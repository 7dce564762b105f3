"""Lines as movements of a pen, rows (dx, dy, pen): see `handwriting.medium`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from data.space import Space
from data.strokes import Line, write
from handwriting import formats
from handwriting.drawing import Drawing, Look
from handwriting.medium import Medium
from handwriting.page import Layout, page
from handwriting.preprocessing import Rows
from handwriting.reading import RENDERINGS
from handwriting.render import STYLE
from tasks.strokes import PEN

UNIT = 1 / 256  # of rows in a file of written lines


@dataclass(frozen=True)
class PenMedium(Medium):
    """Rows of a pen.

    Attributes:
      look: of the pen, in files.
    """

    look: Look = Look()
    source: ClassVar[str] = "strokes"
    length_field: ClassVar[str] = "length"
    axis: ClassVar[int] = 0
    multiple: ClassVar[int] = 128
    looks: ClassVar = STYLE

    def shape(self, length: int) -> tuple[int, ...]:
        return length, 2

    def traces(
        self, space: Space, x: np.ndarray, aux: Mapping[str, Array], lengths: Int[np.ndarray, "b"]
    ) -> list[Rows]:
        rows = space.decode(np.concatenate([x, np.asarray(aux[PEN]) > 0], axis=-1))
        return [row[:length] for row, length in zip(rows, lengths, strict=True)]

    def states(self, space: Space, trace: Rows, length: int) -> Float[np.ndarray, "1 n 2"]:
        x = np.zeros((1, length, 2), np.float32)
        x[0, : len(trace)] = space.encode(trace)[:, :2]
        return x

    def line(self, trace: Rows, text: str, writer: str) -> Line:
        return Line(trace, text, writer)

    def write_lines(self, path: Path, about: str, lines: Sequence[Line]) -> None:
        write(path, about, {"train": lines}, UNIT)

    @property
    def nothing(self) -> Rows:
        return np.zeros((0, 3), np.float32)

    def for_style(self, trace: Rows) -> UInt8[np.ndarray, "96 w"]:
        return STYLE(trace)

    def for_reader(self, name: str, trace: Rows) -> UInt8[np.ndarray, "h w"]:
        return RENDERINGS[name](trace)

    def shown(self, trace: Rows) -> UInt8[np.ndarray, "h w"]:
        return STYLE(trace)

    def page(self, lines: Sequence[Line], layout: Layout) -> Drawing:
        return page(lines, layout)

    def check_out(self, path: str | Path) -> None:
        formats.format_of(path)

    def keeps_spans(self, path: str | Path) -> bool:
        return formats.keeps_spans(path)

    def save(self, path: str | Path, page: Drawing) -> None:
        formats.write(path, page, self.look)
