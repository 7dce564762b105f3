"""The zip format of PyTorch 1.6 and later; the older one is tested with EfficientNet's weights."""

import io
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest

from tools import safe_pickle
from tools.torch_file import MALFORMED, Tensors, read_state_dict

VALUES = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32([7, 8])}


@pytest.fixture
def archive(monkeypatch):
    """Makes an archive as PyTorch does, whose classes are posed here."""
    torch = types.ModuleType("torch")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    utils = types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*args):
        raise AssertionError("only named")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    class Storage:
        def __init__(self, key, size):
            self.pid = ("storage", torch.FloatStorage, key, "cpu", size)

    class Tensor:
        def __init__(self, key, value):
            self.key, self.value = key, value

        def __reduce__(self):
            strides = tuple(s // 4 for s in self.value.strides)
            storage = Storage(self.key, self.value.size)
            return _rebuild_tensor_v2, (storage, 0, self.value.shape, strides, False, {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.pid if isinstance(value, Storage) else None

    def make(values, change=lambda pickled: pickled):
        file, whole = io.BytesIO(), io.BytesIO()
        state = {name: Tensor(str(i), value) for i, (name, value) in enumerate(values.items())}
        Pickler(file, protocol=2).dump(state)
        with zipfile.ZipFile(whole, "w") as zipped:
            zipped.writestr("net/data.pkl", change(file.getvalue()))
            for i, value in enumerate(values.values()):
                zipped.writestr(f"net/data/{i}", value.tobytes())
        return whole.getvalue()

    return make


def test_an_archive_is_read(archive):
    found = read_state_dict(archive(VALUES))
    assert found.keys() == VALUES.keys()
    assert all((found[name] == VALUES[name]).all() for name in VALUES)


def test_damage_and_other_objects_are_malformed(archive):
    for content in (archive(VALUES)[:-40], archive(VALUES, lambda _: pickle.dumps(print, 2))):
        with pytest.raises(MALFORMED):
            read_state_dict(content)


def test_an_archive_that_would_unfold_is_refused(archive):
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


def test_a_pickle_that_would_store_far_beyond_its_end_is_refused(archive):
    """A number of the memo for which the reader would make room."""

    def change(pickled):
        return pickled[:-1] + b"r\xff\xff\xff\x3f."

    with pytest.raises(pickle.UnpicklingError, match="stores at 1073741823"):
        read_state_dict(archive(VALUES, change))


def test_instructions_that_make_instances_are_refused(archive):
    with pytest.raises(pickle.UnpicklingError, match="instruction INST"):
        read_state_dict(archive(VALUES, lambda _: b"(ios\nsystem\n."))


def test_numbers_and_arrays_of_numpy_beside_tensors_are_data():
    """A learning rate is a number of numpy's in the original's checkpoints; arrays are left out."""
    saved = {"lr": np.float64(2e-4), "n": np.int64(-3), "state": np.arange(3), "on": np.bool_(True)}
    found = safe_pickle.load(io.BytesIO(pickle.dumps(saved, 2)), Tensors().known)
    assert (found["lr"], found["n"], found["on"]) == (2e-4, -3, True)
    assert found["state"].class_name == "ndarray"
