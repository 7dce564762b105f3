"""Pictures for people: images in rows and columns, with titles and names; PNG, GIF and npz files.

A `Panel` says what a picture shows, and `drawn` draws it: small images enlarged by a whole factor,
so that every pixel can be seen. Samples, controls, evaluations and the plots of a training are all
drawn by it. Files are written whole or not at all.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Integer, Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont

from options.errors import InvalidValue, Words
from storage.files import atomic_write

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
OPAQUE = 255
# Of a picture as it is shown, in pixels.
SHORTER, LONGER = 512, 4096  # its sides: at least, and at most by enlarging
LEAST_IMAGE = 32  # the shorter side of an image
GAP, FRAME = 4, 2  # between images; around one that is framed
TEXT, LEAST_TEXT = 15, 9  # height of a line; of titles that are wider than their columns
LONGEST_NAME = 12  # width of a name beside a row, in heights of a line
STRIPE = 4  # width of a stripe of what is hidden, beside a line of text
# Greys.
BACKGROUND, INK, HATCH = 216, 0, (88, 152)


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """Images in rows and columns.

    Attributes:
      images: of 1, 3 or 4 (RGBA) channels.
      titles: above the columns. names: beside the rows. () for none.
      hidden: pixels that are hatched, since they are not known; None for none.
      filled: cells that have an image; None for all.
      framed: images with a dark frame; None for none.
    """

    images: UInt8[np.ndarray, "rows columns height width channels"]
    titles: Sequence[str] = ()
    names: Sequence[str] = ()
    hidden: Bool[np.ndarray, "rows columns height width"] | None = None
    filled: Bool[np.ndarray, "rows columns"] | None = None
    framed: Bool[np.ndarray, "rows columns"] | None = None

    def first(self, rows: int) -> "Panel":
        """The first rows."""
        of_rows = {k: v for k, v in vars(self).items() if k != "titles" and v is not None}
        return dataclasses.replace(self, **{k: v[:rows] for k, v in of_rows.items()})


def in_square(images: Shaped[np.ndarray, "n *shape"], columns: int | None = None) -> Panel:
    """Images (n, height, width, channels) in their order; default about as many rows as columns.

    InvalidValue unless they are uint8 with 1, 3 or 4 channels.
    """
    if not len(images):
        raise InvalidValue("images", Words("none"), "at least one")
    _check(images, 4)
    columns = columns or math.ceil(math.sqrt(len(images)))
    order = np.arange(math.ceil(len(images) / columns) * columns).reshape(-1, columns)
    return _arranged(images, np.where(order < len(images), order, -1))


def by_class(
    images: UInt8[np.ndarray, "n height width channels"],
    labels: Integer[np.ndarray, "n"],
    class_names: Sequence[str] = (),
) -> list[Panel]:
    """Panels to stand side by side: a row a class with its name, or several where there are many
    images of it; without classes (labels below 0) one panel as `in_square`."""
    if not len(images) or np.all(labels < 0):
        return [in_square(images)]
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    most, side = max(map(len, classes)), math.ceil(math.sqrt(len(images)))
    lines = 1 if most <= 1.5 * side else math.ceil(most / side)  # no second for one or two images
    columns = math.ceil(most / lines)
    rows = [of[i : i + columns] for of in classes for i in range(0, len(of), columns)]
    blocks = max(1, round(math.sqrt(len(rows) / columns)))
    size = math.ceil(len(rows) / blocks)
    return [_of_classes(images, labels, rows[i : i + size], columns, class_names)
            for i in range(0, len(rows), size)]  # fmt: skip


def _of_classes(
    images: np.ndarray,
    labels: np.ndarray,
    rows: Sequence[np.ndarray],
    columns: int,
    class_names: Sequence[str],
) -> Panel:
    """One of the panels of `by_class`; rows: the numbers of the images of one class each."""
    order = np.full((len(rows), columns), -1)
    for i, row in enumerate(rows):
        order[i, : len(row)] = row
    shown = [name_of(int(labels[row[0]]), class_names) for row in rows]
    repeated = [i > 0 and labels[rows[i][0]] == labels[rows[i - 1][0]] for i in range(len(rows))]
    names = ["" if again else name for name, again in zip(shown, repeated, strict=True)]
    return dataclasses.replace(_arranged(images, order), names=names)


def name_of(label: int, class_names: Sequence[str] = ()) -> str:
    """Of a class, or its number where there are no names; "" for no class."""
    if label < 0:
        return ""
    return class_names[label] if label < len(class_names) else f"class {label}"


def _arranged(images: np.ndarray, order: np.ndarray) -> Panel:
    """The images of these numbers (rows, columns); -1 for an empty cell."""
    filled = order >= 0
    return Panel(images[np.maximum(order, 0)], filled=None if filled.all() else filled)


def factor_for(height: int, width: int, rows: int, columns: int) -> int:
    """By what whole factor so many rows and columns of images of this size are enlarged.

    The least that makes the shorter side of all SHORTER pixels, and of an image LEAST_IMAGE; less,
    where the longer side would be more than LONGER.
    """
    sides = sorted((rows * height, columns * width))
    wanted = max(math.ceil(SHORTER / sides[0]), math.ceil(LEAST_IMAGE / min(height, width)))
    return max(1, min(wanted, LONGER // sides[1]))


def drawn(*panels: Panel) -> UInt8[np.ndarray, "h w c"]:
    """The panels side by side, of images of one size, as a picture (height, width, channels)."""
    rows = max(panel.images.shape[0] for panel in panels)
    columns = sum(panel.images.shape[1] for panel in panels)
    height, width = panels[0].images.shape[2:4]
    factor = factor_for(height, width, rows, columns)
    sides = sorted((rows * height * factor, columns * width * factor))
    size = max(TEXT, sides[0] // 40, sides[1] // 100)
    parts = [_Layout(panel, factor, size).picture() for panel in panels]
    tallest = max(len(part) for part in parts)
    canvas = [_canvas(tallest, part.shape[1], part.shape[2]) for part in parts]
    for whole, part in zip(canvas, parts, strict=True):
        whole[: len(part)] = part
    return np.concatenate(canvas, axis=1)


def _canvas(height: int, width: int, channels: int) -> UInt8[np.ndarray, "h w c"]:
    """Opaque background."""
    made = np.full((height, width, channels), BACKGROUND, np.uint8)
    made[..., 3:] = OPAQUE
    return made


class _Layout:
    """Where the parts of one panel stand in its picture, in pixels."""

    def __init__(self, panel: Panel, factor: int, size: int) -> None:
        self.panel, self.factor, self.size = panel, factor, size
        rows, columns, height, width, self.channels = panel.images.shape
        self.cell = height * factor + GAP, width * factor + GAP
        names = [_shortened(name, size, LONGEST_NAME * size) for name in panel.names]
        self.names = names
        self.left = max((math.ceil(_font(size).getlength(n)) + 2 * GAP for n in names), default=0)
        self.top = size + 2 * GAP if panel.titles else 0
        self.shape = self.top + rows * self.cell[0] + GAP, self.left + columns * self.cell[1] + GAP

    def picture(self) -> UInt8[np.ndarray, "h w c"]:
        canvas = _canvas(*self.shape, self.channels)
        rows, columns = self.panel.images.shape[:2]
        for row in range(rows):
            for column in range(columns):
                if self.panel.filled is None or self.panel.filled[row, column]:
                    self._put(canvas, row, column)
        return self._lettered(canvas) if self.panel.titles or self.names else canvas

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Of an image."""
        return self.top + GAP + row * self.cell[0], self.left + GAP + column * self.cell[1]

    def _put(self, canvas: np.ndarray, row: int, column: int) -> None:
        shown = _enlarged(self.panel.images[row, column], self.factor)
        if self.panel.hidden is not None:
            hidden = _enlarged(self.panel.hidden[row, column], self.factor)
            y, x = np.nonzero(hidden)
            stripe = self.size * STRIPE // TEXT
            shown[y, x, :3] = np.array(HATCH)[(x + y) // stripe % 2][:, None]
        top, left = self.corner(row, column)
        if self.panel.framed is not None and self.panel.framed[row, column]:
            below, right = top + len(shown) + FRAME, left + shown.shape[1] + FRAME
            canvas[top - FRAME : below, left - FRAME : right, :3] = INK
        canvas[top : top + len(shown), left : left + shown.shape[1]] = shown

    def _lettered(self, canvas: np.ndarray) -> UInt8[np.ndarray, "h w c"]:
        """With titles and names."""
        image = Image.fromarray(_squeezed(canvas))
        brush = ImageDraw.Draw(image)
        ink: Any = INK if self.channels == 1 else (INK,) * 3 + (OPAQUE,) * (self.channels - 3)
        width = self.cell[1] - GAP
        size = _fitting(self.panel.titles, self.size, width)
        for column, title in enumerate(self.panel.titles):
            place = self.corner(0, column)[1] + width / 2, self.top / 2
            brush.text(place, _shortened(title, size, width), ink, _font(size), anchor="mm")
        for row, name in enumerate(self.names):
            place = self.left - GAP, self.corner(row, 0)[0] + self.cell[0] / 2
            brush.text(place, name, ink, _font(self.size), anchor="rm")
        return np.asarray(image).reshape(canvas.shape)


def _enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """Each pixel as factor x factor pixels."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The letters of matplotlib, which has more alphabets than Pillow; without it, Pillow's."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(path, size)


def _fitting(texts: Sequence[str], size: int, width: int) -> int:
    """The largest size, up to the given one, in which all texts are so narrow; LEAST_TEXT at
    least."""
    while size > LEAST_TEXT and any(_font(size).getlength(text) > width for text in texts):
        size -= 1
    return size


def _shortened(text: str, size: int, width: int) -> str:
    """As much of a text as is so narrow."""
    if _font(size).getlength(text) <= width:
        return text
    kept = next((n for n in range(len(text) - 1, 0, -1)
                 if _font(size).getlength(text[:n] + "…") <= width), 0)  # fmt: skip
    return text[:kept] + "…"


def grid(
    images: Shaped[np.ndarray, "n *shape"],
    columns: int | None = None,
    *,
    padding: int = 2,
    background: int = 128,
) -> UInt8[np.ndarray, "rows columns channels"]:
    """Images (n, height, width, channels) side by side as they are, for a plot of one's own.

    InvalidValue unless they are uint8 with 1, 3 or 4 (RGBA) channels. `padding` pixels of grey
    `background`, opaque, are around each; default about as many rows as columns.
    """
    panel = in_square(images, columns)
    rows, columns, height, width, channels = panel.images.shape
    cell = (height + padding, width + padding)
    shape = (rows * cell[0] + padding, columns * cell[1] + padding, channels)
    canvas = np.full(shape, background, np.uint8)
    canvas[..., 3:] = OPAQUE
    for i, image in enumerate(images):
        top, left = (i // columns) * cell[0] + padding, (i % columns) * cell[1] + padding
        canvas[top : top + height, left : left + width] = image
    return canvas


def write_png(path: str | Path, picture: Shaped[np.ndarray, "*shape"]) -> None:
    """Writes uint8 (height, width, 1, 3 or 4) as PNG, whole or not at all; else InvalidValue."""
    _check(picture, 3)
    with atomic_write(path) as file:
        Image.fromarray(_squeezed(picture)).save(file, format="PNG")


def write_gif(
    path: str | Path,
    frames: Shaped[np.ndarray, "n *shape"],
    seconds: float = 0.1,
    last: float = 1.0,
) -> None:
    """Writes uint8 pictures (n, height, width, 1 or 3) as an animation, whole or not at all.

    seconds: for which a frame is shown, in hundredths; `last` of the last one, before it begins
    again. InvalidValue for no pictures, or transparent ones.
    """
    if not len(frames):
        raise InvalidValue("frames", Words("none"), "at least one")
    _check(frames, 4, (1, 3))
    images = [Image.fromarray(_squeezed(frame)) for frame in frames]
    times = [round(1000 * seconds)] * (len(images) - 1) + [round(1000 * last)]
    with atomic_write(path) as file:
        images[0].save(
            file, format="GIF", save_all=True, append_images=images[1:], duration=times, loop=0
        )


def write_npz(path: str | Path, **arrays: np.ndarray) -> None:
    """Writes arrays as a compressed npz, whole or not at all."""
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _squeezed(picture: np.ndarray) -> np.ndarray:
    """Without the channel axis of grey, as Pillow has it."""
    return picture[..., 0] if picture.shape[-1] == 1 else picture


def _check(images: np.ndarray, rank: int, channels: Sequence[int] = CHANNELS) -> None:
    """InvalidValue for what cannot be such a picture, or pictures."""
    if images.ndim != rank or images.shape[-1] not in channels or images.dtype != np.uint8:
        got = Words(f"{images.dtype} {images.shape}")
        some = f"{', '.join(map(str, channels[:-1]))} or {channels[-1]}"
        expected = f"uint8 (height, width, channels) with {some} channels, as such a file has"
        raise InvalidValue("images", got, expected)
