"""What fits a card, by compilation."""

import jax
import pytest

from benchmarks import fits, no_gpu
from benchmarks.jax_side import config_of, image_experiment
from benchmarks.worker import ROOT
from options.memory import footprint


def test_the_line_through_two_batches_says_what_fits():
    line = fits.Line(4, 8, 140, 180)
    assert line.each == 10 and line.needs(16) == 260 and line.needs(0) == 100
    assert line.largest(260) == 16 and line.largest(269) == 16 and line.largest(90) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sample", "train", "evaluate"])
def test_another_batch_needs_what_two_small_ones_foretell(kind):
    experiment, cpu = image_experiment(config_of("small toy")), no_gpu.cpu()
    small, large = 32, 64
    at = (fits.bytes_of(kind, experiment, cpu, b) for b in (small, large))
    line = fits.Line(small, large, *at)
    most = fits.bytes_of(kind, experiment, cpu, 128)
    assert line.needs(128) == pytest.approx(most, rel=0.1)
    with no_gpu.traced_for(cpu):
        optimised = fits.PROGRAMS[kind](experiment, cpu, 128).compile()
    assert footprint(optimised) == most


def test_what_was_compiled_is_kept_and_shared_by_configurations_of_one_network(
    tmp_path, monkeypatch
):
    compiled = []
    monkeypatch.setattr(fits, "bytes_of", lambda kind, *_: compiled.append(kind) or 7)
    experiments = [image_experiment(config_of("small toy")) for _ in range(2)]
    for _ in range(2):
        kept = fits.Kept(tmp_path / "bytes.json")
        for experiment in experiments:
            assert fits.line_of(kept, "train", experiment, "cpu") == fits.Line(8, 16, 7, 7)
    assert compiled == ["train", "train"]  # one for each batch


def test_networks_are_traced_as_on_the_device_that_they_are_compiled_for():
    from models.layers import convolution

    before = dict(convolution.ON_BACKEND)
    with no_gpu.traced_for(no_gpu.cpu()):
        assert convolution.ON_BACKEND == before
    mesh = type("Mesh", (), {"devices": type("Devices", (), {"flat": [jax.devices()[0]]})})
    assert mesh.devices.flat[0].platform == "cpu" and convolution.ON_BACKEND == before


def test_every_configuration_for_gpus_is_in_the_table():
    found = [p for pattern in fits.CONFIGS for p in ROOT.glob(pattern)]
    folders = (ROOT / "configs" / name for name in ("ve", "vp", "subvp"))
    listed = {p for folder in folders for p in folder.glob("*.py") if "Command:" in p.read_text()}
    images = {p for p in listed if not p.stem.endswith("classifier")}
    assert len(found) == len(set(found)) and set(found) == images | {ROOT / "configs/folder_64.py"}
