import json
import logging
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import data.folder_scan
from data import Folder, Loader, Scaled, Transform, folder
from experiment import kinds
from options.errors import InvalidValue


def write(path, value, size=(6, 4), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "pictures"
    write(root / "dog" / "b.png", (10, 0, 0))
    write(root / "cat" / "z.png", (20, 0, 0))
    write(root / "cat" / "deep" / "er" / "a.bmp", (30, 0, 0))
    write(root / "cat" / ".hidden.png", (40, 0, 0))
    write(root / ".git" / "x.png", (50, 0, 0))
    return root


def test_the_folders_directly_below_are_the_classes(pictures):
    source = folder(pictures)
    assert source.class_names == ("cat", "dog") and source.num_classes == 2
    assert source.files == ("cat/deep/er/a.bmp", "cat/z.png", "dog/b.png")
    assert source.labels.tolist() == [0, 0, 1]
    assert [int(source[i]["image"][0, 0, 0]) for i in range(3)] == [30, 20, 10]
    assert source.shape == (4, 6, 3) and source.name == "pictures"


def test_links_are_followed_but_not_in_circles_and_pipes_not_waited_for(pictures, tmp_path):
    write(tmp_path / "elsewhere" / "c.png", (60, 0, 0))
    (pictures / "owl").symlink_to(tmp_path / "elsewhere")
    (pictures / "cat" / "all").symlink_to(pictures)
    (pictures / "dog" / "same").symlink_to(".")
    os.mkfifo(pictures / "dog" / "pipe.png")
    source = folder(pictures)
    assert source.files == ("cat/deep/er/a.bmp", "cat/z.png", "dog/b.png", "owl/c.png")
    assert source.report.left_out == {"not a file": ["dog/pipe.png"]}


def test_a_folder_without_sub_folders_has_no_classes(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.png", i, mode="L")
    source = folder(tmp_path, channels=1)
    assert (source.num_classes, source.shape) == (0, (4, 6, 1))
    assert [source[i]["label"] for i in range(3)] == [0, 0, 0]


def test_images_of_different_sizes_have_no_common_shape(pictures):
    write(pictures / "dog" / "c.png", (60, 0, 0), size=(9, 9))
    source = folder(pictures)
    assert source.shape is None
    with pytest.raises(ValueError, match="image_size: got None"):
        Loader(source, 2)
    batch = next(Loader(source, 4, Transform(image_size=5)))
    assert batch["image"].shape == (4, 5, 5, 3)


def test_one_report_counts_and_names_what_was_converted_or_left_out(pictures, caplog):
    write(pictures / "dog" / "grey alpha.png", (0, 255), mode="LA")
    (pictures / "dog" / "notes.txt").write_text("not a picture")
    (pictures / "dog" / "more.txt").write_text("not a picture")
    noise = np.random.default_rng(0).integers(0, 256, (50, 50), np.uint8)
    Image.fromarray(noise).save(pictures / "cat" / "cut.png")
    os.truncate(pictures / "cat" / "cut.png", 1200)
    write(pictures / "loose.png", (0, 0, 0))
    (pictures / "cat" / "gone.png").symlink_to("nowhere.png")

    with caplog.at_level(logging.WARNING):
        source = folder(pictures)
    report = source.report
    assert (report.images, len(source)) == (4, 4)
    assert report.converted == {"laid over white": ["dog/grey alpha.png"]}
    assert report.left_out["not an image"] == ["dog/more.txt", "dog/notes.txt"]
    assert report.left_out["lies beside the class folders"] == ["loose.png"]
    assert sum(len(names) for names in report.left_out.values()) == 5
    assert len(caplog.records) == 1
    text = caplog.text
    for name in ("cut.png", "gone.png", "loose.png", "notes.txt", "grey alpha.png"):
        assert name in text
    assert "4 images, 5 files left out" in text
    assert len(list(Loader(source, 4, Transform(image_size=4)).batch_at(0)["label"])) == 4


def test_a_long_list_of_names_is_cut_in_the_text_only(pictures):
    for i in range(30):
        (pictures / "dog" / f"note{i:02}.txt").write_text("not a picture")
    report = folder(pictures).report
    assert "(30): dog/note00.txt" in str(report) and "and 20 more" in str(report)
    assert len(report.left_out["not an image"]) == 30


def test_a_clean_folder_has_nothing_to_report(pictures, caplog):
    folder(pictures)
    assert not caplog.records


def test_the_cache_saves_decoding_and_notices_changes(pictures, tmp_path, monkeypatch):
    (pictures / "dog" / "notes.txt").write_text("not a picture")
    cache = tmp_path / "run" / "images.json"
    decoded = []
    outcome = data.folder_scan.outcome_of
    monkeypatch.setattr(
        data.folder_scan,
        "outcome_of",
        lambda path, numbers, size: decoded.append(path.name) or outcome(path, numbers),
    )
    first = folder(pictures, cache=cache)
    assert sorted(decoded) == ["a.bmp", "b.png", "notes.txt", "z.png"]
    decoded.clear()
    again = folder(pictures, cache=cache)
    assert not decoded
    assert again.report == first.report and again.files == first.files

    write(pictures / "dog" / "b.png", (11, 0, 0), size=(30, 30))
    write(pictures / "dog" / "new.png", (12, 0, 0))
    (pictures / "cat" / "z.png").unlink()
    changed = folder(pictures, cache=cache)
    assert sorted(decoded) == ["b.png", "new.png"]
    assert changed.files == ("cat/deep/er/a.bmp", "dog/b.png", "dog/new.png")
    assert changed.shape is None


def test_a_damaged_cache_is_made_anew(pictures, tmp_path):
    cache = tmp_path / "images.json"
    cache.write_text('{"dog/b.png": ')
    assert len(folder(pictures, cache=cache)) == 3
    crc, content = json.loads(cache.read_text())
    assert len(content) == 3
    content["cat/z.png"][1] += 1  # another height
    cache.write_text(json.dumps([crc, content]))
    assert folder(pictures, cache=cache).shape == (4, 6, 3)


def test_a_file_that_breaks_later_is_named(pictures):
    source = folder(pictures)
    (pictures / "dog" / "b.png").write_bytes(b"")
    loader = Loader(source, 3, shuffle=False)
    with pytest.raises(
        OSError, match=r"dog/b\.png: got empty file, expected a readable image, as it was when"
    ):
        next(loader)


def test_a_path_that_gives_no_images_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="path: got .*absent', expected a folder"):
        folder(tmp_path / "absent")
    with pytest.raises(
        ValueError, match="path: got no readable image; .*0 images, 0 files left out"
    ):
        folder(tmp_path)
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(ValueError, match="not an image.*notes.txt"):
        folder(tmp_path)
    with pytest.raises(InvalidValue, match="path"):
        folder(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match="channels: got 2, expected 0, 1 or 3"):
        folder(tmp_path, channels=2)


def test_grey_and_colour_are_brought_to_the_channels_asked_for(tmp_path):
    write(tmp_path / "a.png", 70, mode="L")
    write(tmp_path / "b.png", (255, 0, 0))
    grey, colour = folder(tmp_path, channels=1), folder(tmp_path)
    assert grey.take(np.array([0, 1]))["image"][1][0, 0].tolist() == [76]
    assert colour[0]["image"][0, 0].tolist() == [70, 70, 70]
    assert (grey.shape, colour.shape) == ((4, 6, 1), (4, 6, 3))


def test_a_grey_folder_has_one_channel(tmp_path):
    write(tmp_path / "a.png", 70, mode="L")
    assert folder(tmp_path).shape == (4, 6, 1)
    write(tmp_path / "b.png", 3, size=(9, 9), mode="1")
    source = folder(tmp_path)
    assert (source.shape, source.channels) == (None, 1)


def test_classes_called_by_numbers_are_in_their_order(tmp_path):
    for number in range(12):
        write(tmp_path / str(number) / "a.png", (number, 0, 0))
    source = folder(tmp_path)
    assert source.class_names == tuple(map(str, range(12)))
    assert source[source.files.index("10/a.png")]["label"] == 10


def test_a_class_folder_without_images_is_named(pictures, caplog):
    (pictures / "owl").mkdir()
    source = folder(pictures)
    assert source.class_names == ("cat", "dog")
    assert "class folder without a readable image (1): owl" in caplog.text
    config = {"source": {"name": "folder", "path": str(pictures)}, "image_size": 4}
    labels = {"labels": {"num_classes": 3}}
    config = {"data": config | {"num_channels": 3}, "conditions": labels}
    made = kinds.experiment(kinds.complete(config))
    with pytest.raises(InvalidValue, match="num_classes: got 3, .* has 2 classes; class .* owl$"):
        made.train_source  # noqa: B018


def test_more_images_beside_the_class_folders_than_in_them_are_refused(tmp_path):
    for number in range(3):
        write(tmp_path / f"{number}.png", (number, 0, 0))
    write(tmp_path / "thumbs" / "0.png", (0, 0, 0))
    with pytest.raises(InvalidValue, match=r"path: got 3 images in .* beside 1 in \['thumbs'\]"):
        folder(tmp_path)
    whole = folder(tmp_path, classes=False)
    assert len(whole) == 4 and whole.class_names == () and not whole.labels.any()
    assert len(Folder(str(tmp_path), classes=False).read()) == 4


def split_folder(root, **classes):
    for split, names in classes.items():
        for level, name in enumerate(names):
            write(root / split / name / "a.png", (level, 0, 0))
    return Folder(str(root))


def test_both_splits_make_a_split_folder(tmp_path):
    options = split_folder(tmp_path / "set", train="abc", test="ac")
    train, test = options.read("train"), options.read("test")
    assert (train.name, test.name) == ("set/train", "set/test")
    assert train.class_names == test.class_names == ("a", "b", "c")
    assert train.labels.tolist() == [0, 1, 2] and test.labels.tolist() == [0, 2]
    with pytest.raises(InvalidValue, match="split: got 'val', expected one of .'test', 'train'"):
        options.read("val")


def test_a_class_that_training_lacks_is_refused_by_name(tmp_path):
    options = split_folder(tmp_path / "set", train="ab", test="abc")
    for split in ("train", "test"):
        with pytest.raises(InvalidValue, match="path: got .*test/c, but .*train has no class 'c'"):
            options.read(split)
    flat = split_folder(tmp_path / "flat", train="ab")
    write(tmp_path / "flat" / "test" / "a.png", (0, 0, 0))
    with pytest.raises(InvalidValue, match="test without class folders, but .*train has some"):
        flat.read("test")


def test_all_splits_have_the_channels_of_the_whole(tmp_path):
    options = split_folder(tmp_path / "set", train="ab", test="a")
    write(tmp_path / "set" / "test" / "a" / "a.png", 70, mode="L")
    assert options.read("test").shape == options.read("train").shape == (4, 6, 3)


def test_a_class_may_be_called_train(tmp_path):
    for name in ("car", "plane", "train"):
        write(tmp_path / name / "a.png", (0, 0, 0))
    assert Folder(str(tmp_path)).read("train").class_names == ("car", "plane", "train")
    assert len(Folder(str(tmp_path)).read("test")) == 3


def test_one_split_alone_is_a_split(tmp_path):
    options = split_folder(tmp_path / "set", train="ab")
    assert options.read("train").class_names == ("a", "b")
    with pytest.raises(InvalidValue, match="split: got 'test'"):
        options.read("test")
    named = split_folder(tmp_path / "other", training="ab", held="a")
    assert len(named.read("held")) == 3  # names that nobody said are splits are classes
    named = Folder(named.path, splits=("training", "held"))
    assert len(named.read("held")) == 1


def test_sixteen_bit_files_of_few_values_are_refused(tmp_path):
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for name, values in (("a", ramp), ("b", ramp // 2)):
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    with pytest.raises(InvalidValue, match="none exceeds 4095 of 65535"):
        folder(tmp_path)
    exact = folder(tmp_path, numbers=True)
    assert exact.dtype == np.float32 and exact.shape == (64, 64, 1)
    assert np.array_equal(exact[0]["image"][..., 0], ramp)
    x = next(Loader(exact, 2, Transform(space=Scaled((0.0,), (4095.0,))), shuffle=False))["image"]
    assert len(np.unique(x[0])) == 4096 and x.max() == 1
    Image.fromarray(ramp * 16).save(
        tmp_path / "c.png"
    )  # beside a bright one they are what they say
    assert len(folder(tmp_path)) == 3


def sixteen_bit_colours(path, levels):
    """A PNG of 16-bit RGB, which Pillow does not write."""
    height, width = levels.shape
    rows = b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in parts:
        content += struct.pack(">I", len(body)) + kind + body
        content += struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(content)


@pytest.mark.parametrize("colours", [False, True], ids=["grey", "RGB"])
@pytest.mark.parametrize(
    ("largest", "outcome"),
    [(4095, "refused"), (16383, "refused"), (32767, "said"), (65535, "")],
)
def test_lost_levels_of_sixteen_bits_are_refused_or_said(
    largest, outcome, colours, tmp_path, caplog
):
    levels = np.linspace(0, largest, 64).astype(np.uint16).reshape(8, 8)
    if colours:
        sixteen_bit_colours(tmp_path / "a.png", levels)
    else:
        Image.fromarray(levels).save(tmp_path / "a.png")
    if outcome == "refused":
        with pytest.raises(InvalidValue, match="16-bit values of which none exceeds"):
            folder(tmp_path)
        return
    if colours:
        with pytest.raises(InvalidValue, match="16-bit colours or alpha"):
            folder(tmp_path, numbers=True)
    assert folder(tmp_path).files == ("a.png",)
    assert ("become 128 levels of 256" in caplog.text) == (outcome == "said")


def test_images_beside_splits_are_said_or_refused(tmp_path, caplog):
    options = split_folder(tmp_path / "set", train="ab", test="a", valid="b")
    assert len(options.read("train")) == 2 and not caplog.text
    (tmp_path / "set" / "notes.txt").write_text("of no image")
    write(tmp_path / "set" / "car" / "a.png", (0, 0, 0))
    write(tmp_path / "set" / "b.png", (0, 0, 0))
    source = options.read("train")
    assert len(source) == 2 and "2 images in" in source.remark
    assert "beside its splits: b.png, car; they are left out" in caplog.text
    for i in range(3):
        write(tmp_path / "set" / f"{i}.png", (0, 0, 0))
    with pytest.raises(InvalidValue, match="5 images in .* beside its splits: 0.png, 1.png, 2.png"):
        options.read("test")


def test_a_checksum_follows_the_files(pictures):
    first = folder(pictures).checksum()
    assert folder(pictures).checksum() == first
    os.utime(pictures / "dog" / "b.png", (0, 0))
    second = folder(pictures).checksum()
    (pictures / "dog" / "b.png").rename(pictures / "cat" / "b.png")
    assert len({first, second, folder(pictures).checksum()}) == 3


def test_options_without_a_path_are_refused():
    with pytest.raises(InvalidValue, match="path: got '', expected a folder of images"):
        Folder()
    with pytest.raises(InvalidValue, match="channels: got 4"):
        Folder("x", channels=4)
