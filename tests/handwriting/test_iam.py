"""The files here are IAM-OnDB in small: the same names, folders and formats, other strokes."""

import numpy as np
import pytest

from handwriting.iam import read_iam
from handwriting.preprocessing import PRESETS
from options.errors import InvalidValue

HEAD = '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
BOARD = """  <WhiteboardDescription>
    <SensorLocation corner="top_left"/>
    <DiagonallyOppositeCoords x="6512" y="1376"/>
    <VerticallyOppositeCoords x="966" y="1376"/>
    <HorizontallyOppositeCoords x="6512" y="787"/>
  </WhiteboardDescription>
"""


def stroke_set(strokes) -> str:
    found = ["  <StrokeSet>\n"]
    for stroke in strokes:
        found.append('    <Stroke colour="black" start_time="769.05" end_time="769.64">\n')
        found += [f'      <Point x="{x}" y="{y}" time="769.05"/>\n' for x, y in stroke]
        found.append("    </Stroke>\n")
    return "".join([*found, "  </StrokeSet>\n"])


def line_xml(strokes) -> str:
    inside = f"{BOARD}{stroke_set(strokes)}"
    return f"{HEAD}<WhiteboardCaptureSession>\n{inside}</WhiteboardCaptureSession>\n"


def original_xml(writer, texts) -> str:
    lines = "".join(f'    <TextLine id="{k}" text="{text}"/>\n' for k, text in enumerate(texts))
    return (
        f'{HEAD}<WhiteboardCaptureSession>\n  <General>\n    <Form id="1" writerID="{writer}"/>\n'
        f"  </General>\n  <Transcription>\n    <Text>{'&#10;'.join(texts)}</Text>\n{lines}"
        f"  </Transcription>\n{BOARD}{stroke_set([[(1, 2)]])}</WhiteboardCaptureSession>\n"
    )


def put(path, text, encoding="latin-1"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


def strokes_of(seed):
    rng = np.random.default_rng(seed)
    return [np.cumsum(rng.integers(-20, 40, (30, 2)), axis=0) + [1000, 1100] for _ in range(3)]


TEXTS = {
    "a01-000u": ["A MOVE to stop", "Mr. Gaitskell from"],
    "a01-000x": ["By Trevor", "Williams."],
    "b02-100": ["no letter", "at the end"],
}


def write_database(root, strokes="lineStrokes-all/lineStrokes", ascii_="ascii-all/ascii", first=1):
    for number, (form, texts) in enumerate(TEXTS.items()):
        folder = f"{form[:3]}/{form[:7]}"
        for k in range(len(texts)):
            file = root / strokes / folder / f"{form}-{k + first:02d}.xml"
            put(file, line_xml(strokes_of(10 * number + k)))
        if ascii_:
            heading = f"OCR:\n\nnot this\n\nCSR:\n\n{texts[0]}\n"
            put(root / ascii_ / folder / f"{form}.txt", heading + "\n".join(texts[1:]) + "\n")
    return root


LAYOUTS = [
    {},
    {"strokes": "lineStrokes-all", "ascii_": "ascii-all"},
    {"strokes": "lineStrokes", "ascii_": "ascii", "first": 0},
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lines_are_read_from_every_layout(tmp_path, layout):
    found = read_iam(write_database(tmp_path, **layout))
    assert [ink.text for ink in found.lines] == [text for form in TEXTS.values() for text in form]
    assert {ink.split for ink in found.lines} == {"train"} and not found.left_out
    for seed, ink in zip((0, 1, 10, 11, 20, 21), found.lines, strict=True):
        for given, stroke in zip(strokes_of(seed), ink.strokes, strict=True):
            assert np.array_equal(given, stroke)
    # Nothing says who wrote a form, but each was written by one person.
    assert len({ink.writer for ink in found.lines}) == 3
    assert found.lines[0].writer == "of a01-000u"
    rows = found.rows(PRESETS["paper"])["train"]
    assert [line.text for line in rows] == [ink.text for ink in found.lines]


@pytest.mark.parametrize("folder", ["original-xml-all/original", "original-xml-part", "original"])
def test_originals_say_the_writer_and_the_text(tmp_path, folder):
    write_database(tmp_path, ascii_="")
    texts = ["&quot;A MOVE&quot; to", "stop &amp;quot;x&amp;quot;"]
    put(tmp_path / folder / "a01" / "a01-000" / "strokesu.xml", original_xml(10034, texts))
    put(
        tmp_path / folder / "b02" / "b02-100" / "strokes.xml", original_xml(10035, TEXTS["b02-100"])
    )
    found = read_iam(tmp_path)
    assert [(ink.text, ink.writer) for ink in found.lines] == [
        ('"A MOVE" to', "10034"), ('stop "x"', "10034"),
        ("no letter", "10035"), ("at the end", "10035"),
    ]  # fmt: skip
    assert found.left_out == {"transcript: got nothing, expected a01-000x.txt": ["a01-000x"]}


def test_forms_txt_says_the_writers(tmp_path):
    write_database(tmp_path)
    put(tmp_path / "forms.txt", "# form writer\na01-000u 000 2 prt\na01-000x 001 2\nb02-100 000\n")
    writers = {ink.key[:8]: ink.writer for ink in read_iam(tmp_path).lines}
    assert writers == {"a01-000u": "000", "a01-000x": "001", "b02-100-": "000"}


def test_the_splits_of_task1(tmp_path):
    write_database(tmp_path)
    for name, form in (
        ("trainset", "a01-000u"),
        ("testset_v", "a01-000x"),
        ("testset_f", "b02-100"),
    ):
        put(tmp_path / "task1" / f"{name}.txt", f" {form}\n")
    found = read_iam(tmp_path)
    assert [ink.split for ink in found.lines] == 2 * ["train"] + 2 * ["validation"] + 2 * ["test"]
    assert found.left_out == {"missing file of a split": ["testset_t.txt"]}
    splits = [ink.split for ink in read_iam(tmp_path, "reference").lines]
    assert splits == 2 * ["train"] + 2 * ["test"] + 2 * ["train"]
    put(tmp_path / "task1" / "testset_f.txt", "")
    assert read_iam(tmp_path).left_out["form of no split"] == ["b02-100"]
    with pytest.raises(
        InvalidValue, match=r"splits: got 'task2', expected one of \['reference', 'task1'\]"
    ):
        read_iam(tmp_path, "task2")


def test_a_newline_in_a_transcript_is_one(tmp_path):
    write_database(tmp_path)
    text = f"CSR:\n\n{TEXTS['a01-000u'][0]}%%%%%%%%%%%Mr.\n"
    put(tmp_path / "ascii-all" / "ascii" / "a01" / "a01-000" / "a01-000u.txt", text)
    assert [ink.text for ink in read_iam(tmp_path).lines][:2] == ["A MOVE to stop", "Mr."]


def test_damaged_files_are_counted_and_the_others_read(tmp_path):
    write_database(tmp_path)
    at = tmp_path / "lineStrokes-all" / "lineStrokes"
    whole = (at / "a01" / "a01-000" / "a01-000u-01.xml").read_text()
    put(at / "a01" / "a01-000" / "a01-000u-01.xml", whole[: len(whole) // 2])
    put(at / "a01" / "a01-000" / "a01-000u-02.xml", line_xml([]))
    put(at / "a01" / "a01-000" / "a01-000x-01.xml", whole.replace('x="', 'x="wide', 9))
    put(at / "b02" / "b02-100" / "b02-100-02.xml", whole.replace('y="', 'y="inf" z="', 9))
    found = read_iam(tmp_path)
    assert [ink.key for ink in found.lines] == ["a01-000x-02.xml", "b02-100-01.xml"]
    assert sorted(found.left_out.values()) == [
        ["a01-000u-01.xml"], ["a01-000u-02.xml"], ["a01-000x-01.xml"], ["b02-100-02.xml"],
    ]  # fmt: skip
    assert "2 lines read, 4 left out" in str(found) and "not XML, or not all of it" in str(found)


def test_counts_that_do_not_match_leave_the_form_out(tmp_path):
    write_database(tmp_path)
    (tmp_path / "lineStrokes-all" / "lineStrokes" / "a01" / "a01-000" / "a01-000u-02.xml").unlink()
    put(tmp_path / "ascii-all" / "ascii" / "a01" / "a01-000" / "a01-000x.txt", "OCR:\n\nonly\n")
    found = read_iam(tmp_path)
    assert len(found.lines) == 2
    assert sorted(found.left_out) == [
        "lines: got 1 files of strokes and 2 lines of text, expected as many of each",
        "transcript: got no CSR:, expected CSR: and the lines of text in a01-000x.txt",
    ]


def test_entities_are_not_unfolded(tmp_path):
    write_database(tmp_path)
    file = tmp_path / "lineStrokes-all" / "lineStrokes" / "a01" / "a01-000" / "a01-000u-01.xml"
    entities = '<!DOCTYPE a [<!ENTITY b "lol">' + "".join(
        f'<!ENTITY {x} "{10 * f"&{y};"}">' for x, y in zip("cdefghij", "bcdefghi", strict=True)
    )
    put(
        file,
        line_xml([]).replace("<White", f"{entities}]><White", 1).replace("  <StrokeSet>", "&j;"),
    )
    assert "file: got XML with entities, expected XML without" in read_iam(tmp_path).left_out


def test_a_folder_without_lines_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="path: got .*expected a file, or a folder with files"):
        read_iam(tmp_path)
    put(tmp_path / "notes.txt", "no line")
    with pytest.raises(InvalidValue, match="path: got .*lineStrokes-all, such as a01-000u-01.xml"):
        read_iam(tmp_path)
