"""SDEdit (Meng et al. 2022): noise an image part of the way and let the model bring it back."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from controllable.replacement import check_range
from options.choices import require
from sde_lib import Node, Process, expand_right


def noised_start(
    key: Key[Array, ""],
    process: Process,
    image: Float[Array, "b *shape"],
    t: float,
    data_range: tuple[float, float] | None = (-1.0, 1.0),
) -> tuple[Array, Node]:
    """(x, node) to start from: the image noised to time t.

    Larger t is freer, smaller t more faithful; use it with a grid that begins there, such as
    `uniform_grid(process, steps, t_start=t)`.

    Raises:
      InvalidValue: a time outside (t_min, t_max], an image out of range, where there is one.
    """
    expected = f"a time in ({process.t_min}, {process.t_max}] to start from"
    require(process.t_min < t <= process.t_max, "t", t, expected)
    image = jnp.asarray(image, jnp.float32)
    if data_range is not None:
        check_range(image, data_range)
    node = process.node(jnp.float32(t))
    eps = jax.random.normal(key, image.shape)
    x = expand_right(node.alpha, image) * image + expand_right(node.sigma, image) * eps
    return x, node
