"""Solvers, by the names that configurations use. A new one is a file here and a line below."""

from typing import Any

from solvers.adaptive_sde import AdaptiveSDE
from solvers.ddim import DDIM
from solvers.dpm import DPMSolverPP
from solvers.heun import Heun, StochasticHeun
from solvers.ode import AdaptiveODE, Euler
from solvers.picard import Picard
from solvers.predictor_corrector import PredictorCorrector
from solvers.renoising import Renoising

SOLVERS: dict[str, Any] = {
    "pc": PredictorCorrector,
    "euler": Euler,
    "heun": Heun,
    "stochastic_heun": StochasticHeun,
    "ddim": DDIM,
    "dpm": DPMSolverPP,
    "ode": AdaptiveODE,
    "adaptive_sde": AdaptiveSDE,
    "picard": Picard,
    "renoising": Renoising,
}
