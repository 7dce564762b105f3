"""How exactly each kind of program computes, read off the programs that are handed to XLA."""

import contextlib
import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_weights
from quick import random_parameters

from experiment import kinds, modes
from experiment.modes import Command
from handwriting import writing
from options.errors import InvalidValue
from solvers import probability_flow
from tasks import matching
from tasks.task import Context

PRODUCT = re.compile(
    r"stablehlo\.(?:dot_general|convolution)\b.*?"
    r"precision(?:_config)? = \[(?:#stablehlo<precision )?(\w+)>?, .*?"
    r": \(tensor<(?:\d+x)*(\w+)>"
)
UNROUNDED = {("HIGHEST", "f32")}


@contextlib.contextmanager
def dumped(folder):
    """Programs compiled within are written to the folder, also those that were compiled before."""
    jax.clear_caches()
    jax.config.update("jax_dump_ir_to", str(folder))
    yield
    jax.config.update("jax_dump_ir_to", None)


def products(text):
    """(precision, dtype of the operands) of each product of a program, one entry a product."""
    lines = [x for x in text.splitlines() if re.search(r"stablehlo\.(dot_general|convolution)", x)]
    found = [PRODUCT.search(line) for line in lines]
    assert None not in found, "a product without a precision: " + lines[found.index(None)]
    return [match.groups() for match in found]


def precisions(folder):
    return {found for file in Path(folder).iterdir() for found in products(file.read_text())}


DIGITS = kinds.load("pretrained/digits.npz")
COMMANDS = {
    "predictor-corrector": ("sample", {"sampling.solver": "pc"}),
    "adaptive": ("sample", {"sampling.solver": "ode"}),
    "loss, likelihood and features": (
        "eval",
        {
            "eval.max_images": 2,
            "eval.likelihood_images": 2,
            "eval.num_samples": 4,
            "eval.batch_size": 4,
            "eval.rtol": 0.5,
            "eval.atol": 0.5,
            "eval.memorisation": False,
        },
    ),
    "linear measurements": (
        "control",
        {"control.task": "restore", "control.task.operator": "projection"},
    ),
    "gradients of a classifier": ("sample", {"guidance.strategy": "amplified"}),
}


SLOW = set(COMMANDS) - {"adaptive"}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in COMMANDS]
)
def test_nothing_is_rounded_but_in_training(case, tmp_path):
    mode, fields = COMMANDS[case]
    fields = {"sampling.num_samples": 3, "control.images": 1, "control.results": 1} | fields
    if "guidance.strategy" in fields:
        classifier = kinds.load("pretrained/digits_classifier.npz")
        fields["guidance.classifier"] = tiny_weights.export(tmp_path / "c.npz", classifier)
    weights = tiny_weights.export(tmp_path / "w.npz", DIGITS, fields)
    with dumped(tmp_path / "programs"):
        modes.run(mode, Command(kinds.load(weights), tmp_path / "run", Path(weights)))
    assert precisions(tmp_path / "programs") == UNROUNDED


def sequence_experiment(folder, precision="tf32"):
    """A model of sequences of two numbers, six long, with attention."""
    random = np.random.default_rng(0)
    arrays = {f"{split}_data": random.normal(size=(4, 6, 2)) for split in ("train", "test")}
    np.savez(folder / "walks.npz", **{k: v.astype(np.float32) for k, v in arrays.items()})
    source = {"name": "npz", "path": str(folder / "walks.npz")}
    return kinds.experiment(
        kinds.complete(
            {
                "process": "vp",
                "parameterization": {"output": "v", "c_noise": "time"},
                "model": {"name": "sequence", "nf": 8, "num_blocks": 1, "num_heads": 2,
                          "embedding_type": "positional"},
                "data": {"source": source, "space": "scaled", "image_size": ()},
                "precision": {"training": precision},
            }
        )
    )  # fmt: skip


def test_latent_codes_are_not_rounded(tmp_path):
    made = sequence_experiment(tmp_path, "bfloat16")
    predict = made.task.predictor(random_parameters(made.task.init, jax.random.key(0)))
    with dumped(tmp_path / "programs"):
        probability_flow.encode(made.process, predict, jnp.zeros((1, *made.shape)), rtol=1.0)
    assert precisions(tmp_path / "programs") == UNROUNDED


def test_what_attention_looks_at_and_what_texts_are_likely_is_not_rounded(tmp_path):
    made = sequence_experiment(tmp_path)
    predict = made.task.predictor(jax.eval_shape(made.task.init, jax.random.key(0)))
    x, node = jnp.zeros((1, *made.shape)), made.process.node(jnp.full(1, 0.5))
    found = writing._with_intermediates.lower(predict, x, node, {}).as_text()
    assert set(products(found)) == UNROUNDED
    f, node = jnp.ones((2, 3)), made.process.node(jnp.full(2, 0.5))
    judge = SimpleNamespace(images=lambda x, node: x, texts=lambda value: value)

    def programs(f):
        likelihood = matching.TextLikelihood(judge, f, "caption")(f, node, {"caption": f})
        return likelihood, matching.Judge.log_probs(judge, f, node, f), matching.contrast(f, f)

    found = products(jax.jit(programs).lower(f).as_text())
    assert len(found) == 3 and set(found) == UNROUNDED


TRAINING = {
    "tf32": {("DEFAULT", "f32")},
    "float32": UNROUNDED,
    "bfloat16": {("DEFAULT", "bf16")},
}


def gradient(task):
    """The program of the gradient of a task's loss, as text."""
    params = jax.eval_shape(task.init, jax.random.key(0))
    data, keys = jnp.zeros((2, *task.shape)), jax.random.split(jax.random.key(0), 2)
    batch = {"image": data, "label": jnp.zeros(2, jnp.int32)}
    loss = lambda params: task.loss(Context(params), batch, keys)[0]  # noqa: E731
    return jax.jit(jax.grad(loss)).lower(params).as_text()


@pytest.mark.parametrize("precision", TRAINING)
def test_training_computes_as_it_is_told(precision, tmp_path):
    made = sequence_experiment(tmp_path, precision)
    found = products(gradient(made.task))
    # Attention sums in float32 whatever the dtype of what it sums.
    assert TRAINING[precision] <= set(found) <= TRAINING[precision] | {("DEFAULT", "f32")}
    kind = next(iter(TRAINING[precision]))
    assert found.count(kind) > 0.8 * len(found)
    assert set(products(gradient(made.task.for_evaluation()))) == UNROUNDED


@pytest.mark.parametrize("precision", TRAINING)
def test_classifiers_are_trained_as_they_are_told(precision):
    fields = {"precision.training": precision, "model.nf": 8, "model.stem": 8}
    made = kinds.open_experiment("configs/digits/classifier.py", fields)
    assert set(products(gradient(made.task))) == TRAINING[precision]
    classifier = made.task.classifier({})
    assert classifier.precision.products == "highest" and classifier.network.dtype == "float32"


@pytest.mark.slow
def test_sampling_computes_as_it_is_told(tmp_path):
    fields = {"precision.sampling": "bfloat16", "sampling.num_samples": 3}
    weights = tiny_weights.export(tmp_path / "w.npz", DIGITS, fields)
    with dumped(tmp_path / "programs"):
        modes.run("sample", Command(kinds.load(weights), tmp_path / "run", Path(weights)))
    assert ("DEFAULT", "bf16") in precisions(tmp_path / "programs")


def test_an_adaptive_solver_takes_no_rounding_for_its_error():
    fields = {"precision.sampling": "tf32", "sampling.solver": "adaptive_sde"}
    made = kinds.open_experiment("configs/digits/vp_small.py", fields)
    with pytest.raises(InvalidValue, match="^precision.sampling: got 'tf32', but AdaptiveSDE"):
        made.check_all(1)


def test_a_precision_is_one_of_three():
    with pytest.raises(InvalidValue, match="^precision.training: got 'fp32'"):
        kinds.open_experiment("configs/digits/vp_small.py", {"precision.training": "fp32"})


def test_samples_in_float32_are_those_of_a_caller_with_other_defaults(tmp_path):
    """JAX's own default does not reach the network."""
    made = sequence_experiment(tmp_path)
    predict = made.task.predictor(random_parameters(made.task.init, jax.random.key(0)))
    x, node = jnp.ones((1, *made.shape)), made.process.node(jnp.array([0.5]))
    with jax.default_matmul_precision("bfloat16"):
        text = jax.jit(lambda predict: predict(x, node)).lower(predict).as_text()
    assert set(products(text)) == UNROUNDED
    assert dataclasses.replace(predict).at("tf32").precision.products == "default"
    assert np.isfinite(predict(x, node).x_0).all()
