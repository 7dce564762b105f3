"""The noise levels of a process beside the data: the widest, the finest, and their scale."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiment.doctor.finding import Check, Finding, Part, warning
from experiment.doctor.subject import Subject


@dataclasses.dataclass(frozen=True)
class PriorWidth(Check):
    """A prior that is far from as wide as the data.

    A sample can move from any example to any other where the noise is as wide as their largest
    distance (Song & Ermon 2020, technique 1), here that of some examples; `tools.sigma_max` has
    that of all.

    Attributes:
      narrow, wide: how far the width may be from the distance, as a factor.
      most_examples, most_numbers: that are read to find the distance.
    """

    part: ClassVar[Part] = Part.DATA
    narrow: float = 0.5
    wide: float = 5.0
    most_examples: int = 128
    most_numbers: int = 2**26

    def findings(self, subject: Subject) -> Iterator[Finding]:
        process = subject.process
        if process is None or not process.width_field:
            return
        examples = self._some_examples(subject)
        width, distance = process.prior_std, largest_distance(examples)
        if not distance or self.narrow * distance <= width <= self.wide * distance:
            return
        why = "samples will lack contrast and variety"
        if width > distance:
            why = "steps will be spent on noise that hides all of the data"
        yield warning(
            f"process.{process.width_field} = {width:.4g}, but the largest distance between two of "
            f"{len(examples)} training examples is {distance:.3g}, which it should be about",
            why,
            f"--config.process.{process.width_field}={distance:.3g}; python -m tools.sigma_max "
            "computes it for all 8-bit images",
        )

    def _some_examples(self, subject: Subject) -> Float[np.ndarray, "n dimensions"]:
        """Some of what is trained on, chosen at random, as states."""
        source, experiment = subject.train, subject.experiment
        fit = max(2, self.most_numbers // math.prod(experiment.shape))
        count = min(self.most_examples, fit, len(source))
        chosen = np.sort(np.random.default_rng(0).choice(len(source), count, replace=False))
        transform = dataclasses.replace(experiment.transform.for_evaluation(), dequantize=False)
        return transform(source.take(chosen), range(count), 0)["image"].reshape(count, -1)


def largest_distance(x: Float[np.ndarray, "n d"]) -> float:
    """Between two rows, by |a - b|^2 = |a|^2 + |b|^2 - 2 a . b about their mean."""
    x = x - x.mean(0)
    squares = np.square(x).sum(1)
    return math.sqrt(max(0.0, float((squares[:, None] + squares - 2 * x @ x.T).max())))


@dataclasses.dataclass(frozen=True)
class SigmaData(Check):
    """Preconditioning or a weighting for data of another width (Karras et al. 2022, table 1).

    Attributes:
      factor: by which sigma_data may differ from the standard deviation of the states.
    """

    part: ClassVar[Part] = Part.DATA
    factor: float = 1.5

    def findings(self, subject: Subject) -> Iterator[Finding]:
        names = [f"{of}.sigma_data" for of in ("parameterization.output", "loss.weighting")]
        given = {name: s for name in names if (s := subject.get(name)) is not None}
        if not given:
            return
        std = float(subject.states.std())
        wrong = [n for n, s in given.items() if not std / self.factor <= s <= std * self.factor]
        if wrong:
            yield warning(
                f"{', '.join(f'{n} = {given[n]:g}' for n in wrong)}, but the standard deviation "
                f"of {len(subject.looked)} training examples is {std:.3g}",
                "input, output and loss of the network are not of unit scale",
                " ".join(f"--config.{name}={std:.2g}" for name in given),
            )


@dataclasses.dataclass(frozen=True)
class StateScale(Check):
    """Real-valued data that are not near zero mean and unit standard deviation as states.

    Attributes:
      factor: by which the standard deviation may differ from 1.
      most_mean: of the mean, in standard deviations.
    """

    part: ClassVar[Part] = Part.DATA
    factor: float = 3.0
    most_mean: float = 1.0

    def findings(self, subject: Subject) -> Iterator[Finding]:
        space = subject.experiment.space
        fields = [field.name for field in dataclasses.fields(space)]
        if space.of_images or "std" not in fields:
            return
        states = subject.states
        mean, std = states.mean(0), states.std(0)
        if "mean" not in fields:  # of movements, whose pen is as it is
            mean, std = np.zeros(1), states[:, :-1].std(keepdims=True).reshape(1)
        near = (std >= 1 / self.factor) & (std <= self.factor)
        if near.all() and (abs(mean) <= self.most_mean * std).all():
            return
        unit = np.broadcast_to(space.unit, states.shape[1:])[: len(std)]
        better: dict[str, Any] = {"mean": getattr(space, "mean", 0.0) + unit * mean}
        better["std"] = unit * std
        yield warning(
            f"the states have mean {_listed(mean)} and standard deviation {_listed(std)}",
            "processes, networks and noise levels are made for mean 0 and standard deviation 1",
            " ".join(f"--config.data.space.{n}={_value(space, n, better[n])}" for n in fields),
        )


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:.3g}" for value in values[:4])


def _value(space: Any, name: str, values: np.ndarray) -> str:
    """A number, or in quotation marks a tuple, as the field of the space is."""
    is_tuple = type(getattr(space, name)) is tuple
    text = ",".join(f"{value:.4g}" for value in values)
    return f'"({text},)"' if is_tuple else text


@dataclasses.dataclass(frozen=True)
class SmallestNoise(Check):
    """A process whose least noise hides details of 8-bit images.

    Attributes:
      most: grey levels of noise at t_min; the published VE has 2.6.
      usual: what is proposed, as a fraction of the range.
    """

    most: float = 8.0
    usual: float = 0.01

    def findings(self, subject: Subject) -> Iterator[Finding]:
        process, space = subject.process, subject.experiment.space
        if process is None or not space.is_pixels:
            return
        levels = _noise(process, process.t_min) * float(space.unit)
        if levels > self.most:
            field = "sigma_min" if hasattr(process, "sigma_min") else "t_min"
            least = self.usual * space.width if hasattr(process, "sigma_min") else 1e-5
            yield warning(
                f"process.{field} = {getattr(process, field):g} leaves noise of {levels:.3g} of "
                "255 grey levels",
                "finer detail is never learned, and the last step has to guess it",
                f"--config.process.{field}={least:g}",
            )


def _noise(process: Any, t: float) -> float:
    """sigma / alpha at a time."""
    at = jnp.float32(t)
    return float(process.sigma(at)) / max(float(process.alpha(at)), 1e-30)


@dataclasses.dataclass(frozen=True)
class Centring(Check):
    """States in [0, 1] for a process or a network that is made for mean 0."""

    def findings(self, subject: Subject) -> Iterator[Finding]:
        process, space = subject.process, subject.experiment.space
        if process is None or space.low != 0:
            return
        seen = f"data.space is [{space.low:g}, {space.high:g}]"
        centres = subject.get("parameterization.centre_input", True)
        if not process.width_field:
            yield warning(
                f"{seen} under process = {subject.named('process')}",
                "a process that takes the data away to N(0, 1) is made for data about 0, of "
                "about unit scale",
                "--config.data.space.low=-1.0",
            )
        elif not centres:
            yield warning(
                f"{seen}, and parameterization.centre_input = False",
                "the network sees images about 0.5, where its layers are made for 0",
                "--config.parameterization.centre_input=True",
            )
