"""NCSN and NCSNv2: .pth of Song & Ermon (2019, 2020) and Flax checkpoints of Song et al. (2021)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from experiment import kinds
from models.importers import refinenet
from models.importers.refinenet import Dialect, Found
from options.choices import choose, require
from options.errors import InvalidValue, StorageError
from tools.published.checkpoint import (
    Asked,
    Checkpoint,
    Compared,
    RawAndAverage,
    channels_last,
    count_of,
    network_output,
    one_of,
)
from tools.published.content import Content, array_of, flat
from tools.safe_pickle import Plain

# Configurations by the size of images, of which a file says nothing but by its noise.
NCSN = {32: "ve/ncsn_cifar10", 28: "ve/ncsn_mnist"}
NCSN_V2 = {
    32: "ve/ncsnv2_cifar10",
    64: "ve/ncsnv2_celeba_64",
    96: "ve/ncsnv2_church_96",
    128: "ve/ncsnv2_bedroom_128",
    256: "ve/ncsnv2_ffhq_256",
}
CONFIGS = {"ncsn": NCSN, "ncsnv2": NCSN_V2}
PUBLISHED_SIZES = {50.0: 32, 90.0: 64, 140.0: 96, 190.0: 128, 348.0: 256}  # by sigma_max
OF_CHANNELS = {1: 28, 3: 32}  # images of NCSN


class _RefineNet(RawAndAverage):
    """What both implementations share."""

    dialect: ClassVar[Dialect]

    def sections(self, asked: Asked) -> dict[str, Any]:
        choose({"smld": 0}, asked.process or "smld", "process")
        found = refinenet.network_of(self.dialect, self.raw)
        config = self._published(found, asked.image_size)
        config["model"] |= found.fields
        config["data"]["num_channels"] = found.channels
        self.notes.append(f"dilations={found.fields['dilations']}: the file has no trace of them")
        if self.sigmas is not None:
            config["process"] |= _noise(self.sigmas)
            config["sampling"]["num_steps"] = len(self.sigmas)
        elif found.name in REQUIRED:
            levels = found.fields["num_levels"]
            config["process"]["num_steps"] = config["sampling"]["num_steps"] = levels
            config["parameterization"]["c_noise"]["num_levels"] = levels
        return config

    def _published(self, found: Found, size: int) -> dict[str, Any]:
        """The sections of the published configuration of such images."""
        known = CONFIGS[found.name]
        if not size:
            size = self._size(found)
            self.notes.append(f"image_size={size}, which such networks were published for")
        nearest = min(known, key=lambda other: abs(other - size))
        config = kinds.load(known[nearest]).to_dict()
        config["data"]["image_size"] = (size, size)
        if self.sigmas is None:
            process = config["process"]
            noise = {k: process[k] for k in ("sigma_min", "sigma_max", "num_steps")}
            self.notes.append(f"{noise}, the published values at {nearest} px")
        return config

    def _size(self, found: Found) -> int:
        """The size that such a network was published for; InvalidValue where it is not known."""
        if found.name in REQUIRED:
            sizes = [OF_CHANNELS.get(found.channels, 0)]
        elif self.sigmas is not None:
            sizes = [PUBLISHED_SIZES.get(float(np.round(self.sigmas[0], 2)), 0)]
        else:
            levels = len(found.fields["ch_mult"])
            sizes = [s for s, name in NCSN_V2.items() if _levels(name) == levels]
        if len(sizes) != 1 or not sizes[0]:
            likely = f", which may be {' or '.join(map(str, sizes))}" if any(sizes) else ""
            raise InvalidValue(
                "image_size", 0, f"--image_size, which the file does not say{likely}"
            )
        return sizes[0]

    def params(self, which: str, experiment: Any) -> dict[str, Any]:
        arrays = self.arrays(which)
        network = experiment.options.model
        name = type(network).__name__
        require(
            hasattr(network, "refine_mult"), "model", name, "a network with refine_mult: ncsnv2"
        )
        return refinenet.params_from(self.dialect, arrays, network, experiment.shape[-1])

    def compared(
        self, experiment: Any, params: Any, given: Mapping[str, np.ndarray]
    ) -> list[Compared]:
        """`out` is the score at the noise level of the number `cond`, 0 for the most noise."""
        x = channels_last(one_of(given, "x"), experiment.shape[-1])
        level = np.asarray(one_of(given, "cond", "y", "labels")).astype(int)
        out = network_output(experiment, params, x, level)
        if not hasattr(experiment.options.model, "embedding_type"):
            process = experiment.process
            sigma = np.asarray(process.node(process.times()).sigma)[::-1][level]
            out = out / sigma[:, None, None, None]
        return [Compared("out", out, channels_last(one_of(given, "out"), experiment.shape[-1]))]


REQUIRED = {"ncsn"}  # networks that are conditioned on the number of the noise level


def _levels(name: str) -> int:
    return len(kinds.complete(kinds.load(name).to_dict()).model.ch_mult)


def _noise(sigmas: np.ndarray) -> dict[str, Any]:
    """The fields of our chain; StorageError unless its levels are these, a geometric series."""
    least, most = (float(str(np.float32(value))) for value in (sigmas[-1], sigmas[0]))
    if not (0 < least < most and np.allclose(sigmas, np.geomspace(most, least, len(sigmas)), 1e-3)):
        but = f"its noise levels, {most} to {least}, are no geometric series, as of smld"
        raise StorageError("file", but=but)
    return {"sigma_min": least, "sigma_max": most, "num_steps": len(sigmas)}


class TorchNCSN(_RefineNet):
    """[state dict, state of the optimizer, epoch, step, average by name], of NCSN the first two; or
    a state dict alone."""

    title = "NCSN and NCSNv2 of PyTorch"
    dialect = refinenet.TORCH

    @classmethod
    def recognise(cls, content: Content) -> "Checkpoint | None":
        saved = content.tree if type(content.tree) is list else [content.tree]
        if not saved or type(saved[0]) not in DICTIONARIES:
            return None
        raw = _named(saved[0])
        if cls.dialect.first not in raw:
            return None
        sigmas = array_of(raw["sigmas"]) if "sigmas" in raw else None
        step = count_of(saved[3]) if len(saved) > 3 else 0
        average = _named(saved[4]) if len(saved) > 4 else None
        return cls(raw, average, step, sigmas)


DICTIONARIES = (dict, Plain)


def _named(state: Any) -> dict[str, Any]:
    """A state dict without what DataParallel puts before its names."""
    if type(state) not in DICTIONARIES:
        raise StorageError("file", but=f"it has {type(state).__name__} where parameters are")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


class FlaxNCSN(_RefineNet):
    """The state of a training of NCSNv2: optimizer.target and params_ema."""

    title = "NCSNv2 of Flax"
    dialect = refinenet.FLAX

    @classmethod
    def recognise(cls, content: Content) -> "Checkpoint | None":
        tree = content.tree
        if (
            not {"optimizer", "params_ema"} <= content.keys
            or "RefineBlock_0" not in tree["params_ema"]
        ):
            return None
        raw, average = flat(tree["optimizer"]["target"]), flat(tree["params_ema"])
        return cls(raw, average, count_of(tree.get("step", 0)))
