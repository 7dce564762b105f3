"""The sections of a model of handwriting, and what their fields mean; see `experiment.settings`."""

import dataclasses
from typing import Any

import flax.linen as nn

from data import Strokes
from data.space import StrokeSpace
from evaluation.handwriting import HandwritingEvalOptions
from experiment.settings import DataOptions, DrawingOptions, PrecisionOptions, require_seed
from handwriting.drawing import Look
from handwriting.extractors import EXTRACTORS, Shipped
from handwriting.length import LengthModel
from handwriting.page import Layout
from handwriting.reading import RENDERINGS
from handwriting.style import StyleExtractor
from losses import TIMES, WEIGHTINGS, NoiseWeighting, UniformTimes
from models import MODELS, HandwritingNetwork
from options.choices import (
    MOST_SAMPLES,
    choose,
    require,
    require_at_least_one,
    require_non_negative,
)
from options.errors import InvalidValue, Words
from options.fields import chosen, several
from parameterization import Alpha, Noise, Parameterization
from sampling import Solver
from sde_lib import PROCESSES, HandwritingSchedule, Process
from solvers import SOLVERS
from solvers.renoising import Renoising
from tasks.conditions import CONDITIONS, Condition, Style, Text
from training.ema import EMA
from training.loop import TrainOptions
from training.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class StyleOptions:
    """What a hand is, to a model that writes in the style of one.

    Attributes:
      extractor: what sees the style in an image of a line.
      fingerprint: of the extractor's weights, which a run remembers; another one is refused.
      length: how long a line is; a run takes it from the data that it is trained on.
    """

    extractor: Any = chosen(EXTRACTORS, Shipped())
    fingerprint: str = ""
    length: LengthModel = LengthModel()

    def load(self) -> StyleExtractor:
        """The extractor; InvalidValue for another than the model was trained with. Reads the
        disk."""
        found = self.extractor.load()
        if self.fingerprint not in ("", found.identity):
            but = f"the model was trained with the features of {self.fingerprint}"
            raise InvalidValue("style.extractor", Words(found.identity), but=but)
        return found


@dataclasses.dataclass(frozen=True)
class StrokeLossOptions:
    """What a model of handwriting minimises.

    Attributes:
      weighting: which error of the movements is squared.
      times: how noise levels are drawn.
      pen_weight: of the cross-entropy of the pen beside the mean square over dx and dy; 1/2 is the
        paper's.
      padding_counts: as in the published code, the padding is handwriting with its pen up; without,
        it neither is seen nor counts.
      average_weight: of the pen's loss is alpha^2 averaged over the batch, as in that code.
    """

    weighting: Any = chosen(WEIGHTINGS, NoiseWeighting())
    times: Any = chosen(TIMES, UniformTimes())
    pen_weight: float = 0.5
    padding_counts: bool = False
    average_weight: bool = False


@dataclasses.dataclass(frozen=True)
class WritingOptions(DrawingOptions):
    """How lines are drawn, by whatever mode; by default as Luhman & Luhman 2020, algorithm 2."""

    solver: Solver = chosen(SOLVERS, Renoising())
    num_steps: int = 60
    t_end: float | None = 1 / 60
    end_clean: bool = True
    denoise: str = "none"


@dataclasses.dataclass(frozen=True)
class WritingGuidance:
    """Classifier-free guidance of all that is written, of the text and of the style apart.

    Attributes:
      text: scale of the text: 1 is the model as it is, more makes letters plainer.
      style: scale of the style, likewise.
    """

    text: float = 1.0
    style: float = 1.0

    def __post_init__(self) -> None:
        require_non_negative(self, "text", "style")

    def scales(self) -> dict[Any, Any]:
        """Those that change anything, by the names of conditions, the text first."""
        return {name: scale for name, scale in vars(self).items() if scale != 1}


@dataclasses.dataclass(frozen=True)
class WriteOptions:
    """What `--mode write` makes of a text.

    Attributes:
      wrap: the most characters of a line.
      split: a word that is longer than a line is cut; without, it is refused.
      candidates: of each line, of which that is taken that `reader` reads with the fewest errors.
      reader: a recogniser of text, "ppocr" or "tesseract", where there are several candidates.
      alignment: also write a picture of which points or columns show which characters, of each
        line.
      layout: of the page.
    """

    wrap: int = 32
    split: bool = True
    candidates: int = 1
    reader: str = "ppocr"
    alignment: bool = False
    layout: Layout = Layout(0, 0, left=10, right=10, top=5, bottom=10)

    def __post_init__(self) -> None:
        require_at_least_one(self, "wrap")
        require_at_least_one(self, "candidates", most=MOST_SAMPLES)
        choose(RENDERINGS, self.reader, "reader")


@dataclasses.dataclass(frozen=True)
class PenWriteOptions(WriteOptions):
    """What `--mode write` makes of a text.

    Attributes:
      look: of the pen.
    """

    look: Look = Look()


@dataclasses.dataclass(frozen=True)
class HandwritingTrainOptions(TrainOptions):
    """How a model of handwriting is trained.

    Attributes:
      read_every: steps between two measurements of the character error rate of held-out texts that
        are written, by the recognisers that are installed; 0 for never.
      read_lines: how many, written as `sampling` says.
      buckets: lengths of lines below the longest: batches are gathered of lines of like length, and
        padded to the next of these (`data.buckets`); empty: all are padded to the longest. A
        microbatch that is "auto" is the one that fits the first batch.
    """

    read_every: int = 0
    read_lines: int = 32
    buckets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require_non_negative(self, "read_every")
        require_at_least_one(self, "read_lines", most=MOST_SAMPLES)
        single = self.steps_at_once in (None, 1)
        require(single or not self.buckets, "n_jitted_steps", self.n_jitted_steps, "1 with buckets")


@dataclasses.dataclass(frozen=True)
class LinePreviewOptions:
    """What is drawn while training, every `training.draw_every` steps.

    Attributes:
      num_lines: of held-out texts.
    """

    num_lines: int = 8

    def __post_init__(self) -> None:
        require_at_least_one(self, "num_lines")


@dataclasses.dataclass(frozen=True)
class HandwritingSettings:
    """A model of handwriting, which writes a text in the style of a hand.

    Attributes:
      seed: of parameters, order of the data and noise of training.
      process: the noising process of the movements. parameterization: what the network predicts.
      model: the network. conditions: what it is conditioned on.
    """

    seed: int = 42
    process: Process = chosen(PROCESSES, HandwritingSchedule())
    parameterization: Parameterization = Parameterization(Noise(), Alpha())
    model: nn.Module = chosen(MODELS, HandwritingNetwork())
    conditions: tuple[Condition, ...] = several(CONDITIONS, (Text(), Style()))
    style: StyleOptions = StyleOptions()
    loss: StrokeLossOptions = StrokeLossOptions()
    data: DataOptions = DataOptions(
        source=Strokes(), space=StrokeSpace(), image_size=(), num_channels=3
    )
    optim: Optimizer = Optimizer()
    ema: EMA = EMA()
    training: HandwritingTrainOptions = HandwritingTrainOptions()
    precision: PrecisionOptions = PrecisionOptions()
    preview: LinePreviewOptions = LinePreviewOptions()
    sampling: WritingOptions = WritingOptions()
    guidance: WritingGuidance = WritingGuidance()
    write: Any = PenWriteOptions()
    eval: HandwritingEvalOptions = HandwritingEvalOptions()

    def __post_init__(self) -> None:
        require_seed(self.seed)
