"""Where a command leaves what it makes: by weights and by variant."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from experiment import kinds
from experiment.experiment import Trained
from experiment.outputs import CONTROL, EVALUATIONS, SAMPLES, Outputs

DIGITS = Path("pretrained/digits.npz")  # remembers predictor-corrector, ancestral with Langevin
CLASSIFIER = Path("pretrained/digits_classifier.npz")
FREE = {"guidance.strategy": "free", "guidance.strategy.scale": 3.0}


def outputs(kind, fields=None, workdir="runs/x", weights=DIGITS):
    config = kinds.load(weights, fields or {})
    return Outputs(kind, config, Trained(Path(workdir), weights))


NAMES = [
    (SAMPLES, {}, "default"),
    (SAMPLES, {"sampling.solver": "ddim", "sampling.solver.eta": 0.5}, "ddim-eta=0.5"),
    (SAMPLES, {"sampling.solver": "ddim", "sampling.num_steps": 20}, "ddim-num_steps=20"),
    # Of two fields with one name as much is said as tells them apart.
    (SAMPLES, {"sampling.solver": "stochastic_heun", "sampling.num_steps": 20},
     "stochastic_heun-sampling.num_steps=20"),
    (SAMPLES, {"sampling.solver.corrector": "none"}, "corrector=none"),
    # A choice within a choice counts from the default of the outer one.
    (SAMPLES, {"sampling.solver": "picard", "sampling.solver.solver": "heun"},
     "picard-solver.solver=heun"),
    (SAMPLES, {"sampling.labels": "3,7"} | FREE, "strategy=free-scale=3-labels=3+7"),
    (SAMPLES, {"sampling.seed": 3, "precision.sampling": "bfloat16"},
     "precision.sampling=bfloat16-sampling.seed=3"),
    (SAMPLES, {"control.task": "edit", "training.steps": 3, "eval.num_samples": 9,
               "precision.training": "float32"}, "default"),
    (CONTROL, {}, "inpaint"),
    (CONTROL, {"control.task.mask": "half"}, "inpaint-mask=half"),
    (CONTROL, {"control.task": "restore", "control.task.operator": "blur"},
     "restore-operator=blur"),
    (CONTROL, {"control.task": "restore", "control.task.method": "dps",
               "control.task.method.strength": 50.0, "sampling.solver": "dpm"},
     "restore-method=dps-strength=50-dpm"),
    (CONTROL, {"control.task": "guide", "control.labels": "3,7"}, "guide-labels=3+7"),
    (CONTROL, {"sampling.seed": 3}, "inpaint"),
    (EVALUATIONS, {"eval.checkpoints": "all", "sampling.seed": 3}, "default"),
    (EVALUATIONS, {"eval.num_samples": 100, "sampling.solver": "ddim"}, "ddim-num_samples=100"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "name"), NAMES, ids=lambda x: x if x is str else None)
def test_a_variant_spells_out_what_differs(kind, fields, name):
    assert outputs(kind, fields).variant == name


def test_so_is_one_of_a_classifier():
    assert outputs(EVALUATIONS, {"eval.levels": 4}, weights=CLASSIFIER).variant == "levels=4"


def test_no_command_has_the_folder_of_another(tmp_path):
    """Solver, step, weights and operator each make a folder; the same command finds its own."""
    params, other = {"w": np.zeros(3)}, {"w": np.ones(3)}
    solvers = [{}, {"sampling.solver": "ddim"}, {"sampling.num_steps": 7}]
    found = set()
    for fields, made, kind in itertools.product(solvers, (params, other), (SAMPLES, CONTROL)):
        folder = outputs(kind, fields, tmp_path).folder(made, 5)
        assert outputs(kind, fields, tmp_path).folder(made, 5) == folder
        found.add(folder)
    run = dataclasses.replace(outputs(SAMPLES), trained=Trained(tmp_path))
    (tmp_path / "config.json").write_text(run.config.to_json())
    found |= {run.folder(params, step) for step in (5, 6)}
    assert len(found) == 3 * 2 * 2 + 2
    names = {folder.parent.name for folder in found}
    assert {"step_5", "step_6"} < names and len(names) == 4
    assert sum(name.startswith("digits-") for name in names) == 2


def test_a_workdir_whose_config_changes_keeps_both_outputs(tmp_path):
    """`sampling` may be changed by a training that goes on, which then is what is remembered."""
    trained, folders = Trained(tmp_path), []
    for steps in (20, 50):
        config = kinds.load(DIGITS, {"sampling.num_steps": steps})
        (tmp_path / "config.json").write_text(config.to_json())
        folders.append(Outputs(SAMPLES, config, trained).folder({}, 5))
    assert folders[0].name == "default" and folders[1].name.startswith("default-")


def test_evaluations_share_rows_and_the_features_of_the_data(tmp_path):
    params = {"w": np.zeros(3)}
    one = outputs(EVALUATIONS, {}, tmp_path).places(params, 5)
    two = outputs(EVALUATIONS, {"sampling.solver": "ddim"}, tmp_path).places(params, 5)
    assert one.report != two.report and one.rows == two.rows
    assert one.reference == two.reference == tmp_path / "eval" / "reference"


def test_an_evaluation_that_an_older_version_began_goes_on_from_its_rows(tmp_path):
    (tmp_path / "eval" / "5").mkdir(parents=True)
    config = kinds.load(DIGITS)
    (tmp_path / "config.json").write_text(config.to_json())
    run = Outputs(EVALUATIONS, config, Trained(tmp_path))
    assert run.places({}, 5).rows == tmp_path / "eval" / "5"
    assert run.places({}, 6).rows == tmp_path / "eval" / "step_6"


def test_weights_without_a_config_are_told_apart_from_the_defaults(tmp_path):
    np.savez(tmp_path / "bare.npz", __meta__=np.array("{}"))
    config = kinds.complete({"sampling": {"solver": "ddim", "num_steps": 7}})
    found = Outputs(SAMPLES, config, Trained(tmp_path, tmp_path / "bare.npz"))
    assert found.variant == "ddim-num_steps=7"
