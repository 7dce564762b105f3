"""The activations, and the precisions of a computation, that a config can name."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "swish": nn.swish,
    "elu": nn.elu,
    "relu": nn.relu,
    "lrelu": partial(nn.leaky_relu, negative_slope=0.2),
}

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
