"""What a configuration leaves to its data: the size of images, channels, and classes.

    data.image_size      where `data.fit` is set and the size is empty: that of most images, fitted
    data.num_channels    where it is 0
    conditions.labels    where its num_classes is 0: the classes of the data; removed without any

A run remembers what was found, so that it is sampled without its data.
"""

from typing import Any

from ml_collections import ConfigDict

from data.source import Source
from experiment import sections
from experiment.settings import DataOptions
from options.errors import InvalidValue, within
from options.progress import busy

MULTIPLE = 4  # of which height and width are: two halvings, as small networks have


def settled(config: ConfigDict) -> ConfigDict:
    """The complete configuration with what its data say, locked; as it is where it leaves nothing
    to them. Reads the disk."""
    data, labels = config.get("data", {}), config.get("conditions", {}).get("labels", {})
    sized = bool(data.get("image_size")) or not data.get("fit")
    counted = labels.get("num_classes") != 0
    if sized and counted and data.get("num_channels") != 0:
        return config
    found = _read(sections.make(DataOptions, data, "data"))
    config = config.copy_and_resolve_references().unlock()
    if not sized:
        config.data.image_size = fitted(_size(found), data.fit)
    if not data.num_channels:
        config.data.num_channels = found.channels
    if not counted:
        config.conditions.labels.num_classes = found.num_classes
        if not found.num_classes:
            del config.conditions["labels"]
    return config.lock()


def fitted(size: tuple[int, int], most: int) -> tuple[int, int]:
    """(height, width) shrunk, in its proportions, until the shorter side is at most `most` and the
    longer one at most twice that, then each rounded to a multiple of 4."""
    scale = min(1.0, most / min(size), 2 * most / max(size))
    height, width = (max(1, round(scale * side / MULTIPLE)) * MULTIPLE for side in size)
    return height, width


def _read(options: DataOptions) -> Source:
    reader: Any = options.reader
    with within("data.source"), busy("reading the data"):
        return reader.read(options.train_split)


def _size(found: Source) -> tuple[int, int]:
    if found.usual_size is None:
        but = f"{found.name} has no size that most of its examples have"
        raise InvalidValue("data.image_size", (), "a size", but)
    return found.usual_size
