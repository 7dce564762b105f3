"""Checkpoints of Song et al.'s score-SDE (2021): .pth of PyTorch and msgpack of Flax."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from models.importers.score_sde import FLAX, TORCH, Dialect, params_from
from models.importers.topology import Topology, topology
from options.choices import choose, require
from options.errors import InvalidValue, StorageError
from tools.published import official_config
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

# What a process is called in their `training.sde`, and whether time is continuous.
OFFICIAL = {
    "ve": ("vesde", True),
    "smld": ("vesde", False),
    "vp": ("vpsde", True),
    "ddpm": ("vpsde", False),
    "subvp": ("subvpsde", True),
}
ATTENTION_AT = 16  # the resolution at which all published networks attend
# Sizes of images by (nf, ch_mult) where a file does not say at which level attention is.
PUBLISHED_SIZES = {
    (128, (1, 2, 2, 2)): 32,
    (128, (1, 1, 2, 2, 4, 4)): 256,
    (128, (1, 1, 2, 2, 2, 2, 2)): 256,
    (16, (1, 2, 4, 8, 16, 32, 32, 32)): 1024,
}
# By the size of images: sigma_max, the corrector's snr, levels of noise.
PUBLISHED_NOISE = {
    32: (50.0, 0.16, 1000),
    64: (90.0, 0.17, 1000),
    256: (348.0, 0.075, 2000),
    1024: (1348.0, 0.15, 2000),
}


class ScoreSDE(RawAndAverage):
    """What both implementations share."""

    dialect: Dialect

    def topology(self) -> Topology:
        """What network it is; its shapes alone are read."""
        stand_ins = {k: np.broadcast_to(np.float32(0), v.shape) for k, v in self.raw.items()}
        with _naming(self.title):
            return topology(self.dialect.groups(stand_ins), self.dialect.reorder)

    def sections(self, asked: Asked) -> dict[str, Any]:
        found = self.topology()
        size, levels = self._placed(found, asked.image_size)
        process = asked.process or self._process(found)
        sde, continuous = choose(OFFICIAL, process, "process")
        is_ve = process in ("ve", "smld")
        self.notes += [f"{what}: the file has no trace of it" for what in found.assumed]
        sigma_min, sigma_max, steps = self._noise(size, is_ve)
        snr = PUBLISHED_NOISE.get(size, PUBLISHED_NOISE[32])[1]
        network = {
            "name": found.name,
            "attn_resolutions": [size >> level for level in levels],
            "dropout": 0.1 if size == 32 else 0.0,
            "scale_by_sigma": is_ve,
            "sigma_min": sigma_min,
            "sigma_max": sigma_max,
            "beta_min": 0.1,
            "beta_max": 20.0,
            "num_scales": steps,
            "ema_rate": 0.999 if is_ve else 0.9999,
        }
        require(
            found.out_channels == found.in_channels,
            "file",
            f"{found.in_channels} channels in, {found.out_channels} out",
            "as many out as in",
        )
        data = {"image_size": size, "num_channels": found.in_channels, "centered": not is_ve}
        official = {
            "model": found.fields | network,
            "data": data | {"random_flip": True},
            "training": {"sde": sde, "continuous": continuous, "reduce_mean": not is_ve},
            "sampling": {"snr": snr},
        }
        return official_config.sections(official)

    def _placed(self, found: Topology, size: int) -> tuple[int, tuple[int, ...]]:
        """The size of the images, and the levels with attention."""
        runs = found.possible_attention
        depth = len(found.fields["ch_mult"]) - 1
        if not size:
            known = (found.fields["nf"], found.fields["ch_mult"])
            if len(runs) == 1 and runs[0]:
                size = ATTENTION_AT << runs[0][0]
                self.notes.append(f"image_size={size}: attention is taken to be at {ATTENTION_AT}")
            elif known in PUBLISHED_SIZES:
                size = PUBLISHED_SIZES[known]
                self.notes.append(f"image_size={size}, which such networks were published for")
        expected = "--image_size, which the file does not say"
        require(size > 0, "image_size", size, expected)
        require(size % 2**depth == 0, "image_size", size, f"a multiple of {2**depth}")
        if len(runs) == 1:
            return size, runs[0]
        at_16 = [run for run in runs if size >> run[0] == ATTENTION_AT]
        if len(at_16) != 1:
            sizes = [ATTENTION_AT << run[0] for run in runs]
            raise InvalidValue("image_size", size, f"one of {sizes}, or --config")
        return size, at_16[0]

    def _process(self, found: Topology) -> str:
        if found.fields.get("embedding_type") == "fourier":
            return "ve"
        self.notes.append(
            "process=vp: parameters are alike under vp, subvp, ddpm, ve and smld; "
            "--process says another"
        )
        return "vp"

    def _noise(self, size: int, is_ve: bool) -> tuple[float, float, int]:
        """The least and the most noise, and how many levels."""
        if self.sigmas is not None and len(self.sigmas) > 1:
            least, most = float(self.sigmas[-1]), float(self.sigmas[0])
            return _short(least), _short(most), len(self.sigmas)
        known = size if size in PUBLISHED_NOISE else 32
        sigma_max, _, steps = PUBLISHED_NOISE[known]
        if is_ve:
            self.notes.append(f"sigma_max={sigma_max}, the published value at {known} px")
        return 0.01, sigma_max, steps

    def params(self, which: str, experiment: Any) -> dict[str, Any]:
        arrays = self.arrays(which)
        with _naming(self.title):
            size = experiment.shape[0]
            return params_from(self.dialect, arrays, experiment.options.model, size)

    def compared(
        self, experiment: Any, params: Any, given: Mapping[str, np.ndarray]
    ) -> list[Compared]:
        """`out` is the network's output, over sigma where it scales it, at `cond`: sigma for
        Fourier features, 999 t for positional ones."""
        channels = experiment.shape[-1]
        x = channels_last(one_of(given, "x"), channels)
        cond = np.asarray(one_of(given, "cond", "t", "sigma"), np.float32)
        is_fourier = getattr(experiment.options.model, "embedding_type", "") == "fourier"
        out = network_output(experiment, params, x, np.log(cond) if is_fourier else cond)
        if is_fourier:
            out = out / cond[:, None, None, None]
        return [Compared("out", out, channels_last(one_of(given, "out"), channels))]


def _short(value: float) -> float:
    """The decimal number that a float32 was made of."""
    return float(str(np.float32(value)))


@contextlib.contextmanager
def _naming(title: str) -> Iterator[None]:
    """Inside, an error about a tree of parameters is one about the file, and says what it is."""
    try:
        yield
    except InvalidValue as error:
        if error.field in {TORCH.field, FLAX.field}:
            raise InvalidValue("file", but=f"{title}: {error.but}") from None
        raise


class TorchScoreSDE(ScoreSDE):
    """{"model": state dict, "ema": {"shadow_params": [...]}, "step": n}, or a state dict alone."""

    title = "score-SDE of PyTorch"
    dialect = TORCH

    @classmethod
    def recognise(cls, content: Content) -> "Checkpoint | None":
        tree = content.tree
        state = tree["model"] if {"model", "ema"} <= content.keys else tree
        if not content.keys or type(state) is list or not any("all_modules." in k for k in state):
            return None
        state = {name.removeprefix("module."): value for name, value in state.items()}
        sigmas = array_of(state.pop("sigmas")) if "sigmas" in state else None
        average = _averaged(state, tree["ema"]) if "ema" in content.keys else None
        step = count_of(tree["step"]) if "step" in content.keys else 0
        return cls(state, average, step, sigmas)


def _averaged(state: Mapping[str, Any], ema: Mapping[str, Any]) -> dict[str, Any]:
    """The average: a list in the order of the parameters, without the Fourier frequencies, which
    are not trained."""
    trained = [name for name in state if not _is_untrained(name)]
    shadow = list(ema["shadow_params"])
    if len(shadow) != len(trained):
        but = f"its average has {len(shadow)} parameters, the model {len(trained)} that are trained"
        raise StorageError("file", but=but)
    for name, value in zip(trained, shadow, strict=True):
        if tuple(value.shape) != tuple(state[name].shape):
            but = f"{name} is {tuple(state[name].shape)}, its average {tuple(value.shape)}"
            raise StorageError("file", but=but)
    averaged = dict(zip(trained, shadow, strict=True))
    return {name: averaged.get(name, value) for name, value in state.items()}


def _is_untrained(name: str) -> bool:
    """all_modules.n.W, not all_modules.n.NIN_0.W."""
    return name.endswith(".W") and name.count(".") == 2


class FlaxScoreSDE(ScoreSDE):
    """The state of their training: optimizer.target and params_ema."""

    title = "score-SDE of Flax"
    dialect = FLAX

    @classmethod
    def recognise(cls, content: Content) -> "Checkpoint | None":
        if not {"optimizer", "params_ema"} <= content.keys:
            return None
        tree = content.tree
        raw, average = flat(tree["optimizer"]["target"]), flat(tree["params_ema"])
        return cls(raw, average, count_of(tree.get("step", 0)))
