"""Models of images of handwriting, as the command line trains, evaluates and lets them write."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from line_images import WORDS, write_lines
from PIL import Image
from style_stand_in import EXTRACTOR

from data import TextLines
from data.randomness import permutation
from data.text_lines import TextLine
from evaluation import handwriting as evaluation
from experiment import kinds, modes
from experiment.experiment import at
from experiment.modes import Command
from experiment.writing import Order, Writer
from handwriting import line_features
from handwriting.extractors import Shipped
from handwriting.ink_medium import InkMedium
from metrics.character_error import ErrorRate
from metrics.features import Activations, FeatureExtractor
from metrics.kid import kid
from options.errors import InvalidValue
from sde_lib import VPSDE
from tasks.conditions import Text
from tasks.task import Context
from tools import handwriting_report
from tools.handwriting_sections import distributions, samplers
from tools.handwriting_sections.conditions import MOST, Conditions, mean
from tools.handwriting_sections.samplers import SAMPLERS
from tools.handwriting_sections.section import Asked
from tools.writing_desk import desk_of

TINY = {
    "task": "lines",
    "process": "flow",
    "parameterization": {"output": "velocity", "c_noise": "time"},
    "model": {
        "name": "ncsnpp", "nf": 4, "ch_mult": (1, 1), "num_res_blocks": 1, "attn_resolutions": (4,),
        "cross_heads": 2, "expected_places": True, "fir": False, "progressive_input": "none",
        "embedding_type": "positional", "patch_size": 8, "dropout": 0.0,
    },
    "conditions": {
        "text": {"dropout": 0.1},
        "labels": {"num_classes": 0, "dropout": 0.2},
        "style": {"added": True, "dropout": 0.1},
    },
    "loss": {"weighting": "velocity"},
    "optim": {"warmup": 1},
    "training": {
        "steps": 2, "batch_size": 4, "microbatch": "4", "log_every": 1, "checkpoint_every": 2,
        "draw_every": 2, "evaluate_every": 0, "read_every": 2, "read_lines": 2,
    },
    "sampling": {"num_steps": 2, "end_clean": False, "solver": "ddim"},
    "preview": {"num_lines": 2},
    "write": {"wrap": 80, "alignment": True},
    "eval": {"max_lines": 3, "num_lines": 4},
}  # fmt: skip


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "mine.npz"
    write_lines(path)
    return path


@pytest.fixture(scope="module", autouse=True)
def without_networks(tmp_path_factory):
    """A quick style network, and a reader that is half wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shipped, "load", lambda self: EXTRACTOR)
        patch.setattr(line_features, "cache_folder", lambda: tmp_path_factory.mktemp("cache"))
        patch.setattr(evaluation, "installed", lambda: ["ppocr"])
        patch.setattr(evaluation, "legibility", lambda *asked: {"words": ErrorRate(0.5, 0.1, 0, 4)})
        yield


def config(lines, **changes):
    source = {"name": "text_lines", "path": str(lines), "width": 64}
    return kinds.changed(TINY | {"data": {"source": source}}, changes)


def test_a_model_of_lines_is_made_of_its_data(lines):
    """Its loss can be traced on a batch of short lines; a stranger has a style and no number."""
    experiment = kinds.experiment(config(lines, **{"training.buckets": (48,)}))
    experiment.check_all(1)
    assert experiment.shape == (64, 64, 1)
    batches = [experiment.loader().batch_at(4 * k) for k in range(4)]
    assert {batch["image"].shape for batch in batches} <= {(4, 64, 48, 1), (4, 64, 64, 1)}
    params = jax.eval_shape(experiment.task.init, jax.random.key(0))
    keys = jax.random.split(jax.random.key(0), 4)
    loss, metrics = jax.eval_shape(experiment.task.loss, Context(params), batches[0], keys)
    assert loss.shape == () and metrics["loss"].shape == (4,)
    writer = Writer(experiment, None)
    known, stranger = (
        writer._asked(["ab", "ca ca"], [writer.hands(n)] * 2) for n in ("eve", "zoe")
    )
    assert known.cond["labels"].tolist() == [1, 1] and stranger.cond["labels"].tolist() == [3, 3]
    assert known.lengths[0] < known.lengths[1] and known.cond["style"].shape == (2, 14, 128)
    a, b, c = experiment.length.points[2:]
    assert a < b < c  # their widths are 6, 10 and 14; of so few lines they are drawn to the mean


@pytest.fixture(scope="module")
def run(lines, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "lines"
    assert modes.run("train", Command(config(lines), workdir)) == 0
    return workdir


@pytest.mark.slow
def test_a_run_remembers_its_data_and_its_errors_of_characters(run):
    remembered = json.loads((run / "config.json").read_text())
    assert remembered["conditions"]["text"]["characters"] == " abc"
    length = remembered["style"]["length"]
    assert length["writers"] == pytest.approx([1, 1], abs=0.1)  # "zoe" has no lines to train on
    assert next((run / "pictures").glob("*lines*.png")).is_file()
    (errors,) = [r for r in logged(run) if "character_error_ppocr" in r]
    assert errors["step"] == 2 and errors["character_error_ppocr"] == 0.5


def logged(run):
    """The rows of the log, whatever they hold."""
    (path,) = run.glob("metrics.jsonl")
    return [json.loads(row) for row in path.read_text().splitlines()]


@pytest.mark.slow
def test_it_is_evaluated(run):
    assert modes.run("eval", Command(kinds.load(run), run)) == 0
    (path,) = run.glob("eval/**/report.json")
    figures = {f["name"]: f["value"] for f in json.loads(path.read_text())["figures"]}
    assert np.isfinite(figures["loss"]) and figures["character error rate"] == 0.5
    assert 0 <= figures["nearest of real lines"] <= 1
    assert figures["Frechet distance of style"] >= 0
    written = TextLines(str(path.parent / "written.npz"), width=64).read()
    assert set(written.texts) <= set(WORDS) and written.shape == (64, 64, 1)
    assert (path.parent / "lines.png").is_file()


@pytest.mark.slow
def test_it_writes_pages_in_the_hand_of_a_writer_or_a_photograph(run, tmp_path):
    picture = np.full((120, 300), 255, np.uint8)
    picture[50:70, 40:60] = picture[40:80, 100:104] = picture[60:64, 120:260] = 0
    Image.fromarray(picture).save(tmp_path / "mine.png")
    text = "ab cab\n\n" + "bab " * 19 + "abca"  # a line of 80 characters
    for style in ("eve", "zoe", str(tmp_path / "mine.png"), f"a@3,{tmp_path / 'mine.png'}"):
        order = Order(text, style, str(tmp_path / "page.png"))
        assert modes.run("write", Command(kinds.load(run), run, order=order)) == 0
        page = np.asarray(Image.open(tmp_path / "page.png"))
        assert page.dtype == np.uint8 and page[0].min() == page[-1].min() == 255
        assert (tmp_path / "page.alignment1.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Order("", "", "a.png"), "text: got nothing, expected something to write"),
        (Order("ab\u00e9", "", "a.png"), "text: got 'é' .*expected characters of ' abc'"),
        (Order("ab", "evee", "a.png"), "style: got 'evee'.* did you mean 'eve'"),
        (Order("ab", "eve", "a.svg"), "out: got 'a.svg', expected a name that ends in .png: the m"),
        (Order("ab", "blank.png", "a.png"), "picture: got .*blank.png without ink"),
        (Order("ab", "tiny.png", "a.png"), "picture: got .*tiny.png of 10 x 8 pixels, expected at"),
    ],
)
def test_what_cannot_be_written_is_refused(run, tmp_path, monkeypatch, order, message):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((100, 200), 250, np.uint8)).save("blank.png")
    Image.fromarray(np.zeros((8, 10), np.uint8)).save("tiny.png")
    with pytest.raises(InvalidValue, match=message):
        modes.run("write", Command(kinds.load(run), run, order=order))
    assert not (tmp_path / order.out).exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.patch_size": 64}, "model.ch_mult"),
        ({"model.cross_heads": 3}, "model.cross_heads: got 3, expected a divisor"),
        ({"conditions.text.heads": 3}, "conditions.text.heads: got 3, expected a divisor of 16"),
        ({"data.source": "digits"}, "data.source"),
        ({"training.read_lines": 0}, "training.read_lines: got 0"),
        ({"conditions.labels.num_classes": 7}, "conditions.labels.num_classes: got 7"),
        ({"data.source.masked": False}, "data.source.masked: got False, expected True"),
    ],
)
def test_what_does_not_go_together_is_refused(lines, tmp_path, changes, message):
    with pytest.raises(InvalidValue, match=message):
        modes.run("train", Command(config(lines, **changes), tmp_path / "run"))
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_a_line_does_not_depend_on_the_others_that_are_longer(run):
    """The padding of a batch is none of a line's business."""
    writer = Writer(kinds.experiment(kinds.load(run)), at(run).params(template(run)))
    hand = writer.hands("eve")
    alone = writer.write(["ab"], hand, seed=3)[0].image
    among = writer.write(["ab", "abba cab abba cab abba"], hand, seed=3)
    assert among[1].image.shape[1] > 128 > alone.shape[1]
    np.testing.assert_allclose(among[0].image.astype(int), alone, atol=1)
    assert writer.page(among, hand).dtype == np.uint8  # an image, which has no spans


def test_distances_of_ink_are_of_images_as_they_are(lines, monkeypatch, capsys):
    """Padded to the width of the data; the score of strokes is left out, which is said."""
    means = FeatureExtractor(
        "means",
        "1",
        2,
        lambda x: Activations(np.stack([x.mean((1, 2, 3)), x.std((1, 2, 3))], 1), None),
    )
    monkeypatch.setattr(distributions, "load", lambda name: means)
    subject = dataclasses.replace(kinds.experiment(config(lines)).subject(), extractor=None)
    (metric,) = distributions.metrics_of(Asked("", extractors=("means",)), subject, 100)
    grey = [TextLine(np.full((64, 4 + k), 10 * k, np.uint8), "ab", "eve") for k in range(6)]
    found = metric.of(grey)
    expected = [(10 * k * (4 + k) + 255 * (60 - k)) / 64 for k in range(6)]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)
    assert metric.distances["FID, means"](found, found) == pytest.approx(0, abs=1e-3)
    moved = found + [[9.0, 0.0]]
    assert metric.distances["FID, means"](found, moved) == pytest.approx(81, rel=1e-4)
    assert metric.distances["KID, means"](found, moved) == kid(moved, found).value
    assert "no Geometry Score: it is of pen strokes" in capsys.readouterr().out


@dataclasses.dataclass(frozen=True)
class OfItsText:
    """A loss that is the level times the number of characters."""

    times: object = None
    conditions = (Text(" abc"),)
    process = VPSDE()

    def for_evaluation(self):
        return self

    def loss(self, context, batch, keys):
        level = jax.vmap(jax.random.uniform)(keys)
        loss = level * jnp.sum(batch["text"] > 0, axis=1)
        return jnp.mean(loss), {"loss": loss, "level": level}


def test_how_much_the_loss_rises_with_the_text_of_another_line(lines):
    subject = dataclasses.replace(kinds.experiment(config(lines)).subject(), task=OfItsText())
    total = len(subject.held_out)
    level, own, others = Conditions()._losses(subject, {}, 2 * MOST)
    assert len(level) == 2 * total and len(np.unique(level)) == 2 * total  # noise of their own
    for seed in range(2):
        part = slice(seed * total, (seed + 1) * total)
        texts = subject.held_out.take(permutation(seed, 0, total))["text"]
        lengths = (texts > 0).sum(1)
        np.testing.assert_allclose(own[part], level[part] * lengths, rtol=1e-6)
        # The first is given the text of the last.
        np.testing.assert_allclose(
            others["text"][part], level[part] * np.roll(lengths, 1), rtol=1e-6
        )
    assert mean(np.array([1.0, 3.0], np.float32)) == "2.0000 ± 1.0000"


@pytest.mark.slow
def test_a_report_says_at_which_levels_conditions_are_heeded(run):
    asked = Asked(str(run), splits=("test",), lines=2)
    rows = handwriting_report.report(asked, ["conditions"]).splitlines()
    (head,) = [row for row in rows if "sigma / alpha" in row]
    names = [cell.strip() for cell in head.strip("| ").split("|")]
    assert names[2:] == ["loss", "another label", "another style", "another text"]


@pytest.mark.slow
def test_a_report_on_images_has_the_tables_of_strokes_but_for_what_is_of_strokes(run, monkeypatch):
    monkeypatch.setattr(samplers, "SAMPLERS", [s for s in SAMPLERS if s.name == "ddim, 4"])
    asked = Asked(str(run), splits=("test",), lines=2, extractors=(), samplers=("ddim",))
    sections = ["samplers", "writers", "words", "distributions"]
    found = handwriting_report.report(asked, sections)
    assert [part.split("\n")[0] for part in found.split("## ")[1:]] == sections
    assert found.count("| ddim, 4") == 2 and "| real lines" in found
    assert "| test | 2 written" in found and "| test | 2 real" in found
    assert "all seen | 2 written" in found  # "ab" and "cab" are texts of training
    assert "Geometry" not in found and "Luhman" not in found


@pytest.mark.slow
def test_the_desk_is_of_strokes_alone(run):
    with pytest.raises(InvalidValue, match="weights: got 'lines', expected a model of strokes"):
        desk_of(Writer(kinds.experiment(kinds.load(run)), None))


def template(run):
    return kinds.experiment(kinds.load(run)).template


@pytest.mark.parametrize("out", ["a.svg", "a.inkml", "a.json", "a"])
def test_images_have_no_strokes_to_be_kept(out):
    with pytest.raises(InvalidValue, match=f"out: got '{out}', expected a name that ends in .png"):
        Order("ab", "", out).check(InkMedium())


def test_a_writer_whom_a_table_does_not_have_is_refused(lines):
    """Without a style, only writers of training lines can be written as."""
    given = config(lines)
    with given.unlocked():
        del given.conditions["style"]
    experiment = kinds.experiment(given)
    writer = Writer(experiment, None)
    assert writer._asked(["ab"], [writer.hands("eve")]).cond["labels"].tolist() == [1]
    with pytest.raises(InvalidValue, match="style: got 'zoe', expected a writer of the training"):
        writer._asked(["ab"], [writer.hands("zoe")])
