"""The sections of a configuration of an autoencoder."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from data import CENTERED
from evaluation.autoencoders import AutoencoderEvalOptions
from experiment.classifier import ClassifierExperiment
from experiment.settings import DataOptions, TrainingPrecision, require_seed
from metrics import extractors
from models import AUTOENCODERS, AutoencoderKL
from options.choices import choose, require, require_at_least_one, require_non_negative
from options.errors import within
from options.fields import chosen
from tasks.perceptual import OfClassifier, OfFeatures, Perceptual
from training.ema import EMA
from training.loop import TrainOptions
from training.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class NoPerceptual:
    """The error of the pixels alone."""

    def distance(self, shape: tuple[int, ...]) -> Perceptual | None:
        """Of images of this shape; None for none."""
        return None


@dataclasses.dataclass(frozen=True)
class ClassifierFeatures:
    """By the layers of a trained classifier of noisy images.

    Attributes:
      weights: weights or a workdir of it, by path or by the name of what is shipped.
    """

    weights: str = "emoji_classifier"

    def distance(self, shape: tuple[int, ...]) -> Perceptual:
        """Of images of this shape; InvalidValue for a classifier of others. Reads the disk."""
        found, trained = ClassifierExperiment.trained_at(self.weights)
        expected = f"a classifier of images of shape {shape}, not {found.shape}"
        require(found.shape == shape, "weights", self.weights, expected)
        classifier = found.task.classifier(trained.params(found.template))
        return OfClassifier(classifier, found.process, found.space)


@dataclasses.dataclass(frozen=True)
class ExtractorFeatures:
    """By the features of a network that samples are judged by.

    Attributes:
      extractor: of `metrics.extractors.EXTRACTORS`.
      weights: file of them; empty: the one that is shipped, or that its tool made.
    """

    extractor: str = "digits"
    weights: str = ""

    def __post_init__(self) -> None:
        choose(extractors.EXTRACTORS, self.extractor, "extractor")

    def distance(self, shape: tuple[int, ...]) -> Perceptual:
        """Of images of this shape; InvalidValue where it cannot take them. Reads the disk."""
        found = extractors.load(self.extractor, self.weights)
        with within("", images="extractor"):
            found.check(shape)
        return OfFeatures(lambda images: jnp.asarray(found.apply(images).features))


PERCEPTUAL: dict[str, type] = {
    "none": NoPerceptual,
    "classifier": ClassifierFeatures,
    "extractor": ExtractorFeatures,
}


@dataclasses.dataclass(frozen=True)
class AutoencoderLossOptions:
    """What an autoencoder minimises beside the absolute error of its pixels.

    Attributes:
      perceptual: a distance by the features of a trained network, times `perceptual_weight`.
      kl: weight of the KL divergence of the posterior from N(0, 1), in nats a coordinate of the
        image.
      commitment: weight of the distance of latents to their vectors of the codebook.
    """

    perceptual: Any = chosen(PERCEPTUAL, NoPerceptual())
    perceptual_weight: float = 1.0
    kl: float = 1e-6
    commitment: float = 0.25

    def __post_init__(self) -> None:
        require_non_negative(self, "perceptual_weight", "kl", "commitment")


@dataclasses.dataclass(frozen=True)
class ReconstructionOptions:
    """What is drawn while training, every `training.draw_every` steps.

    Attributes:
      images: of the held-out ones, each beside what the autoencoder makes of it.
    """

    images: int = 24

    def __post_init__(self) -> None:
        require_at_least_one(self, "images")


@dataclasses.dataclass(frozen=True)
class AutoencoderSettings:
    """An autoencoder of images.

    Attributes:
      seed: of parameters, order of the data and noise of training.
      model: the network; how many channels images have, the data say.
    """

    seed: int = 42
    model: nn.Module = chosen(AUTOENCODERS, AutoencoderKL())
    loss: AutoencoderLossOptions = AutoencoderLossOptions()
    data: DataOptions = DataOptions(space=CENTERED)
    optim: Optimizer = Optimizer()
    ema: EMA = EMA()
    training: TrainOptions = TrainOptions()
    precision: TrainingPrecision = TrainingPrecision()
    preview: ReconstructionOptions = ReconstructionOptions()
    eval: AutoencoderEvalOptions = AutoencoderEvalOptions()

    def __post_init__(self) -> None:
        require_seed(self.seed)
