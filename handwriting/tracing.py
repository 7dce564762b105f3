"""From the image of a glyph to the path of a pen that would draw it.

    1. the ink is thinned to lines one pixel wide, and they become a graph (`handwriting.skeleton`);
    2. what thinning made up is mended: spurs that hardly protrude from the ink around them go, and
       junctions nearer to each other than the ink is wide are one;
    3. at a junction the edges that go on straightest are one stroke, the others begin there;
    4. strokes are smoothed, turned as one writes (from the top left) and put in order.

Coordinates are pixels, x to the right and y down.
"""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from handwriting.skeleton import Graph, Path, thin

SPUR = 0.2  # widths of the ink, by which a line must protrude from a junction to be a stroke
NEAR = 0.9  # widths of the ink, up to which two junctions are one
SMOOTHING = 0.3  # standard deviation of the smoothing, in widths of the ink
FLAT = 0.5  # height over width, up to which a stroke is a bar, drawn after what it crosses
DOT = 1.6  # extent in widths of the ink, up to which a stroke is a dot


def trace(ink: Bool[np.ndarray, "h w"]) -> list[Path]:
    """The strokes that draw `ink`, in the order of writing; none where there is no ink."""
    if not ink.any():
        return []
    ink = np.pad(ink, 2)
    depth = ndimage.distance_transform_edt(ink)
    skeleton = thin(ink)
    parts, count = ndimage.label(ink, np.ones((3, 3)))
    for part in range(1, count + 1):  # thinning may take all of a dot
        if not skeleton[parts == part].any():
            skeleton[np.unravel_index(np.where(parts == part, depth, 0).argmax(), ink.shape)] = True
    width = 2 * float(np.median(depth[skeleton]))
    graph = Graph.of(skeleton)
    graph.remove_spurs(depth, SPUR * width)
    graph.merge_junctions(NEAR * width)
    graph.remove_spurs(depth, SPUR * width)
    strokes = [_smoothed(_visible(path, width), SMOOTHING * width) for path in graph.strokes(width)]
    strokes = [_from_the_start(path, DOT * width) for path in strokes]
    return [path - 2 for path in sorted(strokes, key=lambda path: _rank(path, DOT * width))]


def even(path: Path, spacing: float) -> Path:
    """The path by points about `spacing` apart along it, its ends kept."""
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0, at[-1], max(2, int(np.ceil(at[-1] / spacing)) + 1))
    return np.stack([np.interp(wanted, at, coordinate) for coordinate in path.T], 1)


def _visible(path: Path, width: float) -> Path:
    """The path, or a short tick in place of one that thinning left nearly nothing of."""
    if np.linalg.norm(np.ptp(path, axis=0)) >= width / 2:
        return path
    centre = (path.min(0) + path.max(0)) / 2
    return centre + width / 4 * np.array([[-0.3, -1.0], [0.3, 1.0]])


def _smoothed(path: Path, std: float) -> Path:
    """The path smoothed along itself, its ends kept; a closed one stays closed."""
    path = even(path, 1.0)
    if np.array_equal(path[0], path[-1]) and len(path) > 2 * std:
        ring = ndimage.gaussian_filter1d(path[:-1], std, axis=0, mode="wrap")
        return np.concatenate([ring, ring[:1]])
    # Reflected through its end points, a path keeps them.
    reach = min(len(path) - 1, int(4 * std) + 1)
    before = 2 * path[0] - path[reach:0:-1]
    after = 2 * path[-1] - path[-2 : -reach - 2 : -1]
    whole = ndimage.gaussian_filter1d(np.concatenate([before, path, after]), std, axis=0)
    return whole[reach : reach + len(path)]


def _from_the_start(path: Path, dot: float) -> Path:
    """The path as one writes it: from the top left; a closed one from the top, to the left."""
    if np.array_equal(path[0], path[-1]) and np.ptp(path, axis=0).max() > dot:
        ring = path[:-1]
        ring = np.roll(ring, -int(np.argmin(ring[:, 1] - 0.3 * ring[:, 0])), axis=0)
        x, y = ring.T
        turns_left = np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0  # with y down
        ring = ring if turns_left else np.roll(ring[::-1], 1, axis=0)
        return np.concatenate([ring, ring[:1]])
    from_top_left = path.sum(1)
    return path if from_top_left[0] <= from_top_left[-1] else path[::-1]


def _rank(path: Path, dot: float) -> tuple[bool, float, float]:
    """Strokes are drawn in the order of this: dots last, others from left to right."""
    low, high = path.min(0), path.max(0)
    width, height = high - low
    flat = height <= FLAT * width
    x = (low[0] + high[0]) / 2 + 0.2 * width if flat else low[0]
    return bool(max(width, height) <= dot), float(x), float(low[1])
