"""Classifiers of noisy states against a mixture of Gaussians, whose classes are known exactly."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import quick_jit

from losses import LikelihoodTimes, UniformTimes
from oracles import Mixture
from parameterization import C_NOISE, ReversedTime, Time
from sde_lib import VESDE, VPSDE, SubVPSDE
from tasks.classifier import ClassifierTask, NoisyClassifier, cross_entropy
from tasks.task import Context

VP = VPSDE()
DATA = Mixture(jnp.array([[-1.0, 0.5], [1.0, 1.0], [0.3, -1.2]]), 0.4, jnp.array([0.2, 0.3, 0.5]))


class Small(nn.Module):
    """Two hidden layers of x and the noise level."""

    @nn.compact
    def __call__(self, x, c_noise):
        h = jnp.concatenate([x, c_noise[:, None]], axis=1)
        for _ in range(2):
            h = nn.swish(nn.Dense(32)(h))
        return nn.Dense(3)(h)


def draw_data(key, n):
    """n data points with the component that each comes from."""
    which, noise = jax.random.split(key)
    k = jax.random.categorical(which, jnp.log(DATA.weights), shape=(n,))
    return DATA.means[k] + DATA.std * jax.random.normal(noise, (n, 2)), k


def batch_of(key, n):
    x_0, labels = draw_data(key, n)
    return {"image": x_0, "label": labels}


def make_task(**options):
    return ClassifierTask(**{"process": VP, "network": Small(), "shape": (2,), **options})


@functools.cache
def trained():
    """What 1,500 steps make of the small network, conditioned on log(sigma / alpha) / 4."""
    task = make_task(c_noise="edm")
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, 1500))

    def loss(params, batch, keys):
        return task.loss(Context(params), batch, keys)

    def step(carry, key):
        params, state = carry
        data_key, noise_key = jax.random.split(key)
        keys = jax.random.split(noise_key, 256)
        grads = jax.grad(loss, has_aux=True)(params, batch_of(data_key, 256), keys)[0]
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), None

    params = task.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 1500)
    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, keys))(
        (params, optimizer.init(params))
    )
    return task.classifier(params)


def noisy(process, t, n=4000):
    """States at time t and their node."""
    x_0, labels = draw_data(jax.random.key(2), n)
    node = process.node(jnp.full(n, t))
    eps = jax.random.normal(jax.random.key(3), x_0.shape)
    return node.alpha[:, None] * x_0 + node.sigma[:, None] * eps, node, labels


@pytest.mark.parametrize("t", [0.05, 0.3, 0.6, 0.9])
def test_a_trained_classifier_is_the_exact_one(t):
    x, node, _ = noisy(VP, t)
    exact, found = (quick_jit(of.log_probs)(x, node) for of in (DATA, trained()))
    divergence = jnp.sum(jnp.exp(exact) * (exact - found), axis=1)
    assert float(jnp.mean(divergence)) < 0.003  # nats


def test_the_gradient_of_the_exact_classifier_is_bayes_rule():
    """grad log p(k | x_t) = score of component k less the score of the mixture."""
    x, node, labels = noisy(VP, 0.3, 6)

    def chosen(x):
        return jnp.sum(jnp.take_along_axis(DATA.log_probs(x, node), labels[:, None], axis=1))

    alpha, sigma = node.alpha[:, None], node.sigma[:, None]
    of_component = (alpha * DATA.means[labels] - x) / (alpha**2 * DATA.std**2 + sigma**2)
    expected = of_component - DATA(x, node).score
    np.testing.assert_allclose(quick_jit(jax.grad(chosen))(x), expected, atol=1e-4, rtol=1e-4)


def test_the_gradient_is_that_of_finite_differences():
    with jax.enable_x64(True):
        classifier = jax.tree.map(lambda p: p.astype(jnp.float64), trained())
        x, node, _ = (
            jax.tree.map(lambda f: f.astype(jnp.float64), part) for part in noisy(VP, 0.2, 5)
        )

        def log_p(x):
            return classifier.log_probs(x, node)[:, 1]

        g, h = quick_jit(jax.grad(lambda x: jnp.sum(log_p(x))))(x), 1e-5
        values = quick_jit(log_p)
        for axis in range(2):
            e = h * jnp.eye(2)[axis]
            slope = (values(x + e) - values(x - e)) / (2 * h)
            np.testing.assert_allclose(g[:, axis], slope, rtol=1e-6, atol=1e-8)


def test_cross_entropy_by_hand():
    log_probs = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]))
    labels = jnp.array([0, 1])
    np.testing.assert_allclose(
        cross_entropy(log_probs, labels), [-np.log(0.7), -np.log(0.25)], rtol=1e-6
    )
    # q = (0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3) for the first
    by_hand = -(0.9 * np.log(0.7) + 0.1 / 3 * (np.log(0.7) + np.log(0.2) + np.log(0.1)))
    np.testing.assert_allclose(cross_entropy(log_probs, labels, 0.1)[0], by_hand, rtol=1e-6)


@pytest.mark.parametrize("process", [VP, VESDE(0.01, 50.0), SubVPSDE()], ids=str)
def test_the_loss_is_that_of_the_noised_examples(process):
    task = make_task(process=process, label_smoothing=0.1, times=LikelihoodTimes())
    params = task.init(jax.random.key(0))
    batch, keys = batch_of(jax.random.key(1), 8), jax.random.split(jax.random.key(2), 8)
    of = quick_jit(lambda batch, keys: task.loss(Context(params), batch, keys))
    loss, metrics = of(batch, keys)
    assert float(loss) == pytest.approx(float(jnp.mean(metrics["loss"])))
    # An example's part depends on its own key alone.
    turned = jnp.array([4, 5, 6, 7, 0, 1, 2, 3])
    again = of(jax.tree.map(lambda a: a[turned], batch), keys[turned])[1]
    for name in ("loss", "level", "accuracy"):
        np.testing.assert_allclose(again[name], metrics[name][turned], rtol=1e-4, atol=1e-5)
    # By hand, from the times that it says it has taken.
    t = metrics["level"] * process.t_max
    noise_keys = jax.vmap(lambda key: jax.random.split(jax.random.split(key)[0])[1])(keys)
    eps = jax.vmap(lambda key: jax.random.normal(key, (2,)))(noise_keys)
    x = process.alpha(t)[:, None] * batch["image"] + process.sigma(t)[:, None] * eps
    logits = Small().apply({"params": params}, x, jnp.log(process.sigma(t)))
    expected = optax.softmax_cross_entropy(
        logits, optax.smooth_labels(jax.nn.one_hot(batch["label"], 3), 0.1)
    )
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("c_noise", C_NOISE)
def test_the_network_is_conditioned_on_the_noise_level(c_noise):
    class Echo(nn.Module):
        @nn.compact
        def __call__(self, x, c):
            return jnp.stack([c, jnp.zeros_like(c)], axis=1)

    node = VP.node(jnp.array([0.1, 0.9]))
    scaled = {"time": Time(10.0), "reversed_time": ReversedTime(10.0)}.get(c_noise, c_noise)
    found = NoisyClassifier(Echo(), {}, scaled).logits(jnp.zeros((2, 3)), node)
    by_hand = {
        "log_sigma": jnp.log(node.sigma),
        "time": 10 * node.t,
        "reversed_time": 10 * (1 - node.t),
        "edm": jnp.log(node.sigma / node.alpha) / 4,
        "alpha": node.alpha,
        "level": 9 * (1 - node.t),
    }
    np.testing.assert_allclose(found[:, 0], by_hand[c_noise], rtol=1e-6)


def test_new_parameters_do_not_recompile():
    classifier = trained()
    other = jax.tree.map(jnp.zeros_like, classifier)
    apply = jax.jit(lambda classifier, x, node: classifier.log_probs(x, node))
    x, node, _ = noisy(VP, 0.5, 3)
    apply(classifier, x, node)
    np.testing.assert_allclose(apply(other, x, node), -np.log(3), rtol=1e-6)
    assert apply._cache_size() == 1


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"c_noise": "sigma"}, "c_noise"),
    ],
)
def test_what_cannot_be_is_refused(options, field):
    with pytest.raises(ValueError, match=f"^{field}: got"):
        make_task(times=UniformTimes(), **options)
