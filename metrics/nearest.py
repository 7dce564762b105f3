"""Does the model copy: distances from samples to their nearest training images.

    d(x) = min over training images y of |x - y|_2,    pixels in [0, 1]

A distance alone means nothing. It is set beside that of held-out real images to the training set
(what a perfect model would show) and of training images to the nearest other one. Samples nearer
than nearly all held-out images are suspects, and are counted.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, UInt8

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95)


def nearest(
    queries: UInt8[np.ndarray, "n *shape"],
    references: UInt8[np.ndarray, "m *shape"],
    exclude: Int[np.ndarray, "n"] | None = None,
    block: int = 1024,
) -> tuple[Float32[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Distance and index of the nearest reference of each query.

    exclude: for each query the index of a reference that does not count, such as itself.
    block: images compared at a time on either side; bounds the memory to block^2 distances.
    """
    best = np.full(len(queries), np.inf, np.float32)
    index = np.zeros(len(queries), np.int64)
    for i in range(0, len(queries), block):
        rows = slice(i, i + block)
        x = _vectors(queries[rows])
        for j in range(0, len(references), block):
            own = None if exclude is None else exclude[rows] - j
            squared, where = _block_nearest(x, _vectors(references[j : j + block]), own)
            closer = squared < best[rows]
            best[rows] = np.where(closer, squared, best[rows])
            index[rows] = np.where(closer, where + j, index[rows])
        # |x|^2 + |y|^2 - 2 x.y cancels for near copies, which are what matters: once more, plainly.
        best[rows] = np.linalg.norm(x - _vectors(references[index[rows]]), axis=1)
    return best, index


@jax.jit
def _squared_distances(x: Float[Array, "n dim"], y: Float[Array, "m dim"]) -> Float[Array, "n m"]:
    return (
        jnp.sum(x**2, 1)[:, None]
        + jnp.sum(y**2, 1)[None, :]
        - 2 * jnp.matmul(x, y.T, precision="highest")
    )


def _block_nearest(
    x: np.ndarray, y: np.ndarray, own: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    squared = np.array(_squared_distances(x, y))
    if own is not None:
        rows = np.flatnonzero((own >= 0) & (own < len(y)))
        squared[rows, own[rows]] = np.inf
    where = np.argmin(squared, axis=1)
    return squared[np.arange(len(x)), where], where


def _vectors(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def memorisation(
    samples: UInt8[np.ndarray, "n h w c"],
    train: UInt8[np.ndarray, "m h w c"],
    held_out: UInt8[np.ndarray, "k h w c"] | None,
    max_real: int = 2000,
) -> dict:
    """The report, JSON-able.

    Quantiles of d for samples, held-out images and training images against the training set (of
    the latter two up to `max_real`, evenly spaced); `ratio`, the median of the samples over that
    of held-out images (1 for a model that neither copies nor strays); `suspects`, the fraction of
    samples nearer than 99 % of the held-out images (0.01 is what chance gives); and the ten
    nearest pairs, to look at. `ratio` is None where held-out images are training images, and so is
    all that concerns them where there are none.
    """
    of_samples, index = nearest(samples, train)
    honest: dict[str, Any] = {"held_out": None, "ratio": None, "suspects": None}
    if held_out is not None:
        of_held_out, _ = nearest(held_out[_spaced(len(held_out), max_real)], train)
        typical = np.median(of_held_out)
        honest = {
            "held_out": _quantiles(of_held_out),
            "ratio": float(np.median(of_samples) / typical) if typical else None,
            "suspects": float(np.mean(of_samples < np.quantile(of_held_out, 0.01))),
        }
    some = _spaced(len(train), max_real)
    of_train, _ = nearest(train[some], train, exclude=some)
    return {
        "distance": "L2 of pixels in [0, 1]",
        "train_images": len(train),
        "samples": _quantiles(of_samples),
        "train_leave_one_out": _quantiles(of_train),
        **honest,
        "nearest_pairs": [
            {"sample": int(i), "train": int(index[i]), "distance": float(of_samples[i])}
            for i in np.argsort(of_samples, kind="stable")[:10]
        ],
    }


def _spaced(n: int, most: int) -> np.ndarray:
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)


def _quantiles(distances: np.ndarray) -> dict:
    values = np.quantile(distances, QUANTILES)
    named = {f"q{100 * q:02.0f}": float(v) for q, v in zip(QUANTILES, values, strict=True)}
    return {"count": len(distances), **named}
