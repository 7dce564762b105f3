"""What main.py can do: train, evaluate, sample, control."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from evaluation import classifiers, image_models
from experiment import builders, checks
from generation import controls
from generation.sampler import Generated, bar_updater
from models.upgrade import upgrade_upsampler
from parameterization import NetworkPredictor
from storage import checkpoint, files, pictures, weights, workdir
from training import loop, parallel

# Fields that may differ from the config that a workdir was begun with.
CONTINUABLE = (
    "training.steps",
    "training.max_seconds",
    "training.log_every",
    "training.checkpoint_every",
    "training.draw_every",
    "training.keep",
    "training.keep_every",
    "sampling",
    "control",
    "eval",
    "guidance",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A command line.

    Attributes:
      weights: exported parameters to use in place of the workdir's checkpoints, or None.
      cluster: (coordinator, number of processes, number of this process); ("", 0, 0) on one host,
        "auto" where JAX finds the three by itself (a TPU pod, SLURM).
    """

    config: ConfigDict
    workdir: Path
    weights: Path | None = None
    force: bool = False
    cluster: tuple[str, int, int] = ("", 0, 0)


def run_train(run: Run) -> int:
    """Trains, or goes on training, in the workdir."""
    if run.cluster[0] == "auto":
        jax.distributed.initialize()
    elif run.cluster[0]:
        parallel.initialize(*run.cluster)
    checks.check(run.config, jax.device_count())
    result = loop.fit(
        builders.task(run.config),
        builders.loader(run.config),
        builders.train_options(run.config),
        run.workdir,
        config_json=run.config.to_json(),
        force=run.force,
        free=CONTINUABLE,
    )
    print(f"{result.stopped} at step {result.steps} after {result.seconds:.0f} s: {run.workdir}")
    return 0


# Of each task: what makes the subject and the options, and the module that evaluates them.
EVALUATIONS: dict[str, tuple[Callable, Callable, Any]] = {
    "image": (builders.subject, builders.eval_options, image_models),
    "classifier": (
        builders.classifier_subject,
        builders.classifier_eval_options,
        classifiers,
    ),
}


def run_eval(run: Run) -> int:
    """Evaluates the chosen checkpoints; the reports are in workdir/eval."""
    checks.check(run.config, jax.device_count())
    if run.weights or run.workdir.is_dir():
        workdir.require_writable(run.workdir / "eval")
    make_subject, make_options, evaluation = EVALUATIONS[run.config.task]
    subject, options = make_subject(run.config), make_options(run.config)
    with builders.section("eval", images="extractor"):
        if run.weights:
            params, folder = load_weights(run), run.workdir / "eval"
            step = weights.read_meta(run.weights).get("step", 0)
            reports = {step: evaluation.evaluate(subject, params, step, options, folder)}
        else:
            reports = evaluation.run(subject, options, run.workdir)
    for step, report in reports.items():
        print(f"\nstep {step}: {run.workdir / 'eval' / str(step) / 'report.json'}\n{report}")
    return 0


def run_sample(run: Run) -> int:
    """Draws pictures into workdir/samples: a grid, the path from noise, and the arrays."""
    checks.check(run.config, jax.device_count())
    _require_image_model(run)
    generator, guide = builders.generator(run.config), builders.guide(run.config)
    predict = guide(predictor(run)) if guide else predictor(run)
    folder = run.workdir / "samples"
    workdir.require_writable(folder)
    options = run.config.sampling
    key = jax.random.key(options.seed)
    labels = builders.sample_labels(run.config)
    with tqdm(desc="sample", unit="step") as bar:
        made = generator.images(predict, key, labels, frames=10, progress=bar_updater(bar))
    shown = pictures.grid(made.images, generator.num_classes or None)
    pictures.write_png(folder / "samples.png", pictures.enlarge(shown, 2))
    write_path(folder / "path.png", made)
    pictures.write_npz(
        folder / "samples.npz",
        images=made.images,
        labels=made.labels,
        nfe=np.array(made.nfe, np.float32),
        ok=made.ok,
    )
    print(f"{len(labels)} samples, {made.nfe:.0f} evaluations each: {folder}")
    return 0


def run_control(run: Run) -> int:
    """Controlled generation into workdir/control: a picture, the arrays and the figures."""
    checks.check(run.config, jax.device_count())
    _require_image_model(run)
    task, folder = run.config.control.task, run.workdir / "control"
    workdir.require_writable(folder)
    images, labels, made = controlled(run)
    pictures.write_png(folder / f"{task}.png", pictures.enlarge(made.picture, 2))
    pictures.write_npz(folder / f"{task}.npz", images=images, labels=labels, results=made.results)
    about = {"control": run.config.control.to_dict(), "solver": repr(builders.solver(run.config))}
    about["guidance"] = run.config.guidance.to_dict()
    with files.atomic_write(folder / f"{task}.json", "w") as file:
        json.dump(about | {"images": len(images), "figures": made.figures}, file, indent=2)
    for name, value in made.figures.items():
        print(f"{name:24} {value:.4g}")
    print(f"{len(images)} images, {run.config.control.results} results each: {folder}")
    return 0


def controlled(run: Run) -> tuple[np.ndarray, np.ndarray, controls.Controlled]:
    """The images of a run's config.control, their classes, and what was made of them."""
    options, guide = builders.control_options(run.config), builders.guide(run.config)
    model = dataclasses.replace(builders.control_model(run.config), guide=guide)
    images, labels = builders.control_images(run.config)
    predict, key = predictor(run), jax.random.key(options.seed)
    with builders.section("control"), tqdm(desc=options.task, unit="step") as bar:
        made = controls.control(model, predict, images, labels, options, key, bar_updater(bar))
    return images, labels, made


def write_path(to: Path, made: Generated) -> None:
    """The way of the first ten samples from noise to the end, a row each, as PNG."""
    assert made.path is not None
    rows = made.path[:10]
    frames = rows.reshape(-1, *rows.shape[2:])
    pictures.write_png(to, pictures.enlarge(pictures.grid(frames, rows.shape[1]), 2))


def _require_image_model(run: Run) -> None:
    if run.config.task != "image":
        raise ValueError(
            f"task: got {run.config.task!r}, which makes no pictures; --mode sample and --mode "
            "control need the config, workdir or weights of an image model"
        )


def load_weights(run: Run, template: Any = None) -> Any:
    """The exported parameters; those of an upsampler may be of before."""
    assert run.weights
    if run.config.data.low_size:
        return upgrade_upsampler(weights.load_weights(run.weights))
    return weights.load_weights(run.weights, template)


def predictor(run: Run) -> NetworkPredictor:
    """The run's network with its averaged parameters."""
    task = builders.image_task(run.config)
    template = jax.eval_shape(task.init, jax.random.key(0))
    if run.weights:
        return task.predictor(load_weights(run, template))
    params: Any = checkpoint.load_ema(run.workdir / "checkpoints", template=template)[0]
    return task.predictor(params)


MODES: dict[str, Callable[[Run], int]] = {
    "train": run_train,
    "eval": run_eval,
    "sample": run_sample,
    "control": run_control,
}
