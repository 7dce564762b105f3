"""Ranks of captions by a judge that is known; a judge's own report."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evaluation.retrieval import RetrievalOptions, ranks_of
from options.errors import InvalidValue
from sde_lib import VPSDE


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class ByBrightness:
    """A text is as likely as its number is near the mean of the image over alpha."""

    def log_probs(self, x, node, texts):
        seen = x.mean(axis=(1, 2, 3)) / node.alpha
        return -((seen[:, None] - texts[None, :, 0]) ** 2)


def test_ranks_count_the_texts_that_are_likelier():
    texts, own = jnp.array([[-1.0], [0.0], [1.0], [1.1]]), np.array([0, 2, 1])
    x_0 = np.array([-1.0, 1.3, 0.9], np.float32)[:, None, None, None] * np.ones((1, 8, 8, 3))
    found = ranks_of(ByBrightness(), VPSDE(), x_0.astype(np.float32), texts, own, 0.01, 2)
    np.testing.assert_array_equal(found, [0, 1, 2])
    several = ranks_of(ByBrightness(), VPSDE(), x_0.astype(np.float32), texts, own, 0.01, 3)
    np.testing.assert_array_equal(several, found)  # whatever the batch


@pytest.mark.parametrize(
    "fields, said", [({"levels": ()}, "^levels: got"), ({"first": 0}, "^first: got 0")]
)
def test_options_that_cannot_be_are_refused(fields, said):
    with pytest.raises(InvalidValue, match=said):
        RetrievalOptions(**fields)
