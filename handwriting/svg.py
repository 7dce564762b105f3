"""A drawing as SVG: one path a stroke, lengths in millimetres, for screens and plotters.

The animated one is the same with the times of `handwriting.timing` (SMIL): whatever shows no
animations shows all that is written.
"""

from xml.sax.saxutils import escape

import numpy as np

from handwriting.curves import beziers
from handwriting.drawing import Drawing, Look
from handwriting.preprocessing import Stroke
from handwriting.timing import timed

DIGITS = 3  # after the point, of millimetres and seconds
TITLE = 60  # characters of a title


def svg(drawing: Drawing, look: Look) -> bytes:
    """The drawing as it is when all is written."""
    paths = [f'<path d="{path(stroke, look.smooth)}"/>' for stroke in drawing.strokes]
    return _whole(drawing, look, paths)


def animated_svg(drawing: Drawing, look: Look) -> bytes:
    """The drawing as it is written, once, from the moment that it is shown."""
    paths = []
    for stroke, times in zip(drawing.strokes, timed(drawing, look), strict=True):
        begin, duration = _number(times.begin), _number(times.duration)
        # Beyond the dash of the whole length is a gap of twice that, so that no cap is drawn early.
        paths.append(
            f'<path d="{path(stroke, look.smooth)}" pathLength="1" stroke-dasharray="1 2">'
            f'<set attributeName="visibility" to="hidden" begin="0s" end="{begin}s"/>'
            f'<animate attributeName="stroke-dashoffset" from="1" to="0" begin="{begin}s" '
            f'dur="{duration}s"/></path>'
        )
    return _whole(drawing, look, paths)


def path(stroke: Stroke, smooth: bool) -> str:
    """The data of a path through all points of a stroke; a dot is a line of no length."""
    start = f"M{_pair(stroke[0])}"
    curves = beziers(stroke) if smooth else np.zeros((0, 4, 2))
    if len(curves) > 1:
        return start + "".join(f"C{' '.join(map(_pair, curve[1:]))}" for curve in curves)
    rest = stroke[1:] if len(stroke) > 1 else stroke
    return start + "".join(f"L{_pair(point)}" for point in rest)


def _whole(drawing: Drawing, look: Look, paths: list[str]) -> bytes:
    width, height = _number(drawing.width), _number(drawing.height)
    text = " ".join(drawing.text.split())
    title = text if len(text) <= TITLE else f"{text[: TITLE - 1]}…"
    by = f"Written by {drawing.writer}: " if drawing.writer else ""
    colour = "#{:02x}{:02x}{:02x}".format(*look.rgb)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" '
        f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(title or "Handwriting")}</title>',
        f'<desc id="desc">{escape(by + drawing.text)}</desc>',
        f'<g fill="none" stroke="{colour}" stroke-width="{_number(look.thickness)}" '
        'stroke-linecap="round" stroke-linejoin="round">',
        *paths,
        "</g>\n</svg>\n",
    ]).encode()  # fmt: skip


def _pair(point: np.ndarray) -> str:
    return " ".join(_number(float(value)) for value in point)


def _number(value: float) -> str:
    """As short as it can be."""
    return f"{round(value, DIGITS) + 0.0:.{DIGITS}f}".rstrip("0").rstrip(".")
