"""The embedded colour images: 7,776 emoji of five styles (32x32, colour, 9 classes).

Drawn by Google, Microsoft, Twitter and Emoji One, see data/README.md; tools/build_emoji.py made
data/emoji.npz of them. 7,016 are the training split, 760 the test split. An emoji that styles call
by the same name is in one split with all its styles and genders; where their names differ (mostly
flags) it need not be: 57 of the 760 have a drawing by another style in the training split. Larger
images are built by `make emoji` and read as `data.arrays`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data.arrays import arrays
from data.source import ArraySource

PATH = Path(__file__).parent / "emoji.npz"


@dataclass(frozen=True)
class Emoji:
    """The embedded emoji."""

    channels: ClassVar[int] = 3
    class_names: ClassVar[tuple[str, ...]] = (
        "activities", "animals", "flags", "food", "objects", "people", "smileys", "symbols",
        "travel",
    )  # fmt: skip

    def read(self, split: str = "train") -> ArraySource:
        """See `emoji`."""
        return emoji(split)


def emoji(split: str = "train") -> ArraySource:
    """The embedded emoji of one split, "train" or "test"; labels follow `class_names`."""
    return arrays(PATH, split)
