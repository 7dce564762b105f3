"""A page in the browser on which one types, picks a hand and sees the pen move.

    python -m tools.writing_desk --weights handwriting_small [--port 8000] [--open]

Lines are drawn by the model in this program, which serves the page to this machine alone
(`handwriting.desk`), until Ctrl-C.
"""

import argparse
import webbrowser
from collections.abc import Sequence
from typing import Any

from experiment.handwriting import HandwritingExperiment
from experiment.pipeline import load_writer
from experiment.writing import Writer
from handwriting.desk import Desk, server
from handwriting.preprocessing import Stroke, to_strokes
from options.choices import require
from options.program import one_line_errors


def desk_of(writer: Writer) -> Desk:
    """The desk at which the model writes, in the hands of the writers of its data.

    InvalidValue for a model of images, which have no strokes to be seen.
    """
    kind = writer.experiment.kind
    require(kind == HandwritingExperiment.kind, "weights", kind, "a model of strokes")

    def draw(text: str, name: str, seed: int) -> Sequence[Stroke]:
        (line,) = writer.write([text], writer.hands(name, seed), seed)
        return to_strokes(line.offsets)

    longest = writer.experiment.options.write.wrap
    return Desk(draw, writer.hands.names, writer.alphabet.characters, longest)


def main(argv: Any = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.writing_desk", description=__doc__)
    parser.add_argument("--weights", required=True, help="exported weights, or a workdir")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    parser.add_argument("--open", action="store_true", help="in the browser")
    args = parser.parse_args(argv)
    with server(desk_of(load_writer(args.weights)), args.port) as serving:
        print(f"{serving.address}, until Ctrl-C")
        if args.open:
            webbrowser.open(serving.address)
        serving.serve_forever()


if __name__ == "__main__":
    with one_line_errors():
        main()
