import numpy as np
import pytest

from data import ArraySource, Record, Source, Subset

IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3, 1)
LABELS = np.array([0, 1, 1, 0, 2])


class Listed(Source):
    """A source that has only what it must have."""

    name = "listed"
    image_shape = (2, 3, 1)
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
    assert (len(source), source.num_classes, source.image_shape) == (5, 3, (2, 3, 1))
    assert source[4]["label"] == 2


def test_labels_and_images_must_agree():
    with pytest.raises(ValueError, match="got 5 images and 4 labels"):
        ArraySource("array", IMAGES, LABELS[:4])
    with pytest.raises(ValueError, match="got 0 images"):
        ArraySource("array", IMAGES[:0], LABELS[:0])
    with pytest.raises(ValueError, match=r"labels from 0 to 2, expected \[0, 2\)"):
        ArraySource("array", IMAGES, LABELS, ("a", "b"))
    with pytest.raises(ValueError, match=r"labels from 0 to 2, expected \[0, 1\)"):
        ArraySource("array", IMAGES, LABELS)


def test_a_subset_is_some_of_the_examples():
    source = ArraySource("array", IMAGES, LABELS, ("a", "b", "c"))
    part = Subset(source, np.array([4, 1]))
    assert (len(part), part.num_classes, part.image_shape) == (2, 3, (2, 3, 1))
    assert np.array_equal(part[0]["image"], IMAGES[4])
    records = part.take(np.array([1, 0, 1]))
    assert np.array_equal(records["image"], IMAGES[[1, 4, 1]])
    assert records["label"].tolist() == [1, 2, 1]
    for indices in ([], [5], [-1]):
        with pytest.raises(ValueError, match=r"indices: expected at least one, all in \[0, 5\)"):
            Subset(source, np.array(indices, int))
