"""Data sets, and batches made from them: see `Source`, `SOURCES` and `Loader`."""

from data.digits import digits
from data.source import ArraySource, Record, Records, Source

__all__ = ["ArraySource", "Record", "Records", "Source", "digits"]
