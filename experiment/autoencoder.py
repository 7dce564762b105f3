"""Autoencoders of images as a kind of experiment: what latent diffusion has its latents of."""

import functools
from typing import Any

import jax
import numpy as np

from evaluation import autoencoders
from evaluation.autoencoders import AutoencoderSubject, DrawReconstructions
from experiment.autoencoder_settings import AutoencoderSettings
from experiment.experiment import Experiment, PlacesOf, Trained
from experiment.latents import AT_ONCE, PIXELS, LatentCoder
from metrics.report import Report
from options.choices import choose, require
from options.errors import within
from options.precision import FLOAT32, PRECISIONS
from options.progress import progress_bar
from tasks.autoencoder import AutoencoderTask

MEASURED = 10_000  # training images, at most, by which latents are standardised


class AutoencoderExperiment(Experiment):
    """An autoencoder, its reconstructions, and the coder of images as latents that it becomes."""

    settings = AutoencoderSettings
    kind = "autoencoder"
    options: AutoencoderSettings

    @functools.cached_property
    def network(self) -> Any:
        """The Flax module, of images of the data's channels."""
        return self.options.model.clone(channels=self.shape[-1])

    @functools.cached_property
    def task(self) -> AutoencoderTask:
        options = self.options
        with within("loss.perceptual"):
            perceptual = options.loss.perceptual.distance(self.shape)
        return AutoencoderTask(
            self.network,
            self.shape,
            perceptual,
            options.loss.perceptual_weight,
            options.loss.kl,
            options.loss.commitment,
            options.precision.training,
            DrawReconstructions(self.network, self.subject, options.preview.images),
        )

    def check(self) -> None:
        space, training = self.options.data.space, self.options.precision.training
        require(space == PIXELS, "data.space", space, f"{PIXELS}, for which autoencoders are made")
        exact = choose(PRECISIONS, training, "precision.training").dtype == FLOAT32.dtype
        expected = "'tf32' or 'float32', in which autoencoders compute"
        require(exact, "precision.training", training, expected)
        with within("model"):
            self.network.check(*self.shape[:-1])

    def subject(self) -> AutoencoderSubject:
        """What an evaluation is of, and its images. Reads the disk."""
        judge = getattr(self.options.data.source, "judge", "")
        given = self.task, self.train_source, self.held_out, self.transform
        return AutoencoderSubject(*given, judge)

    def evaluate(self, trained: Trained, places: PlacesOf) -> dict[int, Report]:
        subject, options = self.subject(), self.evaluation
        return {
            step: autoencoders.evaluate(subject, params, step, options, places(params, step))
            for params, step in trained.chosen(options.checkpoints, self.template)
        }

    def record(self, params: Any) -> dict[str, Any]:
        """Network, and mean and standard deviation of the latents of training images."""
        return self.coder(params).record()

    def coder(self, params: Any) -> LatentCoder:
        """The trained autoencoder, whose latents have mean 0 and standard deviation 1 in every
        channel, measured on training images, 10,000 at most, drawn by the seed. Reads the disk."""
        source = self.train_source
        count = min(MEASURED, len(source))
        chosen = np.random.default_rng(self.options.seed).permutation(len(source))[:count]
        coder, sums = LatentCoder(self.network, jax.device_get(params)), []
        with progress_bar(desc="latents", total=count, unit="image", leave=False) as bar:
            for numbers in np.array_split(chosen, -(-count // AT_ONCE)):
                images = np.stack([self.prepared(x) for x in source.take(numbers)["image"]])
                mean, std = (z.astype(np.float64) for z in coder.moments(images))
                square = mean**2 + std**2
                sums.append([z.mean((1, 2)).sum(0) for z in (mean, square)])
                bar.update(len(numbers))
        mean, square = np.sum(sums, axis=0) / count
        std = np.sqrt(square - mean**2)
        return LatentCoder(coder.network, coder.params, tuple(mean.tolist()), tuple(std.tolist()))
