"""From 8-bit images of any size to the batch that a network is trained on.

A grey level k in 0..255 becomes, with u uniform in [0, 1) (Theis et al. 2016),

    unit = (k + u) / 256     dequantised                      (1)
    unit = k / 255           not                              (2)
    x = low + width unit     in the range of the process      (3)

Every random choice about an example is drawn from (seed, its position in the stream).
"""

from dataclasses import dataclass, replace
from typing import NotRequired, TypedDict

import numpy as np
from jaxtyping import Float32, Int32, UInt8
from PIL import Image

from data.augment import Augment
from data.randomness import Purpose, uniforms
from data.range import UNIT, Range
from data.source import Records, Source

CROPS = ("center", "random", "none")
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "box": Image.Resampling.BOX}


class Batch(TypedDict):
    """What a step is given. `image` lies in the process's range."""

    image: Float32[np.ndarray, "b height width channels"]
    label: Int32[np.ndarray, "b"]
    augment: NotRequired[Float32[np.ndarray, "b 9"]]


@dataclass(frozen=True)
class Transform:
    """Crop, resize, flip, augment, dequantise and scale.

    image_size: side of the square that images are resized to; None leaves them as they are, which
        needs a source of images of one size.
    resize: how an image is made smaller or larger: "bicubic", with antialiasing, or "box", whose
        pixels are the means over squares where the sizes divide.
    crop: "center" or "random" takes the largest square in the image; "none" squeezes all of it.
    flip: mirror half of the images left-right.
    dequantize: equation (1) instead of (2).
    augment: non-leaking augmentation, which adds its conditioning to the batch as "augment".
    value_range: [low, high] of equation (3).
    """

    image_size: int | None = None
    crop: str = "center"
    flip: bool = False
    dequantize: bool = False
    augment: Augment | None = None
    value_range: Range = UNIT
    resize: str = "bicubic"

    def __post_init__(self) -> None:
        if self.resize not in FILTERS:
            raise ValueError(f"resize: got {self.resize!r}, expected one of {', '.join(FILTERS)}")
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"image_size: got {self.image_size}, expected at least 1")
        if self.crop not in CROPS:
            raise ValueError(f"crop: got {self.crop!r}, expected one of {', '.join(CROPS)}")
        if self.flip and self.augment is not None:
            raise ValueError("flip: got True together with augment, which flips images itself")

    def for_evaluation(self) -> "Transform":
        """The same without flips and augmentation, and with central crops in place of random."""
        crop = "center" if self.crop == "random" else self.crop
        return replace(self, crop=crop, flip=False, augment=None)

    def check(self, source: Source) -> None:
        """Raise ValueError where the images of `source` cannot be stacked into batches."""
        if self.image_size is None and source.image_shape is None:
            raise ValueError(
                f"image_size: got None, expected a size, since the images of {source.name} differ"
            )

    def __call__(self, records: Records, positions: range, seed: int) -> Batch:
        """The batch of `records`, which stand at the consecutive `positions` of the stream."""
        images = self._resized(records["image"], positions, seed)
        if self.flip:
            mirrored = uniforms(seed, Purpose.FLIP, positions, 1)[:, 0] < 0.5
            images = images.copy()  # the source's own array
            images[mirrored] = images[mirrored, :, ::-1]
        levels = images.astype(np.float32)
        conditioning = None
        if self.augment is not None:
            u = uniforms(seed, Purpose.AUGMENT, positions, self.augment.draws)
            levels, conditioning = self.augment(levels, u)
        if self.dequantize:
            u = uniforms(seed, Purpose.DEQUANTIZE, positions, levels[0].size)
            unit = (levels + u.reshape(levels.shape)) / 256
        else:
            unit = levels / 255
        batch = Batch(image=self.value_range.from_unit(unit), label=records["label"])
        if conditioning is not None:
            batch["augment"] = conditioning
        return batch

    def _resized(
        self, images: UInt8[np.ndarray, "b h w c"] | list[np.ndarray], positions: range, seed: int
    ) -> UInt8[np.ndarray, "b height width channels"]:
        size = self.image_size
        if size is None or (isinstance(images, np.ndarray) and images.shape[1:3] == (size, size)):
            return np.asarray(images)
        at = np.full(len(images), 0.5)
        if self.crop == "random":
            at = uniforms(seed, Purpose.CROP, positions, 1)[:, 0].astype(np.float64)
        square = self.crop != "none"
        resized = [resize(x, size, square, u, self.resize) for x, u in zip(images, at, strict=True)]
        return np.stack(resized)


def resize(
    image: UInt8[np.ndarray, "h w channels"],
    size: int,
    square: bool = True,
    at: float = 0.5,
    by: str = "bicubic",
) -> UInt8[np.ndarray, "size size channels"]:
    """A size x size picture of `image`, by a filter of Pillow's with antialiasing, see `Transform`.

    square: take the largest square, whose place along the longer side `at` in [0, 1) gives
    (0.5 is the centre); otherwise the whole image is squeezed.
    """
    height, width, _ = image.shape
    if (height, width) == (size, size):
        return image
    if square:
        side = min(height, width)
        top, left = (int(at * (length - side + 1)) for length in (height, width))
        image = image[top : top + side, left : left + side]
    planes = [
        np.asarray(Image.fromarray(plane).resize((size, size), FILTERS[by]))
        for plane in np.ascontiguousarray(np.moveaxis(image, -1, 0))
    ]
    return np.stack(planes, -1)
