"""The style of a writer, as a network for telling writers apart sees it in an image of a line.

    image (96, w) -> patches of 4 x 4 -> six convolutions -> mean over the height: (w / 16, 128)
                  -> means over 14 equal parts of the ink's width, standardised: (14, 128)

Columns to the right of the ink are masked in every layer, so features do not depend on how far an
image is padded. The weights are float16, shipped beside this file, and made by
`python -m tools.train_writer_classifier`.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from handwriting.render import STYLE, WHITE, padded
from metrics import mobilenet_v2
from metrics.extractors import MissingWeights, made_weights
from metrics.features import Activations, FeatureExtractor
from metrics.inverted_bottlenecks import Maps
from metrics.weights import read_weights
from options.choices import require
from options.errors import Words
from options.precision import FLOAT32

HEIGHT = 96
PARTS = 14  # of the ink's width
STRIDE = 16  # px that a column of the last feature map is wide
STEP = 352  # px, to multiples of which images are padded
FAINTEST = 0.1  # darkness of ink; a lighter pixel is paper
Images = UInt8[np.ndarray, "n h w"] | Sequence[UInt8[np.ndarray, "_ _"]]
WEIGHTS = Path(__file__).with_name("writer_classifier.npz")


class StyleActivations(NamedTuple):
    """The output of a style network: features along the line, logits of the writers it knows."""

    features: Float[Array | np.ndarray, "b parts c"]
    logits: Float[Array | np.ndarray, "b writers"]


class WriterClassifier(nn.Module):
    """x: (b, 96, w), darkness in [0, 1], w a multiple of 16. 78 writers by default.

    Features are standardised by `center` and `scale` of each channel, which are set after training.

    Attributes:
      writers: number of logits.
      dim: channels of the features.
      batch_norm: after every convolution and on the mean over a line, for training; afterwards it
        is folded into the convolutions, `center` and `scale`.
    """

    writers: int = 78
    dim: int = 128
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w"], train: bool = False) -> StyleActivations:
        b, height, width = x.shape
        ink = ink_widths(x)
        x = x.reshape(b, height // 4, 4, width // 4, 4).transpose(0, 1, 3, 2, 4)
        x = x.reshape(b, height // 4, width // 4, 16)
        for features, stride in ((32, 1), (64, 2), (64, 1), (96, 2), (128, 1), (self.dim, 1)):
            x = nn.Conv(features, (3, 3), strides=stride)(x)
            columns = jnp.arange(x.shape[2]) * (width // x.shape[2])
            inked = (columns < ink[:, None])[:, None, :, None]
            if self.batch_norm:
                x = nn.BatchNorm(not train, momentum=0.95)(x, mask=inked)
            x = nn.relu(x) * inked
        parts = pooled(jnp.mean(x, axis=1), ink / STRIDE)
        center = self.param("center", nn.initializers.zeros, (self.dim,))
        scale = self.param("scale", nn.initializers.ones, (self.dim,))
        found = (parts - center) * scale
        line = jnp.mean(found, axis=1)
        if self.batch_norm:
            norm = functools.partial(nn.BatchNorm, use_scale=False, use_bias=False)
            line = norm(not train, momentum=0.95, name="line_norm")(line)
        return StyleActivations(found, nn.Dense(self.writers)(line))


def ink_widths(x: Float[Array, "b h w"]) -> Float[Array, "b"]:
    """Columns up to the last with ink, at least 1."""
    dark = jnp.max(x, axis=1) > FAINTEST
    return jnp.maximum(jnp.max(dark * jnp.arange(1.0, x.shape[2] + 1), axis=1), 1)


def pooled(
    x: Float[Array, "b columns c"], widths: Float[Array, "b"], parts: int = PARTS
) -> Float[Array, "b parts c"]:
    """Means over equal parts of the first `widths` columns, which need not be whole numbers."""
    edges = jnp.arange(parts + 1) * widths[:, None] / parts
    columns = jnp.arange(x.shape[1])
    left = jnp.maximum(edges[:, :-1, None], columns)
    right = jnp.minimum(edges[:, 1:, None], columns + 1)
    share = jnp.maximum(right - left, 0) * parts / widths[:, None, None]
    return jnp.einsum("bpw,bwc->bpc", share, x)


@dataclass(frozen=True)
class StyleExtractor:
    """A style network with its weights.

    name: which network.
    version: hash of its weights; features of different versions do not belong together.
    shape: of the features of a line, (parts, channels).
    apply: jitted map of uint8 images (b, 96, w), black on white, to `StyleActivations`.
    step: px, to multiples of which images are padded; a program is compiled for each.
    batch_size: of the network; the last batch is padded.
    """

    name: str
    version: str
    shape: tuple[int, int]
    apply: Callable[[UInt8[Array | np.ndarray, "b h w"]], StyleActivations]
    step: int
    batch_size: int = 16

    @property
    def identity(self) -> str:
        """Name and version, as in `metrics.features.FeatureExtractor`."""
        return f"{self.name}@{self.version}"

    def activations(self, images: Images) -> StyleActivations:
        """Of any number of lines, of any widths, as numpy arrays. They are cut at 1400 px.

        InvalidValue for another height than 96 px, or without an image.
        """
        require_height(images)
        groups: dict[int, list[int]] = {}
        for number, image in enumerate(images):
            width = min(image.shape[1], STYLE.widest)
            groups.setdefault(-(-width // self.step) * self.step, []).append(number)
        found: list[StyleActivations] = []
        for width, members in groups.items():
            for start in range(0, len(members), self.batch_size):
                chosen = members[start : start + self.batch_size]
                cut = [images[i][:, : STYLE.widest] for i in chosen]
                found.append(self._batch(padded(cut, width)))
        back = np.argsort([i for members in groups.values() for i in members])
        features, logits = zip(*found, strict=True)
        return StyleActivations(np.concatenate(features)[back], np.concatenate(logits)[back])

    def _batch(self, images: UInt8[np.ndarray, "n h w"]) -> StyleActivations:
        """Of at most batch_size lines."""
        n = len(images)
        missing = ((0, self.batch_size - n), (0, 0), (0, 0))
        features, logits = self.apply(np.pad(images, missing, constant_values=WHITE))
        return StyleActivations(np.asarray(features[:n]), np.asarray(logits[:n]))

    def __call__(self, images: Images) -> Float32[np.ndarray, "n parts c"]:
        """Features of any number of lines, each channel of about unit variance."""
        return np.asarray(self.activations(images).features)

    def of_sets(self) -> FeatureExtractor:
        """The mean over the line as one vector, for distances between sets of images."""

        def apply(images: UInt8[Array | np.ndarray, "b h w 1"]):
            features, logits = self.apply(jnp.asarray(images)[..., 0])
            return Activations(jnp.mean(features, axis=1), logits)

        return FeatureExtractor(self.name, self.version, self.shape[1], apply, channels=1)


def require_height(images: Images) -> None:
    """InvalidValue for images of another height than the style networks take, or for none."""
    heights = {image.shape[0] for image in images}
    got = Words(f"images of heights {sorted(heights)}")
    require(heights == {HEIGHT}, "images", got, f"{HEIGHT} px, as `handwriting.render.STYLE` draws")


@functools.cache
def load(path: Path = WEIGHTS, writers: int = 78) -> StyleExtractor:
    """The shipped network, or another one of its kind, of that number of writers.

    InvalidValue where the file does not hold its weights.
    """
    network = WriterClassifier(writers)
    return with_weights(network, *read_weights(path, network, (HEIGHT, STEP)))


def with_weights(network: WriterClassifier, params: dict, version: str) -> StyleExtractor:
    """A network with these parameters."""

    @jax.jit
    def forward(params: dict, images: UInt8[Array, "b h w"]) -> StyleActivations:
        with FLOAT32.context():
            return StyleActivations(*network.apply({"params": params}, darkness(images)))

    apply = functools.partial(forward, params)
    return StyleExtractor("writer_classifier", version, (PARTS, network.dim), apply, STEP)


@functools.cache
def load_mobilenet_v2(path: Path | None = None) -> StyleExtractor:
    """MobileNetV2 of images padded to 1400 px, its last map (3, 44, 1280) averaged over squares of
    3 x 3: (14, 1280), as Luhman and Luhman take it.

    path: what `tools/convert_mobilenet_v2.py` made; by default where it leaves it. Its logits are
    of the classes of ImageNet. InvalidValue where there are no weights.
    """
    path = path or made_weights(mobilenet_v2.NAME)
    if not path.is_file():
        made = "a file that `python -m tools.convert_mobilenet_v2 mobilenet_v2-b0353104.pth` makes"
        raise MissingWeights("weights", Words("none"), made)
    params, version = mobilenet_v2.read(path)

    @jax.jit
    def forward(params: dict, images: UInt8[Array, "b h w"]) -> StyleActivations:
        with FLOAT32.context():
            x = mobilenet_v2.normalised(images[..., None])
            found = Maps(*mobilenet_v2.MobileNetV2().apply({"params": params}, x))
        return StyleActivations(nn.avg_pool(found.map, (3, 3), (3, 3))[:, 0], found.logits)

    apply, widest = functools.partial(forward, params), STYLE.widest
    return StyleExtractor(mobilenet_v2.NAME, version, (PARTS, 1280), apply, widest)


EXTRACTORS = {"writer_classifier": load, "mobilenet_v2": load_mobilenet_v2}


def darkness(images: UInt8[Array, "b h w"]) -> Float[Array, "b h w"]:
    """From grey levels, 0 where an image is white."""
    return 1 - images.astype(jnp.float32) / WHITE
