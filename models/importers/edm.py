"""SongUNet of EDM (Karras et al. 2022), which is NCSN++ and DDPM++, as ours.

Layers are named by the resolution of their output. Labels, times the square root of their number,
and augmentations enter by linear layers into the features of the noise level; attention is part of
the block that it follows, its query, key and value one layer whose channels alternate.
"""

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from models.importers.account import Account
from models.importers.call_order import MOST_LAYERS, Path, shapes_of
from options.choices import choose, require

# The defaults of its constructor.
DEFAULTS: dict[str, Any] = {
    "augment_dim": 0,
    "model_channels": 128,
    "channel_mult": [1, 2, 2, 2],
    "channel_mult_emb": 4,
    "num_blocks": 4,
    "attn_resolutions": [16],
    "dropout": 0.1,
    "label_dropout": 0,
    "embedding_type": "positional",
    "channel_mult_noise": 1,
    "encoder_type": "standard",
    "decoder_type": "standard",
    "resample_filter": [1, 1],
}
INPUTS = {"standard": "none", "skip": "input_skip", "residual": "residual"}
OUTPUTS = {"standard": "none", "skip": "output_skip"}
CHANNELS_OF_NOISE = {"positional": 1, "fourier": 2}  # `channel_mult_noise`, as ours have it

BLOCK = {
    "norm_0": "norm0",
    "conv_0": "conv0",
    "embedding": "affine",
    "norm_1": "norm1",
    "conv_1": "conv1",
    "shortcut": "skip",
}
ATTENTION = {"norm": "norm2", "query": "qkv", "key": "qkv", "value": "qkv", "out": "proj"}
THIRDS = {"query": 0, "key": 1, "value": 2}
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
BUFFERS = ("resample_filter",)

# Our module, by its path, and theirs: {level} is the resolution there, {above} of the next finer,
# {below} of the next coarser level, {unit} numbers a block, {last} is a level's last.
MODULES: list[tuple[str, str]] = [
    (r"down_(\d+)/unit_(\d+)/(?:block|attention)", "enc.{level}_block{unit}"),
    (r"shrink_(\d+)", "enc.{below}_down"),
    (r"middle_0|middle_attention", "dec.{bottom}_in0"),
    (r"middle_1", "dec.{bottom}_in1"),
    (r"up_(\d+)/unit_(\d+)/block", "dec.{level}_block{unit}"),
    (r"up_(\d+)_attention", "dec.{level}_block{last}"),
    (r"grow_(\d+)", "dec.{above}_up"),
]
LAYERS: list[tuple[str, str]] = [
    (r"conv_in", "enc.{top}_conv"),
    (r"pyramid_in_(\d+)/conv", "enc.{below}_aux_residual"),
    (r"pyramid_in_(\d+)", "enc.{below}_aux_skip"),
    (r"pyramid_out_(\d+)_norm", "dec.{level}_aux_norm"),
    (r"pyramid_out_(\d+)", "dec.{level}_aux_conv"),
    (r"norm_out", "dec.{top}_aux_norm"),
    (r"conv_out", "dec.{top}_aux_conv"),
    (r"embedding/dense_0", "map_layer0"),
    (r"embedding/dense_1", "map_layer1"),
]


def fields_of(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of our NCSN++ for the arguments of a SongUNet's constructor.

    Raises:
      InvalidValue: an argument that ours has nothing for.
    """
    given = DEFAULTS | dict(kwargs)
    of_noise = choose(CHANNELS_OF_NOISE, given["embedding_type"], "embedding_type")
    only = {"channel_mult_noise": of_noise, "channel_mult_emb": 4}
    for name, value in only.items():
        require(given[name] == value, name, given[name], repr(value))
    sizes = (given["num_blocks"], len(given["channel_mult"]))
    require(
        0 < max(sizes) <= MOST_LAYERS, "num_blocks", sizes, f"at most {MOST_LAYERS}, of levels too"
    )
    kernel = tuple(float(tap) for tap in given["resample_filter"])
    fir = {"fir": True, "fir_kernel": kernel} if kernel != (1.0, 1.0) else {"fir": False}
    return fir | {
        "nf": int(given["model_channels"]),
        "ch_mult": tuple(given["channel_mult"]),
        "num_res_blocks": int(given["num_blocks"]),
        "attn_resolutions": tuple(given["attn_resolutions"]),
        "dropout": float(given["dropout"]),
        "embedding_type": given["embedding_type"],
        "progressive_input": choose(INPUTS, given["encoder_type"], "encoder_type"),
        "progressive": choose(OUTPUTS, given["decoder_type"], "decoder_type"),
        "conditions_in": "features",
    }


def params_from_edm(
    theirs: Mapping[str, np.ndarray], model: nn.Module, shape: tuple[int, ...]
) -> dict[str, Any]:
    """The parameter tree of `model`, an NCSN++ with its conditions, float32 numpy.

    theirs: arrays of the SongUNet by name, "enc.16x16_conv.weight". shape: of an image.

    Raises:
      InvalidValue: names every parameter that is unknown, missing or of another shape.
    """
    conditions = getattr(model, "conditions", ())
    account = Account(shapes_of(model, (1, *shape), conditions), theirs, BUFFERS)
    for path in account.shapes:
        _fill(account, path, model, shape[0])
    return account.params(f"{type(model).__name__}")


def _fill(account: Account, path: Path, model: Any, size: int) -> None:
    *module, leaf = path
    place, part = "/".join(module), module[-1]
    if path[0] in SPECIAL:
        account.fill(path, SPECIAL[path[0]])
    elif part in CONDITIONS:
        CONDITIONS[part](account, path)
    elif (layer := _named(LAYERS, place, model, size)) is not None:
        account.fill(path, f"{layer}.{LEAVES[leaf]}")
    else:
        outer = _named(MODULES, "/".join(module[:-1]), model, size)
        attends = "attention" in module[-2]
        name = f"{outer}.{(ATTENTION if attends else BLOCK)[part]}.{LEAVES[leaf]}"
        if attends and part in THIRDS:
            account.fill(path, name, lambda joined: _third(joined, part))
        else:
            account.fill(path, name)


def _third(joined: np.ndarray, part: str) -> np.ndarray:
    """Every third channel of the layer that gives query, key and value, as a matrix or a bias."""
    own = joined[THIRDS[part] :: 3]
    return own[:, :, 0, 0].T if own.ndim == 4 else own


def _named(table: list[tuple[str, str]], place: str, model: Any, size: int) -> str | None:
    for pattern, name in table:
        match = re.fullmatch(pattern, place)
        if match:
            level, unit = (int(n) if n else 0 for n in (*match.groups(), None, None)[:2])
            sides = {"level": level, "below": level + 1, "above": level - 1, "top": 0}
            sides["bottom"] = len(model.ch_mult) - 1
            spelt = {k: f"{_at(size, n)}x{_at(size, n)}" for k, n in sides.items()}
            return name.format(unit=unit, last=model.num_res_blocks, **spelt)
    return None


def _at(size: int, level: int) -> int:
    return size >> level if level >= 0 else size << -level


def _labels(account: Account, path: Path) -> None:
    """A row for each class, and the null, no class at all."""
    bias = np.asarray(account.theirs.get("map_label.bias", np.float32(0)), np.float32)

    def rows(weight: np.ndarray) -> np.ndarray:
        named = np.sqrt(np.float32(weight.shape[1])) * weight.T + bias
        return np.concatenate([named, np.broadcast_to(bias, named[:1].shape)])

    account.fill(path, "map_label.weight", rows)
    account.use("map_label.bias")


def _augment(account: Account, path: Path) -> None:
    account.fill(path, "map_augment.weight")


CONDITIONS = {"labels": _labels, "augment": _augment}
SPECIAL = {"fourier": "map_noise.freqs"}
