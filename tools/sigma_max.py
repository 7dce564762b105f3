"""The largest distance between two images of a data set: what sigma_max should be.

    python -m tools.sigma_max --data digits
    python -m tools.sigma_max --data folder --path ~/pictures --image_size 256
    python -m tools.sigma_max --config configs/mine.py        (what it trains on)
    python -m tools.sigma_max --data folder --path ~/afhq --image_size 512 --by_class

Song & Ermon 2020 ("Improved Techniques", Technique 1): the noise must be as wide as the data, so
that a sample can move from any image to any other,

    sigma_max = max_{i, j} |x_i - x_j|_2.                                       (1)

Equation 3.1 of Traore 2025 ("From Noise to Images") prints a sum over j in place of the maximum;
the values that it gives (375 for AFHQ-512) are maxima, as its text says.

The result is exact. 8-bit images are integers, z = k - 128 in [-128, 127], and for any block of
1,024 dimensions the product z_i . z_j and all its partial sums are integers of at most 2^24,
which float32 holds:

    |x_i - x_j|^2 = (|z_i|^2 + |z_j|^2 - 2 z_i . z_j) (width / 255)^2,  in int64    (2)

With r_i the distance to the mean image, |x_i - x_j| <= r_i + r_j: images are sorted by r, and
blocks of pairs that cannot beat the largest distance found are passed over.            (3)

50,000 images of 32x32x3 take 165 s and 0.7 GB on 2 busy CPU cores where nothing can be passed over
(uniform noise), and seconds where images differ in brightness, as photographs do.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from math import sqrt
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from data import CENTERED, SOURCES, UNIT, Source, Subset, Transform, eval_batches
from options.choices import require
from options.errors import InvalidValue, Words
from options.program import one_line_errors
from options.progress import progress_bar

CHUNK = 1024  # dimensions of which float32 holds the products exactly: 2^24 = 1024 * 128^2
BLOCK_BYTES = 2**27  # of pixels on the device, for each of the two blocks of a pair
MAX_BLOCK = 2048  # images in a block
BATCH = 128


@dataclass(frozen=True)
class Farthest:
    """The two images farthest apart, by index, their distance for pixels in [0, 1], and the
    fraction of all pairs that was computed."""

    distance: float
    pair: tuple[int, int]
    computed: float


def farthest_pair(source: Source, transform: Transform | None = None) -> Farthest:
    """The largest Euclidean distance between two images of `source`, and where it is.

    Args:
      transform: says how images are cropped and resized; nothing else of it is done.

    Memory is bounded: pixels lie in a temporary file, and the device holds two blocks of them.
    InvalidValue for a single image, and for data that are no 8-bit images.
    """
    got = Words(f"{source.name}, which has {len(source)} image")
    require(len(source) >= 2, "data", got, "at least 2 images")
    require(source.is_images, "data", source.name, "images")
    with tempfile.TemporaryDirectory() as folder:
        pixels = _flatten(source, transform or Transform(), Path(folder) / "pixels")
        return _search(pixels)


def _flatten(source: Source, transform: Transform, path: Path) -> UInt8[np.ndarray, "n d"]:
    """All images as rows of a file, filled up with 128 (z = 0) to a multiple of CHUNK columns."""
    rows = None
    transform = replace(transform, flip=False, dequantize=False, augment=None, space=UNIT)
    batches = eval_batches(source, BATCH, transform)
    for step, batch in enumerate(
        progress_bar(batches, "reading images", -(-len(source) // BATCH), unit="batch")
    ):
        levels = UNIT.to_uint8(batch["image"][batch["counts"]])
        levels = levels.reshape(len(levels), -1)
        if rows is None:
            width = -(-levels.shape[1] // CHUNK) * CHUNK
            rows = np.memmap(path, np.uint8, "w+", shape=(len(source), width))
            rows[:, levels.shape[1] :] = 128
        rows[step * BATCH : step * BATCH + len(levels), : levels.shape[1]] = levels
    assert rows is not None
    return rows


def _search(pixels: UInt8[np.ndarray, "n d"]) -> Farthest:
    """Equations (2) and (3) over blocks of rows, those far from the mean first."""
    count, dimensions = pixels.shape
    squares, radii = _norms(pixels)
    order = np.argsort(-radii)
    size = min(MAX_BLOCK, max(BLOCK_BYTES // dimensions, 1), count)
    # The last block begins early instead of being shorter: pairs met twice do no harm.
    starts = [min(start, count - size) for start in range(0, count, size)]
    members = [order[start : start + size] for start in starts]
    best, pair, computed = -1, (0, 0), 0
    total = len(starts) * (len(starts) + 1) // 2
    with jax.enable_x64(True), progress_bar(desc="comparing", total=total, unit="pair") as bar:
        for i, rows in enumerate(members):
            left = jax.device_put(pixels[rows])
            for j in range(i, len(members)):
                columns = members[j]
                if radii[rows[0]] + radii[columns[0]] <= sqrt(max(best, 0)):
                    bar.update(len(members) - j)
                    break
                largest, at = jax.device_get(
                    _largest(left, pixels[columns], squares[rows], squares[columns])
                )
                if largest > best:
                    best, pair = int(largest), (int(rows[at // size]), int(columns[at % size]))
                    bar.set_postfix(distance=f"{sqrt(best) / 255:.3f}")
                computed += 1
                bar.update()
    return Farthest(sqrt(best) / 255, (min(pair), max(pair)), computed / total)


@jax.jit
def _largest(
    left: UInt8[Array, "a d"],
    right: UInt8[Array, "b d"],
    left_squares: Int[Array, "a"],
    right_squares: Int[Array, "b"],
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """The largest squared distance of a row of `left` to one of `right`, and its flat index."""

    def add_chunk(chunk: Int[Array, ""], products: Int[Array, "a b"]) -> Int[Array, "a b"]:
        a, b = (
            jax.lax.dynamic_slice_in_dim(rows, chunk * CHUNK, CHUNK, 1).astype(jnp.float32) - 128
            for rows in (left, right)
        )
        product = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
        return products + product.astype(jnp.int64)

    zero = jnp.zeros((len(left), len(right)), jnp.int64)
    products = jax.lax.fori_loop(0, left.shape[1] // CHUNK, add_chunk, zero)
    squared = left_squares[:, None] + right_squares - 2 * products
    return squared.max(), squared.argmax()


def _norms(
    pixels: UInt8[np.ndarray, "n d"],
) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """|z_i|^2, exactly, and r_i, rounded up."""
    mean = np.zeros(pixels.shape[1])
    for _, z in _blocks(pixels):
        mean += z.sum(0) / len(pixels)
    squares, radii = np.empty(len(pixels), np.int64), np.empty(len(pixels))
    for rows, z in _blocks(pixels):
        squares[rows] = np.square(z).sum(1)  # below 2^53: exact in float64
        radii[rows] = np.sqrt(np.square(z - mean).sum(1))
    return squares, radii * (1 + 1e-9)


def _blocks(pixels: UInt8[np.ndarray, "n d"]) -> Iterator[tuple[slice, Float[np.ndarray, "b d"]]]:
    """Rows as z in float64, a few at a time."""
    for start in range(0, len(pixels), BATCH):
        rows = slice(start, start + BATCH)
        yield rows, pixels[rows].astype(np.float64) - 128


def data_of(args: argparse.Namespace) -> tuple[Source, Transform]:
    """The images that are asked for, and how they are cropped and resized."""
    if args.config:
        from experiment import kinds

        experiment = kinds.open_experiment(args.config)
        return experiment.train_source, experiment.transform
    made: Any = SOURCES[args.data]
    given = {"path": args.path} if args.path else {}
    if not given.keys() <= {field.name for field in fields(made)}:
        raise InvalidValue("path", args.path, but=f"{args.data!r} has none")
    source = made(**given).read(args.split)
    return source, Transform(image_size=args.image_size, crop=args.crop)


def some_of(source: Source, most: int) -> Source:
    """At most so many of the images, chosen at random; all for 0."""
    if not 0 < most < len(source):
        return source
    chosen = np.random.default_rng(0).choice(len(source), most, replace=False)
    return Subset(source, np.sort(chosen))


def by_class(source: Source) -> dict[str, Subset]:
    """The images of each class with two or more, by its name; InvalidValue without classes."""
    require(source.num_classes, "by_class", Words(f"{source.name}, without classes"), "classes")
    labels = source.each_label()
    return {
        name: Subset(source, np.flatnonzero(labels == label), f"{source.name}, {name}")
        for label, name in enumerate(source.class_names)
        if np.sum(labels == label) >= 2
    }


def report(args: argparse.Namespace) -> None:
    """Finds the pair, of all images and where it is asked for of each class, and prints it."""
    source, transform = data_of(args)
    most = args.max_images or 0
    for part in by_class(source).values() if args.by_class else ():
        tell(some_of(part, most), transform)
    tell(some_of(source, most), transform)


def tell(source: Source, transform: Transform) -> None:
    """Finds the pair of a source and prints it."""
    found = farthest_pair(source, transform)
    print(f"{source.name}: {len(source)} images, {found.computed:.1%} of the pairs computed")
    print(f"farthest pair: images {found.pair[0]} and {found.pair[1]}")
    for space in (UNIT, CENTERED):
        sigma_max = found.distance * space.width
        print(f"sigma_max = {sigma_max:.4g} for data in [{space.low:g}, {space.high:g}]")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--data", choices=SOURCES)
    data.add_argument("--config", help="a configuration file, weights or a workdir")
    parser.add_argument("--path", help="of the data set, where it has one")
    parser.add_argument("--split", default="train", help="of the data set (default: train)")
    parser.add_argument("--image_size", type=int, help="crop and resize to this size")
    parser.add_argument("--crop", default="center", help="center, or none to squeeze whole images")
    parser.add_argument("--max_images", type=int, help="take so many, at random")
    parser.add_argument("--by_class", action="store_true", help="of each class, too")
    args = parser.parse_args()
    with one_line_errors():
        report(args)


if __name__ == "__main__":
    main()
