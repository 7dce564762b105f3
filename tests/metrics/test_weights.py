"""Weights are known by their arrays, and refused unread where they are of something else."""

import flax.linen as nn
import numpy as np
import pytest

from metrics.weights import read_weights, source_of, write_weights
from options.errors import InvalidValue
from storage import npz


class Named(nn.Module):
    """One layer, called dense."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="dense")(x)


def test_the_version_is_of_the_weights_not_of_the_file(tmp_path):
    weights = {"dense": {"kernel": np.eye(3), "bias": np.arange(3.0)}}
    write_weights(tmp_path / "a.npz", weights)
    np.savez(
        tmp_path / "b.npz", **{f"dense/{k}": np.float16(v) for k, v in weights["dense"].items()}
    )
    write_weights(tmp_path / "c.npz", {"dense": weights["dense"] | {"bias": np.ones(3)}})
    (params, a), (_, b), (_, c) = (
        read_weights(tmp_path / f"{name}.npz", Named(), (3,)) for name in "abc"
    )
    assert a == b != c
    np.testing.assert_array_equal(params["dense"]["kernel"], np.eye(3))


def test_weights_of_no_numbers_are_refused_unread(tmp_path, monkeypatch):
    arrays = {"dense/kernel": np.zeros((3, 3), "S400000"), "dense/bias": np.zeros(3)}
    np.savez_compressed(tmp_path / "lite0.npz", **arrays)
    monkeypatch.setattr(npz, "read", None)
    with pytest.raises(InvalidValue, match=r"^weights: got '.*lite0.npz', expected an \.npz file"):
        read_weights(tmp_path / "lite0.npz", Named(), (3,))


@pytest.mark.parametrize("content", [b"", b"<html>"])
def test_weights_that_cannot_be_read_are_named(tmp_path, content):
    (tmp_path / "lite0.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"^weights: got '.*lite0.npz', expected an \.npz file"):
        read_weights(tmp_path / "lite0.npz", Named(), (3,))


def test_weights_of_another_network_are_refused_before_they_are_read(tmp_path, monkeypatch):
    write_weights(tmp_path / "w.npz", {"dense": {"kernel": np.ones((3, 4)), "bias": np.ones(4)}})
    monkeypatch.setattr(npz, "read", None)
    with pytest.raises(InvalidValue, match=r"^weights: got .*w.npz with .* at \('dense/bias'"):
        read_weights(tmp_path / "w.npz", Named(), (3,))


def test_what_weights_were_made_of_is_kept_and_is_no_parameter(tmp_path):
    weights = {"dense": {"kernel": np.full((3, 3), 1 + 2**-20), "bias": np.arange(3.0)}}
    write_weights(tmp_path / "a.npz", weights, np.float32, bytes(range(32)))
    write_weights(tmp_path / "b.npz", weights, np.float32)
    (params, a), (_, b) = (read_weights(tmp_path / f"{x}.npz", Named(), (3,)) for x in "ab")
    assert a == b and params["dense"]["kernel"][0, 0] == np.float32(1 + 2**-20)
    assert source_of(tmp_path / "a.npz") == bytes(range(32)).hex()
    assert source_of(tmp_path / "b.npz") == ""
