"""The U-Net of latent diffusion (Rombach et al. 2022), as diffusers' UNet2DConditionModel has it.

  x -> conv_in -> [down_0] -> shrink_0 -> [down_1] -> ... -> [down_L]
                     |  skips                |                  |
                     v                       v                middle
out <- conv_out <- [up_0]  <- grow_1   <- [up_1]  <- ... <- [up_L]

It is that of DDPM with a transformer after the residual blocks of some levels, which attends to the
pixels and to the tokens of conditions, such as those of a caption.
"""

from functools import partial
from itertools import count
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from models.layers.activation import DTYPES
from models.layers.conditioning import Embedding, check_names
from models.layers.convolution import Conv
from models.layers.dropout import fold_keys
from models.layers.embedding import positional_features
from models.layers.normalization import GroupNorm
from models.layers.resampling import Downsample, Upsample
from models.layers.residual import ResidualBlock
from models.layers.stage import Stage
from models.layers.transformer import SpatialTransformer
from models.sizes import check_channels, required_divisor
from options.choices import choose, require, require_at_least_one, require_fraction
from options.errors import InvalidValue, Words
from options.fields import hidden


class UNetCondition(nn.Module):
    """The conditional U-Net of latent diffusion.

    x: (b, h, w, c) in the range that the caller trains in -> (b, h, w, out_channels), float32;
    cond: the values of `conditions`, by name.

    Attributes:
      widths: channels of each level, from fine to coarse.
      num_res_blocks: residual blocks of a level on the way down.
      attention_levels: those with transformers, 0 for the finest; the middle always has one.
      num_heads: of their attention, for each level.
      depth: layers of a transformer.
      groups: of the norms, a divisor of all widths.
      epsilon: of the norms of residual blocks.
      dropout: rate, in every residual block.
      conditions, out_channels: see `NCSNpp`.
      dtype: "float32" or "bfloat16", of the computation; parameters and output are float32.
      remat: keep less for the backward pass and compute it again.
      scan_blocks: compile runs of equal blocks as loops. Parameters are alike with and without.
    """

    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    num_res_blocks: int = 2
    attention_levels: tuple[int, ...] = (0, 1, 2)
    num_heads: tuple[int, ...] = (8, 8, 8, 8)
    depth: int = 1
    groups: int = 32
    epsilon: float = 1e-5
    dropout: float = 0.0
    conditions: tuple[Any, ...] = hidden(())
    out_channels: int = hidden(0)
    dtype: str = hidden("float32")
    remat: bool = False
    scan_blocks: bool = False

    def check(self, height: int, width: int) -> None:
        """InvalidValue, which names a field, if images of this size cannot do."""
        choose(DTYPES, self.dtype, "dtype")
        require_fraction(self, "dropout")
        require_at_least_one(self, "num_res_blocks", "depth", "groups")
        require(self.epsilon > 0, "epsilon", self.epsilon, "a positive number")
        levels, widths = len(self.widths), self.widths
        divided = levels > 0 and all(w > 0 and w % self.groups == 0 for w in widths)
        require(divided, "widths", widths, f"one or more multiples of {self.groups} groups")
        even = widths[0] >= 4 and widths[0] % 2 == 0
        require(even, "widths", widths, "a first width that is even, from 4 on")
        known = all(0 <= level < levels for level in self.attention_levels)
        expected = f"levels from 0 to {levels - 1}"
        require(known, "attention_levels", self.attention_levels, expected)
        fits = len(self.num_heads) == levels and all(
            heads > 0 and w % heads == 0 for heads, w in zip(self.num_heads, widths, strict=True)
        )
        require(fits, "num_heads", self.num_heads, f"a divisor of each of the widths {widths}")
        check_names(self.conditions)
        divisor = required_divisor(levels)
        if height % divisor or width % divisor:
            but = f"they need images whose sides are multiples of {divisor}, not {height} x {width}"
            raise InvalidValue("widths", Words(f"{levels} levels"), but=but)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, "b"],
        *,
        dropout_keys: Key[Array, "b"] | None = None,
        **cond: Any,
    ) -> Float[Array, "b h w d"]:
        """c_noise: 999 t; cond: values of the conditions by name; keys switch dropout on."""
        norms: dict[str, Any] = {"groups": self.groups, "dtype": self.dtype}
        block = partial(
            ResidualBlock, act=nn.swish, dropout=self.dropout, epsilon=self.epsilon, **norms
        )
        middle = partial(nn.remat(ResidualBlock), **block.keywords) if self.remat else block
        layer_number = count()

        def keys() -> Key[Array, "b"] | None:
            return fold_keys(dropout_keys, next(layer_number))

        def attention(level: int) -> partial:
            return partial(SpatialTransformer, self.num_heads[level], self.depth, **norms)

        def stage(level: int, num_units: int, name: str) -> Stage:
            attend = attention(level) if level in self.attention_levels else None
            options: dict[str, Any] = {"remat": self.remat, "scan": self.scan_blocks, "name": name}
            return Stage(self.widths[level], num_units, block, attend, **options)

        nf, last = self.widths[0], len(self.widths) - 1
        embed = Embedding(4 * nf, nn.swish, self.conditions, self.dtype, name="embedding")
        features = noise_features(c_noise, nf)
        embedding, more_channels, tokens = embed(features, cond, x.shape[1:], len(x))
        out_channels = self.out_channels or x.shape[-1]
        if more_channels is not None:
            x = jnp.concatenate([x, more_channels], axis=-1)

        # Down
        check_channels(self, "conv_in", x)
        h = Conv(nf, dtype=self.dtype, name="conv_in")(x.astype(self.dtype))
        skips = [h]
        for level, width in enumerate(self.widths):
            units = stage(level, self.num_res_blocks, f"down_{level}")
            skips += units(h, None, embedding, keys(), tokens)
            h = skips[-1]
            if level < last:
                shrink = Downsample(width, True, None, self.dtype, True, name=f"shrink_{level}")
                h = shrink(h)
                skips.append(h)

        # Middle
        h = middle(self.widths[-1], name="middle_0")(h, embedding, keys())
        h = attention(last)(name="middle_attention")(h, tokens)
        h = middle(self.widths[-1], name="middle_1")(h, embedding, keys())

        # Up
        for level, width in reversed(list(enumerate(self.widths))):
            num_units = self.num_res_blocks + 1
            from_below = [skips.pop() for _ in range(num_units)]
            h = stage(level, num_units, f"up_{level}")(h, from_below, embedding, keys(), tokens)[-1]
            if level > 0:
                h = Upsample(width, True, None, self.dtype, name=f"grow_{level}")(h)
        assert not skips

        h = nn.swish(GroupNorm(eps=self.epsilon, name="norm_out", **norms)(h))
        y = Conv(out_channels, init_scale=0.0, dtype=self.dtype, name="conv_out")(h)
        return y.astype(jnp.float32)


def noise_features(t: Float[Array, "b"], size: int) -> Float[Array, "b d"]:
    """[cos(t w_k), sin(t w_k)], w_k = 10000^(-k / (size / 2)), in place of DDPM's size / 2 - 1.

    (b,) -> (b, size), which is even.
    """
    half = size // 2
    features = positional_features(t, size, 10_000.0 ** ((half - 1) / half))
    return jnp.roll(features, half, axis=-1)
