"""The converted network equals the original's layers, run one by one with their batch norms.

The real weights were compared with PyTorch by hand: features agree to 8e-6 (float32), of at most 6.
"""

import collections
import hashlib
import io
import pickle
import sys
import types
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from metrics import efficientnet_lite0
from metrics.efficientnet_lite0 import STAGES, EfficientNetLite0
from options.errors import StorageError
from tools import convert_efficientnet_lite0 as tool
from tools.torch_file import read_state_dict

BLOCKS = [
    (stage.kernel, stage.stride if i == 0 else 1, stage.expand, stage.width)
    for stage in STAGES
    for i in range(stage.repeats)
]


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the original's state dict."""
    found: dict[str, tuple[int, ...]] = {}

    def convolution(name, norm, out, inner, kernel):
        found[f"{name}.weight"] = (out, inner, kernel, kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"{norm}.{part}"] = (out,)

    convolution("_conv_stem", "_bn0", 32, 3, 3)
    width = 32
    for i, (kernel, _, expand, out) in enumerate(BLOCKS):
        block, wide = f"_blocks.{i}", width * expand
        if expand != 1:
            convolution(f"{block}._expand_conv", f"{block}._bn0", wide, width, 1)
        convolution(f"{block}._depthwise_conv", f"{block}._bn1", wide, 1, kernel)
        convolution(f"{block}._project_conv", f"{block}._bn2", out, wide, 1)
        width = out
    convolution("_conv_head", "_bn1", 1280, width, 1)
    return found | {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    """Weights by rule: a generator seeded by each name."""
    out = {}
    for name, shape in shapes().items():
        z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
        if len(shape) > 1:
            z *= np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith("weight"):
            z = 1 + 0.1 * z
        elif name.endswith("running_var"):
            z = 1 + 0.5 * np.abs(z)
        else:
            z *= 0.1
        out[name] = z.astype(np.float32)
    return out


def reference(tensors: dict[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The original, NCHW: convolution with SAME padding, batch norm, ReLU6."""

    def layer(x, name, norm, stride=1, act=True):
        weight = tensors[f"{name}.weight"]
        groups = x.shape[1] // weight.shape[1]
        x = jax.lax.conv_general_dilated(
            x, weight, (stride, stride), "SAME", feature_group_count=groups
        )
        mean, var, scale, bias = (
            tensors[f"{norm}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / jnp.sqrt(var + 1e-3) * scale + bias
        return jnp.clip(x, 0, 6) if act else x

    x = layer(x.transpose(0, 3, 1, 2), "_conv_stem", "_bn0", 2)
    for i, (_, stride, expand, _) in enumerate(BLOCKS):
        block, h = f"_blocks.{i}", x
        if expand != 1:
            h = layer(h, f"{block}._expand_conv", f"{block}._bn0")
        h = layer(h, f"{block}._depthwise_conv", f"{block}._bn1", stride)
        h = layer(h, f"{block}._project_conv", f"{block}._bn2", act=False)
        x = x + h if stride == 1 and x.shape[1] == h.shape[1] else h
    features = layer(x, "_conv_head", "_bn1").mean((2, 3))
    return features, features @ tensors["_fc.weight"].T + tensors["_fc.bias"]


def test_the_folded_network_is_the_original(tensors):
    folded = unflatten_dict(tool.convert(tensors), sep="/")
    x = np.random.default_rng(0).normal(size=(2, 66, 49, 3)).astype(np.float32)
    features, logits = jax.jit(reference)(tensors, x)
    found = jax.jit(EfficientNetLite0().apply)({"params": folded}, jnp.asarray(x))
    assert np.max(np.abs(found.features - features)) < 1e-5 * np.max(np.abs(features))
    assert np.max(np.abs(found.logits - logits)) < 1e-5 * np.max(np.abs(logits))


def legacy_file(tensors: dict[str, np.ndarray], said: dict[str, tuple] | None = None) -> bytes:
    """What PyTorch before 1.6 wrote: it names its classes, which are posed here.

    said: (offset, shape, strides) of tensors of which the file does not tell the truth.
    """

    class FloatStorage:
        __module__ = "torch"
        __qualname__ = "FloatStorage"

    def _rebuild_tensor_v2(*args):
        raise AssertionError("only named")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"

    class Tensor:
        def __init__(self, key, value):
            self.key, self.value = key, value

        def __reduce__(self):
            strides = tuple(s // 4 for s in self.value.strides)
            about = (said or {}).get(self.key, (0, self.value.shape, strides))
            return _rebuild_tensor_v2, (Storage(self.key, self.value), *about)

    class Storage:
        def __init__(self, key, value):
            self.pid = ("storage", FloatStorage, key, "cpu", value.size, None)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.pid if isinstance(value, Storage) else None

    torch, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage, inner._rebuild_tensor_v2 = FloatStorage, _rebuild_tensor_v2
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", torch)
        patch.setitem(sys.modules, "torch._utils", inner)
        file = io.BytesIO()
        state = collections.OrderedDict((k, Tensor(k, v)) for k, v in tensors.items())
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(part, file, protocol=2)
        Pickler(file, protocol=2).dump(state)
        pickle.dump(list(tensors), file, protocol=2)
    for value in tensors.values():
        file.write(np.int64(value.size).tobytes() + value.tobytes())
    return file.getvalue()


def test_reads_the_package_and_serves_features(tensors, tmp_path, monkeypatch):
    package, out = tmp_path / "lite0.pth", tmp_path / "lite0.npz"
    package.write_bytes(legacy_file(tensors))
    back = tool.read_package(package)
    wanted = tool.convert(tensors)
    assert back.params.keys() == wanted.keys()
    assert all(np.array_equal(back.params[name], wanted[name]) for name in wanted)
    assert back.source == hashlib.sha256(package.read_bytes()).digest()
    monkeypatch.setattr(sys, "argv", ["convert", str(package), str(out)])
    tool.main()

    extractor = efficientnet_lite0.extractor(out, size=32)
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 24, 1), np.uint8)
    grey, colour = extractor(images), extractor(np.repeat(images, 3, axis=-1))
    assert grey.shape == (2, extractor.dim)
    np.testing.assert_allclose(grey, colour, atol=1e-4)
    with pytest.raises(ValueError, match="images: got 4 channels"):
        extractor(np.zeros((1, 8, 8, 4), np.uint8))


@pytest.mark.parametrize(
    "about",
    [
        (0, (64,), (1,)),
        (1, (4,), (1,)),
        (0, (2, 2), (3, 1)),
        (-1, (4,), (1,)),
        (0, (4,), (-1,)),
        (0, (-4,), (1,)),
        (0, (2, 2), (1,)),
        (0, (4.0,), (1,)),
        (2**62, (2,), (2**62,)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused_by_name(about, tmp_path):
    (tmp_path / "lite0.pth").write_bytes(
        legacy_file({"x.weight": np.ones(4, np.float32)}, {"x.weight": about})
    )
    with pytest.raises(StorageError, match="^package: .*lite0.pth cannot be read: x.weight of"):
        tool.read_package(tmp_path / "lite0.pth")


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x80\x02K\x01.", None])
def test_a_damaged_package_is_named(content, tmp_path):
    whole = legacy_file({"x.weight": np.ones(4, np.float32)})
    (tmp_path / "lite0.pth").write_bytes(whole[:-3] if content is None else content)
    with pytest.raises(StorageError, match="^package: .*lite0.pth cannot be read"):
        tool.read_package(tmp_path / "lite0.pth")


def test_refuses_pickles_of_anything_else_and_other_networks(tmp_path):
    with pytest.raises(pickle.UnpicklingError, match="it names __builtin__.print"):
        read_state_dict(b"".join(pickle.dumps(part, 2) for part in (1, 2, {}, print)))
    np.savez(tmp_path / "other.npz", kernel=np.zeros(3))
    with pytest.raises(ValueError, match="other parameters.* expected those of EfficientNetLite0"):
        efficientnet_lite0.extractor(tmp_path / "other.npz")
