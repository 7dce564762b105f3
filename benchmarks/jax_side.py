"""What is measured of this project, one quantity a process: `python -m benchmarks.jax_side`.

forward   the predictor on a batch, without dropout
train     one step of the program that the training loop runs: loss, gradient, clipping, Adam, EMA
pc        a step of the predictor-corrector sampler, reverse diffusion and Langevin: 2 evaluations
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

import main
from benchmarks.networks import NETWORKS, QUANTITIES
from benchmarks.worker import ROOT, serve

if TYPE_CHECKING:
    from experiment.image import ImageExperiment

CONFIGS = ROOT / "configs"
STEPS = 4  # of the sampler in one run
# Networks with a configuration of their own, and what is changed in it: "digits" and "small" are
# those that the project ships, the latter with 7.0 M parameters for 32 x 32 x 3 images of nine
# classes, and "small toy" exercises it in seconds.
CONFIGURED: dict[str, tuple[str, dict[str, Any]]] = {
    "digits": ("digits/vp.py", {}),
    "small": ("emoji/vp.py", {}),
    "small toy": (
        "emoji/vp_small.py",
        {
            "model.nf": 8,
            "model.ch_mult": (1,),
            "model.attn_resolutions": (),
            "model.patch_size": 4,
        },
    ),
}


def config_of(
    network: str, batch: int = 0, scan: bool = False, fields: Mapping[str, Any] | None = None
) -> ConfigDict:
    """The configuration of a network of CONFIGURED or NETWORKS.

    batch: examples of a training step; 0 for the network's own. fields: further overrides.
    """
    from experiment import kinds

    overrides: dict[str, Any] = {"model.scan_blocks": scan}
    if network in CONFIGURED:
        path, changed = CONFIGURED[network]
        overrides |= changed
    else:
        path, n = "ve/cifar10_ncsnpp.py", NETWORKS[network]
        for name in ("nf", "num_res_blocks", "ch_mult", "dropout"):
            overrides[f"model.{name}"] = getattr(n, name)
        overrides["model.attn_resolutions"] = (n.size >> n.attention_level,)
        overrides["data.image_size"] = (n.size, n.size)
        overrides["training.batch_size"] = n.batch
    overrides |= {"training.batch_size": batch} if batch else {}
    return kinds.load(CONFIGS / path, overrides | dict(fields or {}))


def whole_batch(config: ConfigDict) -> ConfigDict:
    """The configuration with a microbatch of all examples of the step."""
    config.training.microbatch = str(config.training.batch_size)
    return config


def image_experiment(config: ConfigDict) -> "ImageExperiment":
    """The experiment of a configuration of `config_of`."""
    from experiment.image import ImageExperiment

    return ImageExperiment(config)


class Step:
    """The training step of a config, lowered and compiled as `program.Program` does it.

    text: of the compiled program. facts: seconds of initialisation, of tracing and of compilation,
    operations, bytes that the program needs, and those that it reads and writes as XLA counts them.
    """

    def __init__(self, config: ConfigDict):
        import jax

        from options import memory
        from training import loop, parallel
        from training.program import apply_gradient, mean_gradient, return_free_memory

        experiment = image_experiment(config)
        options, task = experiment.training, experiment.task
        ways = parallel.ShardMap(parallel.make_mesh())
        self.batches = ways.put(_batches(experiment))
        began = time.perf_counter()
        state = loop.new_state(task, options)
        self.state = jax.block_until_ready(parallel.place(state, ways.sharding(state)))
        del state
        initialised = time.perf_counter()
        return_free_memory()
        per_device = loop.examples_per_device(options, jax.device_count())
        gradient = partial(mean_gradient, task.loss, per_device)
        update = partial(apply_gradient, options.optimizer, options.ema)
        lowered = ways.lower(gradient, update, self.state, self.batches)
        traced = time.perf_counter()
        self.compiled = lowered.compile()
        compiled = time.perf_counter()
        return_free_memory()
        cost, text = self.compiled.cost_analysis(), self.compiled.as_text()
        assert cost is not None and text is not None
        self.text = text
        self.facts = {
            "init_s": initialised - began,
            "trace_s": traced - initialised,
            "compile_s": compiled - traced,
            "gflop": cost["flops"] / 1e9,
            "gbytes": cost.get("bytes accessed", 0.0) / 1e9,
            "program_mb": memory.footprint(self.compiled) / 1e6,
            "parameters": sum(x.size for x in jax.tree.leaves(self.state.params)),
        }

    def __call__(self) -> None:
        self.in_a_row(1)

    def in_a_row(self, count: int) -> None:
        """So many steps, of which only the last is waited for."""
        import jax

        for _ in range(count):
            self.state, summaries = self.compiled(self.state, self.batches)
        jax.block_until_ready((self.state, summaries))


def _batches(experiment: "ImageExperiment") -> dict[str, Any]:
    """One step's batch of random images, under a leading axis of steps."""
    import numpy as np

    batch = experiment.options.training.batch_size
    images = np.random.default_rng(0).random((1, batch, *experiment.shape))
    return {"image": images.astype(np.float32), "label": np.zeros((1, batch), np.int32)}


def prepare_train(config: ConfigDict) -> tuple[Callable[[], None], dict[str, Any]]:
    step = Step(whole_batch(config))
    return step, step.facts


def prepare_forward(config: ConfigDict) -> tuple[Callable[[], None], dict[str, Any]]:
    import jax

    experiment = image_experiment(config)
    predict, shape, cond = new_model(experiment)
    node = experiment.process.node(jax.numpy.full(shape[0], 0.5))
    x = jax.random.normal(jax.random.key(1), shape)
    forward = jax.jit(lambda predict, x: predict(x, node, cond).eps)
    return lambda: jax.block_until_ready(forward(predict, x)), {}


def prepare_pc(config: ConfigDict) -> tuple[Callable[[], None], dict[str, Any]]:
    from solvers.predictor_corrector import Langevin, PredictorCorrector, ReverseDiffusion

    solver = PredictorCorrector(ReverseDiffusion(), Langevin())
    return prepare_sampler(config, solver, STEPS), {"runs": STEPS}


def prepare_sampler(config: ConfigDict, solver: Any, steps: int) -> Callable[[], None]:
    """One whole run of a solver, of so many steps, in the precision of the configuration."""
    import jax

    config.sampling.num_steps = steps
    experiment = image_experiment(config)
    sampler = dataclasses.replace(experiment.sampler, solver=solver, denoise="none")
    predict, shape, cond = new_model(experiment)
    predict, key = predict.at(sampler.precision), jax.random.key(1)

    def run() -> None:
        jax.block_until_ready(sampler.draw(key, predict, shape[0], cond=cond).x)

    return run


def new_model(experiment: "ImageExperiment") -> tuple[Any, tuple[int, ...], dict[str, Any]]:
    """A predictor with new parameters, the shape of a batch, and its labels if it has classes."""
    import jax

    task, batch = experiment.task, experiment.options.training.batch_size
    cond = {"labels": jax.numpy.zeros(batch, int)} if experiment.labels else {}
    params = jax.jit(task.init)(jax.random.key(0))
    return task.predictor(params), (batch, *experiment.shape), cond


PREPARE = {"forward": prepare_forward, "train": prepare_train, "pc": prepare_pc}


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=[*NETWORKS, "digits"], default="reduced")
    parser.add_argument("--quantity", choices=QUANTITIES, default="train")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--scan", action="store_true")
    parser.add_argument("--warm_up", type=int, default=2)
    args = parser.parse_args()
    main.prepare_jax()
    started = time.perf_counter()
    config = config_of(args.network, args.batch, args.scan)
    measured, facts = PREPARE[args.quantity](config)
    measured()
    facts = facts | {"first_run_s": time.perf_counter() - started, "flags": os.environ["XLA_FLAGS"]}
    serve(measured, facts, warm_up=args.warm_up - 1)


if __name__ == "__main__":
    run()
