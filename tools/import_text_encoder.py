"""A BERT of transformers as a text encoder of this project.

    python -m tools.import_text_encoder all-MiniLM-L6-v2 --out runs/minilm.npz

Reads a folder with config.json, model.safetensors (or pytorch_model.bin) and vocab.txt, and writes
network, parameters and vocabulary as one file, which `experiment.captions.CaptionEncoder.load`
takes. Every tensor is accounted for; layers behind the encoder (the pooler, the heads of a language
model) are named and left out. Nothing in a file is executed, and transformers is not needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from options.choices import require
from options.errors import StorageError, within
from options.precision import FLOAT32
from options.progress import busy
from tools.published.checkpoint import Compared
from tools.published.parts import agreement, command

TOLERANCE = 1e-5  # of the largest value
VOCABULARY, TOKENIZER = "vocab.txt", "tokenizer_config.json"
# What the configuration of a tokenizer may say, where it says it.
ONLY: dict[str, Any] = {"strip_accents": None, "tokenize_chinese_chars": True}


def words_of(folder: Path, places: int) -> Any:
    """The `WordPiece` of vocab.txt, as tokenizer_config.json says where there is one."""
    from data.wordpiece import WordPiece

    try:
        lines = (folder / VOCABULARY).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise StorageError("file", but=f"{folder / VOCABULARY} cannot be read: {error}") from None
    given = tokenizer_of(folder / TOKENIZER)
    with within(TOKENIZER):
        for name, value in ONLY.items():
            got = given.get(name, value)
            require(got == value, name, got, repr(value))
    most = given.get("model_max_length", places)
    return WordPiece(tuple(lines), bool(given.get("do_lower_case", True)), int(min(most, places)))


def tokenizer_of(path: Path) -> Mapping[str, Any]:
    """What a tokenizer_config.json says; nothing where there is none."""
    from tools.published.content import json_object

    return json_object(path) if path.is_file() else {}


def import_text_encoder(
    source: str | Path, out: str | Path, dtype: str = "float32", expected: str = ""
) -> list[str]:
    """Writes the encoder, whole or not at all; what there is to say of it, a line each.

    Raises:
      UserError: the folder lacks a file, its network is no BERT as ours, its parameters do not fit,
        or outputs differ from those in `expected` (.npz).
    """
    from experiment.captions import CaptionEncoder
    from models.importers import bert
    from tools.import_checkpoint import recorded
    from tools.published.content import CONFIG, array_of, opened

    with busy("reading the folder"), opened(source) as content:
        if CONFIG not in content.beside:
            raise StorageError("file", str(source), f"a folder with {CONFIG} and {VOCABULARY}")
        with within(CONFIG):
            network = bert.network_of(content.beside[CONFIG])
        arrays = {name: array_of(value) for name, value in content.tree.items()}
        params, left_out = bert.params_from_transformers(arrays, network)
        encoder = CaptionEncoder(network, params, words_of(content.path.parent, network.places))
    said = [f"BERT of transformers, {network.num_layers} layers of {network.width} channels"]
    said += [f"left out {', '.join(left_out)}"] if left_out else []
    said += agreement(compared(encoder, recorded(expected)), TOLERANCE) if expected else []
    encoder.save(out, dtype)
    return said


def compared(encoder: Any, given: Mapping[str, np.ndarray]) -> list[Compared]:
    """Hidden states at real tokens, and their means, beside those recorded.

    given: input_ids, attention_mask, and last_hidden_state or mean_pooled or both.
    """
    from models.bert import mean_pooled

    lacking = [name for name in ("input_ids", "attention_mask") if name not in given]
    require(not lacking, "expected", sorted(given), f"entries {', '.join(lacking)} as well")
    ids, mask = (jnp.asarray(given[name], jnp.int32) for name in ("input_ids", "attention_mask"))
    with FLOAT32.context():
        hidden = encoder.network.apply({"params": encoder.params}, ids, mask)
    real = np.asarray(mask)[..., None] > 0
    found = []
    if "last_hidden_state" in given:
        theirs = given["last_hidden_state"]
        theirs = np.where(real, theirs, 0) if theirs.shape == hidden.shape else theirs
        found.append(Compared("last_hidden_state", np.where(real, hidden, 0), theirs))
    if "mean_pooled" in given:
        ours = np.asarray(mean_pooled(hidden, mask))
        found.append(Compared("mean_pooled", ours, given["mean_pooled"]))
    require(found, "expected", sorted(given), "an entry last_hidden_state or mean_pooled")
    return found


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    command(__doc__, "a folder of transformers", import_text_encoder, argv)


if __name__ == "__main__":
    main()
