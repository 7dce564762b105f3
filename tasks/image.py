"""What a training run trains: the loss of a batch and the pictures to draw (design: concept 5).

The training loop knows a task by three methods: `init(key) -> params`, `loss(params, batch, keys)
-> (loss, metrics)` with one key per example, and `draw(params, key) -> {name: uint8 picture}`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

import losses
from options.choices import named
from parameterization import Cond, NetworkPredictor, Parameterization
from sde_lib import Process

Batch = dict[str, Array]
Picture = np.ndarray
TOLD = 1 << 16  # folded into an example's key for the conditioning, apart from all that is split


@runtime_checkable
class Conditioning(Protocol):
    """What a network is told of every training image, beside its class; hashable.

    `draw(x_0, keys)` makes it of a batch, by one key an example; `example(image_shape)` gives that
    of one image, for the shapes. Both are dicts of arrays with a leading batch axis.
    """

    def draw(self, x_0: Array, keys: Array) -> dict[str, Array]: ...

    def example(self, image_shape: tuple[int, ...]) -> dict[str, Array]: ...


@dataclasses.dataclass(frozen=True)
class ImageTask:
    """Denoising score matching on images, class-conditional or not.

    Attributes:
      network: a Flax module called as (x, c_noise, **cond).
      image_shape: (height, width, channels).
      num_classes: classes of the labels that the network is told; 0 for none.
      label_dropout: rate at which a label is replaced by the null label, `num_classes`, so that one
        network is conditional and unconditional (Ho & Salimans 2022).
      augment_dim: length of the augmentation vector in batch["augment"]; 0 for none.
      conditioning: what else the network is told of each image, such as its low-resolution picture;
        None for nothing.
      weighting, reduction, bound: see `losses.loss_at`.
      times: how training times are drawn.
      coupling: how noise goes with images, of `losses.COUPLINGS`. "optimal_transport" pairs
        them within what a device differentiates at once, so that the trajectory depends on the
        microbatch and on the number of devices, which no other choice's does.
      sampler: `sampler(predict, key) -> {name: picture}`, what to draw during training.
    """

    process: Process
    parameterization: Parameterization
    network: Any
    image_shape: tuple[int, int, int]
    num_classes: int = 0
    label_dropout: float = 0.0
    augment_dim: int = 0
    conditioning: Conditioning | None = None
    dropout: bool = False
    weighting: losses.Weighting | str = losses.NoiseWeighting()
    reduction: losses.Reduction | str = losses.Mean()
    times: losses.Times = losses.UniformTimes()
    coupling: losses.Coupling | str = losses.Independent()
    bound: losses.VariationalBound | None = None
    sampler: Callable[[NetworkPredictor, Array], dict[str, Picture]] | None = None

    def init(self, key: Key[Array, ""]) -> Any:
        """Freshly initialised parameters, float32."""
        x = jnp.zeros((1, *self.image_shape))
        return self.network.init(key, x, jnp.zeros(1), **self._example_cond())["params"]

    def _example_cond(self) -> dict[str, Array]:
        cond: dict[str, Array] = {}
        if self.num_classes:
            cond["labels"] = jnp.zeros(1, jnp.int32)
        if self.augment_dim:
            cond["augment"] = jnp.zeros((1, self.augment_dim))
        if self.conditioning is not None:
            cond |= self.conditioning.example(self.image_shape)
        return cond

    def predictor(self, params: Any) -> NetworkPredictor:
        """The network with these parameters as what samplers and likelihood take."""
        return NetworkPredictor(self.network, self.parameterization, params)

    def loss(
        self, params: Any, batch: Batch, keys: Key[Array, " b"]
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """Mean loss of the batch; each example's loss and noise level, t / t_max in [0, 1]."""
        noise_keys, label_keys, dropout_keys = jax.vmap(lambda k: jax.random.split(k, 3))(keys).T
        x_0 = batch["image"]
        t, eps = losses.draw_times_and_noise(self.process, noise_keys, x_0.shape[1:], self.times)
        labels = batch["label"] if self.num_classes else None
        eps = named(losses.COUPLINGS, self.coupling, "coupling")(x_0, eps, labels)
        cond = self._training_cond(batch, label_keys, dropout_keys)
        if self.conditioning is not None:
            told_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, TOLD)
            cond |= self.conditioning.draw(x_0, told_keys)
        values = self.times.weight(self.process, t) * self.loss_at(params, x_0, t, eps, cond)
        return jnp.mean(values), {"loss": values, "level": t / self.process.t_max}

    def loss_at(
        self,
        params: Any,
        x_0: Float[Array, "b *shape"],
        t: Float[Array, " b"],
        eps: Float[Array, "b *shape"],
        cond: Cond,
    ) -> Float[Array, " b"]:
        """The loss of each example at given times and noise, not weighted by how they are drawn."""
        return losses.loss_at(
            self.process,
            self.predictor(params),
            x_0,
            t,
            eps,
            cond,
            weighting=self.weighting,
            reduction=self.reduction,
            bound=self.bound,
        )

    def _training_cond(
        self, batch: Batch, label_keys: Array, dropout_keys: Array
    ) -> dict[str, Array]:
        cond: dict[str, Array] = {}
        if self.num_classes:
            labels = batch["label"]
            if self.label_dropout:
                labels = losses.drop_labels(
                    label_keys, labels, self.num_classes, self.label_dropout
                )
            cond["labels"] = labels
        if self.augment_dim:
            cond["augment"] = batch["augment"]
        if self.dropout:
            cond["dropout_keys"] = dropout_keys
        return cond

    def draw(self, params: Any, key: Key[Array, ""]) -> dict[str, Picture]:
        """Pictures of the model as it is, (height, width[, 3]) uint8 by name."""
        return self.sampler(self.predictor(params), key) if self.sampler else {}
