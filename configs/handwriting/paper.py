"""Luhman & Luhman 2020, "Diffusion Models for Handwriting Generation", as the paper has it.

Command: python main.py --config configs/handwriting/paper.py --workdir runs/paper --mode train
         --config.data.source.path=lines.npz, which tools.prepare_strokes or make strokes made
Result: not yet run. After an hour of one core, with the flags of docs/handwriting.md (1,058 steps),
lines cannot yet be read: character error rate 0.740 +- 0.015 by PP-OCRv5.
"""

from ml_collections import ConfigDict

from configs.default import get_default_config


def get_config() -> ConfigDict:
    config = get_default_config("handwriting")
    config.conditions = {"text": {}, "style": {}}
    config.optim = {"lr": 6.25e-4, "b1": 0.9, "b2": 0.98, "warmup": 10_000, "decay": "rsqrt"}
    config.optim.grad_clip = 100.0
    config.training = {"steps": 60_000, "batch_size": 96}
    return config
