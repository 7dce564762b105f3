"""Vision transformers as feature networks: DINOv2 and the image encoder of CLIP.

    patches, class token, positions -> blocks -> norm -> class token -> projection, if there is one

    x <- x + scale * attention(norm(x)),    x <- x + scale * mlp(norm(x))

Dosovitskiy et al. 2021. DINOv2 (Oquab et al. 2023) learns a scale for each channel and may have
registers; CLIP (Radford et al. 2021) norms the tokens first and projects the class token. What the
weights' shapes do not say (`of_shapes`) is in `Style`. Frechet distances of DINOv2's features go
better with what people see than those of Inception's (Stein et al. 2023).
"""

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from metrics.features import Activations, FeatureExtractor
from metrics.resizing import bicubic
from metrics.weights import read_weights, source_of
from options.errors import InvalidValue, Words
from options.precision import FLOAT32
from storage import npz

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HEAD = 64  # channels of a head, in all of the published models but one
HEADS = {1280: 16}  # by width, where they are not of HEAD channels: CLIP ViT-H/14


def quick_gelu(x: Array) -> Array:
    """x sigmoid(1.702 x), of CLIP."""
    return x * nn.sigmoid(1.702 * x)


class Style(NamedTuple):
    """What of the two is not to be seen from shapes.

    Attributes:
      size: of the images, in pixels. norm: means and deviations of channels.
      activation: of the MLP. epsilon: of norms.
      offset: added to the number of patches before positions are interpolated, where there are no
        registers, as the original DINOv2 does.
    """

    size: int
    norm: tuple[tuple[float, ...], tuple[float, ...]]
    activation: Callable[[Array], Array]
    epsilon: float
    offset: float = 0.0


STYLES = {
    "dinov2": Style(224, IMAGENET, functools.partial(nn.gelu, approximate=False), 1e-6, 0.1),
    "clip": Style(224, CLIP, quick_gelu, 1e-5),
}


class Shape(NamedTuple):
    """What the shapes of the weights say."""

    width: int
    depth: int
    patch: int
    grid: int
    registers: int = 0
    scaled: bool = False
    gated: bool = False
    norm_first: bool = False
    patch_bias: bool = True
    projected: int = 0
    hidden: int = 0


class VisionTransformer(nn.Module):
    """x: (b, size, size, 3), normalised."""

    shape: Shape
    style: Style

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b dim"]:
        s, b = self.shape, len(x)
        kernel = (s.patch, s.patch)
        embed = nn.Conv(s.width, kernel, kernel, "VALID", use_bias=s.patch_bias, name="patches")
        x = embed(x)
        sides = x.shape[1:3]
        token, registers, positions = (
            self.param(name, nn.initializers.zeros, (n, s.width))
            for name, n in (("token", 1), ("registers", s.registers), ("positions", s.grid**2 + 1))
        )
        x = x.reshape(b, -1, s.width)
        x = jnp.concatenate([jnp.broadcast_to(token, (b, 1, s.width)), x], axis=1)
        x = x + self._interpolated(positions, sides)
        if s.registers:
            registers = jnp.broadcast_to(registers, (b, s.registers, s.width))
            x = jnp.concatenate([x[:, :1], registers, x[:, 1:]], axis=1)
        x = self._norm("norm_first")(x) if s.norm_first else x
        for i in range(s.depth):
            x = Block(s, self.style, name=f"block_{i}")(x)
        x = self._norm("norm")(x[:, 0])
        return nn.Dense(s.projected, use_bias=False, name="project")(x) if s.projected else x

    def _norm(self, name: str) -> nn.LayerNorm:
        return nn.LayerNorm(epsilon=self.style.epsilon, name=name)

    def _interpolated(self, positions: Array, sides: tuple[int, ...]) -> Array:
        """The learned positions, of a grid x grid, for other numbers of patches."""
        grid = self.shape.grid
        if sides == (grid, grid):
            return positions
        maps = positions[1:].reshape(1, grid, grid, -1)
        if self.shape.registers:  # antialiased, as those models do, by another bicubic kernel
            maps = jax.image.resize(maps, (1, *sides, maps.shape[-1]), "cubic")
        else:
            scales = [(side + self.style.offset) / grid for side in sides]
            maps = bicubic(maps, sides, scales)
        return jnp.concatenate([positions[:1], maps.reshape(-1, self.shape.width)])


class Block(nn.Module):
    """Self-attention and an MLP, each beside a residual."""

    shape: Shape
    style: Style

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        epsilon = self.style.epsilon
        h = self._attention(nn.LayerNorm(epsilon=epsilon, name="norm_0")(x))
        x = x + self._scale("scale_0", h)
        h = self._mlp(nn.LayerNorm(epsilon=epsilon, name="norm_1")(x))
        return x + self._scale("scale_1", h)

    def _attention(self, x: Array) -> Array:
        (b, n, d), heads = x.shape, HEADS.get(self.shape.width, self.shape.width // HEAD)
        query, key, value = (
            nn.Dense(d, name=name)(x).reshape(b, n, heads, d // heads)
            for name in ("query", "key", "value")
        )
        weights = nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(d // heads))
        found = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(b, n, d)
        return nn.Dense(d, name="out")(found)

    def _mlp(self, x: Array) -> Array:
        s, width = self.shape, x.shape[-1]
        if s.gated:  # SwiGLU, of DINOv2's largest
            gate, h = jnp.split(nn.Dense(2 * s.hidden, name="mlp_0")(x), 2, axis=-1)
            return nn.Dense(width, name="mlp_1")(nn.silu(gate) * h)
        h = self.style.activation(nn.Dense(s.hidden, name="mlp_0")(x))
        return nn.Dense(width, name="mlp_1")(h)

    def _scale(self, name: str, x: Array) -> Array:
        if not self.shape.scaled:
            return x
        return x * self.param(name, nn.initializers.ones, (x.shape[-1],))


def of_shapes(shapes: Mapping[str, tuple[int, ...]]) -> Shape:
    """The network that parameters of these shapes, by their path, are of.

    KeyError or ValueError where they are of none.
    """
    patch, _, _, width = shapes["patches/kernel"]
    hidden, into = shapes["block_0/mlp_1/kernel"][0], shapes["block_0/mlp_0/kernel"][1]
    return Shape(
        width=width,
        depth=sum(name.endswith("/norm_0/scale") for name in shapes),
        patch=patch,
        grid=math.isqrt(shapes["positions"][0] - 1),
        registers=shapes["registers"][0],
        scaled="block_0/scale_0" in shapes,
        gated=into == 2 * hidden,
        norm_first="norm_first/scale" in shapes,
        patch_bias="patches/bias" in shapes,
        projected=shapes.get("project/kernel", (0, 0))[1],
        hidden=hidden,
    )


def extractor(name: str, path: Path) -> FeatureExtractor:
    """The network with the weights at `path`, of grey or RGB images; name: of STYLES."""
    style = STYLES[name]
    try:
        shapes = {name: value.shape for name, value in npz.stand_ins(path).items()}
        network = VisionTransformer(of_shapes(shapes), style)
    except (KeyError, *npz.UNREADABLE):
        expected = f"an .npz file of weights of {name}, which can be read"
        raise InvalidValue("weights", str(path), expected) from None
    params, version = read_weights(path, network, (style.size, style.size, 3))

    @jax.jit
    def forward(params: dict, images: Real[Array, "b h w c"]) -> Activations:
        with FLOAT32.context():
            x = prepared(images, style)
            features: Any = network.apply({"params": params}, x)
        return Activations(features, None)

    def apply(images: Real[Array | np.ndarray, "b h w c"]) -> Activations:
        return forward(params, jnp.asarray(images))

    s = network.shape
    says = f"{style.size} px bicubic, antialiased, channels normalised, ViT {s.width} x {s.depth}"
    source = f"weights of the file with SHA-256 {source_of(path) or 'unknown'}"
    dim = s.projected or s.width
    return FeatureExtractor(name, version, dim, apply, preprocessing=says, source=source)


def prepared(
    images: Real[Array | np.ndarray, "b h w c"], style: Style
) -> Float[Array, "b size size 3"]:
    """Grey repeated to three channels, resized as Pillow resizes floats, normalised."""
    b, _, _, channels = images.shape
    if channels not in (1, 3):
        raise InvalidValue("images", Words(f"{channels} channels"), "1 or 3, which ViT takes")
    size = (b, style.size, style.size, channels)
    x = jnp.clip(jax.image.resize(jnp.asarray(images, jnp.float32), size, "cubic"), 0, 255) / 255
    mean, std = style.norm
    return (jnp.broadcast_to(x, (*size[:3], 3)) - jnp.array(mean)) / jnp.array(std)
