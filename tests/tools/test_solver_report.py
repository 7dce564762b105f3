import base64
import html
import json
import math
import re
import sys

import jax
import numpy as np
import pytest

from generation.sampler import Generated
from oracles import Mixture
from sde_lib import VPSDE
from tools import solver_orders, solver_page, solver_report
from tools.command_line import hardware
from tools.solver_contest import (
    CONTESTANTS,
    ImageSubject,
    MixtureSubject,
    cells,
    default_mixture,
    moment_distance,
    sliced_wasserstein,
)

SUBJECT = MixtureSubject(VPSDE(), 1e-3)


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["solver_report", *map(str, arguments)])
    solver_report.run()


def test_distances_of_moved_points_are_the_move():
    data = default_mixture()
    x = np.asarray(data.sample(jax.random.key(0), 20_000))
    assert moment_distance(x, data) < 0.02
    assert moment_distance(x + np.array([0.3, 0.4]), data) == pytest.approx(0.5, abs=0.02)
    assert moment_distance(1.5 * (x - x.mean(0)) + x.mean(0), data) == pytest.approx(
        0.5 * math.sqrt(np.trace(np.cov(x.T))), rel=0.02
    )
    single = Mixture(data.means[:1], 0.1, np.ones(1))
    x = np.asarray(single.sample(jax.random.key(1), 20_000))
    assert sliced_wasserstein(x, single) < 0.003
    # A shift d is seen as d . e, whose mean square over directions is |d|^2 / 2.
    assert sliced_wasserstein(x + np.array([0.3, 0.4]), single) == pytest.approx(
        math.sqrt(0.125), rel=0.02
    )


@pytest.mark.one_in(6)
@pytest.mark.parametrize("name", CONTESTANTS)
def test_evaluations_stay_within_the_budget_and_are_counted(name):
    found = cells(SUBJECT, [name], [9, 32], "quadratic", {"adaptive_sde": [0.5], "ode": [0.1]})
    for cell, budget in zip(found, [9, 32], strict=False):
        spent = SUBJECT.run(cell, 20, 0)
        assert spent.finished == 1 and all(math.isfinite(v) for v in spent.metrics)
        if not CONTESTANTS[name].tolerances:
            assert budget - CONTESTANTS[name].stages < spent.evaluations <= budget


def test_more_evaluations_come_nearer():
    coarse, fine = (SUBJECT.run(c, 4000, 0) for c in cells(SUBJECT, ["ddim"], [4, 64], "quadratic"))
    floor = SUBJECT.floor(4000, 0)
    assert fine.metrics[0] < coarse.metrics[0] / 2
    assert fine.metrics[0] < 3 * floor[0]


@pytest.mark.slow
def test_the_report_is_whole_and_goes_on(tmp_path, monkeypatch, capsys):
    arguments = ["--mixture", "--samples", 50, "--solvers", "euler,ode", "--budgets", "4,8"]
    arguments += ["--ode_rtol", "0.1,0.01", "--out", tmp_path / "out"]
    call(monkeypatch, *arguments, "--seeds", 1)
    first = json.loads((tmp_path / "out" / "report.json").read_text())
    monkeypatch.setattr(solver_report, "draw", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):  # no slip of the user's, so with its traceback
        call(monkeypatch, *arguments, "--seeds", 2)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == first
    monkeypatch.undo()
    call(monkeypatch, *arguments, "--seeds", 2)
    folder = tmp_path / "out"
    found = json.loads((folder / "report.json").read_text())
    assert [run["setting"] for run in found["runs"]] == [
        "3 steps", "7 steps", "rtol 0.1", "rtol 0.01"
    ]  # fmt: skip
    for before, after in zip(first["runs"], found["runs"], strict=True):
        metric = "sliced Wasserstein-2"
        assert after["figures"][metric]["values"][:1] == before["figures"][metric]["values"]
        assert after["figures"][metric]["deviation"] > 0
    page = (folder / "report.html").read_text()
    picture = base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])
    assert picture == (folder / "report.png").read_bytes() and picture[1:4] == b"PNG"
    parts = ("python -m tools.solver_report --mixture", "quadratic", "real data")
    for part in (*parts, html.escape(hardware())):
        assert part in page
    assert "| Euler | 4: " in capsys.readouterr().out


def test_intervals():
    found = solver_page.summary([1.0, 2.0, 3.0])
    assert found["mean"] == 2 and found["deviation"] == 1
    assert found["half_interval"] == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert solver_page.summary([1.0])["half_interval"] is None
    assert solver_page.show(found) == "2.0 ± 1.0"
    assert solver_page.show({"mean": 0.12345, "deviation": 0.0123}) == "0.123 ± 0.012"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--solvers", "euler,hoin"], "solvers: got 'hoin', expected some of euler, heun"),
        (["--solvers", "euler,euler"], "solvers: got 'euler' twice"),
        (["--budgets", "8,2"], "budgets: got 2 for heun, expected at least 3"),
        (["--budgets", "8,many"], "budgets: got '8,many', expected numbers with commas between"),
        (["--grid", "cubic"], "grid: got 'cubic', expected one of"),
        (["--process", "vq"], "process: got 'vq', expected one of"),
        (["--samples", "0"], "samples: got 0, expected at least 1"),
        (["--seeds", "0"], "seeds: got 0, expected at least 1"),
        (["--sde_rtol", "0"], "tolerances: got 0.0, expected positive numbers"),
        (["--process", "flow"], "solvers: euler_maruyama cannot be used here"),
    ],
)
def test_what_cannot_be_is_said_before_work_starts(
    tmp_path, monkeypatch, capsys, arguments, message
):
    with pytest.raises(SystemExit):
        call(monkeypatch, "--mixture", *arguments, "--out", tmp_path / "out")
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_run_is_an_error(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        call(monkeypatch, "--workdir", tmp_path, "--out", tmp_path / "out")
    assert "no run was started there" in capsys.readouterr().err


@pytest.mark.parametrize("count, seconds", [(7, 7 * 2.0), (3, 100.0), (2, 100.0)])
def test_seconds_have_no_compilation_in_them_where_there_is_a_second_batch(
    monkeypatch, count, seconds
):
    """A first batch of three takes 100 s, and what follows 2 s a sample."""
    clock = [0.0]
    monkeypatch.setattr("tools.solver_contest.time.perf_counter", lambda: clock[0])

    class Slow:
        batch_size = 3

        def labels(self, count):
            return np.arange(count)

        def draw(self, predict, key, labels, first_index=0):
            clock[0] += 2.0 * len(labels) if first_index else 100.0
            assert labels[0] == first_index
            return Generated(labels, labels, 5.0, np.ones(len(labels), bool))

    timed = object.__new__(ImageSubject)
    object.__setattr__(timed, "predict", None)
    parts, took = ImageSubject._timed.__wrapped__(timed, Slow(), count, 0)
    assert np.concatenate([part.data for part in parts]).tolist() == list(range(count))
    assert took == pytest.approx(seconds)


@pytest.mark.slow
def test_an_image_model_by_fid_and_kid(tmp_path, monkeypatch, capsys):
    arguments = ["--samples", 8, "--seeds", 1, "--solvers", "ddim", "--budgets", 3]
    call(monkeypatch, *arguments, "--batch_size", 8, "--out", tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert set(found["real_data"]) == {"FID", "KID"}
    run = found["runs"][0]
    assert run["evaluations"] == 3
    assert run["figures"]["FID"]["mean"] > 1 and found["real_data"]["FID"]["mean"] > 1
    assert "biased" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("title", ["Heun", "DDIM, eta 1", "DPM-Solver++ 2M"])
def test_orders_are_what_the_table_claims(title):
    entry = next(e for e in solver_orders.ENTRIES if e.title == title)
    with jax.enable_x64(True):
        errors = [solver_orders.final_error(VPSDE(), entry.make(n), n, 0.3) for n in (40, 80)]
    assert solver_orders.order((40, 80), errors) == pytest.approx(float(entry.claimed[-1]), abs=0.1)
