"""How well and how fast a model of handwriting writes, as tables in Markdown.

    python -m tools.handwriting_report --weights handwriting_small [--sections samplers,fifty]

samplers       legibility, style and speed of the paper's two samplers (Luhman & Luhman 2020,
               algorithm 2 and equation 9), the first in fewer steps, and of DDIM, DPM-Solver++ and
               the probability flow in 4, 8 and 16
writers        writers of the training against writers never seen, relative to their real lines
words          words that training texts have against words that they have not
fifty          of fifty strings those wholly right, without and with a choice of four candidates
photographs    style from photographs against style from lines as they are drawn
distributions  FID, KID and Geometry Score by sampler, beside real lines against real lines
conditions     how much the loss rises with the text or the style of another line, by noise level

Each writes as many lines as take about five minutes on a CPU; --lines says another number for all.
Character error rates are those of `handwriting.reading`, where the recognisers are installed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from options.choices import choose, require_count
from options.program import one_line_errors
from storage.files import atomic_write
from tools.command_line import hardware
from tools.handwriting_sections import SECTIONS
from tools.handwriting_sections.samplers import of_families
from tools.handwriting_sections.section import Asked


def report(asked: Asked, sections: Sequence[str], out: str = "") -> str:
    """The page, which is also printed section by section, and kept in a file `out`."""
    chosen = {name: choose(SECTIONS, name, "sections")() for name in sections}
    parts = [f"{asked.weights}; {asked.strokes or 'its own lines'}; {hardware()}\n"]
    print(parts[0])
    for name, section in chosen.items():
        parts.append(f"## {name}\n\n{section(asked, asked.lines or section.lines)}")
        print(parts[-1], flush=True)
        if out:
            with atomic_write(Path(out)) as file:
                file.write("\n".join(parts).encode())
    return "\n".join(parts)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.handwriting_report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--weights", required=True, help="exported weights, or a workdir")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--lines", type=int, default=0, help="0: each section's own number")
    parser.add_argument("--strokes", default=Asked.strokes, help="a file of lines; the model's own")
    parser.add_argument(
        "--splits", default=",".join(Asked.splits), help="by seen writers first, by others last"
    )
    parser.add_argument("--draws", type=int, default=Asked.draws, help="of the Geometry Score")
    parser.add_argument("--extractors", default=",".join(Asked.extractors), help="of the FID")
    parser.add_argument(
        "--samplers", default=",".join(Asked.samplers), help="families that are compared"
    )
    parser.add_argument("--out", default="", help="file of the page, beside the screen")
    args = parser.parse_args(argv)
    require_count("lines", args.lines, 0)
    require_count("draws", args.draws, 1)
    splits, extractors, samplers = (
        tuple(filter(None, names.split(",")))
        for names in (args.splits, args.extractors, args.samplers)
    )
    of_families(samplers)  # an error before the work
    asked = Asked(args.weights, args.strokes, splits, args.lines, args.draws, extractors, samplers)
    report(asked, args.sections.split(","), args.out)


if __name__ == "__main__":
    with one_line_errors():
        main()
