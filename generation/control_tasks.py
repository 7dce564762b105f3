"""What may be known of images, for controlled generation: `control.task` names one of these.

Inpaint    a mask hides part of each image                     masks, RePaint's resampling
Colorize   only the mean of the three colours is known         replacement in a rotated basis
Restore    a blurred, smaller, masked or projected image       DPS, pseudo-inverse guidance
Edit       the image itself, noised to time t                  SDEdit
Guide      the class alone                                     guidance, of any strategy
Upscale    a smaller image of it                               an upsampler, of its own weights
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from controllable import inverse_problems, masks, replacement
from controllable.sdedit import noised_start
from generation.controls import Asked, Controls, Setup
from metrics.pixels import colourfulness, psnr
from options.choices import require_non_negative
from options.classes import ask
from options.errors import InvalidValue, Words, within
from options.fields import chosen
from sampling import keys_for


def no_options(of: np.ndarray) -> dict[str, Any]:
    """Of a task that asks nothing of the run but its conditioning."""
    return {}


class _OfImages:
    """A control task that an ordinary model can do."""

    enlarges = False
    resembles = True
    of_states = False

    def check(self, controls: Controls) -> None:
        pass


@dataclasses.dataclass(frozen=True)
class Inpaint(_OfImages):
    """A part of each image is hidden.

    Attributes:
      mask: which.
    """

    mask: masks.Mask = chosen(masks.MASKS, masks.Box())

    def check(self, controls: Controls) -> None:
        with within("mask"):
            ask(self.mask, "check")

    def setup(self, controls: Controls, x: Array, asked: Asked) -> Setup:
        space, (height, width) = controls.space, x.shape[1:3]
        with within("mask"):
            mask = self.mask(height, width)
        known = mask[..., None] == 1
        truth = np.asarray(space.to_unit(x))[:, None]

        def metrics(found: np.ndarray) -> dict[str, float]:
            gap = np.broadcast_to(truth, found.shape) - found
            where = np.broadcast_to(known, found.shape)
            return {
                "psnr_hidden": psnr(gap[~where], np.zeros(1)),
                "largest_error_known": float(np.abs(gap[where]).max()),
                "spread_hidden": float(found.std(axis=1)[~where[:, 0]].mean()),
            }

        image, ends = asked.each(x), (space.low, space.high)

        def options(of: np.ndarray) -> dict[str, Any]:
            return {"constraint": replacement.inpainting(image[of], mask, ends)}

        return Setup(options, space.to_unit(x), metrics, hidden=mask != 1)


@dataclasses.dataclass(frozen=True)
class Colorize(_OfImages):
    """Only the grey of each image is known."""

    def check(self, controls: Controls) -> None:
        channels = controls.shape[-1]
        if channels != 3:
            raise InvalidValue("", but=f"'colorize' needs 3 channels, but the model has {channels}")

    def setup(self, controls: Controls, x: Array, asked: Asked) -> Setup:
        space = controls.space
        grey = replacement.grey_of(x)
        truth = np.asarray(space.to_unit(x))

        def metrics(found: np.ndarray) -> dict[str, float]:
            gap = found.mean(-1) - truth[:, None].mean(-1)
            return {
                "largest_error_grey": float(np.abs(gap).max()),
                "colourfulness": colourfulness(found),
                "colourfulness_of_images": colourfulness(truth),
            }

        known, ends = asked.each(grey), (space.low, space.high)

        def options(of: np.ndarray) -> dict[str, Any]:
            return {"constraint": replacement.colorization(known[of], ends)}

        return Setup(options, space.to_unit(jnp.broadcast_to(grey, x.shape)), metrics)


# What a measurement is made by: the options of an operator, and the operator for a shape.


@dataclasses.dataclass(frozen=True)
class Downsample:
    """Means over squares of pixels.

    Attributes:
      factor: side of a square; 0: 4 where that divides the image, else 2.
    """

    factor: int = 0

    def operator(self, height: int, width: int, channels: int) -> inverse_problems.Operator:
        factor = self.factor or (4 if height % 4 == width % 4 == 0 else 2)
        return inverse_problems.Downsampling(factor)


@dataclasses.dataclass(frozen=True)
class Blur:
    """A Gaussian blur.

    Attributes:
      std: of the Gaussian, as a fraction of the height.
    """

    std: float = 1 / 16

    def operator(self, height: int, width: int, channels: int) -> inverse_problems.Operator:
        return inverse_problems.gaussian_blur(height, width, height * self.std)


@dataclasses.dataclass(frozen=True)
class Fourier:
    """Low frequencies of the vertical axis and every so many of the others, as in Cartesian MRI.

    Attributes:
      low: the fraction of frequencies, up to low * height, that are all kept.
      every: of the others one in so many is kept.
    """

    low: float = 1 / 12
    every: int = 4

    def operator(self, height: int, width: int, channels: int) -> inverse_problems.Operator:
        rows = np.abs(np.fft.fftfreq(height) * height)
        mask = ((rows <= height * self.low) | (rows % self.every == 0)).astype(np.float32)
        columns = jnp.asarray(np.tile(mask[:, None], (1, width)))
        return inverse_problems.FourierSubsampling(columns)


@dataclasses.dataclass(frozen=True)
class Project:
    """Random projections of about the pixels' size.

    Attributes:
      divisor: pixels for each projection.
    """

    divisor: int = 4

    def operator(self, height: int, width: int, channels: int) -> inverse_problems.Operator:
        size = height * width * channels
        matrix = jax.random.normal(jax.random.key(0), (size // self.divisor, size))
        return inverse_problems.Projection(matrix / math.sqrt(size), (height, width, channels))


OPERATORS: dict[str, type] = {
    "downsampling": Downsample,
    "blur": Blur,
    "fourier": Fourier,
    "projection": Project,
}


@dataclasses.dataclass(frozen=True)
class PseudoInverse:
    """Pseudo-inverse guidance (Song et al. 2023)."""

    is_linear = True

    def guidance(self, operator: Any, y: Array, sigma: float, spread: float) -> Any:
        return inverse_problems.pigdm(operator, y, sigma, spread)


@dataclasses.dataclass(frozen=True)
class PosteriorSampling:
    """Diffusion posterior sampling (Chung et al. 2023).

    Attributes:
      strength: of the gradient of the residual's norm.
    """

    strength: float = 5.0
    is_linear = False

    def __post_init__(self) -> None:
        require_non_negative(self, "strength")

    def guidance(self, operator: Any, y: Array, sigma: float, spread: float) -> Any:
        return inverse_problems.dps(operator, y, self.strength)


METHODS: dict[str, type] = {"pigdm": PseudoInverse, "dps": PosteriorSampling}


@dataclasses.dataclass(frozen=True)
class Restore(_OfImages):
    """A noisy measurement of each image is known.

    Attributes:
      operator: what is measured. method: how samples are guided to it.
      sigma_y: standard deviation of the measurement's noise, in units of [0, 1].
    """

    operator: Any = chosen(OPERATORS, Downsample())
    method: Any = chosen(METHODS, PseudoInverse())
    sigma_y: float = 0.05

    def __post_init__(self) -> None:
        require_non_negative(self, "sigma_y")

    of_states = True

    def check(self, controls: Controls) -> None:
        if self.method.is_linear and not controls.space.is_pixels:
            name = type(self.method).__name__
            but = "a decoder is between latents and the measurement, which is not linear then"
            raise InvalidValue("method", Words(name), "'dps'", but)

    def setup(self, controls: Controls, x: Array, asked: Asked) -> Setup:
        space, pixels = controls.space, controls.space.pixels
        images = jnp.asarray(pixels.encode(asked.images))
        operator = self.operator.operator(*images.shape[1:])
        clean = operator(images)
        noise = jax.random.normal(jax.random.key(asked.seed), clean.shape)
        sigma = self.sigma_y * pixels.width
        y = clean + sigma * noise
        known, spread = asked.each(y), float(jnp.std(images))
        truth, of_states = np.asarray(pixels.to_unit(images))[:, None], space.on_states(operator)

        def metrics(found: np.ndarray) -> dict[str, float]:
            flat = jnp.asarray(pixels.from_unit(found)).reshape(-1, *images.shape[1:])
            residual = operator(flat) - asked.each(y)
            return {
                "psnr": psnr(found, np.broadcast_to(truth, found.shape)),
                "residual_std": float(jnp.std(residual)) / pixels.width,
                "noise_std": self.sigma_y,
            }

        def options(of: np.ndarray) -> dict[str, Any]:
            return {"guidance": self.method.guidance(of_states, known[of], sigma, spread)}

        ones = jnp.ones(len(images))
        back = operator.adjoint(operator.solve(y, ones, 1e-2 * ones))
        return Setup(options, pixels.to_unit(back), metrics)


@dataclasses.dataclass(frozen=True)
class Edit(_OfImages):
    """Each image is noised to a time, and denoised again.

    Attributes:
      t: the time to noise the image to.
    """

    of_states = True
    t: float = 0.5

    def check(self, controls: Controls) -> None:
        process, earliest = controls.process, float(controls.sampler.grid.t[-1])
        if not max(process.t_min, earliest) < self.t <= process.t_max:
            expected = f"a time in ({earliest:g}, {process.t_max:g}] to start from"
            raise InvalidValue("t", self.t, expected)

    def setup(self, controls: Controls, x: Array, asked: Asked) -> Setup:
        space = controls.space
        key = jax.random.fold_in(jax.random.key(asked.seed), 1)
        ends = (space.low, space.high) if space.is_pixels else None
        noised, node = noised_start(key, controls.process, asked.each(x), self.t, ends)
        truth = asked.images[:, None] / np.float32(255)

        def metrics(found: np.ndarray) -> dict[str, float]:
            return {"psnr_to_image": psnr(found, np.broadcast_to(truth, found.shape))}

        def options(of: np.ndarray) -> dict[str, Any]:
            return {"start": (noised[of], node)}

        seen = space.to_unit(space.in_range(noised[:: asked.results], float(node.sigma)))
        title = f"noised, t = {self.t:g}"
        return Setup(options, seen, metrics, t_start=self.t, title=title)


@dataclasses.dataclass(frozen=True)
class Guide(_OfImages):
    """Nothing but the class is known."""

    resembles = False
    of_states = True

    def setup(self, controls: Controls, x: Array, asked: Asked) -> Setup:
        return Setup(no_options, None, lambda found: {})


@dataclasses.dataclass(frozen=True)
class Upscale:
    """A smaller image of each is known; for upsamplers."""

    enlarges = True
    resembles = True

    def check(self, controls: Controls) -> None:
        if controls.low is None:
            but = "'upscale' needs the weights of an upsampler (conditions.low)"
            raise InvalidValue("", but=but)
        controls.low.check_level(controls.low_level)

    def setup(self, controls: Controls, x: Array, asked: Asked) -> Setup:
        low, shape, space = controls.low, controls.shape, controls.space
        assert low is not None
        small = low.shape(shape)
        if x.shape[1:] not in (small, shape):
            got = Words(f"images of shape {x.shape[1:]}")
            raise InvalidValue("image", got, f"{small}, or {shape} to make smaller first")
        known = x if x.shape[1:] == small else low.of(x)
        level = jnp.full(len(x) * asked.results, controls.low_level)
        keys = keys_for(jax.random.key(asked.seed), len(level))
        cond = {low.name: low.noised(asked.each(known), level, keys)}

        def enlarged(method: str) -> Array:
            return jax.image.resize(known, (len(known), *shape), method)

        def metrics(found: np.ndarray) -> dict[str, float]:
            flat = jnp.asarray(space.from_unit(found)).reshape(-1, *shape)
            gap = np.asarray(low.of(flat) - asked.each(known)) / space.width
            made = {
                "consistency_rmse": float(np.sqrt(np.mean(gap**2))),
                "spread": float(found.std(axis=1).mean()),
            }
            if x.shape[1:] == shape:
                truth, cubic = map(np.asarray, map(space.to_unit, (x, enlarged("cubic"))))
                made["psnr"] = psnr(found, np.broadcast_to(truth[:, None], found.shape))
                made["psnr_of_cubic"] = psnr(cubic, truth)
            return made

        shown = space.to_unit(enlarged("nearest"))
        return Setup(no_options, shown, metrics, cond=cond)


TASKS: dict[str, type] = {
    "inpaint": Inpaint,
    "colorize": Colorize,
    "restore": Restore,
    "edit": Edit,
    "guide": Guide,
    "upscale": Upscale,
}
