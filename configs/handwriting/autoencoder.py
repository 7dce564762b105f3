r"""An autoencoder of lines of handwriting, 64 x 256 to latents of 16 x 64 x 4, for a CPU.

Every line is padded with white to 256 columns; longer ones are left out.
Command: python main.py --config configs/handwriting/autoencoder.py --workdir runs/lines_autoencoder
         --mode train --config.data.source.path=lines.npz, which make lines or tools.prepare_lines
         made
    python -m tools.export_weights --workdir runs/lines_autoencoder --out runs/lines_latents.npz
Took: 24 minutes on one core of an AMD EPYC.
Result (696 held-out lines): 24.6 +- 0.1 dB, FID of reconstructions 83 (EfficientNet-Lite0). All can
be read; thin and joined hands are blurred.
"""

from ml_collections import ConfigDict

from configs.emoji.autoencoder_small import get_config as emoji


def get_config() -> ConfigDict:
    config = emoji()
    config.data.source = {"name": "text_lines", "width": 256, "masked": False}
    config.data.image_size = (64, 256)
    config.data.num_channels = 1
    config.data.random_flip = False
    config.training.update({"steps": 400, "batch_size": 8, "microbatch": "8"})
    config.training.update({"checkpoint_every": 100, "draw_every": 200, "evaluate_every": 200})
    return config
