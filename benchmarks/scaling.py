"""What a training step sends over 1, 2 and 4 devices, counted in the compiled program.

Simulated devices share this machine's cores, so that a speed-up would say nothing; bytes and
operations are those of real ones. Child: python -m benchmarks.scaling --devices N --strategy NAME.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping

from benchmarks.tables import Cell, Table
from benchmarks.worker import Worker, peak_memory

DEVICES, WAYS = (1, 2, 4), ("shard_map", "fsdp")


def ring_bytes(received: Mapping[str, int], devices: int) -> float:
    """Bytes that each device sends on a ring, from the sizes of the collectives' results.

    A ring of n sends 2 (n - 1) / n of an all-reduced array, (n - 1) / n of a gathered one and
    n - 1 shards of one that is reduced and scattered (Patarasuk & Yuan 2009).
    """
    n = devices
    sent = {"all-reduce": 2 * (n - 1) / n, "all-gather": (n - 1) / n, "reduce-scatter": n - 1}
    return sum(sent[kind] * size for kind, size in received.items())


def scaling_table(network: str, cache: str) -> Table:
    """The same global batch over more and more devices."""
    rows: list[list[Cell]] = []
    for strategy in WAYS:
        for devices in DEVICES:
            flag = f"--xla_force_host_platform_device_count={devices}"
            environment = {"XLA_FLAGS": flag, "JAX_COMPILATION_CACHE_DIR": cache}
            command = [sys.executable, "-m", "benchmarks.scaling", "--network", network]
            command += ["--strategy", strategy, "--devices", str(devices)]
            worker = Worker(command, environment)
            worker.close()
            rows.append([strategy, devices, *_cells(worker.facts, devices)])
    header = ["strategy", "devices", "all-reduce, MB", "all-gather, MB", "reduce-scatter, MB"]
    header += ["sent on a ring, MB", "GFLOP a device", "program, MB a device"]
    return Table(f"Collectives of a training step ({network} network)", header, rows)


def _cells(facts: Mapping, devices: int) -> list[Cell]:
    received = facts["collectives"] if devices > 1 else {}
    kinds = ("all-reduce", "all-gather", "reduce-scatter")
    cells: list[Cell] = [received.get(kind, 0) / 1e6 for kind in kinds]
    return [*cells, ring_bytes(received, devices) / 1e6, facts["gflop"], facts["program_mb"]]


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="reduced")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--strategy", choices=WAYS, default="shard_map")
    args = parser.parse_args()
    import main

    main.prepare_jax()
    assert f"device_count={args.devices}" in os.environ["XLA_FLAGS"]
    from benchmarks.jax_side import Step, config_of
    from training.parallel import collective_bytes

    config = config_of(args.network)
    config.training.microbatch = str(config.training.batch_size // args.devices)
    step = Step(config, args.strategy)
    print(json.dumps(step.facts | {"collectives": collective_bytes(step.text)}))
    print(peak_memory())


if __name__ == "__main__":
    run()
