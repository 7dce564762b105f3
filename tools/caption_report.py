"""Whether captioned samples show what their captions say: retrieval by a text-image judge.

    python -m tools.caption_report --model runs/captions_8 --judge runs/judge_8 \\
        --classes emoji_base_8 --enlarge emoji_up_16,emoji_up_32

A sample is drawn for each of --count captions, held out and of training, and the judge looks for
the caption among them all. Beside the model (unguided, and by classifier-free guidance of each of
--scales) stand real images, a model of classes alone that draws the caption's class (--classes),
the model under the null caption, and that guided by the judge itself (--guide, its scales) or by
another (--guide_by). What a judge guides it also finds: its own row is no measure of quality.

Leaves in --out, by default below runs/captions: report.json, report.md, and grid.png, a grid of
--colours by --objects, in which combinations that training had are framed, enlarged by upsamplers.
"""

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from controllable.classifier_free import classifier_free
from controllable.likelihood_guidance import by_states
from evaluation.retrieval import ranks_of
from experiment import kinds
from experiment.experiment import at
from experiment.matching import MatchingExperiment
from experiment.pipeline import Pipeline, load
from experiment.texts import Captioned, CaptionedExperiment
from metrics.report import Figure
from options.choices import require
from options.errors import InvalidValue
from options.program import one_line_errors
from storage import json_text, pictures
from storage.files import atomic_write
from tasks.matching import Judge, TextLikelihood
from tools.command_line import folder_of, hardware, numbers
from tools.markdown import table

LEVEL = 0.05  # sigma / alpha at which the judge looks
FIRST = (1, 5)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A judge and its parameters."""

    experiment: MatchingExperiment
    judge: Judge

    @classmethod
    def load(cls, where: str, model: Pipeline) -> "Trained":
        """InvalidValue for one of something else, or of other images, noise or vectors."""
        place = at(where, "judge")
        experiment = cast(MatchingExperiment, kinds.experiment(kinds.load(place.place)))
        require(experiment.kind == MatchingExperiment.kind, "judge", where, "a text-image judge")
        own, theirs = experiment, model.experiment
        pairs = {
            "process": (own.process, dataclasses.replace(theirs.process, t_min=own.process.t_min)),
            "images": (own.shape, theirs.shape),
            "space": (own.space, theirs.space),
            "text encoder": (_vectors(own), _vectors(theirs)),
        }
        for what, (got, expected) in pairs.items():
            if got != expected:
                but = f"its {what} is {got}, the model's {expected}"
                raise InvalidValue("judge", where, but=but)
        return cls(experiment, experiment.task.judge(place.params(experiment.template)))

    def texts(self, captions: Sequence[str]) -> Any:
        """g of some captions."""
        value = condition_of(self.experiment).value(captions)
        return self.judge.texts(jax.tree.map(jnp.asarray, value))

    def ranks(self, images: np.ndarray, own: np.ndarray, captions: Sequence[str]) -> np.ndarray:
        """How many captions it finds likelier than those of these numbers."""
        x_0 = np.asarray(self.experiment.space.encode(images))
        process = self.experiment.process
        return ranks_of(self.judge, process, x_0, self.texts(captions), own, LEVEL)


def condition_of(experiment: CaptionedExperiment) -> Captioned:
    """How captions reach a network that takes them."""
    assert experiment.captioned is not None
    return experiment.captioned


def _vectors(experiment: Any) -> Any:
    """What the vectors of captions depend on."""
    condition: Any = condition_of(experiment).condition
    return condition.name, getattr(condition, "fingerprint", "") or condition.characters


@dataclasses.dataclass(frozen=True)
class Part:
    """Captions of a split, each with the number of an example that has it."""

    name: str
    captions: list[str]
    examples: np.ndarray
    source: Any

    @classmethod
    def of(cls, name: str, source: Any, count: int, seed: int) -> "Part":
        """At most `count` distinct ones, chosen at random."""
        captions, first = np.unique(np.array(source.texts), return_index=True)
        chosen = np.random.default_rng(seed).permutation(len(captions))[:count]
        return cls(name, captions[chosen].tolist(), first[chosen], source)


Draw = Callable[[Part], np.ndarray]  # an image of each caption


def rows_of(
    args: argparse.Namespace, model: Pipeline, judge: Trained
) -> Iterator[tuple[str, Draw]]:
    """What is compared, by name."""
    experiment, seed = model.experiment, args.seed
    resized = experiment.transform.for_evaluation().resized
    yield (
        "real images",
        lambda p: np.stack([resized(p.source[int(i)]["image"]) for i in p.examples]),
    )
    if args.classes:
        classes = load(args.classes, sampling_of(args))

        def of_class(part: Part) -> np.ndarray:
            labels = [part.source[int(i)]["label"] for i in part.examples]
            return classes.sample(len(labels), labels=labels, seed=seed).data

        yield f"classes alone ({args.classes})", of_class

    def by(guidance: Any) -> Draw:
        def draw(part: Part) -> np.ndarray:
            labels = np.full(len(part.captions), -1, np.int32)
            captions = experiment.captions_of(part.captions)
            generator = dataclasses.replace(experiment.generator, captions=captions)
            predict = guidance(model.sampled) if guidance else model.sampled
            return generator.draw(predict, jax.random.key(seed), labels).data

        return draw

    yield "captions", by(None)
    for scale in numbers("scales", args.scales):
        yield f"captions, guided by {scale:g}", by(classifier_free(scale, experiment.conditions))
    nothing = lambda p: model.sample(len(p.captions), texts=[""], seed=seed).data  # noqa: E731
    yield "no caption", nothing
    guiding = Trained.load(args.guide_by, model) if args.guide_by else judge
    among = guiding.texts(sorted(set(experiment.train_source.texts)))
    name = condition_of(experiment).condition.name
    for scale in numbers("guide", args.guide):
        likelihood = TextLikelihood(guiding.judge, among, name)
        guidance = by_states(likelihood, scale, experiment.conditions, (name,))
        by_whom = args.guide_by or "the same judge"
        yield f"no caption, {by_whom} x {scale:g}", by(guidance)


def grid(args: argparse.Namespace, model: Pipeline, train: Sequence[str]) -> pictures.Panel:
    """Colours by objects; what training had is framed."""
    colours, objects = args.colours.split(","), args.objects.split(",")
    texts = [f"{colour} {thing}" for colour in colours for thing in objects]
    images = model.guide(texts=texts, scale=args.grid_scale, seed=args.seed).data
    for where in filter(None, args.enlarge.split(",")):
        upsampler = load(where, sampling_of(args))
        whole = of_squares(images, upsampler.experiment.shape[0])
        made = upsampler.control("upscale", whole, seed=args.seed)
        images = made.results[:, 0]
    seen = set(train)
    framed = np.array([text in seen for text in texts]).reshape(len(colours), len(objects))
    cells = images.reshape(*framed.shape, *images.shape[1:])
    return pictures.Panel(cells, objects, colours, framed=framed)


def of_squares(images: UInt8[np.ndarray, "n h w c"], height: int) -> UInt8[np.ndarray, "n H W c"]:
    """Images of this height, each pixel a square: an upsampler takes whole images, and sees the
    means over such squares."""
    factor = height // images.shape[1]
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="captioned: weights or workdir")
    parser.add_argument("--judge", required=True, help="weights or workdir of a judge")
    parser.add_argument("--classes", default="", help="a model of classes, of the same images")
    parser.add_argument("--count", type=int, default=228, help="captions of each split")
    parser.add_argument("--scales", default="2,4", help="of classifier-free guidance")
    parser.add_argument("--guide", default="2", help="scales of the judge's guidance")
    parser.add_argument("--guide_by", default="", help="another judge, which guides")
    parser.add_argument("--enlarge", default="", help="upsamplers of the grid, in turn")
    parser.add_argument("--colours", default="red,orange,yellow,green,blue,purple,black,white")
    parser.add_argument("--objects", default="heart,circle,square,car,apple,book,cat face,hat")
    parser.add_argument("--grid_scale", type=float, default=3.0, help="guidance of the grid")
    parser.add_argument("--solver", help="in place of the configurations' own")
    parser.add_argument("--grid", help="likewise")
    parser.add_argument("--num_steps", type=int, help="likewise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=None, help="folder of the report")
    args = parser.parse_args()
    with one_line_errors():
        run(args, folder_of(args, parser, "runs/captions"))


def sampling_of(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of the configuration that the command line sets."""
    names = ("solver", "grid", "num_steps")
    given = {f"sampling.{name}": getattr(args, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def run(args: argparse.Namespace, out: Path) -> None:
    """Writes the report, row by row."""
    model = load(args.model, sampling_of(args))
    require(model.experiment.captioned is not None, "model", args.model, "a captioned model")
    judge = Trained.load(args.judge, model)
    experiment = model.experiment
    parts = [
        Part.of(name, source, args.count, args.seed)
        for name, source in (
            ("held out", experiment.held_out),
            ("trained", experiment.train_source),
        )
    ]
    out.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    for name, draw in rows_of(args, model, judge):
        for part in parts:
            ranks = judge.ranks(draw(part), np.arange(len(part.captions)), part.captions)
            figures = [Figure.mean(f"at {k}", (ranks < k).astype(float)) for k in FIRST]
            about = {"row": name, "captions": part.name, "count": len(ranks)}
            found.append(about | {f.name: (f.value, f.standard_error) for f in figures})
            print(json_text.plain(found[-1]), flush=True)
            about = {"rows": found, "hardware": hardware(), "arguments": vars(args)}
            json_text.write(out / "report.json", json_text.plain(about))
    header = ["samples", "captions", "number", *(f"retrieved at {k}" for k in FIRST)]
    shown = [
        [row["row"], row["captions"], f"{row['count']}"]
        + ["{:.3f} +- {:.3f}".format(*row[f"at {k}"]) for k in FIRST]
        for row in found
    ]
    with atomic_write(out / "report.md", "w") as file:
        file.write(table(header, shown) + "\n")
    panel = grid(args, model, experiment.train_source.texts)
    pictures.write_png(out / "grid.png", pictures.drawn(panel))
    print(out)


if __name__ == "__main__":
    main()
