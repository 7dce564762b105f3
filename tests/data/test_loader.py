import itertools
import json
import sys
import threading
import time

import numpy as np
import pytest

from data import ArraySource, Augment, Loader, Record, Source, Transform, digits, eval_batches
from options.errors import NotInstalled

COUNT = 10
RANDOM = Transform(image_size=3, crop="random", flip=True, dequantize=True)


def numbered(count=COUNT):
    """Example i has label i, and an image of its own."""
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 4, 1), np.uint8)
    return ArraySource("numbered", images, np.arange(count), tuple(map(str, range(count))))


def take(loader, count):
    return list(itertools.islice(loader, count))


def labels(batches):
    return np.concatenate([batch["label"] for batch in batches]).tolist()


def assert_equal(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert set(batch) == set(other)
        for name in batch:
            assert np.array_equal(batch[name], other[name]), name


def test_every_epoch_visits_each_example_once_in_an_order_of_its_own():
    order = labels(take(Loader(numbered(), 4, seed=1), 10))
    epochs = [order[i : i + COUNT] for i in range(0, 40, COUNT)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_without_shuffling_the_order_is_that_of_the_source():
    assert labels(take(Loader(numbered(), 4, shuffle=False), 5)) == 2 * list(range(COUNT))


def test_a_batch_may_be_larger_than_the_data_set():
    order = labels(take(Loader(numbered(), 25), 1))
    assert sorted(order[:COUNT]) == sorted(order[COUNT : 2 * COUNT]) == list(range(COUNT))


def test_images_go_with_their_labels():
    source = numbered()
    for batch in take(Loader(source, 4), 5):
        assert np.allclose(255 * batch["image"], source.images[batch["label"]])


def test_the_seed_decides_everything():
    first, again, other = (take(Loader(numbered(), 4, RANDOM, seed=s), 6) for s in (7, 7, 8))
    assert_equal(first, again)
    assert labels(first) != labels(other)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_stream_does_not_depend_on_the_batch_size(batch_size):
    whole = take(Loader(numbered(), 20, RANDOM), 1)[0]
    parts = take(Loader(numbered(), batch_size, RANDOM), 20 // batch_size)
    for name, value in whole.items():
        assert np.array_equal(np.concatenate([part[name] for part in parts]), value)


@pytest.mark.parametrize("num_hosts", [2, 3])
def test_the_hosts_together_read_what_one_host_reads(num_hosts):
    transform = Transform(dequantize=True, augment=Augment(0.5))
    alone = take(Loader(numbered(), 6, transform), 5)
    hosts = [
        take(Loader(numbered(), 6, transform, host=h, num_hosts=num_hosts), 5)
        for h in range(num_hosts)
    ]
    together = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*hosts, strict=True)
    ]
    assert_equal(together, alone)


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_restored_loader_goes_on_exactly(steps):
    loader = Loader(numbered(), 4, RANDOM)
    take(loader, steps)
    state = json.loads(json.dumps(loader.state()))
    rest = take(loader, 7)

    fresh = Loader(numbered(), 4, RANDOM)
    take(fresh, 3)  # what it read before does not matter
    fresh.restore(state)
    assert fresh.state() == state
    assert_equal(take(fresh, 7), rest)


def test_a_run_goes_on_with_another_batch_size_and_number_of_hosts():
    loader = Loader(numbered(), 6)
    take(loader, 1)
    other = Loader(numbered(), 4, host=1, num_hosts=2)
    other.restore(loader.state())
    assert_equal(take(other, 1), [Loader(numbered(), 2).batch_at(8)])


@pytest.mark.parametrize(
    ("loader", "match"),
    [
        (lambda: Loader(numbered(11), 4), "saved with examples 10, .* has 11"),
        (lambda: Loader(numbered(), 4, seed=1), "saved with seed 0, .* has 1"),
        (lambda: Loader(numbered(), 4, shuffle=False), "saved with shuffle True, .* has False"),
    ],
)
def test_the_state_of_another_stream_is_refused(loader, match):
    with pytest.raises(ValueError, match=match):
        loader().restore(Loader(numbered(), 4).state())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"batch_size": 5, "num_hosts": 2}, "batch_size: got 5, expected a multiple of 2 hosts"),
        ({"batch_size": 4, "host": 2, "num_hosts": 2}, "host: got 2 of 2"),
        ({"batch_size": 4, "seed": -1}, "seed: got -1"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        Loader(numbered(), **options)


class Watched(Source):
    """Notes who reads what, and cannot read number `broken`."""

    name = "watched"
    shape = (1, 1, 1)
    class_names = ()

    def __init__(self, broken=None):
        self.broken = broken
        self.read = set()
        self.threads = set()

    def __len__(self):
        return 64

    def __getitem__(self, index):
        if index == self.broken:
            raise OSError(f"pictures/{index}.png: truncated")
        self.read.add(index)
        self.threads.add(threading.get_ident())
        return Record(image=np.full((1, 1, 1), index, np.uint8), label=0)


def test_an_error_in_the_background_names_the_file():
    loader = Loader(Watched(broken=9), 4, shuffle=False)
    take(loader, 2)
    with pytest.raises(OSError, match=r"pictures/9\.png: truncated"):
        next(loader)


def test_without_grain_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    for read in (lambda: Loader(digits("test"), 4), lambda: eval_batches(digits("test"), 4)):
        with pytest.raises(NotInstalled, match=r"grain is not installed: pip install .*\[train\]"):
            read()


def test_batches_are_read_ahead_in_the_background():
    source = Watched()
    loader = Loader(source, 4, shuffle=False, prefetch=3)
    next(loader)
    deadline = time.monotonic() + 60
    while len(source.read) < 16 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.read == set(range(16))  # the one handed out and three more
    assert threading.get_ident() not in source.threads
    assert loader.state()["position"] == 4


@pytest.mark.parametrize("batch_size", [1, 4, 5, 16])
def test_evaluation_counts_every_example_once(batch_size):
    batches = list(eval_batches(numbered(), batch_size))
    assert len(batches) == -(-COUNT // batch_size)
    assert {batch["image"].shape[0] for batch in batches} == {batch_size}
    kept = np.concatenate([batch["label"][batch["counts"]] for batch in batches])
    assert kept.tolist() == list(range(COUNT))


def test_evaluation_is_split_over_hosts_with_the_same_noise():
    alone = list(eval_batches(numbered(), 8, Transform(dequantize=True)))
    hosts = [
        list(eval_batches(numbered(), 8, Transform(dequantize=True), host=h, num_hosts=4))
        for h in range(4)
    ]
    together = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*hosts, strict=True)
    ]
    assert_equal(together, alone)


def test_evaluation_noise_belongs_to_the_example():
    noise = Transform(dequantize=True)
    by_four, by_five = (
        np.concatenate([b["image"][b["counts"]] for b in eval_batches(numbered(), size, noise)])
        for size in (4, 5)
    )
    assert np.array_equal(by_four, by_five)
    other = np.concatenate([b["image"] for b in eval_batches(numbered(), 5, noise, seed=1)])
    assert not np.array_equal(by_five, other)


def test_an_interrupted_evaluation_goes_on_where_it_stopped():
    noise = Transform(dequantize=True)
    whole = list(eval_batches(numbered(), 4, noise))
    assert_equal(list(eval_batches(numbered(), 4, noise, start=1)), whole[1:])
    assert list(eval_batches(numbered(), 4, noise, start=3)) == []
    with pytest.raises(ValueError, match="start: got 4"):
        eval_batches(numbered(), 4, start=4)


def test_evaluation_neither_flips_nor_crops_at_random():
    first, second = (
        list(eval_batches(numbered(), 4, Transform(flip=True), seed=s)) for s in (0, 1)
    )
    assert_equal(first, second)


def test_digits_are_served_in_less_than_the_time_of_a_step():
    loader = Loader(digits(), 128, Transform(dequantize=True, flip=True))
    loader.batch_at(0)
    times = []
    for step in range(20):
        start = time.thread_time()  # which other work on the machine does not count in
        loader.batch_at(128 * step)
        times.append(time.thread_time() - start)
    assert min(times) < 0.01  # 1 ms on an idle core
