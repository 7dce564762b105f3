"""The Inception network of the original FID: 2048 features, 1008 logits.

    image -> 299 x 299 bilinear, about [-1, 1] -> 5 convolutions -> 11 mixed blocks -> mean

Szegedy et al. 2015, as trained in December 2015; the FID of Heusel et al. 2017 and the score of
Salimans et al. 2016 are of this network. `tools/convert_inception.py` makes the weights file of
PyTorch's port of it (pytorch-fid). It is not torchvision's Inception: average pools leave out the
padding, and the last block takes a maximum in place of a mean. Batch normalisation is folded.

Logits are those of the original Inception Score, without the bias of the last layer.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from metrics.features import Activations, FeatureExtractor
from metrics.resizing import CORNER, HALF_PIXEL, bilinear
from metrics.weights import read_weights, source_of
from options.errors import InvalidValue, Words
from options.precision import FLOAT32

NAME = "inception"
SIZE = 299
# Of pt_inception-2015-12-05-6726825d.pth, as pytorch-fid and torch-fidelity publish it.
PUBLISHED = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


class Layer(NamedTuple):
    """A convolution with a ReLU; all but those with a stride keep the size."""

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


class Mean(NamedTuple):
    """3 x 3 mean of neighbours, padding left out."""

    def __call__(self, x: Array) -> Array:
        return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


class Maximum(NamedTuple):
    """3 x 3 maximum of neighbours."""

    stride: int = 2

    def __call__(self, x: Array) -> Array:
        padding = "SAME" if self.stride == 1 else "VALID"
        return nn.max_pool(x, (3, 3), (self.stride, self.stride), padding)


class Branch(NamedTuple):
    """A pool or none, a chain of layers, and layers side by side after it."""

    layers: tuple[Layer, ...] = ()
    pool: Mean | Maximum | None = None
    fork: tuple[Layer, ...] = ()


def block_a(pool: int) -> tuple[Branch, ...]:
    """35 x 35."""
    return (
        Branch((Layer("1x1", 64),)),
        Branch((Layer("5x5_1", 48), Layer("5x5_2", 64, (5, 5)))),
        Branch(
            (Layer("3x3dbl_1", 64), Layer("3x3dbl_2", 96, (3, 3)), Layer("3x3dbl_3", 96, (3, 3)))
        ),
        Branch((Layer("_pool", pool),), Mean()),
    )


def block_c(inner: int) -> tuple[Branch, ...]:
    """17 x 17."""
    row, column = (1, 7), (7, 1)
    long = [Layer("7x7dbl_1", inner)]
    for i, kernel in enumerate((column, row, column), 2):
        long.append(Layer(f"7x7dbl_{i}", inner, kernel))
    return (
        Branch((Layer("1x1", 192),)),
        Branch(
            (Layer("7x7_1", inner), Layer("7x7_2", inner, row), Layer("7x7_3", 192, column)),
        ),
        Branch((*long, Layer("7x7dbl_5", 192, row))),
        Branch((Layer("_pool", 192),), Mean()),
    )


def block_e(pool: Mean | Maximum) -> tuple[Branch, ...]:
    """8 x 8."""
    row, column = (1, 3), (3, 1)
    return (
        Branch((Layer("1x1", 320),)),
        Branch(
            (Layer("3x3_1", 384),),
            fork=(Layer("3x3_2a", 384, row), Layer("3x3_2b", 384, column)),
        ),
        Branch(
            (Layer("3x3dbl_1", 448), Layer("3x3dbl_2", 384, (3, 3))),
            fork=(Layer("3x3dbl_3a", 384, row), Layer("3x3dbl_3b", 384, column)),
        ),
        Branch((Layer("_pool", 192),), pool),
    )


BLOCKS = {
    "Mixed_5b": block_a(32),
    "Mixed_5c": block_a(64),
    "Mixed_5d": block_a(64),
    "Mixed_6a": (
        Branch((Layer("3x3", 384, (3, 3), 2),)),
        Branch(
            (Layer("3x3dbl_1", 64), Layer("3x3dbl_2", 96, (3, 3)), Layer("3x3dbl_3", 96, (3, 3), 2))
        ),
        Branch(pool=Maximum()),
    ),
    "Mixed_6b": block_c(128),
    "Mixed_6c": block_c(160),
    "Mixed_6d": block_c(160),
    "Mixed_6e": block_c(192),
    "Mixed_7a": (
        Branch((Layer("3x3_1", 192), Layer("3x3_2", 320, (3, 3), 2))),
        Branch(
            (
                Layer("7x7x3_1", 192),
                Layer("7x7x3_2", 192, (1, 7)),
                Layer("7x7x3_3", 192, (7, 1)),
                Layer("7x7x3_4", 192, (3, 3), 2),
            )
        ),
        Branch(pool=Maximum()),
    ),
    "Mixed_7b": block_e(Mean()),
    "Mixed_7c": block_e(Maximum(1)),
}


class Inception(nn.Module):
    """x: (b, H, W, 3) in about [-1, 1]; any H and W from 75 up, 299 as trained.

    The mean over pixels of each stage is sown into the collection "stages", as "<name>_mean".
    """

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Activations:
        x = self._layer(x, "", Layer("Conv2d_1a_3x3", 32, (3, 3), 2), "VALID")
        x = self._layer(x, "", Layer("Conv2d_2a_3x3", 32, (3, 3)), "VALID")
        x = self._layer(x, "", Layer("Conv2d_2b_3x3", 64, (3, 3)))
        x = self._said("maxpool1", Maximum()(x))
        x = self._layer(x, "", Layer("Conv2d_3b_1x1", 80))
        x = self._layer(x, "", Layer("Conv2d_4a_3x3", 192, (3, 3)), "VALID")
        x = self._said("maxpool2", Maximum()(x))
        for name, branches in BLOCKS.items():
            parts = [part for branch in branches for part in self._branch(x, name, branch)]
            x = self._said(name, jnp.concatenate(parts, axis=-1))
        features = jnp.mean(x, axis=(1, 2))
        return Activations(features, nn.Dense(1008, name="fc")(features))

    def _branch(self, x: Array, block: str, branch: Branch) -> Iterable[Array]:
        x = x if branch.pool is None else branch.pool(x)
        for layer in branch.layers:
            x = self._layer(x, f"{block}_branch", layer)
        return [self._layer(x, f"{block}_branch", layer) for layer in branch.fork] or [x]

    def _layer(self, x: Array, where: str, layer: Layer, padding: str = "") -> Array:
        padding = padding or ("SAME" if layer.stride == 1 else "VALID")
        name = f"{where}{layer.name}"
        convolution = nn.Conv(layer.width, layer.kernel, layer.stride, padding, name=name)
        return self._said(name, nn.relu(convolution(x)))

    def _said(self, name: str, x: Array) -> Array:
        self.sow("stages", f"{name}_mean", jnp.mean(x, axis=(1, 2)))
        return x


def as_pytorch_fid(x: Float[Array | np.ndarray, "b h w 3"]) -> Float[Array, "b 299 299 3"]:
    """Of [0, 255]: pytorch-fid's resizing, then [-1, 1]."""
    return 2 * bilinear(x / 255, SIZE, HALF_PIXEL) - 1


def as_original(x: Float[Array | np.ndarray, "b h w 3"]) -> Float[Array, "b 299 299 3"]:
    """Of [0, 255]: the resizing and the scale of the original's graph, and of torch-fidelity."""
    return (bilinear(x, SIZE, CORNER) - 128) / 128


class Preprocessing(NamedTuple):
    """What is done to images before the network, and what reports say of it."""

    function: Callable[[Array], Array]
    says: str


PREPROCESSINGS = {
    "inception": Preprocessing(
        as_pytorch_fid, "299 px bilinear, half-pixel centres, not antialiased, 2 x / 255 - 1"
    ),
    "inception_tf1": Preprocessing(
        as_original, "299 px bilinear, corner-aligned (TF1), not antialiased, (x - 128) / 128"
    ),
}


def extractor(name: str, path: Path) -> FeatureExtractor:
    """The network with the weights at `path`, of grey or RGB images.

    name: of PREPROCESSINGS, and of the extractor.
    """
    params, version = read_weights(path, Inception(), (SIZE, SIZE, 3))
    prepare = PREPROCESSINGS[name]

    @jax.jit
    def forward(params: dict, images: Real[Array, "b h w c"]) -> Activations:
        if images.shape[-1] not in (1, 3):
            got = Words(f"{images.shape[-1]} channels")
            raise InvalidValue("images", got, "1 or 3, which Inception takes")
        x = jnp.broadcast_to(images.astype(jnp.float32), (*images.shape[:3], 3))
        with FLOAT32.context():
            found = Activations(*Inception().apply({"params": params}, prepare.function(x)))
        assert found.logits is not None
        return Activations(found.features, found.logits - params["fc"]["bias"])

    def apply(images: Real[Array | np.ndarray, "b h w c"]) -> Activations:
        return forward(params, jnp.asarray(images))

    says, source = prepare.says, published(source_of(path))
    return FeatureExtractor(name, version, 2048, apply, preprocessing=says, source=source)


def published(source: str) -> str:
    """What a report says of weights made of the file with this SHA-256."""
    if source == PUBLISHED:
        return "weights of pt_inception-2015-12-05"
    return f"weights that are not the published ones, SHA-256 {source or 'unknown'}"
