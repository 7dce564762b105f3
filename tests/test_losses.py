"""Losses against the original's, against closed forms, and their keys."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_models import golden_predictor, nhwc
from quick import quick_jit
from scipy import optimize, stats
from solver_cases import PROCESSES as SDES
from solver_cases import make_process

from losses import (
    COUPLINGS,
    REDUCTIONS,
    TIMES,
    WEIGHTINGS,
    DataWeighting,
    EDMWeighting,
    HalfSum,
    LikelihoodTimes,
    LikelihoodWeighting,
    LogitNormalTimes,
    LogNormalTimes,
    Mean,
    PosteriorWeighting,
    VariationalBound,
    draw_times_and_noise,
    implicit_score_matching,
    loss_at,
    sliced_score_matching,
    transport,
)
from options.errors import InvalidValue
from oracles import Gaussian
from parameterization import MASK, OUTPUTS, Noise, Parameterization, PosteriorMean, Prediction
from sde_lib import (
    EDM,
    VESDE,
    VPSDE,
    DDPMSchedule,
    FlowMatching,
    SMLDSchedule,
    SubVPSDE,
    expand_right,
)

PROCESSES = {"ve": VESDE(0.01, 50.0), "vp": VPSDE(), "subvp": SubVPSDE()}
NATIVE = {"loss_ve": ("ve",), "loss_vp": ("vp", "subvp")}


@quick_jit
def evaluate(predict, x, node, cond):
    return predict(x, node, cond)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name, sde", [(n, s) for n, all_ in NATIVE.items() for s in all_])
@pytest.mark.parametrize("likelihood", [0, 1])
@pytest.mark.parametrize("mean", [0, 1])
def test_golden_continuous_losses(golden, name, sde, likelihood, mean):
    z = golden(name)
    loss = loss_at(
        PROCESSES[sde],
        functools.partial(evaluate, golden_predictor(z)),
        nhwc(z["batch"]),
        jnp.asarray(z["u"] * (1 - 1e-5) + 1e-5),
        nhwc(z["z"]),
        weighting="likelihood" if likelihood else "noise",
        reduction="mean" if mean else "half_sum",
    )
    want = float(z[f"loss/{sde}/lw{likelihood}_rm{mean}"])
    assert float(jnp.mean(loss)) == pytest.approx(want, rel=1e-4)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("mean", [0, 1])
@pytest.mark.parametrize("kind", ["smld", "ddpm"])
def test_golden_discrete_losses(golden, kind, mean):
    z = golden("loss_vp")
    assert json.loads(str(z["config_json"]))["model"]["num_scales"] == 1000
    predict = golden_predictor(z)
    labels = jnp.asarray(z["labels"])
    if kind == "smld":
        process, t = SMLDSchedule(1000, 0.01, 50.0), 1 - labels / 999
        output, c_noise = "score", "reversed_time"
    else:
        process, t = DDPMSchedule(1000, 0.1, 20.0), labels / 999
        output, c_noise = "noise", "time"
    parameterization = Parameterization(output=output, c_noise=c_noise)
    predict = type(predict)(predict.network, parameterization, predict.params)
    predict = functools.partial(evaluate, predict)
    reduction = "mean" if mean else "half_sum"
    loss = loss_at(process, predict, nhwc(z["batch"]), t, nhwc(z["z"]), reduction=reduction)
    assert float(jnp.mean(loss)) == pytest.approx(
        float(z[f"loss_discrete/{kind}_rm{mean}"]), rel=1e-4
    )


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
def test_the_exact_score_has_the_irreducible_loss(process):
    """For Gaussian data Var[eps | x_t] = alpha^2 std^2 / (alpha^2 std^2 + sigma^2)."""
    data = Gaussian(jnp.zeros(2), jnp.full(2, 0.7))
    n = 200_000
    x_0 = data.sample(jax.random.key(0), n)
    eps = jax.random.normal(jax.random.key(1), (n, 2))
    t = jnp.full(n, 0.4)
    node = process.node(t[:1])
    signal = node.alpha**2 * 0.7**2
    want = float((signal / (signal + node.sigma**2))[0])
    got = loss_at(process, data, x_0, t, eps)
    assert float(jnp.mean(got)) == pytest.approx(want, rel=0.02, abs=1e-3)


def choice(table, name):
    """The entry of a table; of the standard deviation of the data 0.7 where it has one."""
    return table[name](0.7) if name == "edm" else table[name]()


# Every weighting against its definition, whose divisions by alpha the code avoids.
DEFINITIONS = {
    "noise": lambda a, s, g2, sd: a**2,
    "data": lambda a, s, g2, sd: s**2,
    "v": lambda a, s, g2, sd: (a**2 + s**2) ** 2,
    "velocity": lambda a, s, g2, sd: (a + s) ** 2,
    "edm": lambda a, s, g2, sd: ((s / a) ** 2 + sd**2) / (s / a * sd) ** 2 * s**2,
    "likelihood": lambda a, s, g2, sd: g2 / s**2 * a**2,
}


class Off:
    """Errs by d = 1 of (2): x_0 by -sigma, eps by alpha."""

    def __init__(self, x_0, eps):
        self.x_0, self.eps = x_0, eps

    def __call__(self, x, node, cond=None):
        alpha, sigma = expand_right(node.alpha, x), expand_right(node.sigma, x)
        return Prediction(self.x_0 - sigma, self.eps + alpha, node)


def off_by_one(process, t, weighting):
    eps = jnp.zeros((len(t), 3))
    weighting = choice(WEIGHTINGS, weighting) if weighting in WEIGHTINGS else weighting
    return loss_at(process, Off(eps, eps), eps, t, eps, weighting=weighting)


@pytest.mark.parametrize("weighting", DEFINITIONS)
@pytest.mark.parametrize("process", SDES)
def test_a_weighting_is_its_definition(process, weighting):
    process = make_process(process)
    t = process.t_min + (process.t_max - process.t_min) * jnp.array([0.03, 0.4, 0.97])
    alpha, sigma = (np.float64(f) for f in process.node(t)[1:])
    g2 = np.float64(process.diffusion_squared(t))
    want = DEFINITIONS[weighting](alpha, sigma, g2, 0.7)
    np.testing.assert_allclose(off_by_one(process, t, weighting), want, rtol=1e-3)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_weight_of_a_step_is_that_of_ho_et_al(variance):
    """Their eq. 8, by the means of the posterior, and eq. 12, by the noise, at levels of DDPM."""
    process, i = DDPMSchedule(50), np.array([1, 20, 49])
    betas = np.asarray(process.betas(), np.float64)
    kept = np.cumprod(1 - betas)
    beta, left = betas[i], 1 - kept[i]
    tilde = beta * (1 - kept[i - 1]) / left
    var = {"small": tilde, "large": beta}[variance]
    t, weighting = process.times()[i], PosteriorWeighting(49, variance)
    x_0, eps = jnp.zeros((3, 2)), jnp.zeros((3, 2))
    got = loss_at(process, Off(x_0, eps), x_0, t, eps, weighting=weighting, reduction="half_sum")
    d_x, d_eps = np.sqrt(left), np.sqrt(kept[i])  # how far `Off` is off in each of two coordinates
    eq_8 = 2 * (np.sqrt(kept[i - 1]) * beta / left * d_x) ** 2 / (2 * var)
    eq_12 = 2 * beta**2 / (2 * var * (1 - beta) * left) * d_eps**2
    np.testing.assert_allclose(eq_8, eq_12, rtol=1e-9)
    np.testing.assert_allclose(got, eq_8, rtol=1e-3)


@pytest.mark.parametrize("process", SDES)
def test_the_weights_of_many_steps_are_that_of_likelihood(process):
    """N times that of a step of N tends to (t_max - t_min) g^2 / sigma^2 (Kingma et al. 2021)."""
    process, n = make_process(process), 4000
    t = process.t_min + (process.t_max - process.t_min) * jnp.array([0.2, 0.5, 0.97])
    many = n * off_by_one(process, t, PosteriorWeighting(n))
    limit = (process.t_max - process.t_min) * off_by_one(process, t, LikelihoodWeighting())
    np.testing.assert_allclose(many, limit, rtol=2e-2)


def test_every_parametrisation_has_the_loss_of_the_pair_that_it_reads():
    """A network that gives the mean of a step trains as one that gives the noise: by the same loss,
    which under the weight of a step is the squared error of that mean."""
    process = DDPMSchedule(50)
    x_0, eps = images_and_noise(3)
    t = process.times()[jnp.array([3, 20, 40])]
    node = process.node(t)
    alpha, sigma = expand_right(node.alpha, x_0), expand_right(node.sigma, x_0)
    x = alpha * x_0 + sigma * eps
    guess = 0.9 * eps
    as_noise = Noise().read(guess, x, node)
    output = PosteriorMean(num_steps=49, process=process)
    F, exact = as_noise.as_output(output), Prediction(x_0, eps, node).as_output(output)
    weighting, options = PosteriorWeighting(49), {"reduction": "half_sum"}

    def loss(parameterization, says):
        predict = lambda x, node, cond: parameterization.predict(lambda *_: says, x, node, cond)  # noqa: E731
        return loss_at(process, predict, x_0, t, eps, weighting=weighting, **options)

    of_mean, of_noise = loss(Parameterization(output), F), loss(Parameterization("noise"), guess)
    np.testing.assert_allclose(of_mean, of_noise, rtol=2e-3)
    betas = expand_right(process.betas()[jnp.array([3, 20, 40])], x_0)
    direct = jnp.sum((F - exact) ** 2 / (2 * betas), axis=tuple(range(1, F.ndim)))
    np.testing.assert_allclose(of_mean, direct, rtol=2e-3)


def test_the_weightings_are_exact_where_there_is_no_data_and_where_there_is_no_noise():
    process, t = FlowMatching(), jnp.array([1.0, 0.0])
    want = {"noise": (0, 1), "data": (1, 0), "v": (1, 1), "velocity": (1, 1), "edm": (1 / 0.49, 1)}
    for name, values in want.items():
        np.testing.assert_allclose(off_by_one(process, t, name), values, rtol=1e-6)
    assert float(off_by_one(process, t[:1], "likelihood")[0]) == 0


@pytest.mark.one_in(3)
@pytest.mark.parametrize("process", SDES)
def test_the_exact_network_of_every_output_has_the_irreducible_loss(process):
    """For N(0, s^2) data Var[d | x_t] = s^2 / v, v = alpha^2 s^2 + sigma^2."""
    process, data, n = make_process(process), Gaussian(jnp.zeros(2), jnp.full(2, 0.7)), 20_000
    x_0, eps = data.sample(jax.random.key(0), n), jax.random.normal(jax.random.key(1), (n, 2))
    t = jnp.full(n, process.t_min + 0.3 * (process.t_max - process.t_min))
    alpha, sigma = (float(f) for f in process.node(t[0])[1:])
    variance = 0.49 / (alpha**2 * 0.49 + sigma**2)
    g2 = float(process.diffusion_squared(t[0]))
    for output in OUTPUTS:
        for weighting, definition in DEFINITIONS.items():
            predict = Perfect(data, output, process)
            got = loss_at(process, predict, x_0, t, eps, weighting=choice(WEIGHTINGS, weighting))
            want = definition(alpha, sigma, g2, 0.7) * variance
            assert float(jnp.mean(got)) == pytest.approx(want, rel=0.02), (output, weighting)


class Perfect:
    """The data's exact network of some output, read by its parameterisation."""

    def __init__(self, data, output, process):
        self.data, self.output = data, choice(OUTPUTS, output).on(process)
        self.parameterization = Parameterization(self.output)

    def __call__(self, x, node, cond=None):
        says = self.data(x, node).as_output(self.output)
        return self.parameterization.predict(lambda *_: says, x, node, {})


def test_names_stand_for_objects():
    process, t = VPSDE(), jnp.array([0.2, 0.7])
    x_0, eps = images_and_noise(2)
    at = functools.partial(loss_at, process, Off(x_0, eps), x_0, t, eps)
    for named, object_ in (
        (
            at(weighting="data", reduction="half_sum"),
            at(weighting=DataWeighting(), reduction=HalfSum()),
        ),
        (at(weighting="edm"), at(weighting=EDMWeighting(0.5), reduction=Mean())),
        (at(), at(weighting="noise", reduction="mean")),
    ):
        np.testing.assert_array_equal(named, object_)


def test_draws_depend_on_each_examples_key_alone():
    keys = jax.random.split(jax.random.key(0), 6)
    t, eps = draw_times_and_noise(VPSDE(), keys, (2, 3))
    t_part, eps_part = draw_times_and_noise(VPSDE(), keys[4:], (2, 3))
    np.testing.assert_array_equal(t[4:], t_part)
    np.testing.assert_array_equal(eps[4:], eps_part)


def test_training_times_cover_the_process():
    keys = jax.random.split(jax.random.key(0), 20_000)
    t, _ = draw_times_and_noise(VPSDE(t_min=0.1), keys, (1,))
    assert float(t.min()) >= 0.1 and float(t.max()) <= 1.0
    np.testing.assert_allclose(np.quantile(t, [0.25, 0.5, 0.75]), [0.325, 0.55, 0.775], atol=0.02)
    levels, _ = draw_times_and_noise(SMLDSchedule(num_steps=4), keys, (1,))
    values, counts = np.unique(np.round(np.asarray(levels) * 3), return_counts=True)
    np.testing.assert_array_equal(values, [0, 1, 2, 3])
    assert counts.min() > 4500


U = (jnp.arange(20_000) + 0.5) / 20_000  # the midpoints of equal shares of [0, 1]


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("process", SDES)
def test_every_way_of_drawing_times_stays_within_every_process(process, times):
    process, times = make_process(process), TIMES[times]()
    t = times.draw(process, jnp.linspace(0.0, 1 - 2**-24, 1001))
    assert t.min() >= np.float32(process.t_min) and t.max() <= np.float32(process.t_max)
    rises = jnp.diff(t)
    assert bool(jnp.all(rises >= 0)) or bool(jnp.all(rises <= 0))
    assert bool(jnp.all(jnp.isfinite(times.weight(process, t))))


@pytest.mark.parametrize("process", [EDM(), VPSDE(), FlowMatching()], ids=repr)
def test_log_normal_times_are_normal_in_the_log_of_the_noise(process):
    t = LogNormalTimes(-0.5, 0.6).draw(process, U)
    log_ratio = -process.log_snr(t) / 2
    for q in (0.05, 0.5, 0.9):
        want = stats.norm.ppf(q, -0.5, 0.6)
        assert float(jnp.quantile(log_ratio, q)) == pytest.approx(want, abs=2e-3)


def test_logit_normal_times_are_normal_in_the_logit():
    process = FlowMatching()
    t = LogitNormalTimes(0.3, 0.8).draw(process, U)
    for q in (0.05, 0.5, 0.9):
        want = 1 / (1 + np.exp(-stats.norm.ppf(q, 0.3, 0.8)))
        assert float(jnp.quantile(t, q)) == pytest.approx(want, abs=1e-3)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("process", SDES)
def test_importance_sampled_times_leave_the_expected_loss_and_lower_its_variance(process):
    process, times = make_process(process), LikelihoodTimes()

    def loss(t):
        """The expected likelihood-weighted loss of the exact score of N(0, 0.7^2)."""
        alpha, sigma = process.alpha(t), process.sigma(t)
        return off_by_one(process, t, "likelihood") * 0.49 / (alpha**2 * 0.49 + sigma**2)

    drawn = times.draw(process, U)
    weight = np.float64(times.weight(process, drawn))
    got = weight * np.float64(loss(drawn))
    # Midpoints of intervals that grow with the distance from t_min, where the loss is largest.
    span = process.t_max - process.t_min
    edges = np.concatenate([[0.0], np.geomspace(1e-7, 1.0, 40_000)])
    shares = np.diff(edges)
    values = np.float64(loss(process.t_min + span * jnp.asarray(edges[:-1] + shares / 2)))
    want = values @ shares
    assert got.mean() == pytest.approx(want, rel=2e-3)
    variance = values**2 @ shares - want**2
    already_uniform = np.ptp(weight) < 0.01  # where log-SNR is linear in t
    assert got.var() < (1.01 if already_uniform else 0.7) * variance


def test_the_importance_weighted_loss_is_the_normaliser_times_the_error():
    """Song et al. 2021b, section 5: the weight that is left is Z, for every t."""
    process, times, t = VPSDE(), LikelihoodTimes(), jnp.array([0.001, 0.1, 0.9])
    z = float(process.log_snr(jnp.float32(1e-5)) - process.log_snr(jnp.float32(1.0)))
    got = times.weight(process, t) * off_by_one(process, t, "likelihood")
    error = off_by_one(process, t, "noise")
    np.testing.assert_allclose(got / error, z / (1 - 1e-5), rtol=1e-3)


def images_and_noise(n, d=5):
    x_0, eps = jax.random.split(jax.random.key(3))
    return jax.random.uniform(x_0, (n, d, 1)), jax.random.normal(eps, (n, d, 1))


compiled_transport = quick_jit(transport)


def total(x_0, eps):
    return float(jnp.sum((x_0 - eps) ** 2))


def test_transport_is_the_least_assignment():
    x_0, eps = images_and_noise(40)
    paired = compiled_transport(x_0, eps)
    cost = np.sum((np.asarray(x_0)[:, None] - np.asarray(eps)[None]) ** 2, axis=(2, 3))
    want = cost[optimize.linear_sum_assignment(cost)].sum()
    assert total(x_0, paired) == pytest.approx(want, rel=1e-5)
    assert total(x_0, paired) < 0.9 * total(x_0, eps)
    rows = [np.unique(np.asarray(e).reshape(40, -1), axis=0) for e in (paired, eps)]
    np.testing.assert_array_equal(*rows)


def test_transport_exchanges_noise_within_a_class_only():
    x_0, eps = images_and_noise(40)
    labels = jnp.arange(40) % 3
    paired = compiled_transport(x_0, eps, labels)
    for k in range(3):
        mine = labels == k
        alone = compiled_transport(x_0[mine], eps[mine])
        assert total(x_0[mine], paired[mine]) == pytest.approx(total(x_0[mine], alone), rel=1e-5)
        kept = [
            np.unique(np.asarray(e[mine]).reshape(int(mine.sum()), -1), axis=0)
            for e in (paired, eps)
        ]
        np.testing.assert_array_equal(*kept)


def test_transport_ends_on_data_that_is_not_finite():
    x_0, eps = images_and_noise(8)
    paired = compiled_transport(x_0.at[2].set(jnp.nan), eps)
    np.testing.assert_allclose(jnp.sort(paired.ravel()), jnp.sort(eps.ravel()))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: LogNormalTimes(std=0.0), "std: got 0.0"),
        (lambda: LogitNormalTimes(std=0.0), "std: got 0.0"),
        (lambda: EDMWeighting(0.0), "sigma_data: got 0.0"),
        (lambda: VariationalBound(num_steps=1), "num_steps: got 1"),
        (lambda: VariationalBound(weight=0.0), "weight: got 0.0"),
        (lambda: VariationalBound(low=1.0), "low: got 1.0"),
        (lambda: off_loss(weighting="sum"), "weighting: got 'sum'"),
        (lambda: off_loss(reduction="sum"), "reduction: got 'sum'"),
        (lambda: off_loss(auxiliary=VariationalBound()), "learned_variance: got False"),
        (lambda: sliced_score_matching(jnp.cos, PADDED, KEYS, num_probes=0), "num_probes: got 0"),
    ],
)
def test_what_cannot_be_is_refused(make, match):
    with pytest.raises(InvalidValue, match=f"^{match}"):
        make()


def off_loss(**options):
    x_0, eps = images_and_noise(2)
    return loss_at(VPSDE(), Off(x_0, eps), x_0, jnp.array([0.2, 0.7]), eps, **options)


# Padded examples: the numbers of each are those of the example without its padding.

LENGTHS = (6, 4, 1)
REAL = jnp.arange(6) < jnp.array(LENGTHS)[:, None]  # (b, length)
PADDED = jax.random.uniform(jax.random.key(8), (3, 6, 2), minval=-1.0) * REAL[..., None]
KEYS = jax.random.split(jax.random.key(9), 3)


def coupled(x, scale=1.0):
    """A function of each example that couples its coordinates, and leaves zeros where they are."""
    return jnp.sin(scale * x) + 0.3 * x * jnp.sum(x**2, axis=(1, 2), keepdims=True)


@pytest.mark.one_in(8)
@pytest.mark.parametrize("dtype", [bool, jnp.float32])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_padded_loss_is_the_unpadded_one(weighting, reduction, dtype):
    """With the noise drawn in the padding too, and with a bound on learned variances."""
    process, t = VPSDE(), jnp.array([0.005, 0.3, 0.9])
    eps = jax.random.normal(jax.random.key(10), PADDED.shape)
    model = Parameterization("v", learned_variance=True)

    def network(x, c_noise, mask=None):
        return jnp.concatenate([coupled(x), jnp.cos(x)], axis=-1)

    def predict(x, node, cond):
        return model.predict(network, x, node, cond)

    at = quick_jit(
        functools.partial(
            loss_at,
            process,
            predict,
            weighting=weighting,
            reduction=reduction,
            auxiliary=VariationalBound(50),
        )
    )
    got = at(PADDED, t, eps, {MASK: REAL[..., None].astype(dtype)})
    for i, n in enumerate(LENGTHS):
        one = slice(i, i + 1)
        np.testing.assert_allclose(got[one], at(PADDED[one, :n], t[one], eps[one, :n]), rtol=2e-6)
    full = jnp.ones((3, 6, 1), dtype)
    np.testing.assert_allclose(at(PADDED, t, eps, {MASK: full}), at(PADDED, t, eps), rtol=1e-6)


def test_the_gradient_of_a_padded_loss_is_the_unpadded_one():
    t, eps = jnp.array([0.1, 0.3, 0.9]), jax.random.normal(jax.random.key(10), PADDED.shape)

    def slope(x_0, t, eps, cond):
        def loss(scale):
            predict = lambda x, node, cond: Parameterization().predict(  # noqa: E731
                lambda x, c, mask=None: coupled(x, scale), x, node, cond
            )
            return jnp.sum(loss_at(VPSDE(), predict, x_0, t, eps, cond))

        return float(quick_jit(jax.grad(loss))(1.3))

    alone = [
        slope(PADDED[i : i + 1, :n], t[i : i + 1], eps[i : i + 1, :n], {})
        for i, n in enumerate(LENGTHS)
    ]
    got = slope(PADDED, t, eps, {MASK: REAL[..., None]})
    assert got == pytest.approx(sum(alone), rel=1e-5)


def test_padded_score_matching_is_the_unpadded_one():
    cond = {MASK: REAL[..., None]}
    match = quick_jit(functools.partial(implicit_score_matching, coupled))
    got = match(PADDED, cond)
    for i, n in enumerate(LENGTHS):
        want = match(PADDED[i : i + 1, :n])
        np.testing.assert_allclose(got[i : i + 1], want, rtol=1e-5)


@pytest.mark.parametrize("variance_reduced", [True, False])
def test_padded_sliced_score_matching_is_the_unpadded_one(variance_reduced):
    """With the probes of the padded example, by hand; and a score that is 1 in the padding."""
    score, options = lambda x: coupled(x) + 1.0, {"variance_reduced": variance_reduced}
    got = sliced_score_matching(score, PADDED, KEYS, {MASK: REAL[..., None]}, **options)
    for i, n in enumerate(LENGTHS):
        x, v = PADDED[i : i + 1, :n], jax.random.rademacher(KEYS[i], (1, 6, 2), dtype=float)[:, :n]
        s, product = jax.jvp(score, (x,), (v,))
        second = jnp.sum(s**2) if variance_reduced else jnp.sum(v * s) ** 2
        assert float(got[i]) == pytest.approx(float(jnp.sum(v * product) + second / 2), rel=1e-5)


@pytest.mark.parametrize("classes", [1, 2])
def test_padded_transport_is_the_unpadded_one_within_each_length(classes):
    """Noise in the padding has no weight, and none goes to an example of another length."""
    x_0, eps = images_and_noise(30)
    lengths = jnp.array([5, 3, 2])[jnp.arange(30) % 3]
    labels = (jnp.arange(30) // 3) % classes
    mask = (jnp.arange(5) < lengths[:, None])[..., None]
    paired = quick_jit(COUPLINGS["optimal_transport"]())(x_0 * mask, eps, labels, mask)
    for n in (5, 3, 2):
        mine = np.asarray(lengths == n)
        alone = compiled_transport(x_0[mine, :n], eps[mine, :n], labels[mine])
        np.testing.assert_array_equal(paired[mine, :n], alone)
