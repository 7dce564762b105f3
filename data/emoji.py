"""The embedded colour pictures: 7,776 emoji of five styles (32x32, colour, 9 classes).

Drawn by Google, Microsoft, Twitter and Emoji One, see data/README.md; tools/build_emoji.py made
data/emoji.npz of them. 7,016 are the training split, 760 the test split. An emoji that styles call
by the same name is in one split with all its styles and genders; where their names differ (mostly
flags) it need not be: 57 of the 760 have a drawing by another style in the training split. Larger
pictures are built by `make emoji` and read as `data.array_file`.
"""

from pathlib import Path

from data.array_file import array_file
from data.source import ArraySource

PATH = Path(__file__).parent / "emoji.npz"


def emoji(split: str = "train") -> ArraySource:
    """The embedded emoji of one split, "train" or "test"; labels follow `class_names`."""
    return array_file(PATH, split)
