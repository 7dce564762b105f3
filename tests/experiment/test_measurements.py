"""What a configuration has measured while it trains, and what is said where that cannot be."""

import numpy as np
import pytest
from PIL import Image

from evaluation.measurements import HeldOutLoss, SampleFID
from experiment import kinds
from options.errors import InvalidValue
from training.measurements import Measurement

FID = {"fid_every": 500, "fid_samples": 30}


def experiment(training=None, data=None, task="image", **more):
    given = {"training": training or {}, "data": data or {}, "task": task}
    return kinds.experiment(kinds.complete(given | more))


@pytest.mark.parametrize("task", ["image", "classifier"])
def test_by_default_the_loss_of_held_out_examples(task, tmp_path):
    (found,) = experiment(task=task).measurements(tmp_path)
    assert isinstance(found, HeldOutLoss) and isinstance(found, Measurement)
    assert (found.every, found.count, found.seed) == (1000, 512, 42)
    about = "the loss of 512 examples each: digits/test; digits/train"
    assert found.about == about and not list(tmp_path.iterdir())


def test_fid_where_it_is_asked_for(tmp_path):
    loss, fid = experiment(FID).measurements(tmp_path)
    assert isinstance(fid, SampleFID) and isinstance(fid, Measurement)
    assert (loss.every, fid.every, fid.count) == (1000, 500, 30)
    assert [fid] != experiment(FID | {"evaluate_every": 0}).measurements(tmp_path) != [loss]
    with pytest.raises(InvalidValue, match="^training.fid_every: .* no such field"):
        experiment(FID, task="classifier")
    for slip in ({"fid_samples": 1}, {"fid_every": -1}, {"evaluate_examples": 0}):
        with pytest.raises(InvalidValue, match=f"^training.{next(iter(slip))}: got"):
            experiment(slip)


def test_an_fid_that_cannot_be_is_refused_before_training(tmp_path):
    """Without the weights of its extractor, for other sizes than it takes, of data without one."""
    emoji = {"source": "emoji", "image_size": 32, "num_channels": 3}
    said = "^training.fid_every: got 500, but eval.weights: got none, expected a file of effi"
    with pytest.raises(InvalidValue, match=said):
        experiment(FID, emoji).measurements(tmp_path)
    with pytest.raises(InvalidValue, match="^eval.extractor: got"):
        experiment(FID, {"image_size": 32}, eval={"extractor": "digits"}).measurements(tmp_path)
    np.savez(tmp_path / "walks.npz", train_data=np.zeros((8, 4, 2), np.float32))
    source = {"name": "npz", "path": str(tmp_path / "walks.npz")}
    data = {"source": source, "space": "scaled", "image_size": ()}
    sequences = experiment(FID, data, model={"name": "sequence", "embedding_type": "positional"},
                           process="vp", parameterization={"c_noise": "time"})  # fmt: skip
    with pytest.raises(InvalidValue, match="^training.fid_every: got 500, but the data are no 8-"):
        sequences.check_all(1)


def folder(path, count=12):
    path.mkdir()
    for i in range(count):
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(path / f"{i}.png")
    return {"source": {"name": "folder", "path": str(path)}, "image_size": 4, "num_channels": 3}


def test_without_held_out_examples_there_is_one_line_and_no_loss(tmp_path, capsys):
    data = folder(tmp_path / "set")
    assert len(experiment(data=data).measurements(tmp_path)) == 1
    assert not capsys.readouterr().out
    assert experiment(data=data | {"holdout": 0.0}).measurements(tmp_path) == []
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("no loss of held-out examples: nothing of set is held out (data.holdout")
    np.savez(tmp_path / "grey.npz", train_images=np.zeros((8, 4, 4, 1), np.uint8))
    source = {"name": "npz", "path": str(tmp_path / "grey.npz")}
    grey = {"source": source, "image_size": 4}
    assert experiment(data=grey).measurements(tmp_path) == []  # there is no test split
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("no loss of held-out examples: data.") and "test" in line
    assert experiment({"evaluate_every": 0}, grey).measurements(tmp_path) == []
    assert not capsys.readouterr().out
