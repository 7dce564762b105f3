"""The score field of two groups of points, true and learned, with and without noise."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import losses
from evaluation.plots import pyplot
from oracles import Mixture
from sde_lib import Node
from tools.figures.base import Exact, Work

# Of unequal weight and far apart, so that there is little between them and around.
DATA = Mixture(jnp.array([[-2.5, -2.5], [2.5, 2.5]]), 0.7, jnp.array([0.2, 0.8]))


class _Perceptron(nn.Module):
    """Two hidden layers, from points of the plane to vectors."""

    width: int = 128

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            x = nn.swish(nn.Dense(self.width)(x))
        return nn.Dense(2)(x)


@dataclasses.dataclass(frozen=True)
class Field(Exact):
    """The true score beside that which a network learns by Hyvarinen's score matching from samples
    of the same distribution, and where the two differ.

    sigma: of the noise on the data, whose score then is that of the noised data.
    """

    sigma: float = 0.0
    points: int = 1000

    def needs(self) -> str:
        return "nothing; under a minute"

    def make(self, work: Work) -> None:
        x = DATA.sample(jax.random.key(work.seed), self.points)
        x = x + self.sigma * jax.random.normal(jax.random.key(1), x.shape)
        learned = self._learned(x, 400 if work.small else 4000)
        side = np.linspace(-6, 6, 25)
        places = jnp.asarray(np.stack(np.meshgrid(side, side), -1).reshape(-1, 2), jnp.float32)
        node = Node(*(jnp.full(len(places), v) for v in (0.0, 1.0, self.sigma)))
        true = jax.grad(lambda x: jnp.sum(DATA.log_prob(node, x)))(places)
        density = np.exp(DATA.log_prob(node, places)).reshape(25, 25)
        figure, axes = pyplot().subplots(1, 3, figsize=(14, 5.2), layout="constrained")
        noised = f"noise {self.sigma:g}" if self.sigma else "without noise"
        for axis, field, title in (
            (axes[0], true, f"true score, {noised}"), (axes[1], learned(places), "learned score"),
        ):  # fmt: skip
            axis.contourf(side, side, density, 12, cmap="Greys", alpha=0.7)
            length = np.linalg.norm(field, axis=1, keepdims=True)
            shown = np.asarray(field) / np.maximum(length, 1e-6) * np.minimum(length, 3.0)
            axis.quiver(*places.T, *shown.T, color="#1f5fa8", scale=60, width=0.004)
            axis.set(title=title, aspect="equal")
        error = np.linalg.norm(np.asarray(learned(places) - true), axis=1)
        drawn = axes[2].pcolormesh(
            side, side, error.reshape(25, 25), cmap="Oranges", vmax=6, vmin=0
        )
        axes[2].plot(*np.asarray(x).T, ".", markersize=1.5, color="#333333")
        axes[2].set(
            title="error, and the training points", aspect="equal", xlim=(-6, 6), ylim=(-6, 6)
        )
        figure.colorbar(drawn, ax=axes[2], label="distance of learned from true")
        work.plot("score_field", figure)
        weight = density.reshape(-1) / density.sum()
        header = ["", "mean error where data are", "mean error over the square"]
        work.table(
            "score_field", header, [[noised, f"{weight @ error:.3f}", f"{error.mean():.3f}"]]
        )

    def _learned(self, x: jax.Array, steps: int) -> Any:
        """The score function of a network trained on these points."""
        network = _Perceptron()
        params = network.init(jax.random.key(0), x[:1])
        optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))

        def loss(params: Any) -> jax.Array:
            score: Any = functools.partial(network.apply, params)
            return jnp.mean(losses.implicit_score_matching(score, x))

        @jax.jit
        def train(params: Any) -> Any:
            def step(carry: Any, _: None) -> tuple[Any, None]:
                params, state = carry
                updates, state = optimizer.update(jax.grad(loss)(params), state)
                return (optax.apply_updates(params, updates), state), None

            start = params, optimizer.init(params)
            return jax.lax.scan(step, start, length=steps)[0][0]

        return functools.partial(network.apply, train(params))
