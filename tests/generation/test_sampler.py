"""Drawing pictures in batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sampling
from data import CENTERED, Scaled
from generation.sampler import DrawSamples, Generator
from options import memory
from options.errors import OutOfMemory
from oracles import Gaussian
from sde_lib import VPSDE
from solvers.grids import uniform_grid
from solvers.predictor_corrector import Ancestral, NoCorrector, PredictorCorrector
from solvers.sampler import Sampler
from storage import pictures

SHAPE = (3, 3, 1)
GREY = Gaussian(jnp.full(SHAPE, 0.5), jnp.full(SHAPE, 0.1))
KEY = jax.random.key(0)


def generator(**options):
    solver = PredictorCorrector(Ancestral(), NoCorrector())
    grid = uniform_grid(VPSDE(), 10, t_end=1e-3)
    return Generator(
        Sampler(VPSDE(), solver, grid, SHAPE, options.pop("space", CENTERED)), **options
    )


def test_images_do_not_depend_on_the_batch_size():
    labels = np.full(7, -1, np.int32)
    small = generator(batch_size=3).draw(GREY, KEY, labels)
    whole = generator(batch_size=7).draw(GREY, KEY, labels)
    np.testing.assert_allclose(small.data.astype(int), whole.data, atol=1)
    assert small.data.dtype == np.uint8 and small.data.shape == (7, *SHAPE)
    # 0.5 in [-1, 1] is 191 of 255.
    assert abs(float(whole.data.mean()) - 191.25) < 5
    assert whole.nfe == 11 and whole.ok.all()


def spy_on_compilations(monkeypatch):
    """The batches of the rounds that are compiled."""
    compiled, lower = [], Sampler.lower

    def spy(self, predict, count, cond, **options):
        compiled.append(count)
        return lower(self, predict, count, cond, **options)

    monkeypatch.setattr(Sampler, "lower", spy)
    return compiled


def test_a_batch_of_ones_own_is_the_largest_that_fits(monkeypatch):
    labels = np.full(40, -1, np.int32)
    compiled, roomy = spy_on_compilations(monkeypatch), generator()
    needs = memory.footprint(roomy.sampler.lower(GREY, 40, {}).compile())
    before = sampling._run_chunk._cache_size()
    whole = roomy.draw(GREY, KEY, labels)
    assert compiled == [40, 40] and sampling._run_chunk._cache_size() == before + 1
    monkeypatch.setattr(memory, "device_memory", lambda: int(0.6 * needs))
    parts = generator()
    size = parts.fitted(GREY, 40).batch_size
    assert 12 <= size <= 24 and compiled[-1] == size
    made = parts.draw(GREY, KEY, labels)
    np.testing.assert_allclose(made.data.astype(int), whole.data, atol=1)
    assert generator(batch_size=7).fitted(GREY, 40).batch_size == 7


def test_a_batch_that_does_not_fit_after_all_is_named(monkeypatch):
    def exhausted(*_, **__):
        raise jax.errors.JaxRuntimeError("INTERNAL: Out of memory allocating 9 bytes")

    monkeypatch.setattr(Sampler, "draw", exhausted)
    with pytest.raises(OutOfMemory, match="^sampling.batch_size: got 3, but the device"):
        generator(batch_size=3).draw(GREY, KEY, np.full(7, -1, np.int32))


def test_a_part_of_a_run_is_the_same_as_in_the_whole():
    labels = np.full(6, -1, np.int32)
    whole = generator().draw(GREY, KEY, labels)
    part = generator().draw(GREY, KEY, labels[:2], first_index=4)
    np.testing.assert_allclose(part.data.astype(int), whole.data[4:], atol=1)


def test_labels_go_through_the_classes_in_turn():
    np.testing.assert_array_equal(generator(num_classes=3).labels(5), [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(generator().labels(2), [-1, -1])


def test_progress_counts_the_steps_of_all_batches():
    calls = []
    labels = np.full(5, -1, np.int32)
    generator(batch_size=2).draw(
        GREY, KEY, labels, progress=lambda done, steps: calls.append((done, steps))
    )
    assert calls[-1] == (30, 30) and calls == sorted(calls)


def test_the_path_ends_in_the_samples():
    made = generator(batch_size=2).draw(GREY, KEY, np.full(3, -1, np.int32), frames=4)
    assert made.path.shape == (2, 4, *SHAPE)
    np.testing.assert_array_equal(made.path[:, -1], made.data[:2])
    assert made.path[:, 0].std() > made.path[:, -1].std()


def test_the_training_picture_is_that_of_samples_by_class(capsys):
    drawn = generator(num_classes=2, class_names=lambda: ("cat", "dog"))
    predict = lambda x, node, cond: GREY(x, node)  # noqa: E731
    picture = DrawSamples(drawn, 7)(predict, KEY)["samples"]
    made = drawn.draw(predict, KEY, drawn.labels(7))
    assert made.class_names == ("cat", "dog")
    np.testing.assert_array_equal(picture, made.picture)
    assert picture.shape[-1] == 1 and min(picture.shape[:2]) >= 512
    other = made._replace(class_names=()).picture  # "class 0" is another name
    assert not np.array_equal(picture, other)


def test_the_picture_of_the_path_says_the_times(monkeypatch):
    shown, drawn = [], pictures.drawn
    monkeypatch.setattr(pictures, "drawn", lambda panel: shown.append(panel) or drawn(panel))
    made = generator(num_classes=2, class_names=lambda: ("cat", "dog")).draw(
        lambda x, node, cond: GREY(x, node), KEY, np.array([1, 0], np.int32), frames=4
    )
    assert made.path_picture.dtype == np.uint8
    (panel,) = shown
    assert panel.titles == ["t = 1", "t = 0.7", "t = 0.4", "sample"]
    assert panel.names == ["dog", "cat"] and panel.images.shape == (2, 4, *SHAPE)


def test_real_numbers_are_decoded_and_have_no_pictures():
    made = generator(space=Scaled((10.0,), (2.0,)))
    found = made.draw(GREY, KEY, np.full(50, -1, np.int32), frames=4)
    assert found.data.dtype == np.float32 and found.path is None
    assert abs(found.data.mean() - 11.0) < 0.1
    assert DrawSamples(made, count=2)(GREY, KEY) == {}
