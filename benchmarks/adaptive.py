"""Evaluations of the adaptive SDE solver and of Euler-Maruyama at equal error, on exact scores.

The data are Gaussian in 64 dimensions, 16 of each of four standard deviations. The error is

    sqrt(mean over coordinates of W2^2),   W2^2 = (m - m*)^2 + (s - s*)^2               (1)

of the Gaussian that a coordinate ends as from the one that it should be. A step of Euler-Maruyama
is affine here, so its (1) is computed without samples. The adaptive solver's is estimated from
samples: their moments are compared with those of a run at a tolerance of a tenth of the smallest on
the same Brownian paths, which share the noise of the moments.
"""

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.tables import Cell, Table

STDS, COPIES = (0.05, 0.1, 0.25, 0.5), 16
RTOLS = (0.5, 0.2, 0.1, 0.05, 0.02)
STEPS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
PROCESSES = ("vp", "ve")


def euler_maruyama_error(process, grid) -> float:
    """(1) of Euler-Maruyama over a grid and Tweedie's formula, exactly, from the process's prior.

    x' = (1 - h c) x + g sqrt(h) z with c = f - g^2 (-1 / v), drift f x, so the variance maps to
    (1 - h c)^2 s^2 + g^2 h; all in float64.
    """
    import jax.numpy as jnp

    unit = jnp.ones((len(grid.t), 1))
    f, g = (np.asarray(a, np.float64).reshape(-1) for a in process.sde(unit, grid.t))
    t, alpha, sigma = (np.asarray(field, np.float64) for field in grid)
    stds = np.array(STDS)
    variance = np.full(len(stds), process.prior_std**2)
    for i in range(len(t) - 1):
        h = t[i] - t[i + 1]
        v = alpha[i] ** 2 * stds**2 + sigma[i] ** 2
        factor = 1 - h * (f[i] + g[i] ** 2 / v)
        variance = factor**2 * variance + g[i] ** 2 * h
    tweedie = alpha[-1] * stds**2 / (alpha[-1] ** 2 * stds**2 + sigma[-1] ** 2)
    return math.sqrt(np.mean((tweedie * np.sqrt(variance) - target(process, grid)) ** 2))


def target(process, grid) -> np.ndarray:
    """The standard deviations that an exact run ends with: of E[x_0 | x] for x at the last node."""
    alpha, sigma = float(grid.alpha[-1]), float(grid.sigma[-1])
    variance = np.array(STDS) ** 2
    return alpha * variance / np.sqrt(alpha**2 * variance + sigma**2)


def adaptive_moments(process, grid, rtol: float, samples: int) -> tuple[float, np.ndarray]:
    """(mean evaluations, mean and standard deviation by group) of the adaptive solver."""
    import jax
    import jax.numpy as jnp

    from oracles import Gaussian
    from sampling import sample
    from solvers import AdaptiveSDE

    stds = np.repeat(STDS, COPIES)
    data = Gaussian(jnp.zeros(len(stds)), jnp.asarray(stds, jnp.float32))
    solver = AdaptiveSDE(rtol=rtol, atol=0.39 * rtol, max_steps=20_000)
    made = sample(jax.random.key(0), process, data, solver, grid, (samples, len(stds)))
    x = np.asarray(made.x, np.float64).reshape(samples, len(STDS), COPIES)
    return float(made.nfe.mean()), np.stack([x.mean(axis=(0, 2)), x.std(axis=(0, 2))])


def evaluations_at(error: float, evaluations: Sequence[float], errors: Sequence[float]) -> float:
    """Where a curve stays below an error, by interpolation of logarithms; nan if it never does."""
    above = [i for i, found in enumerate(errors) if found > error]
    if not above:
        return float(evaluations[0])
    last = above[-1]
    if last + 1 == len(errors):
        return math.nan
    x, y = np.log(evaluations[last : last + 2]), np.log(errors[last : last + 2])
    return float(np.exp(x[0] + (math.log(error) - y[0]) / (y[1] - y[0]) * (x[1] - x[0])))


def adaptive_table(samples: int = 1000) -> Table:
    """A row for each tolerance: ours, and what Euler-Maruyama needs for the same error."""
    import main

    main.prepare_jax()
    from sde_lib import VESDE, VPSDE
    from solvers.grids import quadratic_grid, uniform_grid

    settings = {"vp": (VPSDE(), 1e-3), "ve": (VESDE(0.01, 50.0), 1e-5)}
    grids = {"uniform": uniform_grid, "quadratic": quadratic_grid}
    rows: list[list[Cell]] = []
    for name in PROCESSES:
        process, t_end = settings[name]
        curves = {
            title: [
                euler_maruyama_error(process, make(process, steps, t_end=t_end)) for steps in STEPS
            ]
            for title, make in grids.items()
        }
        grid = uniform_grid(process, 8, t_end=t_end)
        _, exact = adaptive_moments(process, grid, min(RTOLS) / 10, samples)
        for rtol in RTOLS:
            spent, moments = adaptive_moments(process, grid, rtol, samples)
            error = math.sqrt(np.mean(np.sum((moments - exact) ** 2, axis=0)))
            row: list[Cell] = [name, f"{rtol:g}", spent, error]
            for errors in curves.values():
                needed = evaluations_at(error, [n + 1 for n in STEPS], errors)
                known = math.isfinite(needed)
                row += [needed if known else f"over {STEPS[-1]}"]
                row += [f"{needed / spent:.1f} x" if known else f"over {STEPS[-1] / spent:.0f} x"]
            rows.append(row)
    header = ["process", "rtol", "ours, evaluations", "error"]
    for title in grids:
        header += [f"Euler-Maruyama, {title}", "ours fewer by"]
    return Table("Adaptive SDE against Euler-Maruyama at equal error", header, rows, _NOTE)


_NOTE = f"""\
Gaussian data in {len(STDS) * COPIES} dimensions, standard deviations {", ".join(map(str, STDS))};
VP and VE with sigma_max 50; atol = 0.39 rtol. The error is the root mean square over coordinates of
the Wasserstein-2 distance between Gaussians: exact for Euler-Maruyama, and for ours that of 1,000
samples from a run of a tenth of the smallest tolerance on the same Brownian paths. Both end with
Tweedie's formula."""
