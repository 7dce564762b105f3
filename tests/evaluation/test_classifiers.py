"""A classifier from a config to checkpoints, figures, pictures, exported weights and guidance."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs.digits.classifier import get_config
from configs.digits.vp import get_config as image_config
from evaluation import classifiers
from evaluation.classifiers import figures, shown_levels
from experiment import builders, modes
from metrics import calibration
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
    config = get_config().lock()
    config.update_from_flattened_dict(TINY | overrides)
    return config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of three steps, and its evaluation."""
    folder = tmp_path_factory.mktemp("classifier")
    assert modes.run_train(modes.Run(tiny(), folder)) == 0
    assert modes.run_eval(modes.Run(tiny(), folder)) == 0
    return folder


@pytest.fixture(scope="module")
def exported(workdir):
    """Its weights as they are shipped."""
    params, step = checkpoint.load_ema(workdir / "checkpoints")
    meta = {"config": json.loads((workdir / "config.json").read_text()), "step": step}
    weights.export_weights(workdir / "weights.npz", params, "float32", meta)
    return workdir / "weights.npz"


def test_training_logs_loss_and_accuracy(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[0]["loss"] == pytest.approx(np.log(10), rel=1e-3)  # all classes are alike at first
    assert all(0 <= row["accuracy"] <= 1 and row["loss_by_level"] for row in rows)


def test_the_report_is_that_of_the_held_out_images(workdir):
    report = json.loads((workdir / "eval" / "3" / "report.json").read_text())
    found = report["details"]["held_out"]
    assert {len(found[name]) for name in found} == {4}
    assert report["about"]["process"] == repr(builders.process(tiny()))
    accuracy = {figure["name"]: figure for figure in report["figures"]}["accuracy_least_noise"]
    assert accuracy["samples"] == 12 and accuracy["reference"] == "digits/test"
    # By hand: the confusion of each level has the accuracy on its diagonal, by class.
    config = tiny()
    subject, options = builders.classifier_subject(config), builders.classifier_eval_options(config)
    params = checkpoint.load_ema(workdir / "checkpoints")[0]
    work = classifiers._Work(subject, params, options, workdir / "eval" / "3")
    log_probs, labels = work.judged("held_out", subject.held_out, 12)
    assert log_probs.shape == (12, 4, 10)
    np.testing.assert_allclose(
        found["accuracy"], (log_probs.argmax(axis=2) == labels[:, None]).mean(axis=0), atol=1e-6
    )
    chosen = np.take_along_axis(log_probs, labels[:, None, None], axis=2)[..., 0]
    np.testing.assert_allclose(found["log_likelihood"], chosen.mean(axis=0), atol=1e-5)


def test_figures_do_not_depend_on_the_batch(workdir, tmp_path):
    config = tiny(**{"eval.batch_size": 5})
    subject, options = builders.classifier_subject(config), builders.classifier_eval_options(config)
    params = checkpoint.load_ema(workdir / "checkpoints")[0]
    again = classifiers.evaluate(subject, params, 3, options, tmp_path)
    before = json.loads((workdir / "eval" / "3" / "report.json").read_text())
    for figure, other in zip(again.figures, before["figures"], strict=True):
        assert figure.value == pytest.approx(other["value"], rel=1e-4), figure.name


def test_the_pictures_are_there(workdir):
    for name in ("accuracy", "confusion", "calibration"):
        with Image.open(workdir / "eval" / "3" / f"{name}.png") as picture:
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
    with pytest.raises(ValueError, match="^task: got 'classifier', which makes no pictures"):
        mode(modes.Run(tiny(), workdir))


def test_weights_are_evaluated_as_the_run_is(workdir, exported, tmp_path):
    modes.run_eval(modes.Run(tiny(), tmp_path, weights=exported))
    there, here = (
        json.loads((folder / "eval" / "3" / "report.json").read_text())["details"]
        for folder in (workdir, tmp_path)
    )
    assert there == here


def test_guidance_gets_the_trained_classifier(workdir, exported):
    """From weights and from a workdir, and it says what the network says."""
    x = jax.random.normal(jax.random.key(0), (2, 28, 28, 1))
    node = builders.process(tiny()).node(jnp.array([0.2, 0.7]))
    params = checkpoint.load_ema(workdir / "checkpoints")[0]
    network = builders.classifier_network(tiny())
    logits = network.apply({"params": params}, x, jnp.log(node.sigma / node.alpha) / 4)
    for where in (exported, workdir):
        found = builders.classifier(image_config(), where).log_probs(x, node)
        np.testing.assert_allclose(found, jax.nn.log_softmax(logits), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"process.name": "subvp"}, "the process of"),
        ({"process.beta_max": 10.0}, "the process of"),
        ({"data.centered": False}, "the range of values of"),
        ({"data.image_size": 32}, "the image shape of"),
        ({"data.num_channels": 3}, "the image shape of"),
        ({"data.num_classes": 9}, "the number of classes of"),
    ],
)
def test_a_classifier_of_something_else_is_refused(exported, change, what):
    config = image_config()
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=f"^classifier: {what} .*weights.npz is "):
        builders.classifier(config, exported)


def test_a_classifier_guides_where_the_time_begins_elsewhere_or_no_class_is_known(exported):
    config = image_config()
    config.update_from_flattened_dict({"process.t_min": 1e-3, "data.num_classes": 0})
    assert builders.classifier(config, exported).c_noise == EDMNoise()


def test_what_is_no_classifier_is_refused(tmp_path, workdir):
    with pytest.raises(ValueError, match="^classifier: there is no .*nowhere.npz"):
        builders.classifier(image_config(), tmp_path / "nowhere.npz")
    weights.export_weights(tmp_path / "image.npz", {}, meta={"config": {"data": {}}})
    with pytest.raises(ValueError, match="^classifier: .* holds a model of task 'image'"):
        builders.classifier(image_config(), tmp_path / "image.npz")
