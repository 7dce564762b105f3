"""Whole-run sampling against loops in Python, on one network in one run.

    whole        `sampling.sample`: the loop is inside the compiled program
    jitted step  a Python loop that dispatches one compiled step after another
    network      a Python loop that compiles the network only, the rest of the step op by op
    diffusers    a Python loop of `diffusers`' scheduler and PyTorch network

Child: python -m benchmarks.sampling --contestant NAME --subject NAME --solver NAME.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.tables import Cell, Table, times
from benchmarks.worker import Worker, race, serve

STEPS = 20
OURS, STEP, NETWORK, DIFFUSERS = "whole", "jitted step", "network", "diffusers"
# Solvers by the names of diffusers' schedulers.
SCHEDULERS = {"ddim": "DDIMScheduler", "dpm": "DPMSolverMultistepScheduler"}
# What is sampled, and whether diffusers has a counterpart of it.
SUBJECTS = {"mixture": False, "digits": False, "reduced": True}


def subject(name: str) -> tuple[Any, Any, tuple[int, ...], dict[str, Any]]:
    """(process, predictor, shape of a batch, conditioning)."""
    import jax.numpy as jnp

    if name == "mixture":
        from oracles import Mixture
        from sde_lib import VPSDE

        data = Mixture(jnp.array([[1.0, 0.0], [-1.0, 0.0]]), 0.1, jnp.array([0.5, 0.5]))
        return VPSDE(), data, (100, 2), {}
    from benchmarks.jax_side import config_of, image_experiment, new_model

    experiment = image_experiment(config_of(name, batch=8))
    return experiment.process, *new_model(experiment)


def looped(name: str, solver: Any, whole_step: bool) -> Callable[[], None]:
    """The same steps one after another from Python."""
    import jax
    import jax.numpy as jnp

    import sampling
    from solvers.grids import uniform_grid

    process, predict, shape, cond = subject(name)
    grid = uniform_grid(process, STEPS, t_end=1e-3)
    network = jax.jit(lambda predict, x, node: predict(x, node, cond))

    def step(predict, call, x, node, node_next, state):
        found = solver.step(
            process, lambda x, node: call(predict, x, node), x, node, node_next, state, None
        )
        return found.x, found.state

    compiled = jax.jit(
        lambda predict, x, node, node_next, state: step(
            predict, lambda p, x, node: p(x, node, cond), x, node, node_next, state
        )
    )

    def run() -> None:
        keys = sampling.keys_for(jax.random.key(0), shape[0])
        x = process.prior_std * sampling.KeyedNoise(keys).initial(shape)
        state = solver.init(x)
        nodes = [sampling.at(grid, i, shape[0]) for i in range(STEPS + 1)]
        for node, node_next in zip(nodes, nodes[1:], strict=False):
            if whole_step:
                x, state = compiled(predict, x, node, node_next, state)
            else:
                x, state = step(predict, network, x, node, node_next, state)
        jax.block_until_ready(jnp.asarray(x))

    return run


def whole(name: str, solver: Any) -> Callable[[], None]:
    """One compiled program."""
    import jax

    import sampling
    from solvers.grids import uniform_grid

    process, predict, shape, cond = subject(name)
    grid = uniform_grid(process, STEPS, t_end=1e-3)

    def run() -> None:
        made = sampling.sample(
            jax.random.key(0), process, predict, solver, grid, shape, cond=cond, denoise="none"
        )
        jax.block_until_ready(made.x)

    return run


def diffusers_loop(name: str, solver: str) -> Callable[[], None]:
    """The loop of diffusers' pipelines without their progress bar."""
    import torch

    from benchmarks.networks import NETWORKS
    from benchmarks.torch_side import Sampling, build

    n = NETWORKS[name]
    return Sampling(build(n), n, torch.rand(8, 3, n.size, n.size), SCHEDULERS[solver], STEPS)


def sampling_table(torch_python: str, cache: Path, rounds: int = 5) -> Table:
    """Medians in ms of a whole run, contestants taking turns."""
    rows: list[list[Cell]] = []
    for name, rival in SUBJECTS.items():
        for solver in SCHEDULERS:
            names = [OURS, STEP, NETWORK] + ([DIFFUSERS] if rival and torch_python else [])
            starts = {
                who: functools.partial(
                    contestant,
                    torch_python if who == DIFFUSERS else sys.executable,
                    [who, name, solver],
                    cache,
                )
                for who in names
            }
            run = race(starts, rounds, 2)
            ms = {who: worker.ms for who, worker in run.workers.items()}
            row: list[Cell] = [name, solver, ms.get(OURS, run.failed.get(OURS))]
            for who in (STEP, NETWORK, DIFFUSERS):
                row += [ms.get(who, run.failed.get(who)), times(ms.get(who), ms.get(OURS))]
            rows.append(row)
    header = ["what", "solver", "one program, ms", "a jitted step at a time, ms", "ours faster by"]
    header += ["only the network jitted, ms", "ours faster by", "diffusers, ms", "ours faster by"]
    return Table(f"Sampling in {STEPS} steps", header, rows, _NOTE)


def contestant(python: str, chosen: list[str], cache: Path) -> Worker:
    """A process of one: who, what is sampled, by which solver."""
    flags = ("--contestant", "--subject", "--solver")
    command = [python, "-m", "benchmarks.sampling"]
    command += [part for pair in zip(flags, chosen, strict=True) for part in pair]
    return Worker(command, {"JAX_COMPILATION_CACHE_DIR": str(cache)})


_NOTE = """\
mixture: 100 samples of two dimensions by an exact score, where all time is overhead; digits: the
shipped model's network, batch 8; reduced: NCSN++ of the first table, batch 8, against diffusers'
network of the same size. New weights; no progress shown."""


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contestant", choices=(OURS, STEP, NETWORK, DIFFUSERS), default=OURS)
    parser.add_argument("--subject", choices=SUBJECTS, default="reduced")
    parser.add_argument("--solver", choices=SCHEDULERS, default="ddim")
    args = parser.parse_args()
    started = time.perf_counter()
    if args.contestant == DIFFUSERS:
        measured = diffusers_loop(args.subject, args.solver)
    else:
        import main

        main.prepare_jax()
        from solvers import DDIM, DPMSolverPP

        solver = {"ddim": DDIM(), "dpm": DPMSolverPP()}[args.solver]
        if args.contestant == OURS:
            measured = whole(args.subject, solver)
        else:
            measured = looped(args.subject, solver, args.contestant == STEP)
    measured()
    serve(measured, {"first_run_s": time.perf_counter() - started}, warm_up=1)


if __name__ == "__main__":
    run()
