"""Exported weights, and what becomes of each parameter when a run starts from another's."""

import re
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from damage import NAMES, damages

from options.errors import StorageError
from storage import npz, weights
from storage.checkpoint import Checkpoints


def network(classes=10, width=8):
    """Parameters of a made-up network."""
    keys = jax.random.split(jax.random.key(classes * width), 3)
    return {
        "embed": {"W": 16 * jax.random.normal(keys[0], (width,))},
        "conv": {"kernel": jax.random.normal(keys[1], (3, 3, width)), "bias": jnp.zeros(width)},
        "head": {"kernel": jax.random.normal(keys[2], (width, classes))},
    }


def test_export_rounds_kernels_and_keeps_vectors(tmp_path):
    params = network()
    weights.export_weights(tmp_path / "w.npz", params, meta={"config": {"a": 1}})
    loaded = weights.load_weights(tmp_path / "w.npz", params)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(loaded))
    np.testing.assert_array_equal(loaded["embed"]["W"], params["embed"]["W"])
    kernel = params["conv"]["kernel"]
    np.testing.assert_array_equal(loaded["conv"]["kernel"], kernel.astype(jnp.float16))
    assert weights.read_meta(tmp_path / "w.npz") == {"config": {"a": 1}}


@pytest.mark.parametrize("how", NAMES)
def test_a_file_that_is_no_export_is_refused(tmp_path, how):
    path = tmp_path / "w.npz"
    weights.export_weights(path, network())
    path.write_bytes(damages(path.read_bytes())[how])
    reads = (
        lambda path: (weights.read_meta(path), weights.load_weights(path, network())),
        lambda path: (weights.read_step(path), weights.init_from(network(), path)),
    )
    for read in reads:
        with pytest.raises(StorageError, match="weights: .*w.npz cannot be read as exported"):
            read(path)


@pytest.mark.parametrize("record", ["[1]", "5", "null", '"x"', "[" * 100_000])
def test_a_record_without_entries_is_refused(record, tmp_path):
    np.savez(tmp_path / "w.npz", **weights.flatten(network()), __meta__=np.array(record))
    for read in (weights.read_meta, weights.read_step):
        with pytest.raises(StorageError, match="weights: .*w.npz cannot be read as exported"):
            read(tmp_path / "w.npz")


@pytest.mark.parametrize("dtype", ["S4", "U1", "V4", "f4,f4", "c8", "M8[s]", "?", "S4000000"])
def test_arrays_of_no_numbers_are_refused_unread(dtype, tmp_path, monkeypatch):
    kernel = {"head/kernel": np.zeros((8, 10), dtype)}
    record = {"__meta__": np.array("{}")}
    np.savez_compressed(tmp_path / "w.npz", **weights.flatten(network()) | kernel | record)
    monkeypatch.setattr(npz, "read", None)
    for read in (weights.load_weights, lambda path, params: weights.init_from(params, path)):
        with pytest.raises(StorageError, match="weights: .*w.npz .*head/kernel is of .*, not of n"):
            read(tmp_path / "w.npz", network())


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    weights.export_weights(tmp_path / "w.npz", network())
    with pytest.raises(ValueError, match=r"1 newly initialised \(head/kernel \(8, 7\)"):
        weights.load_weights(tmp_path / "w.npz", network(classes=7))


def bomb(path, name, shape):
    """An array of zeros more in a file: some kilobytes for every gigabyte."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        with file.open(f"{name}.npy", "w", force_zip64=True) as member:
            header = {"descr": "|i1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            for _ in range(int(np.prod(shape)) // 2**20):
                member.write(bytes(2**20))


@pytest.mark.parametrize("name", ["x", "head/kernel", "unet/x", "__meta__"])
def test_what_does_not_fit_is_refused_before_it_is_read(tmp_path, name, monkeypatch):
    params = network()
    del params["head"]
    weights.export_weights(tmp_path / "w.npz", params)
    if name == "__meta__":
        with zipfile.ZipFile(tmp_path / "w.npz", "w"):
            pass
    bomb(tmp_path / "w.npz", name, (64, 2**20))
    read = npz.read
    monkeypatch.setattr(npz, "read", lambda path, names: read(path, set(names) - {name}))
    if name == "__meta__":
        with pytest.raises(StorageError, match="its record has 67,108,864 bytes"):
            weights.read_meta(tmp_path / "w.npz")
        return
    own = name.removeprefix("unet/")
    with pytest.raises(ValueError, match=rf"does not fit this network: .*{own} \(64, 1048576\)"):
        weights.load_weights(tmp_path / "w.npz", params)
    _, report = weights.init_from(network(), tmp_path / "w.npz")
    assert any(line.startswith(f"{own} (64, 1048576)") for line in report.unused)


def test_a_header_that_says_more_than_there_is_is_a_lie(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as file, file.open("x.npy", "w") as member:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2**40,)}
        np.lib.format.write_array_header_1_0(member, header)
    with pytest.raises(StorageError, match="cannot be read .* less than the float64"):
        weights.load_weights(tmp_path / "w.npz", network())


def test_init_from_names_every_parameter(tmp_path):
    source, target = network(), network(classes=7)
    source["old"] = {"kernel": jnp.ones((2, 2))}
    target["augment"] = {"kernel": jnp.ones((4, 4))}
    weights.export_weights(tmp_path / "w.npz", source, dtype="float32")
    params, report = weights.init_from(target, tmp_path / "w.npz")
    assert report.loaded == ("conv/bias", "conv/kernel", "embed/W")
    assert report.initialised == (
        "augment/kernel (4, 4) (not in the source)",
        "head/kernel (8, 7) (the source's is (8, 10))",
    )
    assert report.unused == (
        "head/kernel (8, 10) (this network's is (8, 7))",
        "old/kernel (2, 2) (not in this network)",
    )
    np.testing.assert_array_equal(params["conv"]["kernel"], source["conv"]["kernel"])
    np.testing.assert_array_equal(params["head"]["kernel"], target["head"]["kernel"])
    assert str(report).count("\n") == 6
    # conv/bias, conv/kernel and embed/W, beside them augment/kernel and head/kernel
    assert report.total - report.fitting == 4 * 4 + 8 * 7
    fits = rf"3 parameters fit, [\d.]+ % \({report.fitting} of {report.total} numbers\), 2 unused"
    assert re.match(fits, report.summary())


@pytest.mark.parametrize("folder", ["", "checkpoints"])
def test_init_from_a_run_takes_its_average(tmp_path, folder):
    ema = network()
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(3, {"params": jax.tree.map(jnp.zeros_like, ema)}, ema, {})
    params, report = weights.init_from(network(), tmp_path / folder)
    np.testing.assert_array_equal(params["head"]["kernel"], ema["head"]["kernel"])
    assert not report.initialised and not report.unused


def test_a_source_that_is_none_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="neither exported weights nor a run's folder"):
        weights.init_from(network(), tmp_path)
