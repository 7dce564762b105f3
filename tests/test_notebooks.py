"""Every notebook runs from a clean kernel, on Colab too, and is kept with the pictures that it
makes."""

import os
import pathlib
import re
import subprocess
import sys
import types

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ids = lambda path: path.stem  # noqa: E731


def code(path: pathlib.Path) -> list:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_it_runs_from_a_clean_kernel(path, monkeypatch):
    """With the smaller numbers that FAST_NOTEBOOKS asks for."""
    monkeypatch.setenv("FAST_NOTEBOOKS", "1")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}})
    client.execute()


def test_the_page_of_their_order_names_each_once():
    page = (FOLDER / "README.md").read_text()
    assert sorted(re.findall(r"^\d\. \[.*\]\((.*)\)", page, re.MULTILINE)) == [
        path.name for path in NOTEBOOKS
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_it_is_kept_as_it_ran(path):
    cells = code(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_all_begin_with_the_same_cell():
    assert len({code(path)[0].source for path in NOTEBOOKS}) == 1


@pytest.fixture
def commands(monkeypatch):
    """The commands of the first cell, which are not run, and the folders that it goes to."""
    seen = []

    def run(command, **options):
        seen.append((command, options.get("cwd")))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(os, "chdir", seen.append)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return seen


def test_the_first_cell_does_nothing_where_there_is_no_colab(commands):
    before = list(sys.path), set(sys.modules), os.getcwd()
    exec(code(NOTEBOOKS[0])[0].source, {})
    assert (list(sys.path), set(sys.modules), os.getcwd()) == before
    assert not commands


@pytest.mark.parametrize("cloned", [False, True])
def test_the_first_cell_sets_everything_up_on_colab(cloned, commands, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(os.path, "isdir", lambda path: cloned)
    monkeypatch.setattr("builtins.input", lambda prompt: "https://host/project.git")
    exec(code(NOTEBOOKS[0])[0].source, {})
    project = "/content/score-sde-jax"
    clone = ["git", "clone", "--depth=1", "https://host/project.git", project]
    install = [sys.executable, "-m", "tools.install", "--quiet"]
    expected = [(install, project), f"{project}/notebooks"]
    assert commands == ([] if cloned else [(clone, None)]) + expected
    assert sys.path[0] == project


def test_your_images_are_trained_on_as_the_docs_say():
    """By the configuration of a folder as it is, whose size and classes are found in the data."""
    notebook = FOLDER / "train_on_your_images.ipynb"
    text = "\n".join(cell.source for cell in code(notebook))
    page = (FOLDER.parent / "docs" / "running.md").read_text()
    section = page.partition("## Your own images")[2].partition("\n## ")[0]
    assert "--config configs/folder_small.py" in section
    assert 'kinds.open_experiment("folder_small", changes)' in text
    changed = text.partition("changes = {")[2].partition("if FAST")[0]
    assert re.findall(r'"([a-z_.]+)":', changed) == ["data.source.path", "training.log_every"]
