"""Inverse problems: samples given a noisy linear measurement y = A x_0 + sigma_y n.

By Bayes' rule the score of the posterior adds the likelihood score grad log p(y | x_t), which needs
E over x_0 given x_t. Two approximations of it, both through the derivative of the predicted x_0:

    DPS    -grad |y - A x_0(x)| * scale             (Chung et al. 2023, algorithm 1)      (1)
    PiGDM  (d x_0 / dx)^T A^T (r^2 A A^T + sigma_y^2)^-1 (y - A x_0(x))                   (2)
           for x_0 | x_t ~ N(x_0(x), r^2 I)         (Song et al. 2023, eq. 7 to 9)

(2) is exact where that Gaussian is, as for data N(m, s^2 I) with r = s sigma / sqrt(v) and
v = alpha^2 s^2 + sigma^2; with another r it is biased. (1) has the strength of its guidance for a
parameter and no distribution that it samples exactly. On two coordinates of variance 1.0 and 0.8,
covariance 0.6, the first measured with noise 0.1 (tests/controllable/test_controls.py, DDIM, 200
steps): (2) with s = 0.9 has the posterior mean to 0.02 and its variances to 5 %; (1) with scale 5
meets the measurement with a quarter of the right variance and errs by 0.09 of 0.16 in the hidden
mean; with scale 1 it misses the measurement by 0.2, two standard deviations of its noise.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from options.choices import require
from parameterization import NO_COND, Cond, Prediction, Predictor
from sde_lib import Node, expand_right


@runtime_checkable
class Operator(Protocol):
    """A linear map of a batch, (batch, *shape) -> (batch, *measured); a pytree.

    `solve(y, a, b)` gives (a A A^T + b I)^-1 y with a and b of shape (batch,); it is all that (2)
    needs of A A^T.
    """

    def __call__(self, x: Array) -> Array: ...

    def adjoint(self, y: Array) -> Array: ...

    def solve(self, y: Array, a: Array, b: Array) -> Array: ...


class _Diagonal:
    """A A^T = `gain` on each measured coordinate."""

    gain: Any = 1.0

    def solve(self, y: Array, a: Array, b: Array) -> Array:
        return y / (expand_right(a, y) * self.gain + expand_right(b, y))


@functools.partial(jax.tree_util.register_dataclass, data_fields=["mask"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Masking(_Diagonal):
    """Keeps the coordinates where the mask is 1; the others are measured as 0."""

    mask: Array

    def __call__(self, x: Array) -> Array:
        return self.mask * x

    def adjoint(self, y: Array) -> Array:
        return self.mask * y


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Downsampling(_Diagonal):
    """Means over squares of `factor` pixels, (b, h, w, c) -> (b, h / factor, w / factor, c)."""

    factor: int

    def __call__(self, x: Array) -> Array:
        b, h, w, c = x.shape
        k = self.factor
        require(h % k == 0 and w % k == 0, "factor", k, f"a divisor of {h} and {w}")
        return x.reshape(b, h // k, k, w // k, k, c).mean((2, 4))

    def adjoint(self, y: Array) -> Array:
        grown = jnp.repeat(jnp.repeat(y, self.factor, axis=1), self.factor, axis=2)
        return grown / self.factor**2

    @property
    def gain(self) -> float:
        return 1 / self.factor**2


@functools.partial(jax.tree_util.register_dataclass, data_fields=["response"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Blur:
    """Convolution with a kernel that wraps around, diagonal in the Fourier basis.

    response: its transform, (h, w), see `gaussian_blur`.
    """

    response: Array

    def _filter(self, x: Array, gain: Array) -> Array:
        return jnp.fft.ifft2(gain * jnp.fft.fft2(x, axes=(1, 2)), axes=(1, 2)).real

    def __call__(self, x: Array) -> Array:
        return self._filter(x, self.response[..., None])

    def adjoint(self, y: Array) -> Array:
        return self._filter(y, jnp.conj(self.response)[..., None])

    def solve(self, y: Array, a: Array, b: Array) -> Array:
        power = jnp.abs(self.response[..., None]) ** 2
        return self._filter(y, 1 / (expand_right(a, y) * power + expand_right(b, y)))


def gaussian_blur(height: int, width: int, std: float) -> Blur:
    """Blur by a Gaussian of standard deviation `std` pixels."""
    require(std > 0, "std", std, "a positive number of pixels")
    fy, fx = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    return Blur(jnp.asarray(np.exp(-2 * (np.pi * std) ** 2 * (fy**2 + fx**2)), jnp.float32))


@functools.partial(jax.tree_util.register_dataclass, data_fields=["mask"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class FourierSubsampling(_Diagonal):
    """Some coefficients of the orthonormal Fourier transform, as in magnetic resonance imaging.

    mask: (h, w), 1 where measured, alike at opposite frequencies so that images stay real. The
    measurement is real and imaginary part on a last axis, (b, h, w, c, 2), unmeasured ones 0.
    """

    mask: Array

    def __call__(self, x: Array) -> Array:
        y = self.mask[..., None] * jnp.fft.fft2(x, axes=(1, 2), norm="ortho")
        return jnp.stack([y.real, y.imag], axis=-1)

    def adjoint(self, y: Array) -> Array:
        spectrum = self.mask[..., None] * (y[..., 0] + 1j * y[..., 1])
        return jnp.fft.ifft2(spectrum, axes=(1, 2), norm="ortho").real


@functools.partial(jax.tree_util.register_dataclass, data_fields=["matrix"], meta_fields=["shape"])
@dataclasses.dataclass(frozen=True)
class Projection:
    """A matrix (m, d) on samples of a shape with d elements, such as a random projection."""

    matrix: Array
    shape: tuple[int, ...]

    def __call__(self, x: Array) -> Array:
        return _product(x.reshape(len(x), -1), self.matrix.T)

    def adjoint(self, y: Array) -> Array:
        return _product(y, self.matrix).reshape(len(y), *self.shape)

    def solve(self, y: Array, a: Array, b: Array) -> Array:
        gram = _product(self.matrix, self.matrix.T)
        total = a[:, None, None] * gram + b[:, None, None] * jnp.eye(len(gram))
        return jnp.linalg.solve(total, y[..., None])[..., 0]


_product = functools.partial(jnp.matmul, precision="highest")


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["operator", "decode"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Decoded:
    """A measurement of what states are decoded to; not linear, so for (1) alone, whose gradient
    goes through the decoder (Rout et al. 2023, eq. 6, the first term).

    Attributes:
      decode: states to images, a pytree.
    """

    operator: Operator
    decode: Callable[[Array], Array]

    def __call__(self, x: Array) -> Array:
        return self.operator(self.decode(x))


class _Guided:
    """The prediction with a likelihood score added."""

    predict: Predictor
    operator: Operator
    measurement: Array

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        def measured(x: Array) -> tuple[Array, Prediction]:
            found = self.predict(x, node, cond)
            return self.operator(found.x_0), found

        y, pullback, found = jax.vjp(measured, x, has_aux=True)
        g = pullback(self.weigh(self.measurement - y, node))[0]
        return found.with_score_added(g)

    def weigh(self, gap: Array, node: Node) -> Array:
        """What A^T is applied to, for y - A x_0."""
        raise TypeError(f"{type(self).__name__} must define weigh")


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["predict", "operator", "measurement"],
    meta_fields=["scale"],
)
@dataclasses.dataclass(frozen=True)
class _DPS(_Guided):
    predict: Predictor
    operator: Operator
    measurement: Array
    scale: float

    def weigh(self, gap: Array, node: Node) -> Array:
        norm = jnp.sqrt(jnp.sum(gap.reshape(len(gap), -1) ** 2, axis=1) + 1e-12)
        return expand_right(self.scale * node.alpha / node.sigma / norm, gap) * gap


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["predict", "operator", "measurement"],
    meta_fields=["sigma_y", "sigma_data"],
)
@dataclasses.dataclass(frozen=True)
class _PiGDM(_Guided):
    predict: Predictor
    operator: Operator
    measurement: Array
    sigma_y: float
    sigma_data: float

    def weigh(self, gap: Array, node: Node) -> Array:
        s = self.sigma_data
        r2 = s**2 * node.sigma**2 / (node.alpha**2 * s**2 + node.sigma**2)
        noise = jnp.full_like(r2, max(self.sigma_y**2, 1e-8))
        return self.operator.solve(gap, r2, noise)


Guidance = Callable[[Predictor], Predictor]


def dps(operator: Operator, measurement: Array, scale: float = 1.0) -> Guidance:
    """Diffusion posterior sampling (1), g = (scale alpha / sigma) A^T e / |e| pulled back.

    Theirs scales the gradient of the norm by a constant in each step of an ancestral sampler; here
    it is added to the score, so its strength does not depend on the number of steps.
    """
    require(scale >= 0, "scale", scale, "0 or more")
    return lambda predict: _DPS(predict, operator, measurement, scale)


def pigdm(
    operator: Operator, measurement: Array, sigma_y: float = 0.0, sigma_data: float = 1.0
) -> Guidance:
    """Pseudo-inverse guidance (2).

    sigma_y: standard deviation of the measurement's noise. sigma_data: the data's own, s; then
    r^2 = s^2 sigma^2 / (alpha^2 s^2 + sigma^2), exact for data N(m, s^2 I). (With s = 1 and a
    variance preserving process it is the paper's r = sigma.)
    """
    require(sigma_y >= 0, "sigma_y", sigma_y, "0 or more")
    require(sigma_data >= 0, "sigma_data", sigma_data, "0 or more")
    return lambda predict: _PiGDM(predict, operator, measurement, sigma_y, sigma_data)
