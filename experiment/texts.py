"""Captions of images, as what a network is conditioned on: texts to the values of a condition.

    caption     vectors of a frozen text encoder, from the file `captions.encoder`
    text        characters, whose encoder is trained along with the network

Each is a class here, by the name of its condition. A run remembers what the values depend on: the
fingerprint of the text encoder, or the alphabet and the length of its texts.
"""

import dataclasses
import functools
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data import CONDITIONING_DIM
from data.alphabet import Alphabet
from data.caption_vectors import CaptionVectors
from data.source import Source
from experiment.captions import CaptionEncoder
from experiment.experiment import Experiment
from experiment.settings import CaptionOptions
from options.choices import require
from options.errors import InvalidValue, Words, within
from options.progress import busy
from options.project import find as find_file
from storage import npz
from storage.files import atomic_write, cache_folder
from tasks.conditions import Augmentation, Caption, Condition, Text, find

AT_ONCE = 128  # captions that are encoded at once
MAKE_ONE = "the file of a text encoder, which tools.import_text_encoder makes"


class Captioned(ABC):
    """How captions reach a condition.

    Attributes:
      condition: the condition, with what it takes from the data or the encoder.
    """

    condition: Any

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether there is all that values need; without, samples have the null."""

    @abstractmethod
    def said(self) -> dict[str, Any]:
        """Fields of the configuration, by dotted name, that a run remembers."""

    @abstractmethod
    def value(self, texts: Sequence[str]) -> Any:
        """The condition's value of these texts; InvalidValue for one that it cannot take."""

    @abstractmethod
    def source(self, found: Source) -> Source:
        """The examples with what the condition draws from; InvalidValue without captions."""


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenText(Captioned):
    """Vectors of a frozen text encoder.

    Attributes:
      read: the training set, which this does not need.
    """

    condition: Caption
    options: CaptionOptions
    characters: int
    read: Callable[[], Source]

    def is_ready(self) -> bool:
        return bool(self.options.encoder)

    @functools.cached_property
    def encoder(self) -> CaptionEncoder:
        """The encoder of the file. Reads the disk.

        InvalidValue for none, one of other vectors, or another than the model was trained with.
        """
        path, known = self.options.encoder, self.condition.fingerprint
        of = f", of fingerprint {known}" if known else ""
        require(path, "captions.encoder", path, MAKE_ONE + of)
        file = find_file(path)
        require(file.exists(), "captions.encoder", path, MAKE_ONE + of)
        with busy("reading the text encoder"), within("captions", weights="encoder"):
            found = CaptionEncoder.load(file)
        width, features = found.network.width, self.condition.features
        got = Words(f"{features}, but the vectors of {path} have {width}")
        require(width == features, "conditions.caption.features", got, str(width))
        if known and found.fingerprint != known:
            expected = f"the text encoder of fingerprint {known}, with which the model was trained"
            but = f"its fingerprint is {found.fingerprint}"
            raise InvalidValue("captions.encoder", path, expected, but)
        return found

    def said(self) -> dict[str, Any]:
        return {"conditions.caption.fingerprint": self.encoder.fingerprint}

    def value(self, texts: Sequence[str]) -> Mapping[str, np.ndarray]:
        each, which = np.unique(np.array(texts), return_inverse=True)
        vectors, mask = self._encoded(each.tolist())
        return {"vectors": vectors[which], "mask": mask[which]}

    def _encoded(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Vectors, float16, as a training has them, and their mask."""
        size, parts = min(AT_ONCE, len(texts)), []
        with busy("encoding captions"):
            for start in range(0, len(texts), size):
                part = texts[start : start + size]
                filled = part + [""] * (size - len(part))
                found = self.encoder.value(filled, self.options.tokens)
                vectors = np.asarray(found["vectors"], np.float16)[: len(part)]
                parts.append((vectors, np.asarray(found["mask"])[: len(part)]))
        vectors, mask = (np.concatenate(of) for of in zip(*parts, strict=True))
        return vectors, mask

    def source(self, found: Source) -> Source:
        if not self.is_ready():
            return found
        require_captions(found)
        return CaptionVectors(found, self._kept)

    def _kept(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """`_encoded`, kept in the user's cache."""
        made_of = repr((texts, self.options.tokens, self.encoder.fingerprint))
        name = f"captions-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.npz"
        kept = cache_folder() / name
        try:
            found = npz.read(kept, ["vectors", "mask"])
            return found["vectors"], found["mask"]
        except npz.UNREADABLE:
            vectors, mask = self._encoded(texts)
            with atomic_write(kept) as file:
                np.savez(file, vectors=vectors, mask=mask)
            return vectors, mask


@dataclasses.dataclass(frozen=True, eq=False)
class CharacterText(Captioned):
    """Tokens of an alphabet, that of the data where the configuration names none.

    Attributes:
      given: the condition as the configuration has it.
      characters: the most of a text; 0 for any number.
    """

    given: Text
    options: CaptionOptions
    characters: int
    read: Callable[[], Source]

    def is_ready(self) -> bool:
        return True

    @functools.cached_property
    def condition(self) -> Text:
        if self.given.characters:
            return self.given
        return dataclasses.replace(self.given, characters=alphabet_of(self.read()).characters)

    def said(self) -> dict[str, Any]:
        return {
            "conditions.text.characters": self.condition.characters,
            "data.source.characters": self.read().take(np.zeros(1, int))["text"].shape[1],
        }

    def value(self, texts: Sequence[str]) -> np.ndarray:
        alphabet = Alphabet(self.condition.characters)
        longest = self.characters or max(1, *map(len, texts))
        return np.stack([alphabet.encode(" ".join(text.split()), longest) for text in texts])

    def source(self, found: Source) -> Source:
        require_captions(found)
        own = alphabet_of(found).characters
        if self.given.characters not in ("", own):
            but = f"{found.name} has {own!r}"
            raise InvalidValue("conditions.text.characters", self.given.characters, but=but)
        return found


# By the names of conditions.
CAPTIONED: dict[str, Callable[..., Captioned]] = {
    Caption.name: FrozenText,
    Text.name: CharacterText,
}


def _captioned(conditions: Sequence[Condition], *fields: Any) -> Captioned | None:
    """How captions reach the one of the conditions that takes them; None where none does.

    fields: of the class, behind the condition.
    """
    found = [name for name in CAPTIONED if find(conditions, name) is not None]
    require(len(found) < 2, "conditions", found, "one way to take a caption")
    return CAPTIONED[found[0]](find(conditions, found[0]), *fields) if found else None


def require_captions(found: Source) -> None:
    """InvalidValue for data without captions."""
    but = "it has no captions"
    if not len(found.texts):
        raise InvalidValue("data.source", Words(found.name), "'captions'", but)


def alphabet_of(source: Source) -> Alphabet:
    """The alphabet of the tokens of a source, which may be made of another."""
    return source.alphabet if hasattr(source, "alphabet") else alphabet_of(source.source)  # type: ignore[attr-defined]


class CaptionedExperiment(Experiment):
    """What an experiment has whose network may take captions, by `conditions` and `captions`."""

    options: Any

    @functools.cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """What the network is conditioned on: the configuration's, that of captions with what it
        takes from the data, and the augmentation if any."""
        added = (Augmentation(CONDITIONING_DIM),) if self.options.data.augment else ()
        own = self.options.conditions
        if self.captioned is not None:
            full = self.captioned.condition
            own = tuple(full if c.name == full.name else c for c in own)
        return (*own, *added)

    @functools.cached_property
    def captioned(self) -> Captioned | None:
        """How captions reach the network; None for one that takes none."""
        options = self.options
        most = getattr(options.data.source, "characters", 0)
        return _captioned(options.conditions, options.captions, most, lambda: self.train_source)

    def _read(self, field: str) -> Source:
        """The examples of a split, with captions where the network takes them."""
        found = super()._read(field)
        return found if self.captioned is None else self.captioned.source(found)

    @functools.cached_property
    def _plain(self) -> tuple[Source, Source | None]:
        """The data without vectors of captions, which take long and are nothing to look at."""
        return self._parts_of(super()._read("train_split"))

    @property
    def plain_train(self) -> Source:
        return self.train_source if self.captioned is None else self._plain[0]

    @functools.cached_property
    def plain_held_out(self) -> Source:
        if self.captioned is None:
            return self.held_out
        of_train = self._plain[1]
        return super()._read("eval_split") if of_train is None else of_train

    def said_by_data(self) -> dict[str, Any]:
        return super().said_by_data() | ({} if self.captioned is None else self.captioned.said())
