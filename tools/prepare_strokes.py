"""Make a data set of pen strokes of recorded handwriting.

    python -m tools.prepare_strokes iam FOLDER --out runs/iam.npz
    python -m tools.prepare_strokes inkml FOLDER --out mine.npz
    python -m tools.prepare_strokes json mine.json --out mine.npz

`iam` is IAM-OnDB, whose archives are unpacked anywhere below FOLDER (`handwriting.iam`); `inkml`
and `json` are a file or all such files below a folder (`handwriting.inkml`,
`handwriting.json_strokes`).
--preset says how strokes are preprocessed: "paper" and "reference" as of Luhman and Luhman 2020, in
their text and in their code, "none" not at all; --level and --upright take the baseline's slope and
the slant out first. What cannot be read or used is left out, counted and named. The file is read as

    --config.data.source=strokes --config.data.source.path=mine.npz --config.data.space=strokes
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from data.strokes import Strokes, write
from handwriting.iam import SPLITS, read_iam
from handwriting.ink import Collection
from handwriting.inkml import read_inkml
from handwriting.json_strokes import read_json
from handwriting.preprocessing import PRESETS
from options.choices import choose, require
from options.program import one_line_errors

READERS: dict[str, Callable[[Path, str], Collection]] = {
    "iam": read_iam,
    "inkml": lambda path, splits: read_inkml(path),
    "json": lambda path, splits: read_json(path),
}
STEPS = 256  # of the stored values in one standard deviation


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", help=f"one of {', '.join(READERS)}")
    parser.add_argument("path", type=Path, help="a file or a folder")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    parser.add_argument("--preset", default="paper", help=f"one of {', '.join(PRESETS)}")
    parser.add_argument("--splits", default="task1", help=f"of iam, one of {', '.join(SPLITS)}")
    parser.add_argument("--level", action="store_true", help="make baselines horizontal")
    parser.add_argument("--upright", action="store_true", help="take the slant out")
    args = parser.parse_args()
    with one_line_errors():
        prepare(args)


def prepare(args: argparse.Namespace) -> None:
    """Reads, preprocesses and writes all lines, and prints what was left out."""
    reader = choose(READERS, args.kind, "kind")
    require(args.out.suffix == ".npz", "out", str(args.out), "the name of an .npz file")
    preset = choose(PRESETS, args.preset, "preset")
    preset = replace(preset, level=args.level, upright=args.upright)
    found = reader(args.path, args.splits)
    lines = found.rows(preset)
    std = sum(line.offsets[:, :2].std() for line in lines["train"]) / len(lines["train"])
    write(args.out, args.out.stem, lines, std / STEPS)
    print(found)
    train = Strokes(str(args.out)).read()
    print(f"{args.out}: std {train.std:.4g}, characters {train.alphabet.characters!r}")
    for split, some in lines.items():
        writers = {line.writer for line in some}
        unknown = set().union(*(line.text for line in some)) - set(train.alphabet.characters)
        beside = f"; not in a training text: {''.join(sorted(unknown))!r}" if unknown else ""
        print(f"{split}: {len(some)} lines by {len(writers)} writers{beside}")


if __name__ == "__main__":
    main()
