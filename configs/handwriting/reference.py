"""configs/handwriting/paper.py with what the published code does otherwise than the paper.

Command: python main.py --config configs/handwriting/reference.py --workdir runs/b --mode train
         with --config.data.source.path=..., by tools.prepare_strokes --preset reference
Result: not yet run.
"""

from ml_collections import ConfigDict

from configs.handwriting.paper import get_config as paper


def get_config() -> ConfigDict:
    config = paper()
    config.process = {"name": "handwriting", "faithful": True}
    config.model = {"name": "handwriting", "scale_strokes": True}
    config.loss = {"padding_counts": True, "average_weight": True}
    # No noise is added in steps that end at the first level or before.
    config.sampling.solver = {"name": "renoising", "quiet_until": 1 / 60 + 1e-6}
    return config
