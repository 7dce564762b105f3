"""Images as the standardised latents of a frozen autoencoder: the space of latent diffusion.

The autoencoder is in a file, see `experiment.latents`. Images are encoded by the mean of the
posterior wherever one is held to them (losses of an evaluation, edits); a training draws from the
posterior anew each time, as Rombach et al. 2022 do, see `Posterior`. Of a codebook both are the
vector before it is quantised.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Float32, UInt8
from scipy.special import ndtri

from controllable.inverse_problems import Decoded
from data import ArraySource, Source, Transform
from data.randomness import Purpose, uniforms
from data.source import Record, Records
from data.space import SPACES, Pixels, Space
from data.transforms import CROPS, Batch
from experiment.latents import PIXELS, LatentCoder
from metrics.resumable import Resumable, fill
from options.choices import require
from options.errors import InvalidValue, Words

AT_ONCE = 256  # images that are read and encoded at a time
LEAST = 2.0**-25  # of a uniform number, half the distance of two of them


@dataclasses.dataclass(frozen=True)
class LatentSpace(Space):
    """Latents of 8-bit images.

    Attributes:
      weights: file of the autoencoder; wherever it is, spaces of one fingerprint are the same.
      fingerprint: of the autoencoder in it, which a run remembers; another one is refused.
    """

    weights: str = dataclasses.field(default="", compare=False)
    fingerprint: str = ""
    low: ClassVar[None] = None
    high: ClassVar[None] = None
    of_images: ClassVar[bool] = True
    pixels: ClassVar[Pixels] = PIXELS
    unit: ClassVar[None] = None  # no difference of images is that of states

    def __post_init__(self) -> None:
        expected = "the file of an autoencoder (tools.export_weights, tools.import_autoencoder)"
        require(self.weights, "weights", self.weights, expected)

    def __repr__(self) -> str:
        """By what the latents depend on, wherever the file is."""
        return f"LatentSpace({self.fingerprint or self.weights!r})"

    @functools.cached_property
    def coder(self) -> LatentCoder:
        """The autoencoder; InvalidValue for another one than the run remembers. Reads the disk."""
        found = LatentCoder.load(self.weights)
        if self.fingerprint not in ("", found.fingerprint):
            but = (
                f"its fingerprint is {found.fingerprint}, that of the autoencoder of this model's "
                f"latents {self.fingerprint}"
            )
            raise InvalidValue("weights", self.weights, but=but)
        return found

    def encode(self, data: UInt8[np.ndarray, "b h w c"]) -> Float32[np.ndarray, "b h2 w2 d"]:
        """The means of the posteriors."""
        return self.coder.encode(np.asarray(data))

    def decode(self, x: Any) -> UInt8[np.ndarray, "... h w c"]:
        """8-bit images, the nearest; latents may have several leading axes."""
        return PIXELS.to_uint8(PIXELS.from_unit(self.to_unit(x)))

    def to_unit(self, x: Any) -> Float32[np.ndarray, "... h w c"]:
        x = np.asarray(x)
        found = self.coder.unit_images(x.reshape(-1, *x.shape[-3:]))
        return found.reshape(*x.shape[:-3], *found.shape[1:])

    def from_uint8(self, levels: Any) -> Any:
        return self.encode(levels)

    def to_uint8(self, x: Any) -> UInt8[np.ndarray, "..."]:
        return self.decode(x)

    def on_states(self, operator: Any) -> Any:
        return Decoded(operator, self.coder.decoder)

    def in_range(self, x: Any, sigma: Any) -> Any:
        """Of the variance that latents have."""
        return x / np.sqrt(1 + sigma**2)

    def shape(self, of: tuple[int, ...]) -> tuple[int, ...]:
        """InvalidValue for images that the autoencoder cannot take."""
        network, coder = self.coder.network, self.coder
        require(len(of) == 3, "name", Words("data of this shape"), f"images, not {of}")
        if of[-1] != network.channels:
            but = f"its images have {network.channels} channels, the data {of[-1]}"
            raise InvalidValue("weights", self.weights, but=but)
        network.check(*of[:2])
        x = jax.ShapeDtypeStruct((1, *of), np.float32)
        variables = {"params": coder.params}
        found = jax.eval_shape(lambda x: network.apply(variables, x, method="encode"), x)
        return found.mean.shape[1:]

    def check_transform(self, transform: Transform) -> None:
        but = "images are encoded once, as latents that a training reads again and again"
        if transform.augment is not None:
            raise InvalidValue("augment", transform.augment, but=but)
        if CROPS[transform.crop].random:
            raise InvalidValue("crop", transform.crop, but=but)

    def for_training(
        self, source: Source, transform: Transform, folder: Path
    ) -> tuple[Source, Transform]:
        """`Latents`, encoded once, and `Posterior`."""
        return Latents(self.coder, source, transform, folder), Posterior()

    def check(self, source: Source) -> None:
        but = f"{source.name} is of {source.dtype} values, not of 8-bit pixels"
        require(source.dtype == np.uint8, "space", self, f"Scaled, since {but}")


class Latents(ArraySource):
    """The posteriors of the latents of a source's images, in memory and on disk: encoded once.

    An example is an array (views, 2, h, w, channels), of each view mean and standard deviation; the
    second view, where there is one, is of the mirrored image. What else a record has is kept. They
    are kept in `folder` under a hash of the autoencoder, the data and what is done to them, as
    `metrics.resumable` keeps rows: what was cut off is gone on with.
    """

    def __init__(
        self, coder: LatentCoder, source: Source, transform: Transform, folder: Path
    ) -> None:
        plain = transform.for_evaluation()
        views = [slice(None)] + [slice(None, None, -1)] * transform.flip

        def compute(numbers: np.ndarray) -> dict[str, Any]:
            records = source.take(numbers)
            images = np.stack([plain.resized(x) for x in records["image"]])
            each = [np.stack(coder.moments(images[:, :, of]), axis=1) for of in views]
            return dict(records) | {"image": np.stack(each, axis=1)}

        identity = {
            "autoencoder": coder.fingerprint,
            "data": source.checksum(),
            "examples": len(source),
            "transform": repr(dataclasses.replace(plain, space=PIXELS)),
            "mirrored": transform.flip,
        }
        store = Resumable(folder, "latents", identity)
        rows = fill(store, len(source), AT_ONCE, compute, f"latents of {source.name}")
        super().__init__(source.name, rows.pop("image"), rows["label"], source.class_names)
        self.rows = rows

    def __getitem__(self, index: int) -> Record:
        return self._with_rows(super().__getitem__(index), index)

    def take(self, indices: Any) -> Records:
        return self._with_rows(super().take(indices), indices)

    def _with_rows(self, record: Any, at: Any) -> Any:
        return record | {name: values[at] for name, values in self.rows.items()}


@dataclasses.dataclass(frozen=True)
class Posterior(Transform):
    """Latents drawn from their posteriors, z = mean + std n, with n ~ N(0, 1) that is keyed by
    (seed, position in the stream). Of examples of `Latents`; of two views one is drawn.
    """

    def check(self, source: Source) -> None:
        pass

    def __call__(self, records: Records, positions: range, seed: int) -> Batch:
        moments = np.asarray(records["image"])
        u = uniforms(seed, Purpose.FLIP, positions, 1)[:, 0]
        view = (u * moments.shape[1]).astype(int)
        mean, std = np.moveaxis(moments[np.arange(len(moments)), view], 1, 0)
        u = uniforms(seed, Purpose.POSTERIOR, positions, mean[0].size).reshape(mean.shape)
        noise = ndtri(u.astype(np.float64) + LEAST).astype(np.float32)
        rest = {name: value for name, value in records.items() if name not in {"image"}}
        return Batch(image=mean + std * noise, **rest)  # type: ignore[typeddict-item]


def spaces() -> dict[str, type[Space]]:
    """Those that a configuration may choose."""
    return {**SPACES, "latents": LatentSpace}
