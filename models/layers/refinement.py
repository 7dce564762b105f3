"""Layers of NCSN: a residual network with dilations, and refinement by RefineNet (Lin et al. 2017).

An instance norm that keeps what the means of the channels say of each other, instance norm++
(Song & Ermon 2019, app. A.1), with mu_k and s_k the mean and standard deviation over the pixels of
channel k, and m and v the mean and standard deviation of mu_1 .. mu_C:

    z_k = gamma_k ((x_k - mu_k) / s_k + alpha_k (mu_k - m) / v) + beta_k                 (1)

gamma, alpha and beta are a row of a table with a row for each noise level, or with one row.

The code of Song & Ermon (2019, 2020), in PyTorch, differs from that of Song et al. (2021), in JAX,
in two details, which `pytorch` chooses: v^2 is divided by C - 1 in place of C, and where a coarser
level is enlarged its outermost pixels lie on those of the finer one.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int, Key

from models.layers.convolution import Conv
from models.layers.resampling import average_down, bilinear

NORM_EPS = 1e-5
# The initialisation of PyTorch's convolutions, of their kernels; biases begin at 0 here.
INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
POOL = 5  # size of the windows of chained pooling
conv3 = partial(Conv, kernel_init=INIT)


def _around_one(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    return 1 + 0.02 * jax.random.normal(key, shape)


class InstanceNormPlus(nn.Module):
    """Equation (1); x: (b, h, w, c), level: (b,) -> the same, in `dtype`; statistics in float32.

    Attributes:
      num_levels: rows of the table of which `level` is one.
      pytorch: v^2 is divided by C - 1.
    """

    num_levels: int = 1
    dtype: DTypeLike = "float32"
    pytorch: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], level: Int[Array, " b"]
    ) -> Float[Array, "b h w c"]:
        shape = (self.num_levels, x.shape[-1])
        gamma = self.param("gamma", _around_one, shape)[level]
        alpha = self.param("alpha", _around_one, shape)[level]
        beta = self.param("beta", nn.initializers.zeros, shape)[level]
        x_f32 = x.astype(jnp.float32)
        mu = x_f32.mean((1, 2))
        away = x_f32 - mu[:, None, None]
        scale = jax.lax.rsqrt(jnp.square(away).mean((1, 2)) + NORM_EPS)
        m = mu.mean(-1, keepdims=True)
        v_squared = mu.var(-1, keepdims=True, ddof=int(self.pytorch))
        between = (mu - m) * jax.lax.rsqrt(v_squared + NORM_EPS)
        shift = gamma * alpha * between + beta
        y = (gamma * scale)[:, None, None] * away + shift[:, None, None]
        return y.astype(self.dtype)


class DilatedBlock(nn.Module):
    """Norm, act, conv, norm, act, conv, and a shortcut; (b, h, w, c) -> (b, h', w', width).

    Attributes:
      width: channels of the output.
      changes_level: the first block of a level, which halves height and width where `dilation` is
        1, and has a convolution in its shortcut.
      dilation: of all convolutions; above 1 the size stays.
      pytorch: as of `InstanceNormPlus`.
    """

    width: int
    act: Callable[[Array], Array]
    num_levels: int
    changes_level: bool = False
    dilation: int = 1
    dtype: DTypeLike = "float32"
    pytorch: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], level: Int[Array, " b"]
    ) -> Float[Array, "b h2 w2 width"]:
        norm = partial(InstanceNormPlus, self.num_levels, self.dtype, self.pytorch)
        conv = partial(conv3, dilation=self.dilation, dtype=self.dtype)
        inner = x.shape[-1] if self.changes_level else self.width
        h = conv(inner, name="conv_0")(self.act(norm(name="norm_0")(x, level)))
        h = conv(self.width, name="conv_1")(self.act(norm(name="norm_1")(h, level)))
        if not self.changes_level:
            return x + h
        halve = self.dilation == 1
        x = conv(self.width, size=1 if halve else 3, name="shortcut")(x)
        return average_down(x + h) if halve else x + h


class Units(nn.Module):
    """Residual units of RefineNet, of two 3x3 convolutions without biases; (b, h, w, c) -> alike.

    Attributes:
      count: of the units, one after another.
      num_levels, pytorch: as of `InstanceNormPlus`, of a norm before each activation; 0 for none.
    """

    count: int
    act: Callable[[Array], Array]
    num_levels: int
    dtype: DTypeLike = "float32"
    pytorch: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], level: Int[Array, " b"]
    ) -> Float[Array, "b h w c"]:
        norm = norms(self.num_levels, self.dtype, self.pytorch)
        for i in range(self.count):
            h = x
            for j in range(2):
                h = self.act(norm(f"norm_{i}_{j}")(h, level))
                h = conv3(x.shape[-1], use_bias=False, dtype=self.dtype, name=f"conv_{i}_{j}")(h)
            x = x + h
        return x


class Refinement(nn.Module):
    """A block of RefineNet: adapts its inputs, fuses them at the size of the first, and adds
    chained pooling; (b, h, w, c) and (b, h / 2, w / 2, c') or alike -> (b, h, w, width).

    Attributes:
      width: channels of the output.
      last: the block that the image is made of, of three units at its end rather than one.
      num_levels: with norms for so many noise levels, and pooling by means; 0: without norms, and
        pooling by maxima.
      pytorch: as of `InstanceNormPlus`; a coarser input is enlarged corner on corner.
    """

    width: int
    act: Callable[[Array], Array]
    num_levels: int
    last: bool = False
    dtype: DTypeLike = "float32"
    pytorch: bool = False

    @nn.compact
    def __call__(
        self, inputs: Sequence[Float[Array, "b _h _w _c"]], level: Int[Array, " b"]
    ) -> Float[Array, "b h w width"]:
        units = partial(
            Units,
            act=self.act,
            num_levels=self.num_levels,
            dtype=self.dtype,
            pytorch=self.pytorch,
        )
        norm = norms(self.num_levels, self.dtype, self.pytorch)
        adapted = [units(2, name=f"adapt_{i}")(x, level) for i, x in enumerate(inputs)]
        h = adapted[0]
        if len(adapted) > 1:
            height, width = inputs[0].shape[1:3]
            parts = [
                conv3(self.width, dtype=self.dtype, name=f"fuse_{i}")(
                    norm(f"norm_fuse_{i}")(x, level)
                )
                for i, x in enumerate(adapted)
            ]
            larger = [bilinear(x, height, width, self.pytorch) for x in parts[1:]]
            h = sum(larger, start=parts[0])
        h = self._chained_pooling(self.act(h), level, norm)
        return units(3 if self.last else 1, name="out")(h, level)

    def _chained_pooling(self, x: Array, level: Array, norm: Callable[[str], Any]) -> Array:
        """x, and what two stages of pooling and a convolution make of it, added."""
        pool = nn.avg_pool if self.num_levels else nn.max_pool
        path, total = x, x
        for i in range(2):
            path = pool(norm(f"norm_pool_{i}")(path, level), (POOL, POOL), padding="SAME")
            path = conv3(x.shape[-1], use_bias=False, dtype=self.dtype, name=f"pool_{i}")(path)
            total = total + path
        return total


def norms(
    num_levels: int, dtype: DTypeLike, pytorch: bool
) -> Callable[[str], Callable[[Array, Array], Array]]:
    """The norm of a name, `norm(name)(x, level)`; x as it is with 0 levels."""
    if not num_levels:
        return lambda name: lambda x, level: x
    return lambda name: InstanceNormPlus(num_levels, dtype, pytorch, name=name)
