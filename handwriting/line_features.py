"""Style features of every line of a set, computed once and kept on disk.

    <folder>/<hash>.npy   float16 (lines, parts, channels)

The hash is of the lines, the extractor and how lines are drawn. The file is written whole or not at
all; one that cannot be read is made again.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Int

from handwriting.medium import Medium
from handwriting.pen_medium import PenMedium
from handwriting.style import StyleActivations, StyleExtractor, load
from options.progress import progress_bar
from storage.files import atomic_write, cache_folder

PEN = PenMedium()
BLOCK = 256  # lines that are drawn at a time


def features_of_lines(
    source: Any,
    extractor: StyleExtractor | None = None,
    folder: Path | None = None,
    medium: Medium = PEN,
) -> Float16[np.ndarray, "n parts c"]:
    """Features of every line as a memory map, of an earlier call if there was one.

    extractor: the shipped one by default. folder: one in the user's cache by default. medium: of
      the lines.
    """
    extractor = extractor or load()
    made_of = repr((source.checksum(), extractor.identity, medium.looks))
    name = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    path = (folder or cache_folder() / "style") / f"{name}.npy"
    shape = (len(source), *extractor.shape)
    found = _opened(path, shape)
    if found is None:
        features = activations(source, extractor, np.arange(len(source)), medium).features
        with atomic_write(path) as file:
            np.save(file, np.asarray(features, np.float16))
        found = _opened(path, shape)
        assert found is not None
    return found


def activations(
    source: Any,
    extractor: StyleExtractor,
    indices: Int[np.ndarray, "n"],
    medium: Medium = PEN,
) -> StyleActivations:
    """What the extractor finds in lines of a set, as `medium` draws them for it."""
    parts = []
    with progress_bar(total=len(indices), desc=f"{extractor.name} of lines", unit="line") as bar:
        for start in range(0, len(indices), BLOCK):
            block = indices[start : start + BLOCK]
            images = [medium.for_style(source.line(int(i))[0]) for i in block]
            parts.append(extractor.activations(images))
            bar.update(len(block))
    return StyleActivations(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _opened(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array in a file; None where it is not there or not whole."""
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == np.float16 else None
