"""Judges of whether a text says what a noisy image shows.

    p(text j | x_t) = softmax_j f(x_t) . g(text_j),   j of a set of texts                   (1)

trained by the contrast among the texts of a batch (van den Oord et al. 2018, InfoNCE)

    loss_i = log sum_j exp(f_i . g_j) - log sum_{j like i} exp(f_i . g_j)                   (2)

with x_t = alpha x_0 + sigma eps at every noise level; texts that are alike count as one. It is the
half of the loss of Radford et al. 2021 that asks for the text of an image: its gradient in x_t
guides a score to a text.
"""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

import losses
from models.two_towers import TwoTowers
from options.classes import named
from options.precision import FLOAT32, PRECISIONS, Precision
from parameterization import Cond, LogSigma, NoiseConditioning
from sde_lib import Node, Process, expand_right
from tasks.conditions import Condition
from tasks.task import Batch, Context

ALIKE = 1e-5  # the largest difference of g of texts that are the same


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["network", "c_noise", "precision"],
)
@dataclasses.dataclass(frozen=True)
class Judge:
    """A text-image judge of noisy states. `params` are its leaves.

    Attributes:
      c_noise: how the network is conditioned on the noise level.
      precision: of the network's products.
    """

    network: TwoTowers
    params: Any
    c_noise: NoiseConditioning = LogSigma()
    precision: Precision = FLOAT32

    def images(
        self, x: Float[Array, "b *shape"], node: Node, **options: Any
    ) -> Float[Array, "b d"]:
        """f of (1); node's fields have shape (b,)."""
        return self._apply("of_image", x, self.c_noise(node), **options)

    def texts(self, value: Any) -> Float[Array, "n d"]:
        """g of (1), of the value of the condition."""
        return self._apply("of_text", value)

    def log_probs(
        self, x: Float[Array, "b *shape"], node: Node, texts: Float[Array, "n d"]
    ) -> Float[Array, "b n"]:
        """log p(text j | x_t) among the texts of these g."""
        return jax.nn.log_softmax(_similarity(self.images(x, node), texts))

    def _apply(self, method: str, *values: Any, **options: Any) -> Any:
        with self.precision.context():
            return self.network.apply({"params": self.params}, *values, method=method, **options)


def _similarity(f: Float[Array, "b d"], g: Float[Array, "n d"]) -> Float[Array, "b n"]:
    """Inner products, which no device rounds: they are small beside the towers."""
    return jnp.matmul(f, g.T, precision="highest")


def contrast(
    f: Float[Array, "b d"], g: Float[Array, "b d"]
) -> tuple[Float[Array, " b"], Bool[Array, " b"]]:
    """(the loss (2) of each example in nats, whether a text like its own is the likeliest)."""
    logits = _similarity(f, g)
    alike = jnp.max(jnp.abs(g[:, None] - g[None]), axis=-1) < ALIKE
    of_own = jax.nn.logsumexp(jnp.where(alike, logits, -jnp.inf), axis=1)
    likeliest = jnp.argmax(logits, axis=1)
    correct = jnp.take_along_axis(alike, likeliest[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(logits, axis=1) - of_own, correct


@dataclasses.dataclass(frozen=True)
class MatchingTask:
    """Training a judge on batches of "image" and what the condition draws.

    Attributes:
      process: the noising process.
      network: see `TwoTowers`.
      shape: of an image, (height, width, channels).
      c_noise, times: see `tasks.classifier.ClassifierTask`.
      precision: of the network in the loss; what guides or is evaluated is in float32.
    """

    process: Process
    network: TwoTowers
    shape: tuple[int, ...]
    c_noise: NoiseConditioning = LogSigma()
    times: losses.Times | str = dataclasses.field(
        default=losses.UniformTimes(), metadata={"choices": losses.TIMES}
    )
    precision: str = "tf32"
    frozen: ClassVar[tuple[()]] = ()
    couples_examples: ClassVar[bool] = True  # by (2)

    def __post_init__(self) -> None:
        self.c_noise.check(self.network.image)

    @property
    def condition(self) -> Condition:
        """Of the texts."""
        return self.network.condition

    def init(self, key: Key[Array, ""]) -> Any:
        """Freshly initialised parameters, float32."""
        value = self.condition.example(self.shape)
        return self.network.init(key, jnp.zeros((1, *self.shape)), jnp.zeros(1), value)["params"]

    def judge(self, params: Any) -> Judge:
        """The network with these parameters, in float32."""
        return Judge(self.network, params, self.c_noise)

    def for_evaluation(self) -> "MatchingTask":
        """The task with every text given, no dropout in the network, and in float32."""
        condition: Any = dataclasses.replace(self.condition, dropout=0.0)  # type: ignore[type-var]
        image = self.network.image.clone(dropout=0.0) if self._has_dropout else self.network.image
        network = TwoTowers(image, condition)
        return dataclasses.replace(self, network=network, precision="float32")

    @property
    def _has_dropout(self) -> bool:
        return getattr(self.network.image, "dropout", 0.0) > 0

    def loss(
        self, context: Context, batch: Batch, keys: Key[Array, " b"]
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """Mean loss of the batch; each example's loss and noise level, t / t_max, and whether its
        own text is the likeliest of the batch."""
        noise_keys, dropout_keys, text_keys = jax.vmap(lambda k: jax.random.split(k, 3))(keys).T
        x_0, times = batch["image"], named(losses.TIMES, self.times, "times")
        t, eps = losses.draw_times_and_noise(self.process, noise_keys, x_0.shape[1:], times)
        node = self.process.node(t)
        x = expand_right(node.alpha, x_0) * x_0 + expand_right(node.sigma, x_0) * eps
        judge = Judge(self.network, context.params, self.c_noise, PRECISIONS[self.precision])
        options = {"dropout_keys": dropout_keys} if self._has_dropout else {}
        f = judge.images(x, node, **options)
        values, correct = contrast(f, judge.texts(self.condition.draw(batch, text_keys)))
        level = t / self.process.t_max
        found = {"loss": values, "level": level, "accuracy": correct.astype(jnp.float32)}
        return jnp.mean(values), found

    def draw(self, context: Context, key: Key[Array, ""]) -> dict[str, np.ndarray]:
        """Nothing: a judge draws no samples."""
        return {}


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["judge", "among"], meta_fields=["name"]
)
@dataclasses.dataclass(frozen=True)
class TextLikelihood:
    """log p(text | x_t) of the caption in a run's cond, as `controllable.likelihood_guidance` takes
    it: (x, node, cond) -> (b,).

    Attributes:
      judge: a `Judge`, or what has its `images` and `texts`.
      among: g of the texts that log p is among; the caption itself is one, whether it is here or
        not.
      name: of the caption's condition, which the judge shares with the model.
    """

    judge: Any
    among: Float[Array, "n d"]
    name: str

    def __call__(self, x: Array, node: Node, cond: Cond) -> Float[Array, " b"]:
        f, g = self.judge.images(x, node), self.judge.texts(cond[self.name])
        own = jnp.sum(f * g, axis=1)
        alike = jnp.max(jnp.abs(g[:, None] - self.among), axis=-1) < ALIKE
        others = jax.nn.logsumexp(jnp.where(alike, -jnp.inf, _similarity(f, self.among)), axis=1)
        return own - jnp.logaddexp(own, others)
