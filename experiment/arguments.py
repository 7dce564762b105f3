"""What a script may ask of a model: arguments checked before anything is compiled."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.space import Space
from experiment.sections import is_section
from options.choices import did_you_mean, numbered, require
from options.errors import InvalidValue, Words

Labels = Sequence[int | str] | np.ndarray | None


def by_name(overrides: Any) -> Mapping[str, Any] | None:
    """Values of a configuration by dotted name, or None."""
    expected = 'values by dotted name, as in {"sampling.num_steps": 50}'
    require(overrides is None or is_section(overrides), "overrides", overrides, expected)
    return overrides


def images(given: Any, shape: tuple[int, ...], space: Space) -> np.ndarray:
    """Data of a model of this shape, (n, *shape): 8-bit where it is of pixels, else numbers."""
    array = np.asarray(given)
    one = "; a single one is images[None]" if array.shape == shape else ""
    expected = f"(n, {', '.join(map(str, shape))}){one}"
    fits = array.shape[1:] == shape and len(array) > 0
    require(fits, "images", Words(f"{array.dtype} of shape {array.shape}"), expected)
    expected = "uint8, from 0 to 255" if space.of_images else "numbers"
    is_right = array.dtype == np.uint8 if space.of_images else array.dtype.kind in "iuf"
    require(is_right, "images", Words(str(array.dtype)), expected)
    return array


def count(labels: Any) -> int:
    """How many classes are asked for; None for one of any."""
    return int(np.size(labels))


def texts(given: Any, count: int = 0) -> Sequence[str]:
    """Captions, as many as asked for unless count is 0."""
    known = type(given) is not str and all(type(text) is str for text in given)
    require(known, "texts", given, "a list of captions")
    require(count in (0, len(given)), "texts", Words(f"{len(given)} of them"), f"{count}, one each")
    return list(given)


def classes(labels: Any, count: int, num_classes: int, names: Sequence[str]) -> np.ndarray:
    """Numbers of classes, of numbers or names over and over, int32 (count,)."""
    numbers_of = {name: number for number, name in enumerate(names)}
    known = numbered(names) or f"0 to {num_classes - 1}"
    require(num_classes, "labels", labels, "None, since the model has no classes")
    is_list = np.ndim(labels) == 1 and len(labels) > 0
    require(is_list, "labels", labels, f"a list of classes of the model: {known}")
    numbers = [numbers_of.get(str(label), label) for label in labels]
    for label in numbers:
        if not (str(label).isdecimal() and int(label) < num_classes):
            expected = f"classes of the model: {known}{did_you_mean(label, names)}"
            raise InvalidValue("labels", label, expected)
    return np.resize(np.array(numbers, np.int32), count)
