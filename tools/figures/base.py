"""What a figure of a paper is, and the folder that it is made in."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from evaluation.plots import pixels
from storage import json_text, pictures
from storage.files import atomic_write
from tools.markdown import table


@dataclasses.dataclass(frozen=True)
class Work:
    """A command's place and its choices.

    Attributes:
      out: folder of what it makes.
      small: on the stand-ins that come with the project, in seconds to a few minutes on a CPU.
      weights, classifier: in place of the figure's own runs.
      data: a folder with a folder of images for each data set.
      samples: in place of the figure's own number.
      seed: of all that is drawn.
    """

    out: Path
    small: bool = False
    weights: str = ""
    classifier: str = ""
    data: str = ""
    samples: int = 0
    seed: int = 0

    def count(self, small: int, real: int) -> int:
        """How many to draw."""
        return self.samples or (small if self.small else real)

    def picture(self, name: str, picture: UInt8[np.ndarray, "h w c"]) -> None:
        """Writes <out>/<name>.png."""
        pictures.write_png(self.out / f"{name}.png", picture)
        print(f"{self.out / name}.png")

    def panels(self, name: str, *panels: pictures.Panel) -> None:
        """Writes images in rows and columns."""
        self.picture(name, pictures.drawn(*panels))

    def plot(self, name: str, figure: Any) -> None:
        """Writes a figure of matplotlib."""
        self.picture(name, pixels(figure))

    def animation(self, name: str, frames: Sequence[UInt8[np.ndarray, "h w c"]]) -> None:
        """Writes <out>/<name>.gif."""
        pictures.write_gif(self.out / f"{name}.gif", np.stack(frames))
        print(f"{self.out / name}.gif")

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Writes <out>/<name>.md and .json, and prints the table."""
        text = table(header, rows)
        with atomic_write(self.out / f"{name}.md", "w") as file:
            file.write(text + "\n")
        named = [dict(zip(header, row, strict=True)) for row in rows]
        json_text.write(self.out / f"{name}.json", named)
        print(f"{text}\n{self.out / name}.md")


@runtime_checkable
class Figure(Protocol):
    """One figure or table, or several that differ in their fields alone; a frozen dataclass."""

    def make(self, work: Work) -> None:
        """Leaves its pictures and tables in `work.out`; UserError for what a user can mend."""
        ...

    def needs(self) -> str:
        """What it needs without `small`, and what that costs."""
        ...


@dataclasses.dataclass(frozen=True)
class Exact:
    """The base of figures that need no network: exact distributions, or images that are there."""

    def needs(self) -> str:
        return "nothing; seconds"
