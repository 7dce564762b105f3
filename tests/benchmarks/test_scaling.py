"""What a training step sends over devices, counted in the compiled program and by its shapes."""

import json
import subprocess
import sys

import jax
import pytest
from quick import with_devices

from benchmarks import scaling
from benchmarks.jax_side import config_of, image_experiment
from benchmarks.worker import ROOT

PROGRAM = """HloModule jit_f, is_scheduled=true

%body (s: (f32[4])) -> (f32[4]) {
  %all-reduce = (f32[256,4]{1,0}, f32[], bf16[8]{0}) all-reduce(%a, %b, %c), channel_id=1
  %g = f32[] get-tuple-element(%all-reduce), index=1
  %reduce_scatter.27 = f32[64,4]{1,0} reduce-scatter(%dot), dimensions={0}
}

ENTRY %main (a: bf16[8,4], b: f32[4]) -> bf16[8,4] {
  %all_gather.19 = f32[256,4]{1,0} all-gather(%w), channel_id=1, dimensions={0}
  %start = (f32[2]{0}, f32[8]{0}) all-gather-start(%v), channel_id=2, dimensions={0}
  %done = f32[8]{0} all-gather-done(%start)
}
"""


def test_bytes_of_the_results_of_collectives_wherever_they_stand():
    """Four devices: gradients reduced whole, or gathered and scattered in shards."""
    assert scaling.collective_bytes(PROGRAM) == {
        "all-reduce": 4 * 1024 + 4 + 16,
        "all-gather": 4096 + 32,
        "reduce-scatter": 1024,
    }


def test_what_a_ring_sends():
    """All-reduce is a reduce-scatter and an all-gather: both ways of sharding send the same."""
    size = 4_000
    for n in (2, 4):
        reduced = scaling.ring_bytes({"all-reduce": size}, n)
        sharded = scaling.ring_bytes({"all-gather": size, "reduce-scatter": size // n}, n)
        assert reduced == sharded == 2 * (n - 1) / n * size


def test_one_device_sends_nothing_and_holds_the_state():
    experiment = image_experiment(config_of("small toy"))
    facts = scaling.by_shapes(experiment, "fsdp", 1, batch=2)
    parameters = 4 * sum(x.size for x in jax.tree.leaves(experiment.template))
    batch = 2 * (4 * 32 * 32 * 3 + 4)
    assert facts["received"] == {} and scaling.row("any", 1, facts)[-2:] == [None, "shapes"]
    # Parameters, average and two moments; the step, the key and Adam's count.
    assert 0 <= facts["arguments"] - 4 * parameters - batch < 64


CHILD = """
import json
from benchmarks import scaling
from benchmarks.jax_side import config_of, image_experiment
experiment = image_experiment(config_of("small toy"))
ways = [(way, 4, 1) for way in scaling.WAYS]
found = [[f(experiment, *way) for f in (scaling.compiled, scaling.by_shapes)] for way in ways]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_the_compiled_program_sends_and_holds_what_shapes_and_shardings_say():
    """On four devices; beside gradients the losses and the norm are reduced, a few small gradients
    are not."""
    command = [sys.executable, "-c", CHILD]
    run = subprocess.run(command, env=with_devices(4), cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    data_parallel, fsdp = json.loads(run.stdout.splitlines()[-1])
    for compiled, shapes in (data_parallel, fsdp):
        assert compiled["arguments"] == shapes["arguments"]
        sent, foretold = compiled["received"], shapes["received"]
        assert abs(sent.pop("all-reduce") - foretold.pop("all-reduce")) < 1024
        assert sent == foretold
    assert fsdp[0]["arguments"] < 0.6 * data_parallel[0]["arguments"]
