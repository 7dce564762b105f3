"""Configurations that weights and workdirs remember, damaged or foreign: refused by their file."""

import json
import re

import numpy as np
import pytest

from experiment import kinds
from options.errors import UserError

WRONG = {
    "[]": "",
    "null": "",
    "5": "",
    '"x"': "",
    "[" * 100_000: "",
    '{"task": []}': "task: got \\[\\], expected one of",
    '{"task": 5}': "task: got 5, expected one of",
    '{"tusk": "image"}': "tusk: .*has no such field",
    '{"t.sk": "image"}': "t.sk: .*has no such field",
    '{"training": {"st.ps": 4}}': "training.st.ps: .*has no such field",
    '{"process": 5}': "process: got 5, expected a section",
    '{"process": {"name": "vq"}}': "process: got 'vq', expected one of",
    '{"model": {"ch_mult": [[1]]}}': "model.ch_mult: got",
    '{"model": null}': "",
    '{"data": "x"}': "",
    '{"data": {"source": 5}}': "",
    '{"eval": [1]}': "",
    '{"training": 1}': "",
    '{"data": {"name": 1}}': "",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30])
def test_a_run_with_a_wrong_configuration_is_named(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=f"{re.escape(str(tmp_path))}/config.json.*{WRONG[text]}"):
        kinds.load(tmp_path)


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30])
def test_weights_with_a_wrong_configuration_are_named(text, tmp_path):
    path = tmp_path / "w.npz"
    record = f'{{"step": 1, "config": {text}}}'
    np.savez(path, **{"a/kernel": np.ones((3, 4), np.float32)}, __meta__=np.array(record))
    with pytest.raises(UserError, match=f"w.npz.*{WRONG[text]}"):
        kinds.load(path)


def test_what_is_given_on_the_command_line_is_not_blamed_on_the_file(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(kinds.load("configs/digits/vp.py").to_dict()))
    with pytest.raises(UserError, match="^sampling.solver: got 'ddmi', expected one of"):
        kinds.load(tmp_path, {"sampling.solver": "ddmi"})
