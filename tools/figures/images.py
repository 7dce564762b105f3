"""Figures drawn from a trained model: samples, and images completed, coloured and guided."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from controllable import masks, replacement
from controllable.masks import Mask
from controllable.strategies import Amplified, GuidanceInputs, Linear, Strategy, Truncated, Zones
from evaluation.plots import pyplot
from experiment.pipeline import Pipeline
from generation.control_tasks import Colorize, Edit, Inpaint
from sde_lib import VESDE
from storage.pictures import Panel, name_of
from tools import cascade
from tools.figures.base import Exact, Work
from tools.figures.models import AFHQ, DIGITS, EMOJI, FEW, OF_AFHQ, Classifier, Model
from tools.gallery import draw_painting


@dataclasses.dataclass(frozen=True)
class OfModel:
    """The base of figures of one trained model.

    model: which. images: how many results it draws.
    """

    model: Model
    images: int = 16

    def needs(self) -> str:
        return f"{self.model.title}; {self.images} {self.model.spent}"


@dataclasses.dataclass(frozen=True)
class Samples(OfModel):
    """Samples of a model, by class where it has classes.

    grids: pictures of so many. labels: classes asked for, () for all. few: as many on a stand-in.
    """

    grids: int = 1
    labels: tuple[str, ...] = ()
    few: int = 6

    def make(self, work: Work) -> None:
        model = self.model.pipeline(work)
        labels = None if work.small else list(self.labels) or None
        count = work.count(self.few, self.images // self.grids)
        for number in range(1 if work.small else self.grids):
            made = model.sample(count, labels=labels, seed=work.seed + number)
            work.picture(f"samples_{number + 1}", made.picture)

    def needs(self) -> str:
        count = f"{self.grids} grids of {self.images // self.grids}" if self.grids > 1 else "a grid"
        return f"{super().needs()}, {count}"


@dataclasses.dataclass(frozen=True)
class Strip(OfModel):
    """Samples on their way from noise, a row each, and the first of them as an animation."""

    frames: int = 10

    def make(self, work: Work) -> None:
        experiment = (model := self.model.pipeline(work)).experiment
        labels = experiment.generator.labels(work.count(4, 8))
        made = experiment.generator.draw(
            model.sampled, jax.random.key(work.seed), labels, frames=self.frames
        )
        work.picture("strip", made.path_picture)
        assert made.path is not None
        frames = [drawn_large(frame) for frame in made.path[0]]
        work.animation("sampling", frames)


def drawn_large(image: np.ndarray) -> np.ndarray:
    """One image as a picture, its pixels as squares."""
    factor = max(1, math.ceil(512 / min(image.shape[:2])))
    return image.repeat(factor, 0).repeat(factor, 1)


def _examples(model: Pipeline) -> tuple[np.ndarray, Any]:
    """`control.images` held-out images at a model's size, and their classes as it takes them, None
    for a model without any."""
    images, labels = model.experiment.control_images()
    return images, labels.tolist() if model.experiment.num_classes else None


# The kinds of masks that are tried; sizes are fractions, so they serve every resolution.
TRIED: dict[str, Mask] = {
    "box": masks.Box(0.5),
    "rectangle": masks.Rectangle(),
    "circle": masks.Circle(),
    "half": masks.Half(),
    "patches": masks.Patches(0.5, 8),
    "irregular strokes": masks.Irregular(),
    "random pixels": masks.RandomPixels(0.75),
    "three at once": masks.Together(
        masks.Rectangle(0.1, 0.1, 0.2, 0.3), masks.Together(masks.Circle(0.3), masks.Irregular(2))
    ),
}


@dataclasses.dataclass(frozen=True)
class Inpainted(OfModel):
    """Images completed under masks of several kinds, a picture each, and their metrics.

    kinds: of TRIED. each: images, and results of each.
    """

    kinds: tuple[str, ...] = ("box", "circle", "irregular strokes")
    each: tuple[int, int] = (4, 3)

    def make(self, work: Work) -> None:
        count, results = (2, 2) if work.small else self.each
        model = self.model.pipeline(work, {"control.images": work.samples or count})
        images, labels = _examples(model)
        rows = []
        for kind in self.kinds:
            task = Inpaint(TRIED[kind])
            made = model.control(task, images, labels=labels, results=results, seed=work.seed)
            work.panels(f"inpaint_{kind.replace(' ', '_')}", made.panel)
            named = ("psnr_hidden", "spread_hidden", "evaluations", "seconds")
            rows.append([kind, *(f"{made.metrics[name]:.3g}" for name in named)])
        header = ["mask", "PSNR of what was hidden, dB", "spread", "evaluations", "seconds"]
        work.table("inpaint", header, rows)

    def needs(self) -> str:
        count = len(self.kinds) * math.prod(self.each)
        return f"{self.model.title}, its images; {count} {self.model.spent}"


@dataclasses.dataclass(frozen=True)
class Colored(OfModel):
    """Grey images coloured, and how colourful the results are.

    each: images, and results of each.
    """

    each: tuple[int, int] = (4, 3)

    def make(self, work: Work) -> None:
        # Grey stand-ins have no colours.
        of = dataclasses.replace(self.model, stand_in=EMOJI)
        count, results = (3, 2) if work.small else self.each
        model = of.pipeline(work, {"control.images": work.samples or count})
        images, labels = _examples(model)
        made = model.control(Colorize(), images, labels=labels, results=results, seed=work.seed)
        work.panels("colorize", made.panel)
        rows = [[name, f"{value:.3g}"] for name, value in made.metrics.items()]
        work.table("colorize", ["metric", "value"], rows)

    def needs(self) -> str:
        count = math.prod(self.each)
        return f"{self.model.title}, its images; {count} {self.model.spent}"


@dataclasses.dataclass(frozen=True)
class Components(Exact):
    """An image as the sum of grey and two chromatic parts, which colorization keeps and draws anew;
    chromatic parts are shown around middle grey."""

    model: Model = dataclasses.replace(AFHQ, stand_in=EMOJI)

    def make(self, work: Work) -> None:
        experiment = self.model.configured(work)
        records = experiment.train_source.take(np.arange(0, 60, 15))["image"]
        images = np.stack([experiment.transform.for_evaluation().resized(x) for x in records])
        parts = replacement.components(jnp.asarray(images, jnp.float32) / 255)
        middle = np.array([0.0, 0.5, 0.5]).reshape(3, 1, 1, 1, 1)
        shown = np.clip(255 * (np.asarray(parts) + middle), 0, 255).round().astype(np.uint8)
        columns = np.concatenate([images[None], shown]).swapaxes(0, 1)
        work.panels(
            "components", Panel(columns, ["image", "grey", "first chroma", "second chroma"])
        )

    def needs(self) -> str:
        return f"images of {self.model.title}; seconds"


@dataclasses.dataclass(frozen=True)
class ForwardStrip(Exact):
    """Images on their way to noise, a row each, along one path of the process; and the first of
    them as an animation.

    model: whose data and process. frames: how many.
    """

    model: Model = AFHQ
    frames: int = 10

    def make(self, work: Work) -> None:
        experiment: Any = self.model.configured(work)
        space, process = experiment.space, experiment.process
        records = experiment.train_source.take(np.arange(0, 80, 20))["image"]
        images = np.stack([experiment.transform.for_evaluation().resized(x) for x in records])
        t = jnp.linspace(process.t_max / 40, process.t_max, self.frames - 1)
        x_0 = jnp.asarray(space.encode(images))
        path = np.asarray(process.path(jax.random.key(work.seed), x_0, t))
        sigma = np.asarray(process.sigma(t))
        seen = [space.decode(space.in_range(x, s)) for x, s in zip(path, sigma, strict=True)]
        shown = np.stack([images, *seen], axis=1)
        work.panels("forward", Panel(shown, ["x_0", *(f"t = {when:.2g}" for when in t)]))
        work.animation("forward", [drawn_large(frame) for frame in shown[0]])

    def needs(self) -> str:
        return f"images of {self.model.title}; seconds"


@dataclasses.dataclass(frozen=True)
class Edited(OfModel):
    """A painting of a few strokes as an image: noised to a time, and denoised (SDEdit).

    times: that it is noised to.
    """

    times: tuple[float, ...] = (0.4, 0.6)
    results: int = 4

    def make(self, work: Work) -> None:
        painting = work.out / "painting.png"
        draw_painting(painting, 512)
        model = self.model.pipeline(work)
        image = model.experiment.image_of_user(str(painting), "image", [model.experiment.shape])
        for t in self.times:
            made = model.control(
                Edit(t), image[None], results=2 if work.small else self.results, seed=work.seed,
                labels=[6] if model.experiment.num_classes else None,
            )  # fmt: skip
            work.panels(f"edit_{t:g}", made.panel)


# Guidance.


@dataclasses.dataclass(frozen=True)
class Way:
    """A strategy as the paper has it, and as the stand-in wants it, whose process is another."""

    title: str
    real: Strategy
    small_title: str
    small: Strategy

    def chosen(self, work: Work) -> tuple[str, Strategy]:
        """Its title and the strategy."""
        return (self.small_title, self.small) if work.small else (self.title, self.real)


UNSCALED = Way("Bayes' rule", Amplified(1.0), "Bayes' rule", Amplified(1.0))
FIRST = Way("1. scale 500", Amplified(500.0), "1. scale 3", Amplified(3.0))
SECOND = Way("2. 500 to 400", Linear(500.0, 400.0), "2. 3 to 2.4", Linear(3.0, 2.4))
THIRD = tuple(
    Way(
        f"3. 1 to {high:g}",
        Truncated(500.0, 1.0, high, 50.0),
        f"3. 0.1 to {few:g}",
        Truncated(3.0, 0.1, few, 5.0),
    )
    for high, few in ((374.0, 10.0), (100.0, 5.0), (50.0, 2.0))
)
BY_CLASS = Way(
    "3. by class",
    Zones(500.0, (1.0,), (374.0, 100.0, 50.0), 50.0),
    "3. by class",
    Zones(3.0, (0.1,), (10.0, 5.0, 2.0, *[5.0] * 7), 5.0),
)


@dataclasses.dataclass(frozen=True)
class Guided:
    """An unconditional model guided to each class by a classifier, a row a strategy.

    ways: the strategies, from the same noise. labels: the classes of the paper, "" where the row of
    a strategy has one class of its own. each: samples of a class. seed: added to the command's.
    """

    ways: tuple[Way, ...] = (FIRST,)
    labels: tuple[str, ...] = ("cat", "dog", "wild")
    each: int = 4
    seed: int = 0
    one_class_each: bool = False
    model: Model = dataclasses.replace(AFHQ, stand_in=DIGITS)
    classifier: Classifier = OF_AFHQ

    def make(self, work: Work) -> None:
        where = self.classifier.where(work)
        # The strategy only says that a classifier is wanted: each row has its own.
        asked = {"guidance.strategy": "amplified", "guidance.classifier": where}
        model = self.model.pipeline(work, asked)
        experiment = model.experiment
        guide, names = experiment.guide, experiment.class_names
        assert guide is not None
        shown = [str(k) for k in range(3)] if work.small else list(self.labels)
        numbers = [names.index(name) for name in shown]
        each = work.count(2, self.each)
        rows, titles = [], []
        for i, way in enumerate(self.ways):
            classes = numbers[i : i + 1] if self.one_class_each else numbers
            inputs = GuidanceInputs(experiment.process, guide.conditions, guide.classifier)
            title, strategy = way.chosen(work)
            guided = strategy.guidance(inputs)(model.sampled)
            labels = np.repeat(np.array(classes, np.int32), each)
            key = jax.random.key(work.seed + self.seed)
            rows.append(experiment.generator.draw(guided, key, labels).data)
            titles.append(f"{title}, {shown[i]}" if self.one_class_each else title)
        self._draw(work, rows, titles, shown, each)

    def _draw(
        self, work: Work, rows: list[np.ndarray], titles: list[str], shown: list[str], each: int
    ) -> None:
        columns: list[str] = []
        if not self.one_class_each:
            columns = [name for name in shown for _ in range(each)]
        for number, (row, title) in enumerate(zip(rows, titles, strict=True)):
            name = "guided" if len(rows) == 1 else f"guided_{number + 1}"
            panel = Panel(row.reshape(-1, each, *row.shape[1:]), names=columns[::each])
            work.panels(name, panel)
            print(f"{name}: {title}")
        if len(rows) > 1:
            work.panels("guided", Panel(np.stack(rows), columns, titles))

    def needs(self) -> str:
        count = len(self.ways) * (1 if self.one_class_each else len(self.labels)) * self.each
        return (
            f"{self.model.title}, and a classifier in {self.classifier.run}; {count} "
            f"{self.model.spent}"
        )


@dataclasses.dataclass(frozen=True)
class Schedules(Exact):
    """The scale of each strategy against the noise level, and the level that the classifier gets:
    what the pseudo-code of double truncation computes."""

    def make(self, work: Work) -> None:
        process = VESDE(0.01, 375.0)
        t = jnp.linspace(0.0, 1.0, 600)
        node = process.node(t)
        figure, axes = pyplot().subplots(1, 2, figsize=(11, 5.2), layout="constrained")
        for way in (FIRST, SECOND, *THIRD):
            strategy: Any = way.real
            axes[0].plot(node.sigma, strategy.schedule(process)(node), label=way.title)
        axes[0].set(xscale="log", xlabel="sigma", title="scale of the classifier's gradient")
        axes[0].legend(fontsize=8, loc="center left")
        axes[1].plot(node.sigma, jnp.minimum(node.sigma, 50.0))
        axes[1].set(xscale="log", yscale="log", xlabel="sigma")
        axes[1].set_title("sigma given to the classifier, clamped at 50")
        for axis in axes:
            axis.grid(alpha=0.3)
        work.plot("schedules", figure)


@dataclasses.dataclass(frozen=True)
class Free(OfModel):
    """Classifier-free guidance at some scales, a row each, from the same noise."""

    scales: tuple[float, ...] = (1.0, 2.0, 4.0)

    def make(self, work: Work) -> None:
        model = self.model.pipeline(work)
        names = model.experiment.class_names
        labels = list(range(work.count(3, min(10, model.experiment.num_classes))))
        rows = [
            model.guide(labels, strategy="free", scale=scale, seed=work.seed).data
            for scale in self.scales
        ]
        titles = [name_of(label, names) for label in labels]
        work.panels("free", Panel(np.stack(rows), titles, [f"scale {s:g}" for s in self.scales]))


@dataclasses.dataclass(frozen=True)
class Cascade(Exact):
    """A cascade of upsamplers: samples at all their stages, a row a class."""

    weights: tuple[str, ...] = tuple(
        f"pretrained/{name}.npz" for name in ("emoji_base_8", "emoji_up_16", "emoji_up_32")
    )

    def make(self, work: Work) -> None:
        args = [f"--weights={work.weights or ','.join(self.weights)}", f"--out={work.out}"]
        args += ["--each=1", "--labels=3,6"] if work.small else ["--each=3"]
        args += [f"--num_steps={FEW['sampling.num_steps']}"] if work.small else []
        cascade.main([*args, "--solver=dpm", "--grid=log_snr", f"--seed={work.seed}"])

    def needs(self) -> str:
        return "weights that come with the project; minutes"
