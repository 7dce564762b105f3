"""Every notebook runs from a clean kernel, and is kept with the pictures that it makes."""

import pathlib
import re

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ids = lambda path: path.stem  # noqa: E731


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
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
