"""A BERT of transformers as a text encoder of this project.

    python -m tools.import_text_encoder all-MiniLM-L6-v2 --out runs/minilm.npz

Reads a folder with config.json, model.safetensors (or pytorch_model.bin) and vocab.txt, and writes
network, parameters and vocabulary as one file, which `experiment.captions.CaptionEncoder.load`
takes. Every tensor is accounted for; layers behind the encoder (the pooler, the heads of a language
model) are named and left out. Nothing in a file is executed, and transformers is not needed.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from options.choices import require
from options.errors import InvalidValue, StorageError, within
from options.program import one_line_errors
from options.progress import busy

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
    from experiment.captions import CaptionEncoder, recorded_errors
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
    for name, error in recorded_errors(encoder, recorded(expected)).items() if expected else ():
        said.append(f"{name} differs by {error:.2g} of the largest value, {TOLERANCE:g} allowed")
        if not error <= TOLERANCE:
            raise InvalidValue("file", but=said[-1])
    encoder.save(out, dtype)
    return said


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="a folder of transformers")
    parser.add_argument("--out", type=Path, required=True, help="the file to write (.npz)")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float32")
    parser.add_argument("--expected", default="", help="recorded inputs and outputs (.npz)")
    args = parser.parse_args(argv)
    with one_line_errors():
        require(args.out.suffix == ".npz", "out", str(args.out), "a name that ends in .npz")
        for line in import_text_encoder(args.source, args.out, args.dtype, args.expected):
            print(line)
        print(f"{args.out}, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
