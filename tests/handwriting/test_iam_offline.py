"""The files here are the IAM Handwriting Database in small: its names and formats, other ink."""

import numpy as np
import pytest
from PIL import Image

from handwriting.iam_offline import KINDS, parsed, read_iam_offline
from options.errors import InvalidValue

LINES = """#--- lines.txt ------------------------------------------------------------#
#
# format: a01-000u-00 ok 154 19 408 746 1663 91 A|MOVE|to|stop|Mr.|Gaitskell|from
#
a01-000u-00 ok 154 2 10 20 160 32 A|MOVE|to|stop
a01-000u-01 err 156 3 10 60 80 16 Mr.|12|"a"|.
a01-000x-00 ok 182 1 0 0 64 64 By|Trevor|1961
b02-100-00 ok 160 1 5 5 40 20 Labour|& Co.
"""
WORDS = """#--- words.txt ------------------------------------------------------------#
a01-000u-00-00 ok 154 10 20 20 32 AT A
a01-000u-00-01 ok 154 1 40 20 40 32 NN MOVE
a01-000u-01-00 err 156 10 60 20 16 NPT Mr.
a01-000u-01-01 ok 156 40 60 20 16 CD 12
a01-117-05-02 ok 156 40 60 20 16 NP Powell
a01-000x-00-00 ok 182 -1 -1 -1 -1 NN By
b02-100-00-00 ok 160 5 5 40 20 NP B B C
"""
FORMS = """#--- forms.txt ------------------------------------------------------------#
# a01-000u 000 2 prt 7 5 52 36
a01-000u 000 2 prt 2 2 4 3
a01-000x 001 2 prt 1 1 3 3
a01-117 000 2 prt 1 1 3 3
b02-100 002 2 prt 1 1 2 2
"""


def image(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)


def put(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path):
    ascii_ = tmp_path / "ascii"
    ascii_.mkdir()
    for name, text in (("lines", LINES), ("words", WORDS), ("forms", FORMS)):
        (ascii_ / f"{name}.txt").write_text(text, encoding="latin-1")
    lines, words = tmp_path / "lines", tmp_path / "words"
    put(lines / "a01/a01-000u/a01-000u-00.png", image(160, 32))
    put(lines / "a01/a01-000u/a01-000u-01.png", image(80, 16))
    put(lines / "a01/a01-000x/a01-000x-00.png", image(70, 64, 3))
    put(tmp_path / "formsA-D/b02-100.png", image(100, 50, 4))
    put(words / "a01/a01-000u/a01-000u-00-00.png", image(20, 32))
    put(words / "a01/a01-000u/a01-000u-00-01.png", image(40, 32))
    put(words / "a01/a01-000u/a01-000u-01-00.png", image(20, 16))
    put(words / "a01/a01-000u/a01-000u-01-01.png", image(20, 16))
    (words / "a01/a01-117").mkdir()
    (words / "a01/a01-117/a01-117-05-02.png").write_bytes(b"")
    return tmp_path


def task(root, **files):
    folder = root / "largeWriterIndependentTextLineRecognitionTask"
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)


def test_lines_have_text_writer_and_the_height_of_lines(root):
    found = read_iam_offline(root)
    lines = found.splits["train"]
    assert [line.text for line in lines] == [
        "A MOVE to stop", 'Mr. 12 "a" .', "By Trevor 1961", "Labour & Co.",
    ]  # fmt: skip
    assert [line.writer for line in lines] == ["000", "000", "001", "002"]
    assert [line.image.shape for line in lines] == [(64, 320), (64, 320), (64, 70), (64, 128)]
    assert np.array_equal(lines[2].image, image(70, 64, 3)) and found.left_out == {}


def test_a_line_without_its_image_is_cut_out_of_its_form(root):
    cut = image(100, 50, 4)[5:25, 5:45]
    wanted = np.asarray(Image.fromarray(cut).resize((128, 64), Image.Resampling.BICUBIC))
    assert np.array_equal(read_iam_offline(root).splits["train"][3].image, wanted)


def test_damaged_missing_and_badly_segmented_words_are_counted_by_name(root):
    found = read_iam_offline(root, "words")
    assert [line.text for line in found.splits["train"]] == ["A", "MOVE", "12", "B B C"]
    assert found.left_out == {
        "marked as badly segmented": ["a01-000u-01-00"],
        "image: empty file": ["a01-117-05-02"],
        "image: got none, expected a01-000x-00-00.png or a01-000x.png": ["a01-000x-00-00"],
    }
    assert "4 lines read, 3 left out" in str(found) and "(1): a01-117-05-02" in str(found)


def test_the_lists_of_the_task_are_the_splits(root):
    task(
        root,
        trainset="a01-000u-00\na01-000u-01\n",
        validationset1="a01-000x-00\n",
        testset=" b02-100-00 \n",
    )
    found = read_iam_offline(root)
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 2, "validation": 1, "test": 1}
    assert found.left_out == {"missing file of a split": ["validationset2.txt"]}
    words = read_iam_offline(root, "words")
    assert [w.text for w in words.splits["test"]] == ["B B C"] and len(words.splits["train"]) == 3
    assert words.left_out["line of no split"] == ["a01-117-05-02"]


def test_a_box_outside_of_the_form_is_counted(root):
    text = LINES.replace("160 1 5 5 40 20", "160 1 5 5 400 20")
    (root / "ascii/lines.txt").write_text(text)
    reason = "box: got (5, 5, 400, 20), expected inside of the 100 x 50 of b02-100"
    assert read_iam_offline(root).left_out == {reason: ["b02-100-00"]}


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("lines", "a01-000u-00 ok 154 19 408 746 1663", "numbers: got"),
        ("lines", "a01-000u-00 ok 154 19 408 746 1663 91", "transcription: got"),
        ("lines", "a01-000u-00 ok 154 19 408 746 1663 91 |", "transcription: got"),
        ("lines", "a01-000u-00 good 154 19 408 746 1663 91 A", "segmentation: got"),
        ("lines", "a01-000u 000 2 prt 7 5 52 36", "name: got 'a01-000u'"),
        ("words", "a01-000u-00-00 ok 154 408 768 27 AT A", "numbers: got"),
        ("words", "a01-000u-00-00 ok 154 408 768 27 51 AT", "transcription: got"),
    ],
)
def test_a_row_that_is_none_is_refused(kind, row, message):
    with pytest.raises(InvalidValue, match=message):
        parsed(row, KINDS[kind])


def test_rows_of_the_documentation_are_read():
    text = "a01-000u-00 ok 154 19 408 746 1663 91 A|MOVE|to|stop|Mr.|Gaitskell|from"
    line = parsed(text, KINDS["lines"])
    assert line.box == (408, 746, 1663, 91) and line.text == "A MOVE to stop Mr. Gaitskell from"
    number = parsed("a01-000u-00 er 154 19 408 746 1663 91 12 34", KINDS["lines"])
    assert number.text == "12 34" and not number.well_segmented
    for components in ("", "1 "):
        word = parsed(f"a01-000u-00-00 ok 154 {components}408 768 27 51 AT A", KINDS["words"])
        assert word.box == (408, 768, 27, 51) and word.text == "A"


def test_a_folder_without_the_lists_is_refused(root):
    (root / "ascii/forms.txt").unlink()
    with pytest.raises(InvalidValue, match=r"^path: got .* without forms.txt"):
        read_iam_offline(root)
    with pytest.raises(InvalidValue, match="^path: got"):
        read_iam_offline(root / "nothing")
    with pytest.raises(InvalidValue, match="^kind: got 'pages'"):
        read_iam_offline(root, "pages")
