"""Every way of sharding follows the trajectory of one device."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import with_devices

from training import parallel

TESTS = pathlib.Path(__file__).parent.parent
FIELDS = {"steps": 10, "batch_size": 16, "n_jitted_steps": 5, "checkpoint_every": 5, "log_every": 5}


def start(devices, entries):
    """A run of the tiny task in a process of its own, on simulated devices."""
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    environment = with_devices(devices) | {"PYTHONPATH": path}
    command = [sys.executable, str(TESTS / "run_tiny.py"), json.dumps(FIELDS | entries)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def finish(process):
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output[-3000:]
    return output


def train(folder, devices=1, **entries):
    """(final arrays, losses) of a run."""
    workdir, out = folder / "run", folder / "out.npz"
    finish(start(devices, entries | {"workdir": str(workdir), "out": str(out)}))
    return read(folder)


def read(folder):
    with np.load(folder / "out.npz") as file:
        arrays = {name: file[name] for name in file.files if name not in ("stopped",)}
    rows = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return arrays, [row["loss"] for row in map(json.loads, rows) if "loss" in row]


def assert_same(run, reference):
    (arrays, losses), (expected, expected_losses) = run, reference
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    assert arrays.keys() == expected.keys()
    for name in arrays:
        np.testing.assert_allclose(arrays[name], expected[name], atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """One device, the whole batch at once."""
    return train(tmp_path_factory.mktemp("reference"))


@pytest.mark.one_in(3)
@pytest.mark.parametrize("microbatch", [1, 64])
@pytest.mark.parametrize("strategy", sorted(parallel.STRATEGIES))
def test_four_devices_follow_one(tmp_path, reference, strategy, microbatch):
    """One example at a time, and a microbatch that is more than a device of four has."""
    run = train(tmp_path, devices=4, strategy=strategy, microbatch=microbatch)
    assert_same(run, reference)


@pytest.mark.slow
def test_shards_give_a_loss_the_average_and_what_is_frozen_whole(tmp_path):
    alone = train(tmp_path / "alone", teacher=True)
    assert_same(train(tmp_path / "four", devices=4, strategy="fsdp", teacher=True), alone)


@pytest.mark.slow
def test_a_run_goes_on_with_other_devices_and_strategy(tmp_path, reference):
    train(tmp_path, devices=4, strategy="fsdp", steps=5)
    assert_same(train(tmp_path, devices=2, strategy="shard_map"), reference)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("strategy", sorted(parallel.STRATEGIES))
def test_two_processes_follow_one(tmp_path, reference, strategy):
    """`jax.distributed` over loopback, two devices a process; the first one alone measures and
    writes."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        coordinator = f"localhost:{probe.getsockname()[1]}"
    entries = {"workdir": str(tmp_path / "run"), "out": str(tmp_path / "out.npz")}
    entries |= {"strategy": strategy, "coordinator": coordinator, "processes": 2, "measure": 5}
    processes = [start(2, entries | {"process": i, "draw_every": 5}) for i in range(2)]
    outputs = [finish(process) for process in processes]
    assert_same(read(tmp_path), reference)
    for said in ("step 10: loss", "step 10: fixed loss"):
        assert said in outputs[0] and said not in outputs[1]
    assert len(list((tmp_path / "run" / "pictures").iterdir())) == 2


def test_fsdp_splits_large_leaves_only():
    mesh = jax.sharding.AbstractMesh((4,), (parallel.AXIS,))
    fsdp = parallel.FSDP(mesh)

    def spec(*shape):
        return fsdp.sharding(jax.ShapeDtypeStruct(shape, jnp.float32)).spec

    P = jax.sharding.PartitionSpec
    assert spec(3, 3, 64, 128) == P(None, None, None, parallel.AXIS)
    assert spec(3, 3, 128, 6) == P(None, None, parallel.AXIS, None)
    assert spec(64) == spec() == spec(1023, 1025) == P()


def test_keys_depend_on_step_and_global_index_only():
    key = jax.random.key(3)

    def keys(devices, step):
        count = 12 // devices
        make = jax.vmap(
            lambda _: parallel.example_keys(jax.random.key_data(key), step, count),
            axis_name=parallel.AXIS,
        )
        return jax.random.key_data(make(jnp.arange(devices))).reshape(12, -1)

    expected = jax.random.key_data(jax.random.fold_in(jax.random.fold_in(key, 7), 5))
    for devices in (1, 3, 4):
        np.testing.assert_array_equal(keys(devices, 7)[5], expected)
    assert len(np.unique(np.concatenate([keys(4, 7), keys(4, 8)]), axis=0)) == 24


def test_place_copies(tmp_path):
    """Donating what was placed leaves its source alone."""
    source = {"w": jnp.arange(4.0)}
    mesh = parallel.make_mesh()
    placed = parallel.place(source, parallel.ShardMap(mesh).sharding(source))
    jax.jit(lambda t: jax.tree.map(lambda x: x + 1, t), donate_argnums=0)(placed)
    assert placed["w"].is_deleted()
    np.testing.assert_array_equal(source["w"], np.arange(4.0))


def test_a_process_out_of_range_is_refused():
    with pytest.raises(ValueError, match="process_id: got 2, expected 0 <= id < 2"):
        parallel.Cluster("localhost:1", 2, 2).join()
