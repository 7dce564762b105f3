"""What is measured of this project, one quantity a process: `python -m benchmarks.jax_side`.

forward   the predictor on a batch, without dropout
train     one step of the program that the training loop runs: loss, gradient, clipping, Adam, EMA
pc        a step of the predictor-corrector sampler, reverse diffusion and Langevin: 2 evaluations
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import main
from benchmarks.networks import NETWORKS, QUANTITIES
from benchmarks.worker import serve

STEPS = 4  # of the sampler in one run


def config_of(network: str, batch: int = 0, scan: bool = False) -> Any:
    """The configuration of a network, "digits" being the one that the project ships."""
    if network == "digits":
        from configs.digits.vp import get_config

        config = get_config()
    else:
        from configs.ve.cifar10_ncsnpp import get_config

        config, n = get_config(), NETWORKS[network]
        config.model.update(
            nf=n.nf, num_res_blocks=n.num_res_blocks, ch_mult=n.ch_mult, dropout=n.dropout
        )
        config.training.batch_size = n.batch
    config.training.batch_size = batch or config.training.batch_size
    config.model.update(scan_blocks=scan)
    return config


class Step:
    """The training step of a config, lowered and compiled as `program.Program` does it.

    text: of the compiled program. facts: seconds of initialisation, of tracing and of compilation,
    operations, bytes.
    """

    def __init__(self, config: Any, strategy: str = "shard_map"):
        import jax

        from experiment import builders
        from training import loop, microbatch, parallel
        from training.program import apply_gradient, mean_gradient, return_free_memory

        options, task = builders.train_options(config), builders.task(config)
        ways = parallel.STRATEGIES[strategy](parallel.make_mesh())
        self.batches = ways.put(self._batches(config))
        began = time.perf_counter()
        state = loop.new_state(task, options)
        self.state = jax.block_until_ready(parallel.place(state, ways.sharding(state)))
        del state
        initialised = time.perf_counter()
        return_free_memory()
        per_device = loop.examples_per_device(options)
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
            "program_mb": microbatch.footprint(self.compiled) / 1e6,
            "parameters": sum(x.size for x in jax.tree.leaves(self.state.params)),
        }

    def __call__(self) -> None:
        import jax

        self.state, summaries = self.compiled(self.state, self.batches)
        jax.block_until_ready(summaries)

    def _batches(self, config: Any) -> dict[str, Any]:
        import numpy as np

        from experiment import builders

        batch = config.training.batch_size
        images = np.random.default_rng(0).random((1, batch, *builders.image_shape(config)))
        return {"image": images.astype(np.float32), "label": np.zeros((1, batch), np.int32)}


def prepare_train(config: Any) -> tuple[Callable[[], None], dict[str, Any]]:
    config.training.microbatch = str(config.training.batch_size)
    step = Step(config)
    return step, step.facts


def prepare_forward(config: Any) -> tuple[Callable[[], None], dict[str, Any]]:
    import jax

    from experiment import builders

    predict, shape, cond = _sampled(config)
    node = builders.process(config).node(jax.numpy.full(shape[0], 0.5))
    x = jax.random.normal(jax.random.key(1), shape)
    forward = jax.jit(lambda predict, x: predict(x, node, cond).eps)
    return lambda: jax.block_until_ready(forward(predict, x)), {}


def prepare_pc(config: Any) -> tuple[Callable[[], None], dict[str, Any]]:
    import jax

    from experiment import builders
    from sampling import sample

    config.sampling.update(predictor="reverse_diffusion", corrector="langevin", num_steps=STEPS)
    predict, shape, cond = _sampled(config)
    key, process = jax.random.key(1), builders.process(config)
    method = builders.solver(config), builders.grid(config)

    def run() -> None:
        samples = sample(key, process, predict, *method, shape, cond=cond, denoise="none")
        jax.block_until_ready(samples.x)

    return run, {"runs": STEPS}


def _sampled(config: Any) -> tuple[Any, tuple[int, ...], dict[str, Any]]:
    """A predictor with new parameters, the shape of a batch, and its labels if it has classes."""
    import jax

    from experiment import builders

    task, batch = builders.image_task(config), config.training.batch_size
    cond = {"labels": jax.numpy.zeros(batch, int)} if config.data.num_classes else {}
    shape = (batch, *builders.image_shape(config))
    return task.predictor(jax.jit(task.init)(jax.random.key(0))), shape, cond


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
