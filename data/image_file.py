"""Reading one image file, whatever it holds, as 8-bit grey or RGB.

| file                                       | what becomes of it                               |
|--------------------------------------------|--------------------------------------------------|
| 8-bit grey, RGB                            | as it is                                         |
| black and white, YCbCr, Lab, HSV           | converted to RGB                                 |
| palette                                    | its colours                                      |
| transparency (RGBA, grey + alpha, a key)   | laid over white                                  |
| 16-bit grey                                | round(k / 257); 16-bit RGB is cut to 8 bits      |
| CMYK                                       | converted to RGB, colour profiles left aside     |
| EXIF orientation                           | turned upright                                   |
| several frames (animation, pages)          | the first                                        |
| 32-bit integers, floats                    | refused: their range is not known                |
| truncated, damaged, empty, not an image    | refused                                          |
| more than 178 million pixels               | refused, as Pillow does                          |

Then grey is repeated where three channels are asked for, and colours become ITU-R 601 luma where
one is. The kind of a file is told by its content, not by its name.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

# Left out are formats without a signature, which take any file for theirs, and those that Pillow
# hands to another program (EPS). JPEG includes phones' MPO.
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM", "ICO", "JPEG2000")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
UNKNOWN_RANGE = ("I", "F")


class RefusedImage(ValueError):
    """A file that this project does not read; the message says why, without the file's name."""


@dataclass(frozen=True)
class Decoded:
    """pixels, and the conversions that the table above made of the file."""

    pixels: UInt8[np.ndarray, "height width channels"]
    conversions: tuple[str, ...]


def decode(path: Path, channels: int = 3) -> Decoded:
    """The first frame of an image file, upright, with 1 or 3 `channels`; else RefusedImage."""
    try:
        with Image.open(path, formats=FORMATS) as file:
            several = getattr(file, "is_animated", False)
            rotated = file.getexif().get(0x0112, 1) != 1
            image, conversions = _eight_bit(ImageOps.exif_transpose(file))
    except RefusedImage:
        raise
    except Exception as error:  # Pillow's decoders share no base class for damaged files
        raise RefusedImage(_reason(path, error)) from error
    conversions += ("first of several frames",) if several else ()
    conversions += ("turned upright",) if rotated else ()
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return Decoded(pixels.reshape(image.height, image.width, channels), conversions)


def _eight_bit(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """An image of mode L or RGB, and what was done."""
    if image.mode in UNKNOWN_RANGE:
        raise RefusedImage(f"32-bit pixels (mode {image.mode}), whose range is not known")
    if image.mode in SIXTEEN_BIT:
        levels = np.rint(np.asarray(image, np.float64) / 257).astype(np.uint8)
        return Image.fromarray(levels), ("16-bit grey",)
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, colours).convert("RGB"), ("laid over white",)
    if image.mode in ("L", "RGB"):
        image.load()
        return image, ()
    kind = {"P": "palette", "1": "black and white"}.get(image.mode, image.mode)
    return image.convert("RGB"), (f"{kind} to RGB",)


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "empty file" if path.stat().st_size == 0 else "not an image"
    text = str(error).removesuffix(f": {str(path)!r}")
    return text or type(error).__name__
