"""Lines of handwriting as images of height 64, of a size for a GPU: lines_small.py, larger.

Command: python main.py --config configs/handwriting/lines.py --workdir runs/lines --mode train
         --config.data.source.path=lines.npz, which make lines or tools.prepare_lines made
Result: not yet run.
"""

from ml_collections import ConfigDict

from configs.handwriting.lines_small import get_config as small


def get_config() -> ConfigDict:
    config = small()
    config.model.nf = 128
    config.model.ch_mult = (1, 2, 3, 3)
    config.model.num_res_blocks = 2
    config.model.attn_resolutions = (8, 4)
    config.model.patch_size = 2
    config.model.dropout = 0.1
    config.conditions.text.layers = 4
    config.data.source.width = 768
    config.optim.lr = 2e-4
    config.optim.warmup = 2000
    config.ema.decay = 0.9999
    config.training.steps = 100_000
    config.training.batch_size = 64
    config.training.microbatch = "64"
    config.training.buckets = (128, 256, 384, 512)
    config.training.read_every = 5_000
    config.write.wrap = 60
    config.precision = {"training": "bfloat16"}
    return config
