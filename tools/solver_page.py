"""The solver report as a plot, as tables and as one HTML file."""

import base64
import dataclasses
import html
import io
import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.plots import pyplot
from tools.markdown import table

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

    seconds: of drawing all samples of a seed. metrics: by name, the value of each seed.
    """

    name: str
    title: str
    setting: str
    evaluations: float
    finished: float
    seconds: float
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


def draw(
    lines: Sequence[Line], floor: Mapping[str, Sequence[float]], title: str, note: str
) -> bytes:
    """The plot as PNG: solvers as lines with their spread over seeds. A column for each metric, a
    row for solvers of the probability flow and one for those with noise."""
    plt = pyplot()
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
    header = ["solver", "setting", "evaluations", "seconds", "finished"]
    header += [part for name in names for part in (f"{name}, mean ± sd", "95 % interval")]
    rows = []
    spent = [[f"{e.evaluations:.1f}", f"{e.seconds:.3g}", f"{e.finished:.1%}"] for e in lines]
    body = [(e.name, [e.title, e.setting, *s], e.metrics)
            for e, s in zip(lines, spent, strict=True)]  # fmt: skip
    body.append(
        ("real data", ["real data", "", "", "", ""], {k: list(v) for k, v in floor.items()})
    )
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
