r"""Your own images in minutes on a CPU: a folder of images, its sub-folders as classes, if any.

Command: python main.py --config configs/folder_small.py --config.data.source.path=DIR \
    --workdir runs/mine --mode train, then python main.py --workdir runs/mine --mode sample
Size, channels and classes are those of the folder: the size that most images have, shrunk until its
shorter side is at most 32 (`data.fit`) and rounded to multiples of 4. VP, predicting v, labels
hidden from a tenth of the examples, SDE-DPM-Solver++ of 20 steps; the large sister is folder_64.py.
Result on 60 drawings in colour of 40 x 52 in three folders (faces, houses, trees; 6 held out):
2,500 steps in 11 minutes on a 2-core AMD EPYC VM with other work beside it at a lower priority, 17
minutes of CPU time, and 48 samples of 21 evaluations in 13 seconds. By eye all 48 are of the class
asked for; some mouths are broken, windows blurred. With --config.training.steps=1200, on 60 grey
letters of 44 x 36 (A, B, C in many fonts): 7 minutes, by eye 46 of 48 letters are right; on 60 made
landscapes of 48 x 64 (hills under a sky with clouds) without classes: 9 minutes, all 48 samples are
such landscapes, duller in their hues. Photographs by a camera: not yet run.
The noise of the solver matters: without it plain corners of the drawings keep a grain of 9.2 grey
levels (standard deviation, 18 samples), with it 5.2, in as many evaluations.
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
    solver = {"name": "dpm", "noise": True}
    config.preview = {"solver": solver}
    config.sampling = {"solver": solver, "grid": "quadratic", "num_steps": 20, "t_end": 1e-3}
    config.sampling.update({"num_samples": 48, "batch_size": 48})
    return config
