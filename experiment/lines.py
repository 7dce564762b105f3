"""Models of images of handwriting as a kind of experiment."""

import functools

from experiment.handwriting import HandwritingExperiment
from experiment.lines_settings import LinesSettings
from handwriting.ink_medium import InkMedium
from tasks.image import ImageTask


class LinesExperiment(HandwritingExperiment):
    """A model that writes a text in the style of a hand, as images of lines."""

    settings = LinesSettings
    kind = "lines"
    kind_of_task = ImageTask
    options: LinesSettings

    @functools.cached_property
    def medium(self) -> InkMedium:
        return InkMedium()
