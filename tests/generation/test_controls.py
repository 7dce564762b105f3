"""Controlled generation of images, end to end on data whose distribution is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import sampling
from controllable import masks
from controllable.classifier_free import classifier_free
from data.space import CENTERED, UNIT
from experiment import kinds
from generation.control_tasks import (
    METHODS,
    OPERATORS,
    TASKS,
    Colorize,
    Edit,
    Guide,
    Inpaint,
    PosteriorSampling,
    PseudoInverse,
    Restore,
)
from generation.controls import Asked, Controls
from metrics.feature_distance import FeatureDistance
from metrics.features import Activations, FeatureExtractor
from metrics.pixels import colourfulness, psnr
from options import memory
from options.errors import InvalidValue
from oracles import Gaussian
from parameterization import Prediction, as_pytree
from sde_lib import VPSDE
from solvers import DDIM, AdaptiveODE, DPMSolverPP, PredictorCorrector
from solvers.grids import log_snr_grid
from solvers.predictor_corrector import Ancestral, NoCorrector
from solvers.sampler import Sampler
from tasks.conditions import ClassLabel, LowResolution

PROCESS = VPSDE()
KEY = jax.random.key(0)
CONDITIONS = (ClassLabel(2, 0.1),)
IMAGES = np.full((2, 8, 8, 3), 128, np.uint8)
IMAGES[:, ::2] = 90
NONE = np.array([-1, -1], np.int32)


def controls(solver=DDIM(eta=1.0), shape=(8, 8, 3), **options):  # noqa: B008
    def sampler_from(t_start):
        grid = log_snr_grid(PROCESS, 40, t_start=t_start, t_end=1e-3)
        return Sampler(PROCESS, solver, grid, shape, CENTERED)

    return Controls(sampler_from, **options)


def run(task, predict, images=IMAGES, labels=NONE, results=4, model=None):
    return (model or controls()).run(predict, Asked(task, images, labels, results), KEY)


def data(shape=(8, 8, 3), mean=0.0, std=0.2):
    return Gaussian(jnp.full(shape, mean), jnp.full(shape, std))


def two_classes(x, node, cond):
    """Dark and bright images by label, both by label 2."""
    found = [data(mean=m)(x, node) for m in (-0.4, 0.4, 0.0)]
    which = jax.nn.one_hot(cond["labels"], 3)
    pick = lambda leaves: jnp.einsum("bk,kbhwc->bhwc", which, jnp.stack(leaves))  # noqa: E731
    return Prediction(pick([f.x_0 for f in found]), pick([f.eps for f in found]), node)


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    "solver",
    [PredictorCorrector(Ancestral(), NoCorrector()), DPMSolverPP(), AdaptiveODE(rtol=1e-3)],
    ids=["ancestral", "dpm", "ode"],
)
@pytest.mark.parametrize("task", [t for t in TASKS if t not in ("guide", "upscale")])
def test_every_task_runs_with_three_solvers(task, solver):
    fields = {"restore": {"sigma_y": 0.1}, "edit": {"t": 0.3}}.get(task, {})
    made = run(TASKS[task](**fields), data(), results=3, model=controls(solver))
    assert made.results.shape == (2, 3, 8, 8, 3)
    known, *results = made.panel.titles[1:]
    assert known == ("noised, t = 0.3" if task == "edit" else "known")
    assert made.panel.titles[0] == "image" and results == ["result 1", "result 2", "result 3"]
    assert made.panel.images.shape == (2, 5, 8, 8, 3) and not made.panel.names
    np.testing.assert_array_equal(made.panel.images[:, 0], IMAGES)
    assert min(made.picture.shape[:2]) >= 512
    figures = made.metrics
    assert figures["evaluations"] > 5
    assert (made.panel.hidden is not None) == (task == "inpaint")
    if task == "inpaint":  # the middle of what is known is hatched, and of nothing else
        assert made.panel.hidden[:, 1].mean() == 0.25 and not made.panel.hidden[:, [0, 2]].any()
        assert figures["largest_error_known"] < 0.5 / 255
        assert figures["spread_hidden"] > 0.05  # 0.1 in units of [0, 1], by three results
    if task == "colorize":
        assert figures["largest_error_grey"] < 1e-4
        assert figures["colourfulness"] > figures["colourfulness_of_images"] + 0.05
    if task == "restore":
        assert figures["residual_std"] == pytest.approx(figures["noise_std"], rel=0.35)
    if task == "edit":
        assert 15 < figures["psnr_to_image"] < 60


@pytest.mark.one_in(3)
@pytest.mark.parametrize("task", TASKS)
def test_results_do_not_depend_on_the_batch(task):
    fields = {"edit": {"t": 0.3}}.get(task, {})
    low = (LowResolution(4),) if task == "upscale" else ()
    predict = as_pytree(two_classes)

    def draw(batch_size):
        model = controls(batch_size=batch_size, num_classes=2, conditions=(*CONDITIONS, *low))
        return run(TASKS[task](**fields), predict, labels=np.array([0, 1]), results=2, model=model)

    whole, parts = draw(None), draw(3)
    np.testing.assert_allclose(parts.results.astype(int), whole.results, atol=1)
    assert parts.metrics["evaluations"] == whole.metrics["evaluations"]
    assert (whole.results[:, 0] != whole.results[:, 1]).any()


def test_as_many_are_drawn_at_once_as_fit_with_what_controls_them(monkeypatch):
    lowered, drawn, lower, draw = [], [], Sampler.lower, Sampler.draw

    def needs(self, predict, count, cond, **options):
        lowered.append((count, sorted(options)))
        found = lower(self, predict, count, cond, **options)
        programs[count] = memory.footprint(found.compile())
        return found

    def noted(self, key, predict, count, **options):
        drawn.append(count)
        return draw(self, key, predict, count, **options)

    programs = {}
    monkeypatch.setattr(Sampler, "lower", needs)
    monkeypatch.setattr(Sampler, "draw", noted)
    before = sampling._run_chunk._cache_size()
    whole = run(Inpaint(), data(), results=10)
    assert lowered == [(20, ["constraint"])] and drawn == [20]
    assert sampling._run_chunk._cache_size() == before + 1  # what was lowered is what was run
    monkeypatch.setattr(memory, "device_memory", lambda: int(0.6 * programs[20]))
    parts = run(Inpaint(), data(), results=10)
    size = drawn[-1]
    assert 6 <= size <= 12 and drawn[1:] == [size] * -(-20 // size)
    np.testing.assert_allclose(parts.results.astype(int), whole.results, atol=1)


@pytest.mark.one_in(5)
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("method", METHODS)
def test_restoration_meets_the_measurement(operator, method):
    """The residual of results is about the noise's; that of free samples (strength 0) is not."""
    predict = data(std=0.3)
    truth = CENTERED.to_uint8(predict.sample(jax.random.key(5), 2))

    def residual(method):
        made = run(Restore(OPERATORS[operator](), method), predict, truth).metrics
        return made["residual_std"] / made["noise_std"]

    strong = {"pigdm": PseudoInverse(), "dps": PosteriorSampling(30.0)}[method]
    assert residual(strong) < 1.4 < residual(PosteriorSampling(0.0))


def test_guidance_draws_the_class_asked_for():
    model = controls(num_classes=2, conditions=CONDITIONS, class_names=("dark", "bright"))
    guided = classifier_free(2.0, CONDITIONS)(as_pytree(two_classes))
    made = run(Guide(), guided, labels=np.array([0, 1], np.int32), model=model)
    dark, bright = made.results.reshape(2, -1).mean(1)
    assert dark < 90 and bright > 165
    # Nothing is known of an image, and none is shown.
    assert made.panel.titles == [f"result {i}" for i in (1, 2, 3, 4)]
    assert made.panel.names == ["dark", "bright"]


def test_guidance_goes_with_every_task():
    """The known half is dark; of two classes of images, the bright one is asked for."""
    images = np.full((1, 8, 8, 3), 77, np.uint8)
    model = controls(num_classes=2, conditions=CONDITIONS)
    guided = classifier_free(1.0, CONDITIONS)(as_pytree(two_classes))
    made = run(Inpaint(masks.Half()), guided, images, np.array([1], np.int32), model=model).results
    assert abs(made[..., :4, :].mean() - 77) < 1 and made[..., 4:, :].mean() > 165


def test_unlikeness_is_of_the_hidden_part_alone():
    """Of a restored image all may differ, of an inpainted one what was hidden, here a quarter."""

    def pixels(images):
        return Activations(np.asarray(images, np.float32).reshape(len(images), -1), None)

    distance = FeatureDistance(FeatureExtractor("pixels", "1", 192, pixels))
    found = {}
    for name, task in {"inpaint": Inpaint(), "edit": Edit(t=1.0), "guide": Guide()}.items():
        grey = np.full((2, 8, 8, 3), 128, np.uint8)
        model = controls(distance=distance)
        found[name] = run(task, data(), grey, results=8, model=model).metrics
    distances = {task: found[task]["feature_distance"] for task in ("inpaint", "edit")}
    assert distances["inpaint"] == pytest.approx(distances["edit"] / 4, rel=0.2)
    assert found["edit"]["feature_distance_of_images"] == pytest.approx(0.0, abs=1e-6)
    assert "feature_distance" not in found["guide"]


def test_figures_are_what_they_say():
    assert psnr(np.zeros(4), np.full(4, 0.1)) == pytest.approx(20.0)
    assert colourfulness(np.array([[0.2, 0.5, 0.8]])) == pytest.approx(0.3 * np.sqrt(2 / 3))


@pytest.mark.parametrize(
    ("task", "fields", "match"),
    [
        (PosteriorSampling, {"strength": -1.0}, "strength: got -1.0"),
        (Restore, {"sigma_y": -0.1}, "sigma_y: got -0.1"),
    ],
)
def test_bad_options_are_refused(task, fields, match):
    with pytest.raises(InvalidValue, match=match):
        task(**fields)


DROPPED = {"num_classes": 2, "conditions": CONDITIONS}


@pytest.mark.parametrize(
    ("task", "model", "labels", "match"),
    [
        (Colorize(), {"shape": (8, 8, 1)}, NONE, "'colorize' needs 3 channels"),
        (TASKS["upscale"](), {}, NONE, "'upscale' needs the weights of an upsampler"),
        (Edit(t=2.0), {}, NONE, "t: got 2.0"),
        (Inpaint(), {"num_classes": 2}, NONE, "labels: got -1, but the model was trained with a"),
        (Inpaint(), DROPPED, np.array([0, 5]), "labels: got 5"),
        (Inpaint(), DROPPED, np.array([0, -2]), "labels: got -2"),
    ],
)
def test_bad_requests_are_refused_before_sampling(task, model, labels, match):
    def never(x, node, cond):
        raise AssertionError("sampled")

    images = IMAGES[..., : model.get("shape", (8, 8, 3))[-1]]
    with pytest.raises(InvalidValue, match=match):
        run(task, never, images, labels, model=controls(**model))


# From a config.


def digits(**overrides):
    named = {name.replace("__", "."): value for name, value in overrides.items()}
    return kinds.open_experiment("pretrained/digits.npz", named)


def test_images_come_from_the_data_or_a_file(tmp_path):
    images, labels = digits().control_images()
    assert images.shape == (4, 28, 28, 1) and images.dtype == np.uint8
    assert np.all((labels >= 0) & (labels < 10))
    path = str(tmp_path / "digit.png")
    Image.fromarray(images[0, ..., 0]).save(path)
    again, none = digits(control__image=path).control_images()
    np.testing.assert_array_equal(again[0], images[0])
    assert none.tolist() == [-1]
    assert digits(control__image=path, control__labels="3").control_images()[1].tolist() == [3]


def test_an_image_of_another_size_is_cropped_and_resized_as_data_are(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 45, 3), np.uint8)
    path = tmp_path / "tall.png"
    Image.fromarray(pixels).save(path)
    images, _ = digits(control__image=str(path)).control_images()
    assert "60 x 45 is cropped to 45 x 45 and resized to 28 x 28\n" in capsys.readouterr().out
    middle = Image.fromarray(pixels[8:53]).convert("L").resize((28, 28), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(images[0, ..., 0], np.asarray(middle), atol=2)


def test_an_upsampler_takes_images_of_its_low_size_as_they_are(tmp_path, capsys):
    sizes = {}
    for side in (8, 16, 20):
        path = tmp_path / f"{side}.png"
        Image.fromarray(np.full((side, side, 3), 9, np.uint8)).save(path)
        made = kinds.open_experiment("configs/emoji/up_16.py", {"control.image": str(path)})
        sizes[side] = made.control_images()[0].shape[1:3]
    assert sizes == {8: (8, 8), 16: (16, 16), 20: (16, 16)}
    assert capsys.readouterr().out.count("resized") == 1


def test_bad_pictures_are_refused(tmp_path):
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(InvalidValue, match="control.image: .* there is none, .* mean '.*text.png'"):
        digits(control__image=str(tmp_path / "txet.png")).control_images()
    with pytest.raises(InvalidValue, match="control.image: "):
        digits(control__image=str(text)).control_images()
    with pytest.raises(InvalidValue, match="control.labels: got 'three'"):
        digits(control__labels="three").control_images()


def test_the_shipped_model_inpaints_with_resampling():
    shipped = digits(control__repeats=2).controls
    assert shipped.sampler.solver.repeats == 2
    assert shipped.sampler_from(0.5).solver is shipped.sampler.solver
    assert shipped.space == CENTERED != UNIT
