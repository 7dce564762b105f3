"""From examples to the batch that a network is trained on.

8-bit images are brought to one size, flipped or augmented, and may be dequantised; other data go
through the space as they are. Every random choice about an example is drawn from (seed, its
position in the stream).
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np
from jaxtyping import Bool, Float32, Int32
from PIL import Image

from data.augment import Augment
from data.randomness import Purpose, uniforms
from data.source import CaptionValue, Example, Examples, Records, Source
from data.space import SPACES, UNIT, Space
from options.choices import choose, require
from options.errors import InvalidValue

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


class Crop(NamedTuple):
    """cuts: images of another aspect are cut to the target's; random: at a random place."""

    cuts: bool
    random: bool


CROPS = {
    "center": Crop(cuts=True, random=False),
    "random": Crop(cuts=True, random=True),
    "none": Crop(cuts=False, random=False),
}


class Batch(TypedDict):
    """What a step is given. `image`: states, 0 where `mask`, of their rank, is False.

    text, writer, style: of lines of handwriting, see `data.strokes`; text of captions too.
    caption: see `data.caption_vectors`.
    """

    image: Float32[np.ndarray, "b *shape"]
    label: Int32[np.ndarray, "b"]
    augment: NotRequired[Float32[np.ndarray, "b 9"]]
    mask: NotRequired[Bool[np.ndarray, "b ..."]]
    text: NotRequired[Int32[np.ndarray, "b characters"]]
    writer: NotRequired[Int32[np.ndarray, "b"]]
    style: NotRequired[Float32[np.ndarray, "b places features"]]
    caption: NotRequired[CaptionValue]


@dataclass(frozen=True)
class Transform:
    """Crop, resize, flip, augment, dequantise and encode.

    Attributes:
      image_size: (height, width) that images are resized to, or the side of a square; None leaves
        examples as they are, which needs a source whose examples are of one shape.
      crop: "center" or "random" takes the largest part of the image that has the aspect of
        `image_size`; "none" squeezes all of it.
      flip: mirror half of the images left-right.
      dequantize: add uniform noise within each of the 256 grey levels (Theis et al. 2016).
      augment: non-leaking augmentation, which adds its conditioning to the batch as "augment".
      space: of the states that data become.
      resize: how an image is made smaller or larger: "bicubic" or "bilinear", with antialiasing, or
        "box", whose pixels are the means over rectangles where the sizes divide.
    """

    image_size: int | tuple[int, ...] | None = None
    crop: str = "center"
    flip: bool = False
    dequantize: bool = False
    augment: Augment | None = None
    space: Space = field(default=UNIT, metadata={"choices": SPACES})
    resize: str = "bicubic"

    def __post_init__(self) -> None:
        choose(FILTERS, self.resize, "resize")
        choose(CROPS, self.crop, "crop")
        if self.image_size is not None:
            smallest = min(height_width(self.image_size))
            require(smallest >= 1, "image_size", self.image_size, "at least 1")
        if self.flip and self.augment is not None:
            raise InvalidValue("flip", True, but="augment flips images itself")
        if self.dequantize and not self.space.is_pixels:
            raise InvalidValue(
                "dequantize", True, but=f"{self.space} has no grey levels, as Pixels"
            )
        self.space.check_transform(self)

    def for_evaluation(self) -> "Transform":
        """The same without flips and augmentation, and with central crops in place of random."""
        crop = "center" if CROPS[self.crop].random else self.crop
        return replace(self, crop=crop, flip=False, augment=None)

    def shape(self, source: Source) -> tuple[int, ...]:
        """Of the examples of `source` at the size of the model."""
        if self.image_size is not None:
            return (*height_width(self.image_size), source.channels)
        but = f"the images of {source.name} differ in size"
        require(source.shape is not None, "image_size", None, f"a size, since {but}")
        assert source.shape is not None
        return source.shape

    def check(self, source: Source) -> None:
        """InvalidValue where this cannot be done to the examples of `source`."""
        self.space.check(source)
        self.shape(source)
        of_images = {"image_size": self.image_size, "flip": self.flip, "augment": self.augment}
        for name, value in of_images.items():
            if value and not source.is_images:
                but = f"examples of {source.name} are {source.shape}, not images"
                raise InvalidValue(name, value, but=but)
        if self.augment is not None and source.dtype != np.uint8:
            but = f"{source.name} is of {source.dtype} values, not of 8-bit pixels"
            raise InvalidValue("augment", self.augment, but=but)

    def resizes(self, source: Source) -> bool:
        """Whether the images of a source are resized, each always in the same way."""
        if self.image_size is None or source.dtype != np.uint8 or CROPS[self.crop].random:
            return False
        return source.shape is None or source.shape[:2] != height_width(self.image_size)

    def loss_of_cropping(self, source: Source) -> str:
        """A sentence about what cropping takes off the images of `source`; "" for nothing."""
        if self.image_size is None or not CROPS[self.crop].cuts:
            return ""
        target = height_width(self.image_size)
        wanted, by = f"{target[0]} x {target[1]}", f"(data.crop={self.crop!r})"
        if source.shape is None:  # some may have other proportions, or none
            return f"{source.name}: images of other proportions than {wanted} are cropped {by}"
        height, width = source.shape[:2]
        kept = cut_size((height, width), target)
        if kept == (height, width):
            return ""
        cut = f"images of {height} x {width} are cropped to {kept[0]} x {kept[1]}"
        return f"{source.name}: {cut}, the proportions of {wanted} {by}"

    def said_of_resizing(self, size: tuple[int, int]) -> str:
        """What an evaluation does to an image of this (height, width), as in "cropped to 80 x 80
        and resized to 32 x 32"."""
        assert self.image_size is not None
        target = height_width(self.image_size)
        part = cut_size(size, target) if CROPS[self.crop].cuts else size
        done = [f"cropped to {part[0]} x {part[1]}"] if part != size else []
        done += [f"resized to {target[0]} x {target[1]}"] if part != target else []
        return " and ".join(done)

    def __call__(self, records: Records, positions: range, seed: int) -> Batch:
        """The batch of `records`, which stand at the consecutive `positions` of the stream."""
        images = self._resized(records["image"], positions, seed)
        if self.flip:
            mirrored = uniforms(seed, Purpose.FLIP, positions, 1)[:, 0] < 0.5
            images = images.copy()  # the source's own array
            images[mirrored] = images[mirrored, :, ::-1]
        conditioning = None
        if self.augment is not None:
            u = uniforms(seed, Purpose.AUGMENT, positions, self.augment.draws)
            images, conditioning = self.augment(images.astype(np.float32), u)
        if self.dequantize:
            u = uniforms(seed, Purpose.DEQUANTIZE, positions, images[0].size)
            x = self.space.dequantized(images, u.reshape(images.shape))
        else:
            x = self.space.encode(images)
        batch = Batch(image=x, label=records["label"])
        if conditioning is not None:
            batch["augment"] = conditioning
        if "mask" in records:
            batch["mask"] = records["mask"]
            batch["image"] = np.where(records["mask"], x, np.float32(0))
        if "text" in records:
            batch["text"] = records["text"]
        if "writer" in records:
            batch["writer"] = records["writer"]
        if "style" in records:
            batch["style"] = records["style"]
        if "caption" in records:
            batch["caption"] = records["caption"]
        return batch

    def resized(self, example: Example) -> Example:
        """One example at the size of the states, cropped in the middle if at all."""
        if self.image_size is None:
            return example
        return resize(example, self.image_size, CROPS[self.crop].cuts, by=self.resize)

    def _resized(
        self, images: Examples | list[np.ndarray], positions: range, seed: int
    ) -> Examples:
        if self.image_size is None:
            return np.asarray(images)
        size = height_width(self.image_size)
        if getattr(images, "shape", ())[1:3] == size:
            return np.asarray(images)
        at = np.full(len(images), 0.5)
        crop = CROPS[self.crop]
        if crop.random:
            at = uniforms(seed, Purpose.CROP, positions, 1)[:, 0].astype(np.float64)
        each = zip(images, at, strict=True)
        return np.stack([resize(x, size, crop.cuts, u, self.resize) for x, u in each])


def height_width(size: int | tuple[int, ...]) -> tuple[int, int]:
    """(height, width); a number is the side of a square."""
    require(np.size(size) in (1, 2), "image_size", size, "one number or (height, width)")
    height, width = np.broadcast_to(size, 2).tolist()
    return height, width


def cut_size(of: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the largest part of an image that has the target's aspect."""
    (height, width), (to_height, to_width) = of, target
    if height * to_width <= width * to_height:
        return height, max(1, round(height * to_width / to_height))
    return max(1, round(width * to_height / to_width)), width


def resize(
    image: Example,
    size: int | tuple[int, ...],
    cut: bool = True,
    at: float = 0.5,
    by: str = "bicubic",
) -> Example:
    """An image of `size` from `image`, by a filter of Pillow's with antialiasing, see `Transform`.

    cut: take the largest part of the target's aspect, whose place along the longer side `at` in
    [0, 1) gives (0.5 is the centre); otherwise the whole image is squeezed.
    """
    target = height_width(size)
    if image.shape[:2] == target:
        return image
    if cut:
        height, width = cut_size(image.shape[:2], target)
        top, left = (
            int(at * (n - m + 1)) for n, m in zip(image.shape[:2], (height, width), strict=True)
        )
        image = image[top : top + height, left : left + width]
    planes = [
        np.asarray(Image.fromarray(plane).resize(target[::-1], FILTERS[by]))
        for plane in np.ascontiguousarray(np.moveaxis(image, -1, 0))
    ]
    return np.stack(planes, -1)
