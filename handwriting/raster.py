"""A drawing as pixels: PNG, and GIF of the pen as it writes.

A pixel is the share of it that is covered by ink, of SUB x SUB points in it.
"""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from handwriting.curves import flattened
from handwriting.drawing import Drawing, Look
from handwriting.preprocessing import Stroke
from handwriting.timing import timed, total
from options.choices import require
from options.errors import Words

SUB = 4
MOST = 2**24  # pixels of a picture
SHADES = 32  # of a GIF
TICK, FASTEST = 10, 40  # milliseconds: what GIF counts in, and of a frame at least


class Canvas:
    """A picture that ink is put on.

    Attributes:
      scale: pixels in a millimetre.
    """

    def __init__(self, drawing: Drawing, thickness: float, width: int) -> None:
        """thickness: of lines, in millimetres. width: in pixels."""
        self.scale = width / drawing.width
        height = max(1, round(drawing.height * self.scale))
        got = Words(f"{height} x {width} pixels")
        require(height * width <= MOST, "pixels", got, f"at most {MOST:,} in all")
        self.thickness = max(thickness * self.scale, 1.0) * SUB
        self.ink = Image.new("L", (width * SUB, height * SUB), 0)
        self.brush = ImageDraw.Draw(self.ink)

    def draw(self, path: Stroke) -> None:
        """A line through points in millimetres, with round ends and joints."""
        corners = [(float(x), float(y)) for x, y in path * self.scale * SUB - 0.5]
        self.brush.line(corners, fill=255, width=max(1, round(self.thickness)))
        for corner in corners:
            self.brush.circle(corner, (self.thickness - 1) / 2, fill=255)

    def covered(self) -> UInt8[np.ndarray, "height width"]:
        """The share of ink of every pixel, 255 for all of it."""
        return np.asarray(self.ink.reduce(SUB))


def coverage(drawing: Drawing, look: Look) -> UInt8[np.ndarray, "height width"]:
    """The share of ink of every pixel of a picture `look.pixels` wide, 255 for all of it."""
    canvas = Canvas(drawing, look.thickness, look.pixels)
    for stroke in drawing.strokes:
        canvas.draw(flattened(stroke) if look.smooth else stroke)
    return canvas.covered()


def png(drawing: Drawing, look: Look) -> bytes:
    """RGB on white. InvalidValue where it would have too many pixels."""
    share = coverage(drawing, look)[..., None] / np.float32(255)
    picture = np.rint(255 - share * (255 - np.array(look.rgb, np.float32))).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return file.getvalue()


def gif(drawing: Drawing, look: Look) -> bytes:
    """The pen as it writes, again and again, the last frame held; in at most `look.frames` frames.

    Times are those of `handwriting.timing`, to 10 ms a frame.
    """
    canvas = Canvas(drawing, look.thickness, look.gif_pixels)
    strokes = timed(drawing, look)
    whole = 1000 * total(strokes)
    count = int(np.clip(np.ceil(whole / FASTEST), 1, look.frames))
    step = max(round(whole / count / TICK), 1) * TICK
    frames, first = [], 0
    for time in np.linspace(0, total(strokes), count + 1)[1:]:
        for stroke in strokes[first:]:
            if stroke.begin > time:
                break
            canvas.draw(stroke.until(time))
            first += stroke.begin + stroke.duration <= time
        frames.append(_shaded(canvas.covered(), look.rgb))
    file = io.BytesIO()
    held = [step] * (count - 1) + [max(round(1000 * look.hold), step)]
    frames[0].save(
        file, format="GIF", save_all=True, append_images=frames[1:], duration=held, loop=0
    )
    return file.getvalue()


def _shaded(covered: np.ndarray, rgb: tuple[int, int, int]) -> Image.Image:
    """A frame in shades from white to the colour."""
    frame = Image.fromarray(np.rint(covered * np.float32((SHADES - 1) / 255)).astype(np.uint8), "P")
    shades = 255 - np.linspace(0, 1, SHADES)[:, None] * (255 - np.array(rgb))
    frame.putpalette(np.rint(shades).astype(np.uint8).tobytes())
    return frame
