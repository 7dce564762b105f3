"""A trained model as one object, for scripts and notebooks.

    from experiment.pipeline import load

    digits = load("digits")                            # weights or a workdir, by path or by name
    made = digits.sample(100, steps=50, solver="dpm")  # made.data: uint8 images
    digits.log_likelihood(made.data[:8]).value         # nats
    digits.inpaint(made.data[:4], mask="half").picture
    digits.guide([3, 3, 7], strategy="free", scale=2.0).picture

Whatever a configuration can say can be said in names, `load("digits", {"sampling.num_steps": 50})`;
where an object is made by a name, the object itself will do, too.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from controllable.masks import MASKS, Mask
from controllable.strategies import STRATEGIES
from data.source import ArraySource
from evaluation.examples import Examples
from evaluation.image_models import PROBE
from experiment import arguments, checks, kinds, modes
from experiment.arguments import Labels
from experiment.experiment import Experiment, Trained, at
from experiment.handwriting import HandwritingExperiment
from experiment.image import ImageExperiment
from experiment.settings import BEYOND
from experiment.writing import Writer
from generation import control_tasks
from generation.controls import Asked, Controlled
from generation.sampler import Generated, Generator
from likelihood import LogLikelihood, log_likelihood
from options.choices import MOST_SAMPLES, MOST_STEPS, listed, whole_number
from options.classes import ask, named_or_alike
from options.errors import InvalidValue, within
from options.progress import bar_updater, progress_bar
from parameterization import NetworkPredictor
from sampling import Solver
from sde_lib import Node
from solvers import SOLVERS
from solvers.sampler import in_space

UNKNOWN = -1  # the label of an image without a class


def load(where: str | Path, overrides: Mapping[str, Any] | None = None) -> "Pipeline":
    """The generative model in exported weights or in a workdir.

    Args:
      where: a path, or the name of weights that the project ships, as in "digits".
      overrides: of its configuration, by dotted name, as in {"sampling.num_steps": 50}.

    Raises:
      UserError: there is no such model, it draws no samples, it was trained under another process,
        network or range of the data, or the configuration cannot work.
    """
    experiment, trained = _trained(where, overrides)
    if not experiment.draws_samples:
        raise InvalidValue("weights", str(where), "a generative model", but="it draws no samples")
    return Pipeline(cast(ImageExperiment, experiment), trained.params(experiment.template))


def load_writer(where: str | Path, overrides: Mapping[str, Any] | None = None) -> Writer:
    """The model of handwriting in exported weights or in a workdir; as `load`."""
    experiment, trained = _trained(where, overrides)
    if not experiment.writes:
        raise InvalidValue("weights", str(where), "a model of handwriting", but="it does not write")
    return Writer(cast(HandwritingExperiment, experiment), trained.params(experiment.template))


def _trained(where: str | Path, overrides: Mapping[str, Any] | None) -> tuple[Experiment, Trained]:
    """The experiment of a trained model, and where its parameters are."""
    trained = at(where)
    config = kinds.load(trained.place, arguments.by_name(overrides))
    command = modes.Command(config, trained.workdir, trained.weights)
    return modes.checked_as_trained(command), trained


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Pipeline:
    """A generative model and its averaged parameters.

    Attributes:
      experiment: all that its configuration makes.
      params: of the network.
    """

    experiment: ImageExperiment
    params: Any

    def __repr__(self) -> str:
        """What it draws, and how many parameters do."""
        parts = [" x ".join(map(str, self.experiment.example_shape))]
        parts += [listed(self.experiment.class_names)] if self.experiment.num_classes else []
        millions = sum(leaf.size for leaf in jax.tree.leaves(self.params)) / 1e6
        return f"Pipeline({'; '.join(parts)}; {millions:.2f} million parameters)"

    @property
    def predictor(self) -> NetworkPredictor:
        """The network as solvers and likelihood take it, in float32."""
        return self.experiment.task.predictor(self.params)

    @property
    def sampled(self) -> NetworkPredictor:
        """The network as samples are drawn with it, in the precision of sampling."""
        return self.experiment.sampled(self.params)

    def sample(
        self,
        count: int,
        *,
        labels: Labels = None,
        texts: Sequence[str] = (),
        steps: int | Node | None = None,
        solver: str | Solver | None = None,
        seed: int = 0,
    ) -> Generated:
        """Samples in the terms of the data; sample i depends on the seed and on i alone.

        Args:
          labels: their classes, numbers or names, over and over; None: all in turn.
          texts: their captions, over and over, "" for none; empty: as configured.
          steps: of the grid, or the grid itself; None: as configured. solver: likewise, a name of
            `solvers.SOLVERS` with its defaults, or a solver.
        """
        count = whole_number("count", count, 1, MOST_SAMPLES)
        generator = self._captioned(self._generator(steps, solver), texts)
        classes = self._classes(labels, count)
        with progress_bar(desc="sample", leave=False) as bar:
            update = bar_updater(bar)
            return generator.draw(self.sampled, _key(seed), classes, progress=update)

    def guide(
        self,
        labels: Labels = None,
        *,
        texts: Sequence[str] = (),
        strategy: str = "free",
        classifier: str = "",
        seed: int = 0,
        **fields: Any,
    ) -> Generated:
        """A sample of each class, or of each caption, guided towards it.

        Args:
          texts: captions of a model that takes them.
          strategy: of `controllable.strategies.STRATEGIES`. fields: its own, as in scale=2.0.
          classifier: weights or workdir of one, for every strategy but "free".
        """
        asked = {f"guidance.strategy.{name}": value for name, value in fields.items()}
        config = {"guidance.strategy": strategy, "guidance.classifier": classifier} | asked
        experiment = self._with(config)
        checks.check_guidance(experiment)
        guide, known = experiment.guide, f"one of {sorted(STRATEGIES)}"
        if guide is None:
            raise InvalidValue("strategy", strategy, known)
        count = arguments.count(texts if labels is None and len(texts) else labels)
        classes, predict = self._classes(labels, count), guide(self.sampled)
        generator = self._captioned(self.experiment.generator, texts)
        with progress_bar(desc="guide", leave=False) as bar:
            update = bar_updater(bar)
            return generator.draw(predict, _key(seed), classes, progress=update)

    def log_likelihood(
        self, images: np.ndarray, *, labels: Labels = None, seed: int = 0, **options: Any
    ) -> LogLikelihood:
        """log p of data, in nats; of 8-bit images, dequantised, of the states that encode them.

        Args:
          images: as the data are, (n, height, width, channels) uint8 for images.
          labels: their classes; None where the model has none, or with dropout for any.
          seed: of probes and dequantisation. options: of `likelihood.log_likelihood`, as in
            num_probes=4.
        """
        images = self._images(images)
        examples = self._examples(images, whole_number("seed", seed, 0, BEYOND - 1))
        numbers = np.arange(len(images))
        cond: dict[str, Any] = {}
        if self.experiment.num_classes:
            classes = self._classes(labels, len(images), UNKNOWN)
            cond["labels"] = jnp.asarray(self.experiment.controls.classes(classes))
        keys, x = examples.keys(PROBE, numbers), examples.batch(numbers)["image"]
        process = self.experiment.process
        with progress_bar(desc="log-likelihood", unit="part", leave=False) as bar:
            options = {"progress": bar_updater(bar)} | options
            return log_likelihood(keys, process, self.predictor, x, cond=cond, **options)

    def bits_per_dim(self, images: np.ndarray, **options: Any) -> Float[np.ndarray, " n"]:
        """Of 8-bit images, (n,); arguments as of `log_likelihood`."""
        space, images = self.experiment.space, self._images(images)
        dims = np.full(len(images), float(np.prod(self.experiment.shape)))
        return space.bits_per_dim(np.asarray(self.log_likelihood(images, **options).value), dims)

    def control(
        self,
        task: Any,
        images: np.ndarray,
        *,
        labels: Labels = None,
        texts: Sequence[str] = (),
        results: int = 1,
        seed: int = 0,
    ) -> Controlled:
        """Controlled generation: images completed, restored, coloured, edited or enlarged.

        Args:
          task: of `generation.control_tasks.TASKS`: a name with its defaults, or the task itself.
          images: uint8 (n, height, width, channels), of the model's size.
          labels: their classes; None for none. texts: their captions, one each; empty for none.
          results: for each image.
        """
        images = self._images(images)
        task = named_or_alike(control_tasks.TASKS, task, "task")
        classes = self._classes(labels, len(images), UNKNOWN)
        results = whole_number("results", results, 1, MOST_SAMPLES)
        texts = arguments.texts(texts, len(images)) if len(texts) else ()
        asked = Asked(task, images, classes, results, seed, texts)
        with progress_bar(desc="control", leave=False) as bar:
            update = bar_updater(bar)
            return self.experiment.controls.run(self.sampled, asked, _key(seed), update)

    def inpaint(self, images: np.ndarray, mask: str | Mask = "box", **options: Any) -> Controlled:
        """Images with what a mask hides drawn anew; `options` as of `control`.

        mask: of `controllable.masks.MASKS`: a name with its defaults, or the mask itself.
        """
        task = control_tasks.Inpaint(named_or_alike(MASKS, mask, "mask"))
        return self.control(task, images, **options)

    def colorize(self, images: np.ndarray, **options: Any) -> Controlled:
        """Images in colours that their greys allow; `options` as of `control`."""
        return self.control(control_tasks.Colorize(), images, **options)

    def _captioned(self, generator: Generator, texts: Sequence[str]) -> Generator:
        """The generator with these captions of samples, if there are any."""
        if not len(texts):
            return generator
        captions = self.experiment.captions_of(arguments.texts(texts))
        return dataclasses.replace(generator, captions=captions)

    def _with(self, overrides: Mapping[str, Any]) -> ImageExperiment:
        """The experiment under other values of its configuration."""
        config = kinds.changed(self.experiment.config.to_dict(), overrides)
        return cast(ImageExperiment, kinds.experiment(config))

    def _generator(self, steps: int | Node | None, solver: Any) -> Generator:
        experiment = self.experiment
        sampler = experiment.sampler
        if steps is not None:
            sampler = dataclasses.replace(sampler, grid=self._grid(steps))
        if solver is not None:
            chosen = in_space(named_or_alike(SOLVERS, solver, "solver"), experiment.space)
            sampler = dataclasses.replace(sampler, solver=chosen)
        ask(sampler.solver, "validate", sampler.process, sampler.grid)
        return dataclasses.replace(experiment.generator, sampler=sampler)

    def _grid(self, steps: Any) -> Node:
        if hasattr(steps, "sigma"):
            return steps
        steps = whole_number("steps", steps, 1, MOST_STEPS)
        with within("", num_steps="steps"):
            options = dataclasses.replace(self.experiment.options.sampling, num_steps=steps)
            return options.nodes(self.experiment.process)

    def _classes(self, labels: Labels, count: int, missing: int | None = None) -> np.ndarray:
        """int32 (count,); where none are asked for, all in turn, or `missing`."""
        experiment = self.experiment
        if labels is None:
            return (
                experiment.generator.labels(count)
                if missing is None
                else np.full(count, missing, np.int32)
            )
        return arguments.classes(labels, count, experiment.num_classes, experiment.class_names)

    def _examples(self, images: np.ndarray, seed: int) -> Examples:
        """Data as an evaluation takes them: dequantised where they are 8-bit images."""
        experiment = self.experiment
        transform = dataclasses.replace(
            experiment.transform.for_evaluation(), dequantize=experiment.space.is_pixels
        )
        source = ArraySource("images", images, np.zeros(len(images), np.int32))
        return Examples(source, transform, seed)

    def _images(self, given: Any) -> np.ndarray:
        return arguments.images(given, self.experiment.example_shape, self.experiment.space)


def _key(seed: Any) -> Key[Array, ""]:
    return jax.random.key(whole_number("seed", seed, 0, BEYOND - 1))
