"""The published chains, and the samplers by them against a direct transcription."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from controllable import replacement
from oracles import Gaussian
from sampling import ReplayedNoise, sample
from sde_lib import (
    VESDE,
    VPSDE,
    CosineVP,
    DDPMSchedule,
    SMLDSchedule,
    SubVPSDE,
    expand_right,
)
from solvers.grids import uniform_grid
from solvers.predictor_corrector import (
    Ancestral,
    AnnealedLangevin,
    EulerMaruyama,
    Langevin,
    NoCorrector,
    NoPredictor,
    PredictorCorrector,
    ReverseDiffusion,
)
from solvers.published import chain_of, published_grid

CHAINS = {
    "ve50": (VESDE(0.01, 50.0), 1000),
    "ve378": (VESDE(0.01, 378.0), 2000),
    "vp": (VPSDE(0.1, 20.0), 1000),
}
DATA = Gaussian(jnp.full((4, 4, 3), 0.2), jnp.full((4, 4, 3), 0.4))


@pytest.mark.parametrize("name", CHAINS)
def test_golden_discrete_chain(golden, name):
    """x_i = r x_{i-1} + sqrt(b) z with the published f = (r - 1) x and G = sqrt(b)."""
    z, (process, n) = golden("sde"), CHAINS[name]
    x = jnp.asarray(z["x"])
    node, before = chain_of(process, n).levels(jnp.asarray(z["t"]))
    r = node.alpha / before.alpha
    variance = node.sigma**2 - r**2 * before.sigma**2
    f = (expand_right(r, x) - 1) * x
    np.testing.assert_allclose(f, z[f"{name}/f"], atol=2e-6)
    np.testing.assert_allclose(np.sqrt(variance), z[f"{name}/G"], rtol=1e-3)


def test_golden_euler_chain_of_sub_vp(golden):
    z = golden("sde")
    use = z["t"] >= 1e-3
    x, t = jnp.asarray(z["x"])[use], jnp.asarray(z["t"])[use]
    r, b = chain_of(SubVPSDE(0.1, 20.0), 1000).forward(t)
    f = (expand_right(r, x) - 1) * x
    np.testing.assert_allclose(f, z["subvp/f"][use], atol=1e-6)
    np.testing.assert_allclose(np.sqrt(b), z["subvp/G"][use], rtol=1e-4)


def sub_vp_run(predict, x, noise, n, t_end, flow):
    """Song et al.'s reverse diffusion on sub-VP, with their formulas: x and its last mean."""
    x_mean = x
    for i, t in enumerate(np.linspace(1.0, t_end, n)):
        beta = 0.1 + t * 19.9
        discount = 1 - np.exp(-2 * 0.1 * t - 19.9 * t**2)
        f, g = -0.5 * beta * x / n, np.sqrt(beta * discount / n)
        score = np.asarray(predict(x, t))
        x_mean = x - (f - g**2 * score * (0.5 if flow else 1.0))
        x = x_mean + (0.0 if flow else g) * noise[i]
    return x, x_mean


@pytest.mark.parametrize("flow", [False, True])
def test_reverse_diffusion_on_sub_vp_is_the_original(flow):
    process, n, t_end = SubVPSDE(), 20, 1e-3
    data = Gaussian(jnp.array([0.4, -0.2]), jnp.array([0.5, 1.0]))
    noise = np.random.default_rng(0).standard_normal((n + 1, 5, 2)).astype(np.float32)

    def score(x, t):
        return data(jnp.float32(x), process.node(jnp.full(5, t, jnp.float32))).score

    want, want_mean = sub_vp_run(score, noise[-1], noise, n, t_end, flow)
    solver = PredictorCorrector(ReverseDiffusion(flow, faithful=n), NoCorrector())
    run = {"solver": solver, "grid": published_grid(process, n, t_end=t_end), "shape": (5, 2)}
    source = ReplayedNoise(jnp.asarray(noise[-1]), jnp.asarray(noise[:n, None]))
    for denoise, x in (("none", want), ("mean", want_mean)):
        made = sample(jax.random.key(0), process, data, noise=source, denoise=denoise, **run)
        np.testing.assert_allclose(made.x, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("denoise", ["none", "tweedie"])
def test_annealed_langevin_dynamics_is_the_published_algorithm(denoise):
    """Song & Ermon 2019, alg. 1, as their code and that of NCSNv2 run it, at every level."""
    levels, steps, epsilon = 6, 4, 2e-5
    process = SMLDSchedule(levels, sigma_min=0.01, sigma_max=1.0)
    data = Gaussian(jnp.array([0.4, -0.2]), jnp.array([0.5, 1.0]))
    noise = np.random.default_rng(0).standard_normal((levels, steps, 5, 2)).astype(np.float32)
    start = np.random.default_rng(1).standard_normal((5, 2)).astype(np.float32)

    def score(x, sigma):
        return (data.mean - x) / (data.std**2 + sigma**2)

    x = 1.0 * start
    for sigma, draws in zip(np.geomspace(1.0, 0.01, levels), noise, strict=True):
        step = epsilon * (sigma / 0.01) ** 2
        for z in draws:
            x = x + step * score(x, sigma) + np.sqrt(2 * step) * z
    if denoise == "tweedie":
        x = x + 0.01**2 * score(x, 0.01)

    corrector = AnnealedLangevin(snr=np.sqrt(epsilon / 2) / 0.01, num_steps=steps)
    solver = PredictorCorrector(NoPredictor(), corrector)
    run = {"solver": solver, "grid": published_grid(process, levels), "shape": (5, 2)}
    source = ReplayedNoise(jnp.asarray(start), jnp.asarray(noise))
    made = sample(jax.random.key(0), process, data, noise=source, denoise=denoise, **run)
    np.testing.assert_allclose(made.x, x, atol=1e-5)
    assert (made.nfe == levels * steps + (denoise == "tweedie")).all()


# The published inpainter and colorizer.


def published_control(process, score, known, rotate, back, mask, draws, prior, n, t_end, snr):
    """Song et al.'s get_pc_inpainter and get_pc_colorizer in numpy, draws in their order.

    mask: of the coordinates of rotate(x) that are known. VE alone, for the sake of its formulas.
    """
    sigmas = np.exp(np.linspace(np.log(process.sigma_min), np.log(process.sigma_max), n))
    draws = iter(draws)
    norm = lambda x: np.sqrt((x.reshape(len(x), -1) ** 2).sum(1)).mean()  # noqa: E731

    def replaced(x, t):
        std = process.sigma_min * (process.sigma_max / process.sigma_min) ** t
        masked = rotate(known) + next(draws) * std
        x = back(rotate(x) * (1 - mask) + masked * mask)
        return x, back(rotate(x) * (1 - mask) + rotate(known) * mask)

    x = back(rotate(known) * mask + rotate(prior * (1 - mask)))
    for t in np.linspace(1.0, t_end, n).astype(np.float32):
        gradient, z = score(x, t), next(draws)
        step = (snr * norm(z) / norm(gradient)) ** 2 * 2
        x, _ = replaced(x + step * gradient + np.sqrt(2 * step) * z, t)
        level = int(np.floor(t * (n - 1)))
        before = sigmas[level - 1] if level else 0.0
        variance = sigmas[level] ** 2 - before**2
        x = x + variance * score(x, t) + np.sqrt(variance) * next(draws)
        x, x_mean = replaced(x, t)
    assert next(draws, None) is None
    return x_mean


IMAGE = jax.random.uniform(jax.random.key(1), (3, 4, 4, 3))
HALF = np.zeros((4, 4, 1), np.float32)
HALF[:2] = 1.0


@pytest.mark.parametrize("task", ["inpaint", "colorize"])
def test_the_published_control_is_the_original(task):
    process, n, t_end, snr = VESDE(0.01, 10.0), 12, 1e-5, 0.16
    random = np.random.default_rng(0)
    draws = random.standard_normal((n, 4, *IMAGE.shape)).astype(np.float32)
    prior = 10 * random.standard_normal(IMAGE.shape).astype(np.float32)

    # The corrector's draw, that of its replacement, the predictor's, that of its replacement. The
    # original draws the replacement's noise in rotated coordinates, ours before the rotation.
    if task == "inpaint":
        known, mask, control = np.asarray(IMAGE), HALF, replacement.inpainting(IMAGE, HALF, (0, 1))
        rotate = back = lambda x: x  # noqa: E731
        ours = draws
    else:
        grey = np.asarray(replacement.grey_of(IMAGE))
        known, mask = np.repeat(grey, 3, -1), np.float32([1, 0, 0])
        control = replacement.colorization(grey, (0, 1))
        rotate = lambda x: x @ replacement.COLOR_BASIS  # noqa: E731
        back = lambda y: y @ replacement.COLOR_BASIS.T  # noqa: E731
        ours = draws.copy()
        ours[:, 1::2] = back(draws[:, 1::2])

    def score(x, t):
        node = process.node(jnp.full(3, t, jnp.float32))
        return np.asarray(DATA(jnp.asarray(x, jnp.float32), node).score)

    flat = draws.reshape(-1, *IMAGE.shape)
    want = published_control(process, score, known, rotate, back, mask, flat, prior, n, t_end, snr)
    solver = PredictorCorrector(ReverseDiffusion(faithful=n), Langevin(snr, faithful=n))
    grid = published_grid(process, n, t_end=t_end)
    arguments = replacement.published(control, solver, grid, jnp.asarray(prior))
    final = np.zeros((1, 2, *IMAGE.shape), np.float32)  # for after the end, where none is needed
    noise = ReplayedNoise(
        jnp.zeros(IMAGE.shape), jnp.asarray(ours[:, ::2]),
        jnp.asarray(np.concatenate([ours[:, 1::2], final])),
    )  # fmt: skip
    made = sample(
        jax.random.key(0), process, DATA, grid=grid, shape=IMAGE.shape, noise=noise, **arguments
    )
    np.testing.assert_allclose(made.x, want, atol=2e-3)
    assert made.nfe.tolist() == [2 * n] * 3
    known_part = made.x if task == "inpaint" else replacement.grey_of(made.x)
    given = IMAGE if task == "inpaint" else replacement.grey_of(IMAGE)
    rows = 2 if task == "inpaint" else 4
    np.testing.assert_allclose(known_part[:, :rows], given[:, :rows], atol=1e-5)


# What is refused.


@pytest.mark.parametrize(
    "solver, match",
    [
        (PredictorCorrector(EulerMaruyama(faithful=100)), "faithful: got 100, expected 0, or"),
        (PredictorCorrector(ReverseDiffusion(faithful=100)), "faithful: got 100, expected 0, or"),
        (PredictorCorrector(Ancestral(faithful=100)), "steps of the grid, 50"),
        (PredictorCorrector(corrector=Langevin(faithful=100)), "steps of the grid, 50"),
        (PredictorCorrector(corrector=AnnealedLangevin(faithful=100)), "steps of the grid, 50"),
    ],
)
def test_a_grid_of_another_length_is_refused(solver, match):
    process = VPSDE()
    with pytest.raises(ValueError, match=match):
        sample(jax.random.key(0), process, DATA, solver, uniform_grid(process, 50), (2, 4, 4, 3))


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: chain_of(CosineVP(), 10), "faithful: CosineVP has no published discrete chain"),
        (lambda: chain_of(SubVPSDE(), 10).levels(jnp.ones(1)), "faithful: SubVPSDE has no"),
        (lambda: chain_of(DDPMSchedule(50), 60), "faithful: got 60, expected the 50 levels"),
        (lambda: published_grid(VPSDE(), 1), "num_steps: got 1"),
    ],
)
def test_what_was_not_published_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
