"""WordPiece: a text as the tokens of BERT, by the library `tokenizers` (extra `text`)."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32

from options.choices import require
from options.errors import InvalidValue, Words
from options.project import extra

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
SHOWN = 40  # characters of a text in a message


@dataclasses.dataclass(frozen=True)
class WordPiece:
    """Texts as tokens, the first [CLS] and the last [SEP]; an empty text has none at all.

    Attributes:
      vocabulary: the pieces, in the order of their numbers; those of SPECIAL among them.
      lower: whether capitals and accents are taken off.
      most: tokens of a text.
    """

    vocabulary: tuple[str, ...]
    lower: bool = True
    most: int = 512

    def __post_init__(self) -> None:
        missing = [piece for piece in SPECIAL if piece not in self._number]
        require(not missing, "vocabulary", Words(f"no {', '.join(missing)}"), "a BERT's, with them")
        distinct = len(self._number) == len(self.vocabulary)
        require(distinct, "vocabulary", Words("a piece twice"), "distinct pieces")
        require(self.most >= 3, "most", self.most, "3 or more, [CLS] and [SEP] included")

    @functools.cached_property
    def _number(self) -> dict[str, int]:
        return {piece: number for number, piece in enumerate(self.vocabulary)}

    @functools.cached_property
    def _tokenizer(self) -> Any:
        with extra("text"):
            import tokenizers
        return tokenizers.BertWordPieceTokenizer(self._number, lowercase=self.lower)

    def encode(
        self, texts: Sequence[str], length: int = 0
    ) -> tuple[Int32[np.ndarray, "b n"], Bool[np.ndarray, "b n"]]:
        """Numbers of the tokens, and a mask that is True where there is one.

        A text of nothing but white space has no token, which is the null of a caption. length: to
        which all are padded; 0 for the longest of them, at least 1.

        Raises:
          NotInstalled: without `tokenizers`.
          InvalidValue: a text of more than `most` tokens, or `length` if that is less.
        """
        rows = [self._tokenizer.encode(text).ids if text.strip() else [] for text in texts]
        most = min(length or self.most, self.most)
        for text, row in zip(texts, rows, strict=True):
            if len(row) > most:
                shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
                raise InvalidValue("text", shown, but=f"{len(row)} tokens, of at most {most}")
        width = length or max([1, *map(len, rows)])
        ids = np.full((len(rows), width), self._number["[PAD]"], np.int32)
        mask = np.zeros((len(rows), width), bool)
        for i, row in enumerate(rows):
            ids[i, : len(row)], mask[i, : len(row)] = row, True
        return ids, mask
