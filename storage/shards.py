"""Many images as files, in shards that are there whole or not at all.

    <folder>/00001000-00002000/00001000.png ...    PNG, a folder a shard, with labels.txt
    <folder>/00001000-00002000.npz                 arrays `images` and `labels`

A shard holds the images of its numbers, whoever wrote it; what is there is not written again.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from storage.files import atomic_write, temporary_neighbour

SIZE = 1000  # images of a shard
Images = UInt8[np.ndarray, "n h w c"]
Labels = Int[np.ndarray, "n"]


def write_png_shard(path: Path, first: int, images: Images, labels: Labels) -> None:
    """A folder of PNG files, named by the numbers of the images, with their labels in a file."""
    unfinished = temporary_neighbour(path)
    unfinished.mkdir(parents=True)
    try:
        for i, image in enumerate(images, first):
            pixels = image[..., 0] if image.shape[-1] == 1 else image
            Image.fromarray(pixels).save(unfinished / f"{i:08d}.png")
        lines = [f"{i:08d}.png {label}\n" for i, label in enumerate(labels, first)]
        (unfinished / "labels.txt").write_text("".join(lines))
        os.sync()  # all of it before its name
        os.replace(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_npz_shard(path: Path, first: int, images: Images, labels: Labels) -> None:
    """One file of arrays."""
    with atomic_write(path.with_name(f"{path.name}.npz")) as file:
        np.savez_compressed(file, images=images, labels=labels)


# How images are kept, by name; None for not at all.
KINDS: dict[str, Callable[[Path, int, Any, Any], None] | None] = {
    "none": None,
    "png": write_png_shard,
    "npz": write_npz_shard,
}


def keep(
    folder: Path, kind: str, images: Images, labels: Labels, index: int = 0, of: int = 1
) -> None:
    """Writes the shards that are not there yet; of several hosts, each the n-th of every `of`."""
    write = KINDS[kind]
    if write is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for number, first in enumerate(range(0, len(images), SIZE)):
        stop = min(first + SIZE, len(images))
        path = folder / f"{first:08d}-{stop:08d}"
        there = path.exists() or path.with_name(f"{path.name}.npz").exists()
        if number % of == index and not there:
            write(path, first, images[first:stop], labels[first:stop])
