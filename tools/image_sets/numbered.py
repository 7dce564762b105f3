"""CelebA-HQ and FFHQ, whose files are numbered through."""

import dataclasses
import functools
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.image_file import RefusedImage
from options.errors import InvalidValue, Words
from tools.image_sets.files import Item, Listing, Pixels, Published, files_of, wrong


@dataclasses.dataclass(frozen=True)
class Numbered(Published):
    """A set whose files are numbered through.

    Attributes:
      size: see `Published`.
    """

    size: int = 256
    pattern = r"(\d+)\.(?:png|jpg)"
    count = 0  # of the numbers
    expected = ""

    def split(self, number: int, last: int) -> str:
        """Of an image, where the last number is known."""
        return ""

    def first(self, numbers: Sequence[int]) -> int:
        """The number that the set begins with."""
        return 0

    def listing(self, source: Path) -> Listing:
        files = files_of(source)
        found: dict[int, str] = {}
        for name, match in files.matching(self.pattern):
            other = found.setdefault(int(match[1]), name)
            if other != name:
                got = Words(f"{source} with two images of one number, {other} and {name}")
                raise InvalidValue("source", got, "the folder of one size")
        if not found:
            raise wrong(source, files.names, self.expected)
        numbers = sorted(found)
        first = self.first(numbers)
        missing = [str(n) for n in range(first, first + self.count) if n not in found]
        items = [
            Item(self.split(n, numbers[-1]), "", f"{n:05}", functools.partial(files.read, found[n]))
            for n in numbers
        ]
        return Listing(items, len(items), missing)


@dataclasses.dataclass(frozen=True)
class CelebAHQ(Numbered):
    """CelebA-HQ, 1024 x 1024 (Karras et al. 2018): 30,000 images, of which there are no splits.

    imgHQ00000.npy, uint8 (1, 3, 1024, 1024), as its own program writes them; 0.jpg, 1.jpg, ... of
    CelebAMask-HQ; or 00001.jpg, ... of data1024x1024; in folders or a zip.
    """

    pattern = r"(?:imgHQ)?(\d+)\.(?:png|jpg|npy)"
    count = 30_000
    expected = "images 0.jpg, 00001.jpg or imgHQ00000.npy of CelebA-HQ, in a folder or a zip"

    def first(self, numbers: Sequence[int]) -> int:
        return min(1, numbers[0])

    def pixels(self, content: bytes) -> Pixels:
        if not content.startswith(b"\x93NUMPY"):
            return super().pixels(content)
        try:
            array = np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise RefusedImage(str(error)) from error
        array = array[0] if array.ndim == 4 else array
        if array.ndim != 3 or array.dtype != np.uint8 or 3 not in (len(array), array.shape[-1]):
            raise RefusedImage(f"an array {array.dtype} {array.shape}")
        return array if array.shape[-1] == 3 else array.transpose(1, 2, 0)


@dataclasses.dataclass(frozen=True)
class FFHQ(Numbered):
    """FFHQ, 1024 x 1024, or its thumbnails (Karras et al. 2019): 70,000 images in folders of 1,000,
    or a zip of these.

    The first 60,000 are for training, as the publication says, the rest for tests.
    """

    pattern = r"(\d{5})\.(?:png|jpg)"
    count = 70_000
    training = 60_000
    expected = "images 00000/00000.png, ... of FFHQ, in folders of 1000 or a zip"

    def split(self, number: int, last: int) -> str:
        if last < self.training:  # a part of it, of which nothing is for tests
            return ""
        return "train" if number < self.training else "test"
