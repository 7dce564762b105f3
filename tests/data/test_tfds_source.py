import io
import shutil
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets
import tfds_shapes
from PIL import Image

from data import SOURCES, tfds
from experiment import kinds
from options.errors import InvalidValue, NotInstalled

FEATURES = tensorflow_datasets.features


class Tiny(tensorflow_datasets.core.GeneratorBasedBuilder):
    """Five images of different sizes with labels, and one split of images alone."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")
    name = "tiny"

    def _info(self):
        return tensorflow_datasets.core.DatasetInfo(
            builder=self,
            features=FEATURES.FeaturesDict(
                {
                    "picture": FEATURES.Image(shape=(None, None, 3), encoding_format="png"),
                    "kind": FEATURES.ClassLabel(names=["a", "b"]),
                    "number": np.int64,
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(5), "test": self._generate_examples(2)}

    def _generate_examples(self, count):
        for i in range(count):
            png = io.BytesIO()
            Image.new("RGB", (4 + i, 5), (10 * i, 0, 0)).save(png, "PNG")
            png.seek(0)
            yield i, {"picture": png, "kind": i % 2, "number": i}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    Tiny(data_dir=root, file_format="array_record").download_and_prepare()
    return root / "tiny" / "1.0.0"


@pytest.fixture
def copy(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "copy")


def record_file(folder):
    return next(folder.glob("tiny-train.array_record*"))


def test_images_and_labels_are_read(prepared):
    source = tfds(prepared, image_key="picture", label_key="kind")
    assert (len(source), source.name, source.class_names) == (5, "tiny/train", ("a", "b"))
    assert source.shape is None and source.channels == 3
    seen = {}
    for i in range(5):
        image = source[i]["image"]
        number = int(image[0, 0, 0]) // 10
        assert image.shape == (5, 4 + number, 3)
        seen[number] = source[i]["label"]
    assert seen == {i: i % 2 for i in range(5)}


def test_without_a_class_label_there_are_no_classes(prepared):
    source = tfds(prepared, "test", image_key="picture", label_key="number")
    assert source.num_classes == 0 and source[1]["label"] == 0


def test_its_options_read_every_split(prepared):
    options = SOURCES["tfds"](str(prepared), image_key="picture", label_key="kind")
    assert len(options.read("test")) == 2 and options.read().class_names == ("a", "b")
    with pytest.raises(InvalidValue, match="path: got ''"):
        SOURCES["tfds"]()


def test_the_only_data_set_below_a_folder_is_found(prepared):
    assert len(tfds(prepared.parent.parent, "test", image_key="picture")) == 2


def test_a_missing_data_set_fails_at_once(tmp_path):
    start = time.thread_time()
    with pytest.raises(InvalidValue, match="path: got .*mnist', expected a folder"):
        tfds(tmp_path / "mnist")
    with pytest.raises(InvalidValue, match="path: .*expected a data set prepared by TFDS"):
        tfds(tmp_path)
    assert time.thread_time() - start < 1


def test_without_tfds_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(
        NotInstalled, match=r"^tensorflow_datasets is not installed: pip install .*\[tfds\]"
    ):
        tfds(tmp_path)


def test_several_data_sets_are_a_question(prepared, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(prepared, tmp_path / name)
    with pytest.raises(ValueError, match="path: .* holds several data sets, expected one of"):
        tfds(tmp_path)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"split": "val"}, "split: got 'val', expected one of t"),
        ({}, "image_key: got 'image', expected an 8-bit image among .*picture"),
        ({"image_key": "kind"}, "image_key: got 'kind'"),
    ],
)
def test_unknown_names_are_refused(prepared, options, match):
    with pytest.raises(ValueError, match=match):
        tfds(prepared, **options)


def cut(folder):
    content = record_file(folder).read_bytes()
    record_file(folder).write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        lambda folder: record_file(folder).unlink(),
        lambda folder: record_file(folder).write_bytes(b""),
        lambda folder: (folder / "dataset_info.json").write_text('{"name": '),
        lambda folder: (folder / "features.json").unlink(),
    ],
)
def test_a_damaged_data_set_is_found_when_it_is_opened(copy, damage):
    damage(copy)
    with pytest.raises(ValueError, match="path: .*cannot be read"):
        tfds(copy, image_key="picture", label_key="kind")


def test_other_file_formats_are_refused(tmp_path, copy):
    info = copy / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    with pytest.raises(ValueError, match="in tfrecord, expected array_record"):
        tfds(copy, image_key="picture")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A data set of several files a split, as a builder of one's own leaves it."""
    root = tmp_path_factory.mktemp("shapes")
    builder = tfds_shapes.Shapes(data_dir=root, file_format="array_record")
    builder.download_and_prepare(
        download_config=tensorflow_datasets.download.DownloadConfig(num_shards=3)
    )
    return root


def test_a_real_set_in_several_files_is_read_back(shapes):
    """Every example of every split, with its pixels and its class, in whatever order."""
    files = sorted(path.name for path in (shapes / "shapes" / "2.1.0").glob("*train.array_record*"))
    assert len(files) == 3 and files[0].endswith("00000-of-00003")
    for split, count in tfds_shapes.COUNTS.items():
        source = tfds(shapes, split)
        assert (len(source), source.class_names) == (count, tfds_shapes.NAMES)
        found = {(source[i]["image"].tobytes(), source[i]["label"]) for i in range(count)}
        drawn = [tfds_shapes.drawn(split, i) for i in range(count)]
        assert found == {(image.tobytes(), i % 3) for i, image in enumerate(drawn)}
        assert source.class_counts().tolist() == np.bincount(np.arange(count) % 3).tolist()


def test_a_configuration_trains_on_a_real_set(shapes):
    """What main.py makes of it: images of one size, in batches, with the evaluation split."""
    changed = {
        "data.source": "tfds", "data.source.path": str(shapes), "data.num_channels": 3,
        "data.image_size": (16, 16), "data.eval_split": "validation",
        "conditions.labels.num_classes": 3, "model.attn_resolutions": (4,),
        "training.batch_size": 20, "training.microbatch": "20",
    }  # fmt: skip
    experiment = kinds.open_experiment("digits/vp_small", changed)
    experiment.check_all(1)
    images = next(experiment.loader())["image"]
    assert images.shape == (20, 16, 16, 3) and len(experiment.held_out) == 7
    assert -1 <= images.min() < images.max() <= 1
    assert experiment.said_by_data()["data.class_names"] == tfds_shapes.NAMES
