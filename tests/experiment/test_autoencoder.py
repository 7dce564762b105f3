"""An autoencoder from its training to a model of its latents, by the commands of a user."""

import json

import numpy as np
import pytest
from quick import compile_quickly

from experiment import autoencoder, kinds, modes
from experiment.latents import LatentCoder
from options.errors import InvalidValue
from tools.export_weights import export
from tools.import_autoencoder import import_autoencoder

TINY = {
    "model.widths": (4, 8),
    "model.groups": 4,
    "model.latent_channels": 2,
    "training.steps": 4,
    "training.batch_size": 8,
    "training.microbatch": "8",
    "training.checkpoint_every": 0,
    "training.draw_every": 4,
    "training.evaluate_every": 4,
    "training.evaluate_examples": 8,
    "optim.warmup": 1,
    "preview.images": 3,
    "loss.perceptual": "none",
}
LATENT = {
    "model.nf": 8,
    "model.ch_mult": (1,),
    "model.attn_resolutions": (),
    "model.patch_size": 2,
    "model.num_res_blocks": 1,
    "data.dequantize": False,
    "data.space": "latents",
    "sampling.solver": "ddim",
    "sampling.num_steps": 2,
    "sampling.num_samples": 3,
    "sampling.batch_size": 3,
    "eval.num_samples": 4,
    "eval.max_images": 6,
    "eval.likelihood": False,
}


def configured(name, overrides):
    return kinds.load(f"configs/digits/{name}.py", overrides)


@pytest.mark.slow
def test_from_images_to_latents_to_samples(tmp_path, monkeypatch, capsys):
    compile_quickly(monkeypatch)
    monkeypatch.setattr(autoencoder, "MEASURED", 64)
    run, out, latent = tmp_path / "autoencoder", tmp_path / "coder.npz", tmp_path / "latent"
    assert modes.run("train", modes.Command(configured("autoencoder", TINY), run)) == 0
    assert next((run / "pictures").glob("*reconstructions*.png")).is_file()
    assert '"held_out_loss"' in (run / "metrics.jsonl").read_text()
    asked = kinds.load(run, {"eval.max_images": 5})
    assert modes.run("eval", modes.Command(asked, run)) == 0
    (path,) = run.glob("eval/**/report.json")
    found = {f["name"]: f for f in json.loads(path.read_text())["figures"]}
    assert {"loss", "absolute_error", "kl", "psnr", "fid"} <= {*found}
    assert 0 < found["psnr"]["value"] < 20 and found["psnr"]["samples"] == 5

    # The file: latents of mean 0 and deviation 1 in every channel, and the same by diffusers' way.
    assert export(run, out) == 4
    coder, source = LatentCoder.load(out), kinds.open_experiment(run).train_source
    measured = np.random.default_rng(42).permutation(len(source))[:64]
    mean, std = coder.moments(source.take(measured)["image"])
    np.testing.assert_allclose(mean.mean((0, 1, 2)), 0, atol=2e-3)
    np.testing.assert_allclose((mean**2 + std**2).mean((0, 1, 2)), 1, atol=2e-3)
    export(out, tmp_path / "theirs")
    import_autoencoder(tmp_path / "theirs", tmp_path / "again.npz")
    again = LatentCoder.load(tmp_path / "again.npz")
    images = source.take(np.arange(4))["image"]
    assert again.network == coder.network
    np.testing.assert_allclose(again.encode(images), coder.encode(images), atol=1e-6)

    # A model of the latents.
    steps = {name: value for name, value in TINY.items() if name.startswith(("training", "optim"))}
    changes = {**LATENT, **steps, "data.space.weights": str(out), "training.draw_every": 0}
    config = configured("vp", changes)
    assert modes.run("train", modes.Command(config, latent)) == 0
    remembered = kinds.load(latent)
    assert remembered.data.space.fingerprint == coder.fingerprint
    assert modes.run("sample", modes.Command(remembered, latent)) == 0
    (path,) = latent.glob("samples/**/samples.npz")
    assert np.load(path)["images"].shape == (3, 28, 28, 1)
    assert modes.run("eval", modes.Command(remembered, latent)) == 0
    (path,) = latent.glob("eval/**/report.json")
    names = {f["name"] for f in json.loads(path.read_text())["figures"]}
    assert {"loss", "fid", "legible"} <= names
    edit = kinds.load(latent, {"control.task": "edit", "control.images": 1, "control.results": 2})
    assert modes.run("control", modes.Command(edit, latent)) == 0
    asked = {"control.task": "inpaint"}
    with pytest.raises(InvalidValue, match="^control.task: got 'inpaint', but it replaces pixels"):
        modes.run("control", modes.Command(kinds.load(latent, asked), latent))
    assert "their nats/dim, no bits/dim" in capsys.readouterr().out

    # Trained a little more, it is another autoencoder.
    more = kinds.load(run, {"training.steps": 5, "training.draw_every": 0})
    assert modes.run("train", modes.Command(more, run)) == 0
    export(run, out)
    with pytest.raises(InvalidValue, match="^data.space.weights: .* of this model's latents"):
        modes.run("sample", modes.Command(remembered, latent))


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"data.space.low": 0.0}, "^data.space: got Pixels.low=0.0"),
        ({"precision.training": "bfloat16"}, "^precision.training: got 'bfloat16'"),
        ({"data.image_size": (30, 28)}, "^model.widths: got 3 levels, but they need images"),
        ({"model.groups": 5}, "^model.widths: .*multiples of 5 groups"),
        ({"loss.perceptual": "classifier"}, "^loss.perceptual.weights: .* of shape .28, 28, 1.,"),
        (
            {"loss.perceptual": "extractor", "loss.perceptual.extractor": "digit"},
            "^loss.perceptual.extractor: got 'digit'",
        ),
    ],
)
def test_what_cannot_work_is_refused_by_its_field(change, expected):
    with pytest.raises(InvalidValue, match=expected):
        kinds.experiment(configured("autoencoder", change)).check_all(1)


def test_a_classifier_of_the_wrong_kind_is_refused():
    given = {"loss.perceptual": "classifier", "loss.perceptual.weights": "digits"}
    with pytest.raises(InvalidValue, match="weights: .* holds a model of task 'image'"):
        kinds.experiment(configured("autoencoder", given)).task  # noqa: B018
