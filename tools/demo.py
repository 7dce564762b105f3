"""The main job in minutes: train on the embedded digits, sample, evaluate, and show it all.

    python -m tools.demo [--workdir runs/demo] [--seconds 390]

Leaves in the folder: samples.png (a row of ten classes each), path.png (from noise to digits),
loss.png, metrics.json (every figure of the evaluation) and checkpoints/. What it cannot finish in
its time it goes on with when called again.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import main


def make(workdir: Path, seconds: float) -> None:
    """Trains for `seconds`, then samples and evaluates."""
    import matplotlib

    matplotlib.use("Agg")
    import jax

    from configs.digits.vp_small import get_config
    from evaluation import image_models
    from experiment import builders, checks, modes
    from storage.files import atomic_write

    began = time.monotonic()
    config = get_config()
    config.training.max_seconds = seconds
    checks.check(config, jax.device_count())
    run = modes.Run(config=config, workdir=workdir)
    modes.run_train(run)
    draw_loss(workdir / "metrics.jsonl", workdir / "loss.png")

    print("sampling and evaluating")
    reports = image_models.run(builders.subject(config), builders.eval_options(config), workdir)
    step, report = max(reports.items())
    samples = workdir / "eval" / str(step) / "samples.png"
    (workdir / "samples.png").unlink(missing_ok=True)
    os.link(samples, workdir / "samples.png")
    generator = builders.generator(config)
    labels = generator.labels(config.sampling.num_samples)
    made = generator.images(modes.predictor(run), jax.random.key(0), labels, frames=10)
    modes.write_path(workdir / "path.png", made)
    figures = report.to_json() | {"seconds": round(time.monotonic() - began)}
    with atomic_write(workdir / "metrics.json", "w") as file:
        json.dump(figures, file, indent=2)

    print(f"\n{report}\n{controls(report.details)}\n")
    for name in ("samples.png", "path.png", "loss.png", "metrics.json", "checkpoints"):
        print(f"  {workdir / name}")
    print(f"done in {time.monotonic() - began:.0f} s")


def controls(details: Mapping[str, Any]) -> str:
    """What legibility is to be read against, the classes of the samples, and their distances."""
    judged, near = details["legibility"], details["memorisation"]
    lines = [
        f"legible: {judged['legible']:.3f} of the samples; the same judge takes "
        + ", ".join(f"{c['legible']:.3f} of {name}" for name, c in judged["controls"].items()),
        f"classes the judge saw (ten digits, reject): {judged['histogram']}",
        f"median distance to the nearest training image: samples {near['samples']['q50']:.2f}, "
        f"held-out digits {near['held_out']['q50']:.2f}",
    ]
    return "\n".join(lines)


def draw_loss(log: Path, to: Path) -> None:
    """The training loss against the step, and against the noise level at the end."""
    from matplotlib import pyplot as plt

    from storage.files import atomic_write

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines = [line for line in lines if "loss" in line]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.semilogy([line["step"] for line in lines], [line["loss"] for line in lines])
    left.set(xlabel="step", ylabel="loss", title="training loss")
    levels = lines[-1]["loss_by_level"]
    right.bar(range(len(levels)), levels)
    right.set(xlabel="noise level, tenth of t", title=f"by noise level, step {lines[-1]['step']}")
    with atomic_write(to) as file:
        figure.savefig(file, format="png", dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/demo"))
    parser.add_argument("--seconds", type=float, default=390, help="training time")
    arguments = parser.parse_args()
    main.prepare_jax()
    make(arguments.workdir, arguments.seconds)
