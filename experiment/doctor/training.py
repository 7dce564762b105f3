"""What is trained beside what it is wanted for: conditions, couplings, likelihood, attention."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import jax

from experiment.doctor.finding import Check, Finding, Part, note, warning
from experiment.doctor.subject import Subject

GUIDED = {"labels", "text"}  # conditions that guidance drops
LIKELIHOOD = {"likelihood"}
SLOW_IN_BFLOAT16 = {"cpu"}


@dataclasses.dataclass(frozen=True)
class ConditionDropout(Check):
    """A condition that is never hidden, so that nothing can be guided towards it; or mostly hidden.

    Attributes:
      most: rate at which a condition is hidden.
      usual: what is proposed (Ho & Salimans 2022 have 0.1 to 0.2).
    """

    most: float = 0.5
    usual: float = 0.1

    def findings(self, subject: Subject) -> Iterator[Finding]:
        for condition in getattr(subject.experiment, "conditions", ()):
            field = f"conditions.{condition.name}.dropout"
            cure = f"--config.{field}={self.usual:g}"
            if condition.name in GUIDED and not condition.dropout:
                why = "classifier-free guidance will not be possible, nor samples without a {}"
                yield note(f"{field} = 0", why.format(condition.name.removesuffix("s")), cure)
            elif condition.dropout > self.most:
                why = f"the network is without its {condition.name} in most steps"
                yield warning(f"{field} = {condition.dropout:g}", why, cure)


@dataclasses.dataclass(frozen=True)
class SmallCoupling(Check):
    """Noise coupled with the examples of a batch too small to gain by it.

    Attributes:
      least: examples, of each class where the network is conditioned on one.
    """

    least: int = 16

    def findings(self, subject: Subject) -> Iterator[Finding]:
        if not subject.get("loss.coupling.is_of_batch"):
            return
        training = subject.options.training
        per_device = training.batch_size // jax.device_count()
        together = training.examples_at_once(per_device) or per_device
        classes = max(1, subject.num_classes)
        if together // classes < self.least:
            wanted = self.least * classes
            of_class = f", {together // classes} of each of {classes} classes" * (classes > 1)
            yield warning(
                f"loss.coupling = {subject.named('loss.coupling')} over {together} examples"
                f"{of_class}",
                "noise is exchanged within a class of a microbatch only, and paths stay as they "
                "are without it",
                f"--config.training.batch_size={wanted} --config.training.microbatch={wanted}",
            )


@dataclasses.dataclass(frozen=True)
class Dequantization(Check):
    """Training for likelihood, of grey levels that are not dequantised (Theis et al. 2016)."""

    def findings(self, subject: Subject) -> Iterator[Finding]:
        options = subject.options
        if not options.data.space.is_pixels or options.data.dequantize:
            return
        chosen = {subject.named("loss.weighting"), subject.named("loss.times")}
        cure = "--config.data.dequantize=True"
        if chosen & LIKELIHOOD:
            yield warning(
                "data.dequantize = False under a loss that bounds the likelihood",
                "the likelihood of a density on 256 points has no bound, and the smallest noise "
                "levels dominate the training",
                cure,
            )
        elif subject.get("eval.likelihood"):
            yield note(
                "data.dequantize = False",
                "bits/dim are of dequantised images, which the network has not seen; they are "
                "larger than they need be",
                f"{cure}, where bits/dim matter",
            )


@dataclasses.dataclass(frozen=True)
class LargeAttention(Check):
    """Attention between so many places that its square dominates time and memory.

    Attributes:
      most: places; 4096 of them, 64 x 64, take 64 MiB of float32 an example, layer and head.
    """

    most: int = 2304

    def findings(self, subject: Subject) -> Iterator[Finding]:
        places = attended(subject)
        large = [height for height, n in places.items() if n > self.most]
        for height in large:
            n = places[height]
            kept = tuple(h for h in subject.options.model.attn_resolutions if h not in large)
            small = [h for h, n in grids(subject).items() if n <= self.most]
            yield warning(
                f"model.attn_resolutions has {height}, attention between {n:,} places",
                f"{4 * n * n / 2**20:,.0f} MiB an example in each such layer, and time that grows "
                "with the square",
                f'--config.model.attn_resolutions="{kept or tuple(small[:1])}"',
            )


@dataclasses.dataclass(frozen=True)
class NoAttention(Check):
    """Attention that is asked for at a resolution that the network does not have."""

    def findings(self, subject: Subject) -> Iterator[Finding]:
        wanted = subject.get("model.attn_resolutions", ())
        there = grids(subject)
        missing = [height for height in wanted if height not in there]
        if missing and not attended(subject):
            heights = ", ".join(map(str, there))
            yield warning(
                f"model.attn_resolutions = {tuple(wanted)}, but the grids of the network are "
                f"{heights} high",
                "there is no attention at any level but the lowest's middle",
                f'--config.model.attn_resolutions="({list(there)[-1]},)"',
            )


def grids(subject: Subject) -> dict[int, int]:
    """Places of each level of a U-Net, by its height; nothing of other networks."""
    levels, shape = len(subject.get("model.ch_mult", ())), subject.experiment.shape
    if not levels or len(shape) != 3:
        return {}
    height, width = (side // subject.get("model.patch_size", 1) for side in shape[:2])
    return {height >> i: (height >> i) * (width >> i) for i in range(levels)}


def attended(subject: Subject) -> dict[int, int]:
    """Those of `grids` that have attention."""
    wanted = subject.get("model.attn_resolutions", ())
    return {height: n for height, n in grids(subject).items() if height in wanted}


@dataclasses.dataclass(frozen=True)
class Bfloat16OnCPU(Check):
    """A training in bfloat16 where no unit computes it."""

    def findings(self, subject: Subject) -> Iterator[Finding]:
        if (
            subject.get("precision.training") in {"bfloat16"}
            and jax.default_backend() in SLOW_IN_BFLOAT16
        ):
            yield note(
                "precision.training = bfloat16 on a CPU",
                "most CPUs convert it to float32 and back: it rounds, and is slower",
                "--config.precision.training=tf32",
            )


@dataclasses.dataclass(frozen=True)
class Overfitting(Check):
    """A run that sees each example so often that it can learn them by heart.

    Attributes:
      bare: passes over the data without dropout or augmentation.
      regularised: with one of them; published CIFAR-10 models see theirs 3,300 times.
    """

    part: ClassVar[Part] = Part.DATA
    bare: int = 200
    regularised: int = 5000

    def findings(self, subject: Subject) -> Iterator[Finding]:
        options, count = subject.options, len(subject.train)
        training, dropout = options.training, subject.get("model.dropout")
        passes = training.steps * training.batch_size / count
        guarded = bool(dropout or options.data.augment)
        most = self.regularised if guarded else self.bare
        if passes <= most:
            return
        steps = max(1, int(most * count / training.batch_size))
        cures = [f"--config.training.steps={steps}"]
        if dropout == 0:
            cures.append("--config.model.dropout=0.1")
        if subject.is_of_images and not options.data.augment:
            cures.append("--config.data.augment=0.12 --config.data.random_flip=False")
        beside = "with" if guarded else "without"
        yield warning(
            f"each of {count:,} examples is seen {passes:,.0f} times, {beside} dropout or "
            "augmentation",
            "samples become copies of them; the loss of held-out examples says when",
            ", or ".join(cures),
        )
