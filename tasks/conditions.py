"""What a network is conditioned on: class labels, low-resolution images, texts, styles.

A condition is one object that says everything of it: its name, which is the key of its value in
`cond`; how values are drawn from a training batch, with a dropout of its own (Ho & Salimans 2022,
algorithm 1); its null, which stands for "not given"; and the encoder by which a network takes it
(`models.layers.conditioning`). A task has a tuple of them, and its network the same one. Nothing
else knows of any of them by name, so that a new condition is a class and no more.
"""

import dataclasses
import math
import zlib
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Int, Key

from models.layers.conditioning import (
    CaptionTokens,
    LabelEncoder,
    LowResolutionEncoder,
    StyleEncoder,
    TextEncoder,
    VectorEncoder,
)
from models.layers.resampling import average_down
from options.choices import require, require_at_least_one, require_fraction
from options.errors import InvalidValue, Words
from parameterization import MASK, Cond
from sde_lib import expand_right
from tasks.task import Batch

PyTree = Any
LABELS = "labels"  # of `ClassLabel`, and of the classes towards which a classifier guides


@runtime_checkable
class Condition(Protocol):
    """One thing that a network is conditioned on; frozen and hashable.

    Values are pytrees of arrays with a leading batch axis.

    Attributes:
      name: the key of its value in `cond`, and of its encoder's parameters.
      dropout: the rate at which training replaces a value by the null. At 0 the network has never
        seen the null, and guidance does not drop the condition.
    """

    @property
    def name(self) -> str: ...

    @property
    def dropout(self) -> float: ...

    def example(self, shape: tuple[int, ...]) -> PyTree:
        """A value for one example of x of this shape, with a batch axis of 1."""
        ...

    def draw(self, batch: Batch, keys: Key[Array, " b"]) -> PyTree:
        """The values of a training batch, by one key an example, with dropout."""
        ...

    def null(self, value: PyTree) -> PyTree:
        """The null, in the structure and shapes of a value."""
        ...

    def encoder(self, width: int, dtype: DTypeLike) -> nn.Module:
        """A module: (value, shape of an example of x) -> `models.layers.conditioning.Encoding`,
        whose embedding and tokens have this width."""
        ...


def with_dropout(condition: Condition, value: PyTree, keys: Key[Array, " b"]) -> PyTree:
    """`value` with each example's replaced by the null at the condition's rate, by its own key."""
    if not condition.dropout:
        return value
    dropped = jax.vmap(lambda key: jax.random.bernoulli(key, condition.dropout))(keys)
    return jax.tree.map(
        lambda null, given: jnp.where(expand_right(dropped, given), null, given),
        condition.null(value),
        value,
    )


def draw(
    conditions: Sequence[Condition], batch: Batch, keys: Key[Array, " b"]
) -> dict[str, PyTree]:
    """`cond` of a training batch; each condition folds a number for its name into the keys."""

    def keys_of(condition: Condition) -> Key[Array, " b"]:
        number = np.uint32(zlib.crc32(condition.name.encode()))
        return jax.vmap(jax.random.fold_in, (0, None))(keys, number)

    return {c.name: c.draw(batch, keys_of(c)) for c in conditions}


def example(conditions: Sequence[Condition], shape: tuple[int, ...]) -> dict[str, PyTree]:
    """`cond` of one example of x of this shape."""
    return {c.name: c.example(shape) for c in conditions}


def unconditional(
    cond: Cond, conditions: Sequence[Condition], names: Collection[str] | None = None
) -> dict[str, PyTree]:
    """`cond` with the values of the named conditions replaced by their nulls, None for all.

    Entries that no condition has are left out, such as labels for a classifier alone; a padding
    mask stays.
    """
    kept = {MASK: cond[MASK]} if MASK in cond else {}
    for condition in conditions:
        if condition.name in cond:
            value = cond[condition.name]
            drops = names is None or condition.name in names
            kept[condition.name] = condition.null(value) if drops else value
    return kept


def require_dropout(conditions: Sequence[Condition], names: Collection[str]) -> None:
    """InvalidValue if one of the named conditions was never dropped in training.

    Names that no condition has are for others to refuse.
    """
    for condition in conditions:
        if condition.name in names and not condition.dropout > 0:
            raise InvalidValue(
                f"{condition.name}.dropout",
                condition.dropout,
                f"a positive rate in training, to have a prediction without {condition.name}",
            )


def find(conditions: Sequence[Condition], name: str) -> Any:
    """The condition of this name; None if there is none."""
    return next((condition for condition in conditions if condition.name == name), None)


@dataclasses.dataclass(frozen=True)
class ClassLabel:
    """The class in batch["label"], int32 (b,), as a vector added to the embedding.

    The null is the label `num_classes`.

    Attributes:
      num_classes: the labels are 0 to num_classes - 1.
      dropout: the rate at which training hides the class, so that the same network is an
        unconditional model too.
    """

    name: ClassVar[str] = LABELS
    num_classes: int
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least_one(self, "num_classes")
        require_fraction(self, "dropout")

    def example(self, shape: tuple[int, ...]) -> Int[Array, " 1"]:
        return jnp.zeros(1, jnp.int32)

    def draw(self, batch: Batch, keys: Key[Array, " b"]) -> Int[Array, " b"]:
        return with_dropout(self, batch["label"], keys)

    def null(self, value: Int[Array, " b"]) -> Int[Array, " b"]:
        return jnp.full_like(value, self.num_classes)

    def encoder(self, width: int, dtype: DTypeLike) -> LabelEncoder:
        return LabelEncoder(self.num_classes + 1, width, dtype)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How an image was augmented, batch["augment"] (b, dim), linear in the embedding (Karras et
    al. 2022, app. F.2).

    The null is zeros, which an image that was not augmented has: so has a batch without the entry.

    Attributes:
      dim: length of the vector.
    """

    name: ClassVar[str] = "augment"
    dropout: ClassVar[float] = 0.0
    dim: int

    def __post_init__(self) -> None:
        require_at_least_one(self, "dim")

    def example(self, shape: tuple[int, ...]) -> Float[Array, "1 d"]:
        return jnp.zeros((1, self.dim))

    def draw(self, batch: Batch, keys: Key[Array, " b"]) -> Float[Array, "b d"]:
        return batch.get("augment", jnp.zeros((len(keys), self.dim)))

    def null(self, value: Float[Array, "b d"]) -> Float[Array, "b d"]:
        return jnp.zeros_like(value)

    def encoder(self, width: int, dtype: DTypeLike) -> VectorEncoder:
        return VectorEncoder(width, dtype)


@dataclasses.dataclass(frozen=True)
class LowResolution:
    """The low-resolution version of an image, noised to a level, which an upsampler enlarges.

        low = A x_0, the means over squares of pixels                                   (1)
        low_s = cos(pi s / 2) low + sin(pi s / 2) eps,   level s in [0, 1]              (2)

    (Ho et al. 2022, "Cascaded Diffusion Models", section 4.2, with one change: they noise by the
    model's own process, whose times mean another thing for every process; (2) means the same for
    all.) A value is {"image": low_s, "level": s}. The null, level 1 and an image of zeros, exists
    with a dropout alone.

    Attributes:
      size: height of the low-resolution image.
      max_level: training levels are uniform in [0, max_level].
      dropout: the rate at which training hides the low-resolution image.
    """

    name: ClassVar[str] = "low"
    size: int
    max_level: float = 1.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least_one(self, "size")
        require(0 < self.max_level <= 1, "max_level", self.max_level, "a level in (0, 1]")
        require_fraction(self, "dropout")

    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(height, width, channels) of the low-resolution version of such an image."""
        got = Words(f"examples of shape {image_shape}")
        require(len(image_shape) == 3, "size", got, "images, which alone have a height")
        height, width, channels = image_shape
        factor = height // self.size
        if factor < 2 or height % self.size or width % factor:
            raise InvalidValue(
                "size",
                self.size,
                f"a proper divisor of the image's height in {height} x {width}, and one of its "
                "width by the same factor",
            )
        return self.size, width // factor, channels

    def of(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        """The low-resolution images (1)."""
        self.shape(x.shape[1:])
        return average_down(x, x.shape[1] // self.size)

    def noised(
        self, low: Float[Array, "b h2 w2 c"], level: Float[Array, " b"], keys: Key[Array, " b"]
    ) -> dict[str, Array]:
        """The value of images by (2), with noise from each one's own key."""
        eps = jax.vmap(lambda key: jax.random.normal(key, low.shape[1:]))(keys)
        angle = expand_right(math.pi / 2 * level, low)
        return {"image": jnp.cos(angle) * low + jnp.sin(angle) * eps, "level": level}

    def example(self, shape: tuple[int, ...]) -> dict[str, Array]:
        return {"image": jnp.zeros((1, *self.shape(shape))), "level": jnp.zeros(1)}

    def draw(self, batch: Batch, keys: Key[Array, " b"]) -> dict[str, Array]:
        level_keys, noise_keys, dropout_keys = jax.vmap(lambda k: jax.random.split(k, 3))(keys).T
        level = self.max_level * jax.vmap(jax.random.uniform)(level_keys)
        value = self.noised(self.of(batch["image"]), level, noise_keys)
        return with_dropout(self, value, dropout_keys)

    def null(self, value: dict[str, Array]) -> dict[str, Array]:
        if not self.dropout:
            raise InvalidValue(
                "low", Words("no image"), "one: the upsampler was trained with an image to enlarge"
            )
        return {"image": jnp.zeros_like(value["image"]), "level": jnp.ones_like(value["level"])}

    def encoder(self, width: int, dtype: DTypeLike) -> LowResolutionEncoder:
        return LowResolutionEncoder(width, dtype)

    def check_level(self, level: float) -> None:
        """InvalidValue for a level that the model was not trained on."""
        expected = f"a level in [0, {self.max_level:g}], on which the model was trained"
        require(0 <= level <= self.max_level, "level", level, expected)


@dataclasses.dataclass(frozen=True)
class Text:
    """What is to be written, batch["text"], int32 (b, n): tokens of an alphabet, 0 in the padding.

    The null is a text without characters.

    Attributes:
      characters: of the alphabet, in the order of their tokens, the first of which is 1; a run
        takes them from the data that it is trained on.
      layers: of the transformer that encodes the text, where the network has no encoder of its own.
      heads: of its attention, a divisor of the width of tokens.
      dropout: the rate at which training hides the text.
      pooled: whether the mean of the tokens is added to the embedding too, through a layer.
    """

    name: ClassVar[str] = "text"
    characters: str = ""
    layers: int = 1
    heads: int = 1
    dropout: float = 0.0
    pooled: bool = False

    def __post_init__(self) -> None:
        require_at_least_one(self, "layers", "heads")
        require_fraction(self, "dropout")

    @property
    def size(self) -> int:
        """How many tokens there are, that of no character included."""
        return len(self.characters) + 1

    def example(self, shape: tuple[int, ...]) -> Int[Array, "1 n"]:
        return jnp.zeros((1, 1), jnp.int32)

    def draw(self, batch: Batch, keys: Key[Array, " b"]) -> Int[Array, "b n"]:
        return with_dropout(self, batch["text"], keys)

    def null(self, value: Int[Array, "b n"]) -> Int[Array, "b n"]:
        return jnp.zeros_like(value)

    def encoder(self, width: int, dtype: DTypeLike) -> TextEncoder:
        require(width % self.heads == 0, "heads", self.heads, f"a divisor of {width}")
        return TextEncoder(self.size, width, self.layers, self.heads, dtype, self.pooled)


@dataclasses.dataclass(frozen=True)
class Style:
    """Features of an image of somebody's handwriting, batch["style"], (b, places, features).

    The null is zeros.

    Attributes:
      places: along the line. features: of each place.
      group: features of a token that a network attends to; all of an image are divided into such.
      added: whether the mean over the line is added to the embedding of the noise level, in place
        of tokens.
      dropout: the rate at which training hides the style.
    """

    name: ClassVar[str] = "style"
    places: int = 14
    features: int = 128
    group: int = 256
    added: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least_one(self, "places", "features", "group")
        total = self.places * self.features
        require(total % self.group == 0, "group", self.group, f"a divisor of {total} features")
        require_fraction(self, "dropout")

    def example(self, shape: tuple[int, ...]) -> Float[Array, "1 n c"]:
        return jnp.zeros((1, self.places, self.features))

    def draw(self, batch: Batch, keys: Key[Array, " b"]) -> Float[Array, "b n c"]:
        return with_dropout(self, batch["style"], keys)

    def null(self, value: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        return jnp.zeros_like(value)

    def encoder(self, width: int, dtype: DTypeLike) -> StyleEncoder:
        return StyleEncoder(self.group, self.added, width, dtype)


@dataclasses.dataclass(frozen=True)
class Caption:
    """What an image shows, batch["caption"]: {"vectors": (b, n, features) of a frozen text encoder,
    "mask": (b, n), 1 at real ones}.

    `experiment.captions` makes them of texts. The null is a caption without tokens, which an empty
    text is too.

    Attributes:
      features: of a vector, the width of the text encoder.
      projected: whether a layer brings the vectors to the width that the network gives to tokens,
        as a network needs that has other tokens beside them.
      dropout: the rate at which training hides the caption.
      pooled: whether the mean of the vectors is added to the embedding too, through a layer.
      fingerprint: of the text encoder; a run takes it from the encoder that it is trained with.
    """

    name: ClassVar[str] = "caption"
    features: int = 384
    projected: bool = False
    dropout: float = 0.0
    pooled: bool = False
    fingerprint: str = ""

    def __post_init__(self) -> None:
        require_at_least_one(self, "features")
        require_fraction(self, "dropout")

    def example(self, shape: tuple[int, ...]) -> dict[str, Array]:
        return {"vectors": jnp.zeros((1, 1, self.features)), "mask": jnp.zeros((1, 1), bool)}

    def draw(self, batch: Batch, keys: Key[Array, " b"]) -> dict[str, Array]:
        if self.name not in batch:
            raise InvalidValue("conditions.caption", but="the data have no captions")
        return with_dropout(self, batch[self.name], keys)

    def null(self, value: dict[str, Array]) -> dict[str, Array]:
        return jax.tree.map(jnp.zeros_like, value)

    def encoder(self, width: int, dtype: DTypeLike) -> CaptionTokens:
        return CaptionTokens(self.projected, width, dtype, self.pooled)


# Conditions by the names that configurations use, which are their own. (`Augmentation` follows the
# data: a model is conditioned on what its data are augmented by.)
CONDITIONS: dict[str, type[Condition]] = {
    ClassLabel.name: ClassLabel,
    LowResolution.name: LowResolution,
    Text.name: Text,
    Style.name: Style,
    Caption.name: Caption,
}
