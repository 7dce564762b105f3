"""Ways of guiding a model to a class, side by side: class accuracy, FID by class, time.

    python -m tools.guidance_contest
    python -m tools.guidance_contest --weights pretrained/emoji.npz \
        --classifier pretrained/emoji_classifier.npz

All begin from the same noise. The hand-tuned strategies are tried with every scale of --scales,
classifier-free guidance with those of --free_scales, "" for none; the automatic one has none:
`controllable.automatic.gain` measures it on the held-out split. The judge of classes is a logistic
regression on the extractor's features of the training set, which no guidance uses. Leaves
guidance.json, guidance.md, calibration.png and samples.png in the folder --out, by default one of
its own below runs/guidance; what is cut off goes on when called again, and a contest of other
scales there measures only what it adds.
"""

import argparse
import dataclasses
import math
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import main
from evaluation.plots import pixels, pyplot
from options.choices import require
from options.errors import within
from options.program import one_line_errors
from options.progress import busy
from tools.command_line import folder_of, hardware, numbers
from tools.markdown import table

if TYPE_CHECKING:
    import numpy as np

    from controllable.automatic.measurement import Measured
    from controllable.strategies import Strategy
    from experiment.image import ImageExperiment
    from generation.sampler import Generator
    from tasks.conditions import Condition

# The fraction of its scale that "linear" falls to: 500 to 400 in Traore 2025, section 5.3.
FALL = 0.8


@dataclasses.dataclass(frozen=True)
class Row:
    """A contestant's metrics; fid_by_class is the mean over classes, inf with one image a class."""

    title: str
    accuracy: float
    fid: float
    fid_by_class: float
    seconds: float
    evaluations: float


def contestants(
    scales: list[float], zone: tuple[float, float], s_max_classifier: float, free: list[float]
) -> Iterator[tuple[str, "Strategy | None"]]:
    """Titles and strategies; None is the unconditional model.

    free: scales with which the model is guided by itself, 1 for the conditional model; none where
      it is not conditioned on classes.
    """
    from controllable.strategies import Amplified, Automatic, ClassifierFree, Linear, Truncated

    yield "unconditional", None
    for scale in free:
        title = "conditional" if scale == 1 else f"classifier-free {scale:g}"
        yield title, ClassifierFree(scale)
    for scale in scales:
        yield f"1. amplified {scale:g}", Amplified(scale)
    for scale in scales:
        last = FALL * scale
        yield f"2. linear {scale:g} to {last:g}", Linear(scale, last)
    for scale in scales:
        low, high = zone
        yield f"3. truncated {scale:g}", Truncated(scale, low, high, s_max_classifier)
    yield "automatic", Automatic()


class Judge:
    """What samples are compared with: the training set by class, and the judge of classes."""

    def __init__(self, subject: Any, extractor: Any) -> None:
        from metrics.fid import Moments
        from metrics.linear_judge import LinearJudge

        self.extractor = extractor
        features, labels = self.features(*subject.image_set(subject.train).everything())
        with busy("fitting the judge of classes"):
            self.judge = LinearJudge.fit(features, labels)
        self.all = Moments.of(features)
        self.classes = [Moments.of(features[labels == k]) for k in range(int(labels.max()) + 1)]
        held_out = self.features(*subject.image_set(subject.held_out).everything())
        self.held_out = held_out

    def features(self, images: "np.ndarray", labels: "np.ndarray") -> tuple[Any, Any]:
        from metrics.quality import ImageSet
        from tools.solver_contest import features_of

        wanted = ImageSet("images", len(labels), lambda i: (images[i], labels[i]))
        return features_of(wanted, self.extractor), labels

    def metrics(self, features: "np.ndarray", labels: "np.ndarray") -> tuple[float, float, float]:
        """Accuracy, FID, and the mean FID of a class to that class."""
        import numpy as np

        from metrics.fid import Moments, frechet_distance

        own = [
            frechet_distance(Moments.of(features[labels == k]), moments)
            for k, moments in enumerate(self.classes)
            if np.sum(labels == k) > 1
        ]
        return (
            self.judge.accuracy(features, labels),
            frechet_distance(Moments.of(features), self.all),
            float(np.mean(own)) if own else math.inf,
        )


def draw_calibration(found: "Measured", title: str) -> "np.ndarray":
    """What was measured at each level, and the zone that follows, as a picture."""
    import numpy as np

    figure, axes = pyplot().subplots(1, 3, figsize=(11.5, 4.2), layout="constrained")
    s, zone = found.levels, found.zone
    axes[0].plot(s, found.accuracy, label="accuracy")
    axes[0].plot(s, found.explained / max(found.explained.max(), 1e-9), label="explained, of most")
    axes[0].set_title("accuracy of the classifier")
    axes[1].plot(s, found.temperatures, label="temperature T")
    axes[1].plot(s, found.norm_ratio, label="|eps_hat| / |sigma g|")
    axes[1].set(yscale="log", title="its calibration")
    axes[2].errorbar(s, found.scales, 2 * found.errors, label="lambda, 2 standard errors")
    limit = 1.5 * float(np.max(np.where(zone, found.scales, 1.0)))
    axes[2].set(ylim=(-0.3 * limit, limit), title=f"scale of guidance, gain G = {found.gain:g}")
    for axis in axes:
        axis.set(xscale="log", xlabel="noise of x_t, s = sigma / alpha")
        for k in np.flatnonzero(zone).tolist():
            edges = np.sqrt(s[max(k - 1, 0)] * s[k]), np.sqrt(s[min(k + 1, len(s) - 1)] * s[k])
            axis.axvspan(*edges, color="#dff0d8", linewidth=0, zorder=-1)
        axis.legend(frameon=False, fontsize=8)
    figure.suptitle(f"{title}: zone of guidance in green", fontsize=10)
    return pixels(figure)


def markdown_table(rows: list[Row], real: Row) -> str:
    """The metrics in Markdown."""
    header = ["guidance", "class accuracy", "FID", "FID of a class, mean", "evaluations", "s"]
    cells = []
    for row in [*rows, real]:
        spent = [f"{row.evaluations:.0f}", f"{row.seconds:.0f}"] if row.evaluations else ["", ""]
        found = [f"{row.accuracy:.1%}", f"{row.fid:.3g}", f"{row.fid_by_class:.3g}"]
        cells.append([row.title, *found, *spent])
    return table(header, cells)


def without_class(
    generator: "Generator", label: "Condition | None", asked: "np.ndarray"
) -> tuple["Generator", "np.ndarray"]:
    """How unconditional samples are drawn: the generator, and the labels that it is given."""
    import jax.numpy as jnp
    import numpy as np

    if label is None:
        return dataclasses.replace(generator, num_classes=0), asked
    return generator, np.asarray(label.null(jnp.asarray(asked)))


def contest(args: argparse.Namespace) -> None:
    """Everything that the command line asks for."""
    import numpy as np

    from experiment.pipeline import load
    from storage import json_text
    from storage.files import atomic_write
    from storage.pictures import Panel, drawn, write_png

    scales, zone = numbers("scales", args.scales), numbers("zone", args.zone)
    free_scales = numbers("free_scales", args.free_scales)
    require(len(zone) == 2, "zone", args.zone, "two levels, as in '0.1,10'")
    overrides: dict[str, Any] = {
        f"sampling.{name}": getattr(args, name) for name in ("solver", "num_steps", "grid")
    }
    overrides |= {"guidance.strategy": "automatic", "guidance.strategy.images": args.held_out}
    overrides |= {"guidance.classifier": args.classifier, "eval.extractor": args.extractor}
    if args.extractor_weights:
        overrides["eval.weights"] = args.extractor_weights
    pyplot()  # An error before the work rather than after it, where there is none.
    model = load(args.weights, overrides)
    experiment, predict = model.experiment, model.sampled
    guide, subject = experiment.guide, experiment.subject()
    assert guide is not None
    with within("eval", images="extractor"):
        extractor = subject.extractor(experiment.evaluation)
    args.out = folder_of(args, parser(), "runs/guidance")
    judge = Judge(subject, extractor)
    found = guide.measured(predict)
    write_png(args.out / "calibration.png", draw_calibration(found, args.classifier))
    free = free_scales if experiment.labels is not None else []
    field = list(contestants(scales, (zone[0], zone[1]), args.s_max_classifier, free))
    rows, shown = compete(args, experiment, predict, judge, field, found)
    features, labels = judge.held_out
    asked = labels[: args.samples]
    real = Row("held-out data", *judge.metrics(features[: len(asked)], asked), 0, 0)
    names = subject.train.class_names[: shown.shape[1]]
    write_png(args.out / "samples.png", drawn(Panel(shown, names, [row.title for row in rows])))
    with atomic_write(args.out / "guidance.md", "w") as file:
        file.write(markdown_table(rows, real) + "\n")
    calibrated = {k: np.asarray(v).tolist() for k, v in dataclasses.asdict(found).items()}
    about = {
        "command": "python -m tools.guidance_contest " + shlex.join(sys.argv[1:]),
        "hardware": hardware(),
        "extractor": extractor.identity,
        "samples": args.samples,
        "class_names": list(subject.train.class_names),
        "rows": [dataclasses.asdict(row) for row in [*rows, real]],
        "calibration": calibrated,
    }
    json_text.write(args.out / "guidance.json", about)
    print(f"{markdown_table(rows, real)}\nwritten to {args.out}")


def compete(
    args: argparse.Namespace,
    experiment: "ImageExperiment",
    predict: Any,
    judge: Judge,
    field: list[tuple[str, "Strategy | None"]],
    found: "Measured",
) -> tuple[list[Row], "np.ndarray"]:
    """The metrics of every contestant of the field, and of each a sample of every class, uint8
    (contestants, classes, height, width, channels)."""
    import jax
    import numpy as np

    from controllable.strategies import GuidanceInputs
    from metrics.resumable import Resumable, fingerprint
    from options.progress import bar_updater, progress_bar

    guide, sampler = experiment.guide, experiment.sampler
    assert guide is not None
    classes = experiment.num_classes
    generator = dataclasses.replace(experiment.generator, batch_size=args.batch_size)
    asked = np.arange(args.samples, dtype=np.int32) % classes
    identity = {
        "weights": fingerprint(jax.tree.leaves(predict)),
        "guide": guide.identity() | {"held_out": args.held_out},
        "solver": [repr(sampler.solver), fingerprint([sampler.grid.t]), sampler.denoise],
        "samples": [args.samples, args.seed, args.batch_size],
        "extractor": judge.extractor.identity,
    }
    kept: list[dict[str, Any]] = []
    for title, strategy in field:
        own = identity | {"contestant": [title, repr(strategy)]}
        store = Resumable(args.out, "contestant", own)
        if store.done:
            kept.append(store.read(1))
            continue
        guided, (drawn_by, labels) = predict, (generator, asked)
        if strategy is None:
            drawn_by, labels = without_class(generator, experiment.labels, asked)
        else:
            inputs = GuidanceInputs(
                experiment.process, guide.conditions, guide.classifier, found.table()
            )
            guided = strategy.guidance(inputs)(predict)
        began = time.perf_counter()
        with progress_bar(desc=title, leave=False) as bar:
            key = jax.random.key(args.seed)
            made = drawn_by.draw(guided, key, labels, progress=bar_updater(bar))
        seconds = time.perf_counter() - began
        metrics = judge.metrics(*judge.features(made.data, asked))
        row = np.array([[*metrics, seconds, made.nfe]])
        kept.append({"row": row, "shown": made.data[None, :classes]})
        store.keep(0, kept[-1])
        print(f"{title}: {metrics[0]:.1%} of the class, FID {metrics[1]:.3g}", flush=True)
    rows = [
        Row(title, *one["row"][0].tolist()) for (title, _), one in zip(field, kept, strict=True)
    ]
    return rows, np.concatenate([one["shown"] for one in kept])


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--weights", default="pretrained/digits.npz", help="of the image model")
    made.add_argument(
        "--classifier", default="pretrained/digits_classifier.npz", help="weights of a classifier"
    )
    made.add_argument("--out", type=Path, help="default: a folder below runs/guidance")
    made.add_argument("--samples", type=int, default=500)
    made.add_argument("--held_out", type=int, default=512, help="images to calibrate on")
    made.add_argument("--batch_size", type=int, default=50)
    made.add_argument("--solver", default="ddim")
    made.add_argument("--grid", default="log_snr")
    made.add_argument("--num_steps", type=int, default=25)
    made.add_argument("--scales", default="1,3,10,30", help="of the tuned strategies")
    made.add_argument(
        "--free_scales", default="1,1.5,2,3", help="classifier-free; 1 is the conditional model"
    )
    made.add_argument(
        "--zone", default="0.1,10", help="of the truncated strategy, in sigma / alpha"
    )
    made.add_argument("--s_max_classifier", type=float, default=5.0, help="of the truncated one")
    made.add_argument("--extractor", default="auto")
    made.add_argument("--extractor_weights", default="")
    made.add_argument("--seed", type=int, default=0)
    return made


def run() -> None:
    """The command line; what a user can mend is one line and exit status 2."""
    args = parser().parse_args()
    main.prepare_jax()
    with one_line_errors():
        contest(args)


if __name__ == "__main__":
    run()
