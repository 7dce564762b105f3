"""Make a data set of images of lines of handwriting.

    python -m tools.prepare_lines iam FOLDER --out runs/iam_lines.npz
    python -m tools.prepare_lines iam_words FOLDER --out runs/iam_words.npz
    python -m tools.prepare_lines captions FOLDER --out mine.npz --writer me

`iam` and `iam_words` are lines and words of the IAM Handwriting Database, whose archives are
unpacked anywhere below FOLDER (`handwriting.iam_offline`). `captions` is a folder of images, one
line of text in each, with a file of what they say (`data.captions`); folders directly below are
writers, and what lies beside them is by --writer. Images are resized to the height 64 in their own
proportions. What cannot be read is left out, counted and named. The file is read as

    --config.data.source=text_lines --config.data.source.path=mine.npz
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data.captions import Captions
from data.text_lines import TextLine, TextLines, write
from handwriting.iam_offline import PageLines, at_height, read_iam_offline
from options.choices import choose, require
from options.program import one_line_errors


def read_captioned(path: Path, writer: str) -> PageLines:
    """The images of a folder with captions as lines, all in "train"."""
    source = Captions(str(path), channels=1).read()
    found = PageLines()
    for index, text in enumerate(source.texts):
        name = source.key(index)
        with found.trying(name):
            image = at_height(np.asarray(source[index]["image"])[..., 0])
            by = name.partition("/")[0] if "/" in name else writer
            found.splits.setdefault("train", []).append(TextLine(image, text, by))
    return found


READERS: dict[str, Callable[[Path, str], PageLines]] = {
    "iam": lambda path, writer: read_iam_offline(path, "lines"),
    "iam_words": lambda path, writer: read_iam_offline(path, "words"),
    "captions": read_captioned,
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", help=f"one of {', '.join(READERS)}")
    parser.add_argument("path", type=Path, help="a folder")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    parser.add_argument("--writer", default="me", help="of captions: whoever wrote what is there")
    args = parser.parse_args()
    with one_line_errors():
        prepare(args)


def prepare(args: argparse.Namespace) -> None:
    """Reads and writes all lines, and prints what was left out."""
    reader = choose(READERS, args.kind, "kind")
    require(args.out.suffix == ".npz", "out", str(args.out), "the name of an .npz file")
    found = reader(args.path, args.writer)
    print(found)
    write(args.out, args.out.stem, found.splits)
    known = set(TextLines(str(args.out)).read().alphabet.characters)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, characters {sorted(known)}")
    for split, lines in found.splits.items():
        writers, widths = {line.writer for line in lines}, [line.image.shape[1] for line in lines]
        unknown = set().union(*(line.text for line in lines)) - known
        beside = f"; not in a training text: {''.join(sorted(unknown))!r}" if unknown else ""
        print(
            f"{split}: {len(lines)} images by {len(writers)} writers, widths {min(widths)} to "
            f"{max(widths)}, median {int(np.median(widths))}{beside}"
        )


if __name__ == "__main__":
    main()
