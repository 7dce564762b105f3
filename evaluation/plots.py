"""Plots as PNG files."""

from typing import Any

from options.project import extra


def pyplot() -> Any:
    """matplotlib.pyplot, which draws into files alone; NotInstalled where there is none."""
    with extra("plots"):
        import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
