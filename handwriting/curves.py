"""Smooth curves through the points of a stroke: centripetal Catmull-Rom splines.

From p_1 to p_2, with neighbours p_0 and p_3 and d_i = |p_i - p_{i-1}|^(1/2), the curve is the cubic
Bézier of p_1, b_1, b_2, p_2,

    b_1 = (d_1^2 p_2 - d_2^2 p_0 + (2 d_1^2 + 3 d_1 d_2 + d_2^2) p_1) / (3 d_1 (d_1 + d_2))     (1)
    b_2 = (d_3^2 p_1 - d_2^2 p_3 + (2 d_3^2 + 3 d_3 d_2 + d_2^2) p_2) / (3 d_3 (d_3 + d_2))     (2)

(Yuksel, Schaefer and Keyser 2011, "Parameterization and applications of Catmull-Rom curves"). It
has no cusp and no loop between two points, however unevenly they are spaced. At an end of a stroke
b = p.
"""

import numpy as np
from jaxtyping import Float

from handwriting.preprocessing import Stroke

PIECES = 8  # straight ones that stand for the curve between two points


def beziers(stroke: Stroke) -> Float[np.ndarray, "n 4 2"]:
    """The curves between neighbouring points, each as its four control points.

    Points that equal the one before are left out, so there may be fewer curves than n - 1.
    """
    moved = np.any(np.diff(stroke, axis=0) != 0, axis=1)
    p = stroke[np.concatenate([[True], moved])].astype(float)
    d = np.sqrt(np.linalg.norm(np.diff(p, axis=0), axis=1))[:, None]
    first, second = p[:-1].copy(), p[1:].copy()
    first[1:] = _control(p[:-2], p[1:-1], p[2:], d[:-1], d[1:])
    second[:-1] = _control(p[2:], p[1:-1], p[:-2], d[1:], d[:-1])
    return np.stack([p[:-1], first, second, p[1:]], 1)


def _control(
    behind: np.ndarray, p: np.ndarray, ahead: np.ndarray, d_1: np.ndarray, d_2: np.ndarray
) -> np.ndarray:
    """(1); with the points in the other order (2)."""
    weight = 2 * d_1**2 + 3 * d_1 * d_2 + d_2**2
    return (d_1**2 * ahead - d_2**2 * behind + weight * p) / (3 * d_1 * (d_1 + d_2))


def flattened(stroke: Stroke, pieces: int = PIECES) -> Stroke:
    """The curve through the points, by `pieces` straight lines between two of them."""
    curves = beziers(stroke)
    t = np.linspace(0, 1, pieces + 1)[1:, None]
    basis = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], 1)
    return np.concatenate([stroke[:1].astype(float), (basis @ curves).reshape(-1, 2)])
