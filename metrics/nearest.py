"""Does the model copy: distances from samples to their nearest training images.

    d(x) = min over training images y of |x - y|_2,    pixels in [0, 1]

A distance alone means nothing. It is set beside that of held-out real images to the training set
(what a perfect model would show) and of training images to the nearest other one. Samples nearer
than nearly all held-out images are suspects, and are counted.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, UInt8

BLOCK = 1024  # images compared at a time
BLOCK_BYTES = 2**28  # of their pixels as float32
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95)


@runtime_checkable
class Images(Protocol):
    """Images that are read as they are needed, see `metrics.quality.ImageSet`."""

    @property
    def count(self) -> int: ...

    def read(self, indices: Int[np.ndarray, " b"], /) -> tuple[np.ndarray, np.ndarray]: ...


def nearest(
    queries: UInt8[np.ndarray, "n *shape"],
    references: UInt8[np.ndarray, "m *shape"],
    exclude: Int[np.ndarray, "n"] | None = None,
    block: int = BLOCK,
) -> tuple[Float32[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Distance and index of the nearest reference of each query.

    exclude: for each query the index of a reference that does not count, such as itself; -1 for
      none.
    block: images compared at a time on either side; bounds the memory to block^2 distances.
    """
    blocks = (references[i : i + block] for i in range(0, len(references), block))
    return nearest_in(queries, blocks, exclude, block)


def nearest_in(
    queries: UInt8[np.ndarray, "n *shape"],
    blocks: Iterable[np.ndarray],
    exclude: Int[np.ndarray, "n"] | None = None,
    block: int = BLOCK,
) -> tuple[Float32[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """`nearest` among references that come in blocks, of which one is held at a time."""
    best = np.full(len(queries), np.inf, np.float32)
    index, found = np.zeros(len(queries), np.int64), np.zeros_like(queries)
    start = 0
    for images in blocks:
        y = _vectors(images)
        for i in range(0, len(queries), block):
            rows = slice(i, i + block)
            own = None if exclude is None else exclude[rows] - start
            squared, where = _block_nearest(_vectors(queries[rows]), y, own)
            closer = i + np.flatnonzero(squared < best[rows])
            best[closer], index[closer] = squared[closer - i], where[closer - i] + start
            found[closer] = images[where[closer - i]]
        start += len(images)
    for i in range(0, len(queries), block):
        # |x|^2 + |y|^2 - 2 x.y cancels for near copies, which are what matters: once more, plainly.
        rows = slice(i, i + block)
        best[rows] = np.linalg.norm(_vectors(queries[rows]) - _vectors(found[rows]), axis=1)
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
    train: Images,
    held_out: Images | None,
    max_real: int = 2000,
) -> dict:
    """The report, JSON-able. The training images are read once, a block at a time.

    Quantiles of d for samples, held-out images and training images against the training set (of
    the latter two up to `max_real`, evenly spaced); `ratio`, the median of the samples over that
    of held-out images (1 for a model that neither copies nor strays); `suspects`, the fraction of
    samples nearer than 99 % of the held-out images (0.01 is what chance gives); and the ten
    nearest pairs, to look at. `ratio` is None where held-out images are training images, and so is
    all that concerns them where there are none.
    """
    some = _spaced(train.count, max_real)
    others = samples[:0] if held_out is None else _read(held_out, max_real)
    queries = np.concatenate([samples, others, train.read(some)[0]])
    exclude = np.concatenate([np.full(len(samples) + len(others), -1), some])
    distance, index = nearest_in(queries, _blocks(train, queries[:1].size), exclude)
    ends = [len(samples), len(samples) + len(others)]
    of_samples, of_held_out, of_train = np.split(distance, ends)
    honest: dict[str, Any] = {"held_out": None, "ratio": None, "suspects": None}
    if held_out is not None:
        typical = np.median(of_held_out)
        honest = {
            "held_out": _quantiles(of_held_out),
            "ratio": float(np.median(of_samples) / typical) if typical else None,
            "suspects": float(np.mean(of_samples < np.quantile(of_held_out, 0.01))),
        }
    return {
        "distance": "L2 of pixels in [0, 1]",
        "train_images": train.count,
        "samples": _quantiles(of_samples),
        "train_leave_one_out": _quantiles(of_train),
        **honest,
        "nearest_pairs": [
            {"sample": int(i), "train": int(index[i]), "distance": float(of_samples[i])}
            for i in np.argsort(of_samples, kind="stable")[:10]
        ],
    }


def _read(images: Images, most: int) -> UInt8[np.ndarray, "n h w c"]:
    return images.read(_spaced(images.count, most))[0]


def _blocks(images: Images, numbers: int) -> Iterator[UInt8[np.ndarray, "b h w c"]]:
    """All images of so many numbers each, as many at a time as BLOCK and BLOCK_BYTES allow."""
    size = max(1, min(BLOCK, BLOCK_BYTES // (4 * numbers)))
    for start in range(0, images.count, size):
        yield images.read(np.arange(start, min(start + size, images.count)))[0]


def _spaced(n: int, most: int) -> np.ndarray:
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)


def _quantiles(distances: np.ndarray) -> dict:
    values = np.quantile(distances, QUANTILES)
    named = {f"q{100 * q:02.0f}": float(v) for q, v in zip(QUANTILES, values, strict=True)}
    return {"count": len(distances), **named}
