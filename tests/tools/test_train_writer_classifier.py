import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.strokes import Strokes
from handwriting import style
from handwriting.render import STYLE
from tools import train_writer_classifier as tool

LINES = Strokes(length=80).read("train")  # short ones


@pytest.fixture(scope="module")
def trained():
    """A network with norms whose statistics are not those that it began with."""
    network = style.WriterClassifier(batch_norm=True)
    made = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 96, 32)))

    def changed(path, leaf):
        noise = np.random.default_rng(zlib.crc32(str(path).encode())).uniform(0, 0.2, leaf.shape)
        return leaf + jnp.float32(noise * (leaf.ndim == 1))

    return jax.tree_util.tree_map_with_path(changed, dict(made))


def test_norms_are_folded_exactly(trained):
    x = style.darkness(jnp.asarray(next(tool.batches(LINES, 0))[0][:4]))
    _, wanted = jax.jit(style.WriterClassifier(batch_norm=True).apply)(trained, x)
    params = tool.folded(trained["params"], trained["batch_stats"])
    _, found = jax.jit(style.WriterClassifier().apply)({"params": params}, x)
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


@pytest.mark.slow
def test_features_are_standardised_and_no_logit_changes(trained, monkeypatch):
    monkeypatch.setattr(tool, "STANDARDISED", 16)
    params = tool.folded(trained["params"], trained["batch_stats"])
    finished = tool.finish(params, LINES)
    images = [STYLE(LINES.line(i).offsets) for i in range(16)]
    before, after = (
        style.with_weights(style.WriterClassifier(), some, "").activations(images)
        for some in (params, finished)
    )
    difference = np.abs(after.logits - before.logits)
    assert difference.max() < 1e-3 * np.abs(before.logits).max()
    assert after.features.mean(axis=(0, 1)) == pytest.approx(0, abs=1e-3)
    spread = after.features.std(axis=(0, 1))
    assert np.all((np.abs(spread - 1) < 1e-2) | (before.features.std(axis=(0, 1)) < 1e-3))


def test_a_batch_has_windows_of_lines_and_writers_from_zero_on():
    images, writers = next(tool.batches(LINES, 3))
    assert images.shape == (tool.BATCH, 96, tool.WINDOW) and images.dtype == np.uint8
    assert 0 <= writers.min() and writers.max() < 78
    again = next(tool.batches(LINES, 3))
    assert (images == again[0]).all() and (writers == again[1]).all()
    assert (images.min(axis=(1, 2)) < 128).all()


def test_degraded_images_keep_their_padding_and_their_range():
    x = np.zeros((32, 96, 64), np.float32)
    x[:, 40:50, :30] = 1
    found = tool.degraded(jax.random.key(0), jnp.asarray(x))
    assert 0 <= found.min() and found.max() <= 1
    assert (found[:, :, 30:] == 0).all()
    same = (found == x).all(axis=(1, 2))
    assert 4 < same.sum() < 28
