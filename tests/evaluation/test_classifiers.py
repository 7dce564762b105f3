"""A classifier from a config to checkpoints, figures, pictures, exported weights and guidance."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from quick import quick_jit

from data import ArraySource
from evaluation import classifiers
from evaluation.classifiers import figures, shown_levels
from evaluation.places import Places
from experiment import kinds, modes
from experiment.experiment import at
from experiment.modes import Command
from metrics import calibration
from options.errors import InvalidValue
from parameterization import EDMNoise
from storage import checkpoint, weights

TINY = {
    "model.nf": 8,
    "model.stem": 4,
    "model.ch_mult": (1,),
    "model.num_res_blocks": 1,
    "model.patch_size": 4,
    "training.steps": 3,
    "training.batch_size": 8,
    "training.microbatch": "8",
    "training.log_every": 1,
    "optim.warmup": 1,
    "eval.max_images": 12,
    "eval.batch_size": 8,
    "eval.levels": 4,
}


def tiny(**overrides):
    return kinds.load("configs/digits/classifier.py", TINY | overrides)


def judged_by(where, **overrides):
    """The image model of the digits, guided by a classifier."""
    named = {name.replace("__", "."): value for name, value in overrides.items()}
    guided = {"guidance.strategy": "amplified", "guidance.classifier": str(where)}
    return kinds.open_experiment("configs/digits/vp.py", guided | named)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of three steps, and its evaluation."""
    folder = tmp_path_factory.mktemp("classifier")
    assert modes.run_train(Command(tiny(), folder)) == 0
    assert modes.run_eval(Command(tiny(), folder)) == 0
    return folder


@pytest.fixture(scope="module")
def exported(workdir):
    """Its weights as they are shipped."""
    params, step = checkpoint.load_ema(workdir / "checkpoints")
    meta = {"config": json.loads((workdir / "config.json").read_text()), "step": step}
    weights.export_weights(workdir / "weights.npz", params, "float32", meta)
    return workdir / "weights.npz"


@pytest.mark.slow
def test_training_logs_loss_and_accuracy(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[0]["loss"] == pytest.approx(np.log(10), rel=1e-3)  # all classes are alike at first
    assert all(0 <= row["accuracy"] <= 1 and row["loss_by_level"] for row in rows)


def test_the_report_is_that_of_the_held_out_images(workdir):
    report = json.loads((workdir / "eval" / "step_3" / "default" / "report.json").read_text())
    found = report["details"]["held_out"]
    assert {len(found[name]) for name in found} == {4}
    assert report["about"]["process"] == repr(kinds.experiment(tiny()).process)
    accuracy = {figure["name"]: figure for figure in report["figures"]}["accuracy_least_noise"]
    assert accuracy["samples"] == 12 and accuracy["reference"] == "digits/test"
    # By hand: the confusion of each level has the accuracy on its diagonal, by class.
    made = kinds.experiment(tiny())
    subject, options = made.subject(), made.evaluation
    params = checkpoint.load_ema(workdir / "checkpoints")[0]
    work = classifiers._Work(subject, params, options, workdir / "eval" / "step_3")
    log_probs, labels = work.judged("held_out", subject.held_out, 12)
    assert log_probs.shape == (12, 4, 10)
    np.testing.assert_allclose(
        found["accuracy"], (log_probs.argmax(axis=2) == labels[:, None]).mean(axis=0), atol=1e-6
    )
    chosen = np.take_along_axis(log_probs, labels[:, None, None], axis=2)[..., 0]
    np.testing.assert_allclose(found["log_likelihood"], chosen.mean(axis=0), atol=1e-5)


def test_figures_do_not_depend_on_the_batch(workdir, tmp_path):
    made = kinds.experiment(tiny(**{"eval.batch_size": 5}))
    places = lambda params, step: Places(tmp_path, tmp_path, tmp_path)  # noqa: E731
    again = made.evaluate(at(workdir), places)[3]
    before = json.loads((workdir / "eval" / "step_3" / "default" / "report.json").read_text())
    for figure, other in zip(again.figures, before["figures"], strict=True):
        assert figure.value == pytest.approx(other["value"], rel=1e-4), figure.name


def test_what_is_said_of_other_images_is_not_taken_for_these(tmp_path, monkeypatch):
    kept = []

    def fill(store, *_):
        kept.append(store.folder)
        return {"log_probs": np.zeros(1), "label": np.zeros(1)}

    monkeypatch.setattr(classifiers, "fill", fill)
    made = kinds.experiment(tiny())
    subject, options = made.subject(), made.evaluation
    params = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), made.template)
    work = classifiers._Work(subject, params, options, tmp_path)
    source = subject.held_out
    images = source.images.copy()
    images[0, 9, 9] ^= 1
    exchanged = ArraySource(source.name, images, source.labels, source.class_names)
    for found in (source, source, exchanged):
        work.judged("held_out", found, 12)
    assert kept[0] == kept[1] != kept[2]


def test_the_pictures_are_there(workdir):
    for name in ("accuracy", "confusion", "calibration"):
        with Image.open(workdir / "eval" / "step_3" / "default" / f"{name}.png") as picture:
            assert min(picture.size) > 100 and np.asarray(picture).std() > 1


def test_levels_are_shown_from_the_best_to_the_worst():
    edges = np.linspace(10, -10, 11)
    accuracy = np.array([1.0, 1.0, 0.9, 0.8, 0.7, 0.5, 0.4, 0.3, 0.1, 0.1])
    labels = np.zeros(10, int)
    # Of ten examples of class 0, as many as the accuracy says are taken for it.
    wrong = np.arange(10)[:, None] >= np.round(10 * accuracy)
    log_probs = np.log(np.where(np.stack([~wrong, wrong], axis=2), 0.8, 0.2))
    found = calibration.calibrate(edges, log_probs, labels)
    np.testing.assert_allclose(found.accuracy, accuracy)
    shown = shown_levels(found)
    assert shown[0] == 0 and shown[-1] == 8 and len(shown) == 6
    values = {figure.name: figure.value for figure in figures(found, 10, "these")}
    assert values["accuracy_mean"] == pytest.approx(accuracy.mean())
    # 0.55 is half the way from 1.0 to 0.1; the fifth level, of log-SNR 1, is the last above it.
    assert values["half_accuracy_level"] == pytest.approx(np.exp(-1 / 2))


@pytest.mark.parametrize("mode", [modes.run_sample, modes.run_control])
def test_a_classifier_makes_no_pictures(mode, workdir):
    with pytest.raises(InvalidValue, match="^task: got 'classifier', but it draws no samples"):
        mode(Command(tiny(), workdir))


def test_weights_are_evaluated_as_the_run_is(workdir, exported, tmp_path):
    ((folder, report),) = modes.evaluated(Command(tiny(), tmp_path, weights=exported)).values()
    assert folder.parent.name.startswith("weights-") and folder.name == "default"
    here, there = (
        json.loads((place / "report.json").read_text())["details"]
        for place in (folder, workdir / "eval" / "step_3" / "default")
    )
    assert there == here == report.to_json()["details"]


def test_guidance_gets_the_trained_classifier(workdir, exported):
    """From weights and from a workdir, and it says what the network says."""
    x = jax.random.normal(jax.random.key(0), (2, 28, 28, 1))
    made = kinds.experiment(tiny())
    node = made.process.node(jnp.array([0.2, 0.7]))
    params = checkpoint.load_ema(workdir / "checkpoints")[0]
    network = made.task.network
    c_noise = jnp.log(node.sigma / node.alpha) / 4
    logits = quick_jit(network.apply)({"params": params}, x, c_noise)
    for where in (exported, workdir):
        found = quick_jit(judged_by(where).classifier.log_probs)(x, node)
        np.testing.assert_allclose(found, jax.nn.log_softmax(logits), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"process": "subvp"}, "its process is"),
        ({"process.beta_max": 10.0}, "its process is"),
        ({"data.space.low": 0.0}, "its space is"),
        ({"data.image_size": (32, 28)}, "its shape of an image is"),
        ({"data.num_channels": 3}, "its shape of an image is"),
        ({"conditions.labels.num_classes": 9}, "it knows 10 classes, the model 9"),
    ],
)
def test_a_classifier_of_something_else_is_refused(exported, change, what):
    guided = {"guidance.strategy": "amplified", "guidance.classifier": str(exported)}
    made = kinds.open_experiment("configs/digits/vp.py", guided | change)
    with pytest.raises(InvalidValue, match=f"^guidance.classifier: got .*weights.npz', but {what}"):
        made.classifier  # noqa: B018


def test_a_classifier_guides_where_the_time_begins_elsewhere_or_there_is_no_class(exported):
    assert isinstance(judged_by(exported, process__t_min=1e-3).classifier.c_noise, EDMNoise)
    guided = {"strategy": {"name": "amplified"}, "classifier": str(exported)}
    config = kinds.load("configs/digits/vp.py").to_dict() | {"conditions": {}, "guidance": guided}
    made = kinds.experiment(kinds.complete(config))
    assert isinstance(made.classifier.c_noise, EDMNoise) and made.num_classes == 10


def test_what_is_no_classifier_is_refused(tmp_path):
    with pytest.raises(
        InvalidValue, match="^guidance.classifier: .*nowhere.npz', but there is none"
    ):
        judged_by(tmp_path / "nowhere.npz").classifier  # noqa: B018
    with pytest.raises(
        InvalidValue, match="^guidance.classifier: .* holds a model of task 'image'"
    ):
        judged_by("pretrained/digits.npz").classifier  # noqa: B018
