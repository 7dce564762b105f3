import numpy as np
import pytest

from data import ArraySource, Record, Source, Subset
from options.errors import InvalidValue

IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3, 1)
LABELS = np.array([0, 1, 1, 0, 2])


class Listed(Source):
    """A source that has only what it must have."""

    name = "listed"
    shape = (2, 3, 1)
    class_names = ("a", "b", "c")

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        return Record(image=IMAGES[index], label=int(LABELS[index]))


@pytest.mark.parametrize(
    "source", [Listed(), ArraySource("array", IMAGES, LABELS, ("a", "b", "c"))]
)
def test_take_gathers_the_examples_in_order(source):
    records = source.take(np.array([4, 0, 4]))
    assert np.array_equal(np.stack(list(records["image"])), IMAGES[[4, 0, 4]])
    assert records["label"].dtype == np.int32
    assert records["label"].tolist() == [2, 0, 2]
    assert (len(source), source.num_classes, source.shape) == (5, 3, (2, 3, 1))
    assert source[4]["label"] == 2


def test_labels_and_images_must_agree():
    with pytest.raises(ValueError, match="got 5 examples and 4 labels"):
        ArraySource("array", IMAGES, LABELS[:4])
    with pytest.raises(ValueError, match="got 0 examples"):
        ArraySource("array", IMAGES[:0], LABELS[:0])
    with pytest.raises(ValueError, match=r"labels from 0 to 2, expected \[0, 2\)"):
        ArraySource("array", IMAGES, LABELS, ("a", "b"))
    with pytest.raises(ValueError, match=r"labels from 0 to 2, expected \[0, 1\)"):
        ArraySource("array", IMAGES, LABELS)


def test_a_subset_is_some_of_the_examples():
    source = ArraySource("array", IMAGES, LABELS, ("a", "b", "c"))
    part = Subset(source, np.array([4, 1]))
    assert (len(part), part.num_classes, part.shape) == (2, 3, (2, 3, 1))
    assert np.array_equal(part[0]["image"], IMAGES[4])
    records = part.take(np.array([1, 0, 1]))
    assert np.array_equal(records["image"], IMAGES[[1, 4, 1]])
    assert records["label"].tolist() == [1, 2, 1]
    for indices in ([], [5], [-1]):
        with pytest.raises(ValueError, match=r"indices: .*expected at least one, all in \[0, 5\)"):
            Subset(source, np.array(indices, int))


def test_examples_may_be_sequences_with_a_mask():
    values = np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float32)
    mask = np.arange(4)[:, None] < np.array([1, 2, 3, 4, 4])[:, None, None]
    source = ArraySource("strokes", values, np.zeros(5, int), mask=mask)
    assert (source.shape, source.channels, source.dtype) == ((4, 2), 2, np.float32)
    assert source.masked and not source.is_images
    for part in (source, Subset(source, np.array([0, 1, 2, 3, 4]))):
        assert np.array_equal(part[2]["mask"], mask[2])
        for take in (part.take, lambda indices, part=part: Source.take(part, indices)):
            assert np.array_equal(take(np.array([3, 1]))["mask"], mask[[3, 1]])


@pytest.mark.parametrize(
    ("values", "mask", "match"),
    [
        (IMAGES.astype(np.float64), None, "got float64, expected uint8 or float32"),
        (LABELS.astype(np.uint8), None, "single numbers"),
        (IMAGES, np.ones((5, 2, 3), bool), r"a mask \(5, 2, 3\), expected \(5, 2, 3, 1\)"),
        (IMAGES, np.ones((5, 2, 2, 1), bool), r"a mask \(5, 2, 2, 1\)"),
        (IMAGES, np.arange(5)[:, None, None, None] > 1, "example 0, of which nothing is real"),
    ],
)
def test_what_is_no_example_is_refused(values, mask, match):
    with pytest.raises(InvalidValue, match=match):
        ArraySource("array", values, np.zeros(5, int), mask=mask)


def test_a_checksum_sees_every_example_and_label():
    images = np.random.default_rng(0).integers(0, 256, (300, 2, 3, 1), np.uint8)
    labels = np.zeros(300, int)
    first = ArraySource("a", images, labels, ("a", "b")).checksum()
    assert ArraySource("b", images.copy(), labels, ("a", "b")).checksum() == first
    found = {first, ArraySource("a", images, labels, ("a", "c")).checksum()}
    for array in (images, labels):
        array[299] ^= 1
        found.add(ArraySource("a", images, labels, ("a", "b")).checksum())
    assert len(found) == 4
