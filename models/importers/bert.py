"""The configuration and parameters of transformers' BertModel as those of our `Bert`."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from models.bert import Bert
from models.importers.account import Account
from models.importers.call_order import Path, Shapes
from options.errors import InvalidValue

# Our fields, and theirs.
FIELDS = {
    "vocabulary": "vocab_size",
    "width": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "places": "max_position_embeddings",
    "types": "type_vocab_size",
    "epsilon": "layer_norm_eps",
    "activation": "hidden_act",
}
# What a configuration may say, where it says it.
ONLY = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
MOST_LAYERS = 256

EMBEDDINGS = {
    "words": "embeddings.word_embeddings",
    "places": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}
LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "norm_0": "attention.output.LayerNorm",
    "expand": "intermediate.dense",
    "contract": "output.dense",
    "norm_1": "output.LayerNorm",
}
LEAVES = {"embedding": "weight", "kernel": "weight", "scale": "weight", "bias": "bias"}
TABLES = {"embedding"}  # with a row for each token, in both
PREFIX = "bert."  # where the encoder is one part of a model
OLDER = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
BUFFERS = ("embeddings.position_ids",)
HEADS = ("pooler.", "cls.")  # layers behind the encoder


def network_of(config: Mapping[str, Any]) -> Bert:
    """The network of a config.json; InvalidValue for one that ours is not."""
    for name, value in ONLY.items():
        got = config.get(name, value)
        if got != value:
            raise InvalidValue(name, got, but=f"ours has {value!r}")
    lacking = [theirs for theirs in FIELDS.values() if theirs not in config]
    if lacking:
        raise InvalidValue("config.json", but=f"it lacks {', '.join(lacking)}")
    defaults = {name: getattr(Bert, name) for name in FIELDS}
    given = {name: config[theirs] for name, theirs in FIELDS.items()}
    for name, value in given.items():
        kind = type(defaults[name])
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise InvalidValue(FIELDS[name], value, f"a value such as {defaults[name]!r}")
    network = Bert(**given)
    network.check()
    if network.num_layers > MOST_LAYERS:
        raise InvalidValue("num_hidden_layers", network.num_layers, f"at most {MOST_LAYERS}")
    return network


def shapes_of(network: Bert) -> Shapes:
    """The parameters of a network by path; nothing is computed."""
    ids = jnp.zeros((1, 1), jnp.int32)
    abstract = jax.eval_shape(lambda: network.init(jax.random.key(0), ids, ids))
    return {path: leaf.shape for path, leaf in flatten_dict(abstract["params"]).items()}


def name_of(path: Path) -> str:
    """What a parameter of ours is called there."""
    *outer, part, leaf = path
    if not outer:
        return f"{EMBEDDINGS[part]}.{LEAVES[leaf]}"
    number = outer[0].removeprefix("layer_")
    return f"encoder.layer.{number}.{LAYER[part]}.{LEAVES[leaf]}"


def params_from_transformers(
    state_dict: Mapping[str, np.ndarray], network: Bert
) -> tuple[dict[str, Any], list[str]]:
    """The parameter tree of the network, float32 numpy, and the names of what was left out: the
    layers behind the encoder, which ours has not.

    Raises:
      InvalidValue: names every parameter that is unknown, missing or of another shape.
    """
    theirs = {_modern(name): array for name, array in state_dict.items()}
    account, left_out = Account(shapes_of(network), theirs, BUFFERS), []
    for path in account.shapes:
        account.fill(path, name_of(path), np.asarray if path[-1] in TABLES else None)
    for name in theirs:
        if name.startswith(HEADS):
            account.use(name)
            left_out.append(name)
    return account.params("BERT"), left_out


def _modern(name: str) -> str:
    """The present name of a parameter, of the encoder alone."""
    name = name.removeprefix(PREFIX)
    for older, newer in OLDER.items():
        name = name.replace(older, newer)
    return name
