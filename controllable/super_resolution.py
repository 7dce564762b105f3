"""Super-resolution and cascades (Ho et al. 2022, "Cascaded Diffusion Models", section 4).

An upsampler is a model of an image x_0 given its low-resolution picture, which is noised a little:

    low = A x_0, the means over squares of pixels                                       (1)
    low_s = cos(pi s / 2) low + sin(pi s / 2) eps,   level s in [0, 1]                  (2)

The network is told low_s and s (`models.upsampler`), and s is drawn uniformly in training. At
sampling s is a knob: more of it makes the upsampler trust `low` less, which hides what a model that
made `low` got wrong. (2) is theirs with one change: they noise by the model's own process, whose
times mean another thing for every process; (2) means the same for all, and no scaling for any.

A cascade is sampling runs chained by this conditioning, so it goes with every solver. Each stage
draws from p(x | low_s), so if all are exact, then so is the law of what each of them makes, at any
level; what is lost as s grows is the agreement of a stage with the one before.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import sampling
from controllable.inverse_problems import Downsampling
from controllable.replacement import check_range
from parameterization import Predictor
from sampling import Samples, Solver
from sde_lib import Node, Process, expand_right


@dataclasses.dataclass(frozen=True)
class LowResolution:
    """What an upsampler is told of an image; `tasks.ImageTask.conditioning` of its training.

    size: height of the low-resolution picture. max_level: training levels are uniform in
    [0, max_level].
    """

    size: int
    max_level: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"low_size: got {self.size}, expected at least 1")
        if not 0 < self.max_level <= 1:
            raise ValueError(f"low_level: got {self.max_level}, expected a level in (0, 1]")

    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(height, width, channels) of the low-resolution picture of such an image."""
        height, width, channels = image_shape
        factor = height // self.size
        if factor < 2 or height % self.size or width % factor:
            raise ValueError(
                f"low_size: got {self.size}, expected a proper divisor of the image's height in "
                f"{height} x {width}, and one of its width by the same factor"
            )
        return self.size, width // factor, channels

    def of(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        """The low-resolution pictures (1)."""
        self.shape(x.shape[1:])
        return Downsampling(x.shape[1] // self.size)(x)

    def noised(
        self, low: Float[Array, "b h2 w2 c"], level: Float[Array, " b"], keys: Key[Array, " b"]
    ) -> dict[str, Array]:
        """The conditioning: (2) with noise from each picture's own key, and its level."""
        eps = jax.vmap(lambda key: jax.random.normal(key, low.shape[1:]))(keys)
        angle = expand_right(math.pi / 2 * level, low)
        return {"low": jnp.cos(angle) * low + jnp.sin(angle) * eps, "low_level": level}

    def draw(self, x_0: Float[Array, "b h w c"], keys: Key[Array, " b"]) -> dict[str, Array]:
        """The conditioning of training images, at random levels, by one key an example."""
        level_keys, noise_keys = jax.vmap(jax.random.split)(keys).T
        level = self.max_level * jax.vmap(jax.random.uniform)(level_keys)
        return self.noised(self.of(x_0), level, noise_keys)

    def example(self, image_shape: tuple[int, ...]) -> dict[str, Array]:
        """Conditioning of one image, for its shapes."""
        return {"low": jnp.zeros((1, *self.shape(image_shape))), "low_level": jnp.zeros(1)}

    def check_level(self, level: float) -> None:
        """ValueError for a level that the model was not trained on."""
        if not 0 <= level <= self.max_level:
            raise ValueError(
                f"low_level: got {level}, expected a level in [0, {self.max_level:g}], on which "
                "the model was trained"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """A model of a cascade, and how it is sampled.

    image_shape: (height, width, channels). low: what it is told of an image if it is an upsampler;
    None for a model that begins a cascade. num_classes: 0 for a model without classes.
    """

    process: Process
    predict: Predictor
    solver: Solver
    grid: Node
    image_shape: tuple[int, int, int]
    low: LowResolution | None = None
    num_classes: int = 0
    denoise: str = "tweedie"


def check_chain(stages: Sequence[Stage], given: bool = False) -> None:
    """ValueError where a stage does not take what the one before makes.

    given: whether the first stage, too, is an upsampler, of pictures from elsewhere.
    """
    if not stages:
        raise ValueError("stages: got none, expected at least one")
    for number, stage in enumerate(stages):
        first = stages[0]
        if stage.num_classes != first.num_classes:
            raise ValueError(
                f"stages: stage {number} has {stage.num_classes} classes and stage 0 has "
                f"{first.num_classes}, expected the same"
            )
        told = number > 0 or given
        if (stage.low is not None) != told:
            found = "no upsampler" if told else "an upsampler, which needs pictures to enlarge"
            raise ValueError(f"stages: stage {number} is {found}")
        if number and stage.low is not None:
            takes, makes = stage.low.shape(stage.image_shape), stages[number - 1].image_shape
            if takes != makes:
                raise ValueError(
                    f"stages: stage {number} enlarges pictures of {_by(takes)}, but stage "
                    f"{number - 1} makes {_by(makes)}"
                )


def check_low(
    stage: Stage, low: Float[Array, "b h w c"], data_range: tuple[float, float] | None
) -> None:
    """ValueError for pictures that the upsampler cannot enlarge: their size or their range."""
    assert stage.low is not None
    takes = stage.low.shape(stage.image_shape)
    if low.ndim != 4 or low.shape[1:] != takes:
        raise ValueError(
            f"low: got pictures of shape {low.shape[1:]}, expected {takes} for this upsampler"
        )
    if data_range is not None:
        check_range(low, data_range, "low")


def cascade(
    key: Key[Array, ""],
    stages: Sequence[Stage],
    count: int,
    *,
    labels: Int[Array, " b"] | None = None,
    given: Float[Array, "b h w c"] | None = None,
    level: float | Sequence[float] = 0.0,
    data_range: tuple[float, float] | None = (-1.0, 1.0),
    first_index: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Samples]:
    """`count` samples of every stage, each enlarging what the one before made.

    Args:
      key: sample i depends on it and `first_index + i` alone.
      labels: int32 (count,) if the models have classes.
      given: pictures (count, h, w, c) for the first stage to enlarge, where it is an upsampler.
      level: of the noise (2) on what an upsampler is told, one or one for each upsampler.
      data_range: what a stage made is clipped to before the next is told it, and `given` pictures
        must lie within; None for data without bounds.
      progress: called as progress(steps done, steps in all) over all stages.

    Raises:
      ValueError: stages that do not chain; classes, pictures or levels that they cannot take.
    """
    stages = list(stages)
    check_chain(stages, given is not None)
    enlarging = [stage for stage in stages if stage.low is not None]
    levels = _levels(enlarging, level)
    if given is not None:
        given = jnp.asarray(given, jnp.float32)
        check_low(stages[0], given, data_range)
        if len(given) != count:
            raise ValueError(f"given: got {len(given)} pictures, expected {count}")
    cond = _labels(stages[0], labels, count)

    steps = [len(np.asarray(stage.grid.t)) - 1 for stage in stages]
    low, made = given, []
    for number, stage in enumerate(stages):
        noise_key, sample_key = jax.random.split(jax.random.fold_in(key, number))
        told: dict[str, Array] = {}
        if stage.low is not None:
            assert low is not None
            keys = sampling.keys_for(noise_key, count, first_index)
            told = stage.low.noised(low, jnp.full(count, levels.pop(0)), keys)
        samples = sampling.sample(
            sample_key,
            stage.process,
            stage.predict,
            stage.solver,
            stage.grid,
            (count, *stage.image_shape),
            cond={**cond, **told},
            denoise=stage.denoise,
            first_index=first_index,
            progress=_after(progress, sum(steps[:number]), sum(steps)),
        )
        made.append(samples)
        low = samples.x if data_range is None else jnp.clip(samples.x, *data_range)
    return made


def _levels(enlarging: list[Stage], level: float | Sequence[float]) -> list[float]:
    """The level of each upsampler."""
    levels = [level] * len(enlarging) if isinstance(level, (int, float)) else list(level)
    if len(levels) != len(enlarging):
        raise ValueError(f"low_level: got {len(levels)} levels for {len(enlarging)} upsamplers")
    for stage, each in zip(enlarging, levels, strict=True):
        assert stage.low is not None
        stage.low.check_level(each)
    return levels


def _labels(stage: Stage, labels: Array | None, count: int) -> dict[str, Any]:
    """The conditioning by class."""
    if not stage.num_classes:
        if labels is not None:
            raise ValueError("labels: got some, but the models have no classes")
        return {}
    if labels is None or labels.shape != (count,):
        raise ValueError(f"labels: got {labels}, expected {count} classes")
    # The null label, num_classes, is what a model trained with label dropout takes as none.
    if np.any(np.asarray(labels) < 0) or np.any(np.asarray(labels) > stage.num_classes):
        raise ValueError(
            f"labels: got {np.asarray(labels).tolist()}, expected classes of the models, 0 to "
            f"{stage.num_classes - 1}"
        )
    return {"labels": labels}


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
