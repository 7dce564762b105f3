"""Losses of autoencoders by hand, and distances by features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, random_parameters

from models.autoencoder import AutoencoderKL, AutoencoderVQ, Reconstruction
from options.errors import InvalidValue
from sde_lib import VPSDE
from tasks.autoencoder import AutoencoderTask
from tasks.classifier import NoisyClassifier
from tasks.perceptual import OfClassifier, OfFeatures
from tasks.task import Context

SMALL = {"channels": 1, "latent_channels": 2, "widths": (4, 8), "num_res_blocks": 1, "groups": 2}
SMALL["attention"] = False


class Halving:
    """x / 2 again, with penalties that are known."""

    def apply(self, variables, x, keys, method):
        assert method == "reconstruct"
        ones = jnp.ones(len(x))
        return Reconstruction(x / 2, {"kl": 3 * ones, "commitment": 4 * ones, "codebook": 5 * ones})


def test_the_loss_is_the_error_the_distance_and_weighted_penalties():
    x = jnp.stack([jnp.full((2, 2, 1), 0.4), jnp.full((2, 2, 1), -1.0)])
    features = OfFeatures(lambda levels: levels.reshape(2, -1)[:, :2] * jnp.array([1.0, 0.0]))
    task = AutoencoderTask(Halving(), (2, 2, 1), features, 10.0, kl=0.1, commitment=0.25)
    keys = jax.random.split(jax.random.key(0), 2)
    mean, found = task.loss(Context({}, frozen=task.frozen), {"image": x}, keys)
    np.testing.assert_allclose(found["absolute_error"], [0.2, 0.5], rtol=1e-6)
    # Of the same direction; no features at all and some, of length 0 and 1.
    np.testing.assert_allclose(found["perceptual"], [0.0, 1.0], atol=1e-6)
    expected = np.array([0.2, 0.5]) + [0, 10] + 0.3 + 1 + 5
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-6)
    assert float(mean) == pytest.approx(expected.mean())
    with pytest.raises(InvalidValue, match="kl: got -1"):
        AutoencoderTask(Halving(), (2, 2, 1), kl=-1)


@pytest.mark.slow
def test_kl_is_that_of_normal_distributions():
    """Of the analytic divergence, for an encoder whose mean and variance are known."""
    network = AutoencoderKL(**SMALL)
    x = jax.random.normal(jax.random.key(1), (1, 4, 4, 1))
    keys = jax.random.split(jax.random.key(2), 1)
    params = jax.tree.map(
        jnp.zeros_like, random_parameters(network.init, jax.random.key(0), x)["params"]
    )
    params["quant_conv"]["bias"] = jnp.array([0.5, -1.0, np.log(4.0), 0.0])
    made = network.apply({"params": params}, x, keys, method="reconstruct")
    exact = 4 * ((0.25 + 4 - 1 - np.log(4)) + 1) / 2  # of 2 x 2 places
    np.testing.assert_allclose(made.penalties["kl"], exact / 16, rtol=1e-6)


@pytest.mark.slow
def test_a_codebook_is_searched_pulled_and_passed_through():
    network = AutoencoderVQ(**SMALL, codes=3)
    x = jax.random.normal(jax.random.key(1), (1, 4, 4, 1))
    variables = random_parameters(network.init, jax.random.key(0), x)
    codebook = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    variables["params"]["codebook"] = codebook
    h = jnp.array([[[[0.2, 0.1], [0.9, 0.3]], [[0.2, 1.5], [3.0, -1.0]]]])
    nearest = network.apply(variables, h, method="nearest")
    assert nearest.tolist() == [[[0, 1], [2, 1]]]
    np.testing.assert_array_equal(
        network.apply(variables, h, method="decode"),
        network.apply(variables, codebook[nearest], method="decode"),
    )
    keys = jax.random.split(jax.random.key(2), 1)

    @quick_jit
    def gradients(params):
        def of(name):
            def loss(params):
                made = network.apply({"params": params}, x, keys, method="reconstruct")
                return made.penalties[name][0] if name else jnp.sum(made.x**2)

            return jax.grad(loss)(params)

        return {name: of(name) for name in ("codebook", "commitment", "")}

    def size(tree):
        return sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(tree))

    found = gradients(variables["params"])
    moved = {k: (size(g["encoder"]) > 0, size(g["codebook"]) > 0) for k, g in found.items()}
    assert moved == {"codebook": (False, True), "commitment": (True, False), "": (True, False)}
    h = network.apply(variables, x, method="encode").mean
    gap = (h - codebook[network.apply(variables, h, method="nearest")]) ** 2
    made = network.apply(variables, x, keys, method="reconstruct")
    np.testing.assert_allclose(made.penalties["codebook"], gap.mean(), rtol=1e-5)


@pytest.mark.slow
def test_layers_of_a_classifier_as_a_distance():
    """0 of an image and itself, and at its derivative finite; more, the more is changed."""
    from data import CENTERED
    from models import WideResNet

    network = WideResNet(2, nf=4, stem=4, ch_mult=(1, 2), num_res_blocks=1, embed_dim=8)
    x = jax.random.uniform(jax.random.key(1), (3, 8, 8, 1))
    noise = jax.random.normal(jax.random.key(2), x.shape)
    params = random_parameters(network.init, jax.random.key(0), x, jnp.zeros(3))["params"]
    distance = OfClassifier(NoisyClassifier(network, params), VPSDE(), CENTERED)

    @quick_jit
    def found(params, scale):
        of = lambda scale: distance(params, x, x + scale * noise)  # noqa: E731
        return of(scale), jax.grad(lambda s: of(s).sum())(scale)

    values = [found(distance.frozen, scale) for scale in (0.0, 0.05, 0.2)]
    assert np.all(values[0][0] < 1e-12) and np.isfinite([slope for _, slope in values]).all()
    assert np.all(values[1][0] > 0) and np.all(values[2][0] > values[1][0])
    assert len(distance._maps(params, x)) == 4  # the first convolution, two blocks, the last norm
