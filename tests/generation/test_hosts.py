"""Samples of an evaluation do not depend on devices, batches and hosts, nor on being killed."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from quick import with_devices

from metrics.resumable import Resumable

TESTS = pathlib.Path(__file__).parent.parent
COUNT = 50


def start(folder, batch, devices=1, index=0, of=1):
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    command = [sys.executable, str(TESTS / "run_samples.py"), str(folder)]
    command += map(str, (COUNT, batch, index, of))
    environment = with_devices(devices) | {"PYTHONPATH": path}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def finish(*processes):
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output


def rows(folder):
    return Resumable(folder, "samples", {}).read(COUNT)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    finish(start(folder, batch=50))
    found = rows(folder)["image"]
    assert len(np.unique(found.reshape(COUNT, -1), axis=0)) == COUNT
    return found


@pytest.mark.slow
def test_four_devices_give_the_samples_of_one(alone, tmp_path):
    finish(start(tmp_path, batch=12, devices=4))
    found = rows(tmp_path)
    assert (found["x"] == 4).all()
    np.testing.assert_array_equal(found["image"], alone)


@pytest.mark.slow
def test_two_hosts_of_other_devices_one_of_them_killed_give_the_same(alone, tmp_path):
    first = start(tmp_path, batch=4, devices=2, index=0, of=2)
    second = start(tmp_path, batch=3, index=1, of=2)
    for _ in range(3):
        second.stdout.readline()
    second.kill()
    second.wait()
    first.kill()  # which would wait for the second
    first.wait()
    kept = Resumable(tmp_path, "samples", {}).gaps(0, COUNT)
    assert any(start <= COUNT - 1 < stop for start, stop in kept)
    again = [start(tmp_path, batch=5, devices=2, index=i, of=2) for i in range(2)]
    finish(*again)
    np.testing.assert_array_equal(rows(tmp_path)["image"], alone)
    ranges = [f.stem.split("-") for f in Resumable(tmp_path, "samples", {}).folder.glob("0*.npz")]
    numbers = [i for start, stop in ranges for i in range(int(start), int(stop))]
    assert sorted(numbers) == list(range(COUNT))  # none drawn twice
