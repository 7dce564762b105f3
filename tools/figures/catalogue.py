"""Every figure and table of three papers by its number, and what makes it here.

traore      Traore 2025, "From Noise to Images: Implementing Score-Based Generative Models using
            Stochastic Differential Equation"
mohammadi   Mohammadi, "Diffusion Models" (course notes), by section: its figures have no numbers
song        Song et al. 2021, "Score-Based Generative Modeling through Stochastic Differential
            Equations", tables 1 to 3
"""

import dataclasses

from tools.figures import datasets, images, measured, processes, scores
from tools.figures.base import Figure
from tools.figures.models import (
    AFHQ,
    CELEBA,
    CHURCH,
    CONDITIONAL,
    EMOJI,
    FFHQ,
    NCSNPP,
    OF_CIFAR10,
    OF_THE_THESIS,
)
from tools.figures.processes import SUBVP, VE, VP


@dataclasses.dataclass(frozen=True)
class Item:
    """A figure, table or algorithm.

    Attributes:
      shows: what.
      figure: what makes it; None for a drawing or a text.
      instead: of one that nothing makes, what it is.
    """

    shows: str
    figure: Figure | None = None
    instead: str = ""


def drawing(shows: str, instead: str = "a drawing") -> Item:
    """A figure with nothing to compute."""
    return Item(shows, None, instead)


ALL_MASKS = tuple(images.TRIED)
FEW_MASKS = ("box", "circle", "irregular strokes")
BOTH = ("forward", "reverse")

TRAORE: dict[str, Item] = {
    "1.1": drawing("images of text-to-image services", "images of others' models"),
    "2.1": drawing("families of generative models", "a drawing"),
    "2.2": Item("true and learned score of data", scores.Field(0.0)),
    "2.3": Item("the same of data with noise", scores.Field(2.0)),
    "2.4": Item("mean and variance of VE, VP and sub-VP", processes.Moments()),
    "2.5": Item("forward and backward process", processes.Ways((VE, VP, SUBVP), BOTH)),
    "2.6": Item("forward SDE, reverse SDE, probability flow", processes.Ways((VE, VP))),
    "3.1": Item("images of the four data sets", datasets.Sets()),
    "table-3.1": Item("hyperparameters of training", datasets.Hyperparameters()),
    "equation-3.1": Item("sigma_max by class, and of all", datasets.Widths()),
    "section-3.3": Item("training: the loss", datasets.Training()),
    "section-3.4": Item(
        "reverse diffusion against the adaptive solver: quality, evaluations, seconds",
        measured.Solvers(AFHQ, measured.FAST),
    ),
    "section-3.4-snr": Item("signal-to-noise ratios", measured.Solvers(AFHQ, measured.BY_SNR)),
    "4.1": Item("samples, AFHQ", images.Samples(AFHQ, 32, 2)),
    "4.2": Item("samples, FFHQ", images.Samples(FFHQ, 8, 2)),
    "4.3": Item("samples, CelebA-HQ", images.Samples(CELEBA, 32, 2)),
    "4.4": Item("samples, LSUN churches", images.Samples(CHURCH, 32, 2)),
    "4.5": Item("samples, AFHQ, a third grid", images.Samples(AFHQ, 16)),
    "section-4.2": Item(
        "FID, Inception Score and likelihood, which it leaves out",
        measured.Evaluations(OF_THE_THESIS, samples=10_000),
    ),
    "5.1": Item("inpainting, AFHQ", images.Inpainted(AFHQ, 36, FEW_MASKS)),
    "5.2": Item("inpainting, FFHQ", images.Inpainted(FFHQ, 36, FEW_MASKS)),
    "5.3": Item("inpainting, CelebA-HQ", images.Inpainted(CELEBA, 36, FEW_MASKS)),
    "5.4": Item("inpainting, LSUN churches", images.Inpainted(CHURCH, 36, FEW_MASKS)),
    "5.5": Item("colour components", images.Components()),
    "5.6": Item("colorization, FFHQ", images.Colored(FFHQ)),
    "5.7": Item("colorization, AFHQ", images.Colored(AFHQ)),
    "5.8": Item("colorization, CelebA-HQ", images.Colored(CELEBA)),
    "5.9": Item("colorization, LSUN churches", images.Colored(CHURCH)),
    "5.10": Item("confusion matrices by noise level", measured.Confusion()),
    "5.11": Item("guidance by Bayes' rule", images.Guided((images.UNSCALED,))),
    "5.12": Item("strategy 1, amplified", images.Guided((images.FIRST,))),
    "5.13": Item("strategy 2, linear", images.Guided((images.SECOND,))),
    "5.14": Item("strategy 3: scale and clamped noise level", images.Schedules()),
    "5.15": Item(
        "strategy 3, three zones for each class, and a zone of its own for each",
        images.Guided((*images.THIRD, images.BY_CLASS)),
    ),
    "5.16": Item("strategy 1 from other noise", images.Guided((images.FIRST,), seed=1)),
    "section-5.3": Item(
        "the strategies side by side on an unconditional model; the ratio of norms",
        measured.Contest(),
    ),
    "table-7.1": drawing("abbreviations", "a text; [glossary](glossary.md)"),
    "table-7.2": drawing("technical terms", "a text; [glossary](glossary.md)"),
    "table-7.3": drawing("names of the data sets", "a text"),
    "7.1": Item(
        "FID against evaluations, adaptive and Euler-Maruyama",
        measured.Solvers(FFHQ, measured.BY_TOLERANCE, plot="adaptive SDE and Euler-Maruyama"),
    ),
    "7.2": Item("more samples, CelebA-HQ", images.Samples(CELEBA, 64)),
    "7.2-church": Item("more samples, LSUN churches", images.Samples(CHURCH, 64)),
    "7.3": Item("more samples, FFHQ", images.Samples(FFHQ, 16)),
    "7.4": Item("more samples, AFHQ, four grids", images.Samples(AFHQ, 64, 4)),
    "7.5": Item("masks of every kind, AFHQ", images.Inpainted(AFHQ, 96, ALL_MASKS)),
    "7.6": Item("masks of every kind, FFHQ", images.Inpainted(FFHQ, 96, ALL_MASKS)),
    "7.7": Item("masks of every kind, CelebA-HQ", images.Inpainted(CELEBA, 96, ALL_MASKS)),
    "7.8": Item("masks of every kind, churches", images.Inpainted(CHURCH, 96, ALL_MASKS)),
    "7.9": Item("more colorization, AFHQ", images.Colored(AFHQ, each=(8, 3))),
    "7.10": Item("more colorization, CelebA-HQ", images.Colored(CELEBA, each=(8, 3))),
    "7.11": Item("more colorization, LSUN churches", images.Colored(CHURCH, each=(8, 3))),
    "7.12": Item("more colorization, FFHQ", images.Colored(FFHQ, each=(8, 3))),
    "7.13": Item(
        "a class for each strategy",
        images.Guided((images.FIRST, images.SECOND, images.THIRD[1]), each=6, one_class_each=True),
    ),
}

BIRDS_AND_DEER = ("bird", "deer")
MOHAMMADI: dict[str, Item] = {
    "1": drawing("families of generative models", "a drawing"),
    "2.1": drawing("encoder and decoder", "a drawing; the encoder of an image is 3"),
    "2.2": Item("the diffusion process, data to noise", processes.Ways((VP,), ("forward",))),
    "3": Item("forward process of an image; an animation", images.ForwardStrip(NCSNPP)),
    "3-schedule": Item("beta_t and alpha_t, and their limit", processes.Chain()),
    "3.1": Item("diffusion kernel: five paths, two standard deviations", processes.Kernel()),
    "3.2": Item("marginal q(z_t)", processes.Marginals()),
    "3.3": Item("q(z_{t-1} | z_t), and its Gaussian", processes.Reversed()),
    "3.4": Item("q(z_{t-1} | z_t, x)", processes.ConditionalReversed()),
    "4": Item("annealed Langevin chains", processes.Langevin()),
    "4.1": Item("ancestral sampling, noise to images; an animation", images.Strip(NCSNPP, 8)),
    "5": drawing("the graphical model of training", "a drawing"),
    "algorithm-18.1": Item("training", datasets.Training(NCSNPP)),
    "algorithm-18.2": Item("sampling", images.Samples(NCSNPP, 64)),
    "7.1": drawing("the U-Net, two figures", "a drawing; `models/ncsnpp.py`"),
    "7.2": Item("noise levels: some, more, infinitely many", processes.Levels()),
    "7.2.1": Item("perturbing data, an animation", processes.Points("forward")),
    "7.2.3": Item("data to noise by a process", processes.Ways((VE, VP), ("forward",))),
    "7.2.5-ve": Item("reversing VE", processes.Ways((VE,), BOTH)),
    "7.2.5-vp": Item("reversing VP", processes.Ways((VP,), BOTH)),
    "7.2.6": Item("reversal by the score, an animation", processes.Points("reverse")),
    "9.2": Item("three steps of Euler-Maruyama, VP and VE", processes.WorkedSteps()),
    "10": Item(
        "predictor and corrector, apart and together",
        measured.Solvers(
            NCSNPP,
            (
                measured.Entry("predictor", measured.pc(measured.ReverseDiffusion()), 1000),
                measured.Entry(
                    "corrector",
                    measured.pc(measured.NoPredictor(), measured.Langevin(0.16)),
                    1000,
                ),
                measured.Entry(
                    "both", measured.pc(measured.ReverseDiffusion(), measured.Langevin(0.16)), 1000
                ),
            ),
        ),
    ),
    "10.5": Item("samples of 1024 pixels", images.Samples(FFHQ, 4)),
    "11": Item("SDE and probability flow", processes.Ways((VP,))),
    "11.1": Item(
        "likelihood by the probability flow",
        measured.Evaluations((NCSNPP,), ("bits_per_dim", "loss"), samples=1000),
    ),
    "table-1": Item("ODE and SDE, measured", measured.Flows()),
    "11.4-class": Item("birds and deer", images.Samples(CONDITIONAL, 32, 1, BIRDS_AND_DEER)),
    "11.4-guided": Item(
        "birds and deer, an unconditional model guided by a classifier",
        images.Guided(
            (images.UNSCALED,), BIRDS_AND_DEER, 8, model=NCSNPP,
            classifier=OF_CIFAR10,
        ),
    ),
    "11.4-inpainting": Item("inpainting", images.Inpainted(CHURCH, 12, ("half", "box"))),
    "11.4-colorization": Item("colorization", images.Colored(CHURCH)),
    "12": drawing("latent diffusion", "a drawing; such models: docs/latent.md"),
    "14-classifier": Item(
        "classifier guidance of more and less weight",
        images.Guided((images.UNSCALED, images.FIRST), BIRDS_AND_DEER, 4, model=NCSNPP,
                      classifier=OF_CIFAR10),
    ),
    "14-free": Item("classifier-free guidance", images.Free(CONDITIONAL, 30)),
    "14.1": Item("a cascade", images.Cascade()),
    "14.2-strokes": Item(
        "strokes to an image",
        images.Edited(dataclasses.replace(CHURCH, stand_in=EMOJI), 8),
    ),
    "14.2-language": drawing("images of a text", "of others' models; ours: docs/captions.md"),
}  # fmt: skip

SONG: dict[str, Item] = {
    "table-1-ve": Item(
        "predictors and correctors, VE (SMLD)",
        measured.Solvers(measured.DISCRETE[0], measured.TABLE_1, 50_000, False),
    ),
    "table-1-vp": Item(
        "predictors and correctors, VP (DDPM)",
        measured.Solvers(measured.DISCRETE[1], measured.TABLE_1, 50_000, False),
    ),
    "table-2": Item(
        "likelihood, and FID of the probability flow",
        measured.Evaluations(
            measured.LIKELIHOODS, ("bits_per_dim", "fid"), (("sampling.solver", "ode"),)
        ),
    ),
    "table-3": Item(
        "FID and Inception Score",
        measured.Evaluations(measured.QUALITY, ("fid", "inception_score")),
    ),
}

PAPERS: dict[str, dict[str, Item]] = {"traore": TRAORE, "mohammadi": MOHAMMADI, "song": SONG}
ITEMS: dict[str, Item] = {
    f"{paper}-{number}": item for paper, items in PAPERS.items() for number, item in items.items()
}
FIGURES: dict[str, Figure] = {
    name: item.figure for name, item in ITEMS.items() if item.figure is not None
}
