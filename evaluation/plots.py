"""Plots by matplotlib, as pictures that `storage.pictures` writes."""

from typing import Any

import numpy as np
from jaxtyping import UInt8

from options.project import extra


def pyplot() -> Any:
    """matplotlib.pyplot, which draws into files alone; NotInstalled where there is none."""
    with extra("plots"):
        import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def pixels(figure: Any) -> UInt8[np.ndarray, "h w 3"]:
    """A figure of matplotlib as a picture; the figure is closed."""
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    pyplot().close(figure)
    return picture
