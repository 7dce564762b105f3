"""Figures of papers: that none is left out, what their commands leave, and what the page says."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from options.project import find
from tools import reproduce
from tools.figures import models
from tools.figures.base import Work
from tools.figures.catalogue import FIGURES, ITEMS, PAPERS, TRAORE
from tools.figures.images import BY_CLASS, FIRST, SECOND, THIRD, TRIED

PAGE = Path(__file__).parent.parent.parent / "docs" / "reproduce.md"
# Figures and tables that the text numbers, by chapter.
NUMBERED = {1: 1, 2: 6, 3: 1, 4: 5, 5: 16, 7: 13}
TABLES = ["table-3.1", "table-7.1", "table-7.2", "table-7.3"]
# Figures without a network, of under a second.
QUICK = ["traore-5.14", "mohammadi-3.4", "mohammadi-7.2"]


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["reproduce", *map(str, arguments)])
    reproduce.run()


def test_no_figure_of_the_first_paper_is_left_out():
    numbers = [f"{chapter}.{i + 1}" for chapter, n in NUMBERED.items() for i in range(n)]
    assert set(numbers + TABLES) <= set(TRAORE)
    assert not any(name.startswith("table") for name in set(TRAORE) - set(TABLES))


def test_every_item_has_a_figure_or_says_what_it_is():
    for name, item in ITEMS.items():
        assert bool(item.figure) != bool(item.instead), name
        assert item.shows and (item.figure is None or item.figure.needs()), name


@pytest.mark.parametrize("paper", PAPERS)
def test_the_page_lists_them_all(paper):
    assert reproduce.listing(paper) in PAGE.read_text()


def test_every_model_has_a_configuration_and_a_stand_in():
    found = [getattr(figure, "model", None) for figure in FIGURES.values()]
    found += [m for figure in FIGURES.values() for m in getattr(figure, "models", ())]
    chosen = {model for model in found if model is not None} | {models.OF_AFHQ, models.OF_CIFAR10}
    assert len(chosen) > 15
    for model in chosen:
        assert find(model.config).is_file(), model.config
        assert find(model.stand_in).is_file()
        assert model.config in PAGE.read_text() or "cifar10" in model.config


@pytest.mark.parametrize("name", QUICK)
def test_figures_without_a_network(name, tmp_path):
    FIGURES[name].make(Work(tmp_path, small=True))
    check_made(tmp_path)


def check_made(folder):
    """Pictures of at least 512 pixels with something on them, animations of several frames."""
    made = [path for path in folder.iterdir() if path.suffix in (".png", ".gif", ".md")]
    assert made
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) >= 400 and max(picture.size) >= 512, path
            assert np.asarray(picture.convert("L")).std() > 1, path
    for path in folder.glob("*.gif"):
        with Image.open(path) as animation:
            assert animation.n_frames > 3 and min(animation.size) >= 512, path
    for path in folder.glob("*.md"):
        assert path.read_text().startswith("| ") and json.loads(
            path.with_suffix(".json").read_text()
        )


def test_the_hyperparameters_are_those_of_the_paper(tmp_path):
    FIGURES["traore-table-3.1"].make(Work(tmp_path))
    rows = {
        row["data set"]: row for row in json.loads((tmp_path / "hyperparameters.json").read_text())
    }
    afhq, ffhq = rows["AFHQ, 512 px"], rows["FFHQ, 1024 px"]
    assert (afhq["sigma_max"], afhq["noise scales"], afhq["batch"]) == ("375.0", "2000", "32")
    assert afhq["iterations"] == "520,000" and afhq["resolution"] == "512 x 512"
    assert (ffhq["sigma_max"], ffhq["batch"]) == ("1348.0", "8")


def test_the_strategies_have_the_numbers_of_the_paper():
    assert FIRST.real.scale == 500 and (SECOND.real.scale, SECOND.real.last_scale) == (500, 400)
    zones = [(way.real.low, way.real.high, way.real.s_max_classifier) for way in THIRD]
    assert zones == [(1, 374, 50), (1, 100, 50), (1, 50, 50)]
    assert [strategy.high for strategy in BY_CLASS.real.each()] == [374, 100, 50]


def test_masks_of_every_kind_are_tried_and_each_hides_something():
    kinds = {type(mask).__name__ for mask in TRIED.values()}
    assert {"Rectangle", "Irregular", "RandomPixels", "Together"} < kinds
    for side in (28, 512):
        for name, mask in TRIED.items():
            assert 0.02 < 1 - mask(side, side).mean() < 0.9, name


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["traore-2.44"], "name: got 'traore-2.44', expected one of .*did you mean 'traore-2.4'"),
        (["traore-2.1"], "name: got 'traore-2.1', expected one that is computed"),
        (["traore-4.1", "--weights", "no_such"], "no_such"),
        (["traore-4.1", "--samples", "-1"], "samples: got -1, expected 0 or more"),
    ],
)
def test_what_cannot_be_made_is_said_in_a_line(monkeypatch, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        call(monkeypatch, *arguments, "--out", tmp_path / "out")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)
    assert not (tmp_path / "out").exists()


def test_a_training_that_is_interrupted_ends_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr("experiment.modes.run", lambda *_: 130)
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, "traore-section-3.3", "--small", "--out", tmp_path / "out")
    assert ended.value.code == 130


def test_the_list_is_printed(monkeypatch, capsys):
    call(monkeypatch, "--list")
    printed = capsys.readouterr().out
    assert all(f"tools.reproduce {name}`" in printed for name in FIGURES)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FIGURES if name not in QUICK])
def test_every_command_ends_on_its_stand_in(name, monkeypatch, tmp_path):
    monkeypatch.setattr("experiment.image.cache_folder", lambda: tmp_path / "cache")
    call(monkeypatch, name, "--small", "--out", tmp_path / "out")
    check_made(tmp_path / "out")


@pytest.mark.slow
def test_the_worked_steps_are_the_formula(tmp_path):
    FIGURES["mohammadi-9.2"].make(Work(tmp_path))
    for process in ("vp", "ve"):
        rows = json.loads((tmp_path / f"steps_{process}.json").read_text())
        assert [row["t"] for row in rows] == ["1.000", "0.999", "0.998"]
        assert all(float(row["off the formula by"]) < 2e-5 for row in rows)
        for row, following in zip(rows, rows[1:], strict=False):
            assert row["x_{t - dt}"] == following["x_t"]
            step = float(row["f(x, t)"]) - float(row["g(t)"]) ** 2 * float(row["score"])
            noise = float(row["g(t)"]) * 0.001**0.5 * float(row["z"])
            want = float(row["x_t"]) - 0.001 * step + noise
            assert float(row["x_{t - dt}"]) == pytest.approx(want, abs=2e-3)
