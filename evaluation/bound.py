"""The variational bound of held-out examples, as a part of an evaluation."""

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Array

from metrics.report import Figure
from metrics.resumable import Rows, fingerprint
from options.progress import bar_updater, progress_bar
from parameterization import MASK, Cond, Predictor
from sde_lib import dimensions
from variational_bound import (
    Chain,
    Decoder,
    DiscretizedGaussian,
    GaussianDecoder,
    chain_bound,
)


def decoder_of(space: Any) -> Decoder:
    """p(x_0 | x_1) of the states of a space: over the grey levels of pixels, else a density."""
    return DiscretizedGaussian(space.low, space.high) if space.is_pixels else GaussianDecoder()


@dataclasses.dataclass(frozen=True, eq=False)
class BoundOfChain:
    """The bound of a chain on held-out examples of a space, and what is reported of it."""

    chain: Chain
    predict: Predictor
    space: Any

    @property
    def num_steps(self) -> int:
        """T, with the step to the data."""
        return len(self.chain.grid.t)

    def identity(self) -> dict[str, Any]:
        """What rows of it depend on."""
        grid = self.chain.grid
        nodes = fingerprint((grid.alpha, grid.sigma))
        return {"nodes": nodes, "variance": self.chain.variance}

    def rows(self, keys: Array, batch: dict[str, Any], cond: Cond) -> Rows:
        """The terms of each example, in nats, and how many dimensions it has."""
        with progress_bar(desc="terms of the bound", unit="term", leave=False) as bar:
            given = keys, self.chain, self.predict, batch["image"]
            found = chain_bound(*given, cond=cond, progress=bar_updater(bar))
        return {
            "dimensions": dimensions(batch["image"], batch.get(MASK)),
            "prior": found.prior,
            "steps": found.steps,
            "decoder": found.decoder,
        }

    def figures(self, rows: Rows, reference: str) -> tuple[list[Figure], dict[str, Any]]:
        """The bound a dimension and its three parts, and each term L_T, L_{T-1} .. L_0; in bits of
        pixels, else in nats. Examples with a term that is not finite are counted apart."""
        unit, name = (math.log(2), "bits") if self.space.is_pixels else (1.0, "nats")
        terms = np.column_stack([rows["prior"], rows["steps"], rows["decoder"]])
        terms = terms.astype(np.float64) / (rows["dimensions"][:, None] * unit)
        finite = np.isfinite(terms).all(axis=1)
        terms, failed = terms[finite], int(np.sum(~finite))
        parts = {
            "bound_prior": terms[:, 0],
            "bound_steps": terms[:, 1:-1].sum(axis=1),
            "bound_decoder": terms[:, -1],
        }
        solver = f"chain of {self.num_steps} steps, {self.chain.variance} variance"
        about: dict[str, Any] = {
            "reference": reference,
            "solver": solver,
            "evaluations": float(self.num_steps),
        }
        figures = []
        if len(terms):
            figures.append(Figure.mean(f"bound_{name}_per_dim", terms.sum(axis=1), **about))
            figures += [Figure.mean(part, values, **about) for part, values in parts.items()]
        if failed:
            figures.append(Figure("bound_failed", failed, len(finite), **about))
        return figures, {f"bound_terms_{name}_per_dim": terms.mean(axis=0).tolist()}
