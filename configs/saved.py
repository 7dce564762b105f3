"""The configuration that a run or a file of weights remembers.

`configs/saved.py:WORKDIR` or `configs/saved.py:FILE.npz`; main.py fills it in where no --config is
given. Fields that did not exist when it was saved have their default values.
"""

from pathlib import Path

from ml_collections import ConfigDict

from configs.default import get_default_config
from storage.weights import read_meta
from storage.workdir import read_config


def _is_file(where: str) -> bool:
    return Path(where).suffix == ".npz" or Path(where).is_file()


def _of_weights(where: str) -> dict:
    meta = read_meta(where)
    if "config" not in meta:
        raise ValueError(f"weights: {where} remembers no config; expected --config")
    return meta["config"]


def get_config(where: str) -> ConfigDict:
    remembered = _of_weights(where) if _is_file(where) else read_config(where)
    config = get_default_config()
    with config.unlocked():
        for section, fields in remembered.items():
            if section == "model" or not isinstance(fields, dict):
                config[section] = ConfigDict(fields) if isinstance(fields, dict) else fields
            else:
                config[section].update(fields)
    return config
