"""ResNets of torchvision (resnet50 and its siblings of bottlenecks) as ours with batch norms.

    conv1, bn1                              conv_in, norm_in
    layer{l+1}.{i}.conv{k+1}, bn{k+1}       group_{l}_block_{i}/conv_{k}, norm_{k}
    layer{l+1}.{i}.downsample.0, 1          group_{l}_block_{i}/shortcut, norm_shortcut
    fc                                      logits

A network that is given these, and zeros in the layers by which its blocks are conditioned on the
noise level, gives torchvision's logits at every noise level, of images that are standardised as
there. Those layers then learn; the last layer is newly initialised where the classes differ.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from models.importers.account import from_torch, some_of
from models.importers.call_order import Path
from options.errors import InvalidValue

OUTER = {"conv1": "conv_in", "bn1": "norm_in", "fc": "logits"}
WITHIN = {
    **{f"conv{k + 1}": f"conv_{k}" for k in range(3)},
    **{f"bn{k + 1}": f"norm_{k}" for k in range(3)},
    "downsample.0": "shortcut",
    "downsample.1": "norm_shortcut",
}
OF_NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "variance"}
OF_LAYER = {"weight": "kernel", "bias": "bias"}
BLOCK = re.compile(r"layer(\d+)\.(\d+)\.(.+)")
UNUSED = "num_batches_tracked"


def path_of(name: str) -> Path | None:
    """Where a parameter of theirs is in our tree; None for a name that they do not have."""
    module, _, leaf = name.rpartition(".")
    block = BLOCK.fullmatch(module)
    ours = WITHIN.get(block[3]) if block else OUTER.get(module)
    leaves = OF_NORM if ours and ours.startswith("norm") else OF_LAYER
    if ours is None or leaf not in leaves:
        return None
    inside = (f"group_{int(block[1]) - 1}_block_{block[2]}",) if block else ()
    return (*inside, ours, leaves[leaf])


def params_of(state: Mapping[str, np.ndarray], params: Mapping[str, Any]) -> dict[str, Any]:
    """Our parameters with those of torchvision's state dict in their place, float32 numpy.

    Args:
      state: names may begin with "module."; the counts of batches are ignored.
      params: newly initialised, of the network with batch norms; what is not theirs is kept: the
        embedding of the noise level, and "logits" where the number of classes differs.

    Raises:
      InvalidValue: names every entry that is unknown, missing or of another shape.
    """
    ours = {path: np.asarray(leaf, np.float32) for path, leaf in flatten_dict(params).items()}
    found, problems = {}, []
    for name, array in state.items():
        name = name.removeprefix("module.")
        path = path_of(name)
        if name.endswith(UNUSED):
            continue
        if path is None or path not in ours:
            problems.append(f"{name} is unknown")
            continue
        value = from_torch(np.asarray(array, np.float32), ours[path].ndim)
        found[path] = value
        if value.shape != ours[path].shape and path[0] != OUTER["fc"]:
            problems.append(f"{name}: got shape {value.shape}, expected {ours[path].shape}")
    others = [path for path in ours if path not in found and not of_noise_level(path)]
    problems += [f"{'/'.join(path)} is missing" for path in others]
    if problems:
        raise InvalidValue("file", but=f"it is not of this ResNet: {some_of(problems)}")
    same_classes = all(found[p].shape == ours[p].shape for p in found if p[0] == OUTER["fc"])
    for path in ours:
        if of_noise_level(path):
            ours[path] = np.zeros_like(ours[path]) if path[0].startswith("group") else ours[path]
        elif same_classes or path[0] != OUTER["fc"]:
            ours[path] = found[path]
    return unflatten_dict(ours)


def of_noise_level(path: Path) -> bool:
    """Whether a parameter is of the conditioning on the noise level, which is ours alone."""
    return bool({"fourier", "embedding"} & set(path[:2]))
