"""Images with captions: a folder with a file of texts, or arrays with texts.

    images/1.png  images/more/2.jpg  ...
    images/captions.txt      1.png<TAB>a small house      one a row; captions.tsv likewise
    images/captions.csv      file_name,text in the first row; metadata.csv likewise
    images/metadata.jsonl    {"file_name": "1.png", "text": "a small house"}, one a row, as of
                             Hugging Face's imagefolder

One such file is there, UTF-8, with names relative to its folder. Where a folder has splits
(`data.image_folder`), it is in each, or above them with names such as train/1.png. Every readable
image has one caption, and every caption an image.

An `.npz` file of `data.arrays` has captions as `train_texts`, text (n,), or, where it lacks them,
in `train_names`: "noto/cat-face" is the caption "cat face". So has the embedded set of emoji.
"""

import copy
import csv
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int32

from data.alphabet import Alphabet
from data.arrays import arrays
from data.emoji import PATH as EMOJI
from data.folder_scan import CAPTIONS, NAMES_SHOWN
from data.image_folder import Folder
from data.source import Record, Records, Source
from options.choices import listed, require, require_non_negative
from options.errors import InvalidValue, Words
from options.fields import hidden
from storage.npz import UNREADABLE, read

TRAIN = "train"
FILE, TEXT = ("file_name", "file", "image"), ("text", "caption")  # columns, by any of these names


@dataclass(frozen=True)
class Captions:
    """Images with captions; see `data.captions`.

    Attributes:
      path: of a folder or an `.npz` file; empty for the embedded emoji, whose captions are their
        names.
      channels: 1 or 3, to which all images of a folder are brought; 0 for 1 where all are grey,
        else 3.
      characters: that texts are padded to, without the longer ones; 0 for as many as the longest
        has in the split or in training.
      replacement: what characters become that no training text has; empty, they are an error.
      size: (height, width) that the images will be resized to, if it is known.
    """

    path: str = ""
    channels: int = hidden(0)
    characters: int = 0
    replacement: str = ""
    size: tuple[int, int] | None = hidden(None)

    def __post_init__(self) -> None:
        require_non_negative(self, "characters")

    def read(self, split: str = "train") -> "CaptionSource":
        """The images of a split with their captions.

        InvalidValue that names what has no caption, the captions without an image, a row that is
        none, or characters that no training text has.
        """
        path = Path(self.path).expanduser() if self.path else EMOJI
        reader = _of_arrays if path.is_file() else self._of_folder
        source, texts, of_training = reader(path, split)
        alphabet = Alphabet.of(of_training, self.replacement)
        longest = max(map(len, (*texts, *of_training)))
        return CaptionSource(source, texts, alphabet, self.characters or longest)

    def _of_folder(self, path: Path, split: str) -> tuple[Source, list[str], list[str]]:
        """The images, their captions and those of training."""
        folder = Folder(str(path), channels=self.channels, classes=False, size=self.size)
        found = folder.read(split)
        texts = captions_of(found.root, path)
        files = set(found.files)
        if missing := sorted(files - texts.keys()):
            got = Words(f"{len(missing)} images without one: {listed(missing, NAMES_SHOWN)}")
            raise InvalidValue("captions", got, f"a caption of each of the {len(files)} images")
        # A caption may be of a damaged image, which the folder has named.
        if surplus := sorted(texts.keys() - found.outcomes.keys()):
            got = Words(f"{len(surplus)} without an image: {listed(surplus, NAMES_SHOWN)}")
            raise InvalidValue("captions", got, f"captions of the images in {found.root}")
        learnt = texts if found.unsplit or split == TRAIN else captions_of(path / TRAIN, path)
        return found, [texts[file] for file in found.files], [*learnt.values()]


class CaptionSource(Source):
    """The examples of a source whose records also have "text", tokens int32 (characters,), padded
    by 0.

    Attributes:
      alphabet: of the tokens.
      texts: of every example.
    """

    def __init__(
        self, source: Source, texts: Sequence[str], alphabet: Alphabet, characters: int
    ) -> None:
        """characters: to pad to; examples of longer texts are left out, and counted."""
        fits = np.array([len(text) <= characters for text in texts])
        got = Words(f"{source.name}, of which no text has at most {characters} characters")
        require(fits.any(), "characters", got, "more characters")
        self.source, self.alphabet, self._indices = source, alphabet, np.flatnonzero(fits)
        self.texts = [text for text in texts if len(text) <= characters]
        self._tokens = np.stack([alphabet.encode(text, characters) for text in self.texts])
        self.name, self.class_names = source.name, source.class_names
        self.shape, self.dtype, self.masked = source.shape, source.dtype, source.masked
        self.unsplit, self.is_of_files = source.unsplit, source.is_of_files
        lost = len(texts) - len(self.texts)
        said = f"{lost} of {len(texts)} captions are longer than {characters} characters, and left"
        self.remark = "; ".join(filter(None, (source.remark, f"{said} out" if lost else "")))

    def with_images(self, change: Callable[[Source], Source]) -> Source:
        found = copy.copy(self)
        found.source = self.source.with_images(change)
        found.shape, found.is_of_files = found.source.shape, found.source.is_of_files
        return found

    @property
    def channels(self) -> int:
        return self.source.channels

    @property
    def usual_size(self) -> tuple[int, int] | None:
        return self.source.usual_size

    @property
    def tokens(self) -> Int32[np.ndarray, "n characters"]:
        """The texts of every example."""
        return self._tokens

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Record:
        record = self.source[int(self._indices[index])]
        record["text"] = self._tokens[index]
        return record

    def key(self, index: int) -> str:
        return self.source.key(int(self._indices[index]))

    def each_label(self) -> Int32[np.ndarray, "n"]:
        return self.source.each_label()[self._indices]

    def take(self, indices: Int[np.ndarray, "b"]) -> Records:
        """As `Source.take`, with the texts."""
        found = self.source.take(self._indices[indices])
        found["text"] = self._tokens[indices]
        return found

    def checksum(self) -> str:
        """See `Source.checksum`."""
        own = zlib.crc32(self._tokens.tobytes(), zlib.crc32(self.source.checksum().encode()))
        return f"{zlib.crc32(repr(self.texts).encode(), own):08x}"


def captions_of(folder: Path, above: Path) -> dict[str, str]:
    """The caption of each file in a folder, from its file of texts or, if it has none, that above.

    InvalidValue where there is none or several, or a row is none.
    """
    for where in dict.fromkeys((folder, above)):
        names = [name for name in CAPTIONS if (where / name).is_file()]
        got = Words(f"{names} in {where}")
        require(len(names) <= 1, "captions", got, "one of them")
        if names:
            found = read_captions(where / names[0])
            start = "".join(f"{part}/" for part in folder.relative_to(where).parts)
            return {f[len(start) :]: text for f, text in found.items() if f.startswith(start)}
    raise InvalidValue("captions", Words(f"none in {folder}"), f"one of {', '.join(CAPTIONS)}")


def read_captions(path: Path) -> dict[str, str]:
    """The caption of each file that a file of texts names.

    InvalidValue, with the number of the row, for one that is none, an empty caption or a file that
    is named twice.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue("captions", str(path), f"a file of UTF-8 text: {error}") from None
    found: dict[str, str] = {}
    for number, row in ROWS[path.suffix](text):
        file, caption = row if len(row) == 2 else ("", "")
        named = Path(file.strip()).as_posix()
        where = Words(f"row {number} of {path}: {list(row)}")
        require(file.strip() and caption.strip(), "captions", where, "a file name and a caption")
        require(named not in found, "captions", where, "each file once")
        found[named] = " ".join(caption.split())
    require(found, "captions", str(path), "at least one caption")
    return found


Rows = Iterator[tuple[int, Sequence[str]]]


def _tabbed(text: str) -> Rows:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.split("\t", 1)


def _commas(text: str) -> Rows:
    rows = csv.reader(io.StringIO(text))
    head = [name.strip() for name in next(rows, [])]
    file, caption = ([k for k, name in enumerate(head) if name in names] for names in (FILE, TEXT))
    expected = f"one column called {' or '.join(FILE)}, one called {' or '.join(TEXT)}"
    require(len(file) == len(caption) == 1, "captions", Words(f"the columns {head}"), expected)
    for row in rows:
        if row:
            yield rows.line_num, [row[file[0]], row[caption[0]]] if len(row) == len(head) else row


def _json_lines(text: str) -> Rows:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _json_row(line)


def _json_row(line: str) -> Sequence[str]:
    """File and text of a row; the row itself where it has none."""
    try:
        row = json.loads(line)
        file, text = row["file_name"], row["text"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return [line]
    return [f"{file}", text] if type(text) is str else [line]


ROWS: dict[str, Callable[[str], Rows]] = {
    ".txt": _tabbed, ".tsv": _tabbed, ".csv": _commas, ".jsonl": _json_lines,
}  # fmt: skip


def _of_arrays(path: Path, split: str) -> tuple[Source, list[str], list[str]]:
    """The images of an `.npz` file, their captions and those of training."""
    source = arrays(path, split)
    texts = _texts(path, split)
    got = Words(f"{len(texts)} for {len(source)} examples in {path}")
    require(len(texts) == len(source), "captions", got, "as many of each")
    return source, texts, texts if split == TRAIN else _texts(path, TRAIN)


def _texts(path: Path, split: str) -> list[str]:
    """The captions of a split."""
    errors: list[str] = []
    for name, caption in ((f"{split}_texts", str), (f"{split}_names", caption_of)):
        try:
            return [caption(str(text)) for text in _text(read(path, [name])[name])]
        except UNREADABLE as error:
            errors.append(str(error))
    expected = f"an array {split}_texts of captions, or {split}_names"
    raise InvalidValue("captions", Words(f"{path}: {'; '.join(errors)}"), expected)


def _text(array: np.ndarray) -> Iterable[str]:
    if array.dtype.kind not in "UT" or array.ndim != 1:
        raise ValueError(f"{array.dtype} {array.shape}, not text (n,)")
    return array


def caption_of(name: str) -> str:
    """What a drawing is called, as words: "noto/cat-face" is "cat face"."""
    return name.rpartition("/")[2].replace("-", " ").replace("_", " ")
