"""The converted network equals pytorch-fid's and torch-fidelity's, on weights by rule.

A value of the state dict is of a generator seeded by its name, see `info_json` of the golden file.
"""

import json
import sys
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from metrics import extractors, inception
from metrics.inception import Inception, as_original, as_pytorch_fid
from metrics.resizing import CORNER, HALF_PIXEL, bilinear
from metrics.weights import read_weights, source_of, write_weights
from options.errors import InvalidValue, StorageError
from tools import conversion
from tools import convert_inception as tool

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def file(golden):
    return golden("inception_fid")


def by_rule(name: str, shape: tuple[int, ...]) -> np.ndarray:
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith(("conv.weight", "fc.weight")):
        z *= np.sqrt(2 / np.prod(shape[1:]))
    elif name.endswith("bn.weight"):
        z = 1 + 0.1 * z
    else:
        z = 1 + 0.1 * np.abs(z) if name.endswith("running_var") else 0.1 * z
    return z.astype(np.float32)


@pytest.fixture(scope="module")
def tensors(file) -> dict[str, np.ndarray]:
    stated = json.loads(str(file["info_json"]))["state_dict"]
    found = {
        name: by_rule(name, tuple(about["shape"]))
        for name, about in stated.items()
        if not name.endswith("num_batches_tracked")
    }
    for name, value in found.items():
        assert abs(value.flat[0] - stated[name]["first"]) < 1e-6, name
    return found


def nhwc(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1)


@pytest.mark.parametrize("images", "abc")
def test_both_resizings_equal_the_originals(file, images):
    x = nhwc(file[f"{images}/image"]).astype(np.float32)
    to_unit = bilinear(x / 255, 299, HALF_PIXEL)[:, ::13, ::13]
    assert np.max(np.abs(to_unit - nhwc(file[f"{images}/resized_stride13"]))) < 1e-6
    as_tf1 = bilinear(x, 299, CORNER)[:, ::13, ::13]
    wanted = nhwc(file[f"{images}/torch_fidelity/resized_0_255_stride13"])
    assert np.max(np.abs(as_tf1 - wanted)) < 1e-4


def test_every_tensor_is_converted_and_has_its_place(tensors):
    converted = tool.convert(tensors)
    made = jax.eval_shape(Inception().init, jax.random.key(0), jnp.zeros((1, 299, 299, 3)))
    wanted = {k: v.shape for k, v in flatten_dict(made["params"], sep="/").items()}
    assert {name: value.shape for name, value in converted.items()} == wanted
    assert len(tensors) == 5 * 94 + 2 and len(wanted) == 2 * 94 + 2


@pytest.mark.slow
def test_stages_features_and_logits_equal_both_packages(file, tensors):
    params = unflatten_dict(tool.convert(tensors), sep="/")
    images = [nhwc(file[f"{which}/image"]).astype(np.float32) for which in "abc"]
    x = np.concatenate([prepare(x) for prepare in (as_pytorch_fid, as_original) for x in images])
    apply = jax.jit(lambda p, x: Inception().apply({"params": p}, x, mutable="stages"))
    found, sown = apply(params, x)

    def wanted(name):
        return np.concatenate([file[f"{which}/{name}"] for which in "abc"])

    half = len(x) // 2
    for name in json.loads(str(file["info_json"]))["stages"]:
        difference = np.abs(sown["stages"][f"{name}_mean"][0][:half] - wanted(f"mean/{name}"))
        assert np.max(difference) < TOLERANCE, name
    assert np.max(np.abs(found.features[:half] - wanted("pool3"))) < TOLERANCE
    assert np.max(np.abs(found.logits[:half] - wanted("logits"))) < TOLERANCE
    assert np.max(np.abs(found.features[half:] - wanted("torch_fidelity/2048"))) < TOLERANCE
    assert np.max(np.abs(found.logits[half:] - wanted("torch_fidelity/logits"))) < TOLERANCE


@pytest.fixture(scope="module")
def weights(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "inception.npz"
    write_weights(path, unflatten_dict(tool.convert(tensors), sep="/"), np.float32, bytes(32))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, features, folder",
    [("inception", "pool3", ""), ("inception_tf1", "torch_fidelity/2048", "torch_fidelity/")],
)
def test_the_extractors_do_their_own_resizing_and_leave_the_bias_out(
    file, weights, name, features, folder
):
    extractor = extractors.load(name, weights)
    found = extractor.apply(nhwc(file["c/image"]))
    assert np.max(np.abs(found.features - file[f"c/{features}"])) < TOLERANCE
    assert np.max(np.abs(found.logits - file[f"c/{folder}logits_unbiased"])) < TOLERANCE
    assert extractor.dim == found.features.shape[1] == 2048


def test_a_grey_image_is_three_equal_channels_and_others_are_refused(monkeypatch):
    monkeypatch.setattr(inception, "read_weights", lambda *_: ({"fc": {"bias": 0.0}}, "1"))
    monkeypatch.setattr(inception, "source_of", lambda _: "")
    extractor = inception.extractor("inception", Path("none.npz"))
    with pytest.raises(InvalidValue, match="images: got 2 channels"):
        extractor.check((8, 8, 2))
    assert extractor.identity == "inception@1" and "SHA-256 unknown" in extractor.source
    assert extractor.about.startswith("299 px bilinear, half-pixel centres, not antialiased")


def test_the_command_writes_float32_and_says_whose_file_it_is(tmp_path, monkeypatch, capsys):
    params = {"fc": {"kernel": np.full((2, 2), np.float32(1 / 3))}}
    source = bytes.fromhex(inception.PUBLISHED)
    out = tmp_path / "made.npz"
    for read, said in ((source, "as published"), (bytes(32), "not the published file's")):
        made = conversion.Converted(params, read)
        monkeypatch.setattr(conversion, "converted", lambda *_, made=made: made)
        monkeypatch.setattr(tool, "converted", conversion.converted)
        monkeypatch.setattr(sys, "argv", ["convert", "weights.pth", str(out)])
        tool.main()
        assert said in capsys.readouterr().out and source_of(out) == read.hex()
    with np.load(out) as file:
        assert file["fc/kernel"].dtype == np.float32
    assert inception.published(inception.PUBLISHED) == "weights of pt_inception-2015-12-05"


def test_what_is_no_such_file_is_named_and_what_is_missing_is_said(tmp_path):
    (tmp_path / "other.pth").write_bytes(b"something")
    with pytest.raises(StorageError, match="weights: .*other.pth is no state dict of inception"):
        tool.read(tmp_path / "other.pth")
    with pytest.raises(InvalidValue) as caught:
        extractors.load("inception_tf1")
    for command in extractors.COMMANDS["inception"]:
        assert command in str(caught.value)
    assert "6726825d.pth" in str(caught.value) and "tools.convert_inception" in str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path):
    write_weights(tmp_path / "w.npz", {"fc": {"kernel": np.ones((2, 2))}})
    with pytest.raises(InvalidValue, match="expected those of Inception"):
        read_weights(tmp_path / "w.npz", Inception(), (299, 299, 3))
