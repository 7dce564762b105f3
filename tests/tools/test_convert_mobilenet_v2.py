"""The converted network equals torchvision's layers, run one by one with their batch norms.

A network of torchvision 0.28 with random weights, saved by PyTorch 2.13, was compared by hand.
"""

import dataclasses
import sys
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from handwriting import style
from metrics.mobilenet_v2 import STAGES, MobileNetV2
from metrics.weights import write_weights
from options.errors import InvalidValue, StorageError
from tools import convert_mobilenet_v2 as tool

BLOCKS = [
    (stage.stride if i == 0 else 1, stage.expand, stage.width)
    for stage in STAGES
    for i in range(stage.repeats)
]


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's parameters and running statistics."""
    found: dict[str, tuple[int, ...]] = {}

    def convolution(name, norm, out, inner, kernel):
        found[f"{name}.weight"] = (out, inner, kernel, kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"{norm}.{part}"] = (out,)

    convolution("features.0.0", "features.0.1", 32, 3, 3)
    width = 32
    for i, (_, expand, out) in enumerate(BLOCKS, 1):
        block, wide = f"features.{i}.conv", width * expand
        if expand != 1:
            convolution(f"{block}.0.0", f"{block}.0.1", wide, width, 1)
        at = int(expand != 1)
        convolution(f"{block}.{at}.0", f"{block}.{at}.1", wide, 1, 3)
        convolution(f"{block}.{at + 1}", f"{block}.{at + 2}", out, wide, 1)
        width = out
    convolution("features.18.0", "features.18.1", 1280, width, 1)
    return found | {"classifier.1.weight": (1000, 1280), "classifier.1.bias": (1000,)}


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    """Weights by rule: a generator seeded by each name."""
    out = {}
    for name, shape in shapes().items():
        z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
        if len(shape) > 1:
            z *= np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            z = 1 + 0.5 * np.abs(z)
        else:
            z = (name.endswith("weight")) + 0.1 * z
        out[name] = z.astype(np.float32)
    return out


def reference(tensors: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The last map of torchvision's network, NCHW: symmetric padding, batch norm, ReLU6."""

    def layer(x, name, norm, stride=1, act=True):
        weight = tensors[f"{name}.weight"]
        groups, pad = x.shape[1] // weight.shape[1], weight.shape[2] // 2
        x = jax.lax.conv_general_dilated(
            x, weight, (stride, stride), [(pad, pad)] * 2, feature_group_count=groups
        )
        mean, var, scale, bias = (
            tensors[f"{norm}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias
        return jnp.clip(x, 0, 6) if act else x

    x = layer(x.transpose(0, 3, 1, 2), "features.0.0", "features.0.1", 2)
    for i, (stride, expand, _) in enumerate(BLOCKS, 1):
        block, h, at = f"features.{i}.conv", x, int(expand != 1)
        if expand != 1:
            h = layer(h, f"{block}.0.0", f"{block}.0.1")
        h = layer(h, f"{block}.{at}.0", f"{block}.{at}.1", stride)
        h = layer(h, f"{block}.{at + 1}", f"{block}.{at + 2}", act=False)
        x = x + h if stride == 1 and x.shape[1] == h.shape[1] else h
    return layer(x, "features.18.0", "features.18.1").transpose(0, 2, 3, 1)


def test_the_published_number_of_parameters():
    """3,504,872; folding leaves one of the two parameters of each of 17,056 normalised channels."""
    made = jax.eval_shape(MobileNetV2().init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    counts = {name: np.prod(leaf.shape) for name, leaf in flatten_dict(made["params"]).items()}
    assert sum(counts.values()) + 17056 == 3504872
    assert sum(n for name, n in counts.items() if name[0] != "classifier") + 17056 == 2223872


def test_the_folded_network_is_the_original(tensors):
    folded = unflatten_dict(tool.convert(tensors), sep="/")
    x = np.random.default_rng(0).normal(size=(2, 66, 49, 3)).astype(np.float32)
    wanted = jax.jit(reference)(tensors, x)
    found = jax.jit(MobileNetV2().apply)({"params": folded}, jnp.asarray(x))
    assert np.max(np.abs(found.map - wanted)) < 1e-5 * np.max(np.abs(wanted))
    features = np.mean(wanted, axis=(1, 2))
    logits = features @ tensors["classifier.1.weight"].T + tensors["classifier.1.bias"]
    assert np.max(np.abs(found.logits - logits)) < 1e-5 * np.max(np.abs(logits))


@pytest.mark.slow
def test_style_features_are_means_of_three_by_three(tensors, tmp_path):
    write_weights(tmp_path / "m.npz", unflatten_dict(tool.convert(tensors), sep="/"))
    extractor = dataclasses.replace(style.load_mobilenet_v2(tmp_path / "m.npz"), batch_size=1)
    image = np.random.default_rng(0).integers(0, 256, (96, 300), np.uint8)
    found = extractor([image])
    x = np.full((1, 96, 1400, 3), 255.0)
    x[0, :, :300] = image[..., None]
    x = (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    half = {name: value.astype(np.float32) for name, value in tensors.items()}
    maps = np.asarray(jax.jit(reference)(half, x.astype(np.float32)))
    assert maps.shape == (1, 3, 44, 1280)
    wanted = maps[:, :, :42].reshape(1, 3, 14, 3, 1280).mean(axis=(1, 3))
    assert found.shape == (1, *extractor.shape) == wanted.shape == (1, 14, 1280)
    assert np.max(np.abs(found - wanted)) < 0.02 * np.max(wanted)  # weights of 16 bits


def test_what_is_no_such_file_is_named(tmp_path, monkeypatch, capsys):
    with pytest.raises(InvalidValue, match="weights: got none, expected a file that `python -m"):
        style.load_mobilenet_v2(tmp_path / "none.npz")
    (tmp_path / "other.pth").write_bytes(b"something")
    with pytest.raises(StorageError, match="weights: .*other.pth is no state dict of mobilenet_v2"):
        tool.read(tmp_path / "other.pth")
    monkeypatch.setattr(sys, "argv", ["convert", str(tmp_path / "none.pth")])
    with pytest.raises(SystemExit):
        tool.main()
    assert "none.pth is no state dict" in capsys.readouterr().err
