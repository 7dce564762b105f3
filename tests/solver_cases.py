"""The processes and solvers that tests go through, by their names in the tables."""

import dataclasses

import jax.numpy as jnp

from oracles import Gaussian
from sde_lib import PROCESSES as SHIPPED
from sde_lib import Process
from solvers import DDIM, SOLVERS
from solvers.renoising import Renoising


@dataclasses.dataclass(frozen=True)
class Exponential(Process):
    """dx = e^t dw, a user's own process by its two functions alone (Mohammadi, "Diffusion Models",
    section 7.2.4)."""

    t_max: float = dataclasses.field(default=3.0, kw_only=True)

    def alpha(self, t):
        return jnp.ones_like(t)

    def sigma(self, t):
        return jnp.sqrt(jnp.expm1(2 * t) / 2)


PROCESSES = SHIPPED | {"own": Exponential}

STEPS = 60
# Few dimensions of many samples for the distribution, and enough of them for Langevin's norms to
# settle.
DATA = Gaussian(jnp.tile(jnp.array([1.0, -0.5]), 16), jnp.tile(jnp.array([0.5, 1.0]), 16))
# sigma_max far above the data asks more steps than are spent here.
PROCESS_OPTIONS = {
    "ve": {"sigma_min": 0.05, "sigma_max": 10.0},
    "smld": {"sigma_min": 0.05, "sigma_max": 10.0},
}


def make_solver(name, steps=STEPS):
    """The solver as it comes, but for what two of them need to be told."""
    needs = {"stochastic_heun": {"num_steps": steps, "churn": 10.0}, "picard": {"solver": DDIM()}}
    return SOLVERS[name](**needs.get(name, {}))


def check_spread(solver, ratio, atol):
    """Standard deviations over the exact ones are about 1; what noise drawn wholly anew leaves of
    them is in tests/solvers/test_renoising.py."""
    low = 0.55 if isinstance(solver, Renoising) else 1 - atol
    assert ratio.min() > low and ratio.max() < 1 + atol, ratio


def make_process(name):
    return PROCESSES[name](**PROCESS_OPTIONS.get(name, {}))
