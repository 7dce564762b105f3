"""The sections that every configuration has, and what their fields mean.

A configuration of a kind of task is one dataclass here; `sections` turns it into nested sections
and back. What can be chosen (a process, a network, a solver, a strategy of guidance, ...) has the
fields of the chosen class, documented there.
"""

import dataclasses
from typing import Any

import flax.linen as nn

from controllable.strategies import STRATEGIES, GuidanceInputs, Strategy
from data import SOURCES, Digits, Pixels, Transform
from data.augment import Augment
from evaluation.classifiers import ClassifierEvalOptions
from evaluation.options import EvalOptions
from experiment.latent_space import spaces
from generation.control_tasks import TASKS as CONTROLS
from generation.control_tasks import Inpaint
from losses import (
    COUPLINGS,
    REDUCTIONS,
    TIMES,
    WEIGHTINGS,
    HalfSum,
    Independent,
    NoiseWeighting,
    UniformTimes,
    VariationalBound,
)
from models import CLASSIFIERS, MODELS, NCSNpp, WideResNet
from options.choices import (
    MOST_COUNT,
    MOST_SAMPLES,
    MOST_STEPS,
    choose,
    require,
    require_at_least_one,
    require_count,
    require_fraction,
    require_non_negative,
)
from options.fields import chosen, several
from options.memory import AUTO, Batched
from options.precision import PRECISIONS
from parameterization import C_NOISE, EDMNoise, LogSigma, Parameterization, ScaledScore
from sampling import DENOISE_CHOICES, Solver
from sde_lib import PROCESSES, VESDE, Node, Process
from solvers import SOLVERS
from solvers.dpm import DPMSolverPP
from solvers.grids import GRIDS, UniformGrid, end_clean
from solvers.predictor_corrector import PredictorCorrector
from tasks.conditions import CONDITIONS, Condition
from training.ema import EMA
from training.loop import TrainOptions
from training.optimizer import Optimizer

BEYOND = 2**63  # no seed of a configuration reaches it


def require_seed(seed: int) -> None:
    """InvalidValue for a seed that no generator takes."""
    require(0 <= seed < BEYOND, "seed", seed, "0 or more, below 2^63")


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """What the model is trained and judged on.

    Attributes:
      source: where the examples come from.
      space: between the values that a user sees and the states that a process moves.
      train_split, eval_split: names of the parts to train on, and to judge on.
      class_names: in the order of the classes' numbers; a run takes them from the data that it is
        trained on.
      holdout: share of the examples that is held out for evaluation, where the source has no splits
        of its own; 0 for none.
      image_size: height and width that images are brought to, or one number for squares; empty for
        data that stay as they are.
      fit: where `image_size` is empty, images get the size that most of them have, shrunk until
        its shorter side is at most this and its longer one at most twice this, and rounded to
        multiples of 4; 0: they stay as they are.
      num_channels: of an image, 1 for grey or 3 for colour; of arrays, whatever they have; 0: those
        of the data.
      crop: "center" or "random" takes the largest part of the image of the right proportions,
        "none" squeezes all of it.
      resize: "bicubic", "bilinear" (as Song et al. 2021 do), or "box", means over rectangles.
      random_flip: mirror half of the images left-right.
      dequantize: add uniform noise of one grey level.
      keep_resized: keep the resized images of files on disk, in the user's cache, where none are
        cropped at random: files are then decoded once.
      augment: probability of each of EDM's non-leaking augmentations; a generative model is
        conditioned on them, a classifier is not.
    """

    source: Any = chosen(SOURCES, Digits())
    space: Any = chosen(spaces, Pixels())
    train_split: str = "train"
    eval_split: str = "test"
    class_names: tuple[str, ...] = ()
    holdout: float = 0.1
    image_size: tuple[int, ...] = (28, 28)
    fit: int = 0
    num_channels: int = 1
    crop: str = "center"
    resize: str = "bicubic"
    random_flip: bool = False
    dequantize: bool = False
    augment: float = 0.0
    keep_resized: bool = True

    def __post_init__(self) -> None:
        size = self.image_size
        require(len(size) <= 2, "image_size", size, "one number, or (height, width)")
        whole = all(type(n) is int and 1 <= n <= MOST_COUNT for n in size)
        require(whole, "image_size", size, "whole numbers from 1 on")
        require_non_negative(self, "num_channels", "fit")
        require_fraction(self, "holdout")

    @property
    def reader(self) -> Any:
        """The source, with what the configuration says of splits and channels where it asks."""
        asks = {field.name for field in dataclasses.fields(self.source)}
        said = {
            "splits": (self.train_split, self.eval_split),
            "channels": self.num_channels,
            "size": self.size,
        }
        return dataclasses.replace(self.source, **{k: said[k] for k in asks & said.keys()})

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of an image; None for data that stay as they are."""
        size = self.image_size
        return (size[0], size[-1]) if size else None

    @property
    def transform(self) -> Transform:
        """What is made of an example on its way into a batch."""
        return Transform(
            image_size=self.size,
            crop=self.crop,
            flip=self.random_flip,
            dequantize=self.dequantize,
            augment=Augment(self.augment) if self.augment else None,
            space=self.space,
            resize=self.resize,
        )


@dataclasses.dataclass(frozen=True)
class LossOptions:
    """What a generative model minimises.

    Attributes:
      weighting: which error is squared. reduction: over the coordinates of an example.
      times: how noise levels are drawn.
      coupling: of noise with the examples of a microbatch.
      bound: what trains learned variances, where the network predicts them.
    """

    weighting: Any = chosen(WEIGHTINGS, NoiseWeighting())
    reduction: Any = chosen(REDUCTIONS, HalfSum())
    times: Any = chosen(TIMES, UniformTimes())
    coupling: Any = chosen(COUPLINGS, Independent())
    bound: VariationalBound = VariationalBound()


@dataclasses.dataclass(frozen=True)
class ClassifierLossOptions:
    """What a classifier minimises.

    Attributes:
      times: how noise levels are drawn.
      label_smoothing: of the cross-entropy, in [0, 1).
    """

    times: Any = chosen(TIMES, UniformTimes())
    label_smoothing: float = 0.0


@dataclasses.dataclass(frozen=True)
class CaptionOptions:
    """How captions become vectors, of a model with the condition `caption`.

    Attributes:
      encoder: the file of a frozen text encoder, which tools.import_text_encoder makes.
      tokens: that captions are padded to, [CLS] and [SEP] among them; longer ones are refused.
    """

    encoder: str = ""
    tokens: int = 32

    def __post_init__(self) -> None:
        require_count("tokens", self.tokens, 3)


@dataclasses.dataclass(frozen=True)
class ImageTrainOptions(TrainOptions):
    """How a generative model is trained.

    Attributes:
      fid_every: steps between two measurements of FID to the training set, made as those of
        `evaluate_every`; 0 for never.
      fid_samples: of how many samples, drawn as `sampling` says and judged by `eval.extractor`.
    """

    fid_every: int = 0
    fid_samples: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_non_negative(self, "fid_every")
        require_count("fid_samples", self.fid_samples, 2, MOST_SAMPLES)


@dataclasses.dataclass(frozen=True)
class NoiseInput:
    """How a classifier is conditioned on the noise level.

    Attributes:
      c_noise: what the network is given of it.
    """

    c_noise: Any = chosen(C_NOISE, EDMNoise())


@dataclasses.dataclass(frozen=True)
class DrawingOptions(Batched):
    """How anything is drawn from a model, by whatever mode.

    Attributes:
      solver: what moves a sample from node to node.
      grid: how the nodes are spaced.
      num_steps: steps of the grid.
      t_start: where it begins; unset: the process's t_max.
      t_end: where it ends; unset: the process's t_min.
      end_clean: the last of the steps goes on from t_end to sigma = 0.
      denoise: "tweedie", "mean" or "none", see `sampling.sample`.
      batch_size: drawn at once, over all devices of the host, and measured at once for guidance;
        "auto": the most that fit.
      seed: of the samples.
    """

    solver: Solver = chosen(SOLVERS, PredictorCorrector())
    grid: Any = chosen(GRIDS, UniformGrid())
    num_steps: int = 1000
    t_start: float | None = None
    t_end: float | None = None
    end_clean: bool = False
    denoise: str = "tweedie"
    batch_size: str | int = AUTO
    seed: int = 0

    def __post_init__(self) -> None:
        self.at_once  # noqa: B018  its own check
        require_at_least_one(self, "num_steps", most=MOST_STEPS)
        require_seed(self.seed)
        choose(DENOISE_CHOICES, self.denoise, "denoise")

    def nodes(self, process: Process, t_start: float | None = None) -> Node:
        """The grid, from t_start if that is given."""
        steps = self.num_steps - bool(self.end_clean)
        start = self.t_start if t_start is None else t_start
        grid = self.grid(process, steps, t_start=start, t_end=self.t_end)
        return end_clean(grid) if self.end_clean else grid


@dataclasses.dataclass(frozen=True)
class SamplingOptions(DrawingOptions):
    """How samples are drawn, by whatever mode.

    Attributes:
      low_level: of the noise on what an upsampler enlarges.
      num_samples: how many `--mode sample` draws.
      labels: their classes by name or number, as in "3,3,7"; empty: all in turn.
      texts: their captions in turn, "" for none; empty: those of held-out examples.
    """

    low_level: float = 0.1
    num_samples: int = 64
    labels: str = ""
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_one(self, "num_samples", most=MOST_SAMPLES)
        least = max(1, len(self.texts))
        expected = f"{least} or more, one of each text"
        require(self.num_samples >= least, "num_samples", self.num_samples, expected)


@dataclasses.dataclass(frozen=True)
class PreviewOptions:
    """How samples are drawn while training, every `training.draw_every` steps: cheaply, whatever
    `sampling` says of solver and steps.

    Attributes:
      solver: what moves a sample from node to node.
      num_steps: steps of the grid, which is of the kind of `sampling.grid`.
      num_samples: at most so many, where `sampling.num_samples` are more.
    """

    solver: Solver = chosen(SOLVERS, DPMSolverPP())
    num_steps: int = 30
    num_samples: int = 64

    def __post_init__(self) -> None:
        require_at_least_one(self, "num_steps", "num_samples")


@dataclasses.dataclass(frozen=True)
class Unguided:
    """No guidance."""

    needs_classifier = False


@dataclasses.dataclass(frozen=True)
class GuidanceOptions:
    """Guidance towards the class, of all that is sampled.

    Attributes:
      strategy: how; "none" for not at all.
      classifier: weights or workdir of a classifier, for every strategy but "free".
    """

    strategy: Any = chosen({"none": Unguided, **STRATEGIES}, Unguided())
    classifier: str = ""

    @property
    def guiding(self) -> Strategy | None:
        """The strategy; None for no guidance."""
        return None if self.strategy == Unguided() else self.strategy

    def check(self, process: Process, conditions: tuple[Condition, ...]) -> None:
        """InvalidValue where a model of these conditions, which training drops, cannot be guided
        so."""
        if self.guiding is None:
            return
        if self.guiding.needs_classifier:
            expected = "weights or a workdir of a classifier, which the strategy follows"
            require(self.classifier, "classifier", self.classifier, expected)
        else:
            self.guiding.guidance(GuidanceInputs(process, conditions))


@dataclasses.dataclass(frozen=True)
class ControlOptions:
    """What `--mode control` does.

    Attributes:
      task: what is asked of the samples.
      image: an image file, cropped and resized to the model's size where it has another; empty:
        images of the evaluation split.
      images: how many of them. results: how many results for each.
      labels: their classes by name or number, as in "3,3,7"; empty: the data set's own.
      texts: captions of the results, of one image after another; empty: none.
      repeats: of each step, RePaint's resampling; 1 for none.
      seed: of the choice of images, of measurements and of samples.
    """

    task: Any = chosen(CONTROLS, Inpaint())
    image: str = ""
    images: int = 4
    results: int = 4
    labels: str = ""
    texts: tuple[str, ...] = ()
    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least_one(self, "images", "results", most=MOST_SAMPLES)
        require_at_least_one(self, "repeats", most=MOST_STEPS)
        require_seed(self.seed)


def _require_precision(owner: Any, *fields: str) -> None:
    for field in fields:
        choose(PRECISIONS, getattr(owner, field), field)


@dataclasses.dataclass(frozen=True)
class TrainingPrecision:
    """How exactly a classifier computes; in evaluation and where it guides, in float32.

    Attributes:
      training: "tf32", float32 with products as the accelerator rounds them (to TF32 on an NVIDIA
        GPU, to bfloat16 on a TPU, not at all on a CPU); "float32", nothing rounded; "bfloat16", for
        activations too.
    """

    training: str = "tf32"

    def __post_init__(self) -> None:
        _require_precision(self, "training")


@dataclasses.dataclass(frozen=True)
class PrecisionOptions(TrainingPrecision):
    """How exactly a generative model computes; likelihood and metrics are always in float32.

    Attributes:
      training: "tf32", float32 with products as the accelerator rounds them (to TF32 on an NVIDIA
        GPU, to bfloat16 on a TPU, not at all on a CPU); "float32", nothing rounded; "bfloat16", for
        activations too.
      sampling: likewise, of whatever mode; only "float32" for solvers that estimate their own
        error.
    """

    sampling: str = "float32"

    def __post_init__(self) -> None:
        _require_precision(self, "training", "sampling")


@dataclasses.dataclass(frozen=True)
class ImageSettings:
    """A generative model of images, arrays or sequences.

    Attributes:
      seed: of parameters, order of the data and noise of training.
      process: the noising process. parameterization: what the network predicts, and of what.
      model: the network. conditions: what it is conditioned on.
    """

    seed: int = 42
    process: Process = chosen(PROCESSES, VESDE())
    parameterization: Parameterization = Parameterization(ScaledScore(), LogSigma())
    model: nn.Module = chosen(MODELS, NCSNpp())
    conditions: tuple[Condition, ...] = several(CONDITIONS)
    captions: CaptionOptions = CaptionOptions()
    loss: LossOptions = LossOptions()
    data: DataOptions = DataOptions()
    optim: Optimizer = Optimizer()
    ema: EMA = EMA()
    training: ImageTrainOptions = ImageTrainOptions()
    precision: PrecisionOptions = PrecisionOptions()
    preview: PreviewOptions = PreviewOptions()
    sampling: SamplingOptions = SamplingOptions()
    guidance: GuidanceOptions = GuidanceOptions()
    control: ControlOptions = ControlOptions()
    eval: EvalOptions = EvalOptions()

    def __post_init__(self) -> None:
        require_seed(self.seed)


@dataclasses.dataclass(frozen=True)
class ClassifierSettings:
    """A classifier of noisy images.

    Attributes:
      seed: of parameters, order of the data and noise of training.
      process: the noising process. model: the network, with its `num_classes`.
    """

    seed: int = 42
    process: Process = chosen(PROCESSES, VESDE())
    parameterization: NoiseInput = NoiseInput()
    model: nn.Module = chosen(CLASSIFIERS, WideResNet())
    loss: ClassifierLossOptions = ClassifierLossOptions()
    data: DataOptions = DataOptions()
    optim: Optimizer = Optimizer()
    ema: EMA = EMA()
    training: TrainOptions = TrainOptions()
    precision: TrainingPrecision = TrainingPrecision()
    eval: ClassifierEvalOptions = ClassifierEvalOptions()

    def __post_init__(self) -> None:
        require_seed(self.seed)
