"""The sections of a model of images of handwriting; see `experiment.handwriting_settings`."""

import dataclasses
from typing import Any

import flax.linen as nn

from data import CENTERED, TextLines
from experiment.handwriting_settings import (
    HandwritingSettings,
    WriteOptions,
    WritingOptions,
)
from experiment.settings import DataOptions
from losses import REDUCTIONS, TIMES, WEIGHTINGS, Mean, UniformTimes, VWeighting
from models import MODELS, NCSNpp
from options.fields import chosen, several
from parameterization import LogSigma, Parameterization, V
from sde_lib import PROCESSES, CosineVP, Process
from solvers.ddim import DDIM
from tasks.conditions import CONDITIONS, Condition, Style, Text


@dataclasses.dataclass(frozen=True)
class LineLossOptions:
    """What a model of images of lines minimises, over the pixels that a line has.

    Attributes:
      weighting: which error is squared. reduction: over the pixels of a line.
      times: how noise levels are drawn.
    """

    weighting: Any = chosen(WEIGHTINGS, VWeighting())
    reduction: Any = chosen(REDUCTIONS, Mean())
    times: Any = chosen(TIMES, UniformTimes())


@dataclasses.dataclass(frozen=True)
class LinesSettings(HandwritingSettings):
    """A model of images of handwriting, which writes a text in the style of a hand.

    Attributes:
      seed: of parameters, order of the data and noise of training.
      process: the noising process of the images. parameterization: what the network predicts.
      model: the network. conditions: what it is conditioned on.
    """

    process: Process = chosen(PROCESSES, CosineVP())
    parameterization: Parameterization = Parameterization(V(), LogSigma())
    model: nn.Module = chosen(MODELS, NCSNpp())
    conditions: tuple[Condition, ...] = several(CONDITIONS, (Text(), Style(added=True)))
    loss: LineLossOptions = LineLossOptions()  # type: ignore[assignment]
    data: DataOptions = DataOptions(
        source=TextLines(), space=CENTERED, image_size=(), num_channels=1
    )
    sampling: WritingOptions = WritingOptions(solver=DDIM(), num_steps=50, t_end=None)
    write: Any = WriteOptions()
