"""What pip makes of the project: a wheel that works from any folder, or a link to this one."""

import os
import pathlib
import subprocess
import sys
import tomllib
import zipfile

import numpy as np
import pytest

from options.project import ROOT


def build(kind: str, folder: pathlib.Path) -> pathlib.Path:
    """The wheel, "wheel" or "editable", that pip would have built."""
    code = f"import hatchling.build as b; print(b.build_{kind}({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder like site-packages, into which the wheel was unpacked."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(build("wheel", folder)) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_a_wheel_holds_the_project_whole(site):
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    names = listed["targets"]["wheel"]["hooks"]["custom"]["project"]
    placed = site / "score_sde_jax"
    for name in names:
        here = {path for ending in ("py", "npz") for path in (ROOT / name).rglob(f"*.{ending}")}
        assert here or name.endswith(".py"), name
        for path in here or {ROOT / name}:
            there = placed / path.relative_to(ROOT)
            assert there.read_bytes() == path.read_bytes(), path
    # Nothing lies among the modules of other projects.
    beside = {path.name.partition("-")[0] for path in site.iterdir()}
    assert beside == {"score_sde_jax", "score_sde_jax.pth"}
    assert {path.name for path in placed.iterdir()} == set(names)


def test_an_installed_project_works_from_any_folder(site, tmp_path):
    """With the installed packages, but by its own .pth file rather than this folder's."""
    packages = pathlib.Path(np.__file__).parent.parent
    program = f"""
import site, sys
sys.path.append({str(packages)!r})
site.addsitedir({str(site)!r})
import data, options.project
from experiment import kinds
from experiment.experiment import at
from storage import weights
assert str(options.project.ROOT) == {str(site / "score_sde_jax")!r}
made = kinds.open_experiment("digits", {{"sampling.solver": "dpm"}})
kinds.load("configs/emoji/vp.py")
print(len(data.digits("train")), len(data.emoji("test")), weights.read_step(at("emoji").weights))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [int(number) > 0 for number in done.stdout.split()] == [True] * 3


def test_an_editable_install_is_a_link(tmp_path):
    with zipfile.ZipFile(build("editable", tmp_path)) as wheel:
        placed = [name for name in wheel.namelist() if ".dist-info/" not in name]
        assert placed == ["_score_sde_jax.pth"]
        assert wheel.read(placed[0]).decode().strip() == str(ROOT)
