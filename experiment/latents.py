"""A trained autoencoder as one object: images to the latents that a model is trained on, and back.

    from experiment.latents import LatentCoder

    coder = LatentCoder.load("runs/vae.npz")    # of tools.export_weights, tools.import_autoencoder
    z = coder.encode(images)                    # uint8 (n, h, w, 3) -> float32
    images = coder.decode(z)

The autoencoder is frozen. Latents are standardised, (z - mean) / std, by the numbers in its file,
so that a process starts from data of variance about 1. The file is known by a checksum of the
parameters and of these numbers, its fingerprint.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, UInt8

from data.space import UNIT, Pixels
from metrics.resumable import fingerprint
from models import AUTOENCODERS
from options.choices import require
from options.classes import choose_class, name_of
from options.errors import StorageError, UserError
from options.fields import fields
from options.precision import FLOAT32
from options.project import find
from storage import weights

RECORD = "autoencoder"  # the entry of the file's record
PIXELS = Pixels(-1.0, 1.0)
AT_ONCE = 64  # images of a call of the network
Numbers = tuple[float, ...]  # one for all channels, or one for each


@dataclasses.dataclass(frozen=True, eq=False)
class LatentCoder:
    """Images as latents.

    Attributes:
      network: of `params`, of `models.AUTOENCODERS`.
      params: a tree of arrays.
      mean, std: of latents before they are standardised: one number, or one for each channel.
    """

    network: Any
    params: Any
    mean: Numbers = (0.0,)
    std: Numbers = (1.0,)

    def __post_init__(self) -> None:
        require(min(self.std) > 0, "std", self.std, "numbers above 0")
        counts = {1, self.network.latent_channels}
        fits = {len(self.mean), len(self.std)} <= counts
        require(fits, "mean", self.mean, "one number, or one for each channel of the latents")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Of a file that `save` or tools.export_weights wrote; StorageError for one of something
        else."""
        path = find(path)
        record = record_of(path)
        try:
            given = dict(record["network"])
            kind = choose_class(AUTOENCODERS, given.pop("name", "kl"), "name")
            tuples = {k: tuple(v) if type(v) is list else v for k, v in given.items()}
            network: Any = kind(**tuples)
            mean, std = (tuple(np.ravel(record[name]).tolist()) for name in ("mean", "std"))
        except (TypeError, KeyError, UserError) as error:
            raise _no_autoencoder(path, error) from None
        side = network.divisor
        x = jax.ShapeDtypeStruct((1, side, side, network.channels), np.float32)
        template = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
        coder = cls(network, weights.load_weights(path, template), mean, std)
        if (kept := record.get("fingerprint", coder.fingerprint)) != coder.fingerprint:
            but = f"it is damaged: its parameters are not those of its fingerprint {kept}"
            raise StorageError("weights", str(path), but=but)
        return coder

    @functools.cached_property
    def fingerprint(self) -> str:
        """A checksum of what the latents depend on."""
        numbers = np.array([*self.mean, *self.std], np.float64)
        return fingerprint([*map(np.asarray, jax.tree.leaves(self.params)), numbers])

    def record(self) -> dict[str, Any]:
        """What a file has beside the parameters."""
        network = {f.name: getattr(self.network, f.name) for f in fields(self.network)}
        named = {"name": name_of(AUTOENCODERS, type(self.network)), **network}
        numbers = {"mean": self.mean, "std": self.std, "fingerprint": self.fingerprint}
        return {RECORD: {"network": named, **numbers}}

    def save(self, path: str | Path, dtype: str = "float32") -> None:
        """Writes network and parameters, whole or not at all; dtype: of matrices and kernels."""
        stored = dataclasses.replace(self, params=weights.rounded(self.params, dtype))
        weights.export_weights(path, stored.params, dtype, stored.record())

    # On the host, 8-bit images.

    def encode(self, images: UInt8[np.ndarray, "b h w c"]) -> Float32[np.ndarray, "b h2 w2 d"]:
        """The means of the latents, standardised; InvalidValue for images of a size that it cannot
        take."""
        return self.moments(images)[0]

    def moments(
        self, images: UInt8[np.ndarray, "b h w c"]
    ) -> tuple[Float32[np.ndarray, "b h2 w2 d"], Float32[np.ndarray, "b h2 w2 d"]]:
        """Mean and standard deviation of the latents of each image, standardised."""
        self.network.check(*images.shape[1:3])
        parts = [self._run("encode", PIXELS.encode(part)) for part in _parts(images)]
        mean, logvar = (np.concatenate(of)[: len(images)] for of in zip(*parts, strict=True))
        shift, scale = (np.array(n, np.float32) for n in (self.mean, self.std))
        return (mean - shift) / scale, np.exp(logvar / 2) / scale

    def decode(self, z: Float32[np.ndarray, "b h w d"]) -> UInt8[np.ndarray, "b h2 w2 c"]:
        """The images of standardised latents."""
        return UNIT.to_uint8(self.unit_images(z))

    def unit_images(self, z: Float32[np.ndarray, "b h w d"]) -> Float32[np.ndarray, "b h2 w2 c"]:
        """The same in [0, 1], not clipped."""
        parts = [self._run("decode", self._raw(part)) for part in _parts(np.asarray(z))]
        return PIXELS.to_unit(np.concatenate(parts)[: len(z)])

    def _raw(self, z: Any) -> Any:
        return z * np.array(self.std, np.float32) + np.array(self.mean, np.float32)

    def _run(self, method: str, x: Any) -> Any:
        with FLOAT32.context():
            return jax.device_get(self._methods[method]({"params": self.params}, x))

    @functools.cached_property
    def _methods(self) -> dict[str, Callable[..., Any]]:
        apply = functools.partial(jax.jit, static_argnames="method")(self.network.apply)
        return {name: functools.partial(apply, method=name) for name in ("encode", "decode")}

    # On the device.

    @property
    def decoder(self) -> Callable[[Array], Array]:
        """Standardised latents to images in the range of `PIXELS`, a pytree of the parameters."""
        return jax.tree_util.Partial(functools.partial(_decoded, self._frozen), self.params)

    @functools.cached_property
    def _frozen(self) -> "_Frozen":
        return _Frozen(self.network, self.mean, self.std)


@dataclasses.dataclass(frozen=True)
class _Frozen:
    """What of a coder is a constant of a compiled program."""

    network: Any
    mean: Numbers
    std: Numbers


def _decoded(frozen: _Frozen, params: Any, z: Array) -> Array:
    raw = z * jnp.array(frozen.std, z.dtype) + jnp.array(frozen.mean, z.dtype)
    with FLOAT32.context():
        return frozen.network.apply({"params": params}, raw, method="decode")


def record_of(path: str | Path) -> dict[str, Any]:
    """What a file says of the autoencoder in it; StorageError for a file of something else."""
    record = weights.read_meta(find(path)).get(RECORD)
    if type(record) is not dict:
        raise _no_autoencoder(path, "its record has none")
    return record


def fingerprint_of(path: str | Path) -> str:
    """Of the autoencoder in a file, as `LatentCoder.fingerprint`."""
    return record_of(path).get("fingerprint") or LatentCoder.load(path).fingerprint


def _no_autoencoder(path: str | Path, why: Any) -> StorageError:
    return StorageError("weights", str(path), but=f"it has no autoencoder: {why}")


def _parts(x: np.ndarray) -> list[np.ndarray]:
    """At most AT_ONCE examples each, the last filled up with its last one: one program for all."""
    if len(x) <= AT_ONCE:
        return [x]
    numbers = np.arange(-(-len(x) // AT_ONCE) * AT_ONCE).reshape(-1, AT_ONCE)
    return [x[np.minimum(rows, len(x) - 1)] for rows in numbers]
