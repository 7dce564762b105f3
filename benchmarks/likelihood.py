"""The likelihood beside the reference's way of computing it, in the same run.

Ours takes drift and divergence from one linearised pass inside one compiled program, each image
with its own step sizes. The reference's way (Song et al. 2021, released code) takes two passes, one
for the drift and one for the divergence's gradient, both called by scipy's RK45 from the host with
one error norm over the whole batch. It is done here twice: with our network, compiled by JAX, and
by PyTorch with `diffusers`' network of the same sizes, whose process imports nothing of this
project but plain numbers and needs scipy. Child: python -m benchmarks.likelihood --side ours.
"""

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.networks import NETWORKS
from benchmarks.tables import Cell, Table, times
from benchmarks.worker import Failed, Worker, race, serve

STEPS = 2  # attempted steps in one run
TOLERANCE = 1e-5
IMAGES = 32  # of the digits
# Of the original's PyTorch port, ms an evaluation, on another day on a machine of this kind.
RECORDED = {"reduced": 290.0, "full": 1150.0}
AIMS = {"reduced": "3 x", "full": "1.8 x"}
OURS, TWO_PASSES, TORCH, COMPILED = "ours", "two passes", "torch", "torch.compile"


def likelihood_tables(
    networks: list[str], torch_python: str, torch_compile: bool, cache: Path, rounds: int
) -> list[Table]:
    """The time of an evaluation, and how many an image needs."""
    rows = [
        _speed_row(network, torch_python, torch_compile, cache, rounds)
        for network in networks
        if network in RECORDED
    ]
    header = ["network", "ours, ms", "two passes and scipy, ms", "ours faster by"]
    header += ["diffusers, two passes and scipy, ms", "ours faster by", "torch.compile, ms"]
    header += ["ours faster by", "port, recorded, ms", "ours faster by", "aim"]
    return [
        Table("An evaluation of the likelihood's equation", header, rows, _NOTE),
        evaluations_table(cache),
    ]


_NOTE = """\
Drift and divergence with one probe, and the solver's part of the step. Medians over all turns.
*Two passes and scipy* runs our network, compiled. The port was recorded on another day."""


def _speed_row(
    network: str, torch_python: str, torch_compile: bool, cache: Path, rounds: int
) -> list[Cell]:
    names = [OURS, TWO_PASSES]
    if torch_python:
        names += [TORCH, COMPILED] if torch_compile else [TORCH]
    starts = {}
    for name in names:
        python = sys.executable if name in (OURS, TWO_PASSES) else torch_python
        starts[name] = functools.partial(side, python, network, name, cache)
    run = race(starts, rounds, 1)
    ms = {name: worker.ms / worker.facts["runs"] for name, worker in run.workers.items()}
    mine, recorded = ms.get(OURS), RECORDED[network]
    row: list[Cell] = [network, ms.get(OURS, run.failed.get(OURS))]
    for name in (TWO_PASSES, TORCH, COMPILED):
        row += [ms.get(name, run.failed.get(name)), times(ms.get(name), mine)]
    return [*row, recorded, times(recorded, mine), AIMS[network]]


def side(python: str, network: str, name: str, cache: Path) -> Worker:
    """A process of one contestant."""
    command = [python, "-m", "benchmarks.likelihood", "--network", network, "--side", name]
    return Worker(command, {"JAX_COMPILATION_CACHE_DIR": str(cache)})


def evaluations_table(cache: Path) -> Table:
    """Of held-out digits under the shipped model, at equal tolerance."""
    command = [sys.executable, "-m", "benchmarks.likelihood", "--side", "digits"]
    worker = Worker(command, {"JAX_COMPILATION_CACHE_DIR": str(cache)})
    rows: list[list[Cell]]
    try:
        worker.close()
        rows = [
            [f["who"], f["batch"], f["mean"], f["most"], f["s"], f["bits"], f["error"]]
            for f in worker.facts["rows"]
        ]
    except Failed as error:
        rows = [[f"failed: {error}", *[None] * 6]]
    header = ["who", "batch", "evaluations an image", "most", "s for all", "bits/dim"]
    header += ["largest error, bits/dim"]
    note = f"""\
{IMAGES} held-out digits, shipped model, rtol = atol = {TOLERANCE:g}, the same probes. Error:
against our solve at a hundredth of the tolerance. An image of the reference's way gets the
evaluations that its whole batch needs."""
    return Table("Evaluations of an image's likelihood", header, rows, note)


def scipy_solver(
    drift: Callable, divergence: Callable, x: Any, ends: tuple[float, float], tolerance: float
) -> Any:
    """The reference's solve, at its beginning: scipy's RK45 on (x, log-density) of the batch."""
    import numpy as np
    from scipy.integrate import RK45

    shape, batch = x.shape, len(x)

    def field(t: float, y: Any) -> Any:
        state = y[:-batch].reshape(shape).astype(np.float32)
        times_of = np.full(batch, t, np.float32)
        parts = [np.asarray(f(state, times_of)).reshape(-1) for f in (drift, divergence)]
        return np.concatenate(parts)

    y = np.concatenate([np.asarray(x).reshape(-1), np.zeros(batch)])
    return RK45(field, ends[0], y, ends[1], rtol=tolerance, atol=tolerance)


def two_passes(process: Any, predict: Any, cond: Any, probes: Any) -> tuple[Callable, Callable]:
    """Drift and divergence of our network as two compiled functions of numpy arrays (x, t)."""
    import jax
    import jax.numpy as jnp

    def velocity(predict: Any, x: Any, t: Any) -> Any:
        return predict(x, process.node(t), cond).velocity(process)

    @jax.jit
    def divergence(predict: Any, x: Any, t: Any) -> Any:
        gradient = jax.grad(lambda x: jnp.sum(velocity(predict, x, t) * probes))(x)
        return jnp.sum((gradient * probes).reshape(len(x), -1), axis=1)

    drift = jax.jit(velocity)
    return lambda x, t: drift(predict, x, t), lambda x, t: divergence(predict, x, t)


def prepare_jax(config: Any, side: str) -> tuple[Callable[[], None], int]:
    """One run, and the evaluations in it."""
    import jax
    import jax.numpy as jnp

    from benchmarks.jax_side import image_experiment, new_model
    from likelihood import log_likelihood

    experiment = image_experiment(config)
    (predict, shape, cond), process = new_model(experiment), experiment.process
    x = jax.random.uniform(jax.random.key(1), shape)
    probes = jax.random.rademacher(jax.random.key(2), shape, dtype=jnp.float32)
    if side == OURS:
        evaluations = 2 + 6 * STEPS

        # No step meets this tolerance: all steps that there may be are attempted, and all samples
        # left on their way, which is said once.
        def run() -> None:
            found = log_likelihood(
                jax.random.key(0), process, predict, x, cond=cond, probes=probes[:, None],
                rtol=1e-30, atol=1e-30, max_steps=STEPS, throw=False,
            )  # fmt: skip
            jax.block_until_ready(found.value)
            assert int(found.evaluations.max()) == evaluations

        return run, evaluations
    functions, ends = two_passes(process, predict, cond, probes), (process.t_min, process.t_max)
    return _steps(lambda: scipy_solver(*functions, x, ends, TOLERANCE))


def _steps(make: Callable[[], Any]) -> tuple[Callable[[], None], int]:
    """STEPS steps of a new scipy solve, and the evaluations in them."""
    counted: list[int] = []

    def run() -> None:
        solver = make()
        for _ in range(STEPS):
            solver.step()
        counted.append(solver.nfev)

    run()
    return run, counted[-1]


def prepare_torch(network: str, compiled: bool) -> tuple[Callable[[], None], int]:
    """The same by PyTorch, on numpy arrays."""
    import torch

    from benchmarks.torch_side import Flow, build

    torch.manual_seed(0)
    n = NETWORKS[network]
    net = build(n)
    x = torch.rand(n.batch, 3, n.size, n.size)
    flow = Flow(torch.compile(net) if compiled else net, n, x)

    def on_arrays(function: Callable) -> Callable:
        return lambda x, t: function(torch.from_numpy(x), torch.from_numpy(t)).numpy()

    drift, divergence = on_arrays(flow.drift), on_arrays(flow.divergence)
    ends = flow.T_MIN, 1.0
    return _steps(lambda: scipy_solver(drift, divergence, x.numpy(), ends, TOLERANCE))


def measure_digits() -> list[dict[str, Any]]:
    """Rows of `evaluations_table`, each after a run that compiles."""
    import dataclasses

    import jax
    import jax.numpy as jnp
    import numpy as np

    import main
    from experiment.pipeline import load
    from likelihood import log_likelihood

    model = load(main.PRETRAINED)
    experiment, predict = model.experiment, model.predictor
    process = experiment.process
    transform = dataclasses.replace(experiment.transform.for_evaluation(), dequantize=True)
    data = transform(experiment.held_out.take(np.arange(IMAGES)), range(IMAGES), 0)
    x, labels = jnp.asarray(data["image"]), jnp.asarray(data["label"])
    probes = jax.random.rademacher(jax.random.key(0), x.shape, dtype=jnp.float32)
    to_bits = lambda log_p: transform.space.bits_per_dim(np.asarray(log_p), x[0].size)  # noqa: E731

    def ours(part: slice, tolerance: float = TOLERANCE) -> tuple[Any, Any]:
        found = log_likelihood(
            jax.random.key(0), process, predict, x[part], cond={"labels": labels[part]},
            probes=probes[part][:, None], rtol=tolerance, atol=tolerance,
        )  # fmt: skip
        return to_bits(found.value), np.asarray(found.evaluations)

    def theirs(part: slice) -> tuple[Any, Any]:
        cond, batch = {"labels": labels[part]}, len(x[part])
        functions = two_passes(process, predict, cond, probes[part])
        solver = scipy_solver(*functions, x[part], (process.t_min, process.t_max), TOLERANCE)
        while solver.status == "running":
            solver.step()
        latent = jnp.asarray(solver.y[:-batch].reshape(x[part].shape), jnp.float32)
        log_p = process.prior_logp(latent) + solver.y[-batch:]
        return to_bits(log_p), np.full(batch, solver.nfev)

    parts = lambda size: [slice(i, i + size) for i in range(0, IMAGES, size)]  # noqa: E731
    exact = np.concatenate([ours(part, TOLERANCE / 100)[0] for part in parts(IMAGES)])
    rows = []
    for who, solve in (("ours", ours), ("two passes, scipy", theirs)):
        for size in (8, IMAGES):
            solve(parts(size)[0])  # compiles
            began = time.perf_counter()
            found = [solve(part) for part in parts(size)]
            seconds = time.perf_counter() - began
            bits, evaluations = (np.concatenate(column) for column in zip(*found, strict=True))
            rows.append(
                {
                    "who": who,
                    "batch": size,
                    "mean": float(evaluations.mean()),
                    "most": int(evaluations.max()),
                    "s": seconds,
                    "bits": f"{statistics.fmean(map(float, bits)):.4f}",
                    "error": float(np.abs(bits - exact).max()),
                }
            )
    return rows


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=[OURS, TWO_PASSES, TORCH, COMPILED, "digits"])
    parser.add_argument("--network", choices=NETWORKS, default="reduced")
    args = parser.parse_args()
    if args.side in (TORCH, COMPILED):
        measured, count = prepare_torch(args.network, args.side == COMPILED)
    else:
        import main

        main.prepare_jax()
        if args.side == "digits":
            from benchmarks.worker import peak_memory

            print(json.dumps({"rows": measure_digits()}), flush=True)
            print(json.dumps(peak_memory()), flush=True)
            return
        from benchmarks.jax_side import config_of

        measured, count = prepare_jax(config_of(args.network), args.side)
    serve(measured, {"runs": count})


if __name__ == "__main__":
    run()
