"""What a configuration takes from its data: what it leaves to them, and what a run remembers.

    data.image_size      where `data.fit` is set and the size is empty: that of most images, fitted
    data.num_channels    where it is 0
    conditions.labels    where its num_classes is 0: the classes of the data; removed without any
    data.space           of latents without a fingerprint: that of the autoencoder in its file

No part can be built without these, so they are found before an experiment is made (`settled`).
What else its data say, such as the names of classes, a training adds when it begins
(`Experiment.said_by_data`). Either are fields by dotted name, which `with_fields` sets. A run
remembers them, so that it is sampled without its data.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from data.source import Source
from experiment import sections
from experiment.latents import fingerprint_of
from experiment.settings import DataOptions
from options.errors import InvalidValue, within
from options.progress import busy

MULTIPLE = 4  # of which height and width are: two halvings, as small networks have
LABELS = "conditions.labels"


def settled(config: ConfigDict) -> ConfigDict:
    """The complete configuration with what it leaves to its data, locked; as it is where that is
    nothing. Reads the disk."""
    found = left_to_data(config)
    return with_fields(config, found) if found else config


def left_to_data(config: ConfigDict) -> dict[str, Any]:
    """The fields, by dotted name, that a complete configuration leaves to its data, as these say
    them; None for a section that they have no use for. Reads the disk where there are any."""
    data, labels = config.get("data", {}), config.get("conditions", {}).get("labels", {})
    found = _autoencoder(data.get("space", {}))
    sized = bool(data.get("image_size")) or not data.get("fit")
    counted, coloured = labels.get("num_classes") != 0, data.get("num_channels") != 0
    if sized and counted and coloured:
        return found
    source = _read(sections.make(DataOptions, data, "data"))
    if not sized:
        found["data.image_size"] = fitted(_size(source), data.fit)
    if not coloured:
        found["data.num_channels"] = source.channels
    if not counted:
        classes = source.num_classes
        found |= {f"{LABELS}.num_classes": classes} if classes else {LABELS: None}
    return found


def with_fields(config: ConfigDict, found: Mapping[str, Any]) -> ConfigDict:
    """The configuration with these values by dotted name, locked; a section of None is removed."""
    config = config.copy_and_resolve_references().lock()
    for name, value in found.items():
        *outer, last = name.split(".")
        section = config
        for part in outer:
            section = section[part]
        if value is None:
            with section.unlocked():
                del section[last]
        else:
            section[last] = value
    return config


def fitted(size: tuple[int, int], most: int) -> tuple[int, int]:
    """(height, width) shrunk, in its proportions, until the shorter side is at most `most` and the
    longer one at most twice that, then each rounded to a multiple of 4."""
    scale = min(1.0, most / min(size), 2 * most / max(size))
    height, width = (max(1, round(scale * side / MULTIPLE)) * MULTIPLE for side in size)
    return height, width


def _autoencoder(space: Mapping[str, Any]) -> dict[str, Any]:
    """The fingerprint of the autoencoder whose latents the data become, where that is not said."""
    if "fingerprint" not in space or space["fingerprint"] or not space["weights"]:
        return {}
    with within("data.space"):
        return {"data.space.fingerprint": fingerprint_of(space["weights"])}


def _read(options: DataOptions) -> Source:
    reader: Any = options.reader
    with within("data.source"), busy("reading the data"):
        return reader.read(options.train_split)


def _size(found: Source) -> tuple[int, int]:
    if found.usual_size is None:
        but = f"{found.name} has no size that most of its examples have"
        raise InvalidValue("data.image_size", (), "a size", but)
    return found.usual_size
