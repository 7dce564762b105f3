"""Exported weights of tiny networks that were never trained, for tests of commands."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from experiment import kinds
from storage import weights

TINY = {"nf": 8, "ch_mult": (1,), "attn_resolutions": (), "patch_size": 4}
TINY_CLASSIFIER = {"nf": 8, "stem": 8, "ch_mult": (1,), "num_res_blocks": 1, "patch_size": 4}


def export(path: Path, given: ConfigDict, changes: dict[str, Any] | None = None) -> str:
    """The weights of a config with a tiny network and two steps of sampling; returns the path.

    changes: fields of the config by dotted name.
    """
    image = given.task == "image"
    overrides = {f"model.{k}": v for k, v in (TINY if image else TINY_CLASSIFIER).items()}
    overrides |= ({"sampling.num_steps": 2} if image else {}) | (changes or {})
    config = kinds.changed(given.to_dict(), overrides)
    shapes = kinds.experiment(config).template
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda x: random.normal(0, 0.05, x.shape).astype(np.float32), shapes)
    weights.export_weights(path, params, meta={"config": json.loads(config.to_json()), "step": 0})
    return str(path)
