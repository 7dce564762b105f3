"""A trained model as one object: it does what the parts of its experiment do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_weights

from experiment import kinds
from experiment.pipeline import load
from generation import control_tasks
from likelihood import LogLikelihood, log_likelihood
from options.errors import InvalidValue
from solvers.ddim import DDIM

ONE = np.zeros((1, 28, 28, 1), np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("pipeline") / "tiny.npz"
    return tiny_weights.export(path, kinds.load("digits"), {"sampling.solver": "ddim"})


@pytest.fixture(scope="module")
def pipeline(weights):
    return load(weights)


@pytest.fixture(scope="module")
def made(pipeline):
    return pipeline.sample(3, labels=["3", 7])


def test_samples_are_those_of_the_experiment(pipeline, made):
    experiment = pipeline.experiment
    labels = np.array([3, 7, 3], np.int32)
    direct = experiment.generator.draw(pipeline.predictor, jax.random.key(0), labels)
    np.testing.assert_array_equal(made.data, direct.data)
    np.testing.assert_array_equal(made.labels, labels)


def test_a_name_and_a_number_stand_for_objects(pipeline):
    named = pipeline.sample(2, steps=3, solver="ddim", seed=5)
    options = dataclasses.replace(pipeline.experiment.options.sampling, num_steps=3)
    grid = options.nodes(pipeline.experiment.process)
    given = pipeline.sample(2, steps=grid, solver=DDIM(), seed=5)
    assert named.nfe == 4 and named.data.shape == (2, 28, 28, 1)
    np.testing.assert_array_equal(named.data, given.data)


@pytest.mark.slow
def test_likelihood_and_control(pipeline, made):
    rough = {"rtol": 0.5, "atol": 0.5}
    found = pipeline.log_likelihood(made.data, labels=made.labels, **rough)
    examples = pipeline._examples(made.data, 0)
    x, keys = examples.batch(np.arange(3))["image"], examples.keys(1, np.arange(3))
    process, cond = pipeline.experiment.process, {"labels": made.labels}
    direct = log_likelihood(keys, process, pipeline.predictor, x, cond=cond, **rough)
    np.testing.assert_allclose(found.value, direct.value, rtol=1e-5)
    bits = pipeline.bits_per_dim(made.data, labels=made.labels, **rough)
    space = pipeline.experiment.space
    np.testing.assert_allclose(bits, space.bits_per_dim(direct.value, np.full(3, 784.0)), rtol=1e-5)

    completed = pipeline.inpaint(made.data, "half", results=2, labels=made.labels)
    assert completed.results.shape == (3, 2, 28, 28, 1)
    np.testing.assert_array_equal(completed.results[:, 0, :, :14], made.data[:, :, :14])
    guided = pipeline.guide([3, 7], scale=3.0)
    assert guided.labels.tolist() == [3, 7] and not np.array_equal(guided.data, made.data[:2])


@pytest.mark.parametrize(
    "ask, said",
    [
        (lambda p: p.sample("two"), "^count: got 'two', expected a whole number"),
        (lambda p: p.sample(2.5), "^count: got 2.5, expected a whole number"),
        (lambda p: p.sample(0), "^count: got 0, expected at least 1"),
        (lambda p: p.sample(2, seed=-1), "^seed: got -1, expected at least 0"),
        (lambda p: p.sample(2, seed=None), "^seed: got None, expected a whole number"),
        (lambda p: p.sample(2, steps="ten"), "^steps: got 'ten', expected a whole number"),
        (lambda p: p.sample(2, solver=3), "^solver: got 3, (but it has no|expected a subclass)"),
        (lambda p: p.sample(2, solver=DDIM), "^solver: got the class .*DDIM'>, expected an object"),
        (lambda p: p.sample(2, labels="3"), "^labels: got '3', expected a list of classes"),
        (lambda p: p.sample(2, labels=3), "^labels: got 3, expected a list of classes"),
        (lambda p: p.sample(2, labels=[]), r"^labels: got \[\], expected a list of classes"),
        (lambda p: p.guide("3"), "^labels: got '3', expected a list of classes"),
        (lambda p: p.guide([1], strategy="none"), "^strategy: got 'none', expected one of"),
        (lambda p: p.guide([1], strategy="linear"), "^guidance.classifier: got '', expected weig"),
        (lambda p: p.log_likelihood([1, 2]), r"^images: got int64 of shape \(2,\), expected \(n"),
        (lambda p: p.log_likelihood(ONE[0]), r"^images: .*, 28, 28, 1\); a single one is images\["),
        (lambda p: p.log_likelihood(ONE[:0]), r"^images: got uint8 of shape \(0, 28"),
        (lambda p: p.log_likelihood(ONE, seed="a"), "^seed: got 'a'"),
        (lambda p: p.bits_per_dim("a.png"), "^images: got <U5 of shape"),
        (lambda p: p.inpaint(ONE / 255.0), "^images: got float64, expected uint8, from 0 to 255"),
        (lambda p: p.inpaint(ONE, results=0), "^results: got 0, expected at least 1"),
        (
            lambda p: p.inpaint(ONE, mask=ONE),
            "^mask: got an array of shape .* but it has no __call__$",
        ),
        (lambda p: p.control(control_tasks.Edit, ONE), "^task: got the class .*Edit'>"),
        (lambda p: p.sample(2, solver="dpmm"), "^solver: got 'dpmm', expected one of .*'dpm'"),
        (lambda p: p.sample(2, steps=0), "^steps: got 0, expected at least 1"),
        (
            lambda p: p.sample(2, labels=["ten"]),
            "^labels: got 'ten', expected classes of the model: 0, 1, 2",
        ),
        (
            lambda p: p.inpaint(np.zeros((1, 8, 8, 1), np.uint8)),
            r"^images: got uint8 of shape \(1, 8",
        ),
        (lambda p: p.guide([1], strategy="fre"), "^guidance.strategy: got 'fre'"),
    ],
)
def test_what_cannot_be_is_one_sentence(ask, said, pipeline):
    with pytest.raises(InvalidValue, match=said):
        ask(pipeline)


@pytest.mark.parametrize(
    "where, overrides, said",
    [
        (3, None, "^weights: got 3, expected a path, or the name of weights"),
        (
            "digits",
            ["sampling.num_steps=5"],
            r"^overrides: got \['samp.*expected values by dotted",
        ),
        ("digits", "sampling.num_steps=5", "^overrides: got 'sampl.*expected values by dotted"),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(where, overrides, said):
    with pytest.raises(InvalidValue, match=said):
        load(where, overrides)


def test_it_is_printed_in_a_line(pipeline, made):
    assert repr(pipeline).startswith("Pipeline(28 x 28 x 1; 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; 0.0")
    assert repr(made).startswith("Generated(data=uint8 (3, 28, 28, 1), labels=[3 7 3], nfe=")
    found = LogLikelihood(*map(jnp.asarray, ([-9.5], [0.0], [4], [True], ONE, [[-9.5]])))
    assert repr(found).startswith("LogLikelihood(value=[-9.5], error=[0.], evaluations=[4], ok=[ T")
    assert "latent=uint8 (1, 28, 28, 1), " in repr(found)


def test_names_of_classes_are_beside_the_samples(made):
    assert made.class_names == tuple("0123456789") and made.picture.dtype == np.uint8


def test_a_classifier_is_no_generative_model():
    with pytest.raises(InvalidValue, match="^weights: got 'digits_classifier', but it draws no"):
        load("digits_classifier")


@pytest.mark.parametrize("change", [{"process": "ve"}, {"model.nf": 16}, {"data.space.low": 0.0}])
def test_a_model_is_taken_as_it_was_trained(change, weights):
    (field,) = change
    with pytest.raises(InvalidValue, match=f"^{field}.* was trained under another config"):
        load(weights, change)
