"""MobileNetV2 (Sandler et al. 2018), with torchvision's weights: 1280 feature maps, 1000 logits.

    image / 255, normalised by ImageNet's means and deviations -> stem -> 17 bottlenecks -> head

`tools/convert_mobilenet_v2.py` makes the weights file of torchvision's `mobilenet_v2` state dict.
"""

from pathlib import Path

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from metrics.inverted_bottlenecks import InvertedBottlenecks, Stage
from metrics.weights import read_weights

STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(3, 3, 2, 6, 32),
    Stage(4, 3, 2, 6, 64),
    Stage(3, 3, 1, 6, 96),
    Stage(3, 3, 2, 6, 160),
    Stage(1, 3, 1, 6, 320),
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels
NAME = "mobilenet_v2"


class MobileNetV2(InvertedBottlenecks):
    """x: (b, H, W, 3), from `normalised`; any H and W from 32 up."""

    stages: tuple[Stage, ...] = STAGES
    symmetric: bool = True


def normalised(images: UInt8[Array, "b h w c"]) -> Float[Array, "b h w 3"]:
    """Grey repeated to three channels, as torchvision normalises."""
    x = jnp.broadcast_to(images.astype(jnp.float32) / 255, (*images.shape[:3], 3))
    return (x - jnp.array(MEAN)) / jnp.array(STD)


def read(path: Path) -> tuple[dict, str]:
    """Parameters and their version; InvalidValue where the file does not hold them."""
    return read_weights(path, MobileNetV2(), (32, 32, 3))
