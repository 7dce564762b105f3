"""JSON that any reader can read."""

import json
import math

import numpy as np
import pytest

from experiment import kinds
from experiment.experiment import at
from storage import json_text, weights
from storage.workdir import Claim, read_config, remember, require_own

STRANGE = {"a": math.nan, "b": [1.5, math.inf], "c": {"d": -math.inf, "e": "NaN"}}


def strict(text: str):
    """What a reader by the standard makes of it."""

    def refuse(name):
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


def test_numbers_that_json_lacks_are_null(tmp_path):
    json_text.write(tmp_path / "a.json", STRANGE)
    text = (tmp_path / "a.json").read_text()
    assert strict(text) == {"a": None, "b": [1.5, None], "c": {"d": None, "e": "NaN"}}
    assert text.endswith("}\n") and text.count("\n") > 5
    json_text.write(tmp_path / "b.json", {"b": 1, "a": 2}, indent=None, sort_keys=True)
    assert (tmp_path / "b.json").read_text() == '{"a": 2, "b": 1}\n'


def test_a_configuration_with_an_infinite_field_is_remembered(tmp_path):
    solver = {"sampling.solver": "stochastic_heun", "sampling.solver.s_max": math.inf}
    config = kinds.load("pretrained/digits.npz", solver)
    claim = Claim(json.loads(config.to_json()))
    remember(tmp_path, claim)
    strict((tmp_path / "config.json").read_text())
    assert read_config(tmp_path)["sampling"]["solver"]["s_max"] == "inf"
    require_own(tmp_path, claim)  # the same again
    assert kinds.load(tmp_path).to_dict() == config.to_dict()

    file = tmp_path / "w.npz"
    params = {"x": np.zeros(3, np.float32)}
    weights.export_weights(file, params, meta={"config": config.to_dict(), "step": 3})
    with np.load(file) as arrays:
        strict(str(arrays["__meta__"]))
    assert kinds.load(at(file).place).to_dict() == config.to_dict()


@pytest.mark.parametrize("value", ["infinite", "1.0", "Infinity"])
def test_other_text_is_no_number(value):
    with pytest.raises(ValueError, match="sampling.t_end: got"):
        kinds.complete({"sampling": {"t_end": value}})
