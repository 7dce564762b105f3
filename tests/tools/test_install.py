"""The installer beside a jax that is there: what it keeps, and what it asks pip for."""

import subprocess
import sys
from importlib import metadata

import pytest

from options.project import ROOT
from tools import install


@pytest.fixture
def commands(monkeypatch):
    """The commands that would have been run, each with the constraints that it was given."""
    seen = []

    def run(command):
        with open(command[command.index("-c") + 1]) as file:
            seen.append((command, file.read().splitlines()))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    return seen


def test_the_jax_that_is_there_is_a_constraint(commands, capsys):
    assert install.main(["--quiet"]) == 0
    ((command, constraints),) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[-3:] == ["-e", f"{ROOT}[all]", "--quiet"]
    said = capsys.readouterr().out
    for name in ("jax", "jaxlib", "numpy"):
        constraint = f"{name}=={metadata.version(name)}"
        assert constraint in constraints and constraint in said
    assert not [line for line in constraints if line.startswith(("flax", "jaxtyping", "optax"))]


def test_of_two_versions_the_imported_one_stays(tmp_path, monkeypatch):
    """As of a user's and the system's; a folder without metadata is no distribution."""
    for folder, version in (("user", "2.0"), ("system", "1.0")):
        about = tmp_path / folder / f"jaxlib-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Name: jaxlib\nVersion: {version}\n")
    (tmp_path / "user" / "broken-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "user"), str(tmp_path / "system")])
    assert install.kept() == ["jaxlib==2.0"]


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        ("jax-cuda13-plugin", True),
        ("jax_cuda12_pjrt", True),
        ("libtpu", True),
        ("jaxtyping", False),
        ("numpyro", False),
    ],
)
def test_plugins_stay_too(name, stays):
    assert bool(install.KEPT.fullmatch(name)) == stays


@pytest.mark.parametrize(("found", "said"), [((), "has no jax"), ((0, 4, 30), "has jax ")])
def test_a_jax_that_cannot_serve_is_refused(found, said, commands, monkeypatch, capsys):
    monkeypatch.setattr(install, "version_of", lambda name: found)
    assert install.main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and f"expected {install.oldest_jax()} or newer" in line
    assert not commands


def test_it_needs_nothing_that_is_to_be_installed():
    """It runs in an environment without any of the project's requirements."""
    code = "import sys, tools.install; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    ours = {"options", "tools", "__main__", "sitecustomize"}
    assert set(done.stdout.split()) <= ours | set(sys.stdlib_module_names)
