"""Quality against evaluations of every solver, as a table and a plot.

    python -m tools.solver_report --out runs/solvers                    (the shipped model)
    python -m tools.solver_report --workdir runs/mine --out runs/solvers
    python -m tools.solver_report --mixture --out runs/solvers_mixture  (2-D, exact scores)
    python -m tools.solver_report --orders                              (orders of convergence)

Leaves report.html (one file, picture included), report.png and report.json in the folder. Image
models are measured by FID and KID to their training set, a mixture by Wasserstein distances. All
solvers begin from the same noise, seed by seed; what is cut off goes on when called again, and more
seeds are added to those that are there.
"""

import argparse
import base64
import dataclasses
import html
import io
import itertools
import json
import math
import os
import platform
import shlex
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import main
from options.choices import choose, require
from tools.command_line import numbers, one_line_errors
from tools.markdown import table

if TYPE_CHECKING:
    from tools.solver_contest import Cell, Subject

COLOURS = {
    "euler": "#7f7f7f",
    "heun": "#1f77b4",
    "ddim": "#17becf",
    "dpm": "#2ca02c",
    "ode": "#d62728",
    "ode_bosh3": "#9467bd",
    "sde_dpm": "#2ca02c",
    "ancestral": "#ff7f0e",
    "euler_maruyama": "#7f7f7f",
    "pc": "#8c564b",
    "stochastic_heun": "#1f77b4",
    "adaptive_sde": "#9467bd",
}


@dataclasses.dataclass(frozen=True)
class Line:
    """A row of the table: one solver with one setting, over all seeds.

    metrics: by name, the value of each seed.
    """

    name: str
    title: str
    setting: str
    evaluations: float
    finished: float
    metrics: dict[str, list[float]]

    def to_json(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self)
        found = {name: summary(values) for name, values in fields.pop("metrics").items()}
        return fields | {"figures": found}


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation, and the half width of a 95 % t interval; None for one value."""
    import numpy as np
    from scipy.stats import t

    n = len(values)
    deviation = float(np.std(values, ddof=1)) if n > 1 else None
    half = None if deviation is None else float(t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)
    return {
        "mean": float(np.mean(values)),
        "deviation": deviation,
        "half_interval": half,
        "values": list(values),
    }


def measure(
    subject: "Subject", runs: Sequence["Cell"], samples: int, seeds: int, folder: Path
) -> tuple[list[Line], dict[str, list[float]]]:
    """Every run with every seed, kept one by one in `folder`; and the metrics of real data."""
    import numpy as np
    from tqdm import tqdm

    from metrics.resumable import Resumable, fingerprint
    from tools.solver_contest import CONTESTANTS

    runs_identity = [[c.name, repr(c.solver), fingerprint([c.grid.t])] for c in runs]
    identity = {"process": repr(subject.process), "samples": samples, "runs": runs_identity}
    store = Resumable(folder, "measured", identity | {"subject": dict(subject.identity())})
    total = len(runs) * seeds
    rows: dict[str, Any] = {}
    with tqdm(None, "solvers", total, initial=min(store.done, total), unit="run") as bar:
        for number in range(store.done, total):
            seed, which = divmod(number, len(runs))
            bar.set_postfix_str(f"{runs[which].name}, {runs[which].setting}, seed {seed}")
            found = subject.run(runs[which], samples, seed)
            row = [found.evaluations, found.finished, *found.metrics]
            store.keep(number, {"row": np.array([row])})
            bar.update()
    rows = store.read(total)
    table = rows["row"].reshape(seeds, len(runs), -1)
    lines = []
    for i, cell in enumerate(runs):
        evaluations, finished, *metrics = table[:, i].T
        lines.append(
            Line(
                cell.name,
                CONTESTANTS[cell.name].title,
                cell.setting,
                float(evaluations.mean()),
                float(finished.mean()),
                {n: v.tolist() for n, v in zip(subject.metrics, metrics, strict=True)},
            )
        )
    floors = np.array([subject.floor(samples, seed) for seed in range(seeds)])
    return lines, {n: v.tolist() for n, v in zip(subject.metrics, floors.T, strict=True)}


def draw(
    lines: Sequence[Line], floor: Mapping[str, Sequence[float]], title: str, note: str
) -> bytes:
    """The plot as PNG: solvers as lines with their spread over seeds. A column for each metric, a
    row for solvers of the probability flow and one for those with noise."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FixedLocator, NullLocator

    from tools.solver_contest import CONTESTANTS

    names = list(floor)
    kinds = sorted({CONTESTANTS[line.name].noise for line in lines})
    figure, axes = plt.subplots(
        len(kinds), len(names), figsize=(12.5, 1 + 3.9 * len(kinds)), layout="constrained",
        sharex=True, sharey="col", squeeze=False,
    )  # fmt: skip
    for row, noise in zip(axes, kinds, strict=True):
        chosen = [line for line in lines if CONTESTANTS[line.name].noise == noise]
        for axis, name in zip(row, names, strict=True):
            _draw_lines(axis, chosen, name)
            everything = [summary(line.metrics[name])["mean"] for line in lines]
            _draw_floor(axis, summary(floor[name]), everything)
            axis.set_title(f"{name}, {'with noise' if noise else 'probability flow'}", fontsize=10)
        row[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=8.5)
    least, most = (f(line.evaluations for line in lines) for f in (min, max))
    ticks = [2**k for k in range(20) if 0.8 * least <= 2**k <= 1.25 * most]
    axes[0, 0].set_xscale("log")
    axes[0, 0].xaxis.set_major_locator(FixedLocator(ticks))
    axes[0, 0].xaxis.set_minor_locator(NullLocator())
    axes[0, 0].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for axis in axes[-1]:
        axis.set_xlabel("network evaluations a sample")
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(textwrap.fill(note, 150), fontsize=8.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()


def _draw_lines(axis: Any, lines: Sequence[Line], name: str) -> None:
    """The metric `name` of each solver against its evaluations."""
    from tools.solver_contest import CONTESTANTS

    for who, found_lines in itertools.groupby(lines, lambda line: line.name):
        group = sorted(found_lines, key=lambda line: line.evaluations)
        found = [summary(line.metrics[name]) for line in group]
        adaptive = bool(CONTESTANTS[who].tolerances)
        axis.errorbar(
            [line.evaluations for line in group],
            [f["mean"] for f in found],
            [f["deviation"] or 0.0 for f in found],
            color=COLOURS[who],
            linestyle="--" if adaptive else "-",
            marker="D" if adaptive else "o",
            markersize=4,
            linewidth=1.4,
            elinewidth=0.9,
            label=CONTESTANTS[who].title,
        )
    axis.grid(True, which="major", color="#eeeeee", zorder=-2)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_floor(axis: Any, level: Mapping[str, Any], everything: Sequence[float]) -> None:
    """The metric of real data as a band, and a vertical axis that holds it and all means."""
    from matplotlib.ticker import LogLocator, NullLocator

    spread = level["deviation"] or 0.0
    axis.axhline(level["mean"], color="#444444", linewidth=0.9, linestyle=":", zorder=0)
    axis.axhspan(
        level["mean"] - spread, level["mean"] + spread, color="#dddddd", linewidth=0, zorder=-1
    )
    values = [*everything, level["mean"]]
    if min(values) > 0:
        axis.set_yscale("log")
        axis.set_ylim(0.7 * min(values), 1.4 * max(values))
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.yaxis.set_minor_locator(NullLocator())
    else:
        # An unbiased estimate may be negative: linear about 0, logarithmic beyond.
        width = max(-min(values), max(values) / 300)
        axis.set_yscale("symlog", linthresh=width)
        axis.set_ylim(-2 * width, 1.6 * max(values))
    axis.annotate(
        "real data", (0.995, level["mean"]), xycoords=("axes fraction", "data"),
        xytext=(0, 2), textcoords="offset points", ha="right", va="bottom",
        fontsize=8, color="#444444",
    )  # fmt: skip


def show(found: Mapping[str, Any]) -> str:
    """A mean with its standard deviation, to the digits that this leaves certain."""
    deviation = found["deviation"]
    if not deviation:
        return f"{found['mean']:.3g}"
    digits = min(max(1 - math.floor(math.log10(deviation)), 0), 5)
    return f"{found['mean']:.{digits}f} ± {deviation:.{digits}f}"


def markdown(lines: Sequence[Line], floor: Mapping[str, Sequence[float]], name: str) -> str:
    """One metric as a table: a row a solver; before each colon the evaluations."""
    groups = [list(g) for _, g in itertools.groupby(lines, lambda line: line.name)]
    width = max(map(len, groups))
    rows = []
    for group in groups:
        group = sorted(group, key=lambda line: line.evaluations)
        row = [f"{e.evaluations:.0f}: {show(summary(e.metrics[name]))}" for e in group]
        rows.append([group[0].title, *row, *[""] * (width - len(row))])
    rows.append(["real data", show(summary(floor[name])), *[""] * (width - 1)])
    return table([f"{name} by evaluations", *[""] * width], rows)


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem;
  padding: 0 1rem }}
img {{ max-width: 100% }}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }}
th, td {{ padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd }}
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2), .about td {{ text-align: left }}
tr.first td {{ border-top: 2px solid #999 }}
code {{ background: #f3f3f3; padding: .1rem .3rem }}
</style>
<h1>{title}</h1>
<p><img alt="quality against network evaluations" src="data:image/png;base64,{picture}"></p>
<p>{note}</p>
<table class="about">{about}</table>
<table><tr>{header}</tr>
{rows}
</table>
</html>
"""


def page(
    lines: Sequence[Line],
    floor: Mapping[str, Sequence[float]],
    about: Mapping[str, Any],
    picture: bytes,
    note: str,
) -> str:
    """The report as one HTML file."""
    names = list(floor)
    header = ["solver", "setting", "evaluations", "finished"]
    header += [part for name in names for part in (f"{name}, mean ± sd", "95 % interval")]
    rows = []
    body = [(e.name, [e.title, e.setting, f"{e.evaluations:.1f}", f"{e.finished:.1%}"], e.metrics)
            for e in lines]  # fmt: skip
    body.append(("real data", ["real data", "", "", ""], {k: list(v) for k, v in floor.items()}))
    before = ""
    for who, cells, metrics in body:
        for name in names:
            found = summary(metrics[name])
            half = found["half_interval"]
            cells += [show(found), "" if half is None else f"± {half:.2g}"]
        data = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr class="{"" if who == before else "first"}">{data}</tr>')
        before = who
    facts = "".join(
        f"<tr><td>{html.escape(key)}</td><td><code>{html.escape(str(value))}</code></td></tr>"
        for key, value in about.items()
    )
    return PAGE.format(
        title=html.escape(f"Solvers: {about['model']}"),
        picture=base64.b64encode(picture).decode(),
        note=html.escape(note),
        about=facts,
        header="".join(f"<th>{html.escape(part)}</th>" for part in header),
        rows="\n".join(rows),
    )


def hardware() -> str:
    """The accelerator, or the processor and the cores that may be used."""
    import jax

    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{jax.device_count()} x {device.device_kind}"
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    names = [e.partition(":")[2].strip() for e in text.splitlines() if e.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    counted = "1 core" if cores == 1 else f"{cores} cores"
    return f"{counted} of {names[0] if names else platform.processor() or platform.machine()}"


def subject_of(args: argparse.Namespace) -> "Subject":
    """What the command line asks to be sampled. Reads the disk."""
    from sde_lib import PROCESSES
    from tools.solver_contest import ImageSubject, MixtureSubject, features_of

    if args.mixture:
        process = choose(PROCESSES, args.process, "process")
        options = {"sigma_max": 10.0} if args.process in ("ve", "smld") else {}
        return MixtureSubject(process(**options), args.t_end or 1e-3)
    from metrics import extractors
    from metrics.statistics import Statistics
    from tools.trained_model import open_model

    where = args.workdir or args.weights
    experiment, predict = open_model(where)
    evaluation = experiment.options.eval
    generator = dataclasses.replace(experiment.generator, batch_size=args.batch_size)
    extractor = extractors.load(evaluation.extractor, evaluation.weights)
    extractor.check(experiment.shape)
    subject = experiment.subject()
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
    from storage.files import atomic_write
    from tools.solver_contest import CONTESTANTS, cells

    for name, least in (("samples", 4 if not args.mixture else 1), ("seeds", 1), ("batch_size", 1)):
        require(getattr(args, name) >= least, name, getattr(args, name), f"at least {least}")
    names = args.solvers.split(",") if args.solvers else list(CONTESTANTS)
    tolerances = {name: numbers("ode_rtol", args.ode_rtol) for name in ("ode", "ode_bosh3")}
    tolerances["adaptive_sde"] = numbers("sde_rtol", args.sde_rtol)
    budgets = [int(b) for b in numbers("budgets", args.budgets)]
    began = time.monotonic()
    subject = subject_of(args)
    given = {k: v for k, v in tolerances.items() if v}
    runs = cells(subject, names, budgets, args.grid, given)
    lines, floor = measure(subject, runs, args.samples, args.seeds, args.out)
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
    with atomic_write(args.out / "report.png") as file:
        file.write(picture)
    with atomic_write(args.out / "report.json", "w") as file:
        json.dump(found, file, indent=1)
    with atomic_write(args.out / "report.html", "w") as file:
        file.write(page(lines, floor, about, picture, note))
    for name in floor:
        print(f"\n{markdown(lines, floor, name)}")
    print(f"\n{note}\nwritten to {args.out / 'report.html'}, report.png and report.json")


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
    made.add_argument("--out", type=Path, default=Path("runs/solvers"))
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
