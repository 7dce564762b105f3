"""What is written of a run, read back."""

import io
import json
import math
import sys

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto import event_pb2
from tiny_runs import events, scalars

from training.telemetry import Telemetry
from training.writers import LEVELS, Board, Row


def summaries(losses, fractions=None):
    """The summaries of a chunk; all examples are in the given noise levels."""
    n = len(losses)
    fractions = np.tile(np.full(LEVELS, 1 / LEVELS), (n, 1)) if fractions is None else fractions
    return {
        "loss": np.array(losses, np.float32),
        "gradient_norm": np.full(n, 2.0, np.float32),
        "learning_rate": np.linspace(0.1, 0.2, n, dtype=np.float32),
        "level_loss": fractions * np.array(losses)[:, None],
        "level_fraction": fractions,
    }


def test_rows_are_means_since_the_last(tmp_path):
    with Telemetry(tmp_path, step=0, steps=6, batch_size=8, unit="images") as log:
        log.record(summaries([1.0, 2.0]), seconds=0.5)
        log.record(summaries([3.0, 6.0]), seconds=1.5)
        log.flush(4)
        log.record(summaries([5.0, 5.0]), seconds=1.0)
        log.flush(6)
    first, second = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert first["loss"] == 3.0 and second["loss"] == 5.0
    assert first["steps_per_second"] == 2.0 and first["images_per_second"] == 16.0
    assert first["learning_rate"] == pytest.approx(0.2)
    np.testing.assert_allclose(first["loss_by_level"], 3.0)
    written = scalars(tmp_path / "tensorboard")
    assert written[("train/loss", 4)] == 3.0
    assert written[("loss_by_level/0.9-1.0", 6)] == pytest.approx(5.0)


def test_an_empty_noise_level_has_no_loss(tmp_path):
    fractions = np.zeros((1, LEVELS))
    fractions[0, :2] = 0.5
    with Telemetry(tmp_path, 0, 1, 8, "images") as log:
        log.record(summaries([4.0], fractions), 1.0)
        row = log.flush(1)
    assert row["loss_by_level"] == [4.0, 4.0] + [None] * 8


def test_pictures_are_in_both_places(tmp_path):
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    shapes = {"plain": picture, "grey": picture[..., None], "colour": np.stack([picture] * 3, -1)}
    with Telemetry(tmp_path, 0, 1, 8, "images") as log:
        log.pictures(7, shapes)
    names = {f"{name}-00000007.png" for name in shapes}
    assert {p.name for p in (tmp_path / "pictures").iterdir()} == names
    images = [v for e in events(tmp_path / "tensorboard") for v in e.summary.value]
    found = {(v.tag, v.image.height, v.image.width) for v in images}
    assert found == {(name, 3, 4) for name in shapes}
    for v in images:  # the same pixels in both
        board = np.asarray(Image.open(io.BytesIO(v.image.encoded_image_string)).convert("L"))
        kept = Image.open(tmp_path / "pictures" / f"{v.tag}-00000007.png").convert("L")
        np.testing.assert_array_equal(board, np.asarray(kept))


def test_a_reopened_board_hides_what_came_after_its_step(tmp_path):
    board = Board(tmp_path / "tensorboard", 5)
    board.row(Row(6, "train", {"loss": math.pi}))
    board.close(failed=False)
    _, restart, scalar = events(tmp_path / "tensorboard")
    assert restart.step == 6 and restart.session_log.status == event_pb2.SessionLog.START
    assert scalar.step == 6 and scalar.summary.value[0].simple_value == pytest.approx(math.pi)


def test_without_tensorboardx_the_rest_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with Telemetry(tmp_path, step=0, steps=2, batch_size=8, unit="images") as log:
        log.record(summaries([1.0, 2.0]), seconds=0.5)
        log.flush(2)
        log.pictures(2, {"grey": np.zeros((3, 4), np.uint8)})
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["loss"] == 1.5
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "pictures"}
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "TensorBoard" in line]
    assert said.startswith("no logs for TensorBoard: tensorboardX is not installed: pip install")
    assert said.endswith("[train]'")


def test_rows_of_a_killed_run_are_forgotten(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    with Telemetry(tmp_path, step=2, steps=3, batch_size=1, unit="images"):
        pass
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


DAMAGED = [b"\xff", b'{"loss": 1}', b"[1]", b'"step"', b'{"step": "2"}', b'{"step": 2, "lo']


@pytest.mark.parametrize("row", DAMAGED)
def test_damaged_rows_are_dropped_and_the_others_kept(row, tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + row + b'\n{"step": 3}\n{"step": 5}\n')
    with Telemetry(tmp_path, 4, 10, 8, "images"):
        assert path.read_text() == '{"step": 1}\n{"step": 3}\n'
