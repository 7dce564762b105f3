"""NCSN and NCSNv2, the networks of SMLD (Song & Ermon 2019, app. A; Song & Ermon 2020, app. B).

    x -> conv_in -> [down_0] -> [down_1] -> [down_2] -> [down_3]
                       |           |           |           |
                       v           v           v           v
    y <- conv_out <- [up_0]  <-  [up_1]  <-  [up_2]  <-  [up_3]

`down_l` is two residual blocks nf * ch_mult[l] channels wide. Each level but the first either
halves the image or, in its place, spreads its convolutions by `dilations[l]`. `up_l` is a block of
a RefineNet, nf * refine_mult[l] channels wide, which fuses the level with what comes from the
coarser ones.

NCSN is conditioned on the number of the noise level, 0 for the most noise, by the rows of its
norms, and gives the score. NCSNv2 is not conditioned on the noise: its output is divided by sigma
("scaled_score"). Details are those of the JAX code of Song et al. 2021, or, with
`pytorch`, of the code of the two papers.
"""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from models.layers.activation import ACTIVATIONS, DTYPES
from models.layers.refinement import DilatedBlock, InstanceNormPlus, Refinement, conv3
from models.sizes import check_channels, check_divisor
from options.choices import MOST_COUNT, choose, require, require_at_least_one, require_count
from options.fields import hidden

BLOCKS = 2  # residual blocks of a level


class _RefineNet(nn.Module):
    """What both have; x: (b, h, w, c) in [-1, 1] at sigma = 0 -> (b, h, w, out_channels), float32.

    Attributes:
      nf: channels at level 0, before `ch_mult`.
      ch_mult: width of each level, from fine to coarse, in units of nf.
      refine_mult: width of what each level is refined to, alike.
      dilations: of each level; 1, but for the first level, halves the image.
      nonlinearity: "swish", "elu", "relu" or "lrelu".
      pytorch: in detail, the norms and the enlarging of coarser levels are those of the code of
        Song & Ermon, in PyTorch, rather than of Song et al. 2021, in JAX.
      out_channels: channels of the output; 0 for as many as the input has.
      dtype: "float32" or "bfloat16", of the computation; parameters and output are float32.
    """

    nf: int = 128
    ch_mult: tuple[int, ...] = (1, 2, 2, 2)
    refine_mult: tuple[int, ...] = (1, 2, 2, 2)
    dilations: tuple[int, ...] = (1, 1, 2, 4)
    nonlinearity: str = "elu"
    pytorch: bool = False
    out_channels: int = hidden(0)
    dtype: str = hidden("float32")
    num_levels: ClassVar[int] = 1

    def check(self, height: int, width: int) -> None:
        """InvalidValue, which names a field, if images of this size cannot do."""
        choose(ACTIVATIONS, self.nonlinearity, "nonlinearity")
        choose(DTYPES, self.dtype, "dtype")
        require_at_least_one(self, "nf")
        count = len(self.ch_mult)
        expected = f"{count} numbers from 1 on, one for each of ch_mult"
        for field in ("ch_mult", "refine_mult", "dilations"):
            value = getattr(self, field)
            holds = 0 < len(value) == count and all(1 <= n <= MOST_COUNT for n in value)
            require(holds, field, value, expected)
        halved = sum(dilation == 1 for dilation in self.dilations[1:])
        check_divisor(self, height, width, 2**halved, 1)

    def _level(self, c_noise: Float[Array, " b"]) -> Array:
        """The row of the norms' tables, int32 (b,)."""
        return jnp.zeros(c_noise.shape, jnp.int32)

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], c_noise: Float[Array, " b"]
    ) -> Float[Array, "b h w d"]:
        """c_noise: how the network is conditioned on the noise level."""
        act, level = ACTIVATIONS[self.nonlinearity], self._level(c_noise)
        # Tables of one row are of a network that no noise level reaches, whose RefineNet has none.
        levels, dtype, pytorch = self.num_levels, self.dtype, self.pytorch
        block = partial(DilatedBlock, act=act, num_levels=levels, dtype=dtype, pytorch=pytorch)
        of_norms = self._norms_in_refinement
        refine = partial(Refinement, act=act, num_levels=of_norms, dtype=dtype, pytorch=pytorch)
        check_channels(self, "conv_in", x)
        h = conv3(self.nf, dtype=self.dtype, name="conv_in")(x.astype(self.dtype))
        found = []
        for i, (multiple, dilation) in enumerate(zip(self.ch_mult, self.dilations, strict=True)):
            for j in range(BLOCKS):
                at = partial(block, changes_level=i > 0 and j == 0, dilation=dilation)
                h = at(self.nf * multiple, name=f"down_{i}_block_{j}")(h, level)
            found.append(h)
        below: tuple[Array, ...] = ()
        for i, multiple in reversed(list(enumerate(self.refine_mult))):
            up = refine(self.nf * multiple, last=i == 0, name=f"up_{i}")
            below = (up((found[i], *below), level),)
        h = act(InstanceNormPlus(levels, dtype, pytorch, name="norm_out")(below[0], level))
        channels = self.out_channels or x.shape[-1]
        return conv3(channels, dtype=self.dtype, name="conv_out")(h).astype(jnp.float32)

    @property
    def _norms_in_refinement(self) -> int:
        return 0


class NCSN(_RefineNet):
    """The network of NCSN (Song & Ermon 2019), conditioned on the number of the noise level.

    Attributes: those of `_RefineNet`, and
      num_levels: L, how many noise levels there are; c_noise is the number of one, 0 for the most
        noise ("level").
    """

    refine_mult: tuple[int, ...] = (1, 1, 2, 2)
    num_levels: int = 10  # type: ignore[misc]
    embedding_type: ClassVar[str] = "level"

    def check(self, height: int, width: int) -> None:
        require_count("num_levels", self.num_levels, 2)
        super().check(height, width)

    def _level(self, c_noise: Float[Array, " b"]) -> Array:
        return jnp.clip(jnp.round(c_noise).astype(jnp.int32), 0, self.num_levels - 1)

    @property
    def _norms_in_refinement(self) -> int:
        return self.num_levels


class NCSNv2(_RefineNet):
    """The network of NCSNv2 (Song & Ermon 2020), not conditioned on the noise level.

    x: (b, h, w, c) in [-1, 1] at sigma = 0 -> (b, h, w, out_channels), float32.

    The default is that of 32 and 64 pixels. At 128 pixels ch_mult is (1, 2, 2, 4, 4), refine_mult
    (1, 1, 2, 2, 4) and dilations (1, 1, 1, 2, 4); above, another level of width 2 comes first.

    Attributes: those of `_RefineNet`.
    """
