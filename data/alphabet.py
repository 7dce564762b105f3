"""Characters as the tokens of a text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int, Int32

from options.choices import require
from options.errors import InvalidValue, Words

NONE = 0  # the token of no character: padding


@dataclass(frozen=True)
class Alphabet:
    """Token k + 1 is the character number k; 0 is none, which pads a text.

    Attributes:
      characters: distinct.
      replacement: what a character outside of the alphabet becomes; empty, such a character is an
        error.
    """

    characters: str
    replacement: str = ""

    def __post_init__(self) -> None:
        distinct = len(set(self.characters)) == len(self.characters) > 0
        require(distinct, "characters", self.characters, "distinct characters, at least one")
        inside = len(self.replacement) <= 1 and self.replacement in self.characters
        require(inside, "replacement", self.replacement, f"empty, or one of {self.characters!r}")

    @classmethod
    def of(cls, texts: Iterable[str], replacement: str = "") -> "Alphabet":
        """The characters that occur in the texts, in the order of their code points."""
        return cls("".join(sorted(set().union(*texts))), replacement)

    def __len__(self) -> int:
        """How many tokens there are, that of no character included."""
        return len(self.characters) + 1

    def encode(self, text: str, length: int = 0) -> Int32[np.ndarray, " n"]:
        """Tokens, padded to `length` if it is given.

        InvalidValue that names the characters outside of the alphabet, or for too long a text.
        """
        unknown = set(text) - self._token.keys()
        if unknown and not self.replacement:
            names = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in sorted(unknown))
            raise InvalidValue("text", Words(names), f"characters of {self.characters!r}")
        require(len(text) <= (length or len(text)), "text", text, f"at most {length} characters")
        found = np.full(length or len(text), NONE, np.int32)
        other = self._token.get(self.replacement, NONE)
        found[: len(text)] = [self._token.get(character, other) for character in text]
        return found

    @cached_property
    def _token(self) -> dict[str, int]:
        return {character: k + 1 for k, character in enumerate(self.characters)}

    def decode(self, tokens: Sequence[int] | Int[np.ndarray, " n"]) -> str:
        """The text of tokens, without its padding."""
        return "".join(self.characters[int(k) - 1] for k in tokens if k != NONE)
