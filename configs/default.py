"""What a configuration starts from: every section, empty.

A configuration file calls `get_default_config()` and says what differs from the defaults of the
classes that its sections make:

    config.process = {"name": "vp", "beta_max": 15.0}    a choice: its name, and fields of its class
    config.loss.weighting = "v"                          a choice with its class's own defaults
    config.training.batch_size = 64                      a field

The command line changes any field: --config.training.batch_size=64, --config.process=ve
--config.process.sigma_max=90. A field that nothing reads is an error that names the nearest one.
The sections and their fields are the dataclasses of experiment/settings.py, those of a choice the
class that is chosen.
"""

from ml_collections import ConfigDict

SECTIONS = {
    "image": "process parameterization model conditions loss data optim ema training precision"
    " preview sampling guidance control eval",
    "classifier": "process parameterization model loss data optim ema training precision eval",
    "autoencoder": "model loss data optim ema training precision preview eval",
    "handwriting": "process parameterization model conditions style loss data optim ema training"
    " precision preview sampling guidance write eval",
    "lines": "process parameterization model conditions style loss data optim ema training"
    " precision preview sampling guidance write eval",
}


def get_default_config(task: str = "image") -> ConfigDict:
    """The empty sections of a kind of task: a generative model of images, a classifier of noisy
    images, an autoencoder of images, or a model of handwriting, in strokes or in images."""
    sections: dict[str, dict] = {name: {} for name in SECTIONS[task].split()}
    # Types are checked where a configuration is completed; here a name may become a section.
    return ConfigDict({"task": task, **sections}, type_safe=False)
