"""Exact scores: data whose noised density is known in closed form under every process."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array

from parameterization import NO_COND, Cond, Prediction, from_eps
from sde_lib import Node, expand_right


@functools.partial(jax.tree_util.register_dataclass, data_fields=["mean", "std"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Data N(mean, diag std^2); x_t is N(alpha mean, alpha^2 std^2 + sigma^2)."""

    mean: Array
    std: Array

    def sample(self, key: Array, n: int) -> Array:
        return self.mean + self.std * jax.random.normal(key, (n, *self.mean.shape))

    def marginal(self, node: Node, x: Array) -> tuple[Array, Array]:
        alpha, sigma = expand_right(node.alpha, x), expand_right(node.sigma, x)
        return alpha * self.mean, alpha**2 * self.std**2 + sigma**2

    def log_prob(self, node: Node, x: Array) -> Array:
        mean, variance = self.marginal(node, x)
        terms = (x - mean) ** 2 / variance + jnp.log(2 * jnp.pi * variance)
        return -0.5 * jnp.sum(terms.reshape(x.shape[0], -1), axis=-1)

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        mean, variance = self.marginal(node, x)
        return from_eps(x, expand_right(node.sigma, x) * (x - mean) / variance, node)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["means", "std", "weights"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Mixture:
    """Data sum_k weights_k N(means_k, std^2 I) in R^d; means (k, d), weights (k,)."""

    means: Array
    std: float
    weights: Array

    def sample(self, key: Array, n: int) -> Array:
        which, noise = jax.random.split(key)
        k = jax.random.categorical(which, jnp.log(self.weights), shape=(n,))
        return self.means[k] + self.std * jax.random.normal(noise, (n, self.means.shape[1]))

    def log_prob(self, node: Node, x: Array) -> Array:
        alpha, sigma = node.alpha[:, None], node.sigma[:, None]
        variance = alpha**2 * self.std**2 + sigma**2
        square = jnp.sum((x[:, None] - alpha[..., None] * self.means) ** 2, -1) / variance
        dim = x.shape[1]
        log_parts = -0.5 * square - 0.5 * dim * jnp.log(2 * jnp.pi * variance)
        return jax.nn.logsumexp(log_parts + jnp.log(self.weights), axis=-1)

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        score = jax.grad(lambda x: jnp.sum(self.log_prob(node, x)))(x)
        return from_eps(x, -expand_right(node.sigma, x) * score, node)
