import numpy as np
import pytest

from data import SOURCES, Loader, TextLines, Transform, eval_batches
from data.source import Subset, hold_out
from data.space import Pixels
from data.text_lines import EMBEDDED, TextLine, write
from options.errors import InvalidValue


def line(text, writer, width):
    rng = np.random.default_rng(width)
    return TextLine(rng.integers(0, 256, (64, width)).astype(np.uint8), text, writer)


LINES = {
    "train": [line("ab", "eve", 20), line("b cc", "adam", 33), line("a", "eve", 7)],
    "test": [line("c a", "adam", 40)],
}


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "lines.npz", "small lines", LINES)
    return tmp_path / "lines.npz"


def test_lines_are_read_as_they_were_written(path):
    assert SOURCES["text_lines"] is TextLines
    source = TextLines(str(path)).read()
    assert source.shape == (64, 48, 1) and source.masked and not source.is_images
    assert source.class_names == ("adam", "eve") and source.each_label().tolist() == [1, 0, 1]
    assert source.name == "small lines, train" and source.remark == ""
    for k, wanted in enumerate(LINES["train"]):
        found = source.line(k)
        assert np.array_equal(found.image, wanted.image) and found[1:] == wanted[1:]
    assert TextLines(str(path)).splits() == ["train", "test"]
    assert TextLines(str(path)).read("test").line(0).text == "c a"


def test_a_record_is_padded_with_white_and_has_a_mask(path):
    source = TextLines(str(path), width=40).read()
    record = source[1]
    assert np.array_equal(record["image"][:, :33, 0], LINES["train"][1].image)
    assert (record["image"][:, 33:] == 255).all() and record["image"].dtype == np.uint8
    assert record["mask"].shape == (1, 40, 1) and record["mask"].sum() == 33
    assert record["mask"][0, :33].all() and record["writer"] == record["label"] == 0
    assert source.alphabet.decode(record["text"]) == "b cc" and record["text"].tolist()[-1] == 4
    assert source.tokens.tolist()[2] == [2, 0, 0, 0]
    taken = source.take(np.array([2, 1]))
    assert np.array_equal(taken["image"][1], record["image"])
    assert np.array_equal(taken["mask"][1], record["mask"])


def test_without_a_mask_lines_are_images_as_any_other(path):
    source = TextLines(str(path), width=40, masked=False).read()
    assert source.is_images and "mask" not in source[1]
    assert np.array_equal(source[1]["image"], TextLines(str(path), width=40).read()[1]["image"])
    half = next(Loader(source, 3, Transform(image_size=(32, 20)), shuffle=False))
    assert half["image"].shape == (3, 32, 20, 1) and (half["image"][2, :, 8:] == 1).all()


def test_longer_lines_are_left_out_and_counted(path):
    source = TextLines(str(path), width=20).read()
    assert source.texts == ["ab", "a"] and source.lengths.tolist() == [20, 7]
    assert source.remark == (
        "1 of 3 lines are longer than 20 columns or 4 characters, and left out"
    )
    assert TextLines(str(path), characters=1).read().texts == ["a"]
    with pytest.raises(InvalidValue, match=r"^width: got .* at most 5 columns .*a greater width"):
        TextLines(str(path), width=5).read()


def test_a_batch_has_states_mask_text_and_writer(path):
    source = TextLines(str(path)).read()
    transform = Transform(space=Pixels())
    batch = next(Loader(source, 3, transform, shuffle=False))
    assert batch["image"].shape == (3, 64, 48, 1) and batch["text"].shape == (3, 4)
    mask = np.broadcast_to(batch["mask"], batch["image"].shape)
    assert (batch["image"][~mask] == 0).all() and mask.sum() == 64 * (20 + 33 + 7)
    real = LINES["train"][0].image / 255
    assert np.abs(batch["image"][0, :, :20, 0] - real).max() < 1e-6
    assert batch["writer"].tolist() == [1, 0, 1]
    assert list(eval_batches(source, 2, transform))[-1]["counts"].tolist() == [True, False]


def test_characters_outside_the_alphabet_are_an_error_or_replaced(tmp_path):
    lines = LINES | {"test": [line("a~", "adam", 9)]}
    write(tmp_path / "a.npz", "some", lines)
    with pytest.raises(InvalidValue, match=r"'~' \(U\+007E\), expected characters of ' abc'"):
        TextLines(str(tmp_path / "a.npz")).read("test")
    source = TextLines(str(tmp_path / "a.npz"), replacement=" ").read("test")
    assert source.tokens.tolist() == [[2, 1, 0, 0]]


def test_parts_of_it_are_sources(path):
    source = TextLines(str(path)).read()
    assert Subset(source, np.array([2]))[0]["text"].tolist() == [2, 0, 0, 0]
    rest, held_out = hold_out(source, 0.3)
    assert len(rest) + len(held_out) == 3 and held_out.masked
    others = [TextLines(str(path), **o).read() for o in ({"width": 80}, {"characters": 7})]
    assert len({s.checksum() for s in (source, *others)}) == 3


def test_a_file_of_one_split_is_all_there_is(tmp_path):
    write(tmp_path / "mine.npz", "mine", {"train": LINES["train"]})
    source = TextLines(str(tmp_path / "mine.npz")).read("test")
    assert source.unsplit and len(source) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_pixels": None}, "train_pixels: got nothing"),
        ({"train_pixels": np.zeros((60, 32), np.uint8)}, r"train_pixels: got uint8 \(60, 32\)"),
        ({"train_pixels": np.zeros((60, 64), np.uint16)}, "got uint16, expected uint8"),
        ({"train_lengths": np.array([20, 33, 8])}, r"train_pixels: got uint8 \(60, 64\)"),
        ({"train_lengths": np.array([20, 40, 0])}, "train_lengths: got a line of 0 rows"),
        ({"train_texts": np.array(["a", "b"])}, r"train_texts: got <U1 \(2,\)"),
        ({"train_writers": np.array([0, 3, 1])}, "numbers of the 2 writers"),
        ({"about": None}, "about: got nothing"),
    ],
)
def test_a_file_that_lies_is_refused(path, change, message):
    arrays = dict(np.load(path)) | change
    other = path.with_name("other.npz")
    np.savez_compressed(other, **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(InvalidValue, match=rf"^path: .*{message}"):
        TextLines(str(other)).read()


def test_a_missing_or_damaged_file_is_refused(path):
    half = path.with_name("half.npz")
    half.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InvalidValue, match="^path: .*an .npz file of images of lines"):
        TextLines(str(half)).read()
    with pytest.raises(InvalidValue, match="^path: got '/nowhere.npz'"):
        TextLines("/nowhere.npz").read()
    with pytest.raises(InvalidValue, match=r"^split: got 'val', expected one of \['test', 'tra"):
        TextLines(str(path)).read("val")


@pytest.mark.parametrize("shape", [(32, 8), (64, 0), (64, 8, 1)])
def test_what_is_no_line_is_not_written(tmp_path, shape):
    bad = TextLine(np.zeros(shape, np.uint8), "a", "eve")
    with pytest.raises(InvalidValue, match=r"train: got uint8 .* expected uint8 \(64, width\)"):
        write(tmp_path / "a.npz", "some", {"train": [bad]})
    with pytest.raises(InvalidValue, match="train: got no line"):
        write(tmp_path / "a.npz", "some", {"train": []})
    assert not (tmp_path / "a.npz").exists()


def test_the_embedded_lines_are_what_the_readme_says():
    train, test, new = (TextLines().read(split) for split in ("train", "test", "new_writers"))
    assert (len(train), len(test), len(new)) == (720, 180, 180)
    assert (
        EMBEDDED.stat().st_size < 4e6 and train.name == "images of lines derived from fonts, train"
    )
    assert train.alphabet.characters == "".join(map(chr, range(32, 127)))
    writers = [np.bincount(source.writers, minlength=102) for source in (train, test, new)]
    assert sorted(set(writers[0])) == [0, 8] and sorted(set(writers[1])) == [0, 2]
    assert ((writers[0] > 0) == (writers[1] > 0)).all()
    assert ((writers[0] > 0) != (writers[2] > 0)).all() and (writers[2] > 0).sum() == 12
    fonts = [{train.class_names[w].split("/")[0] for w in np.flatnonzero(k)} for k in writers]
    assert len(fonts[0] | fonts[2]) == 51 and not fonts[0] & fonts[2]
    texts = [set(source.texts) for source in (train, test, new)]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
    assert max(source.lengths.max() for source in (train, test, new)) == 1041
