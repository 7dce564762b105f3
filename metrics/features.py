"""Images to feature vectors, behind one small interface.

A feature network is a `FeatureExtractor`: a name, a version that changes with its weights, and
`apply`, which maps uint8 images to features and, for networks that classify, logits. A metric
computed from features means nothing without the extractor's identity, so the two travel together.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Float32, Real, UInt8

from options.errors import InvalidValue, Words
from options.progress import progress_bar


class Activations(NamedTuple):
    """The output of a feature network for a batch of images."""

    features: Float[Array | np.ndarray, "b dim"]
    logits: Float[Array | np.ndarray, "b classes"] | None


@dataclass(frozen=True)
class FeatureExtractor:
    """A feature network with its weights.

    name: which network ("digits", "efficientnet_lite0", ...).
    version: hash of its weights; metrics of different versions cannot be compared.
    dim: length of a feature vector.
    apply: jitted map of uint8 images (b, H, W, C) to `Activations`. It does its own resizing and
        normalisation, and raises InvalidValue for a shape that it cannot take. Grey levels may be
        float32, whole or not, in which it can be differentiated.
    channels: of the images that it is for, 1 or 3.
    preprocessing: what is done to images before the network, as reports say it.
    source: which published file its weights were made of, "" where that is not known.
    """

    name: str
    version: str
    dim: int
    apply: Callable[[Real[Array | np.ndarray, "b h w c"]], Activations]
    channels: int = 3
    preprocessing: str = ""
    source: str = ""

    @property
    def identity(self) -> str:
        """Name and version, as written beside every metric."""
        return f"{self.name}@{self.version}"

    @property
    def about(self) -> str:
        """Preprocessing and source of the weights, as written beside every metric."""
        return ", ".join(part for part in (self.preprocessing, self.source) if part)

    def check(self, image_shape: tuple[int, ...]) -> None:
        """InvalidValue if it cannot take images of this shape; nothing is compiled."""
        jax.eval_shape(self.apply, jax.ShapeDtypeStruct((1, *image_shape), np.uint8))

    def __call__(self, images: UInt8[np.ndarray, "b h w c"]) -> Float32[np.ndarray, "b dim"]:
        """Features of one batch."""
        return np.asarray(self.apply(images).features, np.float32)


def stream(
    extractor: FeatureExtractor,
    images: Iterable[UInt8[np.ndarray, "_ _ _"]],
    batch_size: int = 64,
    total: int | None = None,
    progress: bool = True,
) -> Iterator[Activations]:
    """Activations of a whole set, batch after batch in the order given, each image once.

    images: uint8 (H, W, C), all of one shape. The last batch is padded before the network, so
        that one program serves all, and cut after it.
    total: number of images, for the progress bar only.
    """
    with progress_bar(
        total=total, desc=f"{extractor.name} features", unit="image", disable=not progress
    ) as bar:
        for batch in _batches(images, batch_size):
            count = len(batch)
            padding = np.zeros((batch_size - count, *batch.shape[1:]), np.uint8)
            out = jax.device_get(extractor.apply(np.concatenate([batch, padding])))
            yield Activations(
                np.asarray(out.features[:count], np.float32),
                None if out.logits is None else np.asarray(out.logits[:count], np.float32),
            )
            bar.update(count)


def extract(
    extractor: FeatureExtractor,
    images: Iterable[UInt8[np.ndarray, "_ _ _"]],
    batch_size: int = 64,
    total: int | None = None,
    progress: bool = True,
) -> Activations:
    """`stream`, gathered into one array of features (and logits) for the whole set."""
    parts = list(stream(extractor, images, batch_size, total, progress))
    if not parts:
        raise InvalidValue("images", Words("an empty set"), "at least one image")
    features = np.concatenate([part.features for part in parts])
    logits = [part.logits for part in parts if part.logits is not None]
    return Activations(features, np.concatenate(logits) if logits else None)


def _batches(images: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    batch: list[np.ndarray] = []
    for image in images:
        if batch and image.shape != batch[0].shape:
            got = Words(f"shapes {batch[0].shape} and {image.shape}")
            raise InvalidValue("images", got, "one shape; resize them to one size first")
        batch.append(image)
        if len(batch) == batch_size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)
