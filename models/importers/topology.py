"""What an official score-SDE network is, from the names and shapes of its parameters.

A U-Net of L levels and n blocks a level has, with B residual blocks in all,

    B = L n + 2 + L (n + 1) + 2 (L - 1)      where blocks change the resolution ("biggan")   (1)
    B = L n + 2 + L (n + 1)                  where layers between them do ("ddpm")           (2)

(down, middle, up, and the changes). What leaves no trace in the parameters, since the file has
none for it, is taken as all published configurations have it, see `assumed`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models.importers.score_sde import (
    ATTENTION,
    BLOCK,
    CLASSES,
    COMBINE,
    CONV,
    DENSE,
    DOWN,
    FOURIER,
    NORM,
    UP,
    Group,
)
from options.errors import InvalidValue

# The layers of a PyTorch module list have no class names: the first of these names that a layer has
# says what it is. Of layers with one 4-dimensional weight alone see `_of_weight`.
MARKS: dict[str, int] = {
    "W": FOURIER,
    "NIN_3.W": ATTENTION,
    "Conv_1.weight": BLOCK,
    "Conv2d_0.weight": DOWN,
    "Conv_0.weight": COMBINE,
}
PLUS = {"ResnetBlockDDPMpp", "ResnetBlockBigGANpp"}  # classes of NCSN++ alone
BY_RANK = {1: NORM, 2: DENSE, 4: CONV}


@dataclasses.dataclass(frozen=True)
class Topology:
    """A network of `models.MODELS` by its name, and the fields that the parameters say.

    Attributes:
      in_channels, out_channels: of the images.
      attention: the levels with attention, or how many of them, where a file does not say which.
      attention_width: channels of the first layer of attention; 0 for none but in the middle.
      assumed: what is taken as published, in words.
    """

    name: str
    fields: dict[str, Any]
    in_channels: int
    out_channels: int
    attention: tuple[int, ...] | None
    num_attending: int
    attention_width: int
    assumed: tuple[str, ...]

    @property
    def possible_attention(self) -> list[tuple[int, ...]]:
        """The levels at which attention can be, one entry for each way."""
        if self.attention is not None:
            return [self.attention]
        if not self.num_attending:
            return [()]
        widths = [self.fields["nf"] * m for m in self.fields["ch_mult"]]
        starts = [level for level, width in enumerate(widths) if width == self.attention_width]
        runs = [tuple(range(start, start + self.num_attending)) for start in starts]
        return [run for run in runs if run[-1] < len(widths)]


def topology(groups: Sequence[Group], reorder: Callable[..., np.ndarray]) -> Topology:
    """Of the layers of a file.

    Raises:
      InvalidValue: they are of no network of this family.
    """
    layers = [_Layer(group, reorder) for group in groups]
    by_family = {family: [x for x in layers if x.family == family] for family in range(len(BY_ALL))}
    blocks, convs = by_family[BLOCK], by_family[CONV]
    if len(blocks) < 3 or not convs:
        but = f"{len(blocks)} residual blocks and {len(convs)} convolutions are of no U-Net"
        raise InvalidValue("state_dict", but=but)
    changes = [i for i, block in enumerate(blocks) if block.changes_resolution]
    num_levels, per_level = _depth(len(blocks), changes, len(by_family[DOWN] + by_family[UP]))
    num_blocks = per_level - bool(changes)
    nf = convs[0].width_out
    widths = [
        blocks[min(level * per_level, len(blocks) - 1)].width_out for level in range(num_levels)
    ]
    if num_blocks < 1 or any(width % nf for width in widths):
        but = f"blocks of widths {widths} after a convolution of {nf} are of no U-Net"
        raise InvalidValue("state_dict", but=but)
    fields = {
        "nf": nf,
        "ch_mult": tuple(width // nf for width in widths),
        "num_res_blocks": num_blocks,
        "conditional": blocks[0].has("Dense_0"),
    }
    plain = not changes and not by_family[FOURIER]
    is_ddpm = plain and blocks[0].group.cls not in PLUS
    attention, num_attending, width = _attention(layers, per_level, num_levels, num_blocks)
    more, assumed = ({}, ()) if is_ddpm else _options(by_family, changes, num_levels)
    return Topology(
        "ddpm" if is_ddpm else "ncsnpp",
        fields | more,
        convs[0].width_in,
        convs[-1].width_out,
        attention,
        num_attending,
        width,
        assumed,
    )


def _depth(num_blocks: int, changes: Sequence[int], num_resamplers: int) -> tuple[int, int]:
    """Levels, and the blocks of one on the way down with that which changes the resolution."""
    if changes:
        return len(changes) // 2 + 1, changes[0] + 1
    num_levels = num_resamplers // 2 + 1
    return num_levels, (num_blocks - 2 - num_levels) // (2 * num_levels)


def _options(
    families: dict[int, list["_Layer"]], changes: Sequence[int], num_levels: int
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields of NCSN++, and what of them is assumed."""
    convs, resamplers = families[CONV], families[DOWN] + families[UP]
    images = [conv for conv in convs[1:] if conv.width_out == convs[-1].width_out]
    own = resamplers if changes else resamplers[2 * (num_levels - 1) :]
    outputs = len(images) >= num_levels > 1
    residual_out = len(families[NORM]) == 2 and not outputs
    combine = families[COMBINE]
    residual_in = len(own) > (num_levels - 1 if residual_out else 0)
    traces = any(layer.has("Conv2d_0") for layer in resamplers)
    pyramids = bool(combine) or bool(own) or outputs
    fir = traces or (pyramids and not resamplers)
    fields = {
        "resblock_type": "biggan" if changes else "ddpm",
        "embedding_type": "fourier" if families[FOURIER] else "positional",
        "progressive": "output_skip" if outputs else "residual" if residual_out else "none",
        "progressive_input": "input_skip" if combine else "residual" if residual_in else "none",
        "progressive_combine": _combination(families, num_levels),
        "fir": fir,
        "conv_size": convs[0].size,
    }
    assumed = () if traces else (f"fir={fir}",)
    return fields, (*assumed, "skip_rescale=True")


def _combination(families: dict[int, list["_Layer"]], num_levels: int) -> str:
    """Whether a skip of the input is added, or concatenated: then the next block is wider."""
    if not families[COMBINE]:
        return "sum"
    blocks, width = families[BLOCK], families[COMBINE][0].width_out
    first = next(i for i, block in enumerate(blocks) if block.changes_resolution)
    return "cat" if blocks[first + 1].width_in == 2 * width else "sum"


def _attention(
    layers: Sequence["_Layer"], per_level: int, num_levels: int, num_blocks: int
) -> tuple[tuple[int, ...] | None, int, int]:
    """The levels with attention (None: not said), how many they are, and the channels."""
    found = [layer for layer in layers if layer.family == ATTENTION]
    attending = max(0, len(found) - 1) // (num_blocks + 1)
    width = found[0].width_in if found and attending else 0
    if layers[0].group.cls:
        return None, attending, width
    levels: set[int] = set()
    blocks = 0
    for layer in layers:
        blocks += layer.family == BLOCK
        level = (blocks - 1) // per_level
        if layer.family == ATTENTION and len(levels) < attending and level < num_levels:
            levels.add(level)
    return tuple(sorted(levels)), attending, width


class _Layer:
    """A layer of a file: its family, and its shapes in our order of axes."""

    def __init__(self, group: Group, reorder: Callable[..., np.ndarray]) -> None:
        self.group = group
        self.family = CLASSES[group.cls] if group.cls else _family(group)
        stand_ins = {k: np.broadcast_to(np.float32(0), v.shape) for k, v in group.arrays.items()}
        self.shapes = {k: reorder(k, v, v.ndim).shape for k, v in stand_ins.items()}

    def has(self, part: str) -> bool:
        return any(name.startswith(part) for name in self.shapes)

    @property
    def _kernel(self) -> tuple[int, ...]:
        names = ("Conv_0.weight", "Conv_0.kernel", "NIN_0.W", "weight", "kernel")
        return next(self.shapes[name] for name in names if name in self.shapes)

    @property
    def width_in(self) -> int:
        return self._kernel[-2]

    @property
    def width_out(self) -> int:
        return self._kernel[-1]

    @property
    def size(self) -> int:
        return self._kernel[0]

    @property
    def changes_resolution(self) -> bool:
        """Of a block: it has a shortcut of its own though it keeps the width."""
        return self.has("Conv_2") and self.width_in == self.width_out


def _family(group: Group) -> int:
    for mark, family in MARKS.items():
        if mark in group.arrays:
            kernel = group.arrays[mark]
            is_large = family == COMBINE and kernel.shape[-1] != 1
            return DOWN if is_large else family
    return BY_RANK.get(group.arrays["weight"].ndim if "weight" in group.arrays else 0, NORM)


BY_ALL = sorted({*CLASSES.values()})
