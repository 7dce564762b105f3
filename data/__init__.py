"""Data sets, and batches made from them.

A `Source` is numbered examples with labels: images, sequences, arrays. `SOURCES` names the kinds of
data sets there are; each is frozen options with `read(split) -> Source`. A `Transform` turns
examples into states of a `Space`, and a `Loader` serves them in batches; `eval_batches` serves each
example once.
"""

from data.alphabet import Alphabet
from data.arrays import Arrays, arrays
from data.augment import CONDITIONING_DIM, Augment
from data.captions import Captions, CaptionSource
from data.digits import Digits, digits
from data.emoji import Emoji, emoji
from data.image_folder import Folder, ImageFolder, folder
from data.loader import Loader, eval_batches
from data.source import ArraySource, DataSet, Record, Records, Source, Subset
from data.space import CENTERED, SPACES, UNIT, Pixels, Scaled, Space, StrokeSpace
from data.strokes import Strokes, StrokeSource
from data.text_lines import TextLines, TextLineSource
from data.tfds_source import Tfds, TfdsSource, tfds
from data.transforms import Batch, Transform

SOURCES: dict[str, type[DataSet]] = {
    "captions": Captions,
    "digits": Digits,
    "emoji": Emoji,
    "folder": Folder,
    "npz": Arrays,
    "npy": Arrays,
    "strokes": Strokes,
    "text_lines": TextLines,
    "tfds": Tfds,
}

__all__ = [
    "CENTERED",
    "CONDITIONING_DIM",
    "SOURCES",
    "SPACES",
    "UNIT",
    "Alphabet",
    "ArraySource",
    "Arrays",
    "Augment",
    "Batch",
    "CaptionSource",
    "Captions",
    "DataSet",
    "Digits",
    "Emoji",
    "Folder",
    "ImageFolder",
    "Loader",
    "Pixels",
    "Record",
    "Records",
    "Scaled",
    "Source",
    "Space",
    "StrokeSource",
    "StrokeSpace",
    "Strokes",
    "Subset",
    "TextLineSource",
    "TextLines",
    "Tfds",
    "TfdsSource",
    "Transform",
    "arrays",
    "digits",
    "emoji",
    "eval_batches",
    "folder",
    "tfds",
]
