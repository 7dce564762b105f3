"""From the parameters of the official PyTorch implementation to ours.

The original keeps the layers of a network in one list, `all_modules`, in the order in which it
calls them; our networks call theirs in the same order. So the n-th layer there is the n-th layer
here, layers without parameters left out, and only the names within a layer need a table.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from models.layers.attention import AttentionBlock
from models.layers.convolution import Conv
from models.layers.embedding import FourierFeatures
from models.layers.normalization import GroupNorm
from models.layers.resampling import Downsample, Upsample
from models.layers.residual import ResidualBlock
from models.sizes import required_divisor
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

Shapes = dict[tuple[str, ...], tuple[int, ...]]


class Layer(NamedTuple):
    """A layer of ours: its path in the parameter tree, its kind, its parameters by local path."""

    path: tuple[str, ...]
    kind: type[nn.Module]
    shapes: Shapes


def params_from_torch(state_dict: Mapping[str, np.ndarray], model: nn.Module) -> dict[str, Any]:
    """The parameter tree of `model`, float32 numpy, from an official state dict.

    Names may begin with "module."; the `sigmas` buffer is ignored. Every shape is checked.

    Raises:
      InvalidValue: names every entry that is unknown, missing or of another shape.
    """
    theirs = _group(state_dict)
    if not getattr(model, "conditional", True):
        theirs = _without_noise_level(theirs)
    candidates = [_match(theirs, _layers(model, shape)) for shape in _image_shapes(theirs, model)]
    params, problems = min(candidates, key=lambda candidate: len(candidate[1]))
    if problems:
        name = type(model).__name__
        but = f"it is not of this {name}: {'; '.join(problems)}"
        raise InvalidValue("state_dict", but=but)
    return unflatten_dict(params)


def _group(state_dict: Mapping[str, np.ndarray]) -> dict[int, dict[str, np.ndarray]]:
    """{n: {"Conv_0.weight": array, ...}} of all_modules.n, in order."""
    groups: dict[int, dict[str, np.ndarray]] = {}
    unknown = []
    for name, value in state_dict.items():
        name = name.removeprefix("module.")
        match = re.fullmatch(r"all_modules\.(\d+)\.(.+)", name)
        if match:
            groups.setdefault(int(match[1]), {})[match[2]] = np.asarray(value)
        elif name != "sigmas":
            unknown.append(name)
    if unknown or not groups:
        names = ", ".join(unknown) or "no names at all"
        but = f"these are not names of an official score-SDE network: {names}"
        raise InvalidValue("state_dict", but=but)
    return dict(sorted(groups.items()))


def _without_noise_level(groups: dict[int, dict[str, np.ndarray]]) -> dict:
    """Without the parameters that the original makes for the noise level and then does not use."""
    used = {
        n: {name: v for name, v in group.items() if name != "W" and not name.startswith("Dense_0")}
        for n, group in groups.items()
    }
    return {n: group for n, group in used.items() if group}


def _image_shapes(theirs: dict, model: Any) -> list[tuple[int, int, int, int]]:
    """Shapes of input with which to try the model.

    Where its attention stands depends on the size of its images, which is not in a state dict: one
    size for each level that the first attention resolution can be at.
    """
    first_conv = next(v for layer in theirs.values() for v in layer.values() if v.ndim == 4)
    patch = getattr(model, "patch_size", 1)
    num_levels = len(model.ch_mult)
    resolutions = list(model.attn_resolutions)[:1]
    sizes = [r * patch * 2**level for r in resolutions for level in range(num_levels)]
    divisor = required_divisor(num_levels, patch)
    sizes = [size for size in sizes if size % divisor == 0] or [divisor]
    return [(1, size, size, first_conv.shape[1] // patch**2) for size in sizes]


def _layers(model: nn.Module, shape: tuple[int, ...]) -> list[Layer]:
    """The layers of `model` that have parameters, in the order of their calls."""
    found: list[tuple[tuple[str, ...], type[nn.Module]]] = []

    def record(call, args, kwargs, context):
        path, kind = context.module.path, type(context.module)
        inside = any(path[: len(outer)] == outer for outer, _ in found)
        if context.method_name == "__call__" and kind in PARTS and not inside:
            found.append((path, kind))
        return call(*args, **kwargs)

    plain = model.clone(remat=False, scan_blocks=False)
    with nn.intercept_methods(record):
        x = jax.ShapeDtypeStruct(shape, jnp.float32)
        c_noise = jax.ShapeDtypeStruct(shape[:1], jnp.float32)
        abstract = jax.eval_shape(plain.init, jax.random.key(0), x, c_noise)["params"]
    shapes = {path: leaf.shape for path, leaf in flatten_dict(abstract).items()}
    layers = [
        Layer(path, kind, {p[len(path) :]: s for p, s in shapes.items() if p[: len(path)] == path})
        for path, kind in found
    ]
    covered = {layer.path + local for layer in layers for local in layer.shapes}
    foreign = ["/".join(path) for path in shapes if path not in covered]
    if foreign:
        but = f"official networks have no such parameters as {', '.join(foreign)}"
        raise InvalidValue("model", but=but)
    return [layer for layer in layers if layer.shapes]


def _match(theirs: dict[int, dict[str, np.ndarray]], ours: list[Layer]) -> tuple[dict, list[str]]:
    """Parameters by path, and what does not fit."""
    params: dict[tuple[str, ...], np.ndarray] = {}
    problems = []
    if len(theirs) != len(ours):
        problems.append(f"it has {len(theirs)} layers, the model {len(ours)}")
    for (n, arrays), layer in zip(theirs.items(), ours, strict=False):
        missing = dict(layer.shapes)
        for name, array in arrays.items():
            local = _rename(name, layer)
            shape = missing.pop(local, None)
            if shape is None:
                problems.append(f"all_modules.{n}.{name} is unknown to {'/'.join(layer.path)}")
                continue
            value = _reorder(name, array, len(shape))
            if value.shape != shape:
                problems.append(
                    f"all_modules.{n}.{name}: got shape {value.shape} for "
                    f"{'/'.join(layer.path + local)}, expected {shape}"
                )
            params[layer.path + local] = value
        problems += [f"all_modules.{n} lacks {'/'.join(layer.path + p)}" for p in missing]
    return params, problems


def _rename(name: str, layer: Layer) -> tuple[str, ...]:
    """Of "Conv_0.weight", ("conv_0", "kernel"), as the layer has it."""
    *part, leaf = name.split(".")
    prefix = tuple(filter(None, (PARTS.get(layer.kind, {}).get(p, p) for p in part)))
    paths = [(*prefix, ours) for ours in LEAVES.get(leaf, (leaf,))]
    return next((path for path in paths if path in layer.shapes), paths[0])


def _reorder(name: str, array: np.ndarray, rank: int) -> np.ndarray:
    """From PyTorch's order of axes, output channels first, to ours; 1x1 kernels as matrices."""
    if array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
        if rank == 2 and array.shape[:2] == (1, 1):
            array = array[0, 0]
    elif array.ndim == 2 and name.endswith("weight"):
        array = array.T
    return np.ascontiguousarray(array, np.float32)
