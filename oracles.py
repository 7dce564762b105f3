"""Data whose score, denoiser, likelihood and probability flow are exact under every process.

They are predictors, so they take a network's place anywhere: what a solver or a likelihood makes of
them is its own error. With x_t = alpha x_0 + sigma eps, Gaussian data stay Gaussian,

    x_t ~ N(alpha m, v),   v = alpha^2 s^2 + sigma^2                                    (1)
    E[x_0 | x_t] = m + alpha s^2 (x_t - alpha m) / v,   E[eps | x_t] = sigma (x_t - alpha m) / v

and a mixture's estimates are those of its components, weighted by their responsibilities for x_t.
Both formulas hold at alpha = 0, where a score does not determine the velocity. The reverse step of
the chain follows from their densities by Bayes' rule, `log_reverse`.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from parameterization import NO_COND, Cond, Prediction
from sde_lib import Node, expand_right, transition


@functools.partial(jax.tree_util.register_dataclass, data_fields=["mean", "std"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Data N(mean, diag std^2); mean and std of one shape, a sample's."""

    mean: Array
    std: Array

    def sample(self, key: Key[Array, ""], n: int) -> Float[Array, "n *shape"]:
        """n data points."""
        return self.mean + self.std * jax.random.normal(key, (n, *self.mean.shape))

    def marginal(self, node: Node, x: Array) -> tuple[Array, Array]:
        """Mean and variance of x_t, which broadcast against x (batch, *shape)."""
        alpha, sigma = expand_right(node.alpha, x), expand_right(node.sigma, x)
        return alpha * self.mean, alpha**2 * self.std**2 + sigma**2

    def log_prob(self, node: Node, x: Float[Array, "b *shape"]) -> Float[Array, " b"]:
        """log density of x_t, in nats."""
        mean, variance = self.marginal(node, x)
        terms = (x - mean) ** 2 / variance + jnp.log(2 * jnp.pi * variance)
        return -0.5 * jnp.sum(terms.reshape(x.shape[0], -1), axis=-1)

    def flow(self, x: Float[Array, "b *shape"], start: Node, end: Node) -> Array:
        """Where the probability flow takes x from one node to another: each coordinate keeps its
        distance from the mean in standard deviations."""
        (mean, variance), (to_mean, to_variance) = self.marginal(start, x), self.marginal(end, x)
        return to_mean + jnp.sqrt(to_variance / variance) * (x - mean)

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        mean, variance = self.marginal(node, x)
        away = (x - mean) / variance
        alpha, sigma = expand_right(node.alpha, x), expand_right(node.sigma, x)
        return Prediction(self.mean + alpha * self.std**2 * away, sigma * away, node)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["means", "std", "weights"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Mixture:
    """Data sum_k weights_k N(means_k, std^2 I) in R^d; means (k, d), weights (k,)."""

    means: Array
    std: float
    weights: Array

    def sample(self, key: Key[Array, ""], n: int) -> Float[Array, "n d"]:
        """n data points."""
        which, noise = jax.random.split(key)
        k = jax.random.categorical(which, jnp.log(self.weights), shape=(n,))
        return self.means[k] + self.std * jax.random.normal(noise, (n, self.means.shape[1]))

    def log_parts(self, node: Node, x: Float[Array, "b d"]) -> Float[Array, "b k"]:
        """log(weights_k N(x; alpha means_k, v)) of each component."""
        alpha, sigma = node.alpha[:, None], node.sigma[:, None]
        variance = alpha**2 * self.std**2 + sigma**2
        square = jnp.sum((x[:, None] - alpha[..., None] * self.means) ** 2, -1) / variance
        log_parts = -0.5 * square - 0.5 * x.shape[1] * jnp.log(2 * jnp.pi * variance)
        return log_parts + jnp.log(self.weights)

    def log_prob(self, node: Node, x: Float[Array, "b d"]) -> Float[Array, " b"]:
        """log density of x_t, in nats."""
        return jax.nn.logsumexp(self.log_parts(node, x), axis=-1)

    def log_probs(self, x: Float[Array, "b d"], node: Node) -> Float[Array, "b k"]:
        """log p(k | x_t) of each component k: the exact classifier of noisy states, with the
        interface of `tasks.classifier.NoisyClassifier`."""
        return jax.nn.log_softmax(self.log_parts(node, x), axis=-1)

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        # The responsible mean m, then (1) with it in the place of the mean.
        weights = jax.nn.softmax(self.log_parts(node, x), axis=-1)
        mean = jnp.matmul(weights, self.means, precision="highest")
        single = Gaussian(jnp.zeros(x.shape[1]), jnp.full(x.shape[1], self.std))
        away = x - expand_right(node.alpha, x) * mean
        found = single(away, node)
        return Prediction(mean + found.x_0, found.eps, node)


def log_reverse(
    data: Gaussian | Mixture,
    node: Node,
    x: Float[Array, "b d"],
    node_next: Node,
    x_next: Float[Array, "b d"],
) -> Float[Array, " b"]:
    """log density of x_s | x_t at `x_next`, in nats; s at `node_next`, the cleaner of the two.

        q(x_s | x_t) = q(x_t | x_s) q(x_s) / q(x_t)

    It is no Gaussian unless the data are, but nearly one for a small step.
    """
    r, b = (expand_right(of, x) for of in transition(node, node_next))
    square = (x - r * x_next) ** 2 / b + jnp.log(2 * jnp.pi * jnp.broadcast_to(b, x.shape))
    forward = -0.5 * jnp.sum(square.reshape(len(x), -1), axis=-1)
    return forward + data.log_prob(node_next, x_next) - data.log_prob(node, x)
