"""Images that are not digits: what the digit classifier learns to refuse.

A judge that knows only ten classes must put noise and half-formed strokes into one of them, with
confidence. So it gets an eleventh class, made from real digits by the functions below. Each maps
(key, a, b) to one image, where a and b are digits of different classes, all (28, 28) in [0, 1].
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

Image = Float[Array, "28 28"]


def uniform(key: Key[Array, ""], a: Image, b: Image) -> Image:
    """Independent uniform pixels, from faint to the full range."""
    noise, level = jax.random.split(key)
    return jax.random.uniform(noise, a.shape) * jax.random.uniform(level, minval=0.2, maxval=1.0)


def gaussian(key: Key[Array, ""], a: Image, b: Image) -> Image:
    """Independent normal pixels of any mean and spread, clipped."""
    noise, mean, std = jax.random.split(key, 3)
    mean = jax.random.uniform(mean)
    std = jax.random.uniform(std, minval=0.05, maxval=1.0)
    return jnp.clip(mean + std * jax.random.normal(noise, a.shape), 0, 1)


def chimera(key: Key[Array, ""], a: Image, b: Image) -> Image:
    """One half of a and the other half of b, glued across or along."""
    side, along = jax.random.bernoulli(key, shape=(2,))
    half = jnp.arange(28) < 14
    first = jnp.where(along, half[:, None], half[None, :])
    return jnp.where(first ^ side, a, b)


def overlay(key: Key[Array, ""], a: Image, b: Image) -> Image:
    """Both digits, written over one another."""
    return jnp.maximum(a, b)


def blurred(key: Key[Array, ""], a: Image, b: Image) -> Image:
    """A digit blurred until its strokes run together (standard deviation 2.5 to 5 pixels)."""
    width = jax.random.uniform(key, minval=2.5, maxval=5.0)
    x = jnp.arange(28.0)
    kernel = jnp.exp(-0.5 * jnp.square((x[:, None] - x[None, :]) / width))
    kernel = kernel / jnp.sum(kernel, axis=1, keepdims=True)
    smooth = kernel @ a @ kernel.T
    return smooth / jnp.maximum(jnp.max(smooth), 1e-6)


def shuffled(key: Key[Array, ""], a: Image, b: Image) -> Image:
    """The strokes of a digit cut into 4 x 4 patches of 7 pixels and put back in any order."""
    patches = a.reshape(4, 7, 4, 7).transpose(0, 2, 1, 3).reshape(16, 7, 7)
    patches = jax.random.permutation(key, patches)
    return patches.reshape(4, 4, 7, 7).transpose(0, 2, 1, 3).reshape(28, 28)


def blank(key: Key[Array, ""], a: Image, b: Image) -> Image:
    """One grey level everywhere, a third of the time black."""
    level, black = jax.random.split(key)
    return jnp.full(a.shape, jax.random.uniform(level) * jax.random.bernoulli(black, 2 / 3))


REJECTS: dict[str, Callable[[Key[Array, ""], Image, Image], Image]] = {
    "uniform": uniform,
    "gaussian": gaussian,
    "chimera": chimera,
    "overlay": overlay,
    "blurred": blurred,
    "shuffled": shuffled,
    "blank": blank,
}


def partner(key: Key[Array, ""], labels: Int[Array, "b"]) -> Int[Array, "b"]:
    """For each digit of a batch, the index of another digit of a different class."""
    different = labels[:, None] != labels[None, :]
    return jax.random.categorical(key, jnp.where(different, 0.0, -jnp.inf), axis=1)


def make(
    name: str, key: Key[Array, ""], digits: Float[Array, "b 28 28"], labels: Int[Array, "b"]
) -> Float[Array, "b 28 28"]:
    """One reject of the named kind for each digit."""
    pair, draw = jax.random.split(key)
    keys = jax.random.split(draw, len(digits))
    return jax.vmap(REJECTS[name])(keys, digits, digits[partner(pair, labels)])


def control_set(name: str, digits: np.ndarray, labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """`make` for uint8 digits (b, 28, 28, 1), giving uint8 images of the same shape."""
    made = make(
        name, jax.random.key(seed), jnp.asarray(digits[..., 0]) / 255.0, jnp.asarray(labels)
    )
    return np.asarray(jnp.round(made * 255), np.uint8)[..., None]
