"""Training an image model: denoising score matching, under any conditions."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

import losses
from models.layers.conditioning import check_names
from options.classes import named
from options.errors import InvalidValue
from options.precision import FLOAT32
from parameterization import MASK, Cond, NetworkPredictor, Parameterization
from sde_lib import Process
from tasks.conditions import LABELS, Condition, draw, example, find
from tasks.task import Batch, Context

Plot = np.ndarray


@dataclasses.dataclass(frozen=True)
class ImageTask:
    """Denoising score matching on batch["image"]; any shape will do that the network takes.

    A batch may have a padding mask, batch["mask"]: it becomes an entry of `cond`, and the loss of
    an example is that of its real coordinates.

    Attributes:
      process: the noising process.
      parameterization: how the output of the network is read.
      network: a Flax module called as (x, c_noise, **cond), with keys for its dropout if it has a
        field `dropout` that is not 0.
      shape: of one example, for images (height, width, channels).
      conditions: what the network is conditioned on; if it says itself, these must be the same.
      weighting, reduction: see `losses.loss_at`.
      bound: what trains the variances of a network that predicts them; None for none.
      times: how training times are drawn, of `losses.TIMES`.
      coupling: how noise goes with images, of `losses.COUPLINGS`. "optimal_transport" pairs them
        within what a device differentiates at once, so that the trajectory depends on the
        microbatch and on the number of devices, which no other choice's does.
      precision: of the network in the loss, of `options.precision.PRECISIONS`; what is sampled or
        evaluated is in float32.
      sampler: `sampler(predict, key) -> {name: plot}`, what to draw during training.
    """

    process: Process
    parameterization: Parameterization
    network: Any
    shape: tuple[int, ...]
    conditions: tuple[Condition, ...] = ()
    weighting: losses.Weighting | str = dataclasses.field(
        default=losses.NoiseWeighting(), metadata={"choices": losses.WEIGHTINGS}
    )
    reduction: losses.Reduction | str = dataclasses.field(
        default=losses.Mean(), metadata={"choices": losses.REDUCTIONS}
    )
    times: losses.Times | str = dataclasses.field(
        default=losses.UniformTimes(), metadata={"choices": losses.TIMES}
    )
    coupling: losses.Coupling | str = dataclasses.field(
        default=losses.Independent(), metadata={"choices": losses.COUPLINGS}
    )
    bound: losses.VariationalBound | None = None
    precision: str = "tf32"
    sampler: Callable[[NetworkPredictor, Array], dict[str, Plot]] | None = None
    frozen: ClassVar[tuple[()]] = ()

    def __post_init__(self) -> None:
        for field in ("weighting", "reduction", "times", "coupling"):
            table = self.__dataclass_fields__[field].metadata["choices"]
            object.__setattr__(self, field, named(table, getattr(self, field), field))
        object.__setattr__(self, "parameterization", self.parameterization.on(self.process))
        self.parameterization.check(self.network)
        check_names(self.conditions)
        own = getattr(self.network, "conditions", self.conditions)
        if {c.name for c in own} != {c.name for c in self.conditions}:
            names = [c.name for c in self.conditions]
            of_network = [c.name for c in own]
            raise InvalidValue("conditions", names, but=f"those of the network are {of_network}")

    @property
    def couples_examples(self) -> bool:
        """Whether the loss of an example depends on the others of its batch."""
        return named(losses.COUPLINGS, self.coupling, "coupling").is_of_batch

    def init(self, key: Key[Array, ""]) -> Any:
        """Freshly initialised parameters, float32."""
        x = jnp.zeros((1, *self.shape))
        cond = example(self.conditions, self.shape)
        return self.network.init(key, x, jnp.zeros(1), **cond)["params"]

    def predictor(self, params: Any) -> NetworkPredictor:
        """The network with these parameters as what samplers and likelihood take, in float32."""
        return NetworkPredictor(FLOAT32.of(self.network), self.parameterization, params)

    def for_evaluation(self) -> "ImageTask":
        """The task with all conditions given, no dropout in the network, and in float32."""
        given = tuple(
            dataclasses.replace(c, dropout=0.0) if c.dropout else c  # type: ignore[type-var]
            for c in self.conditions
        )
        network = self.network.clone(dropout=0.0) if self._has_dropout else self.network
        return dataclasses.replace(self, conditions=given, network=network, precision="float32")

    @property
    def _has_dropout(self) -> bool:
        return getattr(self.network, "dropout", 0.0) > 0

    def loss(
        self, context: Context, batch: Batch, keys: Key[Array, " b"]
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """Mean loss of the batch; each example's loss and noise level, t / t_max in [0, 1]."""
        noise_keys, dropout_keys = jax.vmap(jax.random.split)(keys).T
        x_0, times = batch["image"], named(losses.TIMES, self.times, "times")
        t, eps = losses.draw_times_and_noise(self.process, noise_keys, x_0.shape[1:], times)
        labels = batch["label"] if find(self.conditions, LABELS) else None
        coupling = named(losses.COUPLINGS, self.coupling, "coupling")
        eps = coupling(x_0, eps, labels, batch.get(MASK))
        cond: dict[str, Any] = draw(self.conditions, batch, keys)
        if MASK in batch:
            cond[MASK] = batch[MASK]
        if self._has_dropout:
            cond["dropout_keys"] = dropout_keys
        at = self.loss_at(context.params, x_0, t, eps, cond, self.auxiliary(batch))
        values = times.weight(self.process, t) * at
        return jnp.mean(values), {"loss": values, "level": t / self.process.t_max}

    def loss_at(
        self,
        params: Any,
        x_0: Float[Array, "b *shape"],
        t: Float[Array, " b"],
        eps: Float[Array, "b *shape"],
        cond: Cond,
        auxiliary: losses.Auxiliary | None = None,
    ) -> Float[Array, " b"]:
        """The loss of each example at given times and noise, not weighted by how they are drawn."""
        return losses.loss_at(
            self.process,
            self.predictor(params).at(self.precision),
            x_0,
            t,
            eps,
            cond,
            weighting=self.weighting,
            reduction=self.reduction,
            auxiliary=auxiliary,
        )

    def auxiliary(self, batch: Batch) -> losses.Auxiliary | None:
        """What is minimised beside the denoising loss of a batch."""
        return self.bound

    def draw(self, context: Context, key: Key[Array, ""]) -> dict[str, Plot]:
        """Samples of the model as it is, (height, width[, 3]) uint8 by name."""
        return self.sampler(self.predictor(context.params), key) if self.sampler else {}
