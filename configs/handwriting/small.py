"""A small network for handwriting, which learns where letters go much sooner than the paper's.

Command: python main.py --config configs/handwriting/small.py --workdir runs/hand --mode train
         --config.data.source.path=lines.npz, which tools.prepare_strokes or make strokes made
Result: 7,717 steps on lines of `make strokes`, 4,117 (65 minutes on 2 busy cores of an AMD EPYC VM;
learning rate 1e-3, warm-up 300, no decay) and, on the features of a better classifier of writers,
3,600 (75 minutes of one core; 1.2e-3, warm-up 200, cosine decay): character error rate of 60 lines
0.140 +- 0.022 by PP-OCRv5 and 0.218 +- 0.033 by Tesseract; of real lines 0.043 and 0.134. The whole
run: not yet run.
"""

from ml_collections import ConfigDict

from configs.default import get_default_config


def get_config() -> ConfigDict:
    config = get_default_config("handwriting")
    config.process = "cosine"
    config.parameterization.output = "v"
    config.conditions = {"text": {"dropout": 0.05}, "style": {"dropout": 0.1}}
    config.model = {
        "name": "handwriting",
        "widths": (64, 96, 128, 192),
        "heads": (0, 3, 4, 6),
        "text_width": 192,
        "text_heads": 4,
        "noise_width": 512,
        "expected_places": True,
        "dropout": 0.1,
    }
    config.loss.weighting = "v"
    config.data.source = {"name": "strokes", "length": 256}
    config.data.space = {"name": "strokes", "std": 0.386}
    config.optim = {"lr": 2e-3, "b2": 0.98, "warmup": 500, "decay": "cosine", "grad_clip": 1.0}
    config.ema = {"decay": 0.999, "warmup": True}
    config.training = {"steps": 20_000, "batch_size": 48}
    return config
