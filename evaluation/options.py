"""What a user asks an evaluation for: parts, numbers of images, extractor, checkpoints."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from likelihood import PROBES
from metrics import distances, extractors
from options.choices import (
    MOST_SAMPLES,
    MOST_STEPS,
    choose,
    require,
    require_at_least_one,
    require_count,
    require_non_negative,
    require_positive,
)
from options.errors import InvalidValue
from options.fields import hidden
from options.memory import AUTO, Batched
from storage import checkpoint, shards
from variational_bound import VARIANCES

MOST = 128  # examples evaluated at once where more would fit


@dataclasses.dataclass(frozen=True)
class EvalOptions(Batched):
    """What is computed, on how many images, and how.

    Attributes:
      checkpoints: "latest", "all", or step numbers with commas between them.
      batch_size: of loss, likelihood and features; no figure depends on it, but the loss under a
        coupling of a batch. "auto": the most that fit, up to MOST.
      loss, likelihood, samples: which parts to compute; `samples` are FID, KID and the rest.
      bound: steps T of the discrete chain whose variational bound is computed, of as many images as
        bits/dim; 0 for none. Its T nodes are spaced as `sampling` has it, from t_start to t_end.
      bound_variance: of its steps: "small", the posterior's; "large"; "learned", where the network
        predicts it.
      num_samples: images to draw.
      keep_samples: keep them as files, "none", "png" or "npz", in `images` of the folder of their
        rows, SIZE of `storage.shards` a shard.
      max_images, likelihood_images: how many of the held-out images get a loss, and bits/dim; 0
        for all. A part of them is drawn at random, by the seed.
      extractor: feature network by which samples are judged, of `metrics.extractors.EXTRACTORS`;
        "auto" is the one that suits the data.
      weights: file of the extractor's weights; empty: the one that is shipped, or that its tool
        made; without one, "auto" leaves samples unjudged.
      metrics: distances with commas between them, of `metrics.distances.DISTANCES`.
      bootstrap: replicates by which FID and KID get intervals; 0 for none.
      reference: file of statistics that samples are compared with; empty: the training set's.
      reference_by: the extractor that made such a file of another program, which does not say it;
        empty: the usual one.
      memorisation: compare samples with every training image.
      probe: of the divergence in the likelihood, "rademacher", "gaussian" or "exact", all unit
        vectors, for few dimensions.
      num_probes: of each example; "exact" needs none.
      rtol, atol: tolerances of the likelihood's integration, see `likelihood.log_likelihood`.
      dequantization_draws: of uniform noise an image, for the bound on its probability; see
        `likelihood.importance_bound`.
    """

    checkpoints: str = "latest"
    batch_size: str | int = AUTO
    loss: bool = True
    likelihood: bool = True
    samples: bool = True
    bound: int = 0
    bound_variance: str = "small"
    num_samples: int = 1000
    keep_samples: str = "none"
    max_images: int = 0
    likelihood_images: int = 0
    extractor: str = extractors.AUTO
    weights: str = ""
    metrics: str = distances.DEFAULT
    bootstrap: int = 0
    reference: str = ""
    reference_by: str = ""
    memorisation: bool = True
    probe: str = "rademacher"
    num_probes: int = 1
    rtol: float = 1e-5
    atol: float = 1e-5
    dequantization_draws: int = 1
    seed: int = hidden(0)

    def __post_init__(self) -> None:
        check_checkpoints(self.checkpoints)
        choose({extractors.AUTO: None, **extractors.EXTRACTORS}, self.extractor, "extractor")
        choose(shards.KINDS, self.keep_samples, "keep_samples")
        distances.parse(self.metrics)
        if self.reference_by:
            choose(extractors.EXTRACTORS, self.reference_by, "reference_by")
        choose(PROBES, self.probe, "probe")
        choose(VARIANCES, self.bound_variance, "bound_variance")
        few = f"0, or from 2 to {MOST_STEPS:,}"
        require(self.bound == 0 or 2 <= self.bound <= MOST_STEPS, "bound", self.bound, few)
        self.at_once  # noqa: B018  its own check
        require_at_least_one(self, "num_probes", "dequantization_draws")
        require_non_negative(self, "max_images", "likelihood_images", "bootstrap")
        require_positive(self, "rtol", "atol")
        require_count("num_samples", self.num_samples, 2, MOST_SAMPLES)
        if self.dequantization_draws > 1 and self.num_probes == 1 and self.probe != "exact":
            raise InvalidValue(
                "num_probes",
                1,
                "at least 2 with several dequantization_draws, half of them to weigh the draws and "
                "half to measure them",
            )


ALL = "all"
# Which of a run's checkpoints are evaluated; None for the newest that can be read.
CHECKPOINTS: dict[str, Callable[[Path], Sequence[int | None]]] = {
    "latest": lambda folder: [None],
    ALL: lambda folder: checkpoint.inspect(folder)["steps"],
}


def check_checkpoints(asked: str) -> None:
    """InvalidValue unless checkpoints are asked for as "latest", "all" or steps."""
    known = asked in CHECKPOINTS or all(step.strip().isdecimal() for step in asked.split(","))
    require(known, "checkpoints", asked, "'latest', 'all' or steps as in '1000,2000'")


def asked_for(checkpoints: str, folder: Path) -> Sequence[int | None]:
    """The steps of the checkpoints that are asked for; None for the newest that can be read."""
    if checkpoints in CHECKPOINTS:
        return CHECKPOINTS[checkpoints](folder)
    return [int(step) for step in checkpoints.split(",")]
