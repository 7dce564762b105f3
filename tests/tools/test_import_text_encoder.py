"""A folder of transformers, from its files to captions that a network takes."""

import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiment.captions import CaptionEncoder
from options.errors import StorageError, UserError
from tasks.conditions import Caption
from tools import import_checkpoint
from tools.import_text_encoder import import_text_encoder, main

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(100))]
PARAPHRASES = [
    ("A man is playing a guitar.", "Someone plays a musical instrument."),
    ("The cat sleeps on the sofa.", "A kitten is napping on the couch."),
    ("Stocks fell sharply on Monday.", "The share market dropped at the start of the week."),
    ("How do I reset my password?", "I forgot my login and need a new one."),
    ("A smiling face with sunglasses.", "A happy emoji wearing dark glasses."),
    ("It will rain tomorrow.", "Wet weather is expected the next day."),
]


@pytest.fixture
def folder(golden, tmp_path):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(golden.path / "transformers_bert" / name, tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return tmp_path


def test_what_is_written_gives_what_was_recorded(golden, folder, capsys):
    recorded = golden.path / "transformers_bert/expected.npz"
    out = folder / "made.npz"
    main([str(folder), "--out", str(out), "--expected", str(recorded)])
    said = capsys.readouterr().out
    assert "3 layers of 48 channels" in said and "left out pooler.dense.bias" in said
    assert "mean_pooled differs by" in said and "last_hidden_state differs by" in said
    encoder = CaptionEncoder.load(out)
    assert encoder.words.vocabulary == tuple(WORDS) and encoder.words.most == 40
    z = np.load(recorded)
    ids, mask = (jnp.asarray(z[k], jnp.int32) for k in ("input_ids", "attention_mask"))
    hidden = encoder.network.apply({"params": encoder.params}, ids, mask)
    real = np.asarray(mask) > 0
    assert np.abs(hidden[real] - z["last_hidden_state"][real]).max() < 1e-5


def test_captions_are_the_value_of_the_condition(folder):
    pytest.importorskip("tokenizers")
    import_text_encoder(folder, folder / "made.npz")
    encoder = CaptionEncoder.load(folder / "made.npz")
    value = encoder.value(["w1 w2", ""], length=6)
    condition = Caption(features=48)
    example = condition.example((8, 8, 3))
    shapes = jax.tree.map(lambda a, b: a.shape[2:] == b.shape[2:], value, example)
    assert all(jax.tree.leaves(shapes)) and value["vectors"].shape == (2, 6, 48)
    null = jax.tree.map(lambda leaf: leaf[1], value)
    jax.tree.map(np.testing.assert_array_equal, null, condition.null(null))
    np.testing.assert_allclose(
        encoder.value(["w1 w2"])["vectors"][0], value["vectors"][0, :4], atol=1e-6
    )
    np.testing.assert_allclose(np.linalg.norm(encoder.sentences(["w1", "w2"]), axis=1), 1, 1e-6)
    with pytest.raises(UserError, match="text: got ' ', expected a text that is not empty"):
        encoder.sentences(["w1", " "])


@pytest.mark.parametrize(
    "damage, expected",
    [
        ({"vocab.txt": None}, "vocab.txt cannot be read"),
        ({"vocab.txt": "\n".join(map(str, range(200))) + "\n" + "\n".join(WORDS)}, "304 pieces"),
        ({"tokenizer_config.json": '{"strip_accents": false}'}, "json.strip_accents: got False"),
        (
            {"config.json": '{"model_type": "bert"}'},
            "config.json: it lacks vocab_size, hidden_size",
        ),
        ({"config.json": None}, "expected a folder with config.json and"),
    ],
)
def test_a_folder_that_cannot_do_is_one_line_and_no_file(damage, expected, folder):
    for name, text in damage.items():
        (folder / name).unlink(missing_ok=True)
        if text is not None:
            (folder / name).write_text(text)
    with pytest.raises(UserError, match=expected):
        import_text_encoder(folder, folder / "made.npz")
    assert not (folder / "made.npz").exists()


def test_outputs_that_differ_are_refused(golden, folder):
    z = dict(np.load(golden.path / "transformers_bert/expected.npz"))
    kept = {k: z[k] for k in ("input_ids", "attention_mask", "mean_pooled")}
    np.savez(folder / "other.npz", **kept | {"mean_pooled": kept["mean_pooled"] * 1.01})
    with pytest.raises(UserError, match="mean_pooled differs by 0.0099 of the largest value"):
        import_text_encoder(folder, folder / "made.npz", expected=str(folder / "other.npz"))
    assert not (folder / "made.npz").exists()


def test_each_importer_knows_what_the_other_takes(golden, folder, tmp_path):
    with pytest.raises(StorageError, match="a BERT, which tools.import_text_encoder takes"):
        import_checkpoint.import_checkpoint(folder, tmp_path / "made.npz")
    with pytest.raises(UserError, match="config.json: it lacks"):
        import_text_encoder(golden.path / "diffusers_ddpm", tmp_path / "made.npz")


def test_weights_of_something_else_are_refused():
    with pytest.raises(StorageError, match="digits.npz', but it has no text encoder"):
        CaptionEncoder.load("pretrained/digits.npz")


@pytest.mark.slow
@pytest.mark.skipif("MINILM" not in os.environ, reason="MINILM names no folder of a MiniLM")
def test_sentences_of_one_meaning_are_the_nearest(tmp_path):
    """all-MiniLM-L6-v2: each of six sentences has its paraphrase among six for its nearest."""
    pytest.importorskip("tokenizers")
    import_text_encoder(pathlib.Path(os.environ["MINILM"]), tmp_path / "made.npz")
    encoder = CaptionEncoder.load(tmp_path / "made.npz")
    one, other = (encoder.sentences(texts) for texts in zip(*PARAPHRASES, strict=True))
    cosines = np.asarray(one @ other.T)
    alike = np.eye(len(PARAPHRASES), dtype=bool)
    assert cosines[alike].min() > 0.5 > 0.2 > cosines[~alike].max()
