"""Where an evaluation leaves what it makes."""

from pathlib import Path
from typing import NamedTuple


class Places(NamedTuple):
    """Three folders.

    Attributes:
      report: of this evaluation alone: its report and pictures.
      rows: results by example, which evaluations of the same parameters share where they agree.
      reference: features of the data set, which all evaluations share.
    """

    report: Path
    rows: Path
    reference: Path
