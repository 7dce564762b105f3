"""A trained autoencoder as one object: images to the latents that a model is trained on, and back.

    from experiment.latents import LatentCoder

    coder = LatentCoder.load("runs/vae.npz")                    # of tools.import_autoencoder
    z = coder.encode(images)                                    # uint8 (n, h, w, 3) -> float32
    images = coder.decode(z)

The autoencoder is frozen. Latents are standardised, (z - mean) / std, by the numbers that its
configuration gives, so that a process starts from data of variance about 1.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from data.space import Pixels
from models.autoencoder import AutoencoderKL
from models.sizes import required_divisor
from options.choices import require
from options.errors import StorageError
from options.fields import fields
from options.precision import FLOAT32
from storage import weights

RECORD = "autoencoder"  # the entry of the file's record
PIXELS = Pixels(-1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class LatentCoder:
    """Images as latents.

    Attributes:
      network: of `params`.
      params: a tree of arrays.
      mean, std: of latents before they are standardised.
    """

    network: AutoencoderKL
    params: Any
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        require(self.std > 0, "std", self.std, "a positive number")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Of a file that `save` wrote; StorageError for one of something else."""
        record: Any = weights.read_meta(path).get(RECORD)
        try:
            given = record["network"]
            network = AutoencoderKL(**given | {"widths": tuple(given["widths"])})
            mean, std = record["mean"], record["std"]
        except (TypeError, KeyError) as error:
            but = f"it has no autoencoder: {error}"
            raise StorageError("weights", str(path), but=but) from None
        side = required_divisor(len(network.widths))
        x = jax.ShapeDtypeStruct((1, side, side, network.channels), np.float32)
        template = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
        return cls(network, weights.load_weights(path, template), mean, std)

    def save(self, path: str | Path, dtype: str = "float32") -> None:
        """Writes network and parameters, whole or not at all; dtype: of matrices and kernels."""
        network = {f.name: getattr(self.network, f.name) for f in fields(self.network)}
        record = {"network": network, "mean": self.mean, "std": self.std}
        weights.export_weights(path, self.params, dtype, {RECORD: record})

    @functools.cached_property
    def _methods(self) -> dict[str, Callable[..., Any]]:
        apply = functools.partial(jax.jit, static_argnames="method")(self.network.apply)
        return {name: functools.partial(apply, method=name) for name in ("encode", "decode")}

    def _call(self, method: str, x: Any) -> Any:
        with FLOAT32.context():
            return self._methods[method]({"params": self.params}, x)

    def encode(self, images: UInt8[np.ndarray, "b h w c"]) -> Float32[np.ndarray, "b h2 w2 d"]:
        """The means of the latents, standardised; InvalidValue for images of a size that it cannot
        take."""
        self.network.check(*images.shape[1:3])
        mean = self._call("encode", PIXELS.encode(images)).mean
        return np.asarray((mean - self.mean) / self.std)

    def decode(self, z: Float32[np.ndarray, "b h w d"]) -> UInt8[np.ndarray, "b h2 w2 c"]:
        """The images of standardised latents."""
        return np.asarray(PIXELS.decode(self._call("decode", z * self.std + self.mean)))
