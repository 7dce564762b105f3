"""Classifiers of noisy states: their probabilities, and how they are trained.

    logits = F(x_t, c_noise),    log p(y | x_t) = log softmax(logits)_y                    (1)

trained on x_t = alpha x_0 + sigma eps by the cross-entropy at every noise level

    loss = -sum_k q_k log p(k | x_t),    q = (1 - a) [k = y] + a / K                       (2)

with a the label smoothing (Szegedy et al. 2016, section 7) and K the number of classes. Its
gradient in x_t is what guides a score to a class (Song et al. 2021, section 5).
"""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import losses
from models.layers.batch_norm import COLLECTION, absorbed
from options.choices import choose, require_fraction
from options.classes import named
from options.precision import FLOAT32, PRECISIONS, Precision
from parameterization import C_NOISE, LogSigma, NoiseConditioning
from sde_lib import Node, Process, expand_right
from tasks.task import STATISTICS, Batch, Context


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["network", "c_noise", "precision"],
)
@dataclasses.dataclass(frozen=True)
class NoisyClassifier:
    """A classifier of noisy states. `params` are its leaves; the rest is static and hashable.

    Attributes:
      network: a Flax module called as (x, c_noise) -> logits (batch, classes).
      c_noise: how the network is conditioned on the noise level, of `parameterization.C_NOISE`;
        "log_sigma" is the published choice.
      precision: of the network's products, on every backend; `at` gives another.
    """

    network: Any
    params: Any
    c_noise: NoiseConditioning | str = dataclasses.field(
        default=LogSigma(), metadata={"choices": C_NOISE}
    )
    precision: Precision = FLOAT32

    def __post_init__(self) -> None:
        c_noise = named(C_NOISE, self.c_noise, "c_noise")
        c_noise.check(self.network)
        object.__setattr__(self, "c_noise", c_noise)

    def logits(
        self, x: Float[Array, "b *shape"], node: Node, **options: Any
    ) -> Float[Array, "b k"]:
        """F of (1); node's fields have shape (batch,), options are the network's own."""
        c_noise = named(C_NOISE, self.c_noise, "c_noise")(node)
        with self.precision.context():
            return self.network.apply({"params": self.params}, x, c_noise, **options)

    def measuring(
        self, x: Float[Array, "b *shape"], node: Node, **options: Any
    ) -> tuple[Float[Array, "b k"], dict[str, Any]]:
        """`logits` as a training has them, by the statistics of the batch, and these; see
        `models.layers.batch_norm`."""
        c_noise = named(C_NOISE, self.c_noise, "c_noise")(node)
        variables, mutable = {"params": self.params}, [COLLECTION]
        with self.precision.context():
            found, state = self.network.apply(variables, x, c_noise, mutable=mutable, **options)
        return found, state[COLLECTION]

    def at(self, precision: str) -> "NoisyClassifier":
        """The same network computing in a precision of `options.precision.PRECISIONS`."""
        found = choose(PRECISIONS, precision, "precision")
        return dataclasses.replace(self, network=found.of(self.network), precision=found)

    def log_probs(self, x: Float[Array, "b *shape"], node: Node) -> Float[Array, "b k"]:
        """log p(y | x_t) of every class y, at nodes of shape (batch,)."""
        return jax.nn.log_softmax(self.logits(x, node))


def cross_entropy(
    log_probs: Float[Array, "b k"], labels: Int[Array, " b"], label_smoothing: float = 0.0
) -> Float[Array, " b"]:
    """The loss (2) of each example, in nats."""
    chosen = jnp.take_along_axis(log_probs, labels[:, None], axis=1)[:, 0]
    return -(1 - label_smoothing) * chosen - label_smoothing * jnp.mean(log_probs, axis=1)


@dataclasses.dataclass(frozen=True)
class ClassifierTask:
    """Training a classifier of noisy states on batches of "image" and "label".

    Attributes:
      process: the noising process.
      network, c_noise: see `NoisyClassifier`; a network with a field `dropout` that is
        not 0 is given keys for it.
      shape: of one example, for images (height, width, channels).
      label_smoothing: a of (2), in [0, 1).
      times: how training times are drawn; `losses.LikelihoodTimes` is even in log-SNR. The best
        classifier at one level does not depend on the others', so no loss is weighted.
      precision: of the network in the loss, of `options.precision.PRECISIONS`; what guides or is
        evaluated is in float32.
    """

    process: Process
    network: Any
    shape: tuple[int, ...]
    c_noise: NoiseConditioning | str = dataclasses.field(
        default=LogSigma(), metadata={"choices": C_NOISE}
    )
    label_smoothing: float = 0.0
    times: losses.Times | str = dataclasses.field(
        default=losses.UniformTimes(), metadata={"choices": losses.TIMES}
    )
    precision: str = "tf32"
    frozen: ClassVar[tuple[()]] = ()

    def __post_init__(self) -> None:
        require_fraction(self, "label_smoothing")
        c_noise = named(C_NOISE, self.c_noise, "c_noise")
        c_noise.check(self.network)
        object.__setattr__(self, "c_noise", c_noise)
        object.__setattr__(self, "times", named(losses.TIMES, self.times, "times"))

    def init(self, key: Key[Array, ""]) -> Any:
        """Freshly initialised parameters, float32."""
        return self.network.init(key, jnp.zeros((1, *self.shape)), jnp.zeros(1))["params"]

    def classifier(self, params: Any) -> NoisyClassifier:
        """The network with these parameters as what guidance takes, in float32."""
        return NoisyClassifier(FLOAT32.of(self.network), params, self.c_noise)

    def for_evaluation(self) -> "ClassifierTask":
        """The task with no dropout in the network, its running statistics, and in float32."""
        changes: dict[str, Any] = {"dropout": 0.0} if self._has_dropout else {}
        if self._collects:
            changes["norm"] = dataclasses.replace(self.network.norm, frozen=True)
        network = self.network.clone(**changes) if changes else self.network
        return dataclasses.replace(self, network=network, precision="float32")

    @property
    def _collects(self) -> bool:
        """Whether the network has running statistics, which training updates."""
        return getattr(getattr(self.network, "norm", None), "collects", False)

    def absorb(self, before: Any, after: Any, measured: dict[str, Any]) -> Any:
        """See `tasks.task.Task`."""
        momentum = getattr(getattr(self.network, "norm", None), "momentum", 0.0)
        return absorbed(before, after, measured, momentum)

    @property
    def _has_dropout(self) -> bool:
        return getattr(self.network, "dropout", 0.0) > 0

    def loss(
        self, context: Context, batch: Batch, keys: Key[Array, " b"]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Mean loss of the batch; each example's loss, noise level t / t_max, and whether its class
        was the most likely one; what running statistics need, where there are any."""
        noise_keys, dropout_keys = jax.vmap(jax.random.split)(keys).T
        x_0, labels = batch["image"], batch["label"]
        times = named(losses.TIMES, self.times, "times")
        t, eps = losses.draw_times_and_noise(self.process, noise_keys, x_0.shape[1:], times)
        options = {"dropout_keys": dropout_keys} if self._has_dropout else {}
        logits, measured = self._logits_at(context.params, x_0, t, eps, **options)
        log_probs = jax.nn.log_softmax(logits)
        values = cross_entropy(log_probs, labels, self.label_smoothing)
        correct = (jnp.argmax(log_probs, axis=1) == labels).astype(jnp.float32)
        level = t / self.process.t_max
        metrics = {"loss": values, "level": level, "accuracy": correct}
        return jnp.mean(values), metrics | ({STATISTICS: measured} if measured else {})

    def log_probs_at(
        self,
        params: Any,
        x_0: Float[Array, "b *shape"],
        t: Float[Array, " b"],
        eps: Float[Array, "b *shape"],
        **options: Any,
    ) -> Float[Array, "b k"]:
        """log p(y | x_t) for examples noised to given times by given noise."""
        return jax.nn.log_softmax(self._logits_at(params, x_0, t, eps, **options)[0])

    def _logits_at(
        self, params: Any, x_0: Array, t: Array, eps: Array, **options: Any
    ) -> tuple[Float[Array, "b k"], dict[str, Any]]:
        """The logits there, and the statistics of the batch where training collects them."""
        node = self.process.node(t)
        x = expand_right(node.alpha, x_0) * x_0 + expand_right(node.sigma, x_0) * eps
        classifier = self.classifier(params).at(self.precision)
        if self._collects:
            return classifier.measuring(x, node, **options)
        return classifier.logits(x, node, **options), {}

    def draw(self, context: Context, key: Key[Array, ""]) -> dict[str, np.ndarray]:
        """Nothing: a classifier draws no samples."""
        return {}
