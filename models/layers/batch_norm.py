"""Batch normalisation (Ioffe & Szegedy 2015), with running statistics.

    y = (x - m) / sqrt(v + eps) * scale + bias                                           (1)

for each channel, m and v its mean and variance over examples and pixels: in training those of the
examples that are differentiated together (a microbatch of a device), else the running ones, of

    m <- momentum m + (1 - momentum) m_batch,    v likewise                              (2)

m_batch and v_batch being those of the global batch, however it is split. Running statistics are
parameters that no gradient reaches, so that checkpoints, averages and files of weights hold them;
the average of a run has theirs averaged as its weights are. A network in training says what it
measured in the collection `COLLECTION`, where that is mutable; `absorbed` is (2).
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, DTypeLike, Float

from models.layers.normalization import GroupNorm
from options.choices import require

COLLECTION = "statistics"  # of what a training measures; mutable in a training alone
RUNNING = {"mean", "variance"}  # parameters of a layer that no gradient reaches
EPS = 1e-5  # of classifiers, group norms included


class BatchNorm(nn.Module):
    """x: (b, *space, c) -> alike, equation (1), in `dtype`; statistics in float32."""

    eps: float = EPS
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"]) -> Float[Array, "b *space c"]:
        width = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, width)
        bias = self.param("bias", nn.initializers.zeros, width)
        mean = jax.lax.stop_gradient(self.param("mean", nn.initializers.zeros, width))
        variance = jax.lax.stop_gradient(self.param("variance", nn.initializers.ones, width))
        x_f32 = x.astype(jnp.float32)
        if self.is_mutable_collection(COLLECTION) and not self.is_initializing():
            pixels = tuple(range(x.ndim - 1))
            running, mean = mean, jnp.mean(x_f32, pixels)
            variance = jnp.mean(jnp.square(x_f32 - mean), pixels)
            # About the running mean, which is near: float32 keeps its digits in `absorbed`.
            self.put_variable(COLLECTION, "mean", mean)
            self.put_variable(COLLECTION, "square", variance + jnp.square(mean - running))
        a = scale * jax.lax.rsqrt(variance + self.eps)
        return ((x_f32 - mean) * a + bias).astype(self.dtype)


def absorbed(before: Any, after: Any, measured: Mapping[str, Any], momentum: float) -> Any:
    """The parameters `after` the optimizer's step, with running statistics by (2) from `before`.

    measured: what networks said in `COLLECTION`, by the paths of their layers: mean, and mean
      square about the running mean. Both are means over equal parts of the global batch, as is
      whatever is averaged over microbatches and devices, so m_batch and v_batch are those of all
      of it. Statistics of which nothing was measured stay as they were.
    """
    old, new, found = (flatten_dict(dict(tree)) for tree in (before, after, measured))
    layers = {path[:-1] for path in old if {(*path[:-1], name) for name in RUNNING} <= old.keys()}
    for path in layers:
        mean, variance = old[*path, "mean"], old[*path, "variance"]
        if (*path, "mean") in found:
            away = found[*path, "mean"] - mean
            of_batch = jnp.maximum(found[*path, "square"] - jnp.square(away), 0.0)
            mean = mean + (1 - momentum) * away
            variance = variance + (1 - momentum) * (of_batch - variance)
        new[*path, "mean"], new[*path, "variance"] = mean, variance
    return unflatten_dict(new)


# Norms of a network, chosen by name.


@dataclasses.dataclass(frozen=True)
class GroupNorms:
    """Group norms: no running statistics, and an example does not depend on its batch."""

    collects: ClassVar[bool] = False

    def layer(self, dtype: DTypeLike) -> Callable[..., nn.Module]:
        """What makes a layer, given its name."""
        return partial(GroupNorm, eps=EPS, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class BatchNorms:
    """Batch norms with running statistics.

    Attributes:
      momentum: of the running statistics, by which they are kept in a step.
      frozen: they stay as they are, and normalise in training as well: an example does not depend
        on its batch then, nor a run on how batches are split. For few examples at once.
    """

    momentum: float = 0.9
    frozen: bool = False

    def __post_init__(self) -> None:
        require(0 <= self.momentum < 1, "momentum", self.momentum, "0 <= momentum < 1")

    @property
    def collects(self) -> bool:
        """Whether a training updates the running statistics."""
        return not self.frozen

    def layer(self, dtype: DTypeLike) -> Callable[..., nn.Module]:
        """What makes a layer, given its name."""
        return partial(BatchNorm, eps=EPS, dtype=dtype)


NORMS: dict[str, type[GroupNorms] | type[BatchNorms]] = {"group": GroupNorms, "batch": BatchNorms}
