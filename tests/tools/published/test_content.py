"""Files and folders as data: which format they are, and damage anywhere in them."""

import json
import re
import shutil

import numpy as np
import pytest

from options.errors import StorageError, UserError
from tools.published import edm_pickle
from tools.published.checkpoint import Asked
from tools.published.content import array_of, opened
from tools.published.layouts import checkpoint_of

FILES = [
    "checkpoint_tiny.pth",
    "checkpoint_tiny_legacy_nonzip.pth",
    "edm_ddpmpp_cond/network.pkl",
    "legacy_flax_checkpoint_ddpm/checkpoint_12",
    "diffusers_ddpm/diffusion_pytorch_model.safetensors",
]


def read(path):
    """All that is read of a file but for a network's shapes."""
    with opened(path) as content:
        found = checkpoint_of(content)
        found.sections(Asked(image_size=16))
        for name in ("average", "raw", "state"):
            tensors = getattr(found, name, {})
            [array_of(x) for x in tensors.values() if not hasattr(found, "unet")]
        if hasattr(found, "unet"):
            [array_of(x) for x in edm_pickle.tensors_of(found.unet).values()]


@pytest.mark.slow
@pytest.mark.parametrize("source", FILES)
def test_damage_anywhere_is_one_line_or_harmless(source, golden, tmp_path):
    """Single bytes of names and headers above all; weights that differ are not to be known."""
    rng = np.random.default_rng(0)
    content = (golden.path / source).read_bytes()
    words = [match.start() for match in re.finditer(rb"\w{3,}", content[:400_000])]
    for file in (golden.path / source).parent.glob("*_config.json"):
        shutil.copy(file, tmp_path)
    if source.endswith("safetensors"):
        shutil.copy((golden.path / source).parent / "config.json", tmp_path)
    made, refused = tmp_path / source.rpartition("/")[2], 0
    for trial in range(150):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 6)):
            near_name = words[rng.integers(len(words))] + int(rng.integers(-6, 10))
            at = near_name if rng.random() < 0.8 else int(rng.integers(len(content)))
            changed[at % len(content)] = int(rng.integers(256))
        made.write_bytes(changed[: len(content) if trial % 5 else int(rng.integers(len(content)))])
        try:
            read(made)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 30


def test_a_folder_says_what_it_lacks(golden, tmp_path):
    with pytest.raises(StorageError, match="expected a folder with config.json and diffusion_"):
        with opened(tmp_path):
            pass
    (tmp_path / "config.json").write_text(json.dumps([1]))
    with pytest.raises(StorageError, match="config.json cannot be read: it is list"):
        with opened(tmp_path):
            pass


def test_tensors_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="a tensor is of <U1, not of numbers"):
        array_of(np.array(["a"]))
