"""How unlike two images look to a trained network, in which it can be differentiated.

    d(a, b) = sum_l mean over places of |f_l(a) / |f_l(a)| - f_l(b) / |f_l(b)||^2            (1)

with f_l(a) the channels of layer l at a place. It is LPIPS (Zhang et al. 2018, eq. 1) without
weights fitted to people's judgement. Of a network that is known by its features alone there is one
layer of one place, as in `metrics.feature_distance`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from options.precision import FLOAT32
from sde_lib import Process
from tasks.classifier import NoisyClassifier

LEAST = 1e-6  # of |f|^2, so that where f is 0 the derivative is finite


@runtime_checkable
class Perceptual(Protocol):
    """Distance of images in [0, 1]. frozen: the network's parameters, an argument of the call."""

    @property
    def frozen(self) -> Any: ...

    def __call__(
        self, frozen: Any, a: Float[Array, "b h w c"], b: Float[Array, "b h w c"]
    ) -> Float[Array, "b"]: ...


@dataclasses.dataclass(frozen=True, eq=False)
class OfFeatures:
    """(1) by feature vectors.

    Attributes:
      features: images, grey levels from 0 to 255 as float32, to (b, dim).
    """

    features: Callable[[Array], Array]

    @property
    def frozen(self) -> Any:
        """Nothing: the features bring their parameters."""
        return ()

    def __call__(
        self, frozen: Any, a: Float[Array, "b h w c"], b: Float[Array, "b h w c"]
    ) -> Float[Array, "b"]:
        """(1)."""
        return _distance(*(self.features(255 * x)[:, None] for x in (a, b)))


@dataclasses.dataclass(frozen=True, eq=False)
class OfClassifier:
    """(1) by the layers of a classifier of noisy images, at the least noise that it knows.

    Attributes:
      process, space: under which it was trained; the space has `from_unit`.
    """

    classifier: NoisyClassifier
    process: Process
    space: Any

    @property
    def frozen(self) -> Any:
        """The classifier's parameters."""
        return self.classifier.params

    def __call__(
        self, frozen: Any, a: Float[Array, "b h w c"], b: Float[Array, "b h w c"]
    ) -> Float[Array, "b"]:
        """(1), the layers being blocks and the first convolution."""
        each = zip(self._maps(frozen, a), self._maps(frozen, b), strict=True)
        return jnp.sum(jnp.stack([_distance(f, g) for f, g in each]), axis=0)

    def _maps(self, params: Any, x: Array) -> list[Array]:
        """The outputs of the network's parts that are maps, (b, h', w', channels)."""
        node = self.process.node(jnp.full(len(x), self.process.t_min))
        scaled = node.alpha[:, None, None, None] * self.space.from_unit(x)
        with FLOAT32.context():
            _, state = self.classifier.network.apply(
                {"params": params},
                scaled,
                self.classifier.c_noise(node),  # type: ignore[operator]
                capture_intermediates=lambda module, method: len(module.path) == 1,
                mutable=["intermediates"],
            )
        return [found for found in jax.tree.leaves(state["intermediates"]) if found.ndim == x.ndim]


def _distance(f: Array, g: Array) -> Float[Array, "b"]:
    """One layer of (1), of arrays (b, ..., channels)."""
    away = jnp.sum((_direction(f) - _direction(g)) ** 2, axis=-1)
    return jnp.mean(away.reshape(len(f), -1), axis=1)


def _direction(f: Array) -> Array:
    return f * jax.lax.rsqrt(jnp.maximum(jnp.sum(f**2, axis=-1, keepdims=True), LEAST))
