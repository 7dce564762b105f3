"""Runs of the tiny task: options, what they leave behind, what may go wrong beside them."""

import json

import jax
import numpy as np
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

from options.errors import NotFinite, StorageError
from training.ema import EMA
from training.loop import TrainOptions
from training.optimizer import Optimizer

OPTIONS = TrainOptions(
    steps=40,
    batch_size=8,
    optimizer=Optimizer(lr=1e-2, warmup=4),
    ema=EMA(0.9),
    n_jitted_steps=5,
    log_every=10,
    checkpoint_every=10,
)
# What a plot or a measurement may fail with.
FAILURES = {
    "not finite": NotFinite("x", but="not finite: sample 3 at t = 0.5"),
    "a full disk": StorageError("workdir", but="pictures cannot be written"),
    "a path that is a file": NotADirectoryError("pictures"),
    "out of memory": jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore"),
}


def rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def equal(a, b):
    """Bit for bit."""
    same = jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), jax.device_get((a,)), (b,))
    return all(jax.tree.leaves(same))


def events(folder):
    """The events of a TensorBoard folder, by reading the records back."""
    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            body, crc = data[12 : 12 + size], data[12 + size : 16 + size]
            assert int.from_bytes(crc, "little") == masked_crc32c(body)
            found.append(event_pb2.Event.FromString(body))
            data = data[16 + size :]
    return found


def scalars(folder):
    values = [(e.step, v) for e in events(folder) for v in e.summary.value]
    return {(v.tag, step): v.simple_value for step, v in values}
