"""Upsamplers and cascades of them, on Gaussian images with exact conditional distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

from controllable.super_resolution import CascadeStage, cascade
from data.source import ArraySource
from data.space import CENTERED, Pixels
from generation.control_tasks import Inpaint, Upscale
from generation.controls import Asked, Controls
from generation.sampler import Generator, HeldOutLow
from oracles import Gaussian
from parameterization import NO_COND, Parameterization, Prediction, Time
from sde_lib import VPSDE
from solvers import DDIM, AdaptiveODE, DPMSolverPP, PredictorCorrector
from solvers.grids import log_snr_grid
from solvers.predictor_corrector import Ancestral, NoCorrector
from solvers.sampler import Sampler
from tasks.conditions import LowResolution
from tasks.image import ImageTask
from tasks.task import Context

PROCESS, KEY = VPSDE(), jax.random.key(0)
GRID = log_snr_grid(PROCESS, 60, t_end=1e-3)
# Those of the first order take more steps for the distribution to be exact to Monte-Carlo error.
FINE = log_snr_grid(PROCESS, 250, t_end=1e-3)
SOLVERS = {
    "ancestral": (PredictorCorrector(Ancestral(), NoCorrector()), FINE),
    "ddim": (DDIM(), FINE),
    "dpm": (DPMSolverPP(), GRID),
    "ode": (AdaptiveODE(), GRID),
}


class Images:
    """Images N(mean, covariance) of size x size pixels, any two of which are correlated.

    As a predictor it is exact given a low-resolution image, if there is one.
    """

    def __init__(self, mean, covariance, size):
        self.mean, self.covariance, self.size = mean, covariance, size

    @classmethod
    def smooth(cls, size):
        where = np.stack(np.meshgrid(*2 * [np.linspace(0, 3, size)]), -1).reshape(-1, 2)
        square = np.sum((where[:, None] - where[None]) ** 2, -1)
        covariance = 0.5 * np.exp(-square / 4) + 0.2 * np.eye(size**2)
        return cls(0.3 * where[:, 0] - 0.4, covariance, size)

    @property
    def means(self):
        """The matrix of means over squares of 2 x 2 pixels."""
        half = self.size // 2
        one = np.kron(np.eye(half), np.full((1, 2), 0.5))
        return np.kron(one, one)

    def half(self):
        """The distribution of images of half the size."""
        a = self.means
        return Images(a @ self.mean, a @ self.covariance @ a.T, self.size // 2)

    def given(self, low, level):
        """Mean, eigenvalues and eigenvectors of the covariance of x_0 given low_s, one image."""
        a = jnp.cos(jnp.pi / 2 * level) * self.means
        s = jnp.sin(jnp.pi / 2 * level)
        total = a @ self.covariance @ a.T + s**2 * jnp.eye(len(a))
        gain = jnp.linalg.solve(total, a @ self.covariance).T
        values, vectors = jnp.linalg.eigh(self.covariance - gain @ a @ self.covariance)
        return self.mean + (low - a @ self.mean) @ gain.T, jnp.maximum(values, 0), vectors

    def __call__(self, x, node, cond=NO_COND):
        flat = x.reshape(len(x), -1)
        if "low" in cond:  # one level for all, as in a run
            low = cond["low"]["image"].reshape(len(x), -1)
            mean, values, vectors = self.given(low, cond["low"]["level"][0])
        else:
            values, vectors = jnp.linalg.eigh(jnp.asarray(self.covariance))
            mean = self.mean
        alpha, sigma = node.alpha[:, None], node.sigma[:, None]
        away = ((flat - alpha * mean) @ vectors) / (alpha**2 * values + sigma**2)
        x_0, eps = mean + (alpha * values * away) @ vectors.T, sigma * away @ vectors.T
        return Prediction(x_0.reshape(x.shape), eps.reshape(x.shape), node)


FOUR = Images.smooth(4)
LAWS = [FOUR.half().half(), FOUR.half(), FOUR]


def stages(solver, levels=(0.0, 0.0), space=None):
    """1 -> 2 -> 4 pixels."""
    lows = [None, LowResolution(1), LowResolution(2)]
    return [
        CascadeStage(sampler(solver, law.size, space), law, low, level=level)
        for law, low, level in zip(LAWS, lows, (0.0, *levels), strict=True)
    ]


def sampler(solver, size, space=None):
    return Sampler(PROCESS, *SOLVERS[solver], (size, size, 1), space)


def flat(samples):
    return np.asarray(samples.x, np.float64).reshape(len(samples.x), -1)


@pytest.mark.one_in(8)
@pytest.mark.parametrize("level", [0.0, 0.3])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_cascade_of_exact_models_draws_the_exact_joint_distribution(solver, level):
    """Mean and covariance of every stage, and of each with the one before it."""
    chain, n = stages(solver, (level, level)), 4000
    made = cascade(KEY, chain, n)
    found = [flat(samples) for samples in made]
    for x, stage in zip(found, chain, strict=True):
        # A sample of 4,000: a mean to 0.016 of a standard deviation of 0.84, a variance to 2 %.
        np.testing.assert_allclose(x.mean(0), stage.predict.mean, atol=0.06)
        np.testing.assert_allclose(np.cov(x.T), stage.predict.covariance, atol=0.06)
    a, s = np.cos(np.pi / 2 * level), np.sin(np.pi / 2 * level)
    for low, x, law in zip(found, found[1:], [stage.predict for stage in chain[1:]], strict=False):
        before = law.half().covariance
        through = np.linalg.inv(a**2 * before + s**2 * np.eye(len(before)))
        want = a**2 * before @ through @ law.means @ law.covariance
        got = (low - low.mean(0)).T @ (x - x.mean(0)) / n
        np.testing.assert_allclose(got, want, atol=0.06)
        if level == 0:  # the image given is met
            np.testing.assert_allclose(x @ law.means.T, low, atol=0.05)


def test_a_sample_of_a_cascade_depends_on_its_number_alone():
    chain = stages("dpm", (0.2, 0.0))[:2]
    whole = cascade(KEY, chain, 6)
    part = cascade(KEY, chain, 2, first_index=3)
    for all_of_them, some in zip(whole, part, strict=True):
        np.testing.assert_allclose(all_of_them.x[3:5], some.x, atol=1e-4)


def test_given_images_begin_a_cascade_and_progress_counts_all_stages():
    chain, calls = stages("dpm", space=Pixels(-9.0, 9.0))[1:], []
    given = jnp.full((3, 1, 1, 1), 0.7)
    made = cascade(KEY, chain, 3, given=given, progress=lambda *call: calls.append(call))
    np.testing.assert_allclose(made[-1].x.mean((1, 2)), 0.7, atol=0.05)
    assert calls[-1] == (120, 120) and calls == sorted(calls)


def test_a_stage_enlarges_what_lies_within_the_bounds():
    low, high = cascade(KEY, stages("dpm", space=Pixels(-0.1, 0.1))[:2], 50)
    assert np.abs(low.x).max() > 0.5
    means = np.asarray(high.x).mean((1, 2, 3))
    np.testing.assert_allclose(means, np.clip(low.x, -0.1, 0.1).ravel(), atol=0.02)


# What an upsampler is conditioned on in training.


def test_the_augmentation_has_its_mean_and_its_spread():
    low, keys = jnp.full((4000, 1, 2, 3), 0.8), jax.random.split(KEY, 4000)
    for level in (0.0, 0.25, 1.0):
        value = LowResolution(1).noised(low, jnp.full(4000, level), keys)
        mean, std = 0.8 * np.cos(np.pi / 2 * level), np.sin(np.pi / 2 * level)
        np.testing.assert_allclose(value["image"].mean(0), mean, atol=0.07)
        np.testing.assert_allclose(value["image"].std(0), std, atol=0.05)
        np.testing.assert_array_equal(value["level"], jnp.float32(level))


def test_training_levels_are_uniform_and_an_examples_own():
    x, keys = jax.random.normal(KEY, (2000, 4, 4, 1)), jax.random.split(KEY, 2000)
    value = LowResolution(2, max_level=0.5).draw({"image": x}, keys)
    assert value["image"].shape == (2000, 2, 2, 1)
    np.testing.assert_allclose(
        np.quantile(value["level"], [0, 0.25, 0.5, 0.75, 1]), [0, 0.125, 0.25, 0.375, 0.5],
        atol=0.02,
    )  # fmt: skip
    part = LowResolution(2, max_level=0.5).draw({"image": x[7:9]}, keys[7:9])
    np.testing.assert_allclose(part["image"], value["image"][7:9], rtol=1e-5)


def test_no_change_of_the_exact_predictor_lowers_the_training_loss():
    """Its error has no correlation with its conditions, so the gradient of such terms is zero."""
    law, n = Images.smooth(2), 10_000
    low = LowResolution(1)

    class Exact:
        """x_0 given x_t and low_s, plus multiples of them; c_noise is the time."""

        def apply(self, variables, x, c_noise, *, low):
            low, low_level = low["image"], low["level"]
            node = PROCESS.node(c_noise)

            def one(x, alpha, sigma, low, level):
                mean, values, vectors = law.given(low, level)
                gain = alpha * values / (alpha**2 * values + sigma**2)
                return mean + vectors @ (gain * (vectors.T @ (x - alpha * mean)))

            x_0 = jax.vmap(one)(
                x.reshape(n, -1), node.alpha, node.sigma, low.reshape(n, -1), low_level
            ).reshape(x.shape)
            a, b, c, d = variables["params"]
            level = low_level[:, None, None, None]
            return x_0 + a * x + b * low + c * level + d

    root = np.linalg.cholesky(law.covariance)
    x_0 = law.mean + jax.random.normal(jax.random.key(1), (n, 4)) @ root.T
    batch = {"image": x_0.reshape(n, 2, 2, 1)}
    reads = Parameterization("data", Time(1.0))
    task = ImageTask(PROCESS, reads, Exact(), (2, 2, 1), (low,), weighting="data")
    keys = jax.random.split(KEY, n)
    slope = quick_jit(jax.grad(lambda p: task.loss(Context(p), batch, keys)[0]))
    assert np.abs(slope(jnp.zeros(4))).max() < 0.02
    assert np.abs(slope(jnp.full(4, 0.1))).min() > 0.1


# Upscaling, as the command line does it.

DATA = Gaussian(jnp.zeros((4, 4, 1)), jnp.full((4, 4, 1), 0.3))


FROM_2 = (LowResolution(2),)


class Enlarging:
    """Exact for independent pixels of standard deviation 0.3, given means without noise."""

    def __call__(self, x, node, cond):
        mean = jnp.repeat(jnp.repeat(cond["low"]["image"], 2, 1), 2, 2)
        free = DATA(x - node.alpha[:, None, None, None] * mean, node)
        blocks = lambda y: jnp.repeat(jnp.repeat(  # noqa: E731
            LowResolution(2).of(y), 2, 1), 2, 2)  # fmt: skip
        x_0 = mean + free.x_0 - blocks(free.x_0)
        alpha, sigma = node.alpha[:, None, None, None], node.sigma[:, None, None, None]
        return Prediction(x_0, (x - alpha * x_0) / sigma, node)


def upscaler(solver="dpm", conditions=FROM_2, **options):
    return Controls(lambda t: sampler(solver, 4, CENTERED), conditions, **options)


@pytest.mark.parametrize("solver", ["ancestral", "dpm", "ode"])
def test_upscaling_meets_the_picture_and_is_spread_as_the_distribution_is(solver):
    images = CENTERED.to_uint8(DATA.sample(KEY, 20))
    asked = Asked(Upscale(), images, np.full(20, -1, np.int32), results=8)
    made = upscaler(solver).run(Enlarging(), asked, KEY)
    figures = made.metrics
    assert figures["consistency_rmse"] < 0.01
    # Given the mean of four, each has 3/4 of its variance; of eight, the expected deviation.
    assert figures["spread"] == pytest.approx(0.15 * np.sqrt(0.75) * 0.9, rel=0.05)
    assert figures["psnr"] == pytest.approx(-20 * np.log10(0.15 * np.sqrt(1.5)), abs=0.5)
    assert figures["psnr_of_cubic"] > figures["psnr"] + 2  # a mean errs least
    assert made.panel.images.shape[:2] == (20, 10) and made.panel.titles[:2] == ["image", "known"]


def test_a_picture_of_the_small_size_is_upscaled_too():
    images = np.full((1, 2, 2, 1), 160, np.uint8)
    made = upscaler().run(Enlarging(), Asked(Upscale(), images, np.array([-1]), results=3), KEY)
    assert made.results.shape == (1, 3, 4, 4, 1) and made.panel.titles[0] == "known"
    assert abs(made.results.mean() - 160) < 1.5 and "psnr" not in made.metrics


def test_held_out_pictures_are_of_the_classes_asked_for():
    pixels = np.repeat(np.arange(10, dtype=np.uint8) * 20, 16).reshape(10, 4, 4, 1)
    source = ArraySource("ten", pixels, np.arange(10, dtype=np.int32) % 2, ("even", "odd"))
    held_out = HeldOutLow(lambda: source, lambda image: image, LowResolution(2), CENTERED, 0.0)
    labels = np.array([0, 1, 1, 0, -1], np.int32)
    low = held_out.cond(labels, 3)["low"]["image"]
    shade = np.rint(CENTERED.to_uint8(low)[:, 0, 0, 0] / 20).astype(int)
    np.testing.assert_array_equal(shade[:4] % 2, labels[:4])
    np.testing.assert_allclose(held_out.cond(labels[2:], 5)["low"]["image"], low[2:], atol=1e-6)

    generator = Generator(sampler("dpm", 4, CENTERED), batch_size=2, low=held_out)
    made = generator.draw(Enlarging(), KEY, labels, first_index=3).data
    np.testing.assert_allclose(made.mean((1, 2, 3)), 20 * shade, atol=4)  # clipped at black


# Bad input.


def stage(size=4, low=2, classes=0, level=0.0, space=CENTERED):
    low = LowResolution(low) if low else None
    return CascadeStage(sampler("dpm", size, space), FOUR, low, classes, level)


BASE, UP = stage(2, 0), stage()
GREY = jnp.zeros((2, 2, 2, 1))


@pytest.mark.parametrize(
    "chain, options, match",
    [
        ([], {}, "stages: got none"),
        ([UP], {}, "stages: stage 0 is an upsampler, which needs images"),
        ([BASE, stage(4, 0)], {}, "stages: stage 1 is no upsampler"),
        ([BASE], {"given": GREY}, "stages: stage 0 is no upsampler"),
        ([stage(1, 0), UP], {}, "stage 1 enlarges images of 2 x 2 x 1, but stage 0 makes 1 x 1"),
        ([BASE, stage(classes=3)], {}, "stages: stage 1 has 3 classes and stage 0 has 0"),
        ([UP], {"given": GREY[:, :1]}, r"low: got images of shape \(1, 2, 1\), expected \(2, 2"),
        ([UP], {"given": GREY + 3}, "low: got values from 3 to 3, expected the model's range"),
        ([UP], {"given": GREY[:1]}, "given: got 1 images, expected 2"),
        ([BASE, stage(level=1.5)], {}, r"level: got 1.5, expected a level in \[0, 1\]"),
        ([BASE, stage(level=-0.1)], {}, "level: got -0.1"),
        ([BASE, stage(space=Pixels(0.0, 1.0))], {}, "stage 1 has data within .0.0, 1.0. and stage"),
        ([BASE, UP], {"labels": jnp.zeros(2, jnp.int32)}, "labels: got some, but the models have"),
        ([stage(2, 0, 3)], {}, "labels: got None, expected 2 classes"),
        ([stage(2, 0, 3)], {"labels": jnp.array([0, 7])}, r"labels: got \[0, 7\], expected"),
    ],
)
def test_what_does_not_chain_is_refused_before_sampling(chain, options, match):
    with pytest.raises(ValueError, match=match):
        cascade(KEY, chain, 2, **options)


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: LowResolution(0), "^size: got 0"),
        (lambda: LowResolution(2, 0.0), "max_level: got 0.0"),
        (lambda: LowResolution(2, 1.1), "max_level: got 1.1"),
        (lambda: LowResolution(3).of(jnp.zeros((1, 4, 4, 1))), "^size: got 3"),
        (lambda: LowResolution(4).of(jnp.zeros((1, 4, 4, 1))), "^size: got 4, expected"),
        (lambda: LowResolution(2).of(jnp.zeros((1, 4, 5, 1))), "^size: got 2"),
    ],
)  # fmt: skip
def test_sizes_and_levels_that_cannot_be_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    "model, task, size, match",
    [
        (upscaler(conditions=()), Upscale(), 4, "'upscale' needs the weights of an upsampler"),
        (upscaler(), Inpaint(), 4, "got 'inpaint', but an upsampler"),
        (upscaler(), Upscale(), 3, r"image: got images of shape \(3, 3, 1\), expected \(2, 2, 1"),
        (upscaler(low_level=2.0), Upscale(), 4, "level: got 2.0"),
    ],
)
def test_bad_requests_to_upscale_are_refused(model, task, size, match):
    images = np.zeros((1, size, size, 1), np.uint8)
    with pytest.raises(ValueError, match=match):
        model.run(Enlarging(), Asked(task, images, np.array([-1])), KEY)
