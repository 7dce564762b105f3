"""The project's files are found from any folder, and what is missing is said in a sentence."""

import importlib
import subprocess
import sys

import pytest

from experiment import kinds
from experiment.experiment import at
from options.errors import InvalidValue, NotInstalled, StorageError
from options.project import ROOT, extra, find, nearest, shipped, version_of
from storage import weights


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working folder with nothing of the project in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("where", "file"),
    [
        ("configs/digits/vp.py", "configs/digits/vp.py"),
        ("digits/vp", "configs/digits/vp.py"),
        ("pretrained/emoji.npz", "pretrained/emoji.npz"),
        ("emoji", "pretrained/emoji.npz"),
    ],
)
def test_what_the_project_ships_is_found_from_any_folder(elsewhere, where, file):
    assert find(where) == ROOT / file


def test_what_is_here_comes_first_and_what_is_nowhere_stays_as_given(elsewhere):
    (elsewhere / "emoji").mkdir()
    (elsewhere / "configs").mkdir()
    (elsewhere / "configs" / "mine.py").touch()
    for where in ("emoji", "configs", "configs/mine.py", "runs/a", "digits/vq"):
        assert str(find(where)) == where
    assert find("~").is_absolute()
    assert str(find("~nobody_of_this_name/x.npz")) == "~nobody_of_this_name/x.npz"


def test_no_name_has_two_files():
    names = shipped()
    assert {"digits/vp", "configs/digits/vp.py", "emoji", "pretrained/emoji.npz"} <= set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ("digits/vq", "digits/vp"),
        ("configs/digits/vq.py", "configs/digits/vp.py"),
        ("emojy", "emoji"),
        ("pretrained/emojy.npz", "pretrained/emoji.npz"),
        ("runs/mime", "runs/mine"),
    ],
)
def test_the_nearest_of_what_is_here_and_what_is_shipped_is_named(elsewhere, where, meant):
    (elsewhere / "runs" / "mine").mkdir(parents=True)
    assert nearest(where) == f"; did you mean {meant!r}?"


def test_weights_to_begin_with_are_found_by_name(elsewhere):
    weights.require_source("emoji")
    with pytest.raises(StorageError, match="did you mean 'emoji'"):
        weights.require_source("emojy")


def test_experiments_are_opened_by_name(elsewhere):
    assert kinds.load("digits/vp") == kinds.load(ROOT / "configs" / "digits" / "vp.py")
    guided = {"guidance.strategy": "automatic", "guidance.classifier": "digits_classifier"}
    made = kinds.open_experiment("digits", guided)
    assert made.classifier_experiment.options.model.num_classes == 10
    assert at("pretrained/digits.npz").weights == ROOT / "pretrained" / "digits.npz"
    with pytest.raises(InvalidValue, match="weights: got 'digit', but there is none"):
        at("digit")


def test_a_missing_package_names_its_extra():
    with pytest.raises(NotInstalled) as raised, extra("plots"):
        importlib.import_module("no_such_package")
    own = f"pip install -e '{ROOT}[plots]'"
    assert str(raised.value) == f"no_such_package is not installed: {own}"
    with pytest.raises(ImportError), extra("plots"):
        from options import no_such_name  # noqa: F401


def test_versions_are_numbers():
    assert version_of("jax") > (0, 9)
    assert version_of("no-such-distribution") == ()


@pytest.mark.parametrize(
    ("file", "module"), [("data/__init__.py", "data"), ("sampling.py", "sampling")]
)
def test_a_module_that_hides_one_of_the_project_is_named(elsewhere, file, module):
    path = elsewhere / file
    path.parent.mkdir(exist_ok=True)
    path.touch()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.append({str(ROOT)!r}); import experiment.kinds",
        ],
        capture_output=True,
        text=True,
    )
    said = f"ImportError: {path} hides the module '{module}' of score-sde-jax"
    assert said in done.stderr.splitlines()[-1]


def test_a_program_and_folders_of_a_user_hide_nothing(elsewhere):
    """A script named main.py, folders of configurations and data without modules."""
    for folder in ("configs", "data", "tools", "models"):
        (elsewhere / folder).mkdir()
    program = f"import sys; sys.path.append({str(ROOT)!r}); import options, configs; print(configs)"
    (elsewhere / "main.py").write_text(program)
    done = subprocess.run([sys.executable, "main.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(ROOT / "configs") in done.stdout
