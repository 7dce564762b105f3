import numpy as np
import pytest

from data import SOURCES, Loader, Strokes, StrokeSpace, Transform, eval_batches
from data.source import Subset, hold_out
from data.strokes import EMBEDDED, Line, write
from experiment import kinds
from options.errors import InvalidValue

RNG = np.random.default_rng(0)


def line(text, writer, points):
    offsets = np.cumsum(RNG.normal(size=(points, 2)), axis=0)
    pen = (np.arange(points) % 5 == 0).astype(float)
    return Line(np.column_stack([offsets, pen]), text, writer)


LINES = {
    "train": [line("ab c", "eve", 5), line("cab", "adam", 17), line("b", "eve", 1)],
    "test": [line("bac", "seth", 12)],
}


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "mine.npz", "lines of mine", LINES, 1e-3)
    return tmp_path / "mine.npz"


def test_lines_survive_the_file(path):
    for split, lines in LINES.items():
        source = Strokes(str(path)).read(split)
        assert (source.name, source.shape, len(source)) == (
            f"lines of mine, {split}", (24, 3), len(lines)
        )  # fmt: skip
        for number, given in enumerate(lines):
            found = source.line(number)
            assert found[1:] == given[1:] and len(found.offsets) == len(given.offsets)
            # Points, and not only offsets, are right to half a unit.
            error = np.cumsum(found.offsets[:, :2] - given.offsets[:, :2], axis=0)
            assert np.abs(error).max() < 0.51e-3
            assert np.array_equal(found.offsets[:, 2], given.offsets[:, 2])


def test_records_are_padded_and_say_what_is_real(path):
    source = Strokes(str(path), length=20, characters=6).read()
    record = source[0]
    assert record["image"].dtype == np.float32 and record["image"].shape == (20, 3)
    assert (
        record["mask"].shape == (20, 1)
        and record["mask"][:, 0].tolist() == [True] * 5 + [False] * 15
    )
    assert not record["image"][5:].any()
    assert record["text"].tolist() == [2, 3, 1, 4, 0, 0] and source.alphabet.characters == " abc"
    assert (
        source.class_names == ("adam", "eve", "seth") and record["writer"] == record["label"] == 1
    )
    assert source.each_label().tolist() == [1, 0, 1] and source.class_counts().tolist() == [1, 2, 0]
    taken = source.take(np.array([2, 0]))
    assert np.array_equal(taken["image"][1], record["image"]) and taken["writer"].tolist() == [1, 1]


def test_a_batch_has_states_mask_text_and_writer(path):
    source = Strokes(str(path)).read()
    space = StrokeSpace(source.std)
    batch = next(Loader(source, 3, Transform(space=space), shuffle=False))
    rows = np.concatenate([line.offsets for line in LINES["train"]])
    assert source.std == pytest.approx(rows[:, :2].std(), rel=1e-3)
    states = batch["image"][batch["mask"][..., 0]]
    assert states[:, :2].std() == pytest.approx(1, rel=1e-3)
    assert np.array_equal(states[:, 2], rows[:, 2].astype(np.float32))
    assert batch["text"].dtype == batch["writer"].dtype == np.int32
    assert batch["writer"].tolist() == [1, 0, 1] and batch["text"].shape == (3, 4)
    last = list(eval_batches(source, 2, Transform(space=space)))[-1]
    assert last["counts"].tolist() == [True, False] and last["text"][0].tolist() == [3, 0, 0, 0]


def test_parts_of_it_are_sources(path):
    source = Strokes(str(path)).read()
    assert Subset(source, np.array([1]))[0]["text"].tolist() == [4, 2, 3, 0]
    rest, held_out = hold_out(source, 0.3)
    assert len(rest) + len(held_out) == 3 and held_out.masked
    others = [Strokes(str(path), **o).read() for o in ({"characters": 7}, {"length": 40})]
    assert len({s.checksum() for s in (source, *others)}) == 3


def test_a_checksum_knows_texts_and_writers(tmp_path):
    sums = set()
    given = LINES["train"]
    for number, lines in enumerate(
        (
            given,
            [given[0]._replace(text="ab b"), *given[1:]],
            [given[0]._replace(writer="adam"), *given[1:]],
        )
    ):
        write(tmp_path / f"{number}.npz", "some", {"train": lines}, 1e-3)
        sums.add(Strokes(str(tmp_path / f"{number}.npz")).read().checksum())
    assert len(sums) == 3


def test_longer_lines_are_left_out_and_counted(path):
    source = Strokes(str(path), length=8).read()
    assert len(source) == 2 and source.texts == ["ab c", "b"] and source.shape == (8, 3)
    assert "1 of 3 lines are longer than 8 points or 4 characters" in source.remark
    assert source.std == pytest.approx(
        np.concatenate([LINES["train"][k].offsets[:, :2] for k in (0, 2)]).std(), rel=1e-3
    )
    assert np.allclose(source[1]["image"][0], LINES["train"][2].offsets[0], atol=1e-3)
    with pytest.raises(InvalidValue, match="length: got lines of mine, test, of which no line"):
        Strokes(str(path), length=8).read("test")


def test_the_alphabet_is_that_of_the_training_texts(tmp_path):
    lines = {"train": LINES["train"], "test": [line("b~", "eve", 3)]}
    write(tmp_path / "mine.npz", "some", lines, 1e-3)
    with pytest.raises(
        InvalidValue, match=r"text: got '~' \(U\+007E\), expected characters of ' abc'"
    ):
        Strokes(str(tmp_path / "mine.npz")).read("test")
    source = Strokes(str(tmp_path / "mine.npz"), replacement=" ").read("test")
    assert source.alphabet.decode(source[0]["text"]) == "b "


def test_a_file_of_one_split_is_all_there_is(tmp_path):
    write(tmp_path / "mine.npz", "mine", {"train": LINES["train"]}, 1e-3)
    source = Strokes(str(tmp_path / "mine.npz")).read("test")
    assert source.unsplit and len(source) == 3
    assert not Strokes().read("test").unsplit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": None}, "unit: got nothing"),
        ({"unit": np.float64(0)}, "unit: got 0.0, expected a positive"),
        ({"unit": np.float64(np.nan)}, "unit: got nan"),
        ({"about": np.array(3)}, r"about: got int64 \(\)"),
        ({"train_pen": None}, "train_pen: got nothing"),
        (
            {"train_lengths": np.array([5, 17, 2])},
            r"train_offsets: got int16 \(23, 2\), expected \(24",
        ),
        ({"train_lengths": np.array([5, 18, 0])}, "train_lengths: got a line of 0 rows"),
        ({"train_lengths": np.array([2**62, 2**62, 23])}, r"train_offsets: got int16 \(23, 2\)"),
        ({"train_lengths": np.array([5.0, 17, 1])}, r"train_lengths: got float64"),
        ({"train_offsets": np.zeros((23, 3), np.int16)}, r"train_offsets: got int16 \(23, 3\)"),
        ({"train_pen": np.full(23, 2, np.uint8)}, "train_pen: got 2, expected 0 or 1"),
        ({"train_texts": np.array(["a", "b"])}, r"train_texts: got <U1 \(2,\)"),
        ({"train_texts": np.array([{}, {}, {}])}, "expected an .npz file of strokes"),
        (
            {"train_writers": np.array([0, 3, 1])},
            "train_writers: got 0 to 3, expected numbers of the 3",
        ),
        ({"train_writers": np.array([0, -1, 1])}, "train_writers: got -1 to 1"),
    ],
)
def test_a_file_that_lies_is_refused_in_one_line(path, change, message):
    arrays = dict(np.load(path)) | change
    other = path.with_name("other.npz")
    np.savez_compressed(other, **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(InvalidValue, match=rf"^path: .*{message}") as refused:
        Strokes(str(other)).read()
    assert "\n" not in str(refused.value)


def test_a_damaged_or_missing_file_is_refused(path):
    whole = path.read_bytes()
    for number, data in enumerate((whole[: len(whole) // 2], b"", b"nothing")):
        other = path.with_name(f"{number}.npz")
        other.write_bytes(data)
        with pytest.raises(InvalidValue, match="^path: got .*expected an .npz file of strokes"):
            Strokes(str(other)).read()
    with pytest.raises(InvalidValue, match="^path: got '/nowhere.npz'"):
        Strokes("/nowhere.npz").read()
    with pytest.raises(
        InvalidValue, match=r"^split: got 'val', expected one of \['test', 'train'\]"
    ):
        Strokes(str(path)).read("val")


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="train: got no line"):
        write(tmp_path / "a.npz", "none", {"train": []}, 1.0)
    far = Line(np.array([[0, 0, 1.0], [40.0, 0, 0]]), "a", "b")
    with pytest.raises(InvalidValue, match="train: got .*40.* expected offsets up to 32.768"):
        write(tmp_path / "a.npz", "far", {"train": [far]}, 1e-3)
    assert not list(tmp_path.iterdir())


def test_the_embedded_lines_are_what_the_readme_says():
    train, test, new = (Strokes().read(split) for split in ("train", "test", "new_writers"))
    assert (len(train), len(test), len(new)) == (2000, 200, 200)
    assert EMBEDDED.stat().st_size < 1.5e6 and train.name == "strokes derived from fonts, train"
    assert train.alphabet.characters == "".join(map(chr, range(32, 127)))
    assert train.shape == test.shape == new.shape and train.shape[0] % 8 == 0
    writers = [set(source.writers.tolist()) for source in (train, test, new)]
    assert len(writers[0]) >= 25 and writers[1] <= writers[0] and not writers[2] & writers[0]
    fonts = [{train.class_names[w].split("/")[0] for w in some} for some in writers]
    assert not fonts[2] & fonts[0]
    texts = [text for source in (train, test, new) for text in source.texts]
    assert len(set(texts)) == len(texts) == 2400
    rows = train.take(np.arange(200))
    assert 0.3 < train.std < 0.5
    assert (rows["image"][:, 0] == [0, 0, 1]).all()
    share_up = rows["image"][..., 2].sum() / rows["mask"].sum()
    assert 0.05 < share_up < 0.4


def test_a_configuration_names_its_fields(path):
    data = {
        "source": {"name": "strokes", "path": str(path)},
        "space": {"name": "strokes", "std": 1.5},
    }
    data |= {"num_channels": 3, "image_size": ()}

    def opened(**changes):
        return kinds.experiment(kinds.complete({"data": data | changes}))

    experiment = opened()
    assert experiment.space == StrokeSpace(1.5) and experiment.train_source.shape == (24, 3)
    assert experiment.held_out.texts == ["bac"]
    with pytest.raises(InvalidValue, match="^data.source.length: got -1, expected 0 or more"):
        opened(source=data["source"] | {"length": -1})
    with pytest.raises(InvalidValue, match="^data.*space: got Pixels.*expected Scaled"):
        opened(space={"name": "pixels"}).train_source  # noqa: B018
    assert SOURCES["strokes"] is Strokes
