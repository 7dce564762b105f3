"""Convolutions and dense layers with the initialisation of the published networks.

A convolution y = x * w is linear in x and in w, so its tangent is

    dy = dx * w + x * dw,                                                              (1)

and reverse mode transposes each term. Two things make the transposes that jax derives slow on the
CPU backend of XLA. Inside a loop, only a convolution whose operands lie in the order NHWC, HWIO
goes to the fast library. And the gradient in w, a sum over batch and pixels, slows down threefold
once that sum is long. So on CPUs (1) is written in an order of axes whose transposes are NHWC,
HWIO, and its second term in chunks of the batch. At batch 64, 14 x 14 x 128, 2 cores, the gradient
in w goes from 70 to 200 GFLOP/s, and inside a loop from 4 to 200. The price: inside a loop on a
CPU, prefer `jax.vjp` to `jax.jvp`, whose (1) is then the slow order.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.nn.initializers import Initializer
from jaxtyping import Array, DTypeLike, Float

Padding = tuple[tuple[int, int], tuple[int, int]]  # (before, after) of height and of width

PIXELS_PER_CHUNK = 3200  # the length of the sum from which the gradient in w slows down


def fan_avg_init(scale: float = 1.0) -> Initializer:
    """Uniform with variance scale / ((fan_in + fan_out) / 2).

    A scale of 0, which would stop every gradient behind it, means 1e-10 (Ho et al. 2020).
    """
    return nn.initializers.variance_scaling(scale or 1e-10, "fan_avg", "uniform")


def convolve(
    x: Float[Array, "b h w c"],
    w: Float[Array, "k k c d"],
    stride: int,
    padding: Padding,
    dilation: int = 1,
) -> Float[Array, "b h2 w2 d"]:
    """The convolution of deep learning (w is not flipped), x padded by zeros; neighbouring entries
    of w are `dilation` pixels apart."""
    numbers = ("NHWC", "HWIO", "NHWC")
    apart = (dilation, dilation)
    return lax.conv_general_dilated(
        x, w, (stride, stride), padding, rhs_dilation=apart, dimension_numbers=numbers
    )


cpu_convolve = jax.custom_jvp(convolve, nondiff_argnums=(2, 3, 4))


@partial(cpu_convolve.defjvp, symbolic_zeros=True)
def _tangent(
    stride: int, padding: Padding, dilation: int, primals, tangents
) -> tuple[Array, Array]:
    """Equation (1), each term if its tangent is not zero."""
    (x, w), (dx, dw) = primals, tangents
    y = convolve(x, w, stride, padding, dilation)

    def of_x() -> Array:
        return _convolve_as(("NHWC", "HWOI", "NHWC"), dx, w, stride, padding, dilation)

    def of_w() -> Array:
        num_chunks = min(len(y), -(-y[..., 0].size // PIXELS_PER_CHUNK))
        chunks = [
            _convolve_as(("CHWN", "IHWO", "HWNC"), chunk, dw, stride, padding, dilation)
            for chunk in jnp.array_split(x, num_chunks)
        ]
        return jnp.concatenate(chunks)

    terms = [term() for term, d in ((of_x, dx), (of_w, dw)) if not isinstance(d, SymbolicZero)]
    return y, sum(terms, start=jnp.zeros_like(y))


def _convolve_as(
    numbers: tuple[str, str, str],
    x: Array,
    w: Array,
    stride: int,
    padding: Padding,
    dilation: int,
) -> Array:
    """`convolve`, with x, w and y brought into the order of axes `numbers` for the operation."""
    x = jnp.einsum(f"NHWC->{numbers[0]}", x)
    w = jnp.einsum(f"HWIO->{numbers[1]}", w)
    apart = (dilation, dilation)
    y = lax.conv_general_dilated(
        x, w, (stride, stride), padding, rhs_dilation=apart, dimension_numbers=numbers
    )
    return jnp.einsum(f"{numbers[2]}->NHWC", y)


ON_BACKEND = {"cpu": cpu_convolve}  # `convolve` on the others


class Conv(nn.Module):
    """A convolution: (b, h, w, c) -> (b, h', w', width).

    Parameters are float32, the computation is in `dtype`. Without `padding`, the size is kept.
    `kernel_init` stands in place of the published networks' `fan_avg_init(init_scale)`; entries of
    the kernel are `dilation` pixels apart.
    """

    width: int
    size: int = 3
    stride: int = 1
    padding: Padding | None = None
    init_scale: float = 1.0
    dtype: DTypeLike = "float32"
    use_bias: bool = True
    kernel_init: Initializer | None = None
    dilation: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 width"]:
        shape = (self.size, self.size, x.shape[-1], self.width)
        kernel = self.param("kernel", self.kernel_init or fan_avg_init(self.init_scale), shape)
        reach = self.dilation * (self.size - 1)
        around = (reach // 2, reach - reach // 2)
        padding = self.padding or (around, around)
        function = ON_BACKEND.get(jax.default_backend(), convolve)
        x, kernel = jnp.asarray(x, self.dtype), jnp.asarray(kernel, self.dtype)
        y = function(x, kernel, self.stride, padding, self.dilation)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        return y + bias.astype(self.dtype)


class Conv1D(nn.Module):
    """A convolution along a sequence, padded by zeros to its length: (b, n, c) -> (b, n, width).

    It is one matrix product of each position's neighbourhood, on all backends: gradients of XLA's
    convolution in one dimension take ten times as long inside a loop on a CPU. Parameters are those
    of `nn.Conv`; `size` is odd.
    """

    width: int
    size: int = 3
    init_scale: float = 1.0
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n width"]:
        shape = (self.size, x.shape[-1], self.width)
        kernel = self.param("kernel", fan_avg_init(self.init_scale), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        x, around, n = jnp.asarray(x, self.dtype), self.size // 2, x.shape[1]
        x = jnp.pad(x, ((0, 0), (around, around), (0, 0)))
        near = jnp.concatenate([x[:, i : i + n] for i in range(self.size)], axis=-1)
        return near @ kernel.astype(self.dtype).reshape(-1, self.width) + bias.astype(self.dtype)


def dense(
    width: int,
    *,
    init_scale: float = 1.0,
    dtype: DTypeLike = "float32",
    name: str | None = None,
) -> nn.Dense:
    """A dense layer over channels; on an image it is a 1x1 convolution."""
    return nn.Dense(width, kernel_init=fan_avg_init(init_scale), dtype=dtype, name=name)
