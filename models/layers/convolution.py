"""Convolutions and dense layers with the initialisation of the published networks.

A convolution y = x * w is linear in x and in w, so its tangent is dy = dx * w + x * dw, and
reverse mode is the transpose of each term. On the CPU backend two things make the transposes that
jax derives slow: inside a loop, only a convolution whose operands already lie in the order NHWC,
HWIO runs in the fast library; and the one in dw, which sums over batch and pixels, slows down
threefold once that sum is long. So `convolve` writes the tangents in an order of axes whose
transposes are NHWC, HWIO, and the second one in chunks of the batch. Measured at batch 64,
14 x 14 x 128, gradient in w: 70 -> 200 GFLOP/s; in a loop 4 -> 200.
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.nn.initializers import Initializer
from jaxtyping import Array, DTypeLike, Float

Padding = Sequence[tuple[int, int]]

PIXELS_PER_CHUNK = 3200  # the sum over pixels beyond which the gradient in w slows down


def fan_avg_init(scale: float = 1.0) -> Initializer:
    """Uniform with variance scale / ((fan_in + fan_out) / 2).

    A scale of 0, which would stop every gradient behind it, means 1e-10 (Ho et al. 2020).
    """
    return nn.initializers.variance_scaling(scale or 1e-10, "fan_avg", "uniform")


def plain_convolve(x: Array, w: Array, stride: int, padding: Padding) -> Array:
    return lax.conv_general_dilated(
        x, w, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def cpu_convolve(x: Array, w: Array, stride: int, padding: Padding) -> Array:
    return plain_convolve(x, w, stride, padding)


def _tangent(stride: int, padding: Padding, primals, tangents) -> tuple[Array, Array]:
    (x, w), (dx, dw) = primals, tangents
    strides = (stride, stride)
    y = plain_convolve(x, w, stride, padding)
    dy = jnp.zeros_like(y)
    if not isinstance(dx, SymbolicZero):
        numbers = ("NHWC", "HWOI", "NHWC")  # transposed in x: NHWC, HWIO -> NHWC
        w_swapped = w.transpose(0, 1, 3, 2)
        dy += lax.conv_general_dilated(dx, w_swapped, strides, padding, dimension_numbers=numbers)
    if not isinstance(dw, SymbolicZero):
        numbers = ("CHWN", "IHWO", "HWNC")  # transposed in w: again NHWC, HWIO -> NHWC
        dw_swapped = dw.transpose(2, 0, 1, 3)
        num_chunks = min(len(y), -(-y[..., 0].size // PIXELS_PER_CHUNK))
        chunks = [
            lax.conv_general_dilated(
                chunk.transpose(3, 1, 2, 0), dw_swapped, strides, padding, dimension_numbers=numbers
            ).transpose(2, 0, 1, 3)
            for chunk in jnp.array_split(x, num_chunks)
        ]
        dy += jnp.concatenate(chunks)
    return y, dy


cpu_convolve.defjvp(_tangent, symbolic_zeros=True)


class Conv(nn.Module):
    """(b, h, w, c) -> (b, h', w', width). `padding` is per axis; None keeps the size.

    Parameters are float32, the computation is in `dtype`.
    """

    width: int
    size: int = 3
    stride: int = 1
    padding: Padding | None = None
    init_scale: float = 1.0
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 width"]:
        shape = (self.size, self.size, x.shape[-1], self.width)
        kernel = self.param("kernel", fan_avg_init(self.init_scale), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        around = ((self.size - 1) // 2, self.size // 2)
        padding = (around, around) if self.padding is None else tuple(self.padding)
        convolve = cpu_convolve if jax.default_backend() == "cpu" else plain_convolve
        y = convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, padding)
        return y + bias.astype(self.dtype)


def dense(
    width: int,
    *,
    init_scale: float = 1.0,
    dtype: DTypeLike = "float32",
    name: str | None = None,
) -> nn.Dense:
    """A dense layer over channels; on a picture it is a 1x1 convolution."""
    return nn.Dense(width, kernel_init=fan_avg_init(init_scale), dtype=dtype, name=name)
