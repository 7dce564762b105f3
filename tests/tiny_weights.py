"""Exported weights of tiny networks that were never trained, for tests of commands."""

import json
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from experiment import builders
from storage import weights

TINY = {"nf": 8, "ch_mult": (1,), "attn_resolutions": (), "patch_size": 4}
TINY_CLASSIFIER = {"nf": 8, "stem": 8, "ch_mult": (1,), "num_res_blocks": 1, "patch_size": 4}


def export(path: Path, config: ConfigDict, **changes) -> str:
    """The weights of a config with a tiny network and two steps of sampling; returns the path."""
    config.model.update(TINY if config.task == "image" else TINY_CLASSIFIER)
    config.sampling.update({"num_steps": 2})
    config.update_from_flattened_dict(changes)
    shapes = jax.eval_shape(builders.task(config).init, jax.random.key(0))
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda x: random.normal(0, 0.05, x.shape).astype(np.float32), shapes)
    weights.export_weights(path, params, meta={"config": json.loads(config.to_json()), "step": 0})
    return str(path)
