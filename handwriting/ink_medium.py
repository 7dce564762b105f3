"""Lines as grey images of height 64, ink on paper: see `handwriting.medium`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from data.space import Space
from data.text_lines import HEIGHT, WHITE, TextLine, write
from handwriting.medium import Medium
from handwriting.page import Layout
from handwriting.photo import ink_picture
from handwriting.reading import RENDERINGS
from handwriting.render import STYLE
from handwriting.sheet import sheet
from options.choices import require
from storage.pictures import write_png

Image = UInt8[np.ndarray, "64 width"]
ENDING = ".png"


@dataclass(frozen=True)
class InkMedium(Medium):
    """Images of ink. A page has no strokes, so that it is written as PNG alone."""

    source: ClassVar[str] = "text_lines"
    length_field: ClassVar[str] = "width"
    axis: ClassVar[int] = 1
    multiple: ClassVar[int] = 64
    looks: ClassVar = ("ink", STYLE.widest)

    def shape(self, length: int) -> tuple[int, ...]:
        return HEIGHT, length, 1

    def traces(
        self, space: Space, x: np.ndarray, aux: Mapping[str, Array], lengths: Int[np.ndarray, "b"]
    ) -> list[Image]:
        images = space.decode(x)[..., 0]
        return [image[:, :length] for image, length in zip(images, lengths, strict=True)]

    def states(self, space: Space, trace: Image, length: int) -> Float[np.ndarray, "1 64 n 1"]:
        x = np.zeros((1, *self.shape(length)), np.float32)
        x[0, :, : trace.shape[1]] = space.encode(trace[..., None])
        return x

    def line(self, trace: Image, text: str, writer: str) -> TextLine:
        return TextLine(trace, text, writer)

    def write_lines(self, path: Path, about: str, lines: Sequence[TextLine]) -> None:
        write(path, about, {"train": lines})

    @property
    def nothing(self) -> Image:
        return np.zeros((HEIGHT, 0), np.uint8)

    def for_style(self, trace: Image) -> UInt8[np.ndarray, "96 w"]:
        return ink_picture(trace, STYLE.widest)

    def for_reader(self, name: str, trace: Image) -> UInt8[np.ndarray, "h w"]:
        image, margin = self.shown(trace), RENDERINGS[name].margin
        return np.pad(image, margin, constant_values=int(np.median(image)))  # of its paper

    def shown(self, trace: Image) -> Image:
        return trace if trace.size else np.full((HEIGHT, 1), WHITE, np.uint8)

    def page(self, lines: Sequence[TextLine], layout: Layout) -> UInt8[np.ndarray, "h w 1"]:
        return sheet(lines, layout)[..., None]

    def check_out(self, path: str | Path) -> None:
        expected = f"a name that ends in {ENDING}: the model writes images, which have no strokes"
        require(str(path).lower().endswith(ENDING), "path", str(path), expected)

    def save(self, path: str | Path, page: UInt8[np.ndarray, "h w 1"]) -> None:
        write_png(Path(path), page)
