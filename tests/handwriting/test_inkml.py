import re

import numpy as np
import pytest

from handwriting.inkml import read_inkml
from options.errors import InvalidValue

NAMESPACE = 'xmlns="http://www.w3.org/2003/InkML"'
TRUTH = '<annotation type="truth">Call me</annotation>'


def read(tmp_path, body, namespace=NAMESPACE):
    folder = tmp_path / "anna"
    folder.mkdir(exist_ok=True)
    (folder / "line.inkml").write_text(f"<ink {namespace}>{body}</ink>")
    return read_inkml(tmp_path)


def strokes(tmp_path, body):
    (ink,) = read(tmp_path, TRUTH + body).lines
    return [stroke.tolist() for stroke in ink.strokes]


@pytest.mark.parametrize("namespace", [NAMESPACE, ""])
def test_a_file_is_a_line(tmp_path, namespace):
    body = f"{TRUTH}<trace>10 20, 11 22,13 25</trace><trace>15 20</trace>"
    (ink,) = read(tmp_path, body, namespace).lines
    assert ink.text == "Call me" and ink.writer == "anna" and ink.split == "train"
    assert [s.tolist() for s in ink.strokes] == [[[10, 20], [11, 22], [13, 25]], [[15, 20]]]


def test_channels_are_read_in_their_order(tmp_path):
    channels = (
        '<traceFormat><channel name="T" type="integer"/><channel name="Y" orientation="-ve"/>'
        '<channel name="X"/><channel name="F"/></traceFormat>'
    )
    found = strokes(tmp_path, f"{channels}<trace>0 20 10 .5, 1 -2.5e1 11 .7, 2 3 4</trace>")
    assert found == [[[10, -20], [11, 25], [4, -3]]]


def test_differences_are_summed(tmp_path):
    # The example of the recommendation, section 3.2.1, and what follows from its rules.
    found = strokes(
        tmp_path, "<trace>1125 18432,'23'43,\"7\"-8,3-5,7 -3,6 2,6 8,3 6,2 4,*5</trace>"
    )
    assert found == [[
        [1125, 18432], [1148, 18475], [1178, 18510], [1211, 18540], [1251, 18567], [1297, 18596],
        [1349, 18633], [1404, 18676], [1461, 18723], [1520, 18775],
    ]]  # fmt: skip
    assert strokes(tmp_path, "<trace>5 5, '1 '2, * *, !9 3, * '1</trace>") == [
        [[5, 5], [6, 7], [7, 9], [9, 12], [9, 13]]
    ]


def test_groups_with_transcripts_are_lines(tmp_path):
    body = (
        '<annotation type="writer">w7</annotation>'
        '<trace xml:id="t1">1 1, 2 2</trace><trace id="t2">3 3</trace>'
        '<traceGroup><annotation type="truth">one</annotation><traceView traceDataRef="#t1"/>'
        "</traceGroup>"
        '<traceGroup><annotation type="transcription">two</annotation><trace>4 4, 5 5</trace>'
        '<traceView traceDataRef="t2"/><annotation type="writer">w8</annotation></traceGroup>'
    )
    one, two = read(tmp_path, body).lines
    assert (one.text, one.writer, two.text, two.writer) == ("one", "w7", "two", "w8")
    assert [s.tolist() for s in one.strokes] == [[[1, 1], [2, 2]]]
    assert [s.tolist() for s in two.strokes] == [[[4, 4], [5, 5]], [[3, 3]]]
    (whole,) = read(tmp_path, TRUTH + body).lines
    assert len(whole.strokes) == 3 + 2  # the views repeat what they refer to


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "strokes: got no trace"),
        ("<trace></trace>", "trace: got no point"),
        ("<trace>1 2, 3</trace>", "trace: got the point '3', expected 2 to 2 plain numbers"),
        ("<trace>1 2 3</trace>", "trace: got the point '1 2 3'"),
        ("<trace>1 2, #ff 3</trace>", "trace: got the point '#ff 3'"),
        ("<trace>1 ?</trace>", "trace: got the point '1 [?]'"),
        ("<trace>1e999 2</trace>", "strokes: got a point that is not finite"),
        (
            '<traceFormat><channel name="X"/></traceFormat><trace>1</trace>',
            "traceFormat: got the chan",
        ),
        ('<traceView traceDataRef="#none"/>', "traceDataRef: got 'none', expected the id"),
        ("<trace>1 2", "file: got not XML, or not all of it"),
    ],
)
def test_what_is_no_line_is_counted(tmp_path, body, reason):
    found = read(tmp_path, TRUTH + body)
    assert not found.lines and list(found.left_out.values()) == [["line.inkml"]]
    (said,) = found.left_out
    assert re.match(reason, said)


def test_other_files_are_no_ink(tmp_path):
    (tmp_path / "a.inkml").write_text("<svg/>")
    (tmp_path / "b.INKML").write_text(f"<ink>{TRUTH}<trace>1 2, 3 4</trace></ink>")
    (tmp_path / "c.inkml").mkdir()
    found = read_inkml(tmp_path)
    assert len(found.lines) == 1
    assert found.left_out == {"file: got XML of <svg>, expected InkML, <ink>": ["a.inkml"]}
    with pytest.raises(InvalidValue, match=r"path: got .*a folder with files \*.inkml"):
        read_inkml(tmp_path / "c.inkml")
    assert np.array_equal(read_inkml(tmp_path / "b.INKML").lines[0].strokes[0], [[1, 2], [3, 4]])
