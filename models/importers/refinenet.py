"""NCSN and NCSNv2 of other implementations as ours.

Of level i, from fine to coarse, of n:

    ours                      Song & Ermon 2019, 2020 (PyTorch)       Song et al. 2021 (Flax)
    down_{i}_block_{j}        res{i+1}.{j}                            ResidualBlock_{2i+j}
    up_{i}                    refine{n-i}                             RefineBlock_{n-1-i}

but that PyTorch's of six levels calls its fourth 31. What dilation a level has leaves no trace: of
those that do not halve the image it is 2, 4, .. in order, as in all published networks.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from models.importers.account import Account
from models.importers.call_order import MOST_LAYERS, Path, shapes_of
from models.ncsn import NCSN, NCSNv2
from models.sizes import required_divisor
from options.choices import require
from options.errors import InvalidValue

BUFFERS = ("sigmas",)  # of a state dict: no parameters
OF_NORM = ("gamma", "alpha", "beta")
DOWN, UP = re.compile(r"down_(\d+)_block_(\d+)"), re.compile(r"up_(\d+)")
UNITS = [(i, j) for i in range(3) for j in range(2)]  # of a RefineNet's residual units
TABLE = "embed.weight"  # of NCSN: gamma, alpha and beta side by side, a row for each level
DEEPEST = ("1", "2", "3", "31", "4", "5")
Names = Mapping[str, str]


class Dialect(NamedTuple):
    """How an implementation calls our layers.

    block: (level, number of the block, number of levels) -> a residual block.
    refinement: (level, number of levels) -> a block of the RefineNet.
    outer, within_block, within_refinement, within_units: layers of ours there.
    halving, coarsest: what is called otherwise where a level halves, and in the coarsest one.
    leaves: of our parameters; others keep their names.
    level: a name that each level has once.
    separator: between the parts of a name.
    out_axis: of a kernel, that of its output's channels.
    pytorch: the field of ours.
    """

    block: Callable[[int, int, int], str]
    refinement: Callable[[int, int], str]
    outer: Names
    within_block: Names
    halving: Names
    within_refinement: Names
    coarsest: Names
    within_units: Names
    leaves: Names
    level: re.Pattern[str]
    separator: str
    out_axis: int
    pytorch: bool

    @property
    def first(self) -> str:
        """A name that every file has."""
        return self.separator.join([self.outer["conv_in"], self.leaves.get("kernel", "kernel")])


def _numbers(n: int) -> tuple[str, ...]:
    return DEEPEST if n == len(DEEPEST) else tuple(str(i + 1) for i in range(n))


def _refinement(level: int, n: int) -> str:
    """The coarsest is 1, and 31 that of the level of this name."""
    numbers = [str(n - i) for i in range(n)] if n != len(DEEPEST) else "5 4 3 31 2 1".split()
    return f"refine{numbers[level]}"


TORCH = Dialect(
    block=lambda level, block, n: f"res{_numbers(n)[level]}.{block}",
    refinement=_refinement,
    outer={"conv_in": "begin_conv", "norm_out": "normalizer", "conv_out": "end_conv"},
    within_block={
        **{f"norm_{i}": f"normalize{i + 1}" for i in range(2)},
        **{f"conv_{i}": f"conv{i + 1}" for i in range(2)},
        "shortcut": "shortcut",
    },
    halving={"conv_1": "conv2.conv", "shortcut": "shortcut.conv"},
    within_refinement={
        "out": "output_convs",
        **{f"adapt_{i}": f"adapt_convs.{i}" for i in range(2)},
        **{f"fuse_{i}": f"msf.convs.{i}" for i in range(2)},
        **{f"norm_fuse_{i}": f"msf.norms.{i}" for i in range(2)},
        **{f"pool_{i}": f"crp.convs.{i}" for i in range(2)},
        **{f"norm_pool_{i}": f"crp.norms.{i}" for i in range(2)},
    },
    coarsest={},
    within_units={
        **{f"conv_{i}_{j}": f"{i + 1}_{j + 1}_conv" for i, j in UNITS},
        **{f"norm_{i}_{j}": f"{i + 1}_{j + 1}_norm" for i, j in UNITS},
    },
    leaves={"kernel": "weight"},
    level=re.compile(r"res\d+\.0\.conv1\.weight"),
    separator=".",
    out_axis=0,
    pytorch=True,
)

FLAX = Dialect(
    block=lambda level, block, n: f"ResidualBlock_{2 * level + block}",
    refinement=lambda level, n: f"RefineBlock_{n - 1 - level}",
    outer={"conv_in": "Conv_0", "norm_out": "InstanceNorm2dPlus_0", "conv_out": "Conv_1"},
    within_block={
        **{f"norm_{i}": f"InstanceNorm2dPlus_{i}" for i in range(2)},
        **{f"conv_{i}": f"Conv_{i}" for i in range(2)},
        "shortcut": "Conv_2",
    },
    halving={"conv_1": "ConvMeanPool_0/Conv_0", "shortcut": "ConvMeanPool_1/Conv_0"},
    within_refinement={
        "out": "RCUBlock_2",
        **{f"adapt_{i}": f"RCUBlock_{i}" for i in range(2)},
        **{f"fuse_{i}": f"MSFBlock_0/Conv_{i}" for i in range(2)},
        **{f"pool_{i}": f"CRPBlock_0/Conv_{i}" for i in range(2)},
    },
    coarsest={"out": "RCUBlock_1"},
    within_units={f"conv_{i}_{j}": f"Conv_{2 * i + j}" for i, j in UNITS},
    leaves={},
    level=re.compile(r"ResidualBlock_\d*[02468]/Conv_0/kernel"),
    separator="/",
    out_axis=-1,
    pytorch=False,
)


class Found(NamedTuple):
    """A network of `models.MODELS` by its name, the fields that a file says, channels of images."""

    name: str
    fields: dict[str, Any]
    channels: int


def name_of(dialect: Dialect, path: Path, model: Any) -> str:
    """What a parameter of ours is called there."""
    part, *inner, leaf = path
    n = len(model.ch_mult)
    if down := DOWN.fullmatch(part):
        level, block = int(down[1]), int(down[2])
        halves = level > 0 and block == 0 and model.dilations[level] == 1
        names = {**dialect.within_block, **(dialect.halving if halves else {})}
        parts = [dialect.block(level, block, n), names[inner[0]]]
    elif up := UP.fullmatch(part):
        level = int(up[1])
        names = {**dialect.within_refinement, **(dialect.coarsest if level == n - 1 else {})}
        units = [dialect.within_units[name] for name in inner[1:]]
        parts = [dialect.refinement(level, n), names[inner[0]], *units]
    else:
        parts = [dialect.outer[part]]
    return dialect.separator.join([*parts, dialect.leaves.get(leaf, leaf)])


def network_of(dialect: Dialect, theirs: Mapping[str, Any]) -> Found:
    """The network of a file, by its names and shapes; InvalidValue for one of another kind."""

    def kernel(*parts: str) -> tuple[int, ...]:
        name = dialect.separator.join([*parts, dialect.leaves.get("kernel", "kernel")])
        if name not in theirs or len(theirs[name].shape) != 4:
            raise InvalidValue("file", but=f"it has no kernel {name}")
        return tuple(theirs[name].shape)

    n = sum(dialect.level.fullmatch(name) is not None for name in theirs)
    require(0 < n <= MOST_LAYERS, "file", f"{n} levels", f"1 to {MOST_LAYERS}")
    conv = dialect.outer["conv_in"]
    nf = kernel(conv)[dialect.out_axis]
    of_block, of_up = dialect.within_block["conv_1"], dialect.within_refinement["pool_0"]
    down = [kernel(dialect.block(i, 1, n), of_block)[dialect.out_axis] for i in range(n)]
    up = [kernel(dialect.refinement(i, n), of_up)[dialect.out_axis] for i in range(n)]
    if any(width % nf for width in down + up):
        raise InvalidValue("file", but=f"widths {down + up} are no multiples of the first, {nf}")
    fields = {
        "nf": nf,
        "ch_mult": tuple(width // nf for width in down),
        "refine_mult": tuple(width // nf for width in up),
        "dilations": _dilations(dialect, theirs, n),
        "pytorch": dialect.pytorch,
    }
    channels = kernel(conv)[1 if dialect.out_axis == 0 else 2]
    table = theirs.get(f"{dialect.outer['norm_out']}.{TABLE}")
    if table is None:
        return Found("ncsnv2", fields, channels)
    return Found("ncsn", fields | {"num_levels": int(table.shape[0])}, channels)


def _dilations(dialect: Dialect, theirs: Mapping[str, Any], n: int) -> tuple[int, ...]:
    """1 where a level halves the image; 2, 4, .. of the others, but the first, in order."""
    found = [1]
    for level in range(1, n):
        halves = f"{dialect.block(level, 0, n)}{dialect.separator}{dialect.halving['conv_1']}"
        found.append(1 if any(name.startswith(halves) for name in theirs) else 2 * max(found))
    return tuple(found)


def params_from(
    dialect: Dialect, theirs: Mapping[str, np.ndarray], model: NCSN | NCSNv2, channels: int
) -> dict[str, Any]:
    """The parameter tree of `model`, for images of so many channels, float32 numpy.

    Raises:
      InvalidValue: names every parameter that is unknown, missing or of another shape.
    """
    side = required_divisor(len(model.ch_mult))
    account = Account(shapes_of(model, (1, side, side, channels)), theirs, BUFFERS)
    for path, shape in account.shapes.items():
        name = name_of(dialect, path, model)
        if dialect is FLAX:
            account.fill(path, name, lambda array, shape=shape: _as(array, shape))
        elif path[-1] not in OF_NORM:
            account.fill(path, name)
        else:
            table = f"{name.rpartition('.')[0]}.{TABLE}"
            is_table = table in theirs
            row = OF_NORM.index(path[-1])
            account.fill(
                path,
                table if is_table else name,
                lambda array, row=row, shape=shape: _norm(array, row, shape),
            )
    return account.params(type(model).__name__)


def _as(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Without, or with, axes of length 1."""
    same = [n for n in array.shape if n > 1] == [n for n in shape if n > 1]
    return array.reshape(shape) if same else array


def _norm(array: np.ndarray, row: int, shape: tuple[int, ...]) -> np.ndarray:
    """gamma, alpha or beta, (levels, channels), of PyTorch's vector or table."""
    channels = shape[-1]
    if array.shape == (shape[0], 3 * channels):
        array = array[:, row * channels : (row + 1) * channels]
    return _as(array, shape)
