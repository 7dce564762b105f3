"""Networks of inverted bottlenecks: EfficientNet-Lite0 and MobileNetV2 differ in a table alone.

    image -> stem -> inverted bottlenecks -> head: 1280 maps -> mean: 1280 features -> 1000 logits

An inverted bottleneck widens by a 1x1 convolution, filters each channel, and narrows again (Sandler
et al. 2018). The tools that convert published weights fold batch normalisation into the
convolutions.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Stage(NamedTuple):
    """Repeated bottlenecks, of which the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    width: int


class Maps(NamedTuple):
    """The last feature map, its mean over pixels, and the logits."""

    map: Float[Array, "b h w 1280"]
    features: Float[Array, "b 1280"]
    logits: Float[Array, "b 1000"]


class Depthwise(nn.Module):
    """Depthwise convolution, as a sum of shifted slices.

    XLA's CPU backend runs a grouped convolution several times slower.
    """

    kernel: int
    stride: int
    symmetric: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        k, s = self.kernel, self.stride
        weight = self.param("kernel", nn.initializers.lecun_normal(), (k, k, x.shape[-1]))
        out = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        pads = [padding(n, k, s, self.symmetric) for n in x.shape[1:3]]
        height, width = (-(-n // s) for n in x.shape[1:3])
        x = jnp.pad(x, [(0, 0), *pads, (0, 0)])
        for i in range(k):
            for j in range(k):
                rows = slice(i, i + (height - 1) * s + 1, s)
                columns = slice(j, j + (width - 1) * s + 1, s)
                out = out + weight[i, j] * x[:, rows, columns]
        return out


def padding(size: int, kernel: int, stride: int, symmetric: bool) -> tuple[int, int]:
    """PyTorch's, symmetric, or TensorFlow's, where the odd pixel goes to the right."""
    if symmetric:
        return kernel // 2, kernel // 2
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class InvertedBottlenecks(nn.Module):
    """x: (b, H, W, 3), normalised; any H and W from 32 up.

    Attributes:
      stages: of the bottlenecks.
      symmetric: whether convolutions are padded as PyTorch pads them, else as TensorFlow does.
    """

    stages: tuple[Stage, ...]
    symmetric: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Maps:
        pads = [padding(n, 3, 2, self.symmetric) for n in x.shape[1:3]]
        x = nn.relu6(nn.Conv(32, (3, 3), strides=2, padding=pads, name="stem")(x))
        index = 0
        for stage in self.stages:
            for repeat in range(stage.repeats):
                x = self._bottleneck(x, stage, stage.stride if repeat == 0 else 1, f"block_{index}")
                index += 1
        x = nn.relu6(nn.Conv(1280, (1, 1), name="head")(x))
        features = jnp.mean(x, axis=(1, 2))
        return Maps(x, features, nn.Dense(1000, name="classifier")(features))

    def _bottleneck(
        self, x: Float[Array, "b h w c"], stage: Stage, stride: int, name: str
    ) -> Float[Array, "b h2 w2 d"]:
        h, width = x, x.shape[-1]
        if stage.expand != 1:
            h = nn.relu6(nn.Conv(width * stage.expand, (1, 1), name=f"{name}_expand")(h))
        depthwise = Depthwise(stage.kernel, stride, self.symmetric, name=f"{name}_depthwise")
        h = nn.relu6(depthwise(h))
        h = nn.Conv(stage.width, (1, 1), name=f"{name}_project")(h)
        return x + h if stride == 1 and width == stage.width else h
