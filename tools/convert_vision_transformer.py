"""Converts the weights of DINOv2 or of CLIP's image encoder for metrics/vision_transformer.py.

    python -m tools.convert_vision_transformer dinov2_vitl14_pretrain.pth
    python -m tools.convert_vision_transformer clip-vit-large-patch14/model.safetensors

Files of DINOv2 as its authors publish them (.pth, with or without registers) and as the library
transformers has them (.safetensors), and of OpenAI's CLIP as that library and open_clip have them;
what a file has beside an image encoder is left out. PyTorch is not needed. The result, float32, is
`dinov2.npz` or `clip.npz` where evaluations look for it, unless another place is given.
"""

import argparse
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from metrics.extractors import made_weights
from metrics.vision_transformer import STYLES, VisionTransformer, of_shapes
from metrics.weights import write_weights
from options.program import one_line_errors
from tools.conversion import Converted, Params, Tensors, converted

DINO, HF_DINO = r"blocks\.(\d+)\.", r"(?:dinov2\.)?encoder\.layer\.(\d+)\."
HF_CLIP = r"vision_model\.encoder\.layers\.(\d+)\."
OPEN_CLIP = r"visual\.transformer\.resblocks\.(\d+)\."
# Arrays of rows of channels, as they are.
ROWS = {
    r"(?:(?:dinov2\.)?embeddings\.)?cls_token"
    r"|(?:vision_model\.embeddings|visual)\.class_embedding": "token",
    r"pos_embed|(?:dinov2\.)?embeddings\.position_embeddings|visual\.positional_embedding"
    r"|vision_model\.embeddings\.position_embedding\.weight": "positions",
    r"(?:(?:dinov2\.)?embeddings\.)?register_tokens": "registers",
}
# Layers with a weight and perhaps a bias; of several between commas, theirs is one after another.
LAYERS = {
    r"patch_embed\.proj|(?:dinov2\.)?embeddings\.patch_embeddings\.projection|visual\.conv1"
    r"|vision_model\.embeddings\.patch_embedding": "patches",
    r"vision_model\.pre_layrnorm|visual\.ln_pre": "norm_first",
    r"norm|(?:dinov2\.)?layernorm|vision_model\.post_layernorm|visual\.ln_post": "norm",
    r"visual_projection": "project",
    rf"{DINO}norm1|{HF_DINO}norm1|{HF_CLIP}layer_norm1|{OPEN_CLIP}ln_1": "block/norm_0",
    rf"{DINO}norm2|{HF_DINO}norm2|{HF_CLIP}layer_norm2|{OPEN_CLIP}ln_2": "block/norm_1",
    rf"{DINO}attn\.qkv|{OPEN_CLIP}attn\.in_proj": "block/query,key,value",
    rf"{HF_DINO}attention\.attention\.query|{HF_CLIP}self_attn\.q_proj": "block/query",
    rf"{HF_DINO}attention\.attention\.key|{HF_CLIP}self_attn\.k_proj": "block/key",
    rf"{HF_DINO}attention\.attention\.value|{HF_CLIP}self_attn\.v_proj": "block/value",
    rf"{DINO}attn\.proj|{HF_DINO}attention\.output\.dense|{HF_CLIP}self_attn\.out_proj"
    rf"|{OPEN_CLIP}attn\.out_proj": "block/out",
    rf"{DINO}mlp\.(?:fc1|w12)|{HF_DINO}mlp\.(?:fc1|weights_in)|{HF_CLIP}mlp\.fc1"
    rf"|{OPEN_CLIP}mlp\.c_fc": "block/mlp_0",
    rf"{DINO}mlp\.(?:fc2|w3)|{HF_DINO}mlp\.(?:fc2|weights_out)|{HF_CLIP}mlp\.fc2"
    rf"|{OPEN_CLIP}mlp\.c_proj": "block/mlp_1",
}
# Vectors of their own.
SCALES = {
    rf"{DINO}ls1\.gamma|{HF_DINO}layer_scale1\.lambda1": "block/scale_0",
    rf"{DINO}ls2\.gamma|{HF_DINO}layer_scale2\.lambda1": "block/scale_1",
}
LEAVES = {"bias": "bias"}  # the other is "weight", of a norm or of a layer
TRANSPOSED = "visual.proj"  # of open_clip: (in, out), as ours


def convert(tensors: Tensors) -> Params:
    """Parameters of `metrics.vision_transformer` by their path; ValueError for those of none."""
    params: Params = {}
    for name, value in tensors.items():
        value = np.asarray(value, np.float32)
        layer, _, leaf = name.replace("in_proj_", "in_proj.").rpartition(".")
        if rows := _ours(ROWS, name):
            params[rows] = value.reshape(-1, value.shape[-1])
        elif scale := _ours(SCALES, name):
            params[scale] = value
        elif name == TRANSPOSED:
            params["project/kernel"] = value
        elif layers := _ours(LAYERS, layer):
            block, _, parts = layers.rpartition("/")
            for part, own in zip(parts.split(","), _split(value, parts), strict=True):
                path = f"{block}/{part}" if block else part
                params[f"{path}/{_leaf(leaf, own)}"] = _turned(own)
    params.setdefault("registers", np.zeros((0, params["token"].shape[-1]), np.float32))
    _check(params)
    return params


def _ours(table: dict[str, str], name: str) -> str:
    """Our name for theirs, "" for none."""
    for pattern, ours in table.items():
        if found := re.fullmatch(pattern, name):
            number = next((group for group in found.groups() if group), "")
            return ours.replace("block", f"block_{number}") if number else ours
    return ""


def _split(value: np.ndarray, parts: str) -> list[np.ndarray]:
    return np.split(value, parts.count(",") + 1)


def _leaf(theirs: str, value: np.ndarray) -> str:
    return LEAVES.get(theirs, "scale" if value.ndim == 1 else "kernel")


def _turned(value: np.ndarray) -> np.ndarray:
    """OIHW to HWIO, and (out, in) to (in, out)."""
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T


def _check(params: Params) -> None:
    shape = of_shapes({name: value.shape for name, value in params.items()})
    network = VisionTransformer(shape, STYLES[style_of(params)])
    side = shape.grid * shape.patch
    made = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, side, side, 3)))
    wanted = {name: leaf.shape for name, leaf in flatten_dict(made["params"], sep="/").items()}
    got = {name: value.shape for name, value in params.items()}
    if got != wanted:
        raise ValueError(f"other parameters, first {sorted(got.items() ^ wanted.items())[0]}")


def style_of(params: Params) -> str:
    """Which of STYLES parameters are of: CLIP alone norms the tokens before the first block."""
    return "clip" if "norm_first/scale" in params else "dinov2"


def read(path: Path) -> Converted:
    """The converted parameters; StorageError where the file is of no such network."""
    return converted(path, "DINOv2 or CLIP", convert)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, help="the .pth, .bin or .safetensors file")
    parser.add_argument("out", type=Path, nargs="?", help="the .npz to write")
    arguments = parser.parse_args()
    with one_line_errors():
        found = read(arguments.weights)
        out = arguments.out or made_weights(style_of(found.params))
        write_weights(out, found.params, np.float32, found.source)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB of {style_of(found.params)}")
    print(f"SHA-256 of the file {found.source.hex()}")


if __name__ == "__main__":
    main()
