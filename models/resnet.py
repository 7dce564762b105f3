"""The residual network of bottlenecks (He et al. 2016), conditioned on the noise level.

    x -> stem -> [group 0] -> ... -> [group 3] -> means -> logits

The defaults are ResNet-50: without what tells the noise level it has its 25,557,032 parameters with
a thousand classes. The second convolution of a block is the strided one, and norms are group norms
or batch norms: with these it is torchvision's, whose weights `models/importers/resnet.py` takes. A
ResNet-50 guides AFHQ-512 in Traoré 2025, section 5.3.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import flax.linen as nn
from jaxtyping import Array, DTypeLike, Float, Key

from models.classifier import CONV_INIT, Classifier, class_logits
from models.layers.activation import ACTIVATIONS
from models.layers.batch_norm import NORMS, GroupNorms
from models.layers.convolution import Conv, dense
from models.layers.dropout import dropout, fold_keys
from models.sizes import check_channels
from options.choices import MOST_COUNT, choose, require
from options.fields import chosen

EXPANSION = 4  # of a block's output over its inner width


class Bottleneck(nn.Module):
    """x: (b, h, w, c) -> (b, h', w', 4 width), h' = h / stride: 1x1, 3x3 and 1x1 convolutions."""

    width: int
    act: Callable[[Array], Array]
    norm: Callable[..., nn.Module]
    stride: int = 1
    dropout: float = 0.0
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        embedding: Float[Array, "b e"],
        dropout_keys: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b h2 w2 d"]:
        norm = self.norm
        conv = partial(Conv, use_bias=False, kernel_init=CONV_INIT, dtype=self.dtype)
        out = EXPANSION * self.width
        h = conv(self.width, size=1, name="conv_0")(x)
        h += dense(self.width, dtype=self.dtype, name="embedding")(nn.swish(embedding))[
            :, None, None
        ]
        h = self.act(norm(name="norm_0")(h))
        around = ((1, 1), (1, 1))
        h = conv(self.width, stride=self.stride, padding=around, name="conv_1")(h)
        h = dropout(self.act(norm(name="norm_1")(h)), self.dropout, dropout_keys)
        h = norm(name="norm_2")(conv(out, size=1, name="conv_2")(h))
        if x.shape[-1] != out or self.stride > 1:
            x = conv(out, size=1, stride=self.stride, name="shortcut")(x)
            x = norm(name="norm_shortcut")(x)
        return self.act(h + x)


class Stem(NamedTuple):
    """The layers before the first block.

    Attributes:
      convolution: options of the convolution, beside its width.
      pool: what follows its norm and nonlinearity.
      divisor: by how much both together reduce height and width.
    """

    convolution: Mapping[str, Any]
    pool: Callable[[Array], Array]
    divisor: int


STEMS = {
    "large": Stem(
        {"size": 7, "stride": 2, "padding": ((3, 3), (3, 3))},
        partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1))),
        divisor=4,
    ),
    "small": Stem({}, lambda h: h, divisor=1),
}


class ResNet(Classifier):
    """A residual network of bottlenecks; by default ResNet-50.

    Attributes: those of `Classifier`, and
      num_res_blocks: blocks of each group, as many numbers as `ch_mult` has; nf is the inner width
        of the first, its output 4 times as wide.
      stem: "large": a convolution of size 7 and a maximum, both of which halve the image; "small":
        one of size 3, which keeps it.
      norm: of all layers.
    """

    ch_mult: tuple[int, ...] = (1, 2, 4, 8)
    num_res_blocks: tuple[int, ...] = (3, 4, 6, 3)
    stem: str = "large"
    norm: Any = chosen(NORMS, GroupNorms())

    def check(self, height: int, width: int) -> None:
        choose(STEMS, self.stem, "stem")
        super().check(height, width)
        count = len(self.ch_mult)
        numbers = all(1 <= n <= MOST_COUNT for n in self.num_res_blocks)
        fit = len(self.num_res_blocks) == count and numbers
        expected = f"{count} numbers from 1 on, one for each of ch_mult"
        require(fit, "num_res_blocks", self.num_res_blocks, expected)

    def divisor(self) -> int:
        return STEMS[self.stem].divisor * super().divisor()

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
        norm = self.norm.layer(self.dtype)
        block = partial(Bottleneck, act=act, norm=norm, dropout=self.dropout, dtype=self.dtype)
        conv = partial(Conv, use_bias=False, kernel_init=CONV_INIT, dtype=self.dtype)
        x, embedding = self.read(x, c_noise)
        stem = STEMS[self.stem]
        check_channels(self, "conv_in", x)
        h = conv(self.nf, name="conv_in", **stem.convolution)(x)
        h = act(norm(name="norm_in")(h))
        h = stem.pool(h)
        number = count()
        for level, (multiple, num_blocks) in enumerate(
            zip(self.ch_mult, self.num_res_blocks, strict=True)
        ):
            for i in range(num_blocks):
                stride = 2 if level and i == 0 else 1
                layer = block(self.nf * multiple, stride=stride, name=f"group_{level}_block_{i}")
                h = layer(h, embedding, fold_keys(dropout_keys, next(number)))
        return class_logits(h, self.num_classes, self.dtype)
