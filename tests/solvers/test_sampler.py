"""A batch is spread over the devices of a host, and comes out as on one."""

import pathlib
import subprocess
import sys

import numpy as np
from quick import with_devices

ROOT = pathlib.Path(__file__).parent.parent.parent
# A predictor with parameters, labels, guidance, a constraint and a start, on as many devices as
# there are; the samples of each run are saved, and the devices that they lay on counted.
PROGRAM = """
import sys
import jax, jax.numpy as jnp, numpy as np
from controllable import replacement
from controllable.classifier_free import classifier_free
from oracles import Gaussian
from parameterization import Prediction
from sde_lib import VPSDE
from solvers import AdaptiveODE, DDIM, PredictorCorrector
from solvers.grids import uniform_grid
from solvers.sampler import Sampler
from tasks.conditions import ClassLabel

process, shape = VPSDE(), (4, 4, 1)
grid = uniform_grid(process, 6, t_end=1e-3)


@jax.tree_util.register_pytree_node_class
class Classes:
    def __init__(self, means):
        self.means = means

    def tree_flatten(self):
        return (self.means,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)

    def __call__(self, x, node, cond):
        mean = self.means[cond["labels"]][:, None, None, None]
        alpha, sigma = (f.reshape(-1, 1, 1, 1) for f in (node.alpha, node.sigma))
        variance = alpha**2 * 0.04 + sigma**2
        eps = sigma * (x - alpha * mean) / variance
        return Prediction((x - sigma * eps) / alpha, eps, node)


predict = Classes(jnp.array([-0.5, 0.5, 0.0]))
cond = {"labels": jnp.arange(8) % 2}
mask = np.tile(np.arange(4) < 2, (4, 1)).astype(np.float32)
constraint = replacement.inpainting(jnp.full((8, *shape), 0.25), mask, (-1.0, 1.0))
start = (jnp.linspace(-1, 1, 8 * 16).reshape(8, *shape), process.node(jnp.float32(0.5)))
found = {}
for name, solver, options in (
    ("pc", PredictorCorrector(), {}),
    ("guided", DDIM(eta=1.0), {"guidance": classifier_free(2.0, (ClassLabel(2, 0.1),))}),
    ("inpainted", DDIM(), {"constraint": constraint}),
    ("adaptive", AdaptiveODE(rtol=1e-3), {}),
    ("edited", DDIM(), {"start": start}),
):
    nodes = uniform_grid(process, 6, t_start=0.5, t_end=1e-3) if "start" in options else grid
    sampler = Sampler(process, solver, nodes, shape)
    made = sampler.draw(jax.random.key(0), predict, 8, cond=cond, **options)
    found[name], found[f"{name}_devices"] = made.x, len(made.x.devices())
np.savez(sys.argv[1], **found)
"""


def run(tmp_path, devices: int) -> dict[str, np.ndarray]:
    path = tmp_path / f"{devices}.npz"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)],
        cwd=ROOT, env=with_devices(devices), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with np.load(path) as file:
        return dict(file)


def test_samples_do_not_depend_on_the_number_of_devices(tmp_path):
    one, four = run(tmp_path, 1), run(tmp_path, 4)
    for name in ("pc", "guided", "inpainted", "adaptive", "edited"):
        assert (one[f"{name}_devices"], four[f"{name}_devices"]) == (1, 4), name
        # An adaptive solver of tolerance 1e-3 turns rounding into other steps.
        close = 1e-4 if name == "adaptive" else 2e-6
        np.testing.assert_allclose(four[name], one[name], rtol=0, atol=close, err_msg=name)
