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
from experiment.doctor.examination import examine
from experiment.doctor.subject import Request, Subject
from experiment.modes import Command
from experiment.pipeline import load
from experiment.settings import CaptionOptions
from experiment.texts import CharacterText, FrozenText
from models.bert import Bert
from options.errors import InvalidValue, StorageError, UserError
from tasks.conditions import Caption, LowResolution, Text
from tools import caption_report

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
        "optim": {"warmup": 1, "lr": 1e-2},
        "ema": {"decay": 0.1},
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


@pytest.mark.slow
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
    guided = pipeline.guide(texts=["red square", ""], scale=100.0)
    assert not np.allclose(guided.data[0], found.data[0], atol=3)
    np.testing.assert_allclose(guided.data[1].astype(int), found.data[1], atol=1)  # towards none
    completed = pipeline.inpaint(images[:2], "half", texts=["red square", "blue square"])
    np.testing.assert_array_equal(completed.results[:, 0, :, :4], images[:2, :, :4])
    assert completed.panel.names == ["red square", "blue square"]
    with pytest.raises(InvalidValue, match="^texts: got 1 of them, expected 2, one each"):
        pipeline.inpaint(images[:2], texts=["red square"])
    too_long = "red square red square red square"
    with pytest.raises(InvalidValue, match=r"^texts: got 'red square red"):
        pipeline.sample(1, texts=[too_long])
    with pytest.raises(InvalidValue, match="^sampling.texts: got 'red square red"):
        kinds.experiment(modes.with_texts(asked, "sampling.texts", [too_long])).check_all(1)


def frozen(path, **fields):
    return FrozenText(Caption(**{"features": 8} | fields), CaptionOptions(str(path), 6), 0, None)


def test_captions_alike_have_their_vectors_once_and_are_what_samples_have(folder, cached):
    text = frozen(folder / "text.npz")
    experiment = kinds.experiment(kinds.complete(given(folder, CAPTION)))
    source = experiment.held_out
    assert source.vectors.shape == (2, 6, 8) and source.vectors.dtype == np.float16
    found = source.take(np.array([1, 0]))["caption"]
    value = text.value(["blue square", "red square", ""])
    np.testing.assert_array_equal(found["vectors"], value["vectors"][:2])
    np.testing.assert_array_equal(found["mask"], value["mask"][:2])
    assert not value["vectors"][2].any() and not value["mask"][2].any()
    np.testing.assert_array_equal(source[1]["caption"]["mask"], found["mask"][0])
    again = text.value(["unknown square"])  # a word that it does not know is [UNK]
    assert again["mask"].sum() == 4 and source.texts[1] == "blue square"
    assert experiment.held_out.checksum() and not experiment.generator.captions.in_turn
    drawn = experiment.generator.captions.of(3, 5)
    assert drawn == experiment.generator.captions.of(0, 9)[3:8] and set(drawn) <= set(source.texts)


def test_an_encoder_that_is_not_the_models_is_refused(folder, tmp_path):
    known = frozen(folder / "text.npz").encoder.fingerprint
    other = encoder(tmp_path / "other.npz", seed=1)
    with pytest.raises(InvalidValue, match=f"^captions.encoder: .*other.npz', but its .* {known}"):
        frozen(other, fingerprint=known).encoder  # noqa: B018
    with pytest.raises(InvalidValue, match=r"^conditions.caption.features: got 9, but .* have 8"):
        frozen(other, features=9).encoder  # noqa: B018
    for path in ("", tmp_path / "none.npz"):
        with pytest.raises(InvalidValue, match=f"^captions.encoder: .*fingerprint {known}"):
            frozen(path, fingerprint=known).value(["red"])
    np.savez(tmp_path / "weights.npz", a=np.zeros(1))
    with pytest.raises(StorageError, match="^captions.encoder: "):
        frozen(tmp_path / "weights.npz").value(["red"])


@pytest.mark.parametrize(
    "text, said",
    [("red car", r"^text: got 'c' \(U\+0063\)"), ("redred", "^text: got .* at most 5")],
)
def test_characters_and_lengths_that_were_not_trained_on_are_refused(text, said):
    learnt = CharacterText(Text(" adersu"), CaptionOptions(), 5 if text == "redred" else 0, None)
    with pytest.raises(InvalidValue, match=said):
        learnt.value([text])
    found = learnt.value(["", "red"])
    assert not found[0].any() and found[1, :3].tolist() == [5, 4, 3]


def test_texts_of_a_model_without_captions_are_refused():
    without = kinds.load("digits", {"sampling.texts": ("red heart",)})
    with pytest.raises(InvalidValue, match=r"^sampling.texts: .* the model takes no captions"):
        kinds.experiment(without).check_all(1)
    with pytest.raises(UserError, match="^sampling.num_samples: got 1, expected 2 or more"):
        kinds.experiment(kinds.load("digits", {
            "sampling.texts": ("a", "b"), "sampling.num_samples": 1,
        }))  # fmt: skip
    with pytest.raises(InvalidValue, match="^texts: .*the model takes no captions"):
        load("digits").sample(1, texts=["red heart"])


def test_the_doctor_needs_no_encoder_to_look_at_the_data(folder, cached):
    config = given(folder, CAPTION) | {"captions": {"encoder": "none.npz"}}
    subject = Subject(kinds.experiment(kinds.complete(config)), Request("blank_images"))
    assert subject.images.shape == (8, 8, 8, 3) and "caption" not in subject.looked.records
    assert [f.check for f in examine(subject).findings] == ["blank_images"]  # as they are
    assert subject.states.shape == (8 * 64, 3)


def test_data_without_captions_are_refused(folder):
    config = given(folder, CAPTION)
    config["data"]["source"] = {"name": "folder", "path": str(folder / "images")}
    with pytest.raises(InvalidValue, match="^data.source: .*no captions"):
        kinds.experiment(kinds.complete(config)).train_source  # noqa: B018


def judge_of(folder):
    """A tiny judge of the same images."""
    own = given(folder, {"text": {"characters": " abdelqrsu"}})
    kept = ("process", "conditions", "captions", "data", "optim", "training")
    model = {"nf": 8, "stem": 8, "ch_mult": (1,), "num_res_blocks": 1, "num_classes": 4}
    return {key: own[key] for key in kept} | {"task": "matching", "model": model}


def test_a_judge_is_of_one_caption(folder):
    experiment = kinds.experiment(kinds.complete(judge_of(folder)))
    experiment.check_all(1)
    assert experiment.task.network.width == 4
    none = kinds.experiment(kinds.complete(judge_of(folder) | {"conditions": {}}))
    with pytest.raises(InvalidValue, match=r"^conditions: got \[\], expected one, of captions"):
        none.check_all(1)


@pytest.mark.slow
def test_a_judge_is_trained_and_looks_for_captions_in_samples(
    folder, tmp_path, cached, monkeypatch
):
    command = Command(kinds.complete(judge_of(folder)), tmp_path / "judge")
    assert modes.run("train", command) == 0 and modes.run("eval", command) == 0
    (report,) = (tmp_path / "judge" / "eval").rglob("report.json")
    figures = json.loads(report.read_text())["figures"]
    assert len(figures) == 8 and figures[1]["value"] == 1.0  # at 5, of two captions
    own = given(folder, {"text": {"characters": " abdelqrsu", "dropout": 0.2}})
    model = Command(kinds.complete(own), tmp_path / "model")
    assert modes.run("train", model) == 0
    arguments = [
        f"--model={model.workdir}", f"--judge={command.workdir}", f"--out={tmp_path / 'out'}",
        "--scales=2", "--colours=red,blue", "--objects=square",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["caption_report", *arguments])
    caption_report.main()
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["rows"]
    assert len(rows) == 10 and {row["count"] for row in rows} == {2}
    assert (tmp_path / "out" / "grid.png").is_file()
    monkeypatch.setattr("sys.argv", ["caption_report", *arguments[:1], f"--judge={model.workdir}"])
    with pytest.raises(SystemExit):
        caption_report.main()


def test_an_upsampler_sees_of_a_small_image_what_it_is():
    small = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    whole = caption_report.of_squares(small, 8)
    seen = LowResolution(4).of(jnp.asarray(whole, jnp.float32))
    np.testing.assert_array_equal(seen, small)
