"""The layers of a network of ours that have parameters, in the order of their calls.

The published implementations keep, or number, their layers in the order in which they call them,
and our networks call theirs in the same order. So only the names within a layer need a table.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from models.sizes import required_divisor
from options.errors import InvalidValue

Path = tuple[str, ...]
Shapes = dict[Path, tuple[int, ...]]
MOST_LAYERS = 64  # blocks of a level, and levels, of a network that a file describes
CALLS = {"__call__"}  # the method of a layer that is its call


class Layer(NamedTuple):
    """A layer of ours: its path in the parameter tree, its kind, its parameters by local path."""

    path: Path
    kind: type[nn.Module]
    shapes: Shapes


def shapes_of(model: nn.Module, shape: tuple[int, ...], conditions: Collection[Any] = ()) -> Shapes:
    """The parameters of a network by path, for input of `shape`; nothing is computed."""
    cond = {condition.name: condition.example(shape[1:]) for condition in conditions}
    abstract = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros(shape), jnp.zeros(shape[:1]), **cond)
    )
    return {path: leaf.shape for path, leaf in flatten_dict(abstract["params"]).items()}


def layers_of(
    model: nn.Module, shape: tuple[int, ...], kinds: Collection[type[nn.Module]]
) -> list[Layer]:
    """The layers of these kinds, the outermost ones only, for input of `shape`.

    Raises:
      InvalidValue: parameters that are in none of them, by name.
    """
    found: list[tuple[Path, type[nn.Module]]] = []

    def record(call, args, kwargs, context):
        path, kind = context.module.path, type(context.module)
        inside = any(path[: len(outer)] == outer for outer, _ in found)
        if context.method_name in CALLS and kind in kinds and not inside:
            found.append((path, kind))
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        shapes = shapes_of(model.clone(remat=False, scan_blocks=False), shape)
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


def image_shapes(model: Any, channels: int) -> list[tuple[int, int, int, int]]:
    """Shapes of input with which to try a model, of images of `channels`.

    Where its attention stands depends on the size of its images, which may not be known: one size
    for each level that the first attention resolution can be at.
    """
    patch = getattr(model, "patch_size", 1)
    num_levels = len(model.ch_mult)
    resolutions = list(model.attn_resolutions)[:1]
    sizes = [r * patch * 2**level for r in resolutions for level in range(num_levels)]
    divisor = required_divisor(num_levels, patch)
    sizes = [size for size in sizes if size % divisor == 0] or [divisor]
    return [(1, size, size, channels // patch**2) for size in sizes]
