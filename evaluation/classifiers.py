"""Evaluation of a classifier of noisy images: checkpoints -> figures by noise level, and pictures.

    <report>/report.json        figures, and in its details those of every level
    <report>/accuracy.png       accuracy, likelihood, temperature against the noise
    <report>/confusion.png      confusion matrices at some levels
    <report>/calibration.png    accuracy against confidence at the same levels
    <rows>/<split>-<hash>/      rows by image; what is cut off goes on from them

Each held-out image is seen once at every level, and so are as many of the training images, beside
which over-fitting shows. Randomness is keyed by an image's number.
"""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import Source, Transform
from evaluation.examples import Examples
from evaluation.image_models import held_out_of, identity_of
from evaluation.options import check_checkpoints
from evaluation.places import Places
from evaluation.plots import pyplot
from metrics import calibration
from metrics.calibration import Calibration
from metrics.report import Figure, Report
from metrics.resumable import Resumable, Rows, fill, fingerprint
from options.choices import MOST_STEPS, require_at_least_one, require_non_negative
from options.fields import hidden
from options.memory import AUTO, Batched, fitting
from options.progress import busy
from storage.files import atomic_write
from tasks.classifier import ClassifierTask

PyTree = Any
MOST = 128  # images judged at once where more would fit
SHOWN = 6  # levels of which matrices are drawn
FEWEST = 5  # examples of a bin of confidence that is drawn


@dataclasses.dataclass(frozen=True)
class ClassifierEvalOptions(Batched):
    """On how many images a classifier is judged, and how.

    Attributes:
      checkpoints: "latest", "all", or step numbers with commas between them.
      batch_size: images at once; no figure depends on it; "auto": the most that fit, up to MOST.
      max_images: of each split; 0 for all that are held out.
      levels: of noise, of one width in log-SNR, see `calibration.level_edges`.
    """

    checkpoints: str = "latest"
    batch_size: str | int = AUTO
    max_images: int = 0
    levels: int = 20
    seed: int = hidden(0)

    def __post_init__(self) -> None:
        check_checkpoints(self.checkpoints)
        self.at_once  # noqa: B018  its own check
        require_at_least_one(self, "levels", most=MOST_STEPS)
        require_non_negative(self, "max_images")


@dataclasses.dataclass(frozen=True, eq=False)
class ClassifierSubject:
    """What is evaluated, and on what: everything but parameters."""

    task: ClassifierTask
    train: Source
    held_out: Source
    transform: Transform


def evaluate(
    subject: ClassifierSubject,
    params: PyTree,
    step: int,
    options: ClassifierEvalOptions,
    places: Places,
) -> Report:
    """The report on one set of parameters, written to its place with its pictures."""
    pyplot()  # An error before the work rather than after it, where there is none.
    work = _Work(subject, params, options, places.rows)
    count = len(subject.held_out)
    count = min(count, options.max_images) if options.max_images else count
    held_out = work.judged("held_out", subject.held_out, count)
    train = work.judged("train", subject.train, min(count, len(subject.train)))
    edges, names = work.edges, subject.held_out.class_names
    with busy("calibration and plots"):
        found = calibration.calibrate(edges, *held_out)
        seen = calibration.calibrate(edges, *train)
        levels = shown_levels(found)
        _write(places.report / "accuracy.png", draw_accuracy(found, seen))
        _write(places.report / "confusion.png", draw_confusion(found, names, levels))
        _write(places.report / "calibration.png", draw_reliability(found, *held_out, levels))
    details = {"held_out": _listed(found), "train": _listed(seen), "class_names": list(names)}
    report = Report(work.about(step), figures(found, len(held_out[1]), work.name), details)
    report.write(places.report / "report.json")
    return report


def figures(found: Calibration, count: int, reference: str) -> list[Figure]:
    """Accuracy at the least noise, and means over all levels, which weigh log-SNR evenly.

    cross_entropy is in nats; `half_accuracy_level` is the sigma / alpha up to which the classes are
    distinguished: where the accuracy has fallen half the way from its best to its last.
    """
    best = float(found.accuracy[0])
    middle = (found.accuracy.max() + found.accuracy[-1]) / 2
    last = int(np.flatnonzero(found.accuracy >= middle)[-1])
    about: dict[str, Any] = {"reference": reference}
    error = float(np.sqrt(best * (1 - best) / count))
    return [
        Figure("accuracy_least_noise", best, count, error, **about),
        Figure("accuracy_mean", float(found.accuracy.mean()), count, **about),
        Figure("cross_entropy_mean", -float(found.log_likelihood.mean()), count, **about),
        Figure("cross_entropy_calibrated", -float(found.calibrated.mean()), count, **about),
        Figure("calibration_error_mean", float(found.calibration_error.mean()), count, **about),
        Figure("half_accuracy_level", float(found.level[last]), count, **about),
    ]


def shown_levels(found: Calibration) -> list[int]:
    """Up to SHOWN levels, between which accuracy falls in about even steps to the worst."""
    falling = np.minimum.accumulate(found.accuracy)
    wanted = np.linspace(falling[0], falling[-1], SHOWN)
    return sorted({int(np.argmin(np.abs(falling - at))) for at in wanted})


@dataclasses.dataclass(frozen=True, eq=False)
class _Work:
    """One evaluation: what the classifier says of the images of a split at every level."""

    subject: ClassifierSubject
    params: PyTree
    options: ClassifierEvalOptions
    rows: Path

    @property
    def edges(self) -> np.ndarray:
        return calibration.level_edges(self.subject.task.process, self.options.levels)

    @property
    def name(self) -> str:
        return self.subject.held_out.name

    def about(self, step: int) -> dict[str, Any]:
        """What the report is of."""
        task = self.subject.task
        return {
            "checkpoint": step,
            "parameters": fingerprint(jax.tree.leaves(self.params)),
            "parameter_count": sum(x.size for x in jax.tree.leaves(self.params)),
            "process": repr(task.process),
            "network": repr(task.network),
            "held_out": held_out_of(self.subject),
            "train": f"{self.subject.train.name} ({len(self.subject.train)})",
            "seed": self.options.seed,
        }

    def judged(self, split: str, source: Source, count: int) -> tuple[np.ndarray, np.ndarray]:
        """log p(y | x_t) (count, levels, classes) of images chosen by the seed, and the labels."""
        subject, options = self.subject, self.options
        task, edges = subject.task, self.edges
        transform = subject.transform.for_evaluation()
        examples = Examples(source, transform, options.seed)

        @jax.jit
        def log_probs(params: PyTree, x_0: jax.Array, keys: jax.Array) -> jax.Array:
            classifier = task.classifier(params)
            return calibration.noisy_log_probs(classifier, task.process, x_0, keys, edges)

        def lower(n: int) -> jax.stages.Lowered:
            x_0 = jax.ShapeDtypeStruct((n, *task.shape), jnp.float32)
            keys = jax.random.split(jax.random.key(0), n)
            return log_probs.lower(self.params, x_0, keys)

        def compute(numbers: np.ndarray) -> Rows:
            batch = examples.batch(numbers)
            key = jax.random.key(options.seed)
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(numbers))
            said = log_probs(self.params, batch["image"], keys)
            return {"log_probs": said, "label": batch["label"]}

        identity = identity_of(source) | {
            "parameters": fingerprint(jax.tree.leaves(self.params)),
            "task": repr(task),
            "transform": repr(transform),
            "levels": options.levels,
            "seed": options.seed,
        }
        store = Resumable(self.rows, split, identity)
        at_once = fitting(options.at_once, lower, MOST, "eval.batch_size")
        rows = fill(store, count, at_once, compute, split)
        return rows["log_probs"], rows["label"]


def _listed(found: Calibration) -> dict[str, Any]:
    """Every figure of every level, for JSON."""
    rounded = {name: np.round(values, 6).tolist() for name, values in found._asdict().items()}
    return {"level": np.round(found.level, 6).tolist()} | rounded


def _write(path: Path, picture: bytes) -> None:
    with atomic_write(path) as file:
        file.write(picture)


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, dpi=110, format="png")
    pyplot().close(figure)
    return file.getvalue()


def draw_accuracy(found: Calibration, seen: Calibration) -> bytes:
    """Accuracy, log-likelihood, temperature and calibration error against the noise, as PNG."""
    panels = {
        "accuracy": ["accuracy"],
        "mean log p(class), nats": ["log_likelihood", "calibrated"],
        "temperature": ["temperature"],
        "expected calibration error": ["calibration_error", "calibrated_error"],
    }
    colours = ("#1f5fa8", "#c8641a")
    figure, axes = pyplot().subplots(2, 2, figsize=(10, 7), layout="constrained")
    for axis, (title, names) in zip(axes.flat, panels.items(), strict=True):
        for name, colour in zip(names, colours, strict=False):
            label = "held out" + (", by temperature" if name.startswith("calibrated") else "")
            axis.plot(found.level, getattr(found, name), "o-", ms=3, color=colour, label=label)
            if not name.startswith("calibrated"):
                axis.plot(seen.level, getattr(seen, name), "--", color=colour, label="training")
        axis.set_title(title, fontsize=10)
        axis.set_xscale("log")
        axis.set_xlabel("noise, sigma / alpha")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0, 0].set_ylim(0, 1.02)
    axes[0, 0].axhline(1 / found.confusion.shape[1], color="#888888", linewidth=0.8, linestyle=":")
    axes[1, 0].set_yscale("log")
    axes[1, 0].axhline(1, color="#888888", linewidth=0.8, linestyle=":")
    return _png(figure)


def _panels(count: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure, and `count` axes of this size in inches, three in a row."""
    columns = min(3, count)
    rows = -(-count // columns)
    size = (width * columns, height * rows)
    figure, axes = pyplot().subplots(rows, columns, figsize=size, layout="constrained")
    used, unused = np.ravel(axes)[:count], np.ravel(axes)[count:]
    for axis in unused:
        axis.axis("off")
    return figure, list(used)


def draw_confusion(found: Calibration, names: Sequence[str], levels: Sequence[int]) -> bytes:
    """Confusion matrices, true classes as rows, at some levels, as PNG."""
    figure, axes = _panels(len(levels), 4.0, 3.9)
    for axis, level in zip(axes, levels, strict=True):
        axis.imshow(found.confusion[level], vmin=0, vmax=1, cmap="Blues")
        title = f"sigma / alpha = {found.level[level]:.3g}, {found.accuracy[level]:.0%} right"
        axis.set_title(title, fontsize=10)
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axis.set_yticks(range(len(names)), names, fontsize=7)
        axis.set_xlabel("taken for", fontsize=8)
        axis.set_ylabel("class", fontsize=8)
        for (row, column), fraction in np.ndenumerate(found.confusion[level]):
            if fraction >= 0.05:
                colour = "white" if fraction > 0.5 else "black"
                text = f"{100 * fraction:.0f}"
                axis.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
    return _png(figure)


def draw_reliability(
    found: Calibration, log_probs: np.ndarray, labels: np.ndarray, levels: Sequence[int]
) -> bytes:
    """Accuracy against confidence at some levels, before and after temperature, as PNG.

    A disc is as large as its fraction of the examples; bins of less than FEWEST are left out.
    """
    figure, axes = _panels(len(levels), 3.6, 3.5)
    for axis, level in zip(axes, levels, strict=True):
        temperature = float(found.temperature[level])
        fitted = (temperature, "#c8641a", f"temperature {temperature:.2f}")
        for value, colour, label in ((1.0, "#1f5fa8", "as it is"), fitted):
            said = calibration.with_temperature(log_probs[:, level].astype(np.float64), value)
            fraction, accuracy, confidence = calibration.reliability(said, labels)
            there = fraction * len(labels) >= FEWEST
            sizes = 150 * fraction[there]
            axis.scatter(confidence[there], accuracy[there], sizes, color=colour, alpha=0.6)
            axis.plot(confidence[there], accuracy[there], color=colour, lw=0.8, label=label)
        axis.plot([0, 1], [0, 1], color="#888888", linewidth=0.8, linestyle=":")
        axis.set_title(f"sigma / alpha = {found.level[level]:.3g}", fontsize=10)
        axis.set(xlim=(0, 1.03), ylim=(0, 1.03))
        axis.set_xlabel("confidence")
        axis.set_ylabel("accuracy")
        axis.legend(fontsize=8)
    return _png(figure)
