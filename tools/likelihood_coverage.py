"""How often the exact log p lies within the error bars of `log_likelihood`, where it is known.

    python -m tools.likelihood_coverage
    python -m tools.likelihood_coverage --points 4000 --probes 32 --seed 1

Prints a table: for each process, the fraction of points whose exact log p lies within the 95 %
interval that their own probes give. The data are a Gaussian whose axes are turned, without which
probes would make no error, and a mixture of Gaussians, each in four dimensions and by both kinds of
probes. With n points a fraction has a standard error of sqrt(0.05 0.95 / n).
"""

import argparse
import dataclasses
import math
from typing import TYPE_CHECKING, Any

import main
from options.choices import require
from options.program import one_line_errors

if TYPE_CHECKING:
    from sde_lib import Process

# At a noise level far above the data, float32 keeps fewer digits of them.
OPTIONS: dict[str, dict[str, Any]] = {"ve": {"sigma_max": 10.0}, "smld": {"sigma_max": 10.0}}
TOLERANCE = 1e-4
PROBES = ("rademacher", "gaussian")


def datasets() -> dict[str, Any]:
    """The data, each with `sample`, `log_prob` and the exact prediction."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from oracles import Gaussian, Mixture
    from parameterization import NO_COND, Prediction

    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Turned:
        """x = turn y with orthogonal `turn` and y distributed as `data`, exact like it."""

        data: Gaussian
        turn: Any

        def of(self, y):
            return jnp.matmul(y, self.turn.T, precision="highest")

        def back(self, x):
            return jnp.matmul(x, self.turn, precision="highest")

        def sample(self, key, n):
            return self.of(self.data.sample(key, n))

        def log_prob(self, node, x):
            return self.data.log_prob(node, self.back(x))

        def __call__(self, x, node, cond=NO_COND):
            found = self.data(self.back(x), node)
            return Prediction(self.of(found.x_0), self.of(found.eps), node)

    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    narrow_and_wide = Gaussian(jnp.array([1.0, -2.0, 0.5, 0.0]), jnp.array([0.25, 0.5, 1.0, 1.5]))
    means = [[1.0, 0.0, 1.0, -1.0], [-1.0, 1.0, 0.5, 0.0], [0.0, -1.0, -1.0, 1.0]]
    return {
        "Gaussian": Turned(narrow_and_wide, jnp.asarray(turn, jnp.float32)),
        "mixture": Mixture(jnp.array(means), 0.5, jnp.array([0.4, 0.3, 0.3])),
    }


def exact_density(process: "Process", data: Any, x: Any, latent: Any) -> Any:
    """log of the density that is integrated, (n,): the data's own at t_min, with the prior in the
    place of the data's noised density at t_max, both at the latents of x."""
    import jax.numpy as jnp

    first, last = (process.node(jnp.full(len(x), t)) for t in (process.t_min, process.t_max))
    return data.log_prob(first, x) + process.prior_logp(latent) - data.log_prob(last, latent)


def coverage(
    process: "Process", data: Any, probe: str, points: int, probes: int, seed: int
) -> tuple[float, float]:
    """The fraction of points within the interval, and the mean of (found - exact) / error."""
    import jax
    import jax.numpy as jnp
    from scipy.stats import t

    from likelihood import log_likelihood

    data_key, probe_key = jax.random.split(jax.random.key(seed))
    x = data.sample(data_key, points)
    found = log_likelihood(
        probe_key, process, data, x, probe=probe, num_probes=probes, rtol=TOLERANCE, atol=TOLERANCE
    )
    z = (found.value - exact_density(process, data, x, found.latent)) / found.error
    return float(jnp.mean(jnp.abs(z) < t.ppf(0.975, probes - 1))), float(jnp.mean(z))


def table(points: int, probes: int, seed: int) -> str:
    """All of it in Markdown; in parentheses the mean of (found - exact) / error."""
    from options.progress import progress_bar
    from sde_lib import PROCESSES
    from tools import markdown

    for name, value, least in (("points", points, 1), ("probes", probes, 2)):
        require(value >= least, name, value, f"at least {least}")
    columns = [(name, data, probe) for name, data in datasets().items() for probe in PROBES]
    rows = []
    for name, made in progress_bar(PROCESSES.items(), "coverage", unit="process"):
        process = made(**OPTIONS.get(name, {}))
        found = [coverage(process, data, probe, points, probes, seed) for _, data, probe in columns]
        cells = [f"{100 * fraction:.1f} % ({mean:+.2f})" for fraction, mean in found]
        rows.append([name, *cells])
    lines = [markdown.table(["process", *(f"{n}, {probe}" for n, _, probe in columns)], rows)]
    error = 100 * math.sqrt(0.05 * 0.95 / points)
    lines.append(
        f"\n{points} points, {probes} probes each, seed {seed}; a fraction is 95 +- {error:.1f} %"
    )
    return "\n".join(lines)


def run() -> None:
    """The command line; what a user can mend is one line and exit status 2."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=1000, help="data points of each data set")
    parser.add_argument("--probes", type=int, default=64, help="of each point")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    main.prepare_jax()
    with one_line_errors():
        print(table(args.points, args.probes, args.seed))


if __name__ == "__main__":
    run()
