"""Denoising score matching, per example.

With x_t = alpha x_0 + sigma eps, the score of p(x_t | x_0) is -eps / sigma, and score matching
(Vincent 2011; Song et al. 2021, eq. 7) is the regression of the predicted eps on the true one:

    loss(x_0, t, eps) = weight(t) |eps_hat(x_t, t) - eps|^2                             (1)

The published weight lambda(t) = sigma^2 gives weight 1; likelihood weighting lambda(t) = g^2 (Song
et al. 2021b, "Maximum Likelihood Training", eq. 7) gives g^2 / sigma^2. A network that predicts
v = alpha eps - sigma x_0 errs by eps_hat - eps = alpha (v_hat - v) where alpha^2 + sigma^2 = 1, so
weight 1 / alpha^2 is its plain regression on v (Salimans & Ho 2022, section 4). The discrete
objectives of SMLD (Song & Ermon 2019, eq. 5) and DDPM (Ho et al. 2020, eq. 14) are (1) at the
levels of `sde_lib.SMLDSchedule` and `sde_lib.DDPMSchedule`, whose training times are their levels.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from parameterization import NO_COND, Cond, Predictor
from sde_lib import Process, expand_right

WEIGHTINGS: dict[str, Callable[[Process, Array], Array]] = {
    "noise": lambda process, t: jnp.ones_like(t),
    "likelihood": lambda process, t: process.diffusion_squared(t) / process.sigma(t) ** 2,
    "v": lambda process, t: 1 / process.alpha(t) ** 2,
}

REDUCTIONS: dict[str, Callable[[Array], Array]] = {
    "mean": lambda square: jnp.mean(square, axis=tuple(range(1, square.ndim))),
    "half_sum": lambda square: 0.5 * jnp.sum(square, axis=tuple(range(1, square.ndim))),
}


def loss_at(
    process: Process,
    predict: Predictor,
    x_0: Float[Array, "b *shape"],
    t: Float[Array, " b"],
    eps: Float[Array, "b *shape"],
    cond: Cond = NO_COND,
    *,
    weighting: str = "noise",
    reduction: str = "mean",
) -> Float[Array, " b"]:
    """Loss (1) of each example at given times and noise, shape (batch,).

    Args:
      weighting: "noise" (weight 1), "likelihood" (g^2 / sigma^2) or "v" (1 / alpha^2).
      reduction: over the dimensions of an example: "mean", or "half_sum" (published VE models).
    """
    node = process.node(t)
    mean, _ = process.marginal(x_0, t)
    x = mean + expand_right(node.sigma, x_0) * eps
    square = (predict(x, node, cond).eps - eps) ** 2
    return WEIGHTINGS[weighting](process, t) * REDUCTIONS[reduction](square)


def draw_times_and_noise(
    process: Process, keys: Key[Array, " b"], shape: tuple[int, ...]
) -> tuple[Float[Array, " b"], Float[Array, "b *shape"]]:
    """Training times (batch,) and standard normal noise (batch, *shape), one key per example.

    An example's draw depends on its own key alone, so batches may be split in any way.
    """

    def draw(key: Array) -> tuple[Array, Array]:
        time_key, noise_key = jax.random.split(key)
        return jax.random.uniform(time_key), jax.random.normal(noise_key, shape)

    u, eps = jax.vmap(draw)(keys)
    return process.training_time(u), eps


def drop_labels(keys: Key[Array, " b"], labels: Array, null_label: int, rate: float) -> Array:
    """`labels` with each replaced by `null_label` with probability `rate` (Ho & Salimans 2022)."""
    dropped = jax.vmap(lambda key: jax.random.bernoulli(key, rate))(keys)
    return jnp.where(dropped, null_label, labels)
