"""The contest of guidance, with tiny networks that were never trained."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from tiny_weights import export

from configs.digits import classifier, vp
from data import CENTERED
from data.digits import PATH
from generation.sampler import Generator
from sde_lib import VPSDE
from solvers.ddim import DDIM
from solvers.grids import uniform_grid
from solvers.sampler import Sampler
from tasks.conditions import ClassLabel
from tools import guidance_contest


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Noughts and ones, a network and a classifier of them."""
    folder = tmp_path_factory.mktemp("contest")
    arrays = {}
    for split, count in (("train", 60), ("test", 40)):
        with np.load(PATH) as file:
            images, labels = file[f"{split}_images"], file[f"{split}_labels"]
        chosen = np.concatenate([np.flatnonzero(labels == k)[: count // 2] for k in (0, 1)])
        arrays |= {f"{split}_images": images[chosen], f"{split}_labels": labels[chosen]}
    np.savez(folder / "few.npz", **arrays)
    few = {"data.source": "npz", "data.source.path": str(folder / "few.npz")}
    two = few | {"model.num_classes": 2}
    model = export(
        folder / "model.npz", vp.get_config(), few | {"conditions.labels.num_classes": 2}
    )
    judge = export(folder / "classifier.npz", classifier.get_config(), two)
    other = two | {"process.beta_max": 10.0}
    foreign = export(folder / "foreign.npz", classifier.get_config(), other)
    return {"weights": model, "classifier": judge, "foreign": foreign}


@pytest.fixture(autouse=True)
def nothing_is_kept_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("experiment.image.cache_folder", lambda: tmp_path / "cache")


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["guidance_contest", *map(str, arguments)])
    guidance_contest.run()


@pytest.mark.slow
def test_all_strategies_stand_side_by_side_and_are_made_once(files, monkeypatch, tmp_path, capsys):
    options = [
        f"--weights={files['weights']}", f"--classifier={files['classifier']}",
        f"--out={tmp_path}", "--samples=8", "--batch_size=8", "--held_out=8", "--num_steps=2",
        "--scales=2", "--zone=0.2,9", "--extractor=digits",
    ]  # fmt: skip
    all_of_them = guidance_contest.contestants
    some = lambda *args: [c for c in all_of_them(*args) if "free" not in c[0]]  # noqa: E731
    monkeypatch.setattr(guidance_contest, "contestants", some)
    call(monkeypatch, *options)
    made = json.loads((tmp_path / "guidance.json").read_text())
    titles = [row["title"] for row in made["rows"]]
    assert titles[0] == "unconditional" and titles[-2:] == ["automatic", "held-out data"]
    assert {"1. amplified 2", "2. linear 2 to 1.6", "3. truncated 2"} < set(titles)
    assert made["rows"][-1]["accuracy"] > 0.9  # noughts and ones are easy
    assert all(row["evaluations"] == 3 for row in made["rows"][:-1])
    table = (tmp_path / "guidance.md").read_text()
    assert table.count("\n") == len(titles) + 2
    with Image.open(tmp_path / "samples.png") as picture:  # a row a contestant, a column a class
        rows, side = len(titles) - 1, 28 * 10 + 4
        assert picture.height >= rows * side + 4 and picture.width > 2 * side + 4
    capsys.readouterr()

    drawn, draw = [], Generator.draw
    monkeypatch.setattr(Generator, "draw", lambda *a, **k: drawn.append(1) or draw(*a, **k))
    call(monkeypatch, *options)  # what was made is kept
    assert (tmp_path / "guidance.md").read_text() == table and not drawn
    call(monkeypatch, *options, "--scales=2,4")  # and what other scales add is made
    more = (tmp_path / "guidance.md").read_text().splitlines()
    assert len(drawn) == 3 and set(table.splitlines()) < set(more)


def test_classifier_free_guidance_has_scales_of_its_own():
    """None of which a model without classes is tried with."""
    field = dict(guidance_contest.contestants([], (0.1, 10.0), 5.0, [1.0, 2.5]))
    assert list(field) == ["unconditional", "conditional", "classifier-free 2.5", "automatic"]
    assert [field[title].scale for title in list(field)[1:3]] == [1.0, 2.5]
    assert list(dict(guidance_contest.contestants([], (0.1, 10.0), 5.0, []))) == [
        "unconditional", "automatic"
    ]  # fmt: skip


def test_a_classifier_of_another_process_is_refused(files, monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        call(
            monkeypatch, f"--weights={files['weights']}", f"--classifier={files['foreign']}",
            f"--out={tmp_path / 'none'}",
        )  # fmt: skip
    assert "its process is" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_an_unconditional_model_is_asked_for_no_class():
    """Its classes are those of the classifier, which its unguided samples are not given."""
    sampler = Sampler(VPSDE(), DDIM(), uniform_grid(VPSDE(), 2), (4, 4, 1), CENTERED)
    generator, asked = Generator(sampler, num_classes=10), np.arange(4, dtype=np.int32)
    plain, labels = guidance_contest.without_class(generator, None, asked)
    assert plain.num_classes == 0 and plain.cond(labels, 0) == {}
    hidden = guidance_contest.without_class(generator, ClassLabel(10, 0.1), asked)
    assert hidden[0] is generator and hidden[1].tolist() == [10] * 4  # the null
