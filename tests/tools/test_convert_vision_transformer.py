"""DINOv2 and CLIP equal the library transformers, on tiny networks with weights by rule.

tests/metrics/vision_transformer.npz was made with torch 2.14.1 and transformers 5.24.0:

    common = dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=28,
                  patch_size=7)
    dinov2 = Dinov2Model(Dinov2Config(**common, mlp_ratio=2))
    dinov2_gated = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(
        **common, mlp_ratio=2, use_swiglu_ffn=True, num_register_tokens=3))
    clip = CLIPVisionModelWithProjection(CLIPVisionConfig(
        **common, intermediate_size=256, projection_dim=48, hidden_act="quick_gelu"))

each saved by `save_pretrained`, its tensors replaced by `by_rule` of their names in the file
("<kind>/names", with shapes), and loaded again. "<kind>/<size>" is `last_hidden_state[:, 0]`, of
CLIP `image_embeds`, of default_rng(size).standard_normal((2, 3, size, size)), float32. "offset" is
torch's bicubic `interpolate` of default_rng(37).standard_normal((1, 2, 37, 37)) by the factors
(16 + 0.1) / 37, by which the original DINOv2 brings its positions to images of 224 px.
"""

import re
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from PIL import Image
from quick import quick_jit
from safetensors.numpy import save

from metrics import extractors
from metrics.resizing import bicubic
from metrics.vision_transformer import STYLES, VisionTransformer, of_shapes, prepared
from metrics.weights import source_of
from options.errors import InvalidValue, StorageError
from tools import convert_vision_transformer as tool

TOLERANCE = 1e-5
ORIGINAL = [  # names of transformers' files, and of the authors'
    (r"embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.", ""),
    (r"encoder\.layer\.", "blocks."),
    (r"attention\.output\.dense", "attn.proj"),
    (r"layer_scale(.)\.lambda1", r"ls\1.gamma"),
    (r"weights_in", "w12"),
    (r"weights_out", "w3"),
    (r"^layernorm", "norm"),
]
OPEN_CLIP = [
    (r"vision_model\.embeddings\.class_embedding", "visual.class_embedding"),
    (r"vision_model\.embeddings\.patch_embedding", "visual.conv1"),
    (r"vision_model\.embeddings\.position_embedding\.weight", "visual.positional_embedding"),
    (r"vision_model\.encoder\.layers", "visual.transformer.resblocks"),
    (r"self_attn\.out_proj", "attn.out_proj"),
    (r"layer_norm", "ln_"),
    (r"fc1", "c_fc"),
    (r"fc2", "c_proj"),
    (r"vision_model\.pre_layrnorm", "visual.ln_pre"),
    (r"vision_model\.post_layernorm", "visual.ln_post"),
]


def by_rule(name, shape):
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) == 1 and "norm" in name or "lambda" in name:
        z = ("bias" not in name) + 0.1 * z
    elif len(shape) > 1:
        z = z / np.sqrt(np.prod(shape[1:]))
    else:
        z = 0.1 * z
    return z.astype(np.float32)


@pytest.fixture(scope="module")
def file():
    with np.load(Path(__file__).parent.parent / "metrics" / "vision_transformer.npz") as found:
        return dict(found)


def tensors_of(file, kind):
    stated = (line.split() for line in file[f"{kind}/names"])
    return {name: by_rule(name, tuple(map(int, shape))) for name, *shape in stated}


def renamed(tensors, table, fused):
    """As in the other kind of file: query, key and value are one there."""
    found = {}
    for name, value in tensors.items():
        for theirs, ours in table:
            name = re.sub(theirs, ours, name)
        found[name] = value
    parts, together = fused
    for name in [name for name in found if parts[0] in name]:
        values = [found.pop(name.replace(parts[0], part)) for part in parts]
        found[name.replace(parts[0], together)] = np.concatenate(values)
    return found


@pytest.mark.one_in(2)
@pytest.mark.parametrize("kind, size", [("dinov2", 42), ("dinov2_gated", 42), ("clip", 28)])
def test_the_network_is_that_of_transformers(file, kind, size):
    params = tool.convert(tensors_of(file, kind))
    shape = of_shapes({name: value.shape for name, value in params.items()})
    assert tool.style_of(params) == kind.partition("_")[0]
    # transformers interpolates positions without the original's offset.
    style = STYLES[tool.style_of(params)]._replace(offset=0.0)
    x = np.random.default_rng(size).standard_normal((2, 3, size, size)).astype(np.float32)
    network = VisionTransformer(shape, style)
    params = {"params": unflatten_dict(params, sep="/")}
    found = quick_jit(network.apply)(params, x.transpose(0, 2, 3, 1))
    assert np.max(np.abs(found - file[f"{kind}/{size}"])) < TOLERANCE


def test_positions_are_brought_to_other_sizes_as_the_original_does(file):
    grid = np.random.default_rng(37).standard_normal((1, 2, 37, 37)).astype(np.float32)
    scale = (16 + STYLES["dinov2"].offset) / 37
    found = bicubic(grid.transpose(0, 2, 3, 1), (16, 16), (scale, scale))
    assert np.max(np.abs(np.moveaxis(found, -1, 1) - file["offset"])) < TOLERANCE


@pytest.mark.parametrize("kind", ["dinov2", "dinov2_gated", "clip"])
def test_both_kinds_of_file_are_of_one_network(file, kind):
    tensors = tensors_of(file, kind)
    if kind == "clip":
        qkv = ["self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."]
        other = renamed(tensors, OPEN_CLIP, (qkv, "attn.in_proj_"))
        other["visual.proj"] = other.pop("visual_projection.weight").T
        other |= {"text_projection": np.zeros((3, 3)), "positional_embedding": np.zeros((7, 3))}
    else:
        qkv = [f"attention.attention.{part}" for part in ("query", "key", "value")]
        other = renamed(tensors, ORIGINAL, (qkv, "attn.qkv"))
        assert "blocks.1.attn.qkv.bias" in other and "mask_token" in other
    wanted, found = tool.convert(tensors), tool.convert(other)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_images_are_resized_as_pillow_resizes_floats():
    random = np.random.default_rng(0)
    for shape in ((300, 260), (64, 90)):
        image = random.integers(0, 256, (*shape, 1), np.uint8)
        pillow = Image.fromarray(image[..., 0].astype(np.float32)).resize((224, 224), Image.BICUBIC)
        wanted = np.clip(np.asarray(pillow), 0, 255) / 255
        mean, std = STYLES["clip"].norm
        found = np.asarray(prepared(image[None], STYLES["clip"]))[0]
        wanted = (wanted[..., None] - np.array(mean)) / np.array(std)
        assert np.max(np.abs(found - wanted)) < 1e-3


def test_a_file_becomes_an_extractor_with_its_protocol(file, tmp_path, monkeypatch, capsys):
    (tmp_path / "model.safetensors").write_bytes(save(tensors_of(file, "clip")))
    out = tmp_path / "clip.npz"
    monkeypatch.setattr(sys, "argv", ["convert", str(tmp_path / "model.safetensors"), str(out)])
    tool.main()
    assert "MB of clip" in (said := capsys.readouterr().out) and source_of(out) in said
    monkeypatch.setitem(STYLES, "clip", STYLES["clip"]._replace(size=28))
    extractor = extractors.load("clip", out)
    images = np.random.default_rng(1).integers(0, 256, (2, 33, 30, 1), np.uint8)
    found = extractor.apply(images)
    assert found.features.shape == (2, extractor.dim) == (2, 48) and found.logits is None
    colour = extractor(np.repeat(images, 3, axis=-1))
    np.testing.assert_allclose(found.features, colour, atol=1e-4)
    assert "28 px bicubic, antialiased" in extractor.about and source_of(out) in extractor.about
    with pytest.raises(InvalidValue, match="images: got 2 channels"):
        extractor.check((9, 9, 2))


def test_what_is_of_neither_network_is_named(file, tmp_path):
    tensors = tensors_of(file, "dinov2")
    cut = {name: value for name, value in tensors.items() if "layer.1.mlp.fc2.bias" not in name}
    for name, content in (
        ("a.safetensors", save(cut)),
        ("b.safetensors", save({"x": np.zeros(2, np.float32)})),
        ("c.safetensors", save(tensors)[:-4]),
        ("d.safetensors", b"\xff" * 40),
        ("e.pth", b"something"),
    ):
        (tmp_path / name).write_bytes(content)
        said = f"weights: .*{name} (is no state dict of DINOv2 or CLIP|cannot be read)"
        with pytest.raises(StorageError, match=said):
            tool.read(tmp_path / name)
    with pytest.raises(InvalidValue, match="weights: got none.*convert_vision_transformer dinov2"):
        extractors.load("dinov2")
    np.savez(tmp_path / "w.npz", kernel=np.zeros(3))
    with pytest.raises(InvalidValue, match="w.npz', expected an .npz file of weights of clip"):
        extractors.load("clip", tmp_path / "w.npz")
