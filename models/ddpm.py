"""The U-Net of DDPM (Ho et al. 2020, appendix B), as Song et al. 2021 use it.

  x -> conv_in -> [down_0] -> shrink_0 -> [down_1] -> ... -> [down_L]
                     |  skips                |                  |
                     v                       v                middle
out <- conv_out <- [up_0]  <- grow_1   <- [up_1]  <- ... <- [up_L]
"""

from functools import partial
from itertools import count
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from models.layers.activation import ACTIVATIONS, DTYPES
from models.layers.attention import AttentionBlock
from models.layers.conditioning import Embedding, check_names
from models.layers.convolution import Conv
from models.layers.dropout import fold_keys
from models.layers.embedding import positional_features
from models.layers.normalization import GroupNorm
from models.layers.resampling import Downsample, Upsample
from models.layers.residual import ResidualBlock
from models.layers.stage import Stage
from models.sizes import check_channels, check_grid
from options.choices import choose, require, require_at_least_one, require_fraction
from options.fields import hidden

# Whether attention on the way up is after every block, by `attention_in_up`.
ATTENTION_AFTER_EACH = {"level": False, "block": True}


class DDPM(nn.Module):
    """The U-Net of DDPM (Ho et al. 2020).

    x: (b, h, w, c) in the range that the caller trains in -> (b, h, w, out_channels), float32;
    cond: the values of `conditions`, by name.

    Attributes:
      nf: channels at level 0, before `ch_mult`.
      ch_mult: width of each level, from fine to coarse, in units of nf.
      num_res_blocks: residual blocks of a level on the way down.
      attn_resolutions: heights of the grid at which there is attention.
      dropout: rate, in every residual block.
      resamp_with_conv: change resolution by a convolution, or without weights.
      conditional: whether the network is conditioned on the noise level.
      nonlinearity: "swish", "elu", "relu" or "lrelu".
      attention_in_up: "level": attention after the last block of a level on the way up, as in the
        original; "block": after every block (google/ddpm-* checkpoints).
      conditions, out_channels: see `NCSNpp`.
      dtype: "float32" or "bfloat16", of the computation; parameters and output are float32.
      remat: keep less for the backward pass and compute it again.
      scan_blocks: compile runs of equal blocks as loops. Parameters are alike with and without.
    """

    nf: int = 128
    ch_mult: tuple[int, ...] = (1, 2, 2, 2)
    num_res_blocks: int = 2
    attn_resolutions: tuple[int, ...] = (16,)
    dropout: float = 0.1
    resamp_with_conv: bool = True
    conditional: bool = True
    nonlinearity: str = "swish"
    attention_in_up: str = "level"
    conditions: tuple[Any, ...] = hidden(())
    out_channels: int = hidden(0)
    dtype: str = hidden("float32")
    remat: bool = False
    scan_blocks: bool = False

    def check(self, height: int, width: int) -> None:
        """InvalidValue, which names a field, if images of this size cannot do."""
        choose(ACTIVATIONS, self.nonlinearity, "nonlinearity")
        choose(ATTENTION_AFTER_EACH, self.attention_in_up, "attention_in_up")
        choose(DTYPES, self.dtype, "dtype")
        require_fraction(self, "dropout")
        require(self.nf >= 4, "nf", self.nf, "4 or more for a positional embedding")
        require_at_least_one(self, "nf", "num_res_blocks")
        check_names(self.conditions)
        check_grid(self, height, width)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, "b"],
        *,
        dropout_keys: Key[Array, "b"] | None = None,
        **cond: Any,
    ) -> Float[Array, "b h w d"]:
        """c_noise: 999 t; cond: values of the conditions by name; keys switch dropout on.

        Every dropout layer folds a number of its own into each example's key.
        """
        act = ACTIVATIONS[self.nonlinearity]
        common: dict[str, Any] = {"channels_per_group": 1, "dtype": self.dtype}
        attention = partial(AttentionBlock, **common)
        block = partial(ResidualBlock, act=act, dropout=self.dropout, shortcut_scale=0.1, **common)
        middle = partial(nn.remat(ResidualBlock), **block.keywords) if self.remat else block
        resample: dict[str, Any] = {
            "with_conv": self.resamp_with_conv,
            "kernel": None,
            "dtype": self.dtype,
        }
        layer_number = count()

        def keys() -> Key[Array, "b"] | None:
            return fold_keys(dropout_keys, next(layer_number))

        def stage(width: int, num_units: int, name: str, attend: bool) -> Stage:
            options: dict[str, Any] = {"remat": self.remat, "scan": self.scan_blocks, "name": name}
            return Stage(width, num_units, block, attention if attend else None, **options)

        def attends(h: Array) -> bool:
            return h.shape[1] in self.attn_resolutions

        features = positional_features(c_noise, self.nf) if self.conditional else None
        embed = Embedding(4 * self.nf, act, self.conditions, self.dtype, name="embedding")
        embedding, more_channels, tokens = embed(features, cond, x.shape[1:], len(x))
        out_channels = self.out_channels or x.shape[-1]
        if more_channels is not None:
            x = jnp.concatenate([x, more_channels], axis=-1)
        last = len(self.ch_mult) - 1
        widths = [self.nf * multiple for multiple in self.ch_mult]

        # Down
        check_channels(self, "conv_in", x)
        h = Conv(self.nf, dtype=self.dtype, name="conv_in")(x.astype(self.dtype))
        skips = [h]
        for level, width in enumerate(widths):
            units = stage(width, self.num_res_blocks, f"down_{level}", attends(h))
            skips += units(h, None, embedding, keys(), tokens)
            h = skips[-1]
            if level < last:
                h = Downsample(width, name=f"shrink_{level}", **resample)(h)
                skips.append(h)

        # Middle
        h = middle(widths[-1], name="middle_0")(h, embedding, keys())
        h = attention(name="middle_attention")(h, tokens)
        h = middle(widths[-1], name="middle_1")(h, embedding, keys())

        # Up
        after_each = ATTENTION_AFTER_EACH[self.attention_in_up]
        for level, width in reversed(list(enumerate(widths))):
            num_units = self.num_res_blocks + 1
            from_below = [skips.pop() for _ in range(num_units)]
            units = stage(width, num_units, f"up_{level}", attends(h) and after_each)
            h = units(h, from_below, embedding, keys(), tokens)[-1]
            if attends(h) and not after_each:
                h = attention(name=f"up_{level}_attention")(h, tokens)
            if level > 0:
                h = Upsample(width, name=f"grow_{level}", **resample)(h)
        assert not skips

        h = act(GroupNorm(**common, name="norm_out")(h))
        y = Conv(out_channels, init_scale=0.0, dtype=self.dtype, name="conv_out")(h)
        return y.astype(jnp.float32)
