"""The main job in minutes: train on the embedded digits, sample, evaluate, and show it all.

    python -m tools.demo [--workdir runs/demo] [--seconds 390]

Leaves in the folder: samples.png (a row a class), path.png (from noise to digits),
loss.png, metrics.json (every metric of the evaluation) and checkpoints/. What it cannot finish in
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
from evaluation.plots import pyplot
from options.program import one_line_errors

CONFIG = Path(__file__).parent.parent / "configs" / "digits" / "vp_small.py"


def make(workdir: Path, seconds: float) -> None:
    """Trains for `seconds`, then samples and evaluates."""
    pyplot()  # An error before the work rather than after it, where there is none.
    import jax

    from experiment import kinds, modes
    from options.progress import bar_updater, progress_bar
    from storage import json_text, pictures

    began = time.monotonic()
    config = kinds.load(CONFIG, {"training.max_seconds": seconds})
    command = modes.Command(config, workdir)
    modes.run_train(command)
    experiment = modes.image_experiment(command)
    draw_loss(workdir / "metrics.jsonl", workdir / "loss.png")

    print("sampling and evaluating")
    folder, report = max(modes.evaluated(command).items())[1]
    (workdir / "samples.png").unlink(missing_ok=True)
    os.link(folder / "samples.png", workdir / "samples.png")
    params = command.trained.params(experiment.template)
    predict, labels = modes.guided(experiment, params), experiment.sample_labels()
    with progress_bar(desc="sample") as bar:
        key, update = jax.random.key(0), bar_updater(bar)
        made = experiment.generator.draw(predict, key, labels, frames=10, progress=update)
    pictures.write_png(workdir / "path.png", made.path_picture)
    metrics = report.to_json() | {"seconds": round(time.monotonic() - began)}
    json_text.write(workdir / "metrics.json", metrics)

    print(f"\n{report}\n{controls(report.details)}\n")
    for name in ("samples.png", "path.png", "loss.png", "metrics.json", "checkpoints"):
        print(f"  {workdir / name}")
    print(f"done in {time.monotonic() - began:.0f} s")


def controls(details: Mapping[str, Any]) -> str:
    """Legibility beside that of its controls, the classes of the samples, and their distances."""
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
    from storage.files import atomic_write

    plt = pyplot()
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
    with one_line_errors():
        make(arguments.workdir, arguments.seconds)
