"""Captioned images: trained, sampled by texts and evaluated, with encoders of both kinds."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from quick import compile_quickly

from data.wordpiece import WordPiece
from experiment import kinds, modes
from experiment.captions import CaptionEncoder
from experiment.modes import Command
from experiment.pipeline import load
from models.bert import Bert
from options.errors import InvalidValue

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "blue", "square", "disc")
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255)}
UNET = {
    "name": "ncsnpp", "nf": 8, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": (),
    "dropout": 0.0, "fir": False, "progressive_input": "none", "embedding_type": "positional",
    "patch_size": 4,
}  # fmt: skip


def encoder(path, seed=0, width=8):
    """A text encoder with random parameters."""
    network = Bert(len(WORDS), width, 1, 2, 16, places=8)
    ids = jnp.zeros((1, 1), jnp.int32)
    params = network.init(jax.random.key(seed), ids, ids)["params"]
    CaptionEncoder(network, params, WordPiece(WORDS, most=8)).save(path)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Squares of two colours with captions, an encoder."""
    where = tmp_path_factory.mktemp("texts")
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 6)):
        (where / "images" / split).mkdir(parents=True)
        rows = ""
        for i in range(count):
            colour = ("red", "blue")[i % 2]
            pixels = np.full((16, 16, 3), COLOURS[colour], np.uint8) // np.uint8(rng.integers(1, 3))
            Image.fromarray(pixels).save(where / "images" / split / f"{i}.png")
            rows += f"{i}.png\t{colour} square\n"
        (where / "images" / split / "captions.txt").write_text(rows)
    encoder(where / "text.npz")
    return where


def given(folder, condition):
    """A tiny configuration on them."""
    return {
        "process": "vp",
        "parameterization": {"output": "v", "c_noise": "time"},
        "model": UNET,
        "conditions": condition,
        "captions": {"encoder": str(folder / "text.npz"), "tokens": 6},
        "data": {
            "source": {"name": "captions", "path": str(folder / "images")},
            "image_size": (8, 8), "num_channels": 3, "space": {"name": "pixels", "low": -1.0},
        },
        "optim": {"warmup": 1},
        "training": {
            "steps": 2, "batch_size": 4, "microbatch": "4", "log_every": 1, "checkpoint_every": 2,
            "draw_every": 0, "evaluate_every": 0,
        },
        "sampling": {
            "solver": "ddim", "num_steps": 2, "num_samples": 4, "batch_size": 4, "t_end": 1e-3,
        },
        "eval": {"batch_size": 4, "likelihood": False, "samples": False},
    }  # fmt: skip


CAPTION = {"caption": {"features": 8, "dropout": 0.2, "pooled": True}}
TEXT = {"text": {"dropout": 0.2, "layers": 1, "pooled": True}}


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compile_quickly(monkeypatch)


@pytest.mark.parametrize("condition", [CAPTION, TEXT], ids=["caption", "text"])
def test_captions_are_trained_on_sampled_by_and_remembered(condition, folder, tmp_path, cached):
    config = kinds.complete(given(folder, condition))
    command = Command(config, tmp_path / "run")
    assert modes.run("train", command) == 0
    remembered = kinds.load(tmp_path / "run")
    if condition is CAPTION:
        known = CaptionEncoder.load(folder / "text.npz").fingerprint
        assert remembered.conditions.caption.fingerprint == known
    else:
        assert remembered.conditions.text.characters == " abdelqrsu"
        assert remembered.data.source.characters == len("blue square")

    asked = modes.with_texts(remembered, "sampling.texts", ["red square", ""])
    command = dataclasses.replace(command, config=asked)
    assert modes.run("sample", command) == 0
    (made,) = (tmp_path / "run" / "samples").rglob("samples.npz")
    with np.load(made) as file:
        assert file["texts"].tolist() == ["red square", "", "red square", ""]
        images = file["images"]
    assert modes.run("eval", dataclasses.replace(command, config=remembered)) == 0
    (report,) = (tmp_path / "run" / "eval").rglob("report.json")
    assert np.isfinite(json.loads(report.read_text())["figures"][0]["value"])

    pipeline = load(tmp_path / "run")
    found = pipeline.sample(4, texts=["red square", ""])
    np.testing.assert_array_equal(found.data, images)
    assert found.texts == ("red square", "", "red square", "")
    too_long = "red square red square red square"
    with pytest.raises(InvalidValue, match=r"^texts: got 'red square red"):
        pipeline.sample(1, texts=[too_long])
    with pytest.raises(InvalidValue, match="^sampling.texts: got 'red square red"):
        kinds.experiment(modes.with_texts(asked, "sampling.texts", [too_long])).check_all(1)
