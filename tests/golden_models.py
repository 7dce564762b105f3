"""The golden fixtures' networks as predictors of ours."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from models import MODELS
from models.importers.score_sde import params_from_torch
from parameterization import NetworkPredictor, Parameterization

MODEL_FIELDS = (
    "nf ch_mult num_res_blocks attn_resolutions resamp_with_conv conditional fir fir_kernel "
    "skip_rescale resblock_type progressive progressive_input progressive_combine "
    "embedding_type fourier_scale init_scale nonlinearity"
).split()


def nhwc(array: np.ndarray) -> Array:
    """NCHW to NHWC on the last three axes."""
    return jnp.asarray(np.moveaxis(array, -3, -1))


def golden_network(z):
    """The fixture's network, without dropout."""
    options = json.loads(str(z["config_json"]))["model"]
    cls = MODELS[options["name"]]
    known = {k: options[k] for k in MODEL_FIELDS if k in options and hasattr(cls, k)}
    known = {k: tuple(v) if isinstance(v, list) else v for k, v in known.items()}
    return cls(**known, dropout=0.0)


def golden_predictor(z, prefix: str = "param/", c_noise: str | None = None) -> NetworkPredictor:
    """The fixture's model: scaled score of log sigma (VE networks), or noise of 999 t (VP)."""
    config = json.loads(str(z["config_json"]))
    scaled = config["model"]["scale_by_sigma"]
    parameterization = Parameterization(
        output="scaled_score" if scaled else "noise",
        c_noise=c_noise or ("log_sigma" if scaled else "time"),
        centre_input=not config["data"]["centered"],
    )
    network = golden_network(z)
    state = {k.removeprefix(prefix): z[k] for k in z.files if k.startswith(prefix)}
    params = jax.tree.map(jnp.asarray, params_from_torch(state, network))
    return NetworkPredictor(network, parameterization, params)
