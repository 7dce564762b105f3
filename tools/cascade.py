"""Samples of a whole cascade: a model of small images and upsamplers of what it makes.

    python -m tools.cascade --weights runs/emoji_base_8,runs/emoji_up_16,runs/emoji_up_32
    python -m tools.cascade --weights runs/emoji_up_16,runs/emoji_up_32 --image small.png --labels 3

Workdirs or exported weights (.npz), from the smallest images to the largest. Each remembers its
configuration, and is sampled as that says; --solver, --grid and --num_steps say otherwise for all.
Leaves in the folder --out: cascade.png (a row a class, of each sample all stages side by side),
stage_0.npz, ... (images and labels) and cascade.json: of each stage its evaluations, its seconds,
compilation included, and how far the means of its images are from the stage before.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from configs.saved import get_config
from controllable.super_resolution import Stage, cascade, check_chain
from data.image_file import RefusedImage, decode
from data.space import Pixels
from experiment import builders, checks, modes
from generation.sampler import bar_updater
from storage import pictures
from storage.files import atomic_write


def load(where: str, overrides: dict[str, Any]) -> tuple[ConfigDict, Stage]:
    """The configuration and the model that a workdir or a file of weights holds."""
    path = Path(where)
    if not path.exists():
        raise ValueError(f"weights: there is no {path}")
    config = get_config(where).lock()
    config.update_from_flattened_dict(overrides)
    checks.check(config, jax.device_count())
    exported = path if path.suffix == ".npz" else None
    predict = modes.predictor(modes.Run(config, path, exported))
    return config, builders.stage(config, predict)


def labels_of(config: ConfigDict, asked: str, each: int) -> np.ndarray:
    """The class of each sample, `each` of every class asked for or there is; -1 without classes."""
    if not config.data.num_classes:
        return np.full(each, -1, np.int32)
    config = config.copy_and_resolve_references()
    config.sampling.labels = asked
    config.sampling.num_samples = len(asked.split(",")) if asked else config.data.num_classes
    return np.repeat(builders.sample_labels(config), each)


def levels_of(asked: str, upsamplers: int) -> list[float]:
    """The levels asked for, one for all or one for each upsampler."""
    try:
        levels = [float(level) for level in asked.split(",")]
    except ValueError:
        raise ValueError(f"level: got {asked!r}, expected numbers as in '0.1,0.2'") from None
    return levels * upsamplers if len(levels) == 1 else levels


def picture_of(images: list[np.ndarray], each: int) -> np.ndarray:
    """All stages of each sample side by side, `each` samples a row, at the size of the last."""
    size = images[-1].shape[1]
    scales = [size // x.shape[1] for x in images]
    grown = [x.repeat(k, axis=1).repeat(k, axis=2) for x, k in zip(images, scales, strict=True)]
    together = np.stack(grown, axis=1)
    return pictures.grid(together.reshape(-1, *together.shape[2:]), each * len(images))


def low_picture(path: str, stage: Stage, value_range: Pixels) -> np.ndarray:
    """The picture to enlarge, (height, width, channels) in the model's range."""
    try:
        pixels = decode(Path(path).expanduser(), stage.image_shape[2]).pixels
    except (RefusedImage, OSError) as error:
        raise ValueError(f"image: {path}: {error}") from None
    return value_range.from_uint8(pixels)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Samples, writes the folder and returns the figures."""
    names = ("solver", "grid", "num_steps")
    given = {f"sampling.{name}": getattr(args, name) for name in names}
    overrides = {name: value for name, value in given.items() if value is not None}
    loaded = [load(where, overrides) for where in args.weights.split(",")]
    configs, stages = [config for config, _ in loaded], [stage for _, stage in loaded]
    check_chain(stages, bool(args.image))
    ranges = [builders.value_range(config) for config in configs]
    if len(set(ranges)) > 1:
        raise ValueError(f"weights: data.centered differs, the ranges are {ranges}")
    levels = [c.sampling.low_level for c in configs if c.data.low_size]
    if args.level:
        levels = levels_of(args.level, len(levels))

    labels = labels_of(configs[0], args.labels, args.each)
    told: dict[str, Any] = {"labels": labels} if configs[0].data.num_classes else {}
    if args.image:
        low = low_picture(args.image, stages[0], ranges[0])
        told["given"] = np.broadcast_to(low, (len(labels), *low.shape))
    ends: list[float] = []
    steps = np.cumsum([len(stage.grid.t) - 1 for stage in stages])
    began = time.perf_counter()
    with tqdm(desc="cascade", unit="step") as bar:
        update = bar_updater(bar)

        def progress(done: int, total: int) -> None:
            update(done, total)
            while len(ends) < len(steps) and done >= steps[len(ends)]:
                ends.append(time.perf_counter())

        made = cascade(
            jax.random.key(args.seed), stages, len(labels), level=levels,
            data_range=(ranges[0].low, ranges[0].high), progress=progress, **told,
        )  # fmt: skip
    images = [ranges[0].to_uint8(samples.x) for samples in made]
    before = [told.get("given")] + [np.asarray(samples.x) for samples in made]
    rows = []
    for number, (stage, samples) in enumerate(zip(stages, made, strict=True)):
        row = {
            "weights": args.weights.split(",")[number],
            "image_shape": stage.image_shape,
            "evaluations": float(np.mean(samples.nfe)),
            "seconds": ends[number] - (ends[number - 1] if number else began),
        }
        if stage.low is not None:
            clipped = np.clip(before[number], ranges[0].low, ranges[0].high)
            gap = np.asarray(stage.low.of(samples.x)) - clipped
            row["consistency_rmse"] = float(np.sqrt(np.mean(gap**2))) / ranges[0].width
        rows.append(row)

    shown = images if not args.image else [ranges[0].to_uint8(told["given"]), *images]
    folder = Path(args.out)
    picture = pictures.enlarge(picture_of(shown, args.each), 2)
    pictures.write_png(folder / "cascade.png", picture)
    for number, of_stage in enumerate(images):
        pictures.write_npz(folder / f"stage_{number}.npz", images=of_stage, labels=labels)
    figures = {"samples": len(labels), "levels": levels, "seed": args.seed, "stages": rows}
    with atomic_write(folder / "cascade.json", "w") as file:
        json.dump(figures, file, indent=2)
    return figures


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    option = parser.add_argument
    option("--weights", required=True, help="workdirs or .npz files, commas between them")
    option("--labels", default="", help="classes, as in 3,7 (default: all)")
    option("--each", type=int, default=2, help="samples of every class (default: 2)")
    option("--level", default="", help="of the noise on what upsamplers enlarge: one, or one each")
    option("--image", default="", help="a picture to begin with, where the first is an upsampler")
    option("--solver", help="in place of the configurations', as are the next two")
    option("--grid")
    option("--num_steps", type=int)
    option("--seed", type=int, default=0)
    option("--out", default="runs/cascade", help="folder (default: runs/cascade)")
    args = parser.parse_args(argv)
    if args.each < 1:
        parser.error(f"--each: got {args.each}, expected at least 1")
    try:
        figures = run(args)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    for row in figures["stages"]:
        gap = row.get("consistency_rmse")
        print(
            f"{row['image_shape'][0]:4} px  {row['evaluations']:.0f} evaluations  "
            f"{row['seconds']:.1f} s" + (f"  RMSE to the stage before {gap:.4f}" if gap else "")
        )
    print(f"{figures['samples']} samples: {args.out}")


if __name__ == "__main__":
    import main as command_line

    command_line.prepare_jax()
    main()
