"""A small file of images of lines: bars, a width of each character, by three writers."""

import numpy as np

from data.text_lines import TextLine, write

WIDTHS = {"a": 6, "b": 10, "c": 14, " ": 8}
WORDS = ["ab", "ba c", "cab", "abba", "b", "ca ca", "ab c", "bcb"]


def line(text, writer):
    """The bars are the thicker the longer the name of the writer."""
    parts = []
    for character in text:
        part = np.full((64, WIDTHS[character]), 240, np.uint8)
        if character != " ":
            part[20 : 30 + WIDTHS[character], 2 : 4 + len(writer)] = 40
        parts.append(part)
    return TextLine(np.concatenate(parts, axis=1), text, writer)


def write_lines(path):
    """Writers "a" and "eve" to train on, some of their lines to test, and "zoe"."""
    made = [line(word, ("a", "eve")[i % 2]) for i, word in enumerate(WORDS)]
    new = [line(word, "zoe") for word in WORDS[:4]]
    write(path, "lines of mine", {"train": made, "test": made[:5], "new_writers": new})
