"""Training a model of handwriting: movements of a pen under denoising, and when the pen is up."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import losses
from options.choices import require_positive
from parameterization import MASK
from tasks.image import ImageTask
from tasks.task import Batch, Context

PEN = "pen"  # in `Prediction.aux`: the log odds that the pen is up


@dataclasses.dataclass(frozen=True)
class StrokeTask(ImageTask):
    """Algorithm 1 of Luhman & Luhman 2020 on batch["image"], rows (dx, dy, pen) as states.

    The process moves (dx, dy) alone; the pen is a Bernoulli variable that the network predicts
    beside them, `losses.BernoulliLoss`. Fields are those of `ImageTask`, and

    Attributes:
      pen_weight: of the cross-entropy of the pen; with the reduction "mean", over both directions,
        1/2 gives the paper's loss, halved.
      padding_counts: as in the published code, the padding is handwriting like any other, with its
        pen up; without, it neither is seen nor counts.
      average_weight: alpha^2 of the pen's loss is averaged over the batch, as in that code.
    """

    pen_weight: float = 0.5
    padding_counts: bool = False
    average_weight: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "pen_weight")

    def loss(
        self, context: Context, batch: Batch, keys: Key[Array, " b"]
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """As of `ImageTask`, with the pen."""
        rows, mask = batch["image"], batch.get(MASK)
        batch = batch | {"image": rows[..., :2], PEN: rows[..., 2:]}
        if self.padding_counts and mask is not None:
            batch[PEN] = jnp.where(mask, batch[PEN], 1.0)
            del batch[MASK]
        return super().loss(context, batch, keys)

    def auxiliary(self, batch: Batch) -> losses.Auxiliary:
        return losses.BernoulliLoss(batch[PEN], PEN, self.pen_weight, self.average_weight)
