"""What sees the style of a hand in an image of a line, by the names that configurations use."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handwriting import style
from handwriting.style import StyleExtractor


@dataclass(frozen=True)
class Shipped:
    """The network that the project ships, which was trained to tell writers apart."""

    shape = (style.PARTS, style.WriterClassifier.dim)

    def load(self) -> StyleExtractor:
        """The extractor."""
        return style.load()


@dataclass(frozen=True)
class MobileNetV2:
    """MobileNetV2 with weights of ImageNet, as Luhman and Luhman 2020 have it.

    Attributes:
      weights: file that `python -m tools.convert_mobilenet_v2` made; empty: where it leaves it.
    """

    weights: str = ""
    shape = (style.PARTS, 1280)

    def load(self) -> StyleExtractor:
        """The extractor; `MissingWeights` where there are none."""
        return style.load_mobilenet_v2(Path(self.weights) if self.weights else None)


EXTRACTORS: dict[str, Any] = {"writer_classifier": Shipped, "mobilenet_v2": MobileNetV2}
