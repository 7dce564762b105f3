import struct

import numpy as np
import pytest
from PIL import Image

from data.image_file import RefusedImage, decode
from data.transforms import resize
from options.errors import OutOfMemory

LEVELS = (np.arange(48) * 5).reshape(6, 8).astype(np.uint8)
COLOURS = np.stack([LEVELS, LEVELS[::-1], 255 - LEVELS], -1)


def saved(tmp_path, image, name="image.png", **options):
    path = tmp_path / name
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)
    return path


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def refusal(path):
    with pytest.raises(RefusedImage) as caught:
        decode(path)
    return str(caught.value)


def test_a_large_jpeg_is_decoded_at_a_reduced_size(tmp_path):
    ramp = np.linspace(0, 255, 400).astype(np.uint8)
    image = np.stack([np.tile(ramp, (300, 1)), np.tile(ramp[:300, None], (1, 400))], -1)
    image = np.concatenate([image, image[..., :1]], -1)
    path = saved(tmp_path, image, "image.jpg")
    for size, shape in (((40, 40), (150, 200)), ((20, 20), (75, 100)), ((100, 200), (300, 400))):
        decoded = decode(path, size=size).pixels
        assert decoded.shape == (*shape, 3)
        small, whole = resize(decoded, 16, cut=False), resize(image, 16, cut=False)
        assert np.abs(small.astype(int) - whole).max() <= 4
    upright = decode(saved(tmp_path, image, "turned.jpg", exif=turned(6)), size=(20, 20)).pixels
    assert upright.shape == (100, 75, 3)
    png = saved(tmp_path, image)
    assert np.array_equal(decode(png, size=(4, 4)).pixels, image)


def test_rgb_and_grey_are_read_as_they_are(tmp_path):
    rgb, grey = saved(tmp_path, COLOURS), saved(tmp_path, LEVELS, "grey.png")
    assert np.array_equal(decode(rgb).pixels, COLOURS)
    assert np.array_equal(decode(grey, channels=1).pixels, LEVELS[..., None])
    assert np.array_equal(decode(grey, channels=3).pixels, np.repeat(LEVELS[..., None], 3, -1))
    assert decode(rgb).conversions == decode(grey).conversions == ()


def test_colours_become_luma(tmp_path):
    luma = COLOURS @ np.array([0.299, 0.587, 0.114])
    pixels = decode(saved(tmp_path, COLOURS), channels=1).pixels[..., 0]
    assert np.abs(pixels - luma).max() < 1


def test_a_palette_becomes_its_colours(tmp_path):
    image = Image.fromarray(COLOURS).quantize(48)
    decoded = decode(saved(tmp_path, image))
    assert np.array_equal(decoded.pixels, np.asarray(image.convert("RGB")))
    assert decoded.conversions == ("palette to RGB",)


def test_black_and_white_becomes_0_and_255(tmp_path):
    decoded = decode(saved(tmp_path, Image.fromarray(LEVELS > 100)), channels=1)
    assert np.array_equal(decoded.pixels[..., 0], 255 * (LEVELS > 100))
    assert decoded.conversions == ("black and white to RGB",)


def test_transparency_shows_white(tmp_path):
    alpha = np.where(LEVELS > 100, 255, 0).astype(np.uint8)
    decoded = decode(saved(tmp_path, np.dstack([COLOURS, alpha])))
    assert np.array_equal(decoded.pixels, np.where(alpha[..., None] > 0, COLOURS, 255))
    assert decoded.conversions == ("laid over white",)
    half = decode(saved(tmp_path, np.dstack([LEVELS, np.full_like(LEVELS, 128)]))).pixels[..., 0]
    assert np.abs(half - (LEVELS * 128.0 + 255 * 127) / 255).max() <= 1


def test_a_transparent_colour_shows_white(tmp_path):
    path = saved(tmp_path, LEVELS, transparency=0)
    assert decode(path).pixels[0, 0].tolist() == [255, 255, 255]
    assert decode(path).pixels[0, 1].tolist() == [5, 5, 5]


@pytest.mark.parametrize("name", ["image.png", "image.tif"])
def test_sixteen_bits_are_rounded_to_eight(tmp_path, name):
    levels = np.array([[0, 128, 129, 32768, 65535]], np.uint16)
    decoded = decode(saved(tmp_path, levels, name), channels=1)
    assert decoded.pixels[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert decoded.conversions == ("16-bit grey",)


@pytest.mark.parametrize("kind", ["grey", "alpha"])
def test_high_images_are_what_low_ones_are(kind, tmp_path):
    """Of more rows than are worked on at a time."""
    rng = np.random.default_rng(0)
    high = {
        "grey": rng.integers(0, 2**16, (600, 5), np.uint16),
        "alpha": rng.integers(0, 256, (600, 5, 4), np.uint8),
    }[kind]
    whole = decode(saved(tmp_path, high)).pixels
    parts = [decode(saved(tmp_path, high[i : i + 100])).pixels for i in range(0, 600, 100)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_memory_that_runs_out_names_the_file(tmp_path, monkeypatch):
    def exhausted(*_):
        raise MemoryError

    path = saved(tmp_path, COLOURS)
    monkeypatch.setattr("data.image_file._eight_bit", exhausted)
    with pytest.raises(OutOfMemory, match="image.png: the memory ran out"):
        decode(path)


def test_cmyk_becomes_rgb(tmp_path):
    image = Image.new("CMYK", (4, 4), (255, 0, 0, 0))  # cyan
    decoded = decode(saved(tmp_path, image, "image.tif"))
    assert np.abs(decoded.pixels.astype(int) - [0, 255, 255]).max() <= 1
    assert decoded.conversions == ("CMYK to RGB",)


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, -1), (8, 1)])
def test_exif_orientation_is_undone(tmp_path, orientation, turns):
    decoded = decode(saved(tmp_path, COLOURS, exif=turned(orientation)))
    assert np.array_equal(decoded.pixels, np.rot90(COLOURS, turns))
    assert decoded.conversions == ("turned upright",)


@pytest.mark.parametrize("name", ["image.gif", "image.webp", "image.tif", "image.png"])
def test_of_several_frames_the_first_is_read(tmp_path, name):
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **options)
    decoded = decode(path)
    assert decoded.pixels[0, 0].tolist() == [255, 0, 0]
    assert "first of several frames" in decoded.conversions


@pytest.mark.parametrize("name", ["image.png", "image.jpg", "image.webp", "image.tif", "image.gif"])
def test_a_truncated_file_is_refused(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = saved(tmp_path, noise, name)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert refusal(path)


def test_what_is_not_an_image_is_refused(tmp_path):
    text, empty = tmp_path / "notes.png", tmp_path / "empty.jpg"
    text.write_text("a caption")
    empty.touch()
    assert refusal(text) == "not an image"
    assert refusal(empty) == "empty file"
    assert refusal(tmp_path / "absent.png")


def test_a_damaged_header_is_refused(tmp_path):
    path = saved(tmp_path, COLOURS)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 100_000, 100_000)  # the size, of which the checksum knows
    path.write_bytes(content)
    assert refusal(path)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pixels_of_unknown_range_are_refused(tmp_path, dtype):
    assert "32-bit pixels" in refusal(saved(tmp_path, LEVELS.astype(dtype), "image.tif"))


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.uint16])
def test_numbers_are_read_exactly(tmp_path, dtype):
    values = (LEVELS * 100.25 + (0 if dtype is np.uint16 else -9000)).astype(dtype)
    path = saved(tmp_path, values, "image.tif")
    for channels in (1, 3):
        pixels = decode(path, channels, numbers=True).pixels
        assert pixels.shape == (6, 8, channels) and pixels.dtype == np.float32
        assert all(np.array_equal(pixels[..., k], values) for k in range(channels))
    rgb = decode(saved(tmp_path, COLOURS), numbers=True).pixels
    assert rgb.dtype == np.float32 and np.array_equal(rgb, COLOURS)


def test_what_float32_does_not_hold_is_refused(tmp_path):
    for values, why in (
        (np.int32([[2**24 + 2]]), "above 2"),
        (np.float32([[np.nan]]), "not finite"),
    ):
        path = saved(tmp_path, values, "image.tif")
        with pytest.raises(RefusedImage, match=why):
            decode(path, numbers=True)


def test_grey_files_are_known(tmp_path):
    for mode, grey in (("L", True), ("1", True), ("LA", True), ("RGB", False), ("P", False)):
        assert decode(saved(tmp_path, Image.new(mode, (3, 2)))).grey == grey
    wide = decode(saved(tmp_path, np.full((2, 2), 5000, np.uint16)))
    assert wide.grey and wide.largest == 5000
