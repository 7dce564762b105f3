"""Resampling a picture by a factor of two: plain, through a FIR filter, or through both and a conv.

With a kernel k of n taps, normalised to sum 1, separable over height and width,

    down:  y[i] = sum_j k[j] x[2 i + (n - 1) // 2 - j]                                     (1)
    up:    y[i] = sum_j 2 k[j] u[i + n // 2 - j],     u[2 i] = x[i],  u[2 i + 1] = 0         (2)

with x zero outside (Karras et al. 2019; the StyleGAN-2 kernel is 1, 3, 3, 1). Both are sums of
strided slices here: the textbook form, a grouped convolution, is up to a hundred times slower.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, DTypeLike, Float

from models.layers.convolution import Conv

Picture = Float[Array, "b h w c"]
Resample = Callable[[Array], Array]


def filter_axis(
    x: Array, axis: int, taps: Sequence[float], offsets: Sequence[int], stride: int, size: int
) -> Array:
    """y[i] = sum_j taps[j] x[stride i + offsets[j]] for i < size along one axis; x is 0 outside."""
    length = x.shape[axis]
    before = max(0, -min(offsets))
    after = max(0, stride * (size - 1) + max(offsets) + 1 - length)
    padding = [(before, after) if a == axis else (0, 0) for a in range(x.ndim)]
    x = jnp.pad(x, padding)
    return sum(
        tap * lax.slice_in_dim(x, o + before, o + before + stride * (size - 1) + 1, stride, axis)
        for tap, o in zip(taps, offsets, strict=True)
    )


def normalized(kernel: Sequence[float]) -> list[float]:
    return list(np.asarray(kernel, np.float64) / np.sum(kernel))


def fir_filter(x: Picture, kernel: Sequence[float], pad: tuple[int, int], stride: int = 1) -> Array:
    """Pads with zeros by `pad` before and after, convolves with the kernel, keeps every stride-th."""
    k = normalized(kernel)
    for axis in (1, 2):
        size = (x.shape[axis] + sum(pad) - len(k)) // stride + 1
        offsets = [len(k) - 1 - j - pad[0] for j in range(len(k))]
        x = filter_axis(x, axis, k, offsets, stride, size)
    return x


def fir_down(x: Picture, kernel: Sequence[float]) -> Array:
    """Equation (1): (b, h, w, c) -> (b, h/2, w/2, c)."""
    p = len(kernel) - 2
    return fir_filter(x, kernel, ((p + 1) // 2, p // 2), stride=2)


def fir_up(x: Picture, kernel: Sequence[float], margin: int = 0) -> Array:
    """Equation (2): (b, h, w, c) -> (b, 2h, 2w, c), or `margin` more pixels on every side.

    Even and odd outputs see every second tap each; they are computed apart and interleaved.
    """
    k = 2 * np.asarray(normalized(kernel))
    before = (len(k) - 1) // 2 + 1 + margin
    for axis in (1, 2):
        size = x.shape[axis] + margin
        phases = []
        for phase in (0, 1):
            # y[2 i + phase] = sum_m k[n - 1 - m] u[2 i + phase + m - before]
            taps = [m for m in range(len(k)) if (phase + m - before) % 2 == 0]
            offsets = [(phase + m - before) // 2 for m in taps]
            flipped = [float(k[len(k) - 1 - m]) for m in taps]
            phases.append(filter_axis(x, axis, flipped, offsets, 1, size))
        interleaved = jnp.stack(phases, axis + 1)
        x = interleaved.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def nearest_up(x: Picture) -> Array:
    """Each pixel twice, along height and width."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def average_down(x: Picture) -> Array:
    """The mean of each 2 x 2 square."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


class Downsample(nn.Module):
    """Half the size, to `width` channels by a strided 3x3 convolution if `with_conv`."""

    width: int
    with_conv: bool
    fir_kernel: tuple[float, ...] | None
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(self, x: Picture) -> Array:
        kernel = self.fir_kernel
        if not self.with_conv:
            return average_down(x) if kernel is None else fir_down(x, kernel)
        if kernel is None:
            x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
        else:
            p = len(kernel)
            x = fir_filter(x, kernel, ((p + 1) // 2, p // 2))
        return Conv(self.width, stride=2, padding=((0, 0), (0, 0)), dtype=self.dtype, name="conv")(x)


class Upsample(nn.Module):
    """Twice the size, to `width` channels by a 3x3 convolution if `with_conv`."""

    width: int
    with_conv: bool
    fir_kernel: tuple[float, ...] | None
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(self, x: Picture) -> Array:
        kernel = self.fir_kernel
        if not self.with_conv:
            return nearest_up(x) if kernel is None else fir_up(x, kernel)
        if kernel is None:
            return Conv(self.width, dtype=self.dtype, name="conv")(nearest_up(x))
        # One pixel more on each side, so that the convolution sees filtered values, not zeros.
        x = fir_up(x, kernel, margin=1)
        return Conv(self.width, padding=((0, 0), (0, 0)), dtype=self.dtype, name="conv")(x)
