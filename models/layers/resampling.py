"""Resampling images by a factor of two: plain, through a FIR filter, or through both and a conv.

With a kernel k of n taps, normalised to sum 1, along height and along width, x zero outside:

    down:  y[i] = sum_j k[j] x[2 i + n // 2 - j]                                           (1)
    up:    y[i] = sum_j 2 k[j] u[i + n // 2 - 1 - j],     u[2 i] = x[i],  u[2 i + 1] = 0     (2)

(Karras et al. 2019; n = 4, k = 1, 3, 3, 1 in the published networks.) Both are sums of strided
slices here: the textbook form, a grouped convolution, is 10 to 100 times slower on a CPU.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float

from models.layers.convolution import Conv

Image = Float[Array, "b h w c"]
Kernel = tuple[float, ...]
Taps = Sequence[tuple[float, int]]

NO_PADDING = ((0, 0), (0, 0))


def taps(kernel: Kernel, shift: int, gain: float = 1.0) -> Taps:
    """(weight, offset) of every tap of sum_j gain k[j] x[i + shift - j]."""
    return [(gain * k / sum(kernel), shift - j) for j, k in enumerate(kernel)]


def filter_axis(x: Array, axis: int, taps: Taps, size: int, stride: int = 1) -> Array:
    """y[i] = sum of weight * x[stride i + offset] over the taps, i < size, x zero outside."""
    offsets = [offset for _, offset in taps]
    before = max(0, -min(offsets))
    after = max(0, stride * (size - 1) + max(offsets) + 1 - x.shape[axis])
    x = jnp.pad(x, [(before, after) if a == axis else (0, 0) for a in range(x.ndim)])

    def every(offset: int) -> Array:
        start = offset + before
        return lax.slice_in_dim(x, start, start + stride * (size - 1) + 1, stride, axis)

    filtered = [weight * every(offset) for weight, offset in taps]
    return sum(filtered[1:], start=filtered[0])


def fir_down(x: Image, kernel: Kernel) -> Array:
    """Equation (1): (b, h, w, c) -> (b, h/2, w/2, c)."""
    for axis in (1, 2):
        x = filter_axis(x, axis, taps(kernel, len(kernel) // 2), x.shape[axis] // 2, stride=2)
    return x


def fir_up(x: Image, kernel: Kernel, margin: int = 0) -> Array:
    """Equation (2): (b, h, w, c) -> (b, 2h, 2w, c), or `margin` more pixels on every side.

    Even and odd y see every second tap each; they are computed apart and interleaved.
    """
    for axis in (1, 2):
        size = x.shape[axis] + margin
        phases = []
        for phase in (0, 1):
            shift = phase + len(kernel) // 2 - 1 - margin
            on_u = taps(kernel, shift, gain=2.0)
            on_x = [(weight, offset // 2) for weight, offset in on_u if offset % 2 == 0]
            phases.append(filter_axis(x, axis, on_x, size))
        y = jnp.stack(phases, axis + 1)
        x = y.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def fir_blur(x: Image, kernel: Kernel) -> Array:
    """Equation (2) with x for u and no gain, one pixel longer: (b, h, w, c) -> (b, h+1, w+1, c)."""
    for axis in (1, 2):
        x = filter_axis(x, axis, taps(kernel, len(kernel) // 2 - 1), x.shape[axis] + 1)
    return x


def nearest_up(x: Image) -> Array:
    """Each pixel twice, along height and width."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def average_down(x: Image, factor: int = 2) -> Array:
    """The mean of each square of factor x factor pixels."""
    b, h, w, c = x.shape
    return x.reshape(b, h // factor, factor, w // factor, factor, c).mean((2, 4))


def resize_down(x: Image, kernel: Kernel | None) -> Array:
    """Half the height and width, through the FIR kernel or by averages."""
    return average_down(x) if kernel is None else fir_down(x, kernel)


def resize_up(x: Image, kernel: Kernel | None) -> Array:
    """Twice the height and width, through the FIR kernel or by repetition."""
    return nearest_up(x) if kernel is None else fir_up(x, kernel)


def bilinear(x: Image, height: int, width: int, align_corners: bool) -> Array:
    """x interpolated at as many pixels: their squares tile the same image, or, with
    `align_corners`, the centres of the outermost ones are the same."""
    shape = (x.shape[0], height, width, x.shape[-1])
    if not align_corners:
        return jax.image.resize(x, shape, "bilinear")
    for axis, size in ((1, height), (2, width)):
        at = jnp.linspace(0, x.shape[axis] - 1, size)
        below = jnp.floor(at).astype(jnp.int32)
        above = jnp.minimum(below + 1, x.shape[axis] - 1)
        near, far = jnp.take(x, below, axis), jnp.take(x, above, axis)
        weight = (at - below).astype(x.dtype).reshape([-1 if a == axis else 1 for a in range(4)])
        x = near + weight * (far - near)
    return x


class Downsample(nn.Module):
    """Half the height and width, to `width` channels by a strided convolution if `with_conv`.

    Without a FIR kernel it sees one zero behind the last pixel, or, if `symmetric`, before the
    first.
    """

    width: int
    with_conv: bool
    kernel: Kernel | None
    dtype: DTypeLike = "float32"
    symmetric: bool = False

    @nn.compact
    def __call__(self, x: Image) -> Array:
        if not self.with_conv:
            return resize_down(x, self.kernel)
        if self.kernel is None:
            around = (1, 0) if self.symmetric else (0, 1)
            x = jnp.pad(x, ((0, 0), around, around, (0, 0)))
        else:
            x = fir_blur(x, self.kernel)
        return Conv(self.width, stride=2, padding=NO_PADDING, dtype=self.dtype, name="conv")(x)


class Upsample(nn.Module):
    """Twice the height and width, to `width` channels by a convolution if `with_conv`."""

    width: int
    with_conv: bool
    kernel: Kernel | None
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(self, x: Image) -> Array:
        if not self.with_conv:
            return resize_up(x, self.kernel)
        if self.kernel is None:
            return Conv(self.width, dtype=self.dtype, name="conv")(nearest_up(x))
        # One pixel more on each side, so that the convolution sees filtered values, not zeros.
        x = fir_up(x, self.kernel, margin=1)
        return Conv(self.width, padding=NO_PADDING, dtype=self.dtype, name="conv")(x)
