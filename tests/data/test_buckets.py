"""Batches of examples of like length."""

import numpy as np
import pytest
from line_images import write_lines

from data import Loader, TextLines
from data.buckets import WINDOW, Buckets
from options.errors import InvalidValue


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "lines.npz"
    write_lines(path)
    return TextLines(str(path), width=64).read()


def loader(source, **options):
    buckets = Buckets(source.lengths, (16, 32, 64), axis=2)
    return Loader(source, 4, seed=3, buckets=buckets, **options)


def test_every_example_comes_as_often_as_without_buckets(source):
    """In a window of whole epochs; lines are whole, and padded as far as the next bucket."""
    stream, seen = loader(source), []
    for batch in (stream.batch_at(4 * k) for k in range(WINDOW)):
        widths = batch["mask"].sum(axis=(1, 2, 3))
        padded = batch["image"].shape[2]
        assert padded == batch["mask"].shape[2]
        assert padded == next(width for width in (16, 32, 64) if width >= widths.max())
        seen += [tuple(text) for text in batch["text"]]
    _, counts = np.unique(seen, axis=0, return_counts=True)
    assert len(counts) == len(source) and (counts == 4 * WINDOW // len(source)).all()
    assert sum(stream.batch_at(4 * k)["image"].shape[2] < 64 for k in range(WINDOW)) >= WINDOW / 2


def test_the_order_is_that_of_the_seed_on_any_hosts_and_resumed(source):
    whole = loader(source)
    parts = [loader(source, host=host, num_hosts=2) for host in (0, 1)]
    for k in (0, 5, WINDOW + 1):
        batch = whole.batch_at(4 * k)
        halves = [part.batch_at(4 * k) for part in parts]
        np.testing.assert_array_equal(
            batch["image"], np.concatenate([half["image"] for half in halves])
        )
    first = [next(whole)["text"] for _ in range(3)]
    state = whole.state()
    following = next(whole)["text"]
    whole.restore(state)
    np.testing.assert_array_equal(next(whole)["text"], following)
    assert len(np.unique(np.concatenate(first), axis=0)) > 1


@pytest.mark.parametrize("lengths", [(32, 16, 64), (0, 64), (64, 64)])
def test_lengths_ascend(source, lengths):
    with pytest.raises(InvalidValue, match="buckets: got .*ascending numbers from 1 on, below 64"):
        Buckets(source.lengths, lengths, axis=2)
