"""Checkpoints: what is read back is what was saved, whatever happens to the disk."""

import gc
import json
import pathlib
import random
import shutil

import absl.logging
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_disk import closes_its_loop, small_disk  # noqa: F401

from options.errors import StorageError
from storage import checkpoint
from storage.checkpoint import Checkpoints, load_ema

pytestmark = closes_its_loop


@pytest.fixture(autouse=True, scope="module")
def what_is_left_is_collected():
    """While its warnings are filtered, not in a later test."""
    yield
    gc.collect()


def trees(step):
    """A state and an average that differ from step to step."""
    w = jnp.arange(2000.0).reshape(40, 50) * step
    state = {"step": jnp.int32(step), "params": {"w": w}, "key": jnp.array([1, step], jnp.uint32)}
    return state, {"w": w + 1, "b": jnp.full(3, step, jnp.bfloat16)}


def shapes(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)


def save(folder, steps, **options):
    with Checkpoints(folder, **options) as checkpoints:
        for step in steps:
            checkpoints.save(step, *trees(step), {"data": {"position": 10 * step}, "seconds": 0.1})


def restore(folder):
    with Checkpoints(folder) as checkpoints:
        return checkpoints.restore(*map(shapes, trees(1)))


def assert_is_step(restored, step):
    state, ema = trees(step)
    assert restored.step == step
    assert restored.meta == {"data": {"position": 10 * step}, "seconds": 0.1}
    jax.tree.map(np.testing.assert_array_equal, (restored.state, restored.ema), (state, ema))


def test_the_newest_is_restored(tmp_path):
    save(tmp_path, [1, 2])
    assert_is_step(restore(tmp_path), 2)
    assert checkpoint.latest_step(tmp_path) == 2


def test_no_checkpoint_is_none(tmp_path):
    assert restore(tmp_path / "empty") is None
    assert checkpoint.latest_step(tmp_path / "absent") is None


def test_the_last_n_and_every_k_are_kept(tmp_path):
    save(tmp_path, range(1, 10), keep=2, keep_every=4)
    assert sorted(int(p.name) for p in tmp_path.iterdir()) == [4, 8, 9]


def test_evaluation_reads_only_the_average(tmp_path):
    save(tmp_path, [1, 2])
    for step in (1, 2):
        shutil.rmtree(tmp_path / str(step) / "state")
    ema, step = load_ema(tmp_path)
    assert step == 2 and isinstance(ema["w"], np.ndarray)
    jax.tree.map(np.testing.assert_array_equal, ema, trees(2)[1])
    assert load_ema(tmp_path, 1, template=ema)[0]["w"][1, 1] == trees(1)[1]["w"][1, 1]
    with pytest.raises(StorageError, match=r"no checkpoint of step 3 .* it has \[1, 2\]"):
        load_ema(tmp_path, 3)


def test_inspection(tmp_path):
    save(tmp_path, [1, 2])
    assert checkpoint.inspect(tmp_path, 1) == {
        "step": 1,
        "steps": [1, 2],
        "meta": {"data": {"position": 10}, "seconds": 0.1},
        "parameters": {"b": ((3,), "bfloat16"), "w": ((40, 50), "float32")},
    }


def data_files(folder):
    """The files whose loss no reader could repair."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size > 500)


def damage(path: pathlib.Path, how: str, rng: random.Random):
    data = bytearray(path.read_bytes())
    if how == "deleted":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["deleted", "truncated", "flipped"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(tmp_path, how):
    save(tmp_path / "run", [1, 2])
    largest = max(data_files(tmp_path / "run" / "2" / "state"), key=lambda p: p.stat().st_size)
    damage(largest, how, random.Random(0))
    with pytest.warns(UserWarning, match=r"run/2 is damaged .* moved to .*run-damaged/2"):
        assert_is_step(restore(tmp_path / "run"), 1)
    assert (tmp_path / "run-damaged" / "2" / "state").is_dir()  # kept for who wants to look
    save(tmp_path / "run", [2])
    assert_is_step(restore(tmp_path / "run"), 2)


@pytest.mark.filterwarnings("ignore")
def test_no_flipped_bit_passes_unnoticed(tmp_path):
    """Whatever file it is in, the newest checkpoint is read as it was or not at all."""
    save(tmp_path / "whole", [1, 2])
    rng, refused = random.Random(1), 0
    for path in data_files(tmp_path / "whole" / "2"):
        folder = tmp_path / "copy"
        shutil.copytree(tmp_path / "whole", folder)
        damage(folder / path.relative_to(tmp_path / "whole"), "flipped", rng)
        restored = restore(folder)
        assert_is_step(restored, restored.step)
        refused += restored.step == 1
        shutil.rmtree(folder)
    assert refused >= 2


def test_two_flipped_signs_do_not_cancel():
    whole = {"w": np.linspace(1.0, 2.0, 300, dtype=np.float32)}
    damaged = {"w": whole["w"] * np.where(np.isin(np.arange(300), [7, 90]), -1, 1)}
    damaged["w"] = damaged["w"].astype(np.float32)
    sums = [checkpoint.seal(tree, {}, {})["state"] for tree in (whole, damaged)]
    old = [checkpoint.seal(tree, {}, {}, "weighted_sum")["state"] for tree in (whole, damaged)]
    assert sums[0] != sums[1] and old[0] == old[1]


def test_a_checkpoint_sealed_by_an_older_version_is_read(tmp_path, monkeypatch):
    seal = checkpoint.seal
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "seal", lambda *trees: seal(*trees, "weighted_sum"))
        save(tmp_path, [1])
    assert "sums" not in json.loads(next(tmp_path.rglob("meta/*metadata*")).read_text())["seal"]
    assert_is_step(restore(tmp_path), 1)
    assert load_ema(tmp_path)[1] == 1


def test_a_damaged_average_is_named_when_evaluating(tmp_path):
    save(tmp_path, [1, 2])
    largest = max(data_files(tmp_path / "2" / "ema"), key=lambda p: p.stat().st_size)
    damage(largest, "flipped", random.Random(0))
    with pytest.warns(UserWarning, match="2 is damaged"):
        assert load_ema(tmp_path)[1] == 1
    assert (tmp_path / "2").is_dir()
    with pytest.raises(StorageError, match="can be read: step 2"):
        load_ema(tmp_path, 2)


def test_when_all_are_damaged_none_is_moved(tmp_path):
    save(tmp_path / "run", [1])
    damage(max(data_files(tmp_path / "run" / "1" / "state")), "truncated", random.Random(0))
    with pytest.raises(StorageError, match="no checkpoint in .* can be read: step 1"):
        restore(tmp_path / "run")
    assert (tmp_path / "run" / "1").is_dir() and not (tmp_path / "run-damaged").exists()


def test_what_a_killed_writer_left_is_no_checkpoint(tmp_path):
    save(tmp_path, [1])
    leftover = tmp_path / "2.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "1", leftover)
    assert checkpoint.latest_step(tmp_path) == 1
    assert_is_step(restore(tmp_path), 1)


def test_metadata_survives_json(tmp_path):
    meta = {"data": {"epoch": 3, "order": [1, 2]}, 7: None, "rate": 1 / 3, "name": "é"}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, *trees(1), meta)
    assert restore(tmp_path).meta == json.loads(json.dumps(meta))


def test_a_full_disk_is_a_clear_stop_and_the_last_good_checkpoint_stays(small_disk):  # noqa: F811
    save(small_disk / "run", [1], keep=1)
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(b"x" * (free - 8192))
    with pytest.raises(StorageError, match="could not be written .* the last good one is step 1"):
        save(small_disk / "run", [2], keep=1)
    assert_is_step(restore(small_disk / "run"), 1)
    (small_disk / "filler").unlink()
    save(small_disk / "run", [2], keep=1)
    assert_is_step(restore(small_disk / "run"), 2)


def test_the_advice_of_a_library_is_not_passed_on(caplog):
    """To checkpoint less often, after each checkpoint that a slow disk has to wait a second for."""
    absl.logging.warning("Waiting for previous save to complete took %f seconds. If this", 1.1)
    absl.logging.warning("another")
    assert [record.getMessage() for record in caplog.records] == ["another"]
