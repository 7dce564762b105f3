"""Controls on Gaussian data and mixtures, whose conditional distributions are exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from solver_cases import make_solver

from controllable import inverse_problems, masks, replacement
from controllable.classifier_free import classifier_free
from controllable.resampling import Resampled
from controllable.schedules import Constant, Interval, Linear, Table
from controllable.sdedit import noised_start
from oracles import Gaussian, Mixture
from parameterization import Prediction
from sampling import sample
from sde_lib import VESDE, VPSDE
from solvers import DDIM, AdaptiveODE, AdaptiveSDE, DPMSolverPP, PredictorCorrector
from solvers.grids import log_snr_grid, uniform_grid
from solvers.predictor_corrector import Ancestral, NoCorrector
from tasks.conditions import ClassLabel

PROCESS = VPSDE()
ANCESTRAL = PredictorCorrector(Ancestral(), NoCorrector())


class Correlated:
    """Data N(mean, covariance) in R^d under any process: exact, with any covariance."""

    def __init__(self, mean, covariance):
        self.mean, self.covariance = jnp.asarray(mean), jnp.asarray(covariance)
        values, axes = np.linalg.eigh(np.asarray(covariance, np.float64))
        self.values, self.axes = (jnp.asarray(a, jnp.float32) for a in (values, axes))

    def __call__(self, x, node, cond):
        alpha, sigma = node.alpha[:, None], node.sigma[:, None]
        total = alpha**2 * self.values + sigma**2  # along the principal axes
        away = (x - alpha * self.mean) @ self.axes / total
        x_0 = self.mean + (alpha * self.values * away) @ self.axes.T
        return Prediction(x_0, sigma * away @ self.axes.T, node)

    def posterior(self, matrix, y, noise):
        """Mean and covariance of x given y = matrix x + N(0, noise^2)."""
        c, a = np.asarray(self.covariance, np.float64), np.asarray(matrix, np.float64)
        gain = c @ a.T @ np.linalg.inv(a @ c @ a.T + noise**2 * np.eye(len(a)))
        mean = np.asarray(self.mean) + gain @ (y - a @ np.asarray(self.mean))
        return mean, c - gain @ a @ c


def run(predict, solver, shape, steps=200, process=PROCESS, **options):
    grid = log_snr_grid(process, steps, t_end=1e-3)
    return sample(jax.random.key(0), process, predict, solver, grid, shape, **options)


# Replacement.

CLOUD = Correlated([0.3, -0.2], [[1.0, 0.6], [0.6, 0.8]])
MASK = jnp.array([1.0, 0.0])
KNOWN = jnp.array([0.9, 0.0])


@pytest.mark.slow
def test_resampling_brings_the_unknown_part_to_its_posterior():
    """x_1 known: x_2 | x_1 is Gaussian. Replacement alone is biased; repeats take the bias away."""
    mean, covariance = CLOUD.posterior(np.eye(2)[:1], np.array([0.9]), 0.0)
    constraint = replacement.Replacement(KNOWN, MASK)
    errors, spreads = [], []
    for repeats in (1, 4, 16):
        made = run(CLOUD, Resampled(ANCESTRAL, repeats), (3000, 2), 50, constraint=constraint)
        assert int(made.nfe[0]) == 50 * repeats + 1
        np.testing.assert_allclose(made.x[:, 0], 0.9, atol=1e-6)
        errors.append(abs(float(made.x[:, 1].mean()) - mean[1]))
        spreads.append(float(made.x[:, 1].std()) / np.sqrt(covariance[1, 1]))
    assert errors[2] < 0.04 and errors[2] < errors[0] / 3, errors
    assert abs(spreads[2] - 1) < 0.1, spreads


def test_one_repeat_is_the_solver_itself():
    want = run(CLOUD, DDIM(eta=1.0), (5, 2), 20)
    made = run(CLOUD, Resampled(DDIM(eta=1.0), 1), (5, 2), 20)
    np.testing.assert_allclose(made.x, want.x, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(made.nfe, want.nfe)


def test_known_pixels_are_exact_whatever_the_solver():
    image = jax.random.uniform(jax.random.key(1), (3, 8, 8, 1), minval=-1.0)
    mask = masks.Box()(8, 8)
    constraint = replacement.inpainting(image, mask)
    data = Gaussian(jnp.zeros((8, 8, 1)), jnp.full((8, 8, 1), 0.5))
    for name in ("pc", "dpm", "ode"):  # the composition test has them all
        made = run(data, make_solver(name), image.shape, 20, constraint=constraint)
        np.testing.assert_allclose(
            np.asarray(made.x)[:, mask == 1], np.asarray(image)[:, mask == 1], atol=1e-6
        )
        assert np.asarray(made.x)[:, mask == 0].std() > 0.2


def test_the_known_region_has_the_noise_of_its_level():
    for process in (VPSDE(), VESDE(0.01, 10.0)):
        node = process.node(jnp.full(4000, 0.4))
        constraint = replacement.Replacement(KNOWN, MASK)
        z = jax.random.normal(jax.random.key(0), (4000, 2))
        x = constraint(jnp.zeros((4000, 2)), node, z)
        assert float(x[:, 0].mean()) == pytest.approx(0.9 * float(node.alpha[0]), abs=0.05)
        assert float(x[:, 0].std()) == pytest.approx(float(node.sigma[0]), rel=0.03)
        np.testing.assert_array_equal(x[:, 1], 0.0)


def test_components_of_a_colour_are_grey_and_two_chromatic_and_sum_to_it():
    x = jax.random.uniform(jax.random.key(0), (2, 3, 3, 3))
    parts = replacement.components(x)
    np.testing.assert_allclose(parts.sum(0), x, atol=1e-6)
    grey = jnp.broadcast_to(replacement.grey_of(x), x.shape)
    np.testing.assert_allclose(parts[0], grey, atol=1e-6)
    np.testing.assert_allclose(parts[1:].mean(-1), 0.0, atol=1e-6)
    for i, j in ((0, 1), (0, 2), (1, 2)):  # at right angles in every pixel
        np.testing.assert_allclose((parts[i] * parts[j]).sum(-1), 0.0, atol=1e-6)


def test_the_color_basis_is_the_published_one(golden):
    z = golden("color")
    x = jnp.moveaxis(jnp.asarray(z["x"]), 1, -1)
    np.testing.assert_allclose(replacement.COLOR_BASIS, z["M"], atol=1e-6)
    decoupled = jnp.moveaxis(jnp.asarray(z["decoupled"]), 1, -1)
    np.testing.assert_allclose(replacement.decouple(x), decoupled, atol=1e-5)
    np.testing.assert_allclose(replacement.couple(decoupled), x, atol=1e-5)


@pytest.mark.parametrize("solver", ["pc", "dpm", "ode"])
def test_colours_keep_their_grey(solver):
    grey = jax.random.uniform(jax.random.key(1), (2, 4, 4, 1), minval=-0.5, maxval=0.5)
    data = Gaussian(jnp.array([0.3, 0.0, -0.3]) * jnp.ones((4, 4, 3)), jnp.full((4, 4, 3), 0.4))
    constraint = replacement.colorization(grey)
    made = run(data, make_solver(solver), (2, 4, 4, 3), 20, constraint=constraint)
    np.testing.assert_allclose(replacement.grey_of(made.x), grey, atol=1e-5)
    assert float(jnp.std(made.x - grey)) > 0.2  # coloured


def test_a_measurement_in_a_rotated_basis():
    """Half of an orthonormal transform of x is known; the other half is free."""
    turn = jnp.linalg.qr(jax.random.normal(jax.random.key(2), (6, 6)))[0]
    rotation = (lambda x: x @ turn, lambda y: y @ turn.T)
    known, mask = jnp.linspace(-0.5, 0.5, 6), (np.arange(6) < 3).astype(np.float32)
    constraint = replacement.measured(known, mask, rotation, (6,))
    made = run(Gaussian(jnp.zeros(6), jnp.ones(6)), DDIM(), (50, 6), constraint=constraint)
    turned = made.x @ turn
    np.testing.assert_allclose(turned[:, :3], jnp.broadcast_to(known[:3], (50, 3)), atol=1e-5)
    assert float(turned[:, 3:].std()) > 0.5


IMAGE = jnp.zeros((2, 8, 8, 1))


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: replacement.inpainting(IMAGE, np.ones((4, 4))), "mask: got shape"),
        (lambda: replacement.inpainting(IMAGE, np.ones((8, 8))), "everything is known"),
        (lambda: replacement.inpainting(IMAGE, np.zeros((8, 8))), "nothing is known"),
        (lambda: replacement.inpainting(IMAGE, np.full((8, 8), 0.5)), "expected 0"),
        (lambda: replacement.inpainting(IMAGE + 3, masks.Box()(8, 8)), "image: got values from 3"),
        (lambda: replacement.colorization(jnp.zeros((2, 8, 8, 3))), "grey: got shape"),
        (lambda: replacement.measured(jnp.zeros(4), [1, 0, 0, 0],
                                      (lambda x: 2 * x, lambda y: y / 2), (4,)), "rotation: got"),
        (lambda: noised_start(jax.random.key(0), PROCESS, IMAGE, 0.0), "t: got 0.0"),
        (lambda: noised_start(jax.random.key(0), PROCESS, IMAGE, 1.5), "t: got 1.5"),
        (lambda: Resampled(DDIM(), 0), "repeats: got 0"),
        (lambda: Resampled(AdaptiveODE()), "repeats: AdaptiveODE chooses its own"),
        (lambda: Constant(-1.0), "scale: got -1.0"),
        (lambda: Interval(Constant(1.0), 2.0, 1.0), "low: got 2.0, expected less than high = 1.0"),
        (lambda: inverse_problems.dps(None, None, scale=-1.0), "scale: got -1.0"),
        (lambda: inverse_problems.pigdm(None, None, sigma_y=-1.0), "sigma_y: got -1.0"),
        (lambda: inverse_problems.gaussian_blur(8, 8, 0.0), "std: got 0.0"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


# Classifier-free guidance.

MIXTURE = Mixture(jnp.array([[-1.0, 0.0], [1.0, 0.0]]), 0.3, jnp.array([0.3, 0.7]))
PARTS = [Gaussian(mean, jnp.full(2, 0.3)) for mean in MIXTURE.means]


CLASS = (ClassLabel(2, 0.1),)


def classes(x, node, cond):
    """An exact conditional model of the mixture's components; label 2 is the null."""
    found = [part(x, node) for part in (*PARTS, MIXTURE)]
    which = jax.nn.one_hot(cond["labels"], 3)
    mix = lambda leaves: jnp.einsum("bk,kbd->bd", which, jnp.stack(leaves))  # noqa: E731
    return Prediction(mix([f.x_0 for f in found]), mix([f.eps for f in found]), node)


LABELS = jnp.array([0, 1, 1, 0, 0, 1], jnp.int32)


@pytest.mark.parametrize("scale, labels", [(1.0, LABELS), (0.0, jnp.full(6, 2, jnp.int32))])
def test_scale_one_is_the_conditional_model_and_zero_the_unconditional(scale, labels):
    want = run(classes, ANCESTRAL, (6, 2), 30, cond={"labels": labels})
    guidance = classifier_free(scale, CLASS)
    made = run(classes, ANCESTRAL, (6, 2), 30, cond={"labels": LABELS}, guidance=guidance)
    np.testing.assert_allclose(made.x, want.x, atol=2e-4)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("solver", ["pc", "ddim", "ode", "heun", "dpm"])
def test_the_label_matters(solver):
    labels = jnp.arange(200, dtype=jnp.int32) % 2
    made = run(
        classes, make_solver(solver, 60), (200, 2), 60, cond={"labels": labels},
        guidance=classifier_free(2.0, CLASS),
    )  # fmt: skip
    assert np.mean((made.x[:, 0] > 0) == (labels == 1)) >= 0.98


def test_more_guidance_moves_further_from_the_other_class():
    labels = jnp.ones(500, jnp.int32)
    ends = [
        float(run(classes, DDIM(), (500, 2), 60, cond={"labels": labels},
                  guidance=classifier_free(scale, CLASS)).x[:, 0].mean())
        for scale in (1.0, 3.0, 6.0)
    ]  # fmt: skip
    assert np.all(np.diff(ends) > 0.02), ends


def test_schedules_say_what_they_say():
    node = PROCESS.node(jnp.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(Linear(500.0, 400.0)(node), [400.0, 450.0, 500.0])
    level = np.asarray(node.sigma / node.alpha)
    inside = Interval(Constant(3.0), low=0.5, high=level[1] + 1, outside=1.0)
    np.testing.assert_allclose(inside(node), [1.0, 3.0, 1.0])
    table = Table(jnp.log(jnp.array([0.1, 10.0])), jnp.array([0.0, 2.0]))
    np.testing.assert_allclose(table(VESDE(0.1, 10.0).node(jnp.array([0.0, 0.5, 1.0]))), [0, 1, 2],
                               atol=1e-5)  # fmt: skip


def test_an_interval_of_guidance_runs_with_a_table():
    table = Table(jnp.log(jnp.array([0.1, 10.0])), jnp.array([1.0, 3.0]))
    labels = jnp.ones(50, jnp.int32)
    made = run(classes, DDIM(), (50, 2), 40, cond={"labels": labels},
               guidance=classifier_free(table, CLASS))  # fmt: skip
    assert np.all(made.x[:, 0] > 0)


# SDEdit.


@pytest.mark.one_in(2)
@pytest.mark.parametrize("solver", [ANCESTRAL, DDIM(), DPMSolverPP(), AdaptiveSDE()], ids=repr)
def test_little_noise_stays_near_and_much_forgets(solver):
    image = jnp.full((500, 2), 0.2)
    distances = []
    for t in (0.05, 0.3, 1.0):
        x, node = noised_start(jax.random.key(4), PROCESS, image, t)
        grid = uniform_grid(PROCESS, 60, t_start=t, t_end=1e-3)
        made = sample(jax.random.key(0), PROCESS, MIXTURE, solver, grid, (500, 2), start=(x, node))
        distances.append(float(jnp.linalg.norm(made.x - image, axis=1).mean()))
    assert distances[0] < distances[1] < distances[2] * 1.05, distances
    assert np.mean(made.x[:, 0] > 0) == pytest.approx(0.7, abs=0.08)


# Inverse problems.

OPERATORS = {
    "mask": (inverse_problems.Masking(jnp.asarray(masks.Box()(8, 8))[..., None]), (2, 8, 8, 1)),
    "downsampling": (inverse_problems.Downsampling(4), (2, 8, 8, 1)),
    "blur": (inverse_problems.gaussian_blur(8, 8, 1.2), (2, 8, 8, 1)),
    "fourier": (
        inverse_problems.FourierSubsampling(
            jnp.asarray(np.abs(np.fft.fftfreq(8)) < 0.3, jnp.float32)[:, None] * jnp.ones((8, 8))
        ),
        (2, 8, 8, 1),
    ),
    "projection": (
        inverse_problems.Projection(jax.random.normal(jax.random.key(3), (5, 12)) / 4, (12,)),
        (2, 12),
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_adjoint_and_the_solve(name):
    """<A x, y> = <x, A^T y>, and (a A A^T + b) z = y on what is measured."""
    operator, shape = OPERATORS[name]
    x = jax.random.normal(jax.random.key(0), shape)
    y = operator(jax.random.normal(jax.random.key(1), shape))
    np.testing.assert_allclose(
        jnp.vdot(operator(x), y), jnp.vdot(x, operator.adjoint(y)), rtol=1e-4, atol=1e-4
    )
    a, b = jnp.array([0.7, 1.3]), jnp.array([0.2, 0.05])
    z = operator.solve(y, a, b)
    each = lambda v: v.reshape(2, *[1] * (y.ndim - 1))  # noqa: E731
    again = each(a) * operator(operator.adjoint(z)) + each(b) * z
    np.testing.assert_allclose(again, y, rtol=2e-4, atol=2e-4)


MATRIX = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]], np.float32) / 1.2
Y, NOISE = np.array([0.8, -0.6], np.float32), 0.3


@pytest.mark.one_in(5)
@pytest.mark.parametrize("solver", ["pc", "ddim", "dpm", "ode", "adaptive_sde"])
def test_pseudo_inverse_guidance_is_exact_where_its_gaussian_is(solver):
    """Data N(0, s^2 I): posterior mean and covariance within Monte-Carlo and solver error."""
    s = 0.9
    data = Correlated(np.zeros(3), s**2 * np.eye(3))
    mean, covariance = data.posterior(MATRIX, Y, NOISE)
    guidance = inverse_problems.pigdm(
        inverse_problems.Projection(jnp.asarray(MATRIX), (3,)), jnp.asarray(Y), NOISE, s
    )
    options = {"solver": ANCESTRAL if solver == "pc" else make_solver(solver)}
    made = run(data, options["solver"], (4000, 3), guidance=guidance)
    x = np.asarray(made.x, np.float64)
    # A sample of 4,000: a mean to 0.016 of a standard deviation, a variance to 2 %.
    np.testing.assert_allclose(x.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.06)


@pytest.mark.slow
def test_the_bias_of_the_approximations_is_as_documented():
    """Correlated data, one coordinate measured with noise 0.1: the numbers of the module's text."""
    mean, covariance = CLOUD.posterior(np.eye(2)[:1], np.array([0.9]), 0.1)
    operator = inverse_problems.Projection(jnp.eye(2)[:1], (2,))
    y = jnp.array([0.9])

    def bias(guidance):
        x = np.asarray(run(CLOUD, DDIM(), (4000, 2), guidance=guidance).x, np.float64)
        return x.mean(0) - mean, x.var(0) / np.diag(covariance)

    shift, spread = bias(inverse_problems.pigdm(operator, y, 0.1, 0.9))
    assert abs(shift).max() < 0.04
    np.testing.assert_allclose(spread, 1.0, atol=0.1)
    shift, spread = bias(inverse_problems.dps(operator, y, 5.0))
    assert abs(shift[0]) < 0.03 and 0.05 < shift[1] < 0.13  # the hidden coordinate is off
    assert 0.15 < spread[0] < 0.4 and 0.75 < spread[1] < 0.95  # and both are too sure
    shift, _ = bias(inverse_problems.dps(operator, y, 1.0))
    assert abs(shift[0]) > 0.1  # too weak to meet the measurement
