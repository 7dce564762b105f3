"""The configuration that a run or a file of weights remembers.

`configs/saved.py:WORKDIR` or `configs/saved.py:FILE.npz`; main.py fills it in where no --config is
given. Fields that did not exist when it was saved have their default values.
"""

from pathlib import Path

from ml_collections import ConfigDict

from configs.default import get_default_config
from weights import read_meta
from workdir import read_config


def get_config(where: str) -> ConfigDict:
    remembered = read_meta(where)["config"] if Path(where).suffix == ".npz" else read_config(where)
    config = get_default_config()
    with config.unlocked():
        for section, fields in remembered.items():
            if section == "model" or not isinstance(fields, dict):
                config[section] = ConfigDict(fields) if isinstance(fields, dict) else fields
            else:
                config[section].update(fields)
    return config
