"""The models of the papers, and the small ones that stand for them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiment import kinds
from experiment.experiment import Experiment
from experiment.pipeline import Pipeline, load
from tools.figures.base import Work

# How a stand-in is sampled: a few steps of a solver that adds noise, as controls like it.
FEW = {
    "sampling.solver": "dpm", "sampling.solver.noise": True, "sampling.grid": "log_snr",
    "sampling.num_steps": 12, "sampling.batch_size": 6,
}  # fmt: skip
DIGITS, EMOJI = "pretrained/digits.npz", "pretrained/emoji.npz"


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model of a paper.

    title: what it is of. config: that trains it. run: where it is looked for. data: the folder of
    its images below --data; "" where the configuration's own source reads them. stand_in: weights
    that the project ships. evaluations: of the network for a sample.
    """

    title: str
    config: str
    run: str
    data: str = ""
    stand_in: str = DIGITS
    evaluations: int = 4001  # 2,000 steps of a predictor and a corrector, and the last denoising

    @property
    def spent(self) -> str:
        """What follows a number of samples where their cost is said."""
        return f"images of {self.evaluations:,} evaluations"

    def where(self, work: Work) -> str:
        """The weights or workdir."""
        return work.weights or (self.stand_in if work.small else self.run)

    def named(self, work: Work) -> str:
        """What was made is of: its title, or the file that stands for it or takes its place."""
        return self.title if self.where(work) == self.run else self.where(work)

    def overrides(self, work: Work, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Of its configuration: where its images are, how a stand-in is sampled, and more."""
        found: dict[str, Any] = dict(FEW) if work.small else {}
        if work.data and self.data and not work.small:
            found |= {"data.source.path": str(Path(work.data) / self.data)}
        return found | dict(more or {})

    def pipeline(self, work: Work, more: Mapping[str, Any] | None = None) -> Pipeline:
        """The model; UserError where there is none."""
        return load(self.where(work), self.overrides(work, more))

    def configured(self, work: Work) -> Experiment:
        """Its configuration alone, for data and numbers: nothing needs to be trained."""
        if work.small:
            return kinds.open_experiment(self.where(work))
        return kinds.open_experiment(self.config, self.overrides(work))


AFHQ = Model("AFHQ, 512 px", "configs/ve/afhq_512.py", "runs/afhq_512", "afhq512", EMOJI)
FFHQ = Model("FFHQ, 1024 px", "configs/ve/ffhq_1024.py", "runs/ffhq_1024", "ffhq1024")
CELEBA = Model(
    "CelebA-HQ, 256 px", "configs/ve/celebahq_256.py", "runs/celebahq_256", "celebahq256"
)
CHURCH = Model("LSUN churches, 256 px", "configs/ve/church_256.py", "runs/church_256", "church256")
OF_THE_THESIS = (AFHQ, FFHQ, CELEBA, CHURCH)


def cifar10(process: str, name: str, title: str) -> Model:
    """A model of CIFAR-10 by its configuration."""
    config, run = f"configs/{process}/cifar10_{name}.py", f"runs/{process}_cifar10_{name}"
    return Model(title, config, run, evaluations=2001)


CONDITIONAL = cifar10("ve", "ncsnpp_conditional", "CIFAR-10 by class, NCSN++ (VE)")
NCSNPP = cifar10("ve", "ncsnpp", "CIFAR-10, NCSN++ cont. (VE)")


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A classifier of noisy images, which guides a model; as Model."""

    config: str
    run: str
    stand_in: str

    def where(self, work: Work) -> str:
        """The weights or workdir."""
        return work.classifier or (self.stand_in if work.small else self.run)


OF_AFHQ = Classifier(
    "configs/ve/afhq_512_classifier.py", "runs/afhq_512_classifier",
    "pretrained/digits_classifier.npz",
)  # fmt: skip
OF_CIFAR10 = Classifier(
    "configs/ve/cifar10_classifier.py", "runs/ve_cifar10_classifier",
    "pretrained/digits_classifier.npz",
)  # fmt: skip
