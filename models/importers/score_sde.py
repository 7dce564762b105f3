"""Networks of the official score-SDE code (Song et al. 2021), in PyTorch and in Flax, as ours.

The PyTorch port keeps the layers of a network in one list, `all_modules`, in the order of their
calls; Flax numbers them by class in that order, `ResnetBlockBigGANpp_3`. Our networks call theirs
in the same order, so that the n-th layer there, or the n-th of its class, is the n-th one here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from flax.traverse_util import unflatten_dict

from models.importers.account import some_of
from models.importers.call_order import Layer, Path, image_shapes, layers_of
from models.layers.attention import AttentionBlock
from models.layers.convolution import Conv
from models.layers.embedding import FourierFeatures
from models.layers.normalization import GroupNorm
from models.layers.resampling import Downsample, Upsample
from models.layers.residual import ResidualBlock
from options.errors import InvalidValue

RESAMPLE = {"Conv_0": "conv", "Conv2d_0": "conv"}
PARTS: dict[type[nn.Module], dict[str, str]] = {
    ResidualBlock: {
        "GroupNorm_0": "norm_0",
        "Conv_0": "conv_0",
        "Dense_0": "embedding",
        "GroupNorm_1": "norm_1",
        "Conv_1": "conv_1",
        "Conv_2": "shortcut",  # of BigGAN blocks
        "NIN_0": "shortcut",  # of DDPM blocks
    },
    AttentionBlock: {
        "GroupNorm_0": "norm",
        "NIN_0": "query",
        "NIN_1": "key",
        "NIN_2": "value",
        "NIN_3": "out",
    },
    Downsample: RESAMPLE,
    Upsample: RESAMPLE,
    Conv: {},
    GroupNorm: {},
    FourierFeatures: {},
    nn.Dense: {"Conv_0": ""},  # the 1x1 convolution of a skip from the input's pyramid
}

LEAVES = {"weight": ("kernel", "scale"), "W": ("kernel", "W"), "b": ("bias",)}

BUFFERS = {"sigmas"}  # of a state dict: no parameters
UNUSED = ("W", "Dense_0")  # of a network that is not conditioned on the noise level

# Families of layers; in each, Flax's classes and our kinds, of which a network has one or two.
FOURIER, DENSE, CONV, NORM, BLOCK, ATTENTION, COMBINE, DOWN, UP = range(9)
CLASSES = {
    "GaussianFourierProjection": FOURIER,
    "Dense": DENSE,
    "Conv": CONV,
    "GroupNorm": NORM,
    "ResnetBlockBigGANpp": BLOCK,
    "ResnetBlockDDPMpp": BLOCK,
    "ResnetBlockDDPM": BLOCK,
    "AttnBlockpp": ATTENTION,
    "AttnBlock": ATTENTION,
    "Combine": COMBINE,
    "Downsample": DOWN,
    "Upsample": UP,
}
KINDS: dict[type[nn.Module], int] = {
    FourierFeatures: FOURIER,
    nn.Dense: DENSE,
    Conv: CONV,
    GroupNorm: NORM,
    ResidualBlock: BLOCK,
    AttentionBlock: ATTENTION,
    Downsample: DOWN,
    Upsample: UP,
}


class Group(NamedTuple):
    """A layer of theirs: what it is called, its class where that is known, its arrays by name
    within the layer, "Conv_0.weight"."""

    label: str
    arrays: dict[str, np.ndarray]
    cls: str = ""


class Dialect(NamedTuple):
    """How an implementation says the same network.

    field: what a user calls the file's parameters.
    groups: of the named arrays, in order; InvalidValue for names of something else.
    pair: our layers in the order of the groups.
    reorder: (name, array, rank of ours) -> the array in our order of axes, float32.
    """

    field: str
    groups: Callable[[Mapping[str, Any]], list[Group]]
    pair: Callable[[list[Group], list[Layer]], list[tuple[Group, Layer]]]
    reorder: Callable[[str, np.ndarray, int], np.ndarray]


def params_from_torch(state_dict: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """The parameter tree of `model`, float32 numpy, from an official state dict of PyTorch.

    Names may begin with "module."; the `sigmas` buffer is ignored. Every shape is checked.

    Raises:
      InvalidValue: names every entry that is unknown, missing or of another shape.
    """
    return params_from(TORCH, state_dict, model)


def params_from(
    dialect: Dialect, arrays: Mapping[str, Any], model: Any, size: int = 0
) -> dict[str, Any]:
    """The parameter tree of `model`, float32 numpy. size: height of its images, 0 where unknown."""
    theirs = dialect.groups(arrays)
    if not getattr(model, "conditional", True):
        theirs = _without_noise_level(theirs)
    layers = [group for group in theirs if CLASSES.get(group.cls, CONV) == CONV]
    first = next(v for group in layers for v in group.arrays.values() if v.ndim == 4)
    channels = dialect.reorder("weight", first, 4).shape[2]
    shapes = [(1, size, size, channels)] if size else image_shapes(model, channels)
    candidates = [_match(dialect, theirs, layers_of(model, shape, PARTS)) for shape in shapes]
    params, problems = min(candidates, key=lambda candidate: len(candidate[1]))
    if problems:
        name = type(model).__name__
        but = f"it is not of this {name}: {some_of(problems)}"
        raise InvalidValue(dialect.field, but=but)
    return unflatten_dict(params)


def torch_groups(state_dict: Mapping[str, Any]) -> list[Group]:
    """The layers of all_modules, in order."""
    groups: dict[int, dict[str, np.ndarray]] = {}
    unknown = []
    for name, value in state_dict.items():
        name = name.removeprefix("module.")
        match = re.fullmatch(r"all_modules\.(\d+)\.(.+)", name)
        if match:
            groups.setdefault(int(match[1]), {})[match[2]] = np.asarray(value)
        elif name not in BUFFERS:
            unknown.append(name)
    _require_official("state_dict", unknown, groups)
    return [Group(f"all_modules.{n}", arrays) for n, arrays in sorted(groups.items())]


def flax_groups(tree: Mapping[str, Any]) -> list[Group]:
    """The layers of each class in order, one class after the other."""
    groups: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    unknown = []
    for name, value in tree.items():
        match = re.fullmatch(r"([A-Za-z]+)_(\d+)/(.+)", name)
        if match and match[1] in CLASSES:
            key = match[1], int(match[2])
            groups.setdefault(key, {})[match[3].replace("/", ".")] = np.asarray(value)
        else:
            unknown.append(name)
    _require_official("params", unknown, groups)
    return [Group(f"{cls}_{n}", arrays, cls) for (cls, n), arrays in sorted(groups.items())]


def _require_official(field: str, unknown: Sequence[str], groups: Mapping) -> None:
    if unknown or not groups:
        names = ", ".join(unknown) or "no names at all"
        but = f"these are not names of an official score-SDE network: {names}"
        raise InvalidValue(field, but=but)


def _without_noise_level(groups: list[Group]) -> list[Group]:
    """Without the parameters that the original makes for the noise level and then does not use."""
    used = [
        group._replace(
            arrays={name: v for name, v in group.arrays.items() if not name.startswith(UNUSED)}
        )
        for group in groups
    ]
    return [group for group in used if group.arrays]


def _in_order(theirs: list[Group], ours: list[Layer]) -> list[tuple[Group, Layer]]:
    return list(zip(theirs, ours, strict=False))


def _by_class(theirs: list[Group], ours: list[Layer]) -> list[tuple[Group, Layer]]:
    """The n-th layer of a family with the n-th of that family here."""
    pairs = []
    for family in range(len(KINDS) + 1):
        of_theirs = [group for group in theirs if CLASSES[group.cls] == family]
        pairs += list(zip(of_theirs, (x for x in ours if _family(x) == family), strict=False))
    return pairs


def _family(layer: Layer) -> int:
    joins = layer.path[0].startswith("pyramid_in") and layer.kind is nn.Dense
    return COMBINE if joins else KINDS[layer.kind]


def _match(
    dialect: Dialect, theirs: list[Group], ours: list[Layer]
) -> tuple[dict[Path, np.ndarray], list[str]]:
    """Parameters by path, and what does not fit."""
    params: dict[Path, np.ndarray] = {}
    problems = []
    if len(theirs) != len(ours):
        problems.append(f"it has {len(theirs)} layers, the model {len(ours)}")
    pairs = dialect.pair(theirs, ours)
    paired = {group.label for group, _ in pairs}, {layer.path for _, layer in pairs}
    problems += [f"{group.label} is unknown" for group in theirs if group.label not in paired[0]]
    problems += [
        f"it lacks {'/'.join(layer.path)}" for layer in ours if layer.path not in paired[1]
    ]
    for group, layer in pairs:
        missing = dict(layer.shapes)
        for name, array in group.arrays.items():
            local = _rename(name, layer)
            shape = missing.pop(local, None)
            if shape is None:
                problems.append(f"{group.label}.{name} is unknown to {'/'.join(layer.path)}")
                continue
            value = dialect.reorder(name, array, len(shape))
            if value.shape != shape:
                problems.append(
                    f"{group.label}.{name}: got shape {value.shape} for "
                    f"{'/'.join(layer.path + local)}, expected {shape}"
                )
            params[layer.path + local] = value
        problems += [f"{group.label} lacks {'/'.join(layer.path + p)}" for p in missing]
    return params, problems


def _rename(name: str, layer: Layer) -> Path:
    """Of "Conv_0.weight", ("conv_0", "kernel"), as the layer has it."""
    *part, leaf = name.split(".")
    prefix = tuple(filter(None, (PARTS.get(layer.kind, {}).get(p, p) for p in part)))
    paths = [(*prefix, ours) for ours in LEAVES.get(leaf, (leaf,))]
    return next((path for path in paths if path in layer.shapes), paths[0])


def _from_torch(name: str, array: np.ndarray, rank: int) -> np.ndarray:
    """From PyTorch's order of axes, output channels first, to ours; 1x1 kernels as matrices."""
    if array.ndim == 4:
        return _from_flax(name, array.transpose(2, 3, 1, 0), rank)
    if array.ndim == 2 and name.endswith("weight"):
        array = array.T
    return np.ascontiguousarray(array, np.float32)


def _from_flax(name: str, array: np.ndarray, rank: int) -> np.ndarray:
    """1x1 kernels as matrices, and the (1, 1, 1, c) of group normalisation as vectors."""
    while array.ndim > rank and array.shape[0] == 1:
        array = array[0]
    return np.ascontiguousarray(array, np.float32)


TORCH = Dialect("state_dict", torch_groups, _in_order, _from_torch)
FLAX = Dialect("params", flax_groups, _by_class, _from_flax)
