"""Augmentation that does not leak into samples (Karras et al. 2022, appendix F.2).

Each training image is transformed at random, and the network is conditioned on nine numbers that
describe how; they are zero for an untouched image. At sampling they are zero, so untouched images
are drawn.

    x' = T(tau) A(a, phi) R(theta) S(s) Y X x                 about the image's centre
    X, Y  mirror left-right (half of all images), top-bottom (half of the fraction `probability`)
    S(s)  scales by 2^(0.2 s),                  s ~ N(0, 1)
    R     rotates by theta,                     theta ~ U(-pi, pi)
    A     stretches by 2^(0.2 a) along phi and shrinks as much across, a ~ N(0, 1),
          phi = 0 for half of all images, else ~ U(-pi, pi)
    T     translates by 0.125 tau of the image's width and height, tau ~ N(0, 1)^2

S, R, A and T are each applied with `probability`, and what leaves the image is filled by its
mirror image. Angles turn from the x axis (right) to the y axis (down). Conditioning, in order:

    [X, Y, s, cos theta - 1, sin theta, a cos 2 phi, a sin 2 phi, tau_x, tau_y]

Karras et al. write phi in place of 2 phi, which gives (a, phi) and (-a, phi + pi), two different
transformations, the same numbers; the doubled angle distinguishes all. They resample with a wavelet
filter, here it is a cubic spline.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from scipy.ndimage import affine_transform
from scipy.special import ndtri

from options.choices import require

CONDITIONING_DIM = 9
SCALE_STD = 0.2
STRETCH_STD = 0.2
TRANSLATION_STD = 0.125


@dataclass(frozen=True)
class Augment:
    """Each transformation is applied with `probability` to each image, independently.

    Attributes:
      probability: Karras et al. use 0.12 for CIFAR-10, 0.15 for FFHQ and AFHQ at 64 px.
    """

    probability: float = 0.12
    draws = 14  # uniform numbers that one image takes

    def __post_init__(self) -> None:
        require(0 <= self.probability <= 1, "probability", self.probability, "0 to 1")

    def __call__(
        self,
        images: Float32[np.ndarray, "b height width channels"],
        u: Float32[np.ndarray, "b draws"],
    ) -> tuple[Float32[np.ndarray, "b height width channels"], Float32[np.ndarray, "b 9"]]:
        """(transformed images, conditioning) from grey levels in [0, 255] and uniform numbers."""
        conditioning = self.conditioning(u)
        transformed = [_transform(*pair) for pair in zip(images, conditioning, strict=True)]
        return np.stack(transformed), conditioning

    def conditioning(self, u: Float32[np.ndarray, "b draws"]) -> Float32[np.ndarray, "b 9"]:
        """The nine numbers that describe what is done, drawn with uniform numbers `u`."""
        applied = (u[:, :5] < self.probability).astype(np.float64)
        y, s, theta, a, tau = applied.T
        # float32 draws are multiples of 2^-24: the half step keeps 0 off the normal quantile.
        normal = ndtri(u[:, 5:9].astype(np.float64) + 2.0**-25)
        s, a, tau = s * normal[:, 0], a * normal[:, 1], tau[:, None] * normal[:, 2:4]
        theta = theta * np.pi * (2 * u[:, 9] - 1)
        phi = np.pi * (2 * u[:, 10] - 1) * (u[:, 11] < 0.5)
        x, y = u[:, 12] < 0.5, y * (u[:, 13] < 0.5)
        rotation = [np.cos(theta) - 1, np.sin(theta)]
        stretch = [a * np.cos(2 * phi), a * np.sin(2 * phi)]
        return np.stack([x, y, s, *rotation, *stretch, *tau.T], 1).astype(np.float32)


def _transform(
    image: Float32[np.ndarray, "height width channels"], conditioning: Float32[np.ndarray, "9"]
) -> Float32[np.ndarray, "height width channels"]:
    """One image transformed as its conditioning says. Grey levels stay in [0, 255]."""
    flip_x, flip_y, *rest = conditioning.astype(np.float64)
    image = image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    if not any(rest):
        return image
    matrix, shift = affine(conditioning)
    height, width, _ = image.shape
    centre = np.array([height - 1, width - 1]) / 2
    # scipy asks where each output pixel comes from: x = M^-1 (x' - shift), in (row, column).
    inverse = np.linalg.inv(matrix)[::-1, ::-1]
    offset = centre - inverse @ (centre + shift[::-1] * [height, width])
    planes = [
        affine_transform(plane, inverse, offset, order=3, mode="mirror")
        for plane in np.moveaxis(image, -1, 0)
    ]
    return np.clip(np.stack(planes, -1), 0, 255)


def affine(
    conditioning: Float32[np.ndarray, "9"],
) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2"]]:
    """A R S, and the shift T as a fraction of width and height, both in (x, y)."""
    _, _, s, cos_minus_1, sin, a_cos, a_sin, *tau = conditioning.astype(np.float64)
    a, phi = np.hypot(a_cos, a_sin), np.arctan2(a_sin, a_cos) / 2
    along = np.array([np.cos(phi), np.sin(phi)])
    stretch = 2 ** (STRETCH_STD * a)
    # Stretched along, shrunk across: 1/k I + (k - 1/k) along along^T.
    anisotropy = np.eye(2) / stretch + (stretch - 1 / stretch) * np.outer(along, along)
    rotation = np.array([[cos_minus_1 + 1, -sin], [sin, cos_minus_1 + 1]])
    return 2 ** (SCALE_STD * s) * anisotropy @ rotation, TRANSLATION_STD * np.array(tau)
