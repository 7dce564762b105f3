"""A network that sees one line for some minutes writes that line."""

import numpy as np
import pytest

from data import Strokes
from data.strokes import Line, write
from experiment import kinds, modes
from experiment.experiment import at
from experiment.handwriting import HandwritingExperiment
from experiment.modes import Command
from experiment.writing import Writer


@pytest.mark.slow
def test_one_line_is_learned_to_legibility(tmp_path):
    """Points to within a fifth of the line's height in the median, small errors of all movements
    before a point added up, and the pen up where it was."""
    source = Strokes().read("train")
    number = next(i for i, text in enumerate(source.texts) if 8 <= len(text) <= 12)
    line = source.line(number)
    write(tmp_path / "one.npz", "one line", {"train": [Line(*line)] * 8}, 1 / 256)
    config = kinds.load(
        "configs/handwriting/small.py",
        {
            "data.source.path": str(tmp_path / "one.npz"),
            "data.source.length": 0,
            "data.holdout": 0.0,
            "model.widths": (32, 48, 64),
            "model.heads": (0, 2, 4),
            "model.text_width": 64,
            "model.dropout": 0.0,
            "conditions.text.dropout": 0.0,
            "conditions.style.dropout": 0.0,
            "optim.lr": 3e-3,
            "optim.warmup": 20,
            "training.steps": 600,
            "training.batch_size": 16,
            "training.draw_every": 0,
            "training.evaluate_every": 0,
            "ema.decay": 0.98,
        },
    )
    assert modes.run("train", Command(config, tmp_path / "run")) == 0
    experiment = kinds.experiment(kinds.load(tmp_path / "run"))
    assert isinstance(experiment, HandwritingExperiment)
    writer = Writer(experiment, at(tmp_path / "run").params(experiment.template))
    (found,) = writer.write([line.text], writer.hands(line.writer))
    # The length is predicted, to within a few points.
    n = min(len(found.offsets), len(line.offsets))
    assert abs(len(found.offsets) - len(line.offsets)) <= 3
    ours, theirs = (np.cumsum(rows[:n, :2], axis=0) for rows in (found.offsets, line.offsets))
    distance = np.linalg.norm(ours - theirs, axis=1) / np.ptp(theirs[:, 1])
    assert np.median(distance) < 0.2
    assert np.mean(found.offsets[:n, 2] == line.offsets[:n, 2]) > 0.95
