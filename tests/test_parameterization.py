"""Predictions: every output of a network determines the same (x_0, eps)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import NCSNpp
from options.errors import InvalidValue
from parameterization import (
    C_NOISE,
    MASK,
    OUTPUTS,
    EDMNoise,
    EDMOutput,
    LogSigma,
    NetworkPredictor,
    Noise,
    NoiseConditioning,
    Parameterization,
    PosteriorMean,
    Prediction,
    ReversedTime,
    Time,
    Velocity,
    from_eps,
    from_score,
    from_x_0,
)
from sde_lib import VESDE, VPSDE, DDPMSchedule, FlowMatching, SubVPSDE, expand_right

PROCESSES = [VESDE(0.01, 50.0), VPSDE(), SubVPSDE()]
ids = lambda process: type(process).__name__  # noqa: E731
X_0 = jax.random.uniform(jax.random.key(0), (5, 4, 3), minval=-1.0)
EPS = jax.random.normal(jax.random.key(1), (5, 4, 3))
T = jnp.array([0.01, 0.1, 0.4, 0.7, 1.0])

# What a perfect network of each kind outputs, from (x_0, eps, alpha, sigma).
PERFECT = {
    "noise": lambda x_0, eps, alpha, sigma: eps,
    "score": lambda x_0, eps, alpha, sigma: -eps / sigma,
    "scaled_score": lambda x_0, eps, alpha, sigma: -eps,
    "data": lambda x_0, eps, alpha, sigma: x_0,
    "v": lambda x_0, eps, alpha, sigma: alpha * eps - sigma * x_0,
    "velocity": lambda x_0, eps, alpha, sigma: eps - x_0,
    "edm": lambda x_0, eps, alpha, sigma: (
        (x_0 - 0.25 / ((s := sigma / alpha) ** 2 + 0.25) * (x_0 + s * eps))
        * jnp.sqrt(s**2 + 0.25)
        / (s * 0.5)
    ),
}


def made(output, process):
    """The row of the table, of a chain of 5 steps where it is of a chain."""
    options = {"num_steps": 5} if output == "mean" else {}
    return OUTPUTS[output](**options).on(process)


def perfect(output, process):
    """What a perfect network outputs at T, in float64."""
    x_0, eps = np.float64(X_0), np.float64(EPS)
    _, alpha, sigma = (np.float64(expand_right(field, X_0)) for field in process.node(T))
    if output in PERFECT:
        return PERFECT[output](x_0, eps, alpha, sigma)
    earlier = np.float64(T) - (process.t_max - process.t_min) / 5
    clean = (earlier < process.t_min)[:, None, None]
    end = process.node(jnp.float32(np.maximum(earlier, process.t_min)))
    alpha_s = np.where(clean, 1.0, np.float64(expand_right(end.alpha, X_0)))
    sigma_s = np.where(clean, 0.0, np.float64(expand_right(end.sigma, X_0)))
    # E[x_s | x_t, x_0] by what x_s and x_t have in common given x_0, sigma_s^2 r.
    r = alpha / alpha_s
    return alpha_s * x_0 + r * sigma_s**2 / sigma**2 * sigma * eps


def noised(process):
    node = process.node(T)
    alpha, sigma = expand_right(node.alpha, X_0), expand_right(node.sigma, X_0)
    return alpha * X_0 + sigma * EPS, node, alpha, sigma


@pytest.mark.parametrize("process", PROCESSES, ids=ids)
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_perfect_network_gives_back_the_noise_and_the_data(process, output):
    x, node, alpha, sigma = noised(process)
    says = jnp.float32(perfect(output, process))
    prediction = Parameterization(made(output, process)).predict(lambda *_: says, x, node, {})
    # A relative rounding of 2e-7 in x is all that float32 leaves; eps sees it over sigma.
    np.testing.assert_allclose(
        prediction.eps, EPS, atol=3e-6 * float(jnp.max(1 + jnp.abs(x) / sigma))
    )
    np.testing.assert_allclose(
        prediction.x_0, X_0, atol=3e-6 * float(jnp.max(1 + jnp.abs(x) / alpha))
    )


@pytest.mark.parametrize("process", PROCESSES, ids=ids)
def test_velocity_is_the_probability_flow(process):
    """alpha' x_0 + sigma' eps = f x - g^2 score / 2 (Song et al. 2021, eq. 13)."""
    x, node, _, _ = noised(process)
    score = -EPS / expand_right(node.sigma, EPS)
    want = process.probability_flow(lambda x, t: score)(x, T)
    got = from_eps(x, EPS, node).velocity(process)
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4 * float(jnp.abs(want).max()))


@pytest.mark.parametrize("process", PROCESSES, ids=ids)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("trained", OUTPUTS)
def test_a_network_of_one_output_serves_as_any_other(process, trained, output):
    """Written as another output and read back, (x_0, eps) are the same to float precision."""
    x, node, alpha, sigma = noised(process)
    found = made(trained, process).read(jnp.float32(perfect(trained, process)), x, node)
    written = made(output, process)
    again = written.read(written.write(found), x, node)
    size = float(jnp.max(1 + jnp.abs(x) / sigma))
    np.testing.assert_allclose(again.eps, found.eps, atol=1e-5 * size)
    np.testing.assert_allclose(alpha * again.x_0 + sigma * again.eps, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("process", PROCESSES, ids=ids)
@pytest.mark.parametrize("output", OUTPUTS)
def test_what_is_written_is_what_a_perfect_network_outputs(process, output):
    _, node, *_ = noised(process)
    # In float64, as the definition of "edm" cancels digits that the written one keeps.
    want = perfect(output, process)
    got = Prediction(X_0, EPS, node).as_output(made(output, process))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6 * float(np.max(np.abs(want))))


def test_the_mean_of_a_step_needs_a_process_and_is_that_of_ho_et_al():
    """Ho et al. 2020, eq. 7, of the levels of their chain; F = x_0 in its first step."""
    process = DDPMSchedule(50)
    betas = np.asarray(process.betas(), np.float64)
    kept = np.cumprod(1 - betas)
    i = np.array([0, 1, 20, 30, 49])
    node, before = process.node(process.times()[i]), np.where(i > 0, kept[i - 1], 1.0)
    weights = np.sqrt(before) * betas[i], np.sqrt(1 - betas[i]) * (1 - before)
    x = expand_right(node.alpha, X_0) * X_0 + expand_right(node.sigma, X_0) * EPS
    w_0, w_t = (np.float32(w / (1 - kept[i]))[:, None, None] for w in weights)
    output = PosteriorMean(num_steps=49).on(process)
    got = Prediction(X_0, EPS, node).as_output(output)
    np.testing.assert_allclose(got, w_0 * X_0 + w_t * x, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(got[0], X_0[0], rtol=1e-6)
    with pytest.raises(InvalidValue, match="output: .*expected one of a process"):
        Prediction(X_0, EPS, node).as_output("mean")


def test_edm_is_written_where_there_is_no_noise_and_where_there_is_no_data():
    """F = -eps at sigma = 0 and x_0 / sigma_data at alpha = 0."""
    node = FlowMatching().node(jnp.array([0.0, 0.0, 1.0, 1.0, 1.0]))
    got = EDMOutput(0.7).write(Prediction(X_0, EPS, node))
    np.testing.assert_allclose(got[:2], -EPS[:2], rtol=1e-6)
    np.testing.assert_allclose(got[2:], X_0[2:] / 0.7, rtol=1e-6)


def test_the_flow_network_is_read_at_pure_noise():
    """At t = 1 of the straight path x = eps, and a velocity gives x_0 where a score does not."""
    node = FlowMatching().node(jnp.ones(5))
    found = Velocity().read(EPS - X_0, EPS, node)
    np.testing.assert_allclose(found.x_0, X_0, atol=1e-6)
    np.testing.assert_allclose(found.velocity(FlowMatching()), EPS - X_0, atol=1e-6)


def test_learned_variance_is_the_second_half_of_the_channels():
    x, node, _, _ = noised(VPSDE())
    output = jnp.concatenate([EPS, jnp.full_like(EPS, 0.5)], axis=-1)
    made = Parameterization("noise", learned_variance=True)
    found = made.predict(lambda *_: output, x, node, {})
    np.testing.assert_array_equal(found.eps, EPS)
    np.testing.assert_array_equal(found.variance, 0.75)


def test_there_is_always_a_mapping_of_what_came_along():
    x, node, _, _ = noised(VPSDE())
    found = Parameterization().predict(lambda *_: EPS, x, node, {})
    made = [found, from_eps(x, EPS, node), from_x_0(x, X_0, node), Prediction(X_0, EPS, node)]
    for prediction in [*made, from_score(lambda x, t: x)(x, node)]:
        assert prediction.aux == {} and prediction.variance is None


def test_score_is_minus_eps_over_sigma():
    node = VPSDE().node(T)
    prediction = Prediction(X_0, EPS, node)
    np.testing.assert_allclose(prediction.score * expand_right(node.sigma, EPS), -EPS, rtol=1e-6)


def test_from_x_0_and_from_eps_are_inverse():
    x, node, _, _ = noised(VPSDE())
    again = from_x_0(x, from_eps(x, EPS, node).x_0, node)
    np.testing.assert_allclose(again.eps, EPS, atol=1e-3)


def test_a_score_function_is_a_predictor():
    x, node, _, _ = noised(VPSDE())
    predict = from_score(lambda x, t: -x * expand_right(t, x))
    np.testing.assert_allclose(predict(x, node).score, -x * T[:, None, None], rtol=1e-5, atol=1e-6)


def test_the_conditioning_on_the_noise_level():
    process = VESDE(0.01, 50.0)
    node = process.node(T)
    c_noise = {name: cls()(node) for name, cls in C_NOISE.items()}
    np.testing.assert_allclose(c_noise["log_sigma"], jnp.log(process.sigma(T)))
    np.testing.assert_allclose(c_noise["time"], 999 * T)
    np.testing.assert_allclose(c_noise["reversed_time"], 999 * (1 - T), atol=1e-3)
    np.testing.assert_allclose(c_noise["edm"], jnp.log(process.sigma(T)) / 4, rtol=1e-6)
    np.testing.assert_allclose(Time(10.0)(node), 10 * T)
    np.testing.assert_allclose(ReversedTime(10.0)(node), 10 * (1 - T), atol=1e-5)


def test_names_stand_for_objects():
    assert Parameterization("noise", "time") == Parameterization() == Parameterization(Noise())
    assert hash(Parameterization("noise")) == hash(Parameterization())
    assert Parameterization("edm", "edm") == Parameterization(EDMOutput(0.5), EDMNoise())
    assert Parameterization(EDMOutput(0.6)) != Parameterization("edm")
    choices = {f.name: f.metadata.get("choices") for f in dataclasses.fields(Parameterization)}
    assert choices["output"] is OUTPUTS and choices["c_noise"] is C_NOISE


def test_inputs_are_centred_and_conditioning_is_passed_on():
    seen = {}

    def network(x, c_noise, **cond):
        seen.update(x=x, **cond)
        return x

    x, node, _, _ = noised(VESDE(0.01, 50.0))
    labels = jnp.arange(5)
    Parameterization(centre_input=True).predict(network, x, node, {"labels": labels})
    np.testing.assert_allclose(seen["x"], 2 * x - 1)
    np.testing.assert_array_equal(seen["labels"], labels)


def test_edm_sees_inputs_of_unit_variance():
    """Karras et al. 2022, table 1: c_in makes x / alpha of variance 1 for data of sigma_data."""
    node = VESDE(0.01, 50.0).node(jnp.full(20_000, 0.7))
    x = 0.5 * jax.random.normal(jax.random.key(0), (20_000, 1))
    x += node.sigma[:, None] * jax.random.normal(jax.random.key(1), (20_000, 1))
    seen = []
    parameterization = Parameterization(EDMOutput(sigma_data=0.5), "edm")
    parameterization.predict(lambda x, c: seen.append(x) or x, x, node, {})
    assert float(seen[0].std()) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: Parameterization(output="epsilon"), "output: got 'epsilon'"),
        (lambda: Parameterization(c_noise="sigma"), "c_noise: got 'sigma'"),
        (lambda: Parameterization("edm", centre_input=True), "centre_input: got True"),
        (lambda: EDMOutput(0.0), "sigma_data: got 0.0"),
        (lambda: Time(0.0), "scale: got 0.0"),
        (lambda: ReversedTime(-1.0), "scale: got -1.0"),
        (lambda: Prediction(X_0, EPS, VPSDE().node(T)).as_output("x"), "output: got 'x'"),
    ],
)
def test_bad_parameterizations_are_refused(make, match):
    with pytest.raises(InvalidValue, match=f"^{match}"):
        make()


@dataclasses.dataclass(frozen=True)
class OneOverSigma(NoiseConditioning):
    """A conditioning of one's own, for which any embedding will do."""

    def __call__(self, node):
        return 1 / node.sigma


FOURIER, POSITIONAL = NCSNpp(embedding_type="fourier"), NCSNpp(embedding_type="positional")


@pytest.mark.parametrize("c_noise", [*C_NOISE, OneOverSigma()])
def test_an_embedding_that_does_not_suit_is_refused(c_noise):
    suits = {"fourier": ["log_sigma"], "positional": ["time", "reversed_time"]}
    parameterization = Parameterization(c_noise=c_noise)
    parameterization.check(object())  # that does not say what embedding it has
    for network in (FOURIER, POSITIONAL):
        make = functools.partial(NetworkPredictor, network, parameterization, {})
        if c_noise in (*suits[network.embedding_type], "edm", "alpha", OneOverSigma()):
            make()
        else:
            with pytest.raises(InvalidValue, match=r"^c_noise: got .*embedding_type is"):
                make()


def test_a_network_predictor_is_a_pytree():
    predict = NetworkPredictor(FOURIER, Parameterization(c_noise=LogSigma()), {"w": jnp.ones(2)})
    doubled = jax.tree.map(lambda leaf: 2 * leaf, predict)
    np.testing.assert_array_equal(doubled.params["w"], 2.0)
    leaves, tree = jax.tree.flatten(predict)
    assert jax.tree.unflatten(tree, [None] * len(leaves)).network is FOURIER
    assert len(leaves) == 1 and isinstance(jax.eval_shape(lambda p: p, predict), NetworkPredictor)


@pytest.mark.parametrize("dtype", [bool, jnp.float32])
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_padded_prediction_is_the_unpadded_one(output, dtype):
    """A network with no regard to the padding still leaves zeros there."""
    node, parameterization = VPSDE().node(T[:2]), Parameterization(output, "time").on(VPSDE())
    x = jax.random.normal(jax.random.key(5), (2, 6, 3))
    mask = (jnp.arange(6) < jnp.array([[6], [4]]))[..., None].astype(dtype)
    network = lambda x, c_noise, mask=None: jnp.cos(x) * c_noise[:, None, None]  # noqa: E731
    whole = parameterization.predict(network, jnp.where(mask, x, 0.0), node, {MASK: mask})
    for i, length in enumerate((6, 4)):
        one = jax.tree.map(lambda field, i=i: field[i : i + 1], node)
        alone = parameterization.predict(network, x[i : i + 1, :length], one, {})
        for got, want in ((whole.x_0, alone.x_0), (whole.eps, alone.eps)):
            np.testing.assert_allclose(got[i, :length], want[0], rtol=1e-6, atol=1e-6)
            np.testing.assert_array_equal(got[i, length:], 0.0)
    score = from_score(lambda x, t: jnp.cos(x))(x, node, {MASK: mask})
    np.testing.assert_array_equal(score.eps[1, 4:], 0.0)
