"""The page of the gallery, with a tiny network that was never trained."""

import sys

import numpy as np
import pytest
from PIL import Image
from tiny_weights import export

from configs.digits import vp
from tools import gallery, gallery_scenes


@pytest.fixture
def weights(tmp_path):
    return export(tmp_path / "model.npz", vp.get_config())


def call(monkeypatch, folder, only):
    arguments = [f"--docs={folder / 'docs'}", f"--out={folder / 'kept'}", f"--only={only}"]
    lite0 = "--extractor_weights=lite0.npz"
    monkeypatch.setattr(sys, "argv", ["gallery", lite0, *arguments])
    gallery.run()


@pytest.mark.slow
def test_scenes_are_pictures_with_metrics_and_are_made_once(weights, monkeypatch, tmp_path):
    solvers = {"dpm": ("DPM-Solver++ 2M", {"solver": "dpm", "num_steps": 2, "grid": "log_snr"})}
    scene = gallery_scenes.Scene(
        "box", "The middle.", weights, {"task": "inpaint", "task.mask": "box"}, solvers=("dpm",),
        images=5, results=2,
    )  # fmt: skip
    monkeypatch.setattr(gallery_scenes, "SOLVERS", solvers)
    monkeypatch.setattr(gallery_scenes, "DIGITS", weights)
    monkeypatch.setattr(gallery_scenes, "scenes", lambda folder: [scene])
    call(monkeypatch, tmp_path, "inpaint")
    text = (tmp_path / "docs" / "gallery.md").read_text()
    assert "## Inpainting" in text and "## SDEdit" not in text
    assert "![The middle.](images/gallery/box.png)" in text
    assert "5 images, 2 results each." in text
    assert "--config.control.task=inpaint --config.control.task.mask=box" in text
    header, _, row = (line for line in text.splitlines() if line.startswith("|"))
    assert header.startswith("| solver | PSNR of what was hidden, dB | feature distance |")
    cells = row.split(" | ")
    assert cells[0] == "| DPM-Solver++ 2M" and 0 < float(cells[1]) < 40
    with Image.open(tmp_path / "docs" / "images" / "gallery" / "box.png") as picture:
        assert min(picture.size) > 512  # four rows of image, known, two results
        assert np.asarray(picture).std() > 0

    monkeypatch.setattr("experiment.modes.controlled", None)
    call(monkeypatch, tmp_path, "inpaint")  # what was made is kept
    assert (tmp_path / "docs" / "gallery.md").read_text() == text


def test_every_scene_is_a_config_that_can_be(tmp_path):
    """Names of fields, tasks and solvers, of all scenes of which the weights are there."""
    from experiment import kinds

    shipped = [s for s in gallery_scenes.scenes(tmp_path) if s.weights == gallery_scenes.DIGITS]
    assert shipped
    for scene in shipped:
        for solver in scene.solvers:
            settings = scene.settings(solver, "lite0.npz")
            experiment = kinds.open_experiment(scene.weights, settings)
            experiment.check_all(1)
            assert experiment.config.control.task.name == scene.task
            assert scene.task in gallery_scenes.ABOUT


def test_a_painting_is_the_same_at_every_size(tmp_path):
    for size in (32, 256):
        gallery.draw_painting(tmp_path / f"{size}.png", size)
    small, large = (np.asarray(Image.open(tmp_path / f"{n}.png")).astype(int) for n in (32, 256))
    assert np.mean(np.any(large[::8, ::8] != small, axis=-1)) < 0.05  # at the edges of strokes
    assert np.any(small != 255, axis=-1).mean() > 0.4


def test_an_unknown_task_is_refused(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        call(monkeypatch, tmp_path, "paint")
    assert "only: got 'paint', expected some of inpaint" in capsys.readouterr().err


def test_weights_that_are_not_there_are_named_before_anything_is_made(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr("experiment.modes.controlled", None)
    monkeypatch.setattr(gallery_scenes, "EMOJI", str(tmp_path / "none.npz"))
    with pytest.raises(SystemExit):
        call(monkeypatch, tmp_path, "inpaint,colorize")
    assert "none.npz, which inpaint, colorize need" in capsys.readouterr().err


def test_a_contest_is_shown_with_its_table_and_what_makes_it_again(monkeypatch, tmp_path):
    docs = tmp_path / "docs"
    (docs / gallery.IMAGES).mkdir(parents=True)
    asked = []

    def contest(args):
        asked.append(args)
        args.out.mkdir()
        for picture in ("samples", "calibration"):
            (args.out / f"{picture}.png").write_bytes(picture.encode())
        (args.out / "guidance.md").write_text("| a table |\n")
        (args.out / "guidance.json").write_text('{"samples": 12, "hardware": "an abacus"}')

    monkeypatch.setattr("tools.guidance_contest.contest", contest)
    options = ["--samples=12", f"--extractor_weights={tmp_path / 'here.npz'}"]
    text = gallery.contest_section("digits", options, tmp_path, docs)
    assert asked[0].samples == 12 and asked[0].extractor_weights == str(tmp_path / "here.npz")
    assert "12 samples each from the same noise, on an abacus." in text and "| a table |" in text
    command = text.partition("```bash\n")[2].splitlines()[0]
    assert command.endswith("guidance_contest --samples=12 --extractor_weights=lite0.npz")
    for picture in ("samples", "calibration"):
        link = f"{gallery.IMAGES}/guidance_digits_{picture}.png"
        assert f"({link})" in text and (docs / link).read_bytes() == picture.encode()


def test_pictures_of_a_shipped_classifier(monkeypatch, tmp_path):
    """Those that its evaluation leaves, of its own step."""
    docs = tmp_path / "docs"
    (docs / gallery.IMAGES).mkdir(parents=True)

    def evaluated(command):
        made = command.workdir / "eval" / "of its own"
        made.mkdir(parents=True)
        for picture in ("accuracy", "confusion"):
            (made / f"{picture}.png").write_bytes(picture.encode())
        return {1600: (made, None)}

    monkeypatch.setattr("experiment.modes.evaluated", evaluated)
    text = gallery.classifier_section("digits", tmp_path, docs)
    assert "python main.py --weights=pretrained/digits_classifier.npz --mode eval" in text
    for picture in ("accuracy", "confusion"):
        link = f"{gallery.IMAGES}/classifier_digits_{picture}.png"
        assert f"({link})" in text and (docs / link).read_bytes() == picture.encode()
