import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from data.strokes import Strokes
from handwriting import style
from handwriting.line_features import activations, features_of_lines
from handwriting.render import STYLE, padded
from handwriting.writer_recognition import nearest, recognised
from options.errors import InvalidValue

LINES = Strokes(length=136).read("test")  # short ones
FEW = Strokes(length=64).read("test")


@pytest.fixture(scope="module")
def found():
    return activations(LINES, style.load(), np.arange(len(LINES)))


def test_parts_are_means_over_equal_lengths_of_the_ink():
    x = jnp.arange(12.0)[None, :, None]
    assert style.pooled(x, jnp.array([12.0]), 4)[0, :, 0] == pytest.approx([1, 4, 7, 10])
    # Thirds of 2.25 columns are 0.75 long: the second one has a quarter of 0 and half of 1.
    got = style.pooled(x, jnp.array([2.25]), 3)[0, :, 0]
    assert got == pytest.approx([0, (0.25 * 0 + 0.5 * 1) / 0.75, (0.5 * 1 + 0.25 * 2) / 0.75])
    assert style.pooled(x, jnp.array([1.0]), 14)[0, :, 0] == pytest.approx(0)


def test_the_ink_ends_where_the_last_dark_pixel_is():
    x = np.zeros((3, 96, 32))
    x[0, 5, 20] = 0.5
    x[1, 5, 20], x[1, 5, 30] = 0.5, 0.05
    assert style.ink_widths(jnp.asarray(x)).tolist() == [21, 21, 1]


def test_features_do_not_depend_on_padding_or_on_other_lines():
    extractor = style.load()
    images = [STYLE(LINES.line(i).offsets) for i in range(3)]
    together = extractor(images)
    assert together.shape == (3, *extractor.shape) == (3, 14, 128)
    wider = extractor(padded(images, 1400))
    assert wider == pytest.approx(together, abs=1e-3)
    assert extractor(images[1:2]) == pytest.approx(together[1:2], abs=1e-3)
    assert extractor(images[::-1]) == pytest.approx(together[::-1], abs=1e-3)


def test_a_shape_is_of_whole_tokens():
    parts, channels = style.load().shape
    assert parts * channels % 256 == 0
    assert style.WEIGHTS.stat().st_size < 1.5e6


def test_features_have_mean_zero_and_unit_variance(found):
    assert np.abs(found.features.mean(axis=(0, 1))).max() < 0.5
    std = found.features.std(axis=(0, 1))
    assert 0.6 < std.min() and std.max() < 1.5


def test_writers_are_told_apart_by_other_texts(found):
    known = np.unique(Strokes().read("train").writers)
    assert recognised(found.logits, known, LINES.writers) > 0.4  # chance: 1 in 78


def test_writers_never_seen_are_told_apart():
    lines = Strokes(length=136).read("new_writers")
    features = style.load()([STYLE(lines.line(i).offsets) for i in range(len(lines))])
    assert nearest(features, lines.writers) > 0.6  # chance: 1 in 8


def test_sets_are_compared_by_the_mean_over_the_line(found):
    images = padded([STYLE(LINES.line(i).offsets) for i in range(2)], 1408)
    vectors = style.load().of_sets()(images[..., None])
    assert vectors == pytest.approx(found.features[:2].mean(axis=1), abs=1e-3)


def test_features_are_kept_whole_or_not_at_all(tmp_path, monkeypatch):
    first = np.array(features_of_lines(FEW, folder=tmp_path))
    wanted = style.load()([STYLE(FEW.line(i).offsets) for i in range(len(FEW))])
    assert first.dtype == np.float16 and np.abs(first - wanted).max() < 0.02
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr("handwriting.line_features.activations", lambda *_: pytest.fail("again"))
    assert (features_of_lines(FEW, folder=tmp_path) == first).all()
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:1000])
    assert (features_of_lines(FEW, folder=tmp_path) == first).all()


def test_files_are_by_lines_and_by_weights(tmp_path, monkeypatch):
    extractor = style.load()
    features_of_lines(FEW, folder=tmp_path)
    other = dataclasses.replace(extractor, version="other")
    features_of_lines(FEW, other, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_images_of_another_height_and_weights_of_another_network_are_refused(tmp_path):
    with pytest.raises(InvalidValue, match=r"images: got images of heights \[64\], expected 96"):
        style.load()(np.zeros((1, 64, 300), np.uint8))
    with pytest.raises(InvalidValue, match="images: got images of heights"):
        style.load()([])
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, a=np.zeros(3))
    with pytest.raises(InvalidValue, match="weights: got .*wrong.npz with other parameters"):
        style.load(wrong)
