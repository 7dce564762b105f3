"""What an experiment reads: which examples are trained on and which held out, and their classes."""

import json

import numpy as np
import pytest
from PIL import Image

from experiment import kinds, modes
from experiment.image import parse_labels
from options.errors import InvalidValue
from storage.workdir import read_config, remember, require_own


def pictures(folder, counts):
    """A folder of 4 x 4 images, with so many in each sub-folder."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = np.full((4, 4, 3), (10 * i + len(name)) % 256, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:03d}.png")
    return folder


def given(path, source="folder", **data):
    data = {"source": {"name": source, "path": str(path)}, "image_size": 4} | data
    return {"data": {"num_channels": 3} | data}


def opened(path, **data):
    return kinds.experiment(kinds.complete(given(path, **data)))


def files(source):
    return {source.key(i) for i in range(len(source))}


def test_a_share_of_an_unsplit_folder_is_held_out(tmp_path):
    made = opened(pictures(tmp_path / "set", {"cat": 120, "dog": 80}))
    train, held_out = made.train_source, made.held_out
    assert files(train) | files(held_out) == {
        f"{name}/{i:03d}.png" for name, count in (("cat", 120), ("dog", 80)) for i in range(count)
    }
    assert not files(train) & files(held_out)
    assert 10 <= len(held_out) <= 30
    assert (train.name, held_out.name) == ("set, not held out", "set, held out")
    assert train.class_names == held_out.class_names == ("cat", "dog")
    assert train.class_counts().sum() == len(train) and made.sets_aside
    labels = [train[i]["label"] for i in range(len(train))]
    np.testing.assert_array_equal(train.class_counts(), np.bincount(labels))
    assert files(opened(tmp_path / "set", holdout=0.5).held_out) > files(held_out)


def test_added_images_leave_the_others_where_they_are(tmp_path):
    folder = pictures(tmp_path / "set", {"": 100})
    before = files(opened(folder).held_out)
    pictures(folder, {"": 150})
    made = opened(folder)
    assert files(made.held_out) & {f"{i:03d}.png" for i in range(100)} == before
    assert len(files(made.held_out) - before) > 0


@pytest.mark.parametrize("count", [2, 3, 5])
def test_of_few_images_one_is_held_out_and_one_is_not(tmp_path, count):
    made = opened(pictures(tmp_path / "set", {"": count}), holdout=0.01)
    assert len(made.held_out) == 1 and len(made.train_source) == count - 1
    with pytest.raises(InvalidValue, match="^data.holdout: got 0.1, expected 0 for a single"):
        opened(pictures(tmp_path / "one", {"": 1})).train_source  # noqa: B018


def test_nothing_is_held_out_of_what_is_split_or_where_that_is_asked_for(tmp_path):
    split = opened(pictures(tmp_path / "split", {"train/a": 12, "test/a": 3}))
    assert (len(split.train_source), len(split.held_out)) == (12, 3) and not split.sets_aside
    folder = pictures(tmp_path / "set", {"": 12})
    for data in ({"holdout": 0.0}, {"eval_split": "train"}):
        made = opened(folder, **data)
        assert len(made.train_source) == 12 and made.held_out is made.train_source
        assert not made.sets_aside
    with pytest.raises(InvalidValue, match=r"^data.holdout: got 1.0, expected a number in \[0, 1"):
        opened(folder, holdout=1.0)


def test_one_array_is_of_no_split(tmp_path):
    np.save(tmp_path / "mine.npy", np.arange(50 * 48, dtype=np.uint32).reshape(50, 4, 4, 3) % 256)
    data = {"source": {"name": "npy", "path": str(tmp_path / "mine.npy")}, "space": "scaled"}
    made = kinds.experiment(kinds.complete({"data": data | {"image_size": (), "num_channels": 3}}))
    assert len(made.train_source) + len(made.held_out) == 50 and made.sets_aside
    assert made.held_out.name == "mine, held out"


def test_a_run_of_an_older_version_goes_on_with_all_its_images(tmp_path):
    folder = pictures(tmp_path / "set", {"a": 6, "b": 6})
    config = json.loads(kinds.complete(given(folder)).to_json())
    for name in ("holdout", "class_names"):
        del config["data"][name]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    command = modes.Command(kinds.load(tmp_path / "run"), tmp_path / "run")
    made = kinds.experiment(command.config)
    assert len(made.train_source) == 12
    claim = modes.claim_of(command, made)
    require_own(command.workdir, claim)
    remember(command.workdir, claim)
    assert read_config(command.workdir)["data"]["class_names"] == ["a", "b"]


def test_a_run_remembers_its_classes_and_refuses_others(tmp_path):
    folder = pictures(tmp_path / "set", {"2": 3, "10": 3, "cat": 3})

    def claim(config):
        command = modes.Command(config, tmp_path / "run")
        claim = modes.claim_of(command, kinds.experiment(config))
        require_own(command.workdir, claim)
        remember(command.workdir, claim)

    (tmp_path / "run").mkdir()
    claim(kinds.complete(given(folder)))
    remembered = kinds.load(tmp_path / "run")
    assert remembered.data.class_names == ("10", "2", "cat")
    claim(remembered)  # as it is resumed
    claim(kinds.complete(given(folder)))  # as by its file
    pictures(folder, {"bird": 1})
    with pytest.raises(InvalidValue, match="^data.class_names: got 'cat' as class 2, but .*'bird'"):
        kinds.experiment(remembered).train_source  # noqa: B018
    with pytest.raises(InvalidValue, match="made by another config: data.class_names was"):
        claim(kinds.complete(given(folder)))


def test_a_missing_split_is_said_when_a_training_begins(tmp_path):
    np.savez(tmp_path / "mine.npz", train_images=np.zeros((6, 4, 4, 3), np.uint8))
    _, line = modes.said_of_data(opened(tmp_path / "mine.npz", source="npz"))
    assert line.startswith(
        "warning: nothing is held out, and eval will be refused: data.eval_split"
    )


def test_what_a_run_is_trained_on_is_said(tmp_path):
    many = {f"{i:02d}": 1 for i in range(25)}
    lines = list(modes.said_of_data(opened(pictures(tmp_path / "set", many), holdout=0.01)))
    assert lines[0] == (
        "data: set, not held out, 24 examples of 4 x 4 x 3; 1 more are held out (data.holdout=0.01)"
    )
    assert lines[1].startswith("classes: 0 00, 1 01, ") and lines[1].endswith("18, 19 and 5 more")
    digits = kinds.experiment(kinds.complete({}))
    assert next(modes.said_of_data(digits)) == "data: digits/train, 9,000 examples of 28 x 28 x 1"


def test_classes_are_asked_for_by_name_or_number():
    names = ("10", "2", "cat")
    assert parse_labels("cat, 0,10,2", names, "f") == [2, 0, 0, 1]
    assert parse_labels("7,3", (), "f") == [7, 3]
    with pytest.raises(InvalidValue, match="f: got 'cot', expected .*; did you mean 'cat'"):
        parse_labels("cot", names, "f")
    for wrong in ("", "1,", "-1", "1.5"):
        with pytest.raises(InvalidValue, match="f: got '.*', expected numbers as in '3,3,7'"):
            parse_labels(wrong, (), "f")
    labels = {"conditions": {"labels": {"num_classes": 9}}}
    data = {"source": "emoji", "image_size": 32, "num_channels": 3}
    sampling = {"labels": "food,animals", "num_samples": 3}
    made = kinds.experiment(kinds.complete(labels | {"data": data, "sampling": sampling}))
    assert made.sample_labels().tolist() == [3, 1, 3]
    assert modes.of_classes(made, np.array([3, 1, 3])) == " of animals, food"
    assert modes.named_classes(made)["class_names"][3] == "food"
    beyond = {"labels": "food,9"}
    with pytest.raises(InvalidValue, match=r"^sampling.labels: got \[3, 9\], .* 0 to 8: activi"):
        kinds.experiment(
            kinds.complete(labels | {"data": data, "sampling": beyond})
        ).sample_labels()


def test_a_model_without_classes_has_none_to_ask_for_or_to_name():
    control = {"labels": "food"}
    made = kinds.experiment(kinds.complete({"data": {"source": "digits"}, "control": control}))
    assert modes.named_classes(made) == {} and modes.of_classes(made, np.array([-1])) == ""
    with pytest.raises(InvalidValue, match="^control.labels: got 'food', but the model has no cla"):
        made.control_images()
    assert made.train_source.class_names == made.class_names
