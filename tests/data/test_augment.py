import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from data import CONDITIONING_DIM, Augment
from data.augment import _transform, affine
from data.randomness import Purpose, uniforms

X, Y, S, COS, SIN, A_COS, A_SIN, TAU_X, TAU_Y = range(CONDITIONING_DIM)


def smooth_image(height=33, width=33, channels=2, seed=0):
    noise = np.random.default_rng(seed).normal(size=(height, width, channels))
    image = gaussian_filter(noise, (3, 3, 0))
    return (255 * (image - image.min()) / np.ptp(image)).astype(np.float32)


def conditioning(**values):
    vector = np.zeros(CONDITIONING_DIM, np.float32)
    for name, value in values.items():
        vector[globals()[name]] = value
    return vector


def draws(count, seed=0):
    return uniforms(seed, Purpose.AUGMENT, range(count), Augment.draws)


def test_zeros_leave_the_image_untouched():
    image = smooth_image()
    assert np.array_equal(_transform(image, conditioning()), image)


def test_probability_zero_only_mirrors():
    images = np.stack([smooth_image(seed=i) for i in range(20)])
    out, vectors = Augment(0.0)(images, draws(20))
    assert not vectors[:, Y:].any() and set(vectors[:, X]) == {0.0, 1.0}
    for image, result, vector in zip(images, out, vectors, strict=True):
        assert np.array_equal(result, image[:, ::-1] if vector[X] else image)


def test_flips_and_right_angles_are_exact():
    image = smooth_image()
    assert np.array_equal(_transform(image, conditioning(X=1)), image[:, ::-1])
    assert np.array_equal(_transform(image, conditioning(Y=1)), image[::-1])
    # A quarter turn from right to down is clockwise on the screen.
    quarter = _transform(image, conditioning(COS=-1, SIN=1))
    assert np.abs(quarter - np.rot90(image, -1)).max() < 1e-2


def test_translation_moves_content_right_and_down_by_eighths():
    image = smooth_image(32, 48)
    out = _transform(image, conditioning(TAU_X=1, TAU_Y=-2))  # 6 pixels right, 8 up
    assert np.abs(out[:-8, 6:] - image[8:, :-6]).max() < 1e-2
    # What comes in is the mirror image: column 6 - k shows what is k from the edge.
    assert np.abs(out[:-8, 3] - image[8:, 3]).max() < 1e-2


def test_scale_magnifies_about_the_centre():
    image = smooth_image(65, 65)
    out = _transform(image, conditioning(S=5))  # twice as large
    assert np.abs(out[::2, ::2] - image[16:49, 16:49]).max() < 0.5


@pytest.mark.parametrize("phi", [0.0, 0.7, -2.0])
def test_anisotropy_stretches_along_and_shrinks_across(phi):
    matrix, _ = affine(conditioning(A_COS=5 * np.cos(2 * phi), A_SIN=5 * np.sin(2 * phi)))
    along, across = np.array([np.cos(phi), np.sin(phi)]), np.array([-np.sin(phi), np.cos(phi)])
    assert np.abs(matrix @ along - 2 * along).max() < 1e-5
    assert np.abs(matrix @ across - across / 2).max() < 1e-5


def test_negative_stretch_is_a_stretch_across():
    # Shrinking along x is stretching along y: the same numbers for the same map.
    matrix, _ = affine(conditioning(A_COS=-5.0))
    assert np.abs(matrix - np.diag([0.5, 2])).max() < 1e-5


def test_every_transformation_has_its_frequency_and_distribution():
    count, share = 20_000, 0.12
    vectors = Augment(share).conditioning(draws(count))
    error = 4 * np.sqrt(share / count)
    assert np.mean(vectors[:, X]) == pytest.approx(0.5, abs=0.015)
    assert np.mean(vectors[:, Y]) == pytest.approx(share / 2, abs=error)
    for column in (S, SIN, TAU_X, TAU_Y):
        assert np.mean(vectors[:, column] != 0) == pytest.approx(share, abs=error)
    stretched = np.hypot(vectors[:, A_COS], vectors[:, A_SIN])
    assert np.mean(stretched > 0) == pytest.approx(share, abs=error)
    upright = vectors[(stretched > 0) & (vectors[:, A_SIN] == 0)]
    assert len(upright) / np.sum(stretched > 0) == pytest.approx(0.5, abs=0.05)
    assert np.mean(upright[:, A_COS] > 0) == pytest.approx(0.5, abs=0.06)
    for column in (S, TAU_X, TAU_Y):
        normal = vectors[vectors[:, column] != 0, column]
        assert normal.mean() == pytest.approx(0, abs=0.1) and normal.std() == pytest.approx(
            1, abs=0.1
        )
    theta = np.arctan2(vectors[:, SIN], vectors[:, COS] + 1)[vectors[:, SIN] != 0]
    assert np.abs(np.histogram(theta, 4, (-np.pi, np.pi))[0] / len(theta) - 0.25).max() < 0.05


def test_grey_levels_stay_grey_levels():
    images = np.stack([smooth_image(seed=i) for i in range(10)])
    out, vectors = Augment(1.0)(images, draws(10))
    assert out.dtype == np.float32 and vectors.dtype == np.float32
    assert 0 <= out.min() and out.max() <= 255


def test_a_probability_is_one():
    with pytest.raises(ValueError, match="probability: got 1.5"):
        Augment(1.5)
