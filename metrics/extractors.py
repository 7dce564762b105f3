"""The feature networks that there are, by name."""

from collections.abc import Callable
from pathlib import Path

from metrics import digits, efficientnet_lite0
from metrics.features import FeatureExtractor
from options.choices import choose, require
from options.errors import InvalidValue, Words


def load_digits(weights: Path | None) -> FeatureExtractor:
    """The shipped digit classifier, or another one of its kind."""
    return digits.extractor(weights or digits.WEIGHTS)


def load_efficientnet_lite0(weights: Path | None) -> FeatureExtractor:
    """EfficientNet-Lite0, whose weights are not shipped."""
    if weights is None:
        raise InvalidValue(
            "weights",
            Words("none"),
            "a file for efficientnet_lite0, made by `python -m tools.convert_efficientnet_lite0`",
        )
    return efficientnet_lite0.extractor(weights)


EXTRACTORS: dict[str, Callable[[Path | None], FeatureExtractor]] = {
    "digits": load_digits,
    "efficientnet_lite0": load_efficientnet_lite0,
}


def load(name: str, weights: str | Path | None = None) -> FeatureExtractor:
    """The extractor of that name with the weights at a path, by default the shipped ones."""
    make = choose(EXTRACTORS, name, "extractor")
    path = Path(weights) if weights else None
    require(path is None or path.is_file(), "weights", str(path), "a file")
    return make(path)
