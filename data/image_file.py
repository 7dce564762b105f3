"""Reading one image file, whatever it holds, as 8-bit grey or RGB, or as exact numbers.

| file                                       | as 8-bit pixels                  | as numbers    |
|--------------------------------------------|----------------------------------|---------------|
| 8-bit grey, RGB                            | as it is                         | as it is      |
| black and white, YCbCr, Lab, HSV           | converted to RGB                 | the same      |
| palette                                    | its colours                      | the same      |
| transparency (RGBA, grey + alpha, a key)   | laid over white                  | the same      |
| 16-bit grey                                | round(k / 257)                   | as it is      |
| 16-bit RGB                                 | cut to 8 bits                    | refused       |
| 32-bit integers, floats                    | refused: their range is unknown  | as it is      |
| CMYK                                       | converted to RGB without profile | the same      |
| EXIF orientation                           | turned upright                   | the same      |
| several frames (animation, pages)          | the first                        | the same      |
| JPEG of over twice the size wanted         | decoded at a reduced size        | the same      |
| truncated, damaged, empty, not an image    | refused                          | refused       |
| more than 178 million pixels               | refused, as Pillow does          | refused       |

Then grey is repeated where three channels are asked for, and colours become ITU-R 601 luma where
one is. The kind of a file is determined by its content, not by its name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps

from options.choices import did_you_mean_path
from options.errors import InvalidValue, OutOfMemory

# Left out are formats without a signature, which take any file for theirs, and those that Pillow
# hands to another program (EPS). JPEG includes phones' MPO.
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM", "ICO", "JPEG2000")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
THIRTY_TWO_BIT = ("I", "F")
GREY = ("1", "L", "LA", "La", *SIXTEEN_BIT, *THIRTY_TWO_BIT)
BLOCK = 256  # rows that are brought to 8-bit pixels at a time
EXACT = 2**24  # whole numbers up to here are float32 numbers


OVERSAMPLING = 2  # of an image that is decoded at a reduced size
Size = tuple[int, int] | None


class RefusedImage(ValueError):
    """A file that this project does not read; the message says why, without the file's name."""


@dataclass(frozen=True)
class Decoded:
    """What was read of a file.

    Attributes:
      pixels: the image.
      conversions: those of the table above that were made.
      grey: whether the file has no colours.
      largest: of 16-bit values that were brought to 8 bits, of colours without their lower bits;
        else None.
    """

    pixels: (
        UInt8[np.ndarray, "height width channels"] | Float32[np.ndarray, "height width channels"]
    )
    conversions: tuple[str, ...]
    grey: bool = False
    largest: int | None = None


def decode(
    path: Path | BufferedIOBase, channels: int = 3, numbers: bool = False, size: Size = None
) -> Decoded:
    """The first frame of an image file, upright, with 1 or 3 `channels`; else RefusedImage.

    path: or the file itself, open at its beginning.

    numbers: the file's own values as float32, in place of 8-bit pixels.
    size: (height, width) that the image will be resized to: a JPEG is decoded at 1/2, 1/4 or 1/8 of
      its size, where that is still at least twice as high and wide. Some times as fast.
    """
    try:
        with Image.open(path, formats=FORMATS) as file:  # type: ignore[arg-type]
            several = getattr(file, "is_animated", False)
            # Before the EXIF data, for which a PNG is read to its end.
            deep = any(";16" in str(tile) for tile in file.tile) and file.mode not in SIXTEEN_BIT
            rotated = file.getexif().get(0x0112, 1) != 1
            if numbers and deep and file.mode not in THIRTY_TWO_BIT:
                raise RefusedImage("16-bit colours or alpha, of which 8 bits would be read")
            if size is not None:
                side = OVERSAMPLING * max(size)  # either way up
                file.draft(None, (side, side))
            ImageOps.exif_transpose(file, in_place=True)
            grey = file.mode in GREY
            read = _numbers if numbers else _eight_bit
            decoded = read(file, channels)
            if deep and not numbers:
                decoded = replace(decoded, largest=257 * _brightest(file))
    except RefusedImage:
        raise
    except MemoryError as error:
        but = "the memory ran out while it was read"
        raise OutOfMemory(str(path), but=but) from error
    except Exception as error:  # Pillow's decoders share no base class for damaged files
        raise RefusedImage(_reason(path, error)) from error
    conversions = decoded.conversions
    conversions += ("first of several frames",) if several else ()
    conversions += ("turned upright",) if rotated else ()
    return replace(decoded, conversions=conversions, grey=grey)


def read_pixels(
    path: str | Path, channels: int, field: str
) -> UInt8[np.ndarray, "height width channels"]:
    """The 8-bit pixels of one image that a user names; InvalidValue of `field` for no image."""
    file = Path(path).expanduser()
    if not file.is_file():
        expected = f"an image file{did_you_mean_path(file)}"
        raise InvalidValue(field, str(path), expected, but="there is none")
    try:
        return decode(file, channels).pixels
    except (RefusedImage, OSError) as error:
        raise InvalidValue(field, str(path), but=str(error)) from None


def is_grey(path: Path) -> bool:
    """Whether a file has no colours, by its header; true of what is no image."""
    if not path.is_file():  # a pipe would be waited for
        return True
    try:
        with Image.open(path, formats=FORMATS) as file:
            return file.mode in GREY
    except Exception:  # Pillow's decoders share no base class for damaged files
        return True


def _eight_bit(image: Image.Image, channels: int) -> Decoded:
    conversions: tuple[str, ...] = ("16-bit grey",)
    if image.mode in THIRTY_TWO_BIT:
        raise RefusedImage(f"32-bit pixels (mode {image.mode}), whose range is not known")
    if image.mode in SIXTEEN_BIT:
        levels = np.asarray(image)
        largest = int(levels.max())
        eight = np.empty((*levels.shape, channels), np.uint8)
        for rows in _blocks(image.height):
            eight[rows] = ((levels[rows].astype(np.uint32) + 128) // 257)[..., None]
        return Decoded(eight, conversions, largest=largest)
    image, conversions = _plain(image)
    mode = "L" if channels == 1 else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return Decoded(pixels.reshape(image.height, image.width, channels), conversions)


def _blocks(height: int) -> Iterator[slice]:
    """Some rows at a time, since whole files of many bytes a pixel can be large."""
    for top in range(0, height, BLOCK):
        yield slice(top, min(top + BLOCK, height))


def _brightest(image: Image.Image) -> int:
    """The largest 8-bit value of an image, but of its alpha."""
    extrema = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    colours = [band for band, name in zip(bands, image.getbands(), strict=True) if name != "A"]
    return max(int(high) for _, high in colours)


def _numbers(image: Image.Image, channels: int) -> Decoded:
    if image.mode not in (*SIXTEEN_BIT, *THIRTY_TWO_BIT):
        decoded = _eight_bit(image, channels)
        return Decoded(decoded.pixels.astype(np.float32), decoded.conversions)
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise RefusedImage("values that are not finite")
    if values.dtype.kind in "iu" and max(abs(int(values.min())), int(values.max())) > EXACT:
        raise RefusedImage("whole numbers above 2^24, which float32 does not hold")
    return Decoded(np.repeat(values.astype(np.float32)[..., None], channels, -1), ())


def _plain(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """An 8-bit image of mode L or RGB, and what was done."""
    if image.has_transparency_data:
        laid = Image.new("RGB", image.size)
        for rows in _blocks(image.height):
            box = (0, rows.start, image.width, rows.stop)
            colours = image.crop(box).convert("RGBA")
            white = Image.new("RGBA", colours.size, "white")
            laid.paste(Image.alpha_composite(white, colours).convert("RGB"), box)
        return laid, ("laid over white",)
    if image.mode in ("L", "RGB"):
        image.load()
        return image, ()
    kind = {"P": "palette", "1": "black and white"}.get(image.mode, image.mode)
    return image.convert("RGB"), (f"{kind} to RGB",)


def _reason(path: Path | BufferedIOBase, error: Exception) -> str:
    if type(error) is Image.UnidentifiedImageError:
        return "not an image" if _is_there(path) else "empty file"
    text = str(error).removesuffix(f": {str(path)!r}")
    return text or type(error).__name__


def _is_there(path: Path | BufferedIOBase) -> bool:
    """Whether a file has any content."""
    seek = getattr(path, "seek", None)
    return seek(0, 2) > 0 if seek else path.stat().st_size > 0  # type: ignore[union-attr]
