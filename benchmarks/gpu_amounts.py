"""What is measured on a GPU, and how much of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.jax_side import config_of, whole_batch


@dataclass(frozen=True)
class Subject:
    """A network, and how much of it is measured.

    Attributes:
      batch: of a training step. jitted: steps that `fit` dispatches at once.
      chunks: dispatches of `fit`.
    """

    network: str
    batch: int
    jitted: int
    chunks: int


@dataclass(frozen=True)
class Amount:
    """How much is measured.

    Attributes:
      side: of the matrices. numbers: that are copied. queued: products, copies or steps in a row.
      steps: of training, one by one. batch: of sampling and likelihood.
      sampler_steps: of DPM-Solver++. images: to train on.
    """

    subjects: Mapping[str, Subject]
    side: int = 8192
    numbers: int = 2**26
    queued: int = 20
    steps: int = 30
    batch: int = 64
    sampler_steps: int = 25
    images: int = 8192


REAL = Amount({"full": Subject("full", 128, 1, 60), "small": Subject("small", 128, 20, 25)})
# Every section within seconds, on whatever there is.
DRY = Amount(
    {"full": Subject("toy", 2, 1, 5), "small": Subject("small toy", 2, 2, 5)},
    side=64,
    numbers=2**10,
    queued=2,
    steps=2,
    batch=2,
    sampler_steps=3,
    images=16,
)


@dataclass(frozen=True)
class Asked:
    """What a section is of."""

    network: str = "full"
    precision: str = "tf32"
    amount: Amount = REAL

    @property
    def subject(self) -> Subject:
        return self.amount.subjects[self.network]

    def config(self, batch: int = 0, fields: Mapping[str, Any] | None = None) -> Any:
        """The configuration of the network; batch: 0 for its own. fields: overrides."""
        return config_of(self.subject.network, batch, fields=fields)

    def training_config(self, fields: Mapping[str, Any] | None = None) -> Any:
        """Of a training in the precision asked for, all examples of a step at once."""
        precision = {"precision.training": self.precision}
        return whole_batch(self.config(self.subject.batch, precision | dict(fields or {})))

    def sampling_config(self) -> Any:
        """Of sampling in the precision asked for."""
        return self.config(self.amount.batch, {"precision.sampling": self.precision})
