r"""The first stage of a cascade on the embedded emoji: class-conditional NCSN++ at 8x8, VP.

Its images are means over squares of the 32x32 ones, as are those that `up_16` enlarges.
Command: python main.py --config configs/emoji/base_8.py --workdir runs/emoji_base_8 --mode train \
    --config.precision.training=bfloat16 --config.training.n_jitted_steps=20 \
    --config.training.log_every=500
Took: 112 seconds and compilation for 9,620 steps on one NVIDIA H200, which trained another model
beside it. What was run is this configuration in a script that made mirror images, augmentation
and dequantisation on the GPU, and let the cosine of the learning rate run by the clock.
Result: the first stage of pretrained/emoji_*.npz; loss 0.126 +- 0.002 on 760 held-out emoji, 0.127
+- 0.002 on as many of those it was trained on. docs/gallery.md has its pictures.
"""

from ml_collections import ConfigDict

from configs.emoji.vp_small import get_config as emoji


def get_config() -> ConfigDict:
    config = emoji()
    config.data.image_size = (8, 8)
    config.data.resize = "box"
    config.data.augment = 0.12
    config.model.nf = 48
    config.model.num_res_blocks = 2
    config.model.attn_resolutions = (8, 4)
    config.model.dropout = 0.1
    config.model.patch_size = 1
    config.optim = {"lr": 1e-3, "warmup": 500, "decay": "cosine"}
    config.ema.decay = 0.999
    config.training.steps = 9_620
    config.training.batch_size = 256
    config.training.microbatch = "256"
    return config
