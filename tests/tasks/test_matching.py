"""The contrast of judges by hand, and a judge that learns which colour a text says."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import quick_jit

from controllable.likelihood_guidance import by_states
from losses import UniformTimes
from models import WideResNet
from models.two_towers import TwoTowers
from oracles import Mixture
from parameterization import LogSigma
from sampling import sample
from sde_lib import VPSDE
from solvers import DDIM
from solvers.grids import uniform_grid
from tasks.conditions import Text
from tasks.matching import MatchingTask, TextLikelihood, contrast
from tasks.task import Context

SHAPE = (4, 4, 3)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["data"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class ExactJudge:
    """Text k says that a state is of component k of a mixture."""

    data: Mixture

    def images(self, x, node):
        return self.data.log_parts(node, x)

    def texts(self, value):
        return jax.nn.one_hot(value, len(self.data.means))


def test_a_model_without_captions_is_guided_to_texts_by_a_judge():
    """By the exact judge of an exact mixture: its text is retrieved of every sample, where without
    guidance it is of one in four; all parts are as they should be."""
    data = Mixture(2.0 * jnp.eye(4) - 0.5, 0.2, jnp.full(4, 0.25))
    judge, process, wanted = ExactJudge(data), VPSDE(), jnp.arange(400) % 4
    likelihood = TextLikelihood(judge, jnp.eye(4), "caption")

    guided = sample(
        jax.random.key(0), process, data, DDIM(eta=1.0), uniform_grid(process, 60, t_end=1e-3),
        (400, 4), cond={"caption": wanted}, guidance=by_states(likelihood),
    ).x  # fmt: skip

    @quick_jit
    def retrieved(x):
        node = process.node(jnp.full(len(x), 1e-3))
        return jnp.mean(jnp.argmax(judge.images(x, node), axis=1) == wanted)

    assert abs(retrieved(data.sample(jax.random.key(1), 400)) - 0.25) < 0.08
    assert retrieved(guided) > 0.98
    np.testing.assert_allclose(guided[wanted == 1].mean(0), data.means[1], atol=0.1)
    np.testing.assert_allclose(guided[wanted == 1].std(0), 0.2, atol=0.05)
    node, unseen = process.node(jnp.full(4, 0.5)), TextLikelihood(judge, jnp.eye(4)[:3], "caption")
    expected = jnp.diag(data.log_probs(data.means, node))
    for some in (likelihood, unseen):  # the last is not among those of the second
        found = quick_jit(lambda x, some=some: some(x, node, {"caption": jnp.arange(4)}))(
            data.means
        )
        of = slice(0, 4) if some is likelihood else slice(3, 4)
        np.testing.assert_allclose(found[of], expected[of], rtol=1e-4, atol=1e-5)


def test_the_contrast_counts_texts_that_are_alike_as_one():
    f, g = jnp.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]), jnp.array([[1.0, 0], [0, 1], [1.0, 0]])
    values, correct = contrast(f, g)
    e = np.exp([[1.0, 0, 1], [0, 2, 0], [3, 0, 3]])
    expected = -np.log([(e[0, 0] + e[0, 2]) / e[0].sum(), e[1, 1] / e[1].sum(),
                        (e[2, 0] + e[2, 2]) / e[2].sum()])  # fmt: skip
    np.testing.assert_allclose(values, expected, rtol=2e-5)
    assert correct.all() and not contrast(-f, g)[1].any()


@pytest.mark.slow
def test_a_judge_learns_what_texts_say_and_says_nothing_at_first():
    image = WideResNet(
        num_classes=8, nf=8, stem=8, ch_mult=(1,), num_res_blocks=1, embed_dim=8, fourier_size=4,
        standardize=False,
    )  # fmt: skip
    network = TwoTowers(image, Text("ab", dropout=0.1))
    task = MatchingTask(VPSDE(beta_max=1.0), network, SHAPE, LogSigma(), UniformTimes(), "float32")
    params = quick_jit(task.init)(jax.random.key(0))
    colours = jnp.array([-1.0, 1.0])[jnp.arange(16) % 2]
    texts = jnp.array([[1, 0], [2, 2]])[jnp.arange(16) % 2]
    batch = {"image": jnp.broadcast_to(colours[:, None, None, None], (16, *SHAPE)), "text": texts}
    optimizer = optax.adam(1e-2)
    evaluated = task.for_evaluation()
    assert evaluated.condition.dropout == 0

    @quick_jit
    def step(params, state, key):
        loss = lambda p: task.loss(Context(p), batch, jax.random.split(key, 16))  # noqa: E731
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    state, found = optimizer.init(params), []
    for i in range(30):
        params, state, value = step(params, state, jax.random.key(i))
        found.append(float(value))
    # Eight of sixteen texts are one's own where none was dropped.
    assert 0.5 < found[0] < 1.0 and np.mean(found[-5:]) < 0.6 * found[0]

    judge, node = task.judge(params), task.process.node(jnp.full(2, 0.05))
    g = judge.texts(jnp.array([[1, 0], [2, 2]]))
    log_probs = judge.log_probs(batch["image"][:2], node, g)
    np.testing.assert_array_equal(jnp.argmax(log_probs, 1), [0, 1])
    np.testing.assert_allclose(jnp.exp(log_probs).sum(1), 1, rtol=1e-5)
