"""ResNets of torchvision (resnet50, resnet101, resnet152): classifiers of images to begin with."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from configs.cifar10 import UNIT
from models.importers import resnet
from options.choices import require
from options.errors import InvalidValue
from tools.published.checkpoint import RAW, Asked, Checkpoint, Compared, channels_last, one_of
from tools.published.content import Content, array_of

PROCESS, SIZE = "ve", 224  # where a user says nothing of them
KNOWN = {"conv1.weight", "layer1.0.conv3.weight", "fc.weight"}  # of blocks of bottlenecks


class TorchvisionResNet(Checkpoint):
    """A state dict. Its network, with layers more that tell the noise level and are 0, gives its
    logits at every noise level; what it is to know of noise, a training from it teaches.

    Args:
      state: tensors by name.
    """

    title = "torchvision's ResNet of bottlenecks"

    def __init__(self, state: Mapping[str, Any]) -> None:
        super().__init__()
        self.state = state

    @classmethod
    def recognise(cls, content: Content) -> "Checkpoint | None":
        names = {str(name).removeprefix("module.") for name in content.keys}
        return cls(dict(content.tree)) if names >= KNOWN else None

    def sections(self, asked: Asked) -> dict[str, Any]:
        names = [name.removeprefix("module.") for name in self.state]
        shapes = dict(zip(names, (value.shape for value in self.state.values()), strict=True))
        found = [match for name in names if (match := resnet.BLOCK.fullmatch(name))]
        levels = sorted({int(match[1]) for match in found})
        blocks = tuple(len({m[2] for m in found if int(m[1]) == level}) for level in levels)
        process, size = asked.process or PROCESS, asked.image_size or SIZE
        for what, said, value in (
            ("the process", asked.process, process),
            ("the size of images", asked.image_size, size),
        ):
            self.notes += [] if said else [f"{what}: {value}"]
        return {
            "task": "classifier",
            "process": process,
            "parameterization": {"c_noise": "edm"},
            "model": {
                "name": "resnet",
                "num_classes": int(shapes["fc.bias"][0]),
                "nf": int(shapes["conv1.weight"][0]),
                "ch_mult": tuple(2**i for i in range(len(levels))),
                "num_res_blocks": blocks,
                "norm": "batch",
            },
            "data": {
                "source": {"name": "folder", "path": "~/images"},
                "space": UNIT,
                "image_size": (size, size),
                "num_channels": 3,
            },
        }

    def params(self, which: str, experiment: Any) -> dict[str, Any]:
        if which == RAW:
            raise InvalidValue("params", which, "average", but="the file has one set alone")
        network = type(experiment.task.network).__name__
        norm = getattr(experiment.task.network, "norm", None)
        batch = hasattr(norm, "momentum")
        require(batch, "model", network, "a resnet with model.norm=batch, as the file is of")
        arrays = {name: array_of(value) for name, value in self.state.items()}
        fresh = jax.jit(experiment.task.init)(jax.random.key(experiment.options.seed))
        return resnet.params_of(arrays, jax.device_get(fresh))

    def compared(
        self, experiment: Any, params: Any, given: Mapping[str, np.ndarray]
    ) -> list[Compared]:
        """Logits of `x`, which is standardised as torchvision has it, not image by image."""
        network = experiment.task.network.clone(standardize=False)
        x = jnp.asarray(channels_last(one_of(given, "x"), 3), jnp.float32)
        logits = jax.jit(network.apply)({"params": params}, x, jnp.zeros(len(x)))
        return [Compared("logits", np.asarray(logits), one_of(given, "out", "logits"))]
