"""Processes: closed forms against autodiff, float64 and the original's outputs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_lib import (
    EDM,
    PROCESSES,
    VESDE,
    VPSDE,
    CosineVP,
    DDPMSchedule,
    FlowMatching,
    HandwritingSchedule,
    Process,
    SMLDSchedule,
    SubVPSDE,
    dimensions,
    example_mean,
    example_sum,
    expand_right,
    masked,
    posterior_of,
)

# All that have closed forms, and a second choice of numbers for some.
CONTINUOUS = [c() for c in PROCESSES.values() if not issubclass(c, (DDPMSchedule, SMLDSchedule))]
CONTINUOUS += [VESDE(0.1, 348.0), CosineVP(offset=0.1)]
ids = lambda process: type(process).__name__  # noqa: E731


@dataclasses.dataclass(frozen=True)
class Exponential(Process):
    """dx = e^t dw, from alpha and sigma alone."""

    def alpha(self, t):
        return jnp.ones_like(t)

    def sigma(self, t):
        return jnp.sqrt(jnp.expm1(2 * t) / 2)


@pytest.mark.parametrize("process", CONTINUOUS, ids=ids)
def test_closed_forms_equal_automatic_differentiation(process):
    t = process.t_max * jnp.linspace(1e-2, 0.99, 41)
    for name in ("log_alpha_dot", "diffusion_squared", "alpha_dot", "sigma_dot"):
        closed = getattr(process, name)(t)
        generic = getattr(Process, name)(process, t)
        np.testing.assert_allclose(closed, generic, rtol=2e-4, atol=1e-5, err_msg=name)


def test_a_process_from_alpha_and_sigma_alone():
    t = jnp.linspace(0.1, 1.0, 10)
    np.testing.assert_allclose(Exponential().diffusion_squared(t), jnp.exp(2 * t), rtol=1e-5)
    np.testing.assert_allclose(Exponential().log_alpha_dot(t), 0.0)
    assert Exponential().prior_std == pytest.approx(np.sqrt(np.expm1(2.0) / 2))


@pytest.mark.parametrize("process", [VPSDE(), SubVPSDE()], ids=ids)
def test_noise_level_keeps_float32_accuracy_near_zero(process):
    t = np.array([1e-5, 1e-4, 1e-3])
    variance = -np.expm1(-(t**2) * 19.9 / 2 - 0.1 * t)
    exact = np.sqrt(variance) if ids(process) == "VPSDE" else variance
    np.testing.assert_allclose(process.sigma(jnp.float32(t)), exact, rtol=1e-6)


@pytest.mark.parametrize("process", [c() for c in PROCESSES.values()], ids=ids)
def test_time_of_log_snr_inverts_log_snr(process):
    t = jnp.linspace(max(process.t_min, 1e-3), 0.999 * process.t_max, 57)
    np.testing.assert_allclose(
        process.time_of_log_snr(process.log_snr(t)), t, atol=2e-5 * process.t_max
    )


@pytest.mark.parametrize("process", CONTINUOUS, ids=ids)
def test_marginal_is_reached_by_simulating_the_sde(process):
    """Integrates mean' = f mean, var' = 2 f var + g^2 in float64 from the kernel at t_max / 100."""
    t = process.t_max * np.linspace(0.01, 0.99, 20001)
    middle = jnp.float32((t[1:] + t[:-1]) / 2)
    f = np.float64(process.log_alpha_dot(middle))
    g2 = np.float64(process.diffusion_squared(middle))
    start = process.node(jnp.float32(t[0]))
    mean, variance = float(start.alpha), float(start.sigma) ** 2
    for i, dt in enumerate(np.diff(t)):
        # Exponential integrator: exact for constant coefficients.
        growth = np.exp(2 * f[i] * dt)
        variance = variance * growth + g2[i] * dt * (1 + growth) / 2
        mean *= np.exp(f[i] * dt)
    end = process.node(jnp.float32(t[-1]))
    np.testing.assert_allclose(mean, end.alpha, rtol=1e-4)
    np.testing.assert_allclose(np.sqrt(variance), end.sigma, rtol=1e-4)


GOLDEN_PROCESSES = {
    "ve50": (VESDE(0.01, 50.0), 1000),
    "ve378": (VESDE(0.01, 378.0), 2000),
    "vp": (VPSDE(0.1, 20.0), 1000),
    "subvp": (SubVPSDE(0.1, 20.0), None),
}


@pytest.mark.parametrize("name", GOLDEN_PROCESSES)
def test_golden_coefficients(golden, name):
    z, (process, _) = golden("sde"), GOLDEN_PROCESSES[name]
    use = z["t"] >= 1e-3  # Below, the original's own std is off (its README).
    x, t = jnp.asarray(z["x"])[use], jnp.asarray(z["t"])[use]
    want = {k.removeprefix(name + "/"): z[k] for k in z.files if k.startswith(name + "/")}
    mean, std = process.marginal(x, t)
    drift, diffusion = process.sde(x, t)
    score_fn = lambda x, t: -(0.37 * x + expand_right(t, x))  # noqa: E731
    reverse_drift, reverse_diffusion = process.reverse(score_fn).sde(x, t)
    close = lambda got, key: np.testing.assert_allclose(  # noqa: E731
        got, want[key][use], rtol=1e-5, atol=1e-5 * np.abs(want[key][use]).max(), err_msg=key
    )
    close(mean, "mean")
    close(std, "std")
    close(drift, "drift")
    close(diffusion, "diffusion")
    close(reverse_drift, "rev_sde/drift")
    close(reverse_diffusion, "rev_sde/diffusion")
    close(process.probability_flow(score_fn)(x, t), "rev_ode/drift")
    np.testing.assert_allclose(
        process.prior_logp(jnp.asarray(want["logp_z"])), want["prior_logp"], rtol=1e-5
    )


def test_golden_ddpm_table(golden):
    z, schedule = golden("sde"), DDPMSchedule()
    np.testing.assert_allclose(schedule.betas(), z["vp/discrete_betas"], rtol=1e-6)
    node = schedule.node(schedule.times())
    np.testing.assert_allclose(node.alpha, z["vp/sqrt_alphas_cumprod"], rtol=1e-4)
    np.testing.assert_allclose(node.sigma, z["vp/sqrt_1m_alphas_cumprod"], rtol=1e-4)


def test_cosine_noise_keeps_float32_accuracy_near_zero():
    t = np.array([1e-5, 1e-4, 1e-3, 0.1, 0.9])
    angle = lambda t: np.pi / 2 * (t + 0.008) / 1.008  # noqa: E731
    exact = np.sqrt(1 - (np.cos(angle(t)) / np.cos(angle(0.0))) ** 2)
    np.testing.assert_allclose(CosineVP().sigma(jnp.float32(t)), exact, rtol=2e-6)


def test_the_straight_path_has_a_velocity_where_its_drift_is_infinite():
    """Lipman et al. 2023: x_t = (1 - t) x_0 + t eps moves at eps - x_0, at t = 1 too."""
    flow, ends = FlowMatching(), jnp.array([0.0, 0.5, 1.0])
    np.testing.assert_array_equal(flow.alpha_dot(ends), -1.0)
    np.testing.assert_array_equal(flow.sigma_dot(ends), 1.0)
    assert np.isinf(flow.log_alpha_dot(ends)[-1])


@pytest.mark.parametrize("process", [c() for c in PROCESSES.values()], ids=ids)
def test_the_posterior_is_bayes(process):
    """p(x_s | x_t, x_0) as the product of two Gaussians, in float64."""
    s, t = process.node(jnp.float32(0.3)), process.node(jnp.float32(0.6))
    (a_s, v_s), (a_t, v_t) = ((float(n.alpha), float(n.sigma) ** 2) for n in (s, t))
    r = a_t / a_s
    b = v_t - r**2 * v_s
    variance = 1 / (1 / v_s + r**2 / b)
    found = posterior_of(t, s)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-4)
    np.testing.assert_allclose(found.x_t, variance * r / b, rtol=1e-4)
    np.testing.assert_allclose(found.x_0, variance * a_s / v_s, rtol=1e-4)


def test_edm_is_noise_of_its_time():
    process = EDM()
    t = jnp.array([0.002, 1.0, 80.0])
    np.testing.assert_array_equal(process.sigma(t), t)
    np.testing.assert_allclose(process.diffusion_squared(t), 2 * t)
    assert process.prior_std == 80.0


def test_discrete_schedule_tends_to_the_continuous_process():
    t = jnp.linspace(0.1, 1.0, 10)
    gaps = [
        float(jnp.max(jnp.abs(DDPMSchedule(num_steps=n).alpha(t) - VPSDE().alpha(t))))
        for n in (250, 1000)
    ]
    assert 3.0 < gaps[0] / gaps[1] < 5.0  # First order in 1 / N.


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: VESDE(1.0, 0.5), "sigma_min"),
        (lambda: VESDE(0.0, 0.5), "sigma_min"),
        (lambda: VPSDE(0.0, 20.0), "beta_min"),
        (lambda: SubVPSDE(30.0, 20.0), "beta_min"),
        (lambda: VPSDE(t_min=1.0), "t_min"),
        (lambda: DDPMSchedule(num_steps=1), "num_steps"),
        (lambda: DDPMSchedule(num_steps=6), "beta_max / num_steps"),
        (lambda: CosineVP(offset=0.0), "offset"),
        (lambda: CosineVP(t_max=1.0), "t_max: got 1.0"),
        (lambda: VPSDE().span(0.5, 0.2), "t_min, t_max: got 0.5, 0.2"),
    ],
)
def test_bad_processes_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_sums_over_an_example_leave_the_padding_out():
    x = jnp.arange(24.0).reshape(2, 4, 3)
    mask = jnp.array([[1, 1, 0, 0], [1, 1, 1, 1]])[..., None]
    short, whole = x[0, :2], x[1]
    np.testing.assert_allclose(example_sum(x, mask), [short.sum(), whole.sum()])
    np.testing.assert_allclose(example_mean(x, mask > 0), [short.mean(), whole.mean()])
    np.testing.assert_array_equal(dimensions(x, mask), [6, 12])
    np.testing.assert_array_equal(masked(x, mask)[0, 2:], 0.0)
    np.testing.assert_array_equal(masked(x.at[0, 3].set(jnp.nan), mask)[0, 3], 0.0)
    for each, want in ((example_sum, jnp.sum), (example_mean, jnp.mean)):
        np.testing.assert_allclose(each(x), [want(x[0]), want(x[1])])
    np.testing.assert_array_equal(dimensions(x), [12, 12])


def test_the_prior_density_of_a_padded_example_is_that_of_its_real_part():
    process, z = VESDE(0.01, 50.0), jax.random.normal(jax.random.key(0), (1, 5, 2))
    padded = jnp.pad(z, ((0, 0), (0, 3), (0, 0)))
    mask = (jnp.arange(8) < 5)[None, :, None]
    found = process.prior_logp(padded, mask=mask)
    np.testing.assert_allclose(found, process.prior_logp(z), rtol=1e-6)


def test_prior_sample_has_the_prior_density():
    process = VESDE(0.01, 50.0)
    z = process.prior_sample(jax.random.key(0), (4096, 3))
    assert float(jnp.std(z)) == pytest.approx(50.0, rel=0.03)


def test_the_handwriting_schedule_has_the_published_levels():
    """beta = 0.02 + geomspace(1e-5, 0.4, 60), whose chain runs from 0.990 to 0.132."""
    betas = 0.02 + np.geomspace(1e-5, 0.4, 60)
    levels = np.sqrt(np.cumprod(1 - betas))
    times = jnp.arange(61) / 60
    for process in (HandwritingSchedule(), HandwritingSchedule(faithful=True)):
        np.testing.assert_allclose(process.alpha(times), [1.0, *levels], rtol=2e-6)
        np.testing.assert_allclose(process.sigma(times[1:]), np.sqrt(1 - levels**2), rtol=2e-6)
    np.testing.assert_allclose([levels[0], levels[-1]], [0.990, 0.132], atol=5e-4)


def test_uniform_times_draw_its_levels_as_published():
    """Between two levels sqrt(alpha bar) is uniform; in the published code alpha bar is."""
    paper, code = HandwritingSchedule(), HandwritingSchedule(faithful=True)
    ends = paper.alpha(jnp.array([30, 31]) / 60)
    half = jnp.float32(30.25 / 60)
    np.testing.assert_allclose(paper.alpha(half), 0.75 * ends[0] + 0.25 * ends[1], rtol=1e-6)
    square = 0.75 * ends[0] ** 2 + 0.25 * ends[1] ** 2
    np.testing.assert_allclose(code.alpha(half) ** 2, square, rtol=1e-6)
    assert paper.t_min == 1e-5 and code.t_min == pytest.approx(1 / 60)


def test_its_noise_keeps_float32_accuracy_near_zero():
    t = np.array([1e-5, 1e-4, 1e-3])
    fall = 60 * t * (1 - np.sqrt(1 - 0.02 - 1e-5))
    exact = np.sqrt(1 - (1 - fall) ** 2)
    np.testing.assert_allclose(HandwritingSchedule().sigma(jnp.float32(t)), exact, rtol=2e-6)


@pytest.mark.parametrize("process", [VPSDE(), VESDE(0.01, 5.0), FlowMatching()])
def test_a_path_has_the_marginals_of_its_times_and_the_markov_correlation(process):
    t = jnp.array([0.2, 0.5, 0.9])
    x_0 = jnp.full((20_000, 1), 2.0)
    x = np.asarray(process.path(jax.random.key(0), x_0, t))[..., 0]
    alpha, sigma = np.asarray(process.alpha(t)), np.asarray(process.sigma(t))
    np.testing.assert_allclose(x.mean(1), 2 * alpha, atol=4 * sigma.max() / 140)
    np.testing.assert_allclose(x.std(1), sigma, rtol=0.02)
    # Cov(x_s, x_t) = alpha_t / alpha_s sigma_s^2 for s before t.
    covariance = np.cov(x)
    for s, later in ((0, 1), (0, 2), (1, 2)):
        want = alpha[later] / alpha[s] * sigma[s] ** 2
        assert covariance[s, later] == pytest.approx(
            want, abs=0.03 * float(sigma[s] * sigma[later])
        )


@pytest.mark.parametrize("t", [[0.0, 0.5], [0.5, 0.5], [0.6, 0.5]])
def test_a_path_goes_forward(t):
    with pytest.raises(ValueError, match="t: got times .*expected times that rise, after 0"):
        VPSDE().path(jax.random.key(0), jnp.zeros((1, 1)), jnp.array(t))
