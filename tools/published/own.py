"""Weights of this project as one file of safetensors, which `tools.export_weights` writes."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from models.importers.account import Account
from options.errors import InvalidValue, StorageError
from options.project import extra
from storage import json_text
from storage.upgrade import upgrade_config, upgrade_parameters
from storage.weights import flatten_shapes
from tools.published.checkpoint import RAW, Asked, Checkpoint, Compared, count_of
from tools.published.content import Content

RECORD = "score_sde_jax"  # the entry of the file's metadata with configuration and step


def packed(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """A file of safetensors."""
    with extra("formats"):
        from safetensors.numpy import save
    return save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, dict(metadata))


def record_of(config: Any, step: int) -> dict[str, str]:
    """The metadata of such a file."""
    return {RECORD: json.dumps({"config": json_text.of_config(config), "step": step})}


class OwnSafetensors(Checkpoint):
    """Parameters by our own names, and their record."""

    title = "safetensors of this project"

    def __init__(self, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
        super().__init__()
        self.arrays = upgrade_parameters(dict(arrays))
        self.config, self.step = upgrade_config(record["config"]), count_of(record["step"])

    @classmethod
    def recognise(cls, content: Content) -> "Checkpoint | None":
        if RECORD not in content.note:
            return None
        try:
            return cls(content.tree, json.loads(content.note[RECORD]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            but = f"{content.path} has no record of this project: {error!r}"
            raise StorageError("file", but=but) from None

    def sections(self, asked: Asked) -> dict[str, Any]:
        return self.config

    def params(self, which: str, experiment: Any) -> dict[str, Any]:
        if which == RAW:
            raise InvalidValue("params", which, "average", but="the file has one set alone")
        shapes = flatten_shapes(experiment.template)
        account = Account({tuple(k.split("/")): v for k, v in shapes.items()}, self.arrays)
        for path in account.shapes:
            account.fill(path, "/".join(path), lambda array: array)
        return account.params(experiment.config.get("model", {}).get("name", "network"))

    def compared(
        self, experiment: Any, params: Any, given: Mapping[str, np.ndarray]
    ) -> list[Compared]:
        raise InvalidValue("expected", but="recorded outputs are of other implementations")
