"""Quality against evaluations of every solver, as a table and a plot.

    python -m tools.solver_report                      (the shipped model)
    python -m tools.solver_report --workdir runs/mine
    python -m tools.solver_report --mixture            (2-D, exact scores)
    python -m tools.solver_report --orders             (orders of convergence)

Leaves report.html (one file, picture included), report.png and report.json in the folder --out, by
default one of its own below runs/solvers. Image models are measured by FID and KID to their
training set, a mixture by Wasserstein distances. All solvers begin from the same noise, seed by
seed; what is cut off goes on when called again, and more seeds are added to those that are there.
"""

import argparse
import dataclasses
import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import main
from evaluation.plots import pyplot
from options.choices import choose, require
from options.errors import within
from options.program import one_line_errors
from tools.command_line import folder_of, hardware, numbers
from tools.solver_page import Line, draw, markdown, page, summary

if TYPE_CHECKING:
    from tools.solver_contest import Cell, Subject


def measure(
    subject: "Subject", runs: Sequence["Cell"], samples: int, seeds: int, folder: Path
) -> tuple[list[Line], dict[str, list[float]]]:
    """Every run with every seed, kept one by one in `folder`; and the metrics of real data.

    Seconds are of drawing alone; where all samples are one batch they have a compilation in them.
    """
    import numpy as np

    from metrics.resumable import Resumable, fingerprint
    from options.progress import progress_bar
    from tools.solver_contest import CONTESTANTS

    runs_identity = [[c.name, repr(c.solver), fingerprint([c.grid.t])] for c in runs]
    columns = ["evaluations", "finished", "seconds", *subject.metrics]
    identity = {"process": repr(subject.process), "samples": samples, "runs": runs_identity}
    identity |= {"columns": columns}
    store = Resumable(folder, "measured", identity | {"subject": dict(subject.identity())})
    total = len(runs) * seeds
    rows: dict[str, Any] = {}
    begun = min(store.done, total)
    with progress_bar(desc="solvers", total=total, initial=begun, unit="run") as bar:
        for number in range(store.done, total):
            seed, which = divmod(number, len(runs))
            bar.set_postfix_str(f"{runs[which].name}, {runs[which].setting}, seed {seed}")
            found = subject.run(runs[which], samples, seed)
            row = [found.evaluations, found.finished, found.seconds, *found.metrics]
            store.keep(number, {"row": np.array([row])})
            bar.update()
    rows = store.read(total)
    table = rows["row"].reshape(seeds, len(runs), -1)
    lines = []
    for i, cell in enumerate(runs):
        evaluations, finished, seconds, *metrics = table[:, i].T
        lines.append(
            Line(
                cell.name,
                CONTESTANTS[cell.name].title,
                cell.setting,
                float(evaluations.mean()),
                float(finished.mean()),
                float(seconds.mean()),
                {n: v.tolist() for n, v in zip(subject.metrics, metrics, strict=True)},
            )
        )
    floors = np.array([subject.floor(samples, seed) for seed in range(seeds)])
    return lines, {n: v.tolist() for n, v in zip(subject.metrics, floors.T, strict=True)}


def subject_of(args: argparse.Namespace) -> "Subject":
    """What the command line asks to be sampled. Reads the disk."""
    from sde_lib import PROCESSES
    from tools.solver_contest import ImageSubject, MixtureSubject, features_of

    if args.mixture:
        process = choose(PROCESSES, args.process, "process")
        options = {"sigma_max": 10.0} if args.process in ("ve", "smld") else {}
        return MixtureSubject(process(**options), args.t_end or 1e-3)
    from experiment.pipeline import load
    from metrics.statistics import Statistics

    where = args.workdir or args.weights
    weights = {"eval.weights": args.extractor_weights} if args.extractor_weights else {}
    model = load(where, weights | {"eval.extractor": args.extractor})
    experiment, predict = model.experiment, model.sampled
    generator = dataclasses.replace(experiment.generator, batch_size=args.batch_size)
    subject = experiment.subject()
    with within("eval", images="extractor"):
        extractor = subject.extractor(experiment.evaluation)
    train, held_out = (
        features_of(subject.image_set(source), extractor)
        for source in (subject.train, subject.held_out)
    )
    shown = os.path.relpath(where) if not args.workdir else where
    return ImageSubject(
        f"{shown} ({subject.train.name})",
        generator,
        predict,
        extractor,
        Statistics.of(extractor, subject.train.name, train),
        held_out,
        args.t_end or experiment.options.sampling.t_end or experiment.process.t_min,
    )


def explanation(subject: "Subject", samples: int, seeds: int) -> str:
    """What a reader has to know beside the metrics."""
    bars = f"bars: standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    kind = "diamonds: adaptive, a point a tolerance"
    if subject.few:
        return f"{samples} samples a point; {bars}; {kind}"
    return (
        f"{samples} samples a point, held-out data likewise; {bars}; {kind}; "
        f"FID of {samples} samples is biased upwards: compare with equal numbers only"
    )


def report(args: argparse.Namespace) -> None:
    """Everything that the command line asks for; InvalidValue before any work if it cannot be."""
    from storage import json_text
    from storage.files import atomic_write
    from tools.solver_contest import CONTESTANTS, cells

    for name, least in (("samples", 4 if not args.mixture else 1), ("seeds", 1), ("batch_size", 1)):
        require(getattr(args, name) >= least, name, getattr(args, name), f"at least {least}")
    names = args.solvers.split(",") if args.solvers else list(CONTESTANTS)
    tolerances = {name: numbers("ode_rtol", args.ode_rtol) for name in ("ode", "ode_bosh3")}
    tolerances["adaptive_sde"] = numbers("sde_rtol", args.sde_rtol)
    budgets = [int(b) for b in numbers("budgets", args.budgets)]
    pyplot()  # An error before the work rather than after it, where there is none.
    began = time.monotonic()
    subject = subject_of(args)
    given = {k: v for k, v in tolerances.items() if v}
    runs = cells(subject, names, budgets, args.grid, given)
    out = folder_of(args, parser(), "runs/solvers")
    # Reports that have a folder each share what was measured.
    rows = args.out or out.parent
    lines, floor = measure(subject, runs, args.samples, args.seeds, rows)
    note = explanation(subject, args.samples, args.seeds)
    about = {
        "command": shlex.join(["python", "-m", "tools.solver_report", *sys.argv[1:]]),
        "model": subject.name,
        "process": repr(subject.process),
        "grid": f"{args.grid}, to t = {subject.t_end:g}, then E[x_0 | x]",
        "samples": args.samples,
        "seeds": args.seeds,
        "hardware": hardware(),
        "versions": f"Python {platform.python_version()}, jax {version('jax')}",
        "seconds of this call": round(time.monotonic() - began),
    }
    picture = draw(lines, floor, f"{subject.name}, {args.grid} grid", note)
    found = {
        "about": about,
        "runs": [line.to_json() for line in lines],
        "real_data": {name: summary(values) for name, values in floor.items()},
    }
    with atomic_write(out / "report.png") as file:
        file.write(picture)
    json_text.write(out / "report.json", found, indent=1)
    with atomic_write(out / "report.html", "w") as file:
        file.write(page(lines, floor, about, picture, note))
    for name in floor:
        print(f"\n{markdown(lines, floor, name)}")
    print(f"\n{note}\nwritten to {out / 'report.html'}, report.png and report.json")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = made.add_mutually_exclusive_group()
    what.add_argument("--workdir", help="a run, whose newest averaged parameters are taken")
    what.add_argument("--weights", default=str(main.PRETRAINED), help="an exported file (.npz)")
    what.add_argument("--mixture", action="store_true", help="a mixture in two dimensions")
    what.add_argument("--orders", action="store_true", help="print the orders of convergence")
    made.add_argument("--process", default="vp", help="of the mixture")
    made.add_argument("--solvers", default="", help="names with commas between; default: all")
    made.add_argument("--budgets", default="8,16,32,64", help="evaluations of fixed-step solvers")
    made.add_argument("--ode_rtol", default="", help="tolerances of the adaptive ODE solvers")
    made.add_argument("--sde_rtol", default="", help="tolerances of the adaptive SDE solver")
    made.add_argument("--grid", default="quadratic", help="of all solvers")
    made.add_argument("--t_end", type=float, default=0.0, help="default: the model's; mixture 1e-3")
    made.add_argument("--samples", type=int, default=300, help="of each run")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--batch_size", type=int, default=100, help="of image models")
    made.add_argument("--extractor", default="auto", help="of features, as eval.extractor")
    made.add_argument("--extractor_weights", default="", help="its file, if not shipped")
    made.add_argument("--out", type=Path, help="default: a folder below runs/solvers")
    return made


def run() -> None:
    """The command line; what a user can mend is one line and exit status 2."""
    args = parser().parse_args()
    main.prepare_jax()
    with one_line_errors():
        if args.orders:
            from tools.solver_orders import table

            print(table())
            return
        report(args)


if __name__ == "__main__":
    run()
