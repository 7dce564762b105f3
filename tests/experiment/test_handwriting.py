"""Models of handwriting, as the command line trains, evaluates and lets them write."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from style_stand_in import EXTRACTOR

from data import Strokes
from data.strokes import Line, write
from experiment import kinds, modes
from experiment.experiment import at
from experiment.hands import Hands
from experiment.modes import Command
from experiment.pipeline import load_writer
from experiment.writing import Order, Writer
from handwriting import line_features
from handwriting.extractors import Shipped
from handwriting.pen_medium import PenMedium
from metrics.character_error import ErrorRate
from metrics.report import Figure
from options.errors import InvalidValue
from options.project import find
from tools import handwriting_report, writing_desk
from tools.handwriting_sections import fifty_strings, samplers
from tools.handwriting_sections.fifty_strings import FiftyStrings
from tools.handwriting_sections.samplers import SAMPLERS
from tools.handwriting_sections.section import Asked
from tools.handwriting_sections.words import with_new_words
from tools.handwriting_sections.writers import ratios

RNG = np.random.default_rng(0)
TINY = {
    "task": "handwriting",
    "parameterization": {"output": "noise", "c_noise": "alpha"},
    "model": {
        "name": "handwriting", "widths": (8, 16), "heads": (0, 2), "middle": 1, "text_width": 8,
        "text_heads": 2, "noise_width": 16, "noise_features": 8,
    },
    "conditions": {"text": {"dropout": 0.1}, "style": {"group": 128}},
    "optim": {"warmup": 1},
    "training": {
        "steps": 2, "batch_size": 4, "microbatch": "4", "log_every": 1, "checkpoint_every": 2,
        "draw_every": 2, "evaluate_every": 0,
    },
    "sampling": {"num_steps": 3, "t_end": 0.1},
    "preview": {"num_lines": 2},
    "write": {"wrap": 5},
    "eval": {"max_lines": 3, "num_lines": 4},
}  # fmt: skip


def line(text, writer):
    offsets = RNG.normal(size=(4 * len(text), 2))
    pen = (np.arange(len(offsets)) % 4 == 0).astype(float)
    return Line(np.column_stack([offsets, pen]), text, writer)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "mine.npz"
    words = ["ab", "ba c", "cab", "abba", "b", "ca ca", "ab c", "bcb"]
    made = [line(word, ("eve", "adam")[i % 2]) for i, word in enumerate(words)]
    write(path, "lines of mine", {"train": made, "test": made[:4]}, 1e-3)
    return path


@pytest.fixture(scope="module", autouse=True)
def quick_extractor(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shipped, "load", lambda self: EXTRACTOR)
        patch.setattr(line_features, "cache_folder", lambda: tmp_path_factory.mktemp("cache"))
        yield


def config(lines, **changes):
    given = TINY | {"data": {"source": {"name": "strokes", "path": str(lines)}, "space": "strokes",
                             "image_size": (), "num_channels": 3}}  # fmt: skip
    return kinds.changed(given, changes)


@pytest.fixture(scope="module")
def run(lines, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "hand"
    assert modes.run("train", Command(config(lines), workdir)) == 0
    return workdir


def test_a_run_remembers_characters_and_lengths_of_its_data(run):
    remembered = json.loads((run / "config.json").read_text())
    assert remembered["conditions"]["text"]["characters"] == " abc"
    assert len(remembered["style"]["length"]["points"]) == 5
    assert len(remembered["style"]["length"]["hand"]) == 128
    assert remembered["data"]["class_names"] == ["adam", "eve"]
    assert remembered["style"]["fingerprint"] == EXTRACTOR.identity
    assert next((run / "pictures").glob("*lines*.png")).is_file()


def test_styles_of_another_extractor_are_refused(run, monkeypatch):
    other = dataclasses.replace(EXTRACTOR, version="1")
    monkeypatch.setattr(Shipped, "load", lambda self: other)
    but = "got parts_of_ink@1, but the model was trained with the features of parts_of_ink@0"
    with pytest.raises(InvalidValue, match=f"style.extractor: {but}"):
        load_writer(run).hands("eve")
    with pytest.raises(InvalidValue, match=but):
        modes.run("eval", Command(kinds.load(run), run))


@pytest.mark.slow
def test_it_goes_on_and_is_evaluated(run, lines, capsys):
    more = config(lines, **{"training.steps": 3})
    assert modes.run("train", Command(more, run)) == 0
    assert modes.run("eval", Command(kinds.load(run), run)) == 0
    (path,) = run.glob("eval/**/report.json")
    figures = {f["name"]: f["value"] for f in json.loads(path.read_text())["figures"]}
    assert np.isfinite(figures["loss"])
    assert 0 <= figures["nearest is of the writer"] <= 1
    written = Strokes(str(path.parent / "written.npz")).read()
    assert sorted(written.texts) == ["ab", "abba", "ba c", "cab"][: len(written)]
    assert (path.parent / "lines.png").is_file()


def test_it_writes_pages_in_the_hand_of_a_writer_or_a_photograph(run, tmp_path):
    picture = np.full((120, 300), 255, np.uint8)
    picture[50:70, 40:60] = picture[40:80, 100:104] = picture[60:64, 120:260] = 0
    Image.fromarray(picture).save(tmp_path / "mine.png")
    for style in ("eve", str(tmp_path / "mine.png"), f"adam@3,{tmp_path / 'mine.png'}", ""):
        order = Order("ab cab\n\nbab", style, str(tmp_path / "page.json"))
        assert modes.run("write", Command(kinds.load(run), run, order=order)) == 0
        page = json.loads((tmp_path / "page.json").read_text())
        # Lines of at most 5 characters: the space between the first two is none of them.
        assert "".join(span["char"] for span in page["spans"]) == "abcabbab"
        assert np.isfinite(np.concatenate([np.array(s)[:, :2] for s in strokes(page)])).all()


def test_writing_looks_at_no_line_of_the_data_but_one_of_the_hand(run, tmp_path, monkeypatch):
    """A photograph's style needs no data at all, and an SVG nothing of which points write what."""
    monkeypatch.setattr(Writer, "alignment", None)
    monkeypatch.setattr("experiment.handwriting.features_of_lines", None)
    monkeypatch.setattr(Hands, "_of_writer", None)
    picture = np.full((120, 300), 255, np.uint8)
    picture[50:70, 40:60] = picture[40:80, 100:104] = picture[60:64, 120:260] = 0
    Image.fromarray(picture).save(tmp_path / "mine.png")
    gone = {"data.source.path": str(tmp_path / "gone.npz"), "data.source.length": 16}
    command = Command(
        kinds.load(run, gone),
        run,
        order=Order("ab", str(tmp_path / "mine.png"), str(tmp_path / "a.svg")),
    )
    assert modes.run("write", command) == 0


def strokes(value):
    """The strokes in a file, wherever they are."""
    if isinstance(value, dict):
        return value["strokes"] if "strokes" in value else strokes(next(
            v for v in value.values() if isinstance(v, list | dict)))  # fmt: skip
    return strokes(value[0])


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Order("", "", "a.svg"), "text: got nothing, expected something to write"),
        (Order(" \n ", "", "a.svg"), "text: got nothing"),
        (Order("ab\u00e9", "", "a.svg"), "text: got 'é' .*expected characters of ' abc'"),
        (Order("ab", "evee", "a.svg"), "style: got 'evee'.* did you mean 'eve'"),
        (Order("ab", "eve@-1", "a.svg"), "style: got 'eve@-1', expected numbers above 0"),
        (Order("ab", "eve", "a.doc"), "out: got 'a.doc', expected a name that ends in one of"),
    ],
)
def test_what_cannot_be_written_is_refused(run, order, message):
    with pytest.raises(InvalidValue, match=message):
        modes.run("write", Command(kinds.load(run), run, order=order))


def test_a_word_that_is_longer_than_a_line_is_cut_or_refused(run):
    for split, found in ((True, ["ab", "abcab", "c"]), (False, None)):
        writer = Writer(kinds.experiment(kinds.load(run, {"write.split": split})), None)
        if found:
            assert writer.lines("ab abcabc") == found
            continue
        with pytest.raises(InvalidValue, match="write.wrap: got 5, expected room .* 'abcabc'"):
            writer.lines("ab abcabc")


def test_a_model_of_images_does_not_write(tmp_path):
    with pytest.raises(InvalidValue, match="weights: got 'digits'.*it does not write"):
        load_writer("digits")
    weights = find("digits")
    command = Command(kinds.load(weights), tmp_path, weights, order=Order("a", "", "a.svg"))
    with pytest.raises(InvalidValue, match="task: got 'image'.*it does not write"):
        modes.run("write", command)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conditions.style.features": 64}, "conditions.style: got 14 places of 64 features"),
        ({"conditions.text.characters": "xyz"}, "conditions.text.characters: got 'xyz'"),
        ({"model.widths": (8, 16, 24, 32, 40), "model.heads": (0, 1, 1, 1, 1)}, "multiple of 16"),
        ({"sampling.t_end": 2.0}, "sampling.t_end"),
        ({"loss.pen_weight": 0.0}, "loss.pen_weight: got 0.0"),
        ({"write.wrap": 0}, "write.wrap: got 0"),
        ({"guidance.text": -1.0}, "guidance.text: got -1.0"),
        ({"guidance.style": 2.0}, "guidance.style.dropout: got 0.0, expected a positive rate"),
        ({"write.reader": "me"}, "write.reader: got 'me'"),
        ({"data.space": "pixels"}, "data.space"),
        ({"data.source": "digits"}, "data"),
    ],
)
def test_what_does_not_go_together_is_refused(lines, tmp_path, changes, message):
    with pytest.raises(InvalidValue, match=message):
        modes.run("train", Command(config(lines, **changes), tmp_path / "run"))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_hands_mix_by_their_weights(run):
    experiment = kinds.experiment(kinds.load(run))
    hands = Writer(experiment, None).hands
    eve, adam = hands("eve").style, hands("adam").style
    np.testing.assert_allclose(hands("eve,adam").style, (eve + adam) / 2, rtol=1e-6)
    np.testing.assert_allclose(hands("eve@3, adam").style, (3 * eve + adam) / 4, rtol=1e-6)
    assert np.abs(eve - adam).max() > 0
    gone = Hands(("eve",), lambda: [], EXTRACTOR)
    with pytest.raises(InvalidValue, match="style: got 'eve', but no line of this writer"):
        gone("eve")
    some = Hands((*hands.names, "zoe"), experiment.each_split, EXTRACTOR)
    asked = {some("", seed).name for seed in range(2 * len(some.names))}
    assert asked == set(hands.names)  # not of whom there is no line


def test_the_best_of_several_candidates_is_taken(run, monkeypatch):
    seen = []

    def best(name, candidates, texts):
        seen.append((name, [len(lines) for lines in candidates], texts))
        return [2, 1]

    monkeypatch.setattr("experiment.writing.best_lines", best)
    changed = kinds.load(run, {"write.candidates": 3, "write.reader": "tesseract"})
    params = at(run).params(kinds.experiment(changed).template)
    many, one = (Writer(kinds.experiment(c), params) for c in (changed, kinds.load(run)))
    chosen = many.write(["ab", "cab"], many.hands("eve"), seed=5)
    assert seen == [("tesseract", [3, 3], ["ab", "cab"])]
    # Line number 2 of the run, and 4: what the same run without a choice has there.
    every = one.write(["ab"] * 3 + ["cab"] * 3, one.hands("eve"), seed=5)
    for found, number in zip(chosen, (2, 4), strict=True):
        np.testing.assert_allclose(found.offsets, every[number].offsets, atol=1e-5)


def rows_of(text):
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines()
            if line.startswith("|")]  # fmt: skip


def asked_of(run):
    return Asked(str(run), splits=("test", "train"), lines=2, draws=1, extractors=("inception",))


@pytest.mark.slow
def test_a_report_has_a_row_for_each_sampler_and_one_of_the_real_lines(run, monkeypatch, tmp_path):
    monkeypatch.setattr(samplers, "SAMPLERS", SAMPLERS[5:6])
    page = tmp_path / "page.md"
    text = handwriting_report.report(asked_of(run), ["samplers", "writers"], str(page))
    assert page.read_text() == text
    by_sampler, writers = (rows_of(part) for part in text.split("## ")[1:])
    assert [row[:2] for row in by_sampler[2:]] == [["ddim, 4", "5"], ["real lines", ""]]
    assert [row[:2] for row in writers[2:]] == [
        [split, f"2 {lines}"] for split in ("test", "train") for lines in ("written", "real")
    ]


@pytest.mark.slow
def test_a_report_has_style_from_photographs_and_distributions(run, monkeypatch):
    monkeypatch.setattr(samplers, "SAMPLERS", SAMPLERS[5:6])
    text = handwriting_report.report(asked_of(run), ["photographs", "distributions"])
    photographs, distributed = (rows_of(part) for part in text.split("## ")[1:])
    names = [row[0] for row in photographs[2:]]
    assert names == ["lines as drawn", "photographs", "(real lines)"]
    assert [row[0] for row in distributed[2:4]] == ["ddim, 4", "real lines"]
    assert float(distributed[2][2]) > 0 and float(distributed[3][2]) > 0  # Frechet of style


def test_a_text_is_new_by_words_that_training_has_not():
    texts = ["the cat", "The cat", "cat, 12", "cats", "?!", ""]
    found = with_new_words(texts, ["the (cat) sat", "on 12 mats"])
    assert found.tolist() == [False, True, False, True, False, False]


def test_a_string_is_right_where_all_its_lines_are_and_no_reader_judges_its_own_choice(monkeypatch):
    """Lines are numbers of what is read of them."""
    readings = ["ab!", "ab", "c", "cab", "cab!"]
    each = [
        [np.full((1, 3), number, np.uint8) for number in lines]
        for lines in ([0, 1], [2, 2], [3, 4])
    ]

    def load(name):
        return lambda images: [readings[int(image[0, 0])] for image in images]

    monkeypatch.setattr(fifty_strings, "load", load)
    monkeypatch.setattr(fifty_strings, "installed", lambda: ["a", "b"])
    best = {"a": [1, 0, 0], "b": [0, 0, 1]}
    monkeypatch.setattr(fifty_strings, "best_lines", lambda name, each, texts: best[name])
    monkeypatch.setattr(fifty_strings, "error_rate", lambda read, texts: ErrorRate(0.5, 0.1, 0, 3))
    monkeypatch.setattr(PenMedium, "for_reader", lambda self, name, line: line)
    found = list(FiftyStrings()._rows(PenMedium(), each, ["ab", "c", "cab"], np.array([0, 0, 1])))
    cer = "0.500 ± 0.100"
    one = {"right, a": "1 of 2", "CER, a": cer, "right, b": "1 of 2", "CER, b": cer}
    assert found == [
        {"candidates": "1"} | one,
        {"candidates": "best of 4 by a", "right, b": "2 of 2", "CER, b": cer},
        {"candidates": "best of 4 by b", "right, a": "0 of 2", "CER, a": cer},
    ]


def test_errors_are_relative_to_those_of_real_lines():
    def rate(value, by, of=""):
        return Figure(f"character error rate{of}", value, 3, extractor=by)

    made = [rate(0.3, "a"), Figure("read without error", 0.1, 3, extractor="a"), rate(0.2, "b")]
    real = [rate(0.2, "a", " of real lines"), rate(0.0, "b", " of real lines")]
    assert ratios(made, real) == {"CER over real, a": "1.50"}


@pytest.mark.slow
def test_text_is_guided_by_a_scale_of_its_own(run):
    """At scale 0 the text does not matter, at 2 the difference to scale 0 is twice that of 1."""

    def drawn(text, scale):
        changes = {"guidance.text": scale, "sampling.num_steps": 1, "sampling.end_clean": False,
                   "sampling.solver": "ddim", "sampling.t_end": 0.9}  # fmt: skip
        writer = load_writer(run, changes)
        return writer.write([text], writer.hands("eve"), seed=1)[0].offsets[:4, :2]

    none, one, two = (drawn("ab", scale) for scale in (0.0, 1.0, 2.0))
    np.testing.assert_allclose(two - none, 2 * (one - none), atol=1e-5)
    assert np.abs(one - none).max() > 1e-6


def test_it_writes_in_a_browser(run):
    desk = writing_desk.desk_of(load_writer(run))
    drawn = desk.answer({"text": "ab b", "writer": "eve", "seed": "3"})
    assert drawn["strokes"] and drawn == desk.answer({"text": "ab b", "writer": "eve", "seed": "3"})
    assert drawn != desk.answer({"text": "ab b", "writer": "adam", "seed": "3"})
    with pytest.raises(InvalidValue, match="text: got 6 characters, expected at most 5"):
        desk.answer({"text": "ababab"})
