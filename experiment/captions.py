"""A trained text encoder as one object: captions to the vectors that an image model attends to.

    from experiment.captions import CaptionEncoder

    encoder = CaptionEncoder.load("runs/minilm.npz")            # of tools.import_text_encoder
    cond = {"caption": encoder.value(["a red bicycle", ""], length=32)}

The encoder is frozen: its vectors are the value of `tasks.conditions.Caption`, computed once.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data.wordpiece import WordPiece
from metrics.resumable import fingerprint
from models.bert import Bert, mean_pooled
from options.choices import require
from options.errors import InvalidValue, StorageError, Words
from options.fields import fields
from options.precision import FLOAT32
from storage import weights

RECORD = "text_encoder"  # the entry of the file's record


@dataclasses.dataclass(frozen=True)
class CaptionEncoder:
    """Texts as vectors.

    Attributes:
      network: of `params`.
      params: a tree of arrays.
      words: texts as tokens of the network.
    """

    network: Bert
    params: Any
    words: WordPiece

    def __post_init__(self) -> None:
        self.network.check()
        pieces, rows = len(self.words.vocabulary), self.network.vocabulary
        expected = f"at most the {rows} tokens of the network"
        require(pieces <= rows, "vocabulary", Words(f"{pieces} pieces"), expected)
        most, places = self.words.most, self.network.places
        require(most <= places, "most", most, f"at most the {places} places of the network")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Of a file that `save` wrote; StorageError for one of something else."""
        record: Any = weights.read_meta(path).get(RECORD)
        try:
            network, words = Bert(**record["network"]), record["words"]
            made = WordPiece(**words | {"vocabulary": tuple(words["vocabulary"])})
        except (TypeError, KeyError) as error:
            but = f"it has no text encoder: {error}"
            raise StorageError("weights", str(path), but=but) from None
        ids = jax.ShapeDtypeStruct((1, 1), jnp.int32)
        template = jax.eval_shape(network.init, jax.random.key(0), ids, ids)["params"]
        return cls(network, weights.load_weights(path, template), made)

    def save(self, path: str | Path, dtype: str = "float32") -> None:
        """Writes network, parameters and vocabulary, whole or not at all; dtype: of matrices."""
        network = {f.name: getattr(self.network, f.name) for f in fields(self.network)}
        record = {"network": network, "words": dataclasses.asdict(self.words)}
        weights.export_weights(path, self.params, dtype, {RECORD: record})

    @functools.cached_property
    def fingerprint(self) -> str:
        """A checksum of the parameters and the vocabulary, by which a model knows its encoder."""
        return fingerprint([*jax.tree.leaves(self.params), np.array(self.words.vocabulary)])

    @functools.cached_property
    def _apply(self) -> Any:
        return jax.jit(self.network.apply)

    def value(self, texts: Sequence[str], length: int = 0) -> Mapping[str, Array]:
        """The value of the condition `Caption`: vectors (b, n, width) and mask (b, n), both 0 for
        an empty text, which is the null.

        length: n, for batches of one shape; 0 for the longest of the texts.

        Raises:
          InvalidValue: a text with more tokens than that, or than the network has places.
        """
        ids, mask = map(jnp.asarray, self.words.encode(texts, length))
        with FLOAT32.context():
            hidden = self._apply({"params": self.params}, ids, mask)
        return {"vectors": jnp.where(mask[..., None], hidden, 0), "mask": mask}

    def sentences(self, texts: Sequence[str]) -> Float[Array, "b width"]:
        """One vector a text, the mean of its tokens', of length 1: cosines are their products.

        InvalidValue for an empty text, which has no direction.
        """
        empty = [i for i, text in enumerate(texts) if not text.strip()]
        if empty:
            raise InvalidValue("text", texts[empty[0]], "a text that is not empty")
        found = self.value(texts)
        pooled = mean_pooled(found["vectors"], found["mask"])
        return pooled / jnp.linalg.norm(pooled, axis=-1, keepdims=True)
