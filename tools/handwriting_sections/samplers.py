"""The samplers that are compared: the paper's two, and those of the core in few steps."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from options.choices import require

PAPER = {"sampling.t_end": 1 / 60, "sampling.end_clean": True, "sampling.num_steps": 60}
RENOISING = PAPER | {"sampling.solver": "renoising", "sampling.denoise": "none"}
FEW = {"sampling.t_end": 1e-3, "sampling.end_clean": False, "sampling.denoise": "tweedie"}
# Solvers in few steps: DDIM, DPM-Solver++, and Euler's method on the probability flow.
NAMES = {"ddim": "ddim", "dpm": "dpm", "euler": "flow"}


class Sampled(NamedTuple):
    """A sampler: its name, and what it changes in a configuration."""

    name: str
    overrides: dict[str, Any]

    @property
    def family(self) -> str:
        """The name without the number of steps."""
        return self.name.partition(",")[0]


SAMPLERS = [
    Sampled("algorithm 2", RENOISING),
    *(
        Sampled(f"algorithm 2, {n}", RENOISING | {"sampling.num_steps": n, "sampling.t_end": 1 / n})
        for n in (8, 16, 30)
    ),
    Sampled(
        "equation 9",
        PAPER
        | {
            "sampling.solver": "pc",
            "sampling.solver.predictor": "ancestral",
            "sampling.solver.predictor.variance": "large",
            "sampling.solver.corrector": "none",
            "sampling.denoise": "mean",
        },
    ),
    *(
        Sampled(f"{name}, {n}", FEW | {"sampling.solver": solver, "sampling.num_steps": n})
        for solver, name in NAMES.items()
        for n in (4, 8, 16)
    ),
]
FAMILIES = tuple(dict.fromkeys(sampler.family for sampler in SAMPLERS))


def of_families(names: Sequence[str]) -> list[Sampled]:
    """The samplers of these families; InvalidValue for one that is none."""
    for name in names:
        require(name in FAMILIES, "samplers", name, f"one of {list(FAMILIES)}")
    return [sampler for sampler in SAMPLERS if sampler.family in names]
