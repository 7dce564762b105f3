"""The zip format of PyTorch 1.6 and later; the older one is tested with EfficientNet's weights."""

import io
import pickle
import zipfile

import numpy as np
import pytest
from torch_archive import archive

from tools import safe_pickle
from tools.torch_file import MALFORMED, Tensors, read_state_dict

VALUES = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32([7, 8])}


def test_an_archive_is_read():
    found = read_state_dict(archive(VALUES))
    assert found.keys() == VALUES.keys()
    assert all((found[name] == VALUES[name]).all() for name in VALUES)


def test_damage_and_other_objects_are_malformed():
    for content in (archive(VALUES)[:-40], archive(VALUES, lambda _: pickle.dumps(print, 2))):
        with pytest.raises(MALFORMED):
            read_state_dict(content)


def test_an_archive_that_would_unfold_is_refused():
    """PyTorch compresses nothing, so that no file is larger unfolded than it is."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive(VALUES))) as plain:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in plain.namelist():
                packed.writestr(name, plain.read(name))
            packed.writestr("net/data/9", bytes(2**24))
    assert len(file.getvalue()) < 2**17
    with pytest.raises(ValueError, match="its archive is compressed"):
        read_state_dict(file.getvalue())


def test_a_pickle_that_would_store_far_beyond_its_end_is_refused():
    """A number of the memo for which the reader would make room."""

    def change(pickled):
        return pickled[:-1] + b"r\xff\xff\xff\x3f."

    with pytest.raises(pickle.UnpicklingError, match="stores at 1073741823"):
        read_state_dict(archive(VALUES, change))


def test_instructions_that_make_instances_are_refused():
    with pytest.raises(pickle.UnpicklingError, match="instruction INST"):
        read_state_dict(archive(VALUES, lambda _: b"(ios\nsystem\n."))


def test_numbers_and_arrays_of_numpy_beside_tensors_are_data():
    """A learning rate is a number of numpy's in the original's checkpoints; arrays are left out."""
    saved = {"lr": np.float64(2e-4), "n": np.int64(-3), "state": np.arange(3), "on": np.bool_(True)}
    found = safe_pickle.load(io.BytesIO(pickle.dumps(saved, 2)), Tensors().known)
    assert (found["lr"], found["n"], found["on"]) == (2e-4, -3, True)
    assert found["state"].class_name == "ndarray"
