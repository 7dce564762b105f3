"""The zip format of PyTorch 1.6 and later; the older one is tested with EfficientNet's weights."""

import io
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest

from tools.torch_file import LARGEST, MALFORMED, read_state_dict

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


def test_damage_other_objects_and_bombs_are_malformed(archive, monkeypatch):
    for content in (archive(VALUES)[:-40], archive(VALUES, lambda _: pickle.dumps(print, 2))):
        with pytest.raises(MALFORMED):
            read_state_dict(content)
    monkeypatch.setattr("tools.torch_file.LARGEST", 10)
    with pytest.raises(ValueError, match="unfolds to .* bytes, expected at most 10"):
        read_state_dict(archive(VALUES))
    assert LARGEST > 2**24
