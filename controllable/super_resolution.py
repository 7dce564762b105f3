"""Super-resolution and cascades (Ho et al. 2022, "Cascaded Diffusion Models", section 4).

An upsampler is a model of an image given its low-resolution version, noised to a level s, and s
itself (`tasks.conditions.LowResolution`). In training s is drawn uniformly. At sampling it is a
choice: the higher, the less the upsampler trusts that image, which hides what a model that made it
got wrong.

A cascade is sampling runs chained by this condition, so it goes with every solver. Each stage draws
from p(x | low_s), so if all are exact, then so is the distribution of what each of them makes, at
any level; what is lost as s grows is the agreement of a stage with the one before.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import sampling
from controllable.replacement import check_range
from options.choices import require
from options.errors import InvalidValue, Words
from parameterization import Predictor
from sampling import Samples
from solvers.sampler import Sampler
from tasks.conditions import LABELS, LowResolution


@dataclasses.dataclass(frozen=True, eq=False)
class CascadeStage:
    """A model of a cascade, and how it is sampled.

    Attributes:
      sampler: its space says within which bounds states of data lie, if there are any.
      predict: the model.
      low: the condition of an upsampler; None for a model that begins a cascade.
      num_classes: 0 for a model without classes.
      level: of the noise on what an upsampler enlarges.
    """

    sampler: Sampler
    predict: Predictor
    low: LowResolution | None = None
    num_classes: int = 0
    level: float = 0.0

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Of states that are data; None for data without bounds."""
        space = self.sampler.space
        return None if space is None or space.low is None else (space.low, space.high)


def check_chain(stages: Sequence[CascadeStage], given: bool = False) -> None:
    """InvalidValue where a stage does not take what the one before makes, or not with that noise.

    given: whether the first stage, too, is an upsampler, of images from elsewhere.
    """
    require(len(stages) >= 1, "stages", Words("none"), "at least one")
    for number, stage in enumerate(stages):
        first = stages[0]
        if stage.num_classes != first.num_classes:
            raise InvalidValue(
                "stages",
                but=f"stage {number} has {stage.num_classes} classes and stage 0 has "
                f"{first.num_classes}",
                expected="the same",
            )
        if stage.bounds != first.bounds:
            but = f"stage {number} has data within {stage.bounds} and stage 0 within {first.bounds}"
            raise InvalidValue("stages", but=but, expected="the same")
        enlarges = number > 0 or given
        if (stage.low is not None) != enlarges:
            found = "no upsampler" if enlarges else "an upsampler, which needs images to enlarge"
            raise InvalidValue("stages", but=f"stage {number} is {found}")
        if stage.low is not None:
            stage.low.check_level(stage.level)
        if number and stage.low is not None:
            takes, makes = stage.low.shape(stage.sampler.shape), stages[number - 1].sampler.shape
            if takes != makes:
                raise InvalidValue(
                    "stages",
                    but=f"stage {number} enlarges images of {_by(takes)}, but stage "
                    f"{number - 1} makes {_by(makes)}",
                )


def check_low(stage: CascadeStage, low: Float[Array, "b h w c"]) -> None:
    """InvalidValue for images that the upsampler cannot enlarge: their size or their range."""
    assert stage.low is not None
    takes = stage.low.shape(stage.sampler.shape)
    fits = low.ndim == 4 and low.shape[1:] == takes
    got = Words(f"images of shape {low.shape[1:]}")
    require(fits, "low", got, f"{takes} for this upsampler")
    if stage.bounds is not None:
        check_range(low, stage.bounds, "low")


def cascade(
    key: Key[Array, ""],
    stages: Sequence[CascadeStage],
    count: int,
    *,
    labels: Int[Array, " b"] | None = None,
    given: Float[Array, "b h w c"] | None = None,
    first_index: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Samples]:
    """`count` samples of every stage, each enlarging what the one before made, within its bounds.

    Args:
      key: sample i depends on it and `first_index + i` alone.
      labels: int32 (count,) if the models have classes.
      given: images (count, h, w, c) for the first stage to enlarge, where it is an upsampler, as
        states within its bounds.
      progress: called as progress(steps done, steps in all) over all stages.

    Raises:
      InvalidValue: stages that do not chain; classes, images or levels that they cannot take.
    """
    stages = list(stages)
    check_chain(stages, given is not None)
    if given is not None:
        given = jnp.asarray(given, jnp.float32)
        check_low(stages[0], given)
        require(len(given) == count, "given", Words(f"{len(given)} images"), str(count))
    cond = _labels(stages[0], labels, count)

    steps = [len(np.asarray(stage.sampler.grid.t)) - 1 for stage in stages]
    low, made = given, []
    for number, stage in enumerate(stages):
        noise_key, sample_key = jax.random.split(jax.random.fold_in(key, number))
        more: dict[str, Any] = {}
        if stage.low is not None:
            assert low is not None
            keys = sampling.keys_for(noise_key, count, first_index)
            more[stage.low.name] = stage.low.noised(low, jnp.full(count, stage.level), keys)
        samples = stage.sampler.draw(
            sample_key,
            stage.predict,
            count,
            cond={**cond, **more},
            first_index=first_index,
            progress=_after(progress, sum(steps[:number]), sum(steps)),
        )
        made.append(samples)
        low = samples.x if stage.bounds is None else jnp.clip(samples.x, *stage.bounds)
    return made


def _labels(stage: CascadeStage, labels: Array | None, count: int) -> dict[str, Any]:
    """The conditioning by class."""
    if not stage.num_classes:
        if labels is not None:
            raise InvalidValue("labels", Words("some"), but="the models have no classes")
        return {}
    if labels is None or labels.shape != (count,):
        raise InvalidValue("labels", labels, f"{count} classes")
    # The label num_classes is the null of a model trained with dropout.
    values = np.asarray(labels)
    holds = np.all((values >= 0) & (values <= stage.num_classes))
    expected = f"classes of the models, 0 to {stage.num_classes - 1}"
    require(holds, LABELS, values.tolist(), expected)
    return {LABELS: labels}


def _after(
    progress: Callable[[int, int], None] | None, before: int, total: int
) -> Callable[[int, int], None] | None:
    """`progress` of one stage among all."""
    if progress is None:
        return None
    return lambda done, steps: progress(before + done, total)


def _by(shape: tuple[int, ...]) -> str:
    """ "8 x 8 x 3"."""
    return " x ".join(map(str, shape))
