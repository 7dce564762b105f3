"""Solvers and grids that do not go with the process or the network."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp

from experiment.doctor.finding import Check, Finding, warning
from experiment.doctor.subject import Subject

# Steps below which a solver, or the predictor of "pc", leaves noise or colours that are wrong.
LEAST_STEPS = {
    "euler_maruyama": 250,
    "reverse_diffusion": 100,
    "none": 100,  # Langevin dynamics alone, whose corrector's steps are counted
    "ancestral": 20,
    "euler": 30,
    "stochastic_heun": 16,
    "ddim": 10,
    "heun": 8,
    "dpm": 6,
}
SOLVER = "sampling.solver"
LEARNED, UNDENOISED, ALONE = {"learned"}, {"none"}, {"none"}


def _corrector(subject: Subject) -> Any:
    """The corrector that samples with any steps; None for none."""
    solver = subject.sampling.solver if subject.sampling is not None else None
    found = getattr(solver, "corrector", None)
    return found if getattr(found, "num_steps", 0) else None


@dataclasses.dataclass(frozen=True)
class Steps(Check):
    """Fewer steps than the solver needs."""

    def findings(self, subject: Subject) -> Iterator[Finding]:
        if subject.sampling is None:
            return
        named = (subject.named(f"{SOLVER}{part}") for part in (".predictor", ".solver", ""))
        name = next(filter(None, named))
        steps, corrector = subject.sampling.num_steps, _corrector(subject)
        each = corrector.num_steps if corrector and name in ALONE else 1
        least = -(-LEAST_STEPS.get(name, 0) // each)
        if steps < least:
            quick = "" if steps < LEAST_STEPS["dpm"] else f", or --config.{SOLVER}=dpm"
            yield warning(
                f"sampling.num_steps = {steps} for {name}",
                "noise or wrong colours are left; quality falls without an error",
                f"--config.sampling.num_steps={least}{quick}",
            )


@dataclasses.dataclass(frozen=True)
class CorrectorOnFlow(Check):
    """Langevin dynamics at levels of pure noise, as a straight flow begins with.

    Attributes:
      least: alpha at the first node.
    """

    least: float = 1e-3

    def findings(self, subject: Subject) -> Iterator[Finding]:
        if _corrector(subject) is None:
            return
        process = subject.process
        start = subject.sampling.t_start
        first = process.node(jnp.float32(process.t_max if start is None else start))
        if float(first.alpha) < self.least:
            yield warning(
                f"a corrector of {_corrector(subject).num_steps} steps under process = "
                f"{subject.named('process')}, where alpha is {float(first.alpha):.2g} at t = "
                f"{float(first.t):.4g}",
                "its steps vanish with alpha, so its evaluations are wasted; flows are made for "
                "solvers without noise",
                f"--config.{SOLVER}=heun --config.sampling.num_steps=25",
            )


@dataclasses.dataclass(frozen=True)
class SignalToNoise(Check):
    """A corrector whose steps are far from those that were ever published.

    Attributes:
      least, most: of snr; published values are 0.075 to 0.17.
    """

    least: float = 0.01
    most: float = 0.5

    def findings(self, subject: Subject) -> Iterator[Finding]:
        corrector = _corrector(subject)
        snr = getattr(corrector, "snr", None)
        if snr is not None and not self.least <= snr <= self.most:
            usual = 0.075 if min(subject.experiment.shape[:-1]) >= 256 else 0.16
            yield warning(
                f"{SOLVER}.corrector.snr = {snr:g}",
                "larger steps than 0.5 destroy the image, smaller ones than 0.01 do nothing",
                f"--config.{SOLVER}.corrector.snr={usual:g}",
            )


@dataclasses.dataclass(frozen=True)
class UnusedVariance(Check):
    """Variances that are learned, and that the solver does not look at."""

    def findings(self, subject: Subject) -> Iterator[Finding]:
        if subject.sampling is None or not subject.get("parameterization.learned_variance"):
            return
        predictor = getattr(subject.sampling.solver, "predictor", None)
        if getattr(predictor, "variance", "") not in LEARNED:
            yield warning(
                f"parameterization.learned_variance = True, but {SOLVER} = "
                f"{subject.named(SOLVER)} ignores the variance",
                "half of the network's output is trained for nothing",
                f"--config.{SOLVER}=pc --config.{SOLVER}.predictor=ancestral "
                f"--config.{SOLVER}.predictor.variance=learned --config.{SOLVER}.corrector=none",
            )


@dataclasses.dataclass(frozen=True)
class NoiseLeft(Check):
    """Sampling that ends early.

    Attributes:
      visible: grey levels of noise that may be left without denoising.
      guessed: that may be left with it.
    """

    visible: float = 4.0
    guessed: float = 40.0

    def findings(self, subject: Subject) -> Iterator[Finding]:
        sampling, space = subject.sampling, subject.experiment.space
        if sampling is None or not space.is_pixels or sampling.end_clean:
            return
        t_end = subject.process.t_min if sampling.t_end is None else sampling.t_end
        last = subject.process.node(jnp.float32(t_end))
        levels = float(last.sigma / last.alpha) * float(space.unit)
        bare = sampling.denoise in UNDENOISED
        if levels <= (self.visible if bare else self.guessed):
            return
        cures = ["--config.sampling.denoise=tweedie"] if bare else []
        if levels > self.guessed:
            cures.append(f"--config.sampling.t_end={max(subject.process.t_min, 1e-5):g}")
        yield warning(
            f"sampling.t_end = {t_end:g} leaves noise of {levels:.3g} of 255 grey levels, with "
            f"sampling.denoise = {sampling.denoise}",
            "samples are noisy" if bare else "the last step blurs what it has to guess",
            " ".join(cures),
        )
