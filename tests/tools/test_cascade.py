"""The command that samples a cascade, from weights of tiny networks that were never trained."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny_weights import export

from configs.emoji import base_8, up_16, up_32
from tools import cascade


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    made = {
        name: export(folder / f"{name}.npz", module.get_config())
        for name, module in (("base", base_8), ("up", up_16), ("last", up_32))
    }
    other = folder / "grey_range.npz"
    made["grey_range"] = export(other, up_16.get_config(), {"data.space.low": 0.0})
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(folder / "small.png")
    Image.fromarray(np.full((8, 9, 3), 200, np.uint8)).save(folder / "wide.png")
    return made | {"small": str(folder / "small.png"), "wide": str(folder / "wide.png")}


@pytest.mark.slow
def test_a_cascade_leaves_all_stages_side_by_side(files, tmp_path, capsys):
    chain = ",".join(files[name] for name in ("base", "up", "last"))
    options = ["--labels=3,7", "--each=2", "--level=0.1,0.3", "--solver=ddim", f"--out={tmp_path}"]
    cascade.main([f"--weights={chain}", *options])
    with Image.open(tmp_path / "cascade.png") as picture:  # a row a class
        side = 8 * 32 + 4
        left, top = picture.width - 6 * side - 4, picture.height - 2 * side - 4
        assert left > 0 < top  # names and titles
        pixels = np.asarray(picture)[top + 4 :, left + 4 :]
    for number, size in enumerate((8, 16, 32)):
        with np.load(tmp_path / f"stage_{number}.npz") as stage:
            assert stage["images"].shape == (4, size, size, 3)
            assert stage["labels"].tolist() == [3, 3, 7, 7]
            assert stage["class_names"][3] == "food"
            shown = pixels[:, side * number :][: 8 * 32 : 8, : 8 * 32 : 8]
            np.testing.assert_array_equal(shown[:: 32 // size, :: 32 // size], stage["images"][0])
    metrics = json.loads((tmp_path / "cascade.json").read_text())
    assert metrics["levels"] == [0.1, 0.3] and metrics["samples"] == 4
    assert [row["evaluations"] for row in metrics["stages"]] == [3, 3, 3]
    assert [("consistency_rmse" in row) for row in metrics["stages"]] == [False, True, True]
    assert "4 samples" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("image", ["small", "wide"])
def test_an_image_is_enlarged(image, files, tmp_path, capsys):
    options = [f"--image={files[image]}", "--labels=activities", "--each=1", f"--out={tmp_path}"]
    cascade.main([f"--weights={files['up']}", "--solver=ddim", "--num_steps=3", *options])
    assert ("8 x 9 is cropped to 8 x 8\n" in capsys.readouterr().out) == (image == "wide")
    with Image.open(tmp_path / "cascade.png") as picture:
        assert picture.height > 512 and picture.width > 2 * 512
        assert np.asarray(picture)[picture.height // 2, picture.width // 4].tolist() == [200] * 3
    assert json.loads((tmp_path / "cascade.json").read_text())["stages"][0]["evaluations"] == 4


@pytest.mark.parametrize(
    "chain, options, expected",
    [
        (["nowhere.npz"], [], "weights: got 'nowhere.npz', but there is none, expected exported"),
        (["up"], [], "stage 0 is an upsampler, which needs images"),
        (["base"], ["--image={small}"], "stage 0 is no upsampler"),
        (["base", "last"], [], "stage 1 enlarges images of 16 x 16 x 3, but stage 0 makes 8"),
        (["base", "grey_range"], [], "stages: stage 1 has data within (0.0, 1.0)"),
        (["base", "up"], ["--level=0.9"], "level: got 0.9, expected a level in [0, 0.5]"),
        (["base", "up"], ["--level=high"], "level: got 'high', expected numbers"),
        (["base", "up"], ["--labels=9"], "sampling.labels: got [9]"),
        (["base", "up"], ["--each=0"], "each: got 0"),
        (["base", "up"], ["--solver=best"], "sampling.solver: got 'best'"),
        (["up"], ["--image=nothing.png"], "image: got 'nothing.png'"),
    ],
)
def test_a_slip_is_answered_before_sampling(files, capsys, chain, options, expected):
    paths = ",".join(files.get(name, name) for name in chain)
    with pytest.raises(SystemExit):
        cascade.main([f"--weights={paths}", *(option.format(**files) for option in options)])
    assert expected in capsys.readouterr().err
