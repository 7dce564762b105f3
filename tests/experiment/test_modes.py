"""Training, sampling and evaluation, as the command line runs them, of data of every shape."""

import json

import numpy as np
import pytest
from PIL import Image

from experiment import kinds, modes
from experiment.modes import Command
from options.errors import InvalidValue, OutOfMemory

RANDOM = np.random.default_rng(0)
TINY = {
    "optim": {"warmup": 1},
    "training": {
        "steps": 2, "batch_size": 4, "microbatch": "4", "log_every": 1, "checkpoint_every": 2,
        "draw_every": 2,
    },
    "sampling": {
        "solver": "ddim", "num_steps": 3, "num_samples": 5, "batch_size": 5, "t_end": 1e-3
    },
    "eval": {
        "batch_size": 4, "max_images": 6, "likelihood_images": 2, "samples": False, "rtol": 0.1,
        "atol": 0.1,
    },
}  # fmt: skip
UNET = {
    "name": "ncsnpp", "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (),
    "dropout": 0.0, "fir": False, "progressive_input": "none", "embedding_type": "positional",
}  # fmt: skip
VP = {"process": "vp", "parameterization": {"output": "v", "c_noise": "time"}}


def rectangles(folder):
    """A folder of colour images, 16 high and 8 wide, in two splits."""
    for split, count in (("train", 8), ("test", 6)):
        (folder / split).mkdir(parents=True)
        for i in range(count):
            pixels = RANDOM.integers(0, 256, (16, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / split / f"{i}.png")
    source = {"name": "folder", "path": str(folder)}
    return {"source": source, "image_size": (16, 8), "num_channels": 3, "dequantize": True}


def fields(folder):
    """Arrays of real numbers, 8 x 12 with two channels, of mean 5 and standard deviation 3."""
    folder.mkdir()
    draw = lambda n: RANDOM.normal(5.0, 3.0, (n, 8, 12, 2)).astype(np.float32)  # noqa: E731
    np.savez(folder / "fields.npz", train_data=draw(8), test_data=draw(6))
    source = {"name": "npz", "path": str(folder / "fields.npz")}
    space = {"name": "scaled", "mean": (5.0,), "std": (3.0,)}
    return {"source": source, "space": space, "image_size": ()}


def sequences(folder):
    """Walks in the plane of 3 to 10 steps, of two classes."""
    folder.mkdir()
    arrays = {}
    for split, count in (("train", 8), ("test", 6)):
        arrays[f"{split}_data"] = RANDOM.normal(size=(count, 10, 2)).astype(np.float32)
        arrays[f"{split}_lengths"] = RANDOM.integers(3, 11, count)
        arrays[f"{split}_labels"] = np.arange(count) % 2
    np.savez(folder / "walks.npz", **arrays)
    source = {"name": "npz", "path": str(folder / "walks.npz")}
    return {"source": source, "space": "scaled", "image_size": ()}


SEQUENCE = {
    "name": "sequence", "nf": 8, "num_blocks": 1, "num_heads": 2, "embedding_type": "positional"
}  # fmt: skip
CASES = {
    "rectangles": (rectangles, UNET, (16, 8, 3), np.uint8, "bits_per_dim"),
    "fields": (fields, UNET, (8, 12, 2), np.float32, "nats_per_dim"),
    "sequences": (sequences, SEQUENCE, (10, 2), np.float32, "nats_per_dim"),
}


@pytest.mark.parametrize("case", CASES)
def test_data_of_any_shape_train_sample_and_are_evaluated(case, tmp_path):
    make, model, shape, dtype, unit = CASES[case]
    more = {"conditions": {"labels": {"num_classes": 2}}} if case == "sequences" else {}
    config = kinds.complete(TINY | VP | more | {"model": model, "data": make(tmp_path / "data")})
    command = Command(config, tmp_path / "run")
    assert kinds.experiment(config).shape == shape
    for mode in ("train", "sample", "eval"):
        assert modes.run(mode, command) == 0

    with np.load(tmp_path / "run" / "samples" / "samples.npz") as file:
        samples = dict(file)
    assert samples["images"].shape == (5, *shape) and samples["images"].dtype == dtype
    assert np.isfinite(samples["images"]).all() and samples["images"].std() > 0
    has_png = (tmp_path / "run" / "samples" / "samples.png").exists()
    assert has_png == (dtype == np.uint8)
    if case == "sequences":  # as long as held-out ones, and nothing in the padding
        lengths = samples["mask"].reshape(5, -1).sum(1)
        with np.load(tmp_path / "data" / "walks.npz") as file:
            assert set(lengths) <= set(file["test_lengths"])
        padding = ~np.broadcast_to(samples["mask"], samples["images"].shape)
        assert padding.any() and not samples["images"][padding].any()
        np.testing.assert_array_equal(samples["labels"], [0, 1, 0, 1, 0])

    report = json.loads((tmp_path / "run" / "eval" / "2" / "report.json").read_text())
    found = {figure["name"]: figure["value"] for figure in report["figures"]}
    assert np.isfinite(found["loss"]) and np.isfinite(found[unit])


def test_what_only_pixels_have_is_refused_of_others_in_one_sentence(tmp_path):
    data = fields(tmp_path / "data") | {"dequantize": True}
    made = kinds.experiment(kinds.complete(TINY | VP | {"model": UNET, "data": data}))
    with pytest.raises(InvalidValue, match="^data.dequantize: got True, but .* no grey levels"):
        made.check_all(1)


def test_a_device_out_of_memory_names_the_batch_to_lower(monkeypatch):
    import jax

    def exhausted(command):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")

    monkeypatch.setitem(modes.MODES, "sample", (exhausted, "sampling.batch_size"))
    command = Command(kinds.load("pretrained/digits.npz"), None)
    with pytest.raises(OutOfMemory, match="^sampling.batch_size: got 50, but the device is out"):
        modes.run("sample", command)
