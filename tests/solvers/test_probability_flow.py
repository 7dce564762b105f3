"""The flow between data and latents against its closed form for Gaussians, on every process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oracles import Gaussian, Mixture
from parameterization import from_score
from sde_lib import PROCESSES, VPSDE, FlowMatching
from solvers.probability_flow import decode, encode, interpolate, reconstruct, slerp

GAUSSIAN = Gaussian(jnp.array([1.0, -2.0, 0.5]), jnp.array([0.5, 1.5, 1.0]))
MIXTURE = Mixture(
    jnp.array([[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]]), 0.5, jnp.array([0.5, 0.3, 0.2])
)
# Latents have the prior's scale; with sigma_max = 50, float32 keeps fewer digits of the data.
OPTIONS = {"ve": {"sigma_max": 10.0}, "smld": {"sigma_max": 10.0}}
# A discrete schedule's velocity jumps at its levels, which error estimates half see: at ddpm's
# thousand a little, at the sixty of handwriting more.
SLACK = {"ddpm": 10.0, "handwriting": 15.0}
OF_MIXTURE = SLACK | {"handwriting": 25.0}
TOLERANCE = {"ddpm": 3e-6, "handwriting": 1e-6}
EVERY_PROCESS = pytest.mark.parametrize("name", PROCESSES)


def made(name):
    return PROCESSES[name](**OPTIONS.get(name, {}))


def nodes(process, batch):
    return [process.node(jnp.full(batch, t)) for t in (process.t_min, process.t_max)]


@pytest.mark.one_in(3)
@EVERY_PROCESS
def test_encoding_is_the_exact_flow_of_a_gaussian(name):
    process = made(name)
    x = GAUSSIAN.sample(jax.random.key(0), 8)
    low, high = nodes(process, 8)
    tolerance = TOLERANCE.get(name, 1e-5)
    there = encode(process, GAUSSIAN, x, rtol=tolerance, atol=tolerance)
    want = GAUSSIAN.flow(x, low, high)
    np.testing.assert_allclose(there.x, want, atol=3e-4 * SLACK.get(name, 1.0) * process.prior_std)
    back = decode(process, GAUSSIAN, want, rtol=tolerance, atol=tolerance)
    # An error of the latent is shrunk on the way back; that of the steps is not.
    np.testing.assert_allclose(back.x, x, atol=1e-3 * SLACK.get(name, 1.0))
    assert there.ok.all() and back.ok.all()


@pytest.mark.one_in(3)
@EVERY_PROCESS
def test_there_and_back_again(name):
    process = made(name)
    x = MIXTURE.sample(jax.random.key(0), 16)
    result = reconstruct(process, MIXTURE, x)
    np.testing.assert_allclose(result.x, x, atol=1e-3 * OF_MIXTURE.get(name, 1.0))
    assert result.ok.all()
    tight = reconstruct(process, MIXTURE, x, rtol=1e-3, atol=1e-3)
    assert int(tight.evaluations.sum()) < int(result.evaluations.sum())


def test_the_error_falls_with_the_tolerance():
    x, (low, high) = GAUSSIAN.sample(jax.random.key(0), 32), nodes(VPSDE(), 32)
    errors = [
        float(jnp.abs(encode(VPSDE(), GAUSSIAN, x, rtol=r, atol=r).x
                      - GAUSSIAN.flow(x, low, high)).max())
        for r in (1e-2, 1e-3, 1e-4)
    ]  # fmt: skip
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_a_sample_does_not_depend_on_its_neighbours():
    x = MIXTURE.sample(jax.random.key(0), 8)
    together, alone = encode(VPSDE(), MIXTURE, x), encode(VPSDE(), MIXTURE, x[3:4])
    np.testing.assert_allclose(together.x[3:4], alone.x, rtol=1e-5)
    assert together.evaluations[3] == alone.evaluations[0]


def test_slerp_keeps_to_the_sphere():
    z = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    a, b = (z[i] / jnp.linalg.norm(z[i].reshape(4, -1), axis=1)[:, None, None] for i in (0, 1))
    path = slerp(a, b, 7)
    assert path.shape == (4, 7, 5, 3)
    np.testing.assert_allclose(jnp.linalg.norm(path.reshape(4, 7, -1), axis=-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(path[:, 0], a, atol=1e-6)
    np.testing.assert_allclose(path[:, -1], b, atol=1e-6)
    steps = jnp.sum((path[:, 1:] * path[:, :-1]).reshape(4, 6, -1), -1)
    np.testing.assert_allclose(steps, steps[:, :1].repeat(6, 1), atol=1e-5)  # even angles
    np.testing.assert_allclose(slerp(a, a, 3), jnp.stack([a] * 3, 1), atol=1e-6)


def test_interpolation_goes_from_one_to_the_other():
    """On Gaussian data, latents are the standardised data: the path between is known."""
    a, b = GAUSSIAN.sample(jax.random.key(0), 4), GAUSSIAN.sample(jax.random.key(1), 4)
    process, labels = FlowMatching(), jnp.arange(4)

    seen = []

    def predict(x, node, cond):
        seen.append((x.shape[0], cond["labels"].shape[0]))
        return GAUSSIAN(x, node)

    predict = jax.tree_util.Partial(predict)
    path = interpolate(process, predict, a, b, 5, cond={"labels": labels})
    assert path.shape == (4, 5, 3) and all(n == m for n, m in seen)
    np.testing.assert_allclose(path[:, 0], a, atol=1e-3)
    np.testing.assert_allclose(path[:, -1], b, atol=1e-3)
    low, high = nodes(process, 4)
    z = slerp(GAUSSIAN.flow(a, low, high), GAUSSIAN.flow(b, low, high), 5)
    np.testing.assert_allclose(path[:, 2], GAUSSIAN.flow(z[:, 2], high, low), atol=1e-3)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"rtol": 0.0}, "rtol: got 0.0"),
        ({"atol": -1.0}, "atol: got -1.0"),
        ({"max_steps": 0}, "max_steps: got 0"),
        ({"t_min": 0.7, "t_max": 0.5}, "t_min, t_max: got 0.7, 0.5"),
        ({"t_max": 2.0}, "t_min, t_max: got 1e-05, 2.0"),
    ],
)
@pytest.mark.parametrize("way", [encode, decode, reconstruct])
def test_bad_options_are_refused(way, options, match):
    with pytest.raises(ValueError, match=match):
        way(VPSDE(), GAUSSIAN, jnp.zeros((1, 3)), **options)


def test_an_interpolation_has_two_ends():
    with pytest.raises(ValueError, match="n: got 1"):
        slerp(jnp.ones((1, 2)), jnp.ones((1, 2)), 1)


def breaks(x, t):
    """A standard normal's score; of samples whose first coordinate is above 1, none after 0.4."""
    return jnp.where((t[:, None] > 0.4) & (x[:, :1] > 1), jnp.nan, -x)


def test_a_sample_that_is_lost_is_named_with_its_time():
    x, predict = jnp.array([[0.5, 0.0], [1.5, 0.0], [0.2, 3.0]]), from_score(breaks)
    with pytest.raises(FloatingPointError, match=r"not finite: sample 1 at t = 0\.[34]"):
        encode(VPSDE(), predict, x)
    with pytest.warns(UserWarning, match=r"samples that are not finite: sample 1 at t = 0\.[34]"):
        result = encode(VPSDE(), predict, x, throw=False)
    assert result.ok.tolist() == [True, False, True]
    assert (result.evaluations < 400).all()  # and soon


def test_a_score_has_no_velocity_where_alpha_is_0():
    process = FlowMatching()
    predict = from_score(lambda x, t: GAUSSIAN(x, process.node(t)).score)
    x = GAUSSIAN.sample(jax.random.key(0), 3)
    with pytest.raises(FloatingPointError, match="t_max where alpha is 0"):
        encode(process, predict, x)
    before = encode(process, predict, x, t_max=0.999)
    want = GAUSSIAN.flow(x, nodes(process, 3)[0], process.node(jnp.full(3, 0.999)))
    np.testing.assert_allclose(before.x, want, atol=2e-3)


def test_a_step_budget_that_runs_out_is_flagged():
    x = MIXTURE.sample(jax.random.key(0), 2)
    with pytest.warns(UserWarning, match="did not reach the end in max_steps: sample 0 at t = "):
        result = encode(VPSDE(), MIXTURE, x, max_steps=2)
    assert not result.ok.any() and (result.evaluations == 2 + 2 * 6).all()
