r"""Your own images in minutes on a CPU: a folder of images, its sub-folders as classes, if any.

Command: python main.py --config configs/folder_small.py --config.data.source.path=DIR \
    --workdir runs/mine --mode train, then python main.py --workdir runs/mine --mode sample
Size, channels and classes are those of the folder: the size that most images have, shrunk until its
shorter side is at most 32 (`data.fit`) and rounded to multiples of 4. VP, predicting v, labels
hidden from a tenth of the examples, DPM-Solver++ of 20 steps; the large sister is folder_64.py.
Result on 60 drawings of 28 x 28 in three folders (circles, squares, triangles; 4 held out): of 48
samples of 21 evaluations all three classes are recognised by eye, with uneven corners, after 1,689
of the 2,500 steps. That took 28 minutes on a 2-core VM with a load of 5 to 13 beside it, 7.5 of
them CPU time of this run, at 0.6 to 2.9 steps a second. The whole run, a quiet machine, and folders
of grey images or photographs (4 steps of which were made): not yet run.
"""

from ml_collections import ConfigDict

from configs.digits.vp import get_config as digits


def get_config() -> ConfigDict:
    config = digits()
    config.conditions.labels.num_classes = 0
    config.data.source = {"name": "folder", "path": "~/images"}
    config.data.update({"image_size": (), "fit": 32, "num_channels": 0})
    config.model.nf = 32
    config.model.attn_resolutions = ()  # heights differ; the middle has attention
    config.optim = {"lr": 2e-3, "warmup": 100, "decay": "cosine"}
    config.ema.decay = 0.995
    config.training = {
        "steps": 2500,
        "batch_size": 32,
        "microbatch": "32",
        "log_every": 50,
        "checkpoint_every": 500,
        "draw_every": 500,
        "evaluate_every": 500,
    }
    config.sampling = {"solver": "dpm", "grid": "quadratic", "num_steps": 20, "t_end": 1e-3}
    config.sampling.update({"num_samples": 48, "batch_size": 48})
    return config
