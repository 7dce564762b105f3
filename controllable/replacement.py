"""Known parts of a sample, held at the noise level of each step: inpainting, colorization.

With y = R x for a rotation R and a mask of the coordinates of y that are known, the known ones are
replaced after every step by what the process would have made of them (Song et al. 2021, app. I.2,
eq. 50),

    y_t = mask (alpha y_0 + sigma R z) + (1 - mask) y_t,      z ~ N(0, I)               (1)

Rotated noise is noise, so any orthonormal R will do: the identity inpaints, a rotation of the
colour channels with the grey one known colours. At the clean node (1) gives the known values
exactly. It is an approximation of the conditional distribution: the unknown part follows the known
one only through the score, with an error that smaller steps do not take away; `resampling` reduces
it.

The published samplers differ (Song et al.'s `get_pc_inpainter` and `get_pc_colorizer`): (1) acts
twice a step, after the corrector and after the predictor, both times at the level that the step
starts from; and the run starts with known values that have no noise. `published` gives those.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from options.choices import require
from options.classes import ask
from options.errors import InvalidValue, Words
from sampling import RunContext, SamplerState, at, latest
from sde_lib import Node, Process, expand_right, masked
from solvers.predictor_corrector import PredictorCorrector

Rotation = tuple[Callable[[Array], Array], Callable[[Array], Array]]

# Columns: grey, and two chromatic directions; orthonormal (the basis of Song et al.'s code).
COLOR_BASIS = np.array(
    [
        [1 / math.sqrt(3), -2 / math.sqrt(6), 0.0],
        [1 / math.sqrt(3), 1 / math.sqrt(6), 1 / math.sqrt(2)],
        [1 / math.sqrt(3), 1 / math.sqrt(6), -1 / math.sqrt(2)],
    ],
    np.float32,
)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["known", "mask"], meta_fields=["rotation"]
)
@dataclasses.dataclass(frozen=True)
class Replacement:
    """The constraint (1). Attributes:

    known: R x_0, (batch, *shape) or anything that broadcasts to it; read where mask is 1.
    mask: 1 where known, 0 where free, broadcasts like `known`.
    rotation: (R, its inverse), functions on a batch that keep lengths; None for the identity.
    """

    known: Array
    mask: Array
    rotation: Rotation | None = None

    def __call__(self, x: Float[Array, "b *shape"], node: Node, noise: Array) -> Array:
        rotate, back = self.rotation or (lambda x: x, lambda y: y)
        level = expand_right(node.alpha, x) * self.known
        level = level + expand_right(node.sigma, x) * rotate(noise)
        return back(jnp.where(self.mask == 1, level, rotate(x)))


def inpainting(
    image: Float[Array, "b *shape"], mask: Any, data_range: tuple[float, float] = (-1.0, 1.0)
) -> Replacement:
    """Keep the image where the mask is 1 and complete it elsewhere.

    Args:
      image: in the process's range, (batch, height, width, channels) or any shape.
      mask: 0 and 1, of the image's shape, or (height, width), or (height, width, 1).
      data_range: the least and greatest value of the image, to notice one in another range.

    Raises:
      InvalidValue: a mask of another size, not of 0 and 1, or all of one; an image out of range.
    """
    image = jnp.asarray(image, jnp.float32)
    check_range(image, data_range)
    mask = check_mask(mask, image.shape)
    return Replacement(image, mask)


def colorization(
    grey: Float[Array, "b h w 1"], data_range: tuple[float, float] = (-1.0, 1.0)
) -> Replacement:
    """Colour grey images: the mean of red, green and blue is kept.

    Args:
      grey: that mean, in the process's range, (batch, height, width, 1).
    """
    grey = jnp.asarray(grey, jnp.float32)
    fits, got = grey.ndim == 4 and grey.shape[-1] == 1, Words(f"shape {grey.shape}")
    require(fits, "grey", got, "(batch, height, width, 1)")
    check_range(grey, data_range)
    return Replacement(math.sqrt(3) * grey, jnp.array([1.0, 0.0, 0.0]), COLORS)


def decouple(x: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """Colours in the basis whose first coordinate is grey times sqrt(3)."""
    return jnp.matmul(x, COLOR_BASIS, precision="highest")


def couple(y: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """The inverse of `decouple`."""
    return jnp.matmul(y, COLOR_BASIS.T, precision="highest")


COLORS: Rotation = (decouple, couple)


def components(x: Float[Array, "*b 3"]) -> Float[Array, "3 *b 3"]:
    """The grey and the two chromatic parts of x in that basis, each in colours; their sum is x."""
    return jnp.stack([couple(decouple(x) * part) for part in jnp.eye(3)])


def grey_of(x: Float[Array, "*b 3"]) -> Float[Array, "*b 1"]:
    """Mean of red, green and blue."""
    return jnp.mean(x, axis=-1, keepdims=True)


def measured(
    measurement: Array, mask: Any, rotation: Rotation, shape: tuple[int, ...]
) -> Replacement:
    """A measurement of some coordinates of a rotation of x, such as a Fourier or wavelet basis.

    Args:
      measurement: R x_0 where the mask is 1; broadcasts to (batch, *shape).
      rotation: (R, its inverse), on arrays of shape (batch, *shape).
      shape: of one sample.

    Raises:
      InvalidValue: a mask as in `inpainting`; an R that is no rotation, found on a random vector.
    """
    x = jax.random.normal(jax.random.key(0), (2, *shape))
    rotate, back = rotation
    turned = rotate(x)
    before, after = (float(jnp.linalg.norm(v)) for v in (x, turned))
    if not np.allclose(back(turned), x, atol=1e-4) or not np.isclose(before, after, rtol=1e-4):
        got = Words("functions that do not keep lengths or are not inverse to each other")
        raise InvalidValue("rotation", got, "an orthonormal change of basis")
    return Replacement(jnp.asarray(measurement), check_mask(mask, (1, *shape)), rotation)


def check_range(image: Array, data_range: tuple[float, float], name: str = "image") -> None:
    """InvalidValue unless the image lies in the range, up to rounding."""
    low, high = float(jnp.min(image)), float(jnp.max(image))
    slack = 1e-3 * (data_range[1] - data_range[0])
    inside = data_range[0] - slack <= low <= high <= data_range[1] + slack
    got = Words(f"values from {low:.4g} to {high:.4g}")
    require(inside, name, got, f"the model's range {list(data_range)}")


def check_mask(mask: Any, shape: tuple[int, ...]) -> Array:
    """The mask as float32 that broadcasts against (batch, *shape); InvalidValue as `inpainting`."""
    mask = np.asarray(mask, np.float32)
    if mask.ndim == len(shape) - 2:  # (height, width)
        mask = mask[..., None]
    ones = [1] * (len(shape) - mask.ndim) + list(mask.shape)
    fits = len(ones) == len(shape) and all(n in (1, m) for n, m in zip(ones, shape, strict=True))
    require(fits, "mask", Words(f"shape {mask.shape}"), f"one that fits images of {shape[1:]}")
    values = np.unique(mask)
    got = Words(f"values {values[:5].tolist()}")
    require(np.isin(values, (0.0, 1.0)).all(), "mask", got, "0 (free) and 1 (known)")
    which = "everything is known" if values[0] else "nothing is known"
    got = Words(f"only {values[0]:.0f}, where {which}")
    require(values.size > 1, "mask", got, "some of both")
    return jnp.asarray(mask)


# The published samplers.


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["known", "mask"], meta_fields=["rotation"]
)
@dataclasses.dataclass(frozen=True)
class PublishedReplacement(Replacement):
    """(1) as the published samplers use it: the result keeps the level of the last step, since
    they return what is known times alpha there rather than itself. So it leaves the clean node
    alone."""

    def __call__(self, x: Float[Array, "b *shape"], node: Node, noise: Array) -> Array:
        clean = expand_right(node.sigma == 0, x)
        return jnp.where(clean, x, super().__call__(x, node, noise))


@dataclasses.dataclass(frozen=True)
class PublishedControl:
    """Predictor-corrector steps with the constraint after the corrector and after the predictor,
    both at the node that the step starts from, with noise of their own.

    What `denoise="mean"` returns is the noised state with the mean of the known part: the published
    code has lost the mean of the free part by then.

    Attributes:
      solver: with its own `faithful` choices, which it needs to be the published one.
    """

    solver: PredictorCorrector

    def validate(self, process: Process, grid: Node) -> None:
        ask(self.solver, "validate", process, grid)

    def budget(self, steps: int) -> int:
        return steps

    def begin(self, process: Process, run: RunContext, x: Array) -> None:
        return None

    def advance(
        self, process: Process, run: RunContext, state: SamplerState, i: Array
    ) -> SamplerState:
        batch, shape = state.x.shape[0], state.x.shape
        node, node_next = at(run.grid, i, batch), at(run.grid, i + 1, batch)
        predictor, corrector = self.solver.predictor, self.solver.corrector
        moved = corrector.move(
            process, run.predict_at, state.x, node, node_next, lambda k: run.draw(i, k, shape)
        )
        x = run.constrain(moved.x, node, i)
        if predictor.stages:
            z = run.draw(i, corrector.num_steps, shape)
            moved = predictor.move(process, run.predict_at, x, node, node_next, z)
            x = moved.x
        x, x_mean = run.constrain(x, node, i, 1), moved.x_mean
        if run.constraint is not None:
            x_mean = masked(run.constraint(x, node, jnp.zeros(shape)), run.mask)
        return state._replace(
            x=x,
            x_mean=x_mean,
            t=node_next.t,
            done=jnp.full(batch, i + 2 == run.grid.t.size),
            nfe=state.nfe + self.solver.stages,
            depth=state.depth + self.solver.stages,
            accepted=state.accepted + 1,
            aux=latest(~state.done, moved.aux or {}, state.aux),
        )


def published(
    control: Replacement, solver: PredictorCorrector, grid: Node, prior: Float[Array, "b *shape"]
) -> dict[str, Any]:
    """Arguments of `sample` for the published inpainter, or colorizer: solver, constraint, start
    and denoise.

    The run starts from the known values without noise, and from the prior elsewhere; for the
    colorizer "elsewhere" is meant before the rotation, so its red channel starts without noise.

    Args:
      control: of `inpainting` or `colorization`.
      solver: with `faithful` choices. grid: `published_grid`.
      prior: a draw of the prior, of all samples.
    """
    rotate, back = control.rotation or (lambda x: x, lambda y: y)
    x = back(control.known * control.mask + rotate(prior * (1 - control.mask)))
    return {
        "solver": PublishedControl(solver),
        "constraint": PublishedReplacement(control.known, control.mask, control.rotation),
        "start": (x, Node(*(field[0] for field in grid))),
        "denoise": "mean",
    }
