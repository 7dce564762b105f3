"""The gain of automatic guidance: the extra strength that samples need beyond the measured scale.

A gradient that points only in part where the class does is given less than its own length by
lambda, as every regressor with errors is, and then its part in the right direction is too short.
So a gain is found by drawing samples: the least G = 1, 2, 4, ... with which guided samples, noised
afresh, are as recognisable to the classifier and as likely to the score network as real data are,

    E[p_T(y | x_t)] of samples >= E[p_T(y | x_t)] of held-out data                        (1)
    E|eps - eps_hat|^2 of samples <= E|eps - eps_hat|^2 of held-out data                  (2)

(1) at the level of the zone at which the classifier is surest of real data, within a standard error
and one sample; (2) over the lowest levels of the zone, even in log s, so that it is a part of the
bound on -log p(x_0) (Kingma et al. 2021, section 5.1), within two standard errors. For an exact
classifier of an exact score 1 will do. A classifier's confidence on samples is inflated by its own
guidance, the more the weaker it is; the likelihood of the unconditional score network is not:
samples that come to look like data become more likely, those driven out of the data less. Where no
gain reaches (2), for want of a better network, the one that comes nearest is taken of those that
reach (1). Fresh noise matters: at the states of its own path a sample may have been pushed to what
the classifier likes, which new noise undoes.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import sampling
from controllable.automatic.guidance import automatic_guidance
from controllable.automatic.measurement import (
    SIGNIFICANT,
    GuidedModel,
    Level,
    Measured,
    Part,
    Row,
    best_pilot,
    levels_at,
    made,
    mean_and_error,
    measure_levels,
    picked_log_probs,
)
from options.choices import require
from options.errors import Words
from parameterization import as_predictor
from sde_lib import Process
from solvers.dpm import DPMSolverPP
from solvers.grids import log_snr_grid
from tasks.conditions import LABELS, require_dropout

GAINS = tuple(2.0**k for k in range(8))
PATIENCE = 2  # gains that are tried in vain beyond the best
PILOT_STEPS = 25
LIKELIHOOD_LEVELS = 8  # of the sums of (2)


@dataclasses.dataclass(frozen=True)
class MeasurementOptions:
    """How much is measured, and at which noise levels.

    Attributes:
      levels, ends: how many levels s = sigma / alpha, evenly in log s between these two, or the
        process's own ends where those are nearer.
      pilots: how many samples are drawn for each gain that is tried, at most as many as there are
        data; 0 leaves it at 1.
      batch_size: examples at once.
    """

    levels: int = 24
    ends: tuple[float, float] = (0.02, 200.0)
    pilots: int = 128
    batch_size: int = 128

    def nodes(self, process: Process) -> Float[np.ndarray, " levels"]:
        """The levels s, ascending."""
        times = jnp.array([process.t_min, process.t_max], jnp.float32)
        own = np.exp(-np.asarray(process.log_snr(times), np.float64) / 2)
        return np.geomspace(max(self.ends[0], own[0]), min(self.ends[1], own[1]), self.levels)


def measure(
    key: Key[Array, ""],
    model: GuidedModel,
    x_0: Float[Array, "n *shape"],
    labels: Int[np.ndarray, " n"],
    options: MeasurementOptions = MeasurementOptions(),
    progress: Callable[[int, int], None] | None = None,
    part: Part = made,
) -> Measured:
    """Calibrates a classifier for guidance on held-out data of all classes.

    Args:
      model: its score network may be a plain function.
      x_0, labels: data that neither network was trained on, and its classes.
      progress: called as progress(levels and gains done, of at most so many).
      part: for what a level or a gain was found to be before, where such is kept.
    """
    got = Words(f"{len(x_0)} and {len(labels)} labels")
    require(len(x_0) == len(labels) >= 2, "x_0", got, "as many, 2 or more")
    require_dropout(model.conditions, (LABELS,))
    model = dataclasses.replace(model, predict=as_predictor(model.predict))
    s = options.nodes(model.process)
    at = levels_at(s, model, options.batch_size)
    total = options.levels + (len(GAINS) if options.pilots else 0)

    def done(count: int) -> None:
        if progress is not None:
            progress(count, total)

    found = measure_levels(key, at, s, x_0, labels, done, part)
    if not options.pilots or not found.zone.any():
        return found
    search = GainSearch(at, found, x_0.shape[1:], labels[: options.pilots])
    tried: list[Row] = []
    for gain in GAINS:
        missed = functools.partial(search.missed, jax.random.fold_in(key, options.levels), gain)
        tried.append((gain, *part(f"gain {gain:g}", missed)))
        done(options.levels + len(tried))
        best = best_pilot(np.array(tried))
        if max(tried[best][1:]) <= 0 or len(tried) - 1 - best >= PATIENCE:
            break
    return dataclasses.replace(found, pilots=np.array(tried))


@dataclasses.dataclass(frozen=True, eq=False)
class GainSearch:
    """Samples with one gain after another. shape, labels: of the pilot samples."""

    at: Sequence[Level]
    found: Measured
    shape: tuple[int, ...]
    labels: np.ndarray

    def missed(self, key: Array, gain: float) -> Row:
        """By how much samples guided with this gain miss (1), and (2)."""
        x_0 = self.samples(key, gain)
        return self.missed_recognition(key, x_0), self.missed_likelihood(key, x_0)

    def samples(self, key: Array, gain: float) -> Array:
        """One of each label, (n, *shape)."""
        lowest = self.at[0]
        model, table = lowest.model, self.found.table(gain)
        guidance = automatic_guidance(model.classifier, table, model.conditions)
        grid = log_snr_grid(model.process, PILOT_STEPS, t_end=lowest.t)
        size = min(lowest.batch_size, len(self.labels))
        parts = []
        for start in range(0, len(self.labels), size):
            # The last batch is filled up, so that one program serves all.
            asked = np.resize(self.labels[start : start + size], size)
            made = sampling.sample(
                key,
                model.process,
                guidance(model.predict),
                DPMSolverPP(),
                grid,
                (size, *self.shape),
                cond={LABELS: jnp.asarray(asked, jnp.int32)},
                first_index=start,
            )
            parts.append(made.x)
        return jnp.concatenate(parts)[: len(self.labels)]

    def missed_recognition(self, key: Array, x_0: Array) -> float:
        """By how much these samples miss (1)."""
        surest = int(np.argmax(np.where(self.found.zone, self.found.recognised, 0.0)))
        noise = jax.random.normal(jax.random.fold_in(key, surest), x_0.shape)
        log_probs = self.at[surest].log_probs(x_0, noise, self.labels)
        log_p = picked_log_probs(log_probs, self.labels, float(self.found.temperatures[surest]))
        mean, error = mean_and_error(np.exp(log_p))
        error = math.hypot(error, self.found.recognised_errors[surest])
        allowed = error + 1 / len(log_p)
        return float(self.found.recognised[surest] - mean - allowed)

    def missed_likelihood(self, key: Array, x_0: Array) -> float:
        """By how much these samples miss (2), a dimension and the mean over its levels."""
        chosen = np.flatnonzero(self.found.zone)[:LIKELIHOOD_LEVELS]
        losses = []
        for k in chosen.tolist():
            # Other noise than that of (1).
            noise = jax.random.normal(jax.random.fold_in(key, 1000 + k), x_0.shape)
            losses.append(self.at[k].losses(x_0, noise, self.labels))
        mean, error = mean_and_error(np.mean(losses, axis=0))
        # An image that is hard at one level is so at the others: errors of levels add up.
        error = math.hypot(error, float(self.found.loss_errors[chosen].mean()))
        return float(mean - self.found.losses[chosen].mean() - SIGNIFICANT * error)
