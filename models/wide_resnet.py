"""The wide residual network (Zagoruyko & Komodakis 2016), conditioned on the noise level.

    x -> conv_in -> [group 0] -> [group 1] -> [group 2] -> norm, act, means -> logits

As Song et al. 2021 use it (appendix I.1): activations come before convolutions, shortcuts have no
weights (means over squares and channels of zeros where shapes change), group norms. The defaults
are their WRN-28-10 of CIFAR-10. Its head begins at zero, so that training begins at the loss
log num_classes.
"""

from collections.abc import Callable
from functools import partial
from itertools import count

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from models.classifier import CONV_INIT, Classifier, class_logits
from models.layers.activation import ACTIVATIONS
from models.layers.batch_norm import GroupNorms
from models.layers.convolution import Conv, dense
from models.layers.dropout import dropout, fold_keys
from models.layers.resampling import average_down
from models.sizes import check_channels
from options.choices import require, require_at_least_one
from options.errors import Words

HALVE = ((0, 1), (0, 1))  # padding of a strided convolution of size 3 on an even size


class WideBlock(nn.Module):
    """x: (b, h, w, c) -> (b, h', w', width), h' = h / stride.

    Attributes:
      stride: 1 or 2, of the first convolution.
      activate_first: the shortcut, too, is of the activated input: in the first block of all.
    """

    width: int
    act: Callable[[Array], Array]
    stride: int = 1
    activate_first: bool = False
    dropout: float = 0.0
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        embedding: Float[Array, "b e"],
        dropout_keys: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b h2 w2 width"]:
        norm = GroupNorms().layer(self.dtype)
        conv = partial(Conv, use_bias=False, kernel_init=CONV_INIT, dtype=self.dtype)
        h = self.act(norm(name="norm_0")(x))
        x = h if self.activate_first else x
        padding = HALVE if self.stride == 2 else None
        h = conv(self.width, stride=self.stride, padding=padding, name="conv_0")(h)
        h += dense(self.width, dtype=self.dtype, name="embedding")(nn.swish(embedding))[
            :, None, None
        ]
        h = dropout(self.act(norm(name="norm_1")(h)), self.dropout, dropout_keys)
        h = conv(self.width, name="conv_1")(h)
        x = average_down(x) if self.stride == 2 else x
        return h + jnp.pad(x, [(0, 0)] * 3 + [(0, self.width - x.shape[-1])])


class WideResNet(Classifier):
    """A wide residual network; by default WRN-28-10, the published one for CIFAR-10.

    Attributes: those of `Classifier`, and
      stem: channels of the first convolution.
      num_res_blocks: blocks of a group; the depth is 6 num_res_blocks + 4 with three groups.
    """

    nf: int = 160
    stem: int = 16
    num_res_blocks: int = 4

    def check(self, height: int, width: int) -> None:
        super().check(height, width)
        require_at_least_one(self, "stem", "num_res_blocks")
        widths = [self.stem, *(self.nf * multiple for multiple in self.ch_mult)]
        rise = widths == sorted(widths)
        require(rise, "ch_mult", Words(f"widths {widths}"), "none below the one before")

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, "b"],
        *,
        dropout_keys: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b k"]:
        """c_noise: what tells the noise level; keys, one an example, switch dropout on."""
        act = ACTIVATIONS[self.nonlinearity]
        block = partial(WideBlock, act=act, dropout=self.dropout, dtype=self.dtype)
        x, embedding = self.read(x, c_noise)
        conv = partial(Conv, use_bias=False, kernel_init=CONV_INIT, dtype=self.dtype)
        check_channels(self, "conv_in", x)
        h = conv(self.stem, name="conv_in")(x)
        number = count()
        for level, multiple in enumerate(self.ch_mult):
            for i in range(self.num_res_blocks):
                layer = block(
                    self.nf * multiple,
                    stride=2 if level and i == 0 else 1,
                    activate_first=level == i == 0,
                    name=f"group_{level}_block_{i}",
                )
                h = layer(h, embedding, fold_keys(dropout_keys, next(number)))
        h = act(GroupNorms().layer(self.dtype)(name="norm_out")(h))
        return class_logits(h, self.num_classes, self.dtype)
