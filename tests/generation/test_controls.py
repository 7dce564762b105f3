"""Controlled generation of images, end to end on data whose law is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs.saved import get_config
from controllable.classifier_free import classifier_free
from data.space import CENTERED, UNIT
from experiment import builders
from generation.controls import (
    OPERATORS,
    TASKS,
    ControlOptions,
    Model,
    colourfulness,
    control,
    psnr,
)
from metrics.feature_distance import FeatureDistance
from metrics.features import Activations, FeatureExtractor
from oracles import Gaussian
from parameterization import Prediction
from sampling import log_snr_grid
from sde_lib import VPSDE
from solvers import DDIM, AdaptiveODE, DPMSolverPP, PredictorCorrector
from solvers.predictor_corrector import Ancestral, NoCorrector

PROCESS = VPSDE()
KEY = jax.random.key(0)
IMAGES = np.full((2, 8, 8, 3), 128, np.uint8)
IMAGES[:, ::2] = 90
NONE = np.array([-1, -1], np.int32)


def model(solver=DDIM(eta=1.0), **options):  # noqa: B008
    def make_grid(t_start):
        return log_snr_grid(PROCESS, 40, t_start=t_start, t_end=1e-3)

    return Model(PROCESS, solver, make_grid, CENTERED, **options)


def data(shape=(8, 8, 3), mean=0.0, std=0.2):
    return Gaussian(jnp.full(shape, mean), jnp.full(shape, std))


def two_classes(x, node, cond):
    """Dark and bright images by label, both by label 2."""
    found = [data(mean=m)(x, node) for m in (-0.4, 0.4, 0.0)]
    which = jax.nn.one_hot(cond["labels"], 3)
    pick = lambda leaves: jnp.einsum("bk,kbhwc->bhwc", which, jnp.stack(leaves))  # noqa: E731
    return Prediction(pick([f.x_0 for f in found]), pick([f.eps for f in found]), node)


@pytest.mark.parametrize(
    "solver",
    [PredictorCorrector(Ancestral(), NoCorrector()), DPMSolverPP(), AdaptiveODE(rtol=1e-3)],
    ids=["ancestral", "dpm", "ode"],
)
@pytest.mark.parametrize("task", [t for t in TASKS if t not in ("guide", "upscale")])
def test_every_task_runs_with_three_solvers(task, solver):
    options = ControlOptions(task, results=3, sigma_y=0.1, t=0.3)
    made = control(model(solver), data(), IMAGES, NONE, options, KEY)
    assert made.results.shape == (2, 3, 8, 8, 3)
    assert made.picture.shape == (2 * 10 + 2, 5 * 10 + 2, 3)
    figures = made.figures
    assert figures["evaluations"] > 5
    if task == "inpaint":
        assert figures["largest_error_known"] < 0.5 / 255
        assert figures["spread_hidden"] > 0.05  # 0.1 in units of [0, 1], by three results
    if task == "colorize":
        assert figures["largest_error_grey"] < 1e-4
        assert figures["colourfulness"] > figures["colourfulness_of_images"] + 0.05
    if task == "restore":
        assert figures["residual_std"] == pytest.approx(figures["noise_std"], rel=0.35)
    if task == "edit":
        assert 15 < figures["psnr_to_image"] < 60


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("method", ["pigdm", "dps"])
def test_restoration_meets_the_measurement(operator, method):
    """The residual of results is about the noise's; that of free samples (strength 0) is not."""
    predict = data(std=0.3)
    truth = CENTERED.to_uint8(predict.sample(jax.random.key(5), 2))

    def residual(method, strength):
        options = ControlOptions("restore", operator=operator, method=method, strength=strength)
        made = control(model(), predict, truth, NONE, options, KEY).figures
        return made["residual_std"] / made["noise_std"]

    assert residual(method, 30.0) < 1.4 < residual("dps", 0.0)


def test_guidance_draws_the_class_asked_for():
    options = ControlOptions("guide", results=4)
    guided = model(num_classes=2, null_label=2, guide=classifier_free(2.0, 2))
    made = control(guided, two_classes, IMAGES, np.array([0, 1], np.int32), options, KEY)
    dark, bright = made.results.reshape(2, -1).mean(1)
    assert dark < 90 and bright > 165
    assert made.picture.shape == (22, 5 * 10 + 2, 3)  # nothing is known of the image


def test_guidance_goes_with_every_task():
    """The known half is dark; of two classes of images, the bright one is asked for."""
    images = np.full((1, 8, 8, 3), 77, np.uint8)
    options = ControlOptions("inpaint", results=4, mask="half")
    guided = model(num_classes=2, null_label=2, guide=classifier_free(1.0, 2))
    made = control(guided, two_classes, images, np.array([1], np.int32), options, KEY).results
    assert abs(made[..., :4, :].mean() - 77) < 1 and made[..., 4:, :].mean() > 165


def test_unlikeness_is_of_the_hidden_part_alone():
    """Of a restored image all may differ, of an inpainted one what was hidden, here a quarter."""

    def pixels(images):
        return Activations(np.asarray(images, np.float32).reshape(len(images), -1), None)

    distance = FeatureDistance(FeatureExtractor("pixels", "1", 192, pixels))
    found = {}
    for task in ("inpaint", "edit", "guide"):
        options = ControlOptions(task, results=8, t=1.0)
        guided = model(distance=distance, guide=lambda predict: predict)
        grey = np.full((2, 8, 8, 3), 128, np.uint8)
        found[task] = control(guided, data(), grey, NONE, options, KEY).figures
    distances = {task: found[task]["feature_distance"] for task in ("inpaint", "edit")}
    assert distances["inpaint"] == pytest.approx(distances["edit"] / 4, rel=0.2)
    assert found["edit"]["feature_distance_of_images"] == pytest.approx(0.0, abs=1e-6)
    assert "feature_distance" not in found["guide"]


def test_figures_are_what_they_say():
    assert psnr(np.zeros(4), np.full(4, 0.1)) == pytest.approx(20.0)
    assert colourfulness(np.array([[0.2, 0.5, 0.8]])) == pytest.approx(0.3 * np.sqrt(2 / 3))


@pytest.mark.parametrize(
    "options, match",
    [
        ({"task": "paint"}, "task: got 'paint', expected one of"),
        ({"operator": "zoom"}, "operator: got 'zoom'"),
        ({"method": "ddrm"}, "method: got 'ddrm'"),
        ({"images": 0}, "images: got 0"),
        ({"results": 0}, "results: got 0"),
        ({"sigma_y": -0.1}, "sigma_y: got -0.1"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        ControlOptions(**options)


@pytest.mark.parametrize(
    "options, changes, labels, match",
    [
        ({"mask": "square"}, {}, NONE, "mask: got 'square', expected one of"),
        ({"task": "colorize"}, {"grey": True}, NONE, "task: 'colorize' needs 3 channels"),
        ({"task": "guide"}, {}, NONE, "needs a guidance.strategy"),
        ({"task": "edit", "t": 2.0}, {}, NONE, "t: got 2.0"),
        ({}, {"num_classes": 2}, NONE, "labels: the model was trained with a class"),
        ({}, {"num_classes": 2, "null_label": 2}, np.array([0, 5]), "labels: got 5"),
        ({}, {"num_classes": 2, "null_label": 2}, np.array([0, -2]), "labels: got -2"),
    ],
)
def test_bad_requests_are_refused_before_sampling(options, changes, labels, match):
    def never(x, node, cond):
        raise AssertionError("sampled")

    changes = dict(changes)
    images = IMAGES[..., :1] if changes.pop("grey", False) else IMAGES
    with pytest.raises(ValueError, match=match):
        control(model(**changes), never, images, labels, ControlOptions(**options), KEY)


# From a config.


@pytest.fixture
def config():
    return get_config("pretrained/digits.npz").lock()


def test_images_come_from_the_data_or_a_file(config, tmp_path):
    images, labels = builders.control_images(config)
    assert images.shape == (4, 28, 28, 1) and images.dtype == np.uint8
    assert np.all((labels >= 0) & (labels < 10))
    Image.fromarray(images[0, ..., 0]).save(tmp_path / "digit.png")
    config.control.image = str(tmp_path / "digit.png")
    again, none = builders.control_images(config)
    np.testing.assert_array_equal(again[0], images[0])
    assert none.tolist() == [-1]
    config.control.labels = "3"
    assert builders.control_images(config)[1].tolist() == [3]


def test_bad_pictures_are_refused(config, tmp_path):
    Image.fromarray(np.zeros((30, 28), np.uint8)).save(tmp_path / "tall.png")
    config.control.image = str(tmp_path / "tall.png")
    with pytest.raises(ValueError, match="is of 30 x 28 pixels, expected 28 x 28"):
        builders.control_images(config)
    (tmp_path / "text.png").write_text("no picture")
    config.control.image = str(tmp_path / "text.png")
    with pytest.raises(ValueError, match="control.image: "):
        builders.control_images(config)
    config.control.image = ""
    config.control.labels = "three"
    with pytest.raises(ValueError, match="control.labels: got 'three'"):
        builders.control_images(config)


def test_the_shipped_model_inpaints_with_resampling(config):
    config.control.repeats = 2
    shipped = builders.control_model(config)
    assert shipped.solver.repeats == 2 and shipped.null_label == 10
    assert shipped.value_range == CENTERED != UNIT
