"""A denoiser of 4-vectors in two layers, its loader and its loss on fixed examples: a training run
of milliseconds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from models.layers.batch_norm import absorbed
from tasks.task import STATISTICS

WIDTH = 256  # wide enough for FSDP to split the kernels


class TinyTask:
    """x_t = x_0 + t eps, the network predicts eps from (x_t, t)."""

    frozen = ()

    def init(self, key):
        first, second = jax.random.split(key)
        return {
            "first": {
                "kernel": 0.3 * jax.random.normal(first, (5, WIDTH)),
                "bias": jnp.zeros(WIDTH),
            },
            "second": {"kernel": 0.1 * jax.random.normal(second, (WIDTH, 4))},
        }

    def loss(self, context, batch, keys):
        params = context.params
        time_keys, noise_keys = jax.vmap(jax.random.split)(keys).T
        t = jax.vmap(jax.random.uniform)(time_keys)
        eps = jax.vmap(lambda key: jax.random.normal(key, (4,)))(noise_keys)
        x_t = batch["x"] + t[:, None] * eps
        inputs = jnp.concatenate([x_t, t[:, None]], axis=1)
        hidden = jnp.tanh(inputs @ params["first"]["kernel"] + params["first"]["bias"])
        losses = jnp.mean((hidden @ params["second"]["kernel"] - eps) ** 2, axis=1)
        return jnp.mean(losses), {"loss": losses, "level": t}

    def draw(self, context, key):
        kernel = np.asarray(context.params["first"]["kernel"])
        return {"weights": (255 * (kernel > 0)).astype(np.uint8)}


class StatisticsTask(TinyTask):
    """Its parameters hold running statistics of its examples, by which they are scaled."""

    momentum = 0.75

    def init(self, key):
        return super().init(key) | {"norm": {"mean": jnp.zeros(4), "variance": jnp.ones(4)}}

    def loss(self, context, batch, keys):
        norm = jax.lax.stop_gradient(context.params["norm"])
        away = batch["x"] - norm["mean"]
        scaled = {"x": away / jnp.sqrt(norm["variance"] + 1e-5)}
        mean, metrics = super().loss(context, scaled, keys)
        found = {"mean": jnp.mean(batch["x"], 0), "square": jnp.mean(away**2, 0)}
        return mean, metrics | {STATISTICS: {"norm": found}}

    def absorb(self, before, after, measured):
        return absorbed(before, after, measured, self.momentum)


class TeacherTask(TinyTask):
    """Its loss also depends on frozen parameters, on the average and on the step."""

    def __init__(self):
        self.frozen = {"kernel": jnp.linspace(-1.0, 1.0, 4 * WIDTH).reshape(WIDTH, 4)}

    def loss(self, context, batch, keys):
        mean, metrics = super().loss(context, batch, keys)
        kernel = context.params["second"]["kernel"]
        towards = context.ema["second"]["kernel"] + context.step * context.frozen["kernel"]
        return mean + jnp.mean((kernel - jax.lax.stop_gradient(towards)) ** 2), metrics


class TinyLoader:
    """Batch s is drawn from the seed s; host h of H gets its block of the rows."""

    def __init__(self, batch_size, host=0, hosts=1, nan_at=None):
        self.batch_size, self.position, self.nan_at = batch_size, 0, nan_at
        share = batch_size // hosts
        self.rows = slice(host * share, (host + 1) * share)

    def __next__(self):
        rng = np.random.default_rng(self.position)
        x = rng.normal(size=(self.batch_size, 4)).astype(np.float32)
        if self.position == self.nan_at:
            x[0, 0] = np.nan
        self.position += 1
        return {"x": x[self.rows]}

    def state(self):
        return {"position": self.position}

    def restore(self, state):
        self.position = state["position"]


loss = jax.jit(TinyTask().loss)


@dataclasses.dataclass(frozen=True, eq=False)
class TinyMeasurement:
    """The loss of sixteen examples, at the same times under the same noise."""

    every: int
    metric: str = "fixed_loss"
    is_heavy: bool = False
    about = "a loss of 16 vectors"
    field = "tiny.every"

    def __call__(self, context, at_once):
        batch = {"x": np.random.default_rng(9).normal(size=(16, 4)).astype(np.float32)}
        keys = jax.random.split(jax.random.key(5), 16)
        return {self.metric: float(loss(context, batch, keys)[0])}
