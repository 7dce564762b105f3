"""Image tasks: every way of training, keyed by example, on a network of two layers."""

import dataclasses
import itertools
import random

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, random_parameters
from solver_cases import make_process

from losses import COUPLINGS, TIMES, WEIGHTINGS, LikelihoodTimes, VariationalBound, transport
from models import DDPM, NCSNpp
from parameterization import OUTPUTS, EDMOutput, Parameterization
from sde_lib import PROCESSES, VPSDE, FlowMatching
from tasks.conditions import ClassLabel
from tasks.image import ImageTask
from tasks.task import Context
from training.microbatch import mean_over_microbatches

N, SHAPE, VP = 6, (2, 2, 1), VPSDE()


class Tiny(nn.Module):
    """A layer of the picture and one of the noise level."""

    out_channels: int = 1

    @nn.compact
    def __call__(self, x, c_noise, *, labels=None):
        h = nn.Dense(8)(x) + nn.Dense(8)(jnp.tanh(c_noise / 100)[:, None])[:, None, None]
        if labels is not None:
            h += nn.Embed(11, 8)(labels)[:, None, None]
        return nn.Dense(self.out_channels)(jnp.tanh(h))


def make_task(process=VP, output="noise", learned=False, **options):
    output = EDMOutput(0.6) if output == "edm" else output
    parameterization = Parameterization(output, "edm", learned_variance=learned)
    return ImageTask(process, parameterization, Tiny(1 + learned), SHAPE, **options)


def plain_loss_of(task):
    """The loss as a function of the parameters in place of the context."""
    return lambda params, batch, keys: task.loss(Context(params), batch, keys)


def loss_of(task):
    """The loss as one program."""
    return quick_jit(plain_loss_of(task))


def gradient_of(task):
    """((loss, metrics), gradient), likewise."""
    return quick_jit(jax.value_and_grad(plain_loss_of(task), has_aux=True))


def examples(n=N):
    image = jnp.round(127.5 * jax.random.uniform(jax.random.key(0), (n, *SHAPE), maxval=2.0))
    batch = {"image": image / 127.5 - 1, "label": jnp.arange(n) % 2}
    return batch, jax.random.split(jax.random.key(1), n)


# Every process with every output, and what may be chosen beside them by lot.
EVERY = list(itertools.product(PROCESSES, OUTPUTS))
LOT = random.Random(0)
CHOICES = [list(WEIGHTINGS), list(TIMES), list(COUPLINGS), [False, True]]
CASES = [(*pair, *map(LOT.choice, CHOICES)) for pair in EVERY]


@pytest.mark.one_in(8)
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_every_process_and_output_trains_with_every_loss(case):
    process, output, weighting, times, coupling, learned = case
    task = make_task(
        make_process(process),
        output,
        learned,
        weighting=weighting,
        times=TIMES[times](),
        coupling=coupling,
        bound=VariationalBound(num_steps=50) if learned else None,
    )
    batch, keys = examples()
    params = random_parameters(task.init, jax.random.key(2))
    (value, metrics), grads = gradient_of(task)(params, batch, keys)
    assert bool(jnp.isfinite(value)) and metrics["loss"].shape == (N,)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(grads))
    assert any(bool(leaf.any()) for leaf in jax.tree.leaves(grads))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("times", TIMES)
def test_the_loss_of_an_example_depends_on_its_key_alone(times):
    task = make_task(learned=True, times=TIMES[times](), bound=VariationalBound())
    params, (batch, keys) = random_parameters(task.init, jax.random.key(2)), examples()
    whole = loss_of(task)(params, batch, keys)[1]["loss"]
    part = loss_of(task)(params, jax.tree.map(lambda x: x[4:], batch), keys[4:])[1]["loss"]
    np.testing.assert_allclose(whole[4:], part, rtol=1e-5)

    def mean(examples):
        return plain_loss_of(task)(params, *examples)[0]

    split = quick_jit(lambda both: mean_over_microbatches(mean, both, 2))((batch, keys))
    assert float(split) == pytest.approx(float(jnp.mean(whole)), rel=1e-5)


def test_transport_pairs_the_noise_within_the_batch_that_it_is_given():
    options = {"process": FlowMatching(), "output": "velocity", "weighting": "velocity"}
    task = make_task(**options, conditions=(ClassLabel(10),))
    paired = make_task(**options, conditions=(ClassLabel(10),), coupling="optimal_transport")
    params, (batch, keys) = random_parameters(task.init, jax.random.key(2)), examples(40)
    seen = []

    class Spy(ImageTask):
        def loss_at(self, params, x_0, t, eps, cond, auxiliary=None):
            seen.append((t, eps))
            return super().loss_at(params, x_0, t, eps, cond, auxiliary)

    def drawn(one):
        spy = Spy(**{f.name: getattr(one, f.name) for f in dataclasses.fields(one)})

        @quick_jit
        def times_and_noise(params, batch, keys):
            spy.loss(Context(params), batch, keys)
            return seen.pop()

        return times_and_noise(params, batch, keys)

    (t, eps), (t_paired, eps_paired) = drawn(task), drawn(paired)
    np.testing.assert_array_equal(t, t_paired)
    wanted = transport(batch["image"], eps, batch["label"])  # rounded otherwise than in one program
    np.testing.assert_allclose(eps_paired, wanted, rtol=1e-6)
    # one example has no other to exchange noise with
    one = jax.tree.map(lambda x: x[:1], batch)
    losses = [loss_of(each)(params, one, keys[:1])[0] for each in (task, paired)]
    assert float(losses[0]) == float(losses[1])


class Padded(nn.Module):
    """A sequence network that sees its mask: the mean over what is real, at every place."""

    @nn.compact
    def __call__(self, x, c_noise, *, labels=None, mask=None):
        mask = jnp.ones((*x.shape[:2], 1)) if mask is None else mask
        h = nn.Dense(8)(x) + c_noise[:, None, None]
        mean = jnp.sum(h * mask, axis=1, keepdims=True) / jnp.sum(mask, axis=1, keepdims=True)
        h = jnp.tanh(h + mean)
        return nn.Dense(x.shape[-1])(h) + (0 if labels is None else labels[:, None, None])


@pytest.mark.one_in(4)
@pytest.mark.parametrize("output", ["noise", "v", "edm"])
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_padding_leaves_the_loss_of_every_example_alone(output, coupling):
    """A padded batch gives each sequence the loss that it has without padding."""
    labels = (ClassLabel(3),)
    task = ImageTask(
        VP, Parameterization(output, "edm"), Padded(), (6, 2), labels, coupling=coupling
    )
    params = random_parameters(task.init, jax.random.key(2))
    keys = jax.random.split(jax.random.key(1), 4)
    x, lengths = jax.random.normal(jax.random.key(0), (4, 6, 2)), np.array([6, 3, 4, 1])
    mask = jnp.asarray((np.arange(6) < lengths[:, None])[..., None])
    batch = {"image": jnp.where(mask, x, 0.0), "label": jnp.arange(4) % 3, "mask": mask}
    padded = loss_of(task)(params, batch, keys)[1]["loss"]
    for i, length in enumerate(lengths):
        one = {"image": x[i : i + 1, :length], "label": batch["label"][i : i + 1]}
        alone = loss_of(task)(params, one, keys[i : i + 1])[0]
        np.testing.assert_allclose(padded[i], alone, rtol=1e-5)
    rubbish = batch | {"image": jnp.where(mask, x, 7.0)}
    np.testing.assert_allclose(loss_of(task)(params, rubbish, keys)[1]["loss"], padded, rtol=1e-5)


def test_importance_sampling_weights_the_loss_by_how_likely_a_time_is():
    """The mean of both over many draws is the same, and so is what is minimised."""
    options = {"output": "v", "weighting": "likelihood"}
    uniform = make_task(VPSDE(t_min=0.01), **options)
    sampled = make_task(VPSDE(t_min=0.01), **options, times=LikelihoodTimes())
    params, (batch, keys) = random_parameters(uniform.init, jax.random.key(2)), examples(20_000)
    values = [loss_of(task)(params, batch, keys)[1]["loss"] for task in (uniform, sampled)]
    error = max(float(v.std()) for v in values) / 20_000**0.5
    assert abs(float(values[0].mean() - values[1].mean())) < 5 * error
    assert float(values[1].std()) < 0.6 * float(values[0].std())


def test_the_bound_is_added_and_leaves_what_else_is_trained():
    plain, bound = make_task(learned=True), make_task(learned=True, bound=VariationalBound())
    params, (batch, keys) = random_parameters(plain.init, jax.random.key(2)), examples()

    def of_last_layer(task):
        (_, metrics), grads = gradient_of(task)(params, batch, keys)
        return metrics["loss"], grads["Dense_2"]["bias"]

    (loss, slope), (more, slope_more) = of_last_layer(plain), of_last_layer(bound)
    assert bool(jnp.all(more > loss))
    np.testing.assert_allclose(slope[0], slope_more[0], rtol=1e-5)
    assert float(slope[1]) == 0 and float(jnp.abs(slope_more[1])) > 0


@pytest.mark.one_in(2)
@pytest.mark.parametrize("patch_size", [1, 2])
def test_a_network_of_more_channels_out_than_in(patch_size):
    tiny = {"nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (4,)}
    networks = [
        NCSNpp(**tiny, out_channels=6, patch_size=patch_size),
        NCSNpp(**tiny, out_channels=6, patch_size=patch_size, progressive="output_skip"),
        DDPM(**tiny, out_channels=6),
    ]
    x, c_noise = jnp.zeros((2, 8, 8, 3)), jnp.zeros(2)
    for network in networks:
        made, _ = jax.eval_shape(network.init_with_output, jax.random.key(0), x, c_noise)
        assert made.shape == (2, 8, 8, 6)
