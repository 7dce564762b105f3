"""Losses against the original's, against closed forms, and their keys."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_models import golden_predictor, nhwc
from oracles import Gaussian

from losses import WEIGHTINGS, draw_times_and_noise, drop_labels, loss_at
from parameterization import Parameterization
from sde_lib import VESDE, VPSDE, DDPMSchedule, SMLDSchedule, SubVPSDE

PROCESSES = {"ve": VESDE(0.01, 50.0), "vp": VPSDE(), "subvp": SubVPSDE()}
NATIVE = {"loss_ve": ("ve",), "loss_vp": ("vp", "subvp")}


@pytest.mark.parametrize("name, sde", [(n, s) for n, all_ in NATIVE.items() for s in all_])
@pytest.mark.parametrize("likelihood", [0, 1])
@pytest.mark.parametrize("mean", [0, 1])
def test_golden_continuous_losses(golden, name, sde, likelihood, mean):
    z = golden(name)
    loss = loss_at(
        PROCESSES[sde],
        golden_predictor(z),
        nhwc(z["batch"]),
        jnp.asarray(z["u"] * (1 - 1e-5) + 1e-5),
        nhwc(z["z"]),
        weighting="likelihood" if likelihood else "noise",
        reduction="mean" if mean else "half_sum",
    )
    want = float(z[f"loss/{sde}/lw{likelihood}_rm{mean}"])
    assert float(jnp.mean(loss)) == pytest.approx(want, rel=1e-4)


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


def test_the_v_weighting_is_the_regression_on_v():
    process, t = VPSDE(), jnp.array([0.05, 0.3, 0.8])
    eps_error = jnp.full((3, 5), 0.1)
    alpha = process.alpha(t)
    v_error = eps_error / alpha[:, None]
    want = jnp.mean(v_error**2, axis=1)
    np.testing.assert_allclose(WEIGHTINGS["v"](process, t) * 0.1**2, want, rtol=1e-6)


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


def test_labels_are_dropped_at_the_rate():
    keys = jax.random.split(jax.random.key(0), 20_000)
    dropped = drop_labels(keys, jnp.full(20_000, 3), 10, 0.1)
    assert set(np.unique(dropped)) == {3, 10}
    assert float(jnp.mean(dropped == 10)) == pytest.approx(0.1, abs=0.01)
