"""Exponential moving average of the parameters, the ones that sampling and evaluation use.

    ema_{n+1} = ema_n + (1 - rate_n) (params_{n+1} - ema_n)                              (1)
    rate_n    = decay, or with warm-up min(decay, (1 + n) / (10 + n)), n = 1, 2, ...     (2)

(2) is the warm-up of the PyTorch score-SDE: an average that starts from random weights forgets
them after tens of steps rather than after 1 / (1 - decay).
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from options.errors import InvalidValue

PyTree = Any


@dataclass(frozen=True)
class EMA:
    """The average of the parameters that sampling and evaluation use, equation (1).

    Attributes:
      decay: in [0, 1); the average remembers about 1 / (1 - decay) updates; 0 keeps the newest
        parameters.
      warmup: whether it forgets the first, random parameters within tens of updates, equation (2).
    """

    decay: float = 0.999
    warmup: bool = False

    def __post_init__(self):
        if not 0 <= self.decay < 1:
            raise InvalidValue("decay", self.decay, "0 <= decay < 1")

    def rate(self, n: Int[Array, "*shape"] | int) -> Float[Array, "..."]:
        """The rate of the n-th update, counted from 1, equation (2)."""
        decay = jnp.float32(self.decay)
        n = jnp.asarray(n, jnp.float32)
        return jnp.minimum(decay, (1 + n) / (10 + n)) if self.warmup else decay

    def initial_share(self, steps: int) -> float:
        """The weight of the first, random parameters in the average after `steps` updates."""
        rates = np.asarray(self.rate(jnp.arange(1, steps + 1)), np.float64)
        return float(np.prod(np.broadcast_to(rates, (steps,))))

    def update(self, ema: PyTree, params: PyTree, n: Int[Array, ""] | int) -> PyTree:
        """The average after the n-th update (counted from 1) brought the parameters to `params`."""
        keep = self.rate(n)
        return jax.tree.map(lambda e, p: e + (1 - keep).astype(e.dtype) * (p - e), ema, params)
