"""Samples of a whole cascade: a model of small images and upsamplers of what it makes.

    python -m tools.cascade --weights runs/emoji_base_8,runs/emoji_up_16,runs/emoji_up_32
    python -m tools.cascade --weights runs/emoji_up_16,runs/emoji_up_32 --image small.png --labels 3

Workdirs or exported weights (.npz), from the smallest images to the largest. Each remembers its
configuration, and is sampled accordingly; --solver, --grid and --num_steps override that for all.
Leaves in the folder --out, by default one of its own below runs/cascade: cascade.png (a row a
class, of each sample all stages side by side), stage_0.npz, ... (images and labels) and
cascade.json: of each stage its evaluations, its seconds, compilation included, and how far the
means of its images are from the stage before.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from controllable.super_resolution import CascadeStage, cascade, check_chain
from experiment import pipeline
from experiment.image import ImageExperiment
from experiment.modes import named_classes
from options.choices import require
from options.program import one_line_errors
from options.progress import bar_updater, progress_bar
from sampling import Samples
from storage import json_text, pictures
from tools.command_line import folder_of, numbers


def load(where: str, overrides: dict[str, Any]) -> tuple[ImageExperiment, CascadeStage]:
    """The model that a workdir or a file of weights holds, and as a stage of a cascade."""
    model = pipeline.load(where, overrides)
    experiment = model.experiment
    classes = experiment.labels.num_classes if experiment.labels else 0
    return experiment, CascadeStage(experiment.sampler, model.sampled, experiment.low, classes)


def load_all(args: argparse.Namespace) -> tuple[list[ImageExperiment], list[CascadeStage]]:
    """Every model of the cascade; InvalidValue where they do not chain."""
    names = ("solver", "grid", "num_steps")
    given = {f"sampling.{name}": getattr(args, name) for name in names}
    overrides = {name: value for name, value in given.items() if value is not None}
    # The classes of all samples are those of the first stage.
    labels: dict[str, Any] = {}
    if args.labels:
        labels = {"sampling.labels": args.labels}
        labels["sampling.num_samples"] = len(args.labels.split(","))
    loaded = [
        load(where, overrides | ({} if number else labels))
        for number, where in enumerate(args.weights.split(","))
    ]
    experiments, stages = [e for e, _ in loaded], [stage for _, stage in loaded]
    check_chain(stages, bool(args.image))
    space = experiments[0].space
    require(space.is_pixels, "weights", space, "models of 8-bit images")
    return experiments, stages


def labels_of(experiment: ImageExperiment, asked: str, each: int) -> np.ndarray:
    """The class of each sample, `each` of every class asked for or there is; -1 without classes."""
    if not experiment.num_classes:
        return np.full(each, -1, np.int32)
    once = experiment.generator.labels(experiment.num_classes)
    return np.repeat(experiment.sample_labels() if asked else once, each)


def levels_of(asked: str, experiments: Sequence[ImageExperiment]) -> list[float]:
    """The levels asked for, one for all or one for each upsampler; else the configurations'."""
    own = [e.options.sampling.low_level for e in experiments if e.low is not None]
    levels = numbers("level", asked)
    if not levels:
        return own
    return levels * len(own) if len(levels) == 1 else levels


def with_levels(stages: Sequence[CascadeStage], levels: list[float]) -> list[CascadeStage]:
    """The stages with the levels of the upsamplers among them."""
    count = sum(stage.low is not None for stage in stages)
    require(len(levels) == count, "level", levels, f"one, or one for each of {count} upsamplers")
    left = iter(levels)
    return [
        stage if stage.low is None else dataclasses.replace(stage, level=next(left))
        for stage in stages
    ]


def panel_of(images: list[np.ndarray], each: int, names: Sequence[str] = ()) -> pictures.Panel:
    """All stages of each sample side by side, `each` samples a row, at the size of the last."""
    size = images[-1].shape[1]
    scales = [size // x.shape[1] for x in images]
    grown = [x.repeat(k, axis=1).repeat(k, axis=2) for x, k in zip(images, scales, strict=True)]
    together = np.stack(grown, axis=1)
    rows = together.reshape(-1, each * len(images), *together.shape[2:])
    titles = [f"{x.shape[1]} x {x.shape[2]}" for x in images] * each
    return pictures.Panel(rows, titles, names)


def image_to_enlarge(path: str, experiment: ImageExperiment) -> np.ndarray:
    """The image to begin with, (height, width, channels), as a state of the upsampler."""
    assert experiment.low is not None
    small = experiment.low.shape(experiment.shape)
    return experiment.space.encode(experiment.image_of_user(path, "image", [small]))


class Timed:
    """Progress of a cascade on a bar, and the time at which each stage ended."""

    def __init__(self, stages: Sequence[CascadeStage], update: Callable[[int, int], None]) -> None:
        self.steps = np.cumsum([len(stage.sampler.grid.t) - 1 for stage in stages])
        self.update = update
        self.times = [time.perf_counter()]

    def __call__(self, done: int, total: int) -> None:
        self.update(done, total)
        while len(self.times) <= len(self.steps) and done >= self.steps[len(self.times) - 1]:
            self.times.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """Of each stage."""
        return np.diff(self.times).tolist()


def metrics_of(
    stages: Sequence[CascadeStage], made: Sequence[Samples], given: np.ndarray | None
) -> list[dict[str, Any]]:
    """Of each stage, its evaluations and how far the means of its images are from those it got."""
    space = stages[0].sampler.space
    before = [np.zeros(0) if given is None else given, *(np.asarray(s.x) for s in made)]
    rows = []
    for number, (stage, samples) in enumerate(zip(stages, made, strict=True)):
        shape, nfe = stage.sampler.shape, float(np.mean(samples.nfe))
        row: dict[str, Any] = {"image_shape": shape, "evaluations": nfe}
        if stage.low is not None:
            clipped = np.clip(before[number], space.low, space.high)
            gap = np.asarray(stage.low.of(samples.x)) - clipped
            row["consistency_rmse"] = float(np.sqrt(np.mean(gap**2))) / space.width
        rows.append(row)
    return rows


def run(args: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """Samples, and writes the folder; it and the metrics."""
    require(args.each >= 1, "each", args.each, "at least 1")
    experiments, stages = load_all(args)
    levels = levels_of(args.level, experiments)
    stages = with_levels(stages, levels)
    labels = labels_of(experiments[0], args.labels, args.each)
    space, given = experiments[0].space, None
    if args.image:
        low = image_to_enlarge(args.image, experiments[0])
        given = np.broadcast_to(low, (len(labels), *low.shape))
    folder = folder_of(args, parser(), "runs/cascade")
    with progress_bar(desc="cascade") as bar:
        timed = Timed(stages, bar_updater(bar))
        made = cascade(
            jax.random.key(args.seed), stages, len(labels),
            labels=jnp.asarray(labels) if stages[0].num_classes else None,
            given=None if given is None else jnp.asarray(given), progress=timed,
        )  # fmt: skip
    rows = metrics_of(stages, made, given)
    for row, where, seconds in zip(rows, args.weights.split(","), timed.seconds, strict=True):
        row |= {"weights": where, "seconds": seconds}

    images = [space.to_uint8(samples.x) for samples in made]
    shown = images if given is None else [space.to_uint8(given), *images]
    classes = experiments[0].class_names
    names = [pictures.name_of(int(label), classes) for label in labels[:: args.each]]
    panel = panel_of(shown, args.each, names if any(names) else ())
    pictures.write_png(folder / "cascade.png", pictures.drawn(panel))
    for number, of_stage in enumerate(images):
        arrays = {"images": of_stage, "labels": labels} | named_classes(experiments[0])
        pictures.write_npz(folder / f"stage_{number}.npz", **arrays)
    metrics = {"samples": len(labels), "levels": levels, "seed": args.seed, "stages": rows}
    json_text.write(folder / "cascade.json", metrics)
    return folder, metrics


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    option = made.add_argument
    option("--weights", required=True, help="workdirs or .npz files, commas between them")
    option("--labels", default="", help="classes, as in 3,7 (default: all)")
    option("--each", type=int, default=2, help="samples of every class (default: 2)")
    option("--level", default="", help="of the noise on what upsamplers enlarge: one, or one each")
    option("--image", default="", help="an image to begin with, where the first is an upsampler")
    option("--solver", help="in place of the configurations', as are the next two")
    option("--grid")
    option("--num_steps", type=int)
    option("--seed", type=int, default=0)
    option("--out", help="folder (default: one below runs/cascade, named by the other options)")
    return made


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    with one_line_errors():
        folder, metrics = run(args)
    for row in metrics["stages"]:
        gap = row.get("consistency_rmse")
        print(
            f"{row['image_shape'][0]:4} px  {row['evaluations']:.0f} evaluations  "
            f"{row['seconds']:.1f} s" + (f"  RMSE to the stage before {gap:.4f}" if gap else "")
        )
    print(f"{metrics['samples']} samples: {folder}")


if __name__ == "__main__":
    import main as command_line

    command_line.prepare_jax()
    main()
