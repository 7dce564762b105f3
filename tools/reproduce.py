"""A figure or table of a paper, by its number.

    python -m tools.reproduce --list
    python -m tools.reproduce traore-2.4
    python -m tools.reproduce traore-5.1 --small
    python -m tools.reproduce traore-5.1 --weights afhq.npz --data ~/data

What there is: docs/reproduce.md, or --list. --small makes it on the models that come with the
project, in seconds to a few minutes on a CPU. Pictures, tables and animations are left in the
folder --out, by default one of its own below runs/reproduce.
"""

import argparse
from pathlib import Path

import main
from evaluation.plots import pyplot
from options.choices import choose, require, require_non_negative
from options.program import one_line_errors
from tools.command_line import folder_of
from tools.markdown import table


def listing(paper: str) -> str:
    """Every figure of a paper, with its command and what it needs, in Markdown."""
    from tools.figures.catalogue import PAPERS

    rows = []
    for number, item in PAPERS[paper].items():
        name = f"`python -m tools.reproduce {paper}-{number}`" if item.figure else item.instead
        needs = item.figure.needs() if item.figure else ""
        rows.append([number, item.shows, name, needs])
    return table(["number", "what it shows", "command", "without --small"], rows)


def reproduce(args: argparse.Namespace) -> None:
    """Makes one figure; UserError for what cannot be."""
    from tools.figures.base import Work
    from tools.figures.catalogue import FIGURES, ITEMS

    known = choose(ITEMS, args.name, "name")
    figure = FIGURES.get(args.name)
    require(figure, "name", args.name, f"one that is computed; {args.name} is {known.instead}")
    assert figure is not None
    require_non_negative(args, "samples", "seed")
    pyplot()  # An error before the work rather than after it, where there is none.
    out = args.out or folder_of(args, parser(), "runs/reproduce")
    given = {k: getattr(args, k) for k in ("small", "weights", "classifier", "data", "samples")}
    figure.make(Work(out, **given, seed=args.seed))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("name", nargs="?", default="", help="of the figure, as in traore-2.4")
    made.add_argument("--list", action="store_true", help="print all there are")
    made.add_argument("--small", action="store_true", help="on models that come with the project")
    made.add_argument("--weights", default="", help="a workdir or .npz, in place of the figure's")
    made.add_argument("--classifier", default="", help="likewise, of a classifier")
    made.add_argument("--data", default="", help="a folder with a folder of images a data set")
    made.add_argument("--samples", type=int, default=0, help="default: the figure's own number")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--out", type=Path, help="default: a folder below runs/reproduce")
    return made


def run() -> None:
    """The command line; what a user can mend is one line and exit status 2."""
    args = parser().parse_args()
    main.prepare_jax()
    with one_line_errors():
        if args.list:
            from tools.figures.catalogue import PAPERS

            for paper in PAPERS:
                print(f"{paper}\n\n{listing(paper)}\n")
            return
        reproduce(args)


if __name__ == "__main__":
    run()
