"""Data sets, and batches made from them.

A `Source` is numbered 8-bit images with labels; `SOURCES` names the kinds there are. A `Transform`
turns them into network input, and a `Loader` serves them in batches; `eval_batches` serves each
example once. Pixel values live in a `Range`.
"""

from collections.abc import Callable

from data.array_file import array_file
from data.augment import CONDITIONING_DIM, Augment
from data.digits import digits
from data.emoji import emoji
from data.image_folder import ImageFolder, folder
from data.loader import EvalBatch, Loader, eval_batches
from data.range import CENTERED, UNIT, Range
from data.source import ArraySource, Record, Records, Source, Subset
from data.tfds_source import TfdsSource, tfds
from data.transforms import Batch, Transform

SOURCES: dict[str, Callable[..., Source]] = {
    "digits": digits,
    "emoji": emoji,
    "folder": folder,
    "npz": array_file,
    "tfds": tfds,
}
# (channels, classes) of the sets that come with the project.
EMBEDDED = {"digits": (1, 10), "emoji": (3, 9)}

__all__ = [
    "CENTERED",
    "CONDITIONING_DIM",
    "EMBEDDED",
    "SOURCES",
    "UNIT",
    "ArraySource",
    "Augment",
    "Batch",
    "EvalBatch",
    "ImageFolder",
    "Loader",
    "Range",
    "Record",
    "Records",
    "Source",
    "Subset",
    "TfdsSource",
    "Transform",
    "array_file",
    "digits",
    "emoji",
    "eval_batches",
    "folder",
    "tfds",
]
