"""NCSN and NCSNv2: files in the exact format, outputs by their definition in float64."""

import itertools

import numpy as np
import pytest
from flax import serialization
from torch_archive import archive

from options.errors import UserError
from storage import weights
from tools.import_checkpoint import Wanted, import_checkpoint

NF, SIZE, LEVELS = 2, 16, 5
EXACT = 1e-5  # of float32, relative to the largest value
SIGMAS = np.geomspace(50.0, 0.01, LEVELS).astype(np.float32)
# Of each level from fine to coarse: the name of its blocks, its width, its dilation, the name of
# its refinement and the width of that.
SHALLOW = [("1", 1, 1, "3", 1), ("2", 2, 1, "2", 2), ("3", 2, 2, "1", 2)]
NCSN = [("1", 1, 1, "4", 1), ("2", 2, 1, "3", 1), ("3", 2, 2, "2", 2), ("4", 2, 4, "1", 2)]
DEEPEST = [
    ("1", 1, 1, "5", 1), ("2", 2, 1, "4", 1), ("3", 2, 1, "3", 2), ("31", 2, 1, "31", 2),
    ("4", 4, 2, "2", 2), ("5", 4, 4, "1", 4),
]  # fmt: skip


class State:
    """Random parameters by the names of a state dict, in any order: those that are asked for."""

    def __init__(self, table):
        self.rng, self.arrays, self.table = np.random.default_rng(0), {}, table

    def __call__(self, name, *shape):
        """A kernel, or a vector."""
        scale = np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.3
        mean = float(name.endswith(("gamma", "alpha")))
        value = mean + scale * self.rng.standard_normal(shape)
        return self.arrays.setdefault(name, value.astype(np.float32)).astype(np.float64)


def conv(state, name, x, width, size=3, dilation=1, bias=True):
    kernel = state(f"{name}.weight", width, x.shape[1], size, size)
    reach = dilation * (size // 2)
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    y = np.zeros((len(x), width, *x.shape[2:]))
    for i, j in itertools.product(range(size), range(size)):
        part = padded[:, :, i * dilation :, j * dilation :][:, :, : x.shape[2], : x.shape[3]]
        y += np.einsum("oi,bihw->bohw", kernel[:, :, i, j], part)
    return y + state(f"{name}.bias", width)[:, None, None] if bias else y


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def norm(state, name, x, y, ddof):
    width = x.shape[1]
    if state.table:
        rows = np.split(state(f"{name}.embed.weight", LEVELS, 3 * width)[y], 3, axis=1)
    else:
        rows = [state(f"{name}.{which}", width)[None] for which in ("gamma", "alpha", "beta")]
    gamma, alpha, beta = (row[:, :, None, None] for row in rows)
    means = x.mean((2, 3))
    away = means - means.mean(1, keepdims=True)
    between = away / np.sqrt(means.var(1, keepdims=True, ddof=ddof) + 1e-5)
    h = (x - means[:, :, None, None]) / np.sqrt(x.var((2, 3), keepdims=True) + 1e-5)
    return gamma * (h + alpha * between[:, :, None, None]) + beta


def halved(x):
    return x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).mean((3, 5))


def residual(state, name, x, y, width, ddof, dilation, changes):
    pooled = changes and dilation == 1
    inner, end = x.shape[1] if changes else width, ".conv" if pooled else ""
    h = elu(norm(state, f"{name}.normalize1", x, y, ddof))
    h = conv(state, f"{name}.conv1", h, inner, dilation=dilation)
    h = elu(norm(state, f"{name}.normalize2", h, y, ddof))
    h = conv(state, f"{name}.conv2{end}", h, width, dilation=dilation)
    if changes:
        x = conv(state, f"{name}.shortcut{end}", x, width, 1 if pooled else 3, dilation)
    return halved(x + h) if pooled else x + h


def units(state, name, x, y, count, ddof):
    for i in range(1, count + 1):
        h = x
        for j in (1, 2):
            h = norm(state, f"{name}.{i}_{j}_norm", h, y, ddof) if state.table else h
            h = conv(state, f"{name}.{i}_{j}_conv", elu(h), x.shape[1], bias=False)
        x = x + h
    return x


def enlarged(x, size, corners):
    for axis in (2, 3):
        n = x.shape[axis]
        at = np.linspace(0, n - 1, size) if corners else (np.arange(size) + 0.5) * n / size - 0.5
        at = np.clip(at, 0, n - 1)
        weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(n)))
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ weights.T, -1, axis)
    return x


def pooled(x, mean):
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=0 if mean else -np.inf)
    parts = [
        padded[:, :, i : i + x.shape[2], j : j + x.shape[3]]
        for i, j in itertools.product(range(5), range(5))
    ]
    return sum(parts) / 25 if mean else np.max(parts, axis=0)


def refined(state, name, inputs, y, width, last, ddof):
    inputs = [units(state, f"{name}.adapt_convs.{i}", x, y, 2, ddof) for i, x in enumerate(inputs)]
    h = inputs[0]
    if len(inputs) > 1:
        total = 0
        for i, x in enumerate(inputs):
            x = norm(state, f"{name}.msf.norms.{i}", x, y, ddof) if state.table else x
            x = conv(state, f"{name}.msf.convs.{i}", x, width)
            total = total + enlarged(x, h.shape[2], corners=ddof == 1)
        h = total
    h = path = elu(h)
    for i in range(2):
        path = norm(state, f"{name}.crp.norms.{i}", path, y, ddof) if state.table else path
        path = conv(state, f"{name}.crp.convs.{i}", pooled(path, state.table), width, bias=False)
        h = h + path
    return units(state, f"{name}.output_convs", h, y, 3 if last else 1, ddof)


def network(state, levels, x, y, ddof=1):
    """ddof: 1 as PyTorch has it, with corners on corners; 0 as Flax, without."""
    h, found = conv(state, "begin_conv", 2 * x - 1, NF), []
    for i, (name, multiple, dilation, _, _) in enumerate(levels):
        for j in range(2):
            changes = i > 0 and j == 0
            at = (NF * multiple, ddof, dilation, changes)
            h = residual(state, f"res{name}.{j}", h, y, *at)
        found.append(h)
    below = []
    for i, (_, _, _, name, multiple) in reversed(list(enumerate(levels))):
        inputs = [found[i], *below]
        below = [refined(state, f"refine{name}", inputs, y, NF * multiple, i == 0, ddof)]
    out = conv(state, "end_conv", elu(norm(state, "normalizer", below[0], y, ddof)), 3)
    return out if state.table else out / SIGMAS[y][:, None, None, None]


def recorded(tmp_path, levels, ddof=1, table=False):
    """A state, and a file of outputs at two noise levels."""
    state, x = State(table), np.random.default_rng(1).random((2, 3, SIZE, SIZE))
    y = np.array([0, LEVELS - 1])
    out = network(state, levels, x, y, ddof)
    np.savez(tmp_path / "recorded.npz", x=x.astype(np.float32), cond=y, out=out)
    return state.arrays, str(tmp_path / "recorded.npz")


def in_training(arrays, sigmas=SIGMAS):
    """What their training saves, of which the average is the file's."""
    beside = {"sigmas": sigmas} if sigmas is not None else {}
    others = {name: array + 1 for name, array in arrays.items()}
    raw = {f"module.{name}": array for name, array in (others | beside).items()}
    optimizer = {"state": {0: {"step": 7, "exp_avg": np.ones(3, np.float32)}}, "param_groups": [{}]}
    return [raw, optimizer, 3, 1234, arrays]


def pytorch(arrays, table, tmp_path):
    """Of NCSN the first two entries alone: it has no average, and no noise levels."""
    saved = in_training(arrays, sigmas=None if table else SIGMAS)
    saved = [{f"module.{name}": array for name, array in arrays.items()}, {}] if table else saved
    (tmp_path / "a.pth").write_bytes(archive(saved))
    return tmp_path / "a.pth"


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    "levels, table", [(SHALLOW, False), (NCSN, False), (DEEPEST, False), (NCSN, True)]
)
def test_a_file_of_pytorch_gives_its_outputs(levels, table, tmp_path):
    arrays, expected = recorded(tmp_path, levels, table=table)
    path = pytorch(arrays, table, tmp_path)
    wanted = Wanted(
        expected=expected,
        tolerance=EXACT,
        image_size=SIZE,
        params="raw" if table else "average",
    )
    said = import_checkpoint(path, tmp_path / "made.npz", wanted)
    assert any("out differs by" in line for line in said)
    meta = weights.read_meta(tmp_path / "made.npz")
    assert meta["step"] == (0 if table else 1234)
    process = meta["config"]["process"]
    assert (process["num_steps"], process["sigma_max"]) == (LEVELS, 1.0 if table else 50.0)


def flax_of(arrays, levels):
    """The same parameters as Flax numbers them, by class in the order of the calls."""
    blocks = {f"res{level[0]}.{j}": 2 * i + j for i, level in enumerate(levels) for j in range(2)}
    refined = {f"refine{level[3]}": i for i, level in enumerate(reversed(levels))}
    outer = {"begin_conv": "Conv_0", "end_conv": "Conv_1", "normalizer": "InstanceNorm2dPlus_0"}
    within = {
        "normalize1": "InstanceNorm2dPlus_0",
        "normalize2": "InstanceNorm2dPlus_1",
        "conv1": "Conv_0",
        "conv2": "Conv_1",
        "shortcut": "Conv_2",
        "conv2.conv": "ConvMeanPool_0.Conv_0",
        "shortcut.conv": "ConvMeanPool_1.Conv_0",
    }
    tree = {}
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        first, _, rest = module.partition(".")
        if first in outer:
            path = [outer[first]]
        elif first in refined:
            number = refined[first]
            kind, _, inner = rest.partition(".")
            if kind in ("msf", "crp"):
                path = [f"{kind.upper()}Block_0", f"Conv_{inner[-1]}"]
            else:
                which = min(number, 1) + 1 if kind == "output_convs" else inner[0]
                i, j = (int(n) for n in inner.rpartition(".")[2].split("_")[:2])
                path = [f"RCUBlock_{which}", f"Conv_{2 * (i - 1) + j - 1}"]
            path = [f"RefineBlock_{number}", *path]
        else:
            block, inner = rest.partition(".")[::2]
            path = [f"ResidualBlock_{blocks[f'{first}.{block}']}", *within[inner].split(".")]
        at = tree
        for part in path:
            at = at.setdefault(part, {})
        if leaf == "weight":
            at["kernel"] = array.transpose(2, 3, 1, 0)
        else:
            at[leaf] = array if leaf == "bias" else array[None, None, None]
    return tree


@pytest.mark.slow
@pytest.mark.parametrize("levels", [NCSN, DEEPEST])
def test_a_checkpoint_of_flax_gives_its_outputs(levels, tmp_path):
    arrays, expected = recorded(tmp_path, levels, ddof=0)
    tree = flax_of(arrays, levels)
    saved = {"optimizer": {"target": tree}, "params_ema": tree, "step": 77}
    (tmp_path / "checkpoint_1").write_bytes(serialization.msgpack_serialize(saved))
    config = tmp_path / "five_levels.py"
    config.write_text(CONFIG.format(levels=LEVELS, fields=fields_of(levels)))
    wanted = Wanted(config=str(config), expected=expected, tolerance=EXACT)
    said = import_checkpoint(tmp_path / "checkpoint_1", tmp_path / "made.npz", wanted)
    assert any("out differs by" in line for line in said)
    assert weights.read_step(tmp_path / "made.npz") == 77


def fields_of(levels):
    widths = [tuple(level[i] for level in levels) for i in (1, 4, 2)]
    return dict(zip(("ch_mult", "refine_mult", "dilations"), widths, strict=True)) | {"nf": NF}


CONFIG = """from configs.ve.annealed_langevin import get_ncsnv2_config


def get_config():
    config = get_ncsnv2_config(16, sigma_max=50.0, levels={levels})
    config.model.update({fields})
    return config
"""


@pytest.mark.parametrize("damage, message", [
    (lambda raw: raw.pop("res2.0.conv2.conv.weight"), "it lacks res2.0.conv2"),
    (lambda raw: raw.pop("refine1.crp.convs.0.weight"), "it has no kernel refine1.crp.convs.0"),
    (lambda raw: raw.update(extra=np.ones(3, np.float32)), "extra is unknown"),
    (lambda raw: raw.update({"normalizer.beta": np.ones(3, np.float32)}), "normalizer.beta: got"),
    (lambda raw: raw.update({"begin_conv.weight": np.ones(3, np.float32)}), "no kernel begin_c"),
])  # fmt: skip
def test_what_does_not_fit_is_named(damage, message, tmp_path):
    arrays, _ = recorded(tmp_path, SHALLOW)
    damage(arrays)
    path = pytorch(arrays, False, tmp_path)
    with pytest.raises(UserError, match=message):
        import_checkpoint(path, tmp_path / "made.npz", Wanted(image_size=SIZE))
    assert not (tmp_path / "made.npz").exists()


def test_what_a_file_does_not_say_is_asked_for(tmp_path):
    arrays, _ = recorded(tmp_path, SHALLOW)

    def refused(sigmas, **options):
        (tmp_path / "a.pth").write_bytes(archive(in_training(arrays, sigmas)))
        with pytest.raises(UserError) as error:
            import_checkpoint(tmp_path / "a.pth", tmp_path / "made.npz", Wanted(**options))
        return str(error.value)

    assert "no geometric series" in refused(np.linspace(50, 0.01, 7, dtype=np.float32))
    assert "image_size: got 0" in refused(SIGMAS * 3)
    assert "process: got 'vp'" in refused(SIGMAS, process="vp")
    assert "a network with refine_mult" in refused(SIGMAS, config="digits/vp_small")
