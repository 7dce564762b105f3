"""The optimizer: clip the gradient by its global norm, then Adam with a learning-rate schedule.

    g    <- g min(1, grad_clip / ||g||)                                   (1)
    m, v <- Adam moments of g                                             (2)
    p    <- p - lr(n) (m_hat / (sqrt(v_hat) + eps) + weight_decay p)      (3)
    lr(n) = lr min(n / warmup, 1) decay(n), n = 0, 1, ...                 (4)

Order and count are those of the original score-SDE: the first step has learning rate 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from options.choices import require_fraction, require_non_negative, require_positive
from options.classes import choose_class
from options.errors import InvalidValue
from options.fields import hidden


class Decay(NamedTuple):
    """The factor of (4) after the warm-up, at update n of `steps`; `ends`: it is 0 at the last."""

    factor: Callable[[jax.Array, int, int], jax.Array]
    ends: bool = False


def _cosine(n: jax.Array, warmup: int, steps: int) -> jax.Array:
    done = jnp.clip((n - warmup) / max(steps - warmup, 1), 0, 1)
    return 0.5 * (1 + jnp.cos(jnp.pi * done))


def _inverse_square_root(n: jax.Array, warmup: int, steps: int) -> jax.Array:
    return jnp.sqrt(max(warmup, 1) / jnp.maximum(n, max(warmup, 1)))


DECAYS: dict[str, Decay] = {
    "none": Decay(lambda n, warmup, steps: jnp.ones_like(n)),
    "cosine": Decay(_cosine, ends=True),
    "rsqrt": Decay(_inverse_square_root),
}


@dataclass(frozen=True)
class Optimizer:
    """Adam with clipping and warm-up.

    Attributes:
      lr: learning rate after the warm-up, before any decay.
      b1, b2: decay rates of Adam's two moments.
      eps: added to the root of the second moment.
      warmup: updates over which the learning rate rises from 0 (0: none).
      grad_clip: largest global norm of the gradient (0: no clipping).
      weight_decay: decoupled, as in AdamW.
      decay: "none", "cosine" (to 0 at update `steps`) or "rsqrt" (lr sqrt(warmup / n)).
      steps: the updates of the whole run, see `for_run`; only "cosine" reads it.
    """

    lr: float = 2e-4
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    warmup: int = 5000
    grad_clip: float = 1.0
    weight_decay: float = 0.0
    decay: str = "none"
    steps: int = hidden(0)

    def __post_init__(self) -> None:
        require_positive(self, "lr", "eps")
        self._decay  # noqa: B018  its own check
        require_non_negative(self, "warmup", "grad_clip", "weight_decay")
        require_fraction(self, "b1", "b2")

    @property
    def _decay(self) -> Decay:
        return choose_class(DECAYS, self.decay, "decay")

    def for_run(self, steps: int) -> "Optimizer":
        """The optimizer of a run of so many updates."""
        if self._decay.ends and self.warmup >= steps:
            raise InvalidValue("warmup", self.warmup, f"fewer than training.steps = {steps}")
        return replace(self, steps=steps)

    def learning_rate(self, n: Int[Array, ""] | int) -> Float[Array, ""]:
        """Equation (4): the learning rate of update n, counted from 0."""
        n = jnp.asarray(n, jnp.float32)
        rise = jnp.minimum(n / self.warmup, 1) if self.warmup else 1.0
        return jnp.float32(self.lr) * rise * self._decay.factor(n, self.warmup, self.steps)

    def transformation(self) -> optax.GradientTransformation:
        """Equations (1) to (3) as an optax chain."""
        steps = [optax.clip_by_global_norm(self.grad_clip)] if self.grad_clip else []
        steps += [optax.scale_by_adam(self.b1, self.b2, self.eps)]
        steps += [optax.add_decayed_weights(self.weight_decay)] if self.weight_decay else []
        steps += [optax.scale_by_learning_rate(self.learning_rate)]
        return optax.chain(*steps)
