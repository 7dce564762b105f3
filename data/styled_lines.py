"""Lines of handwriting, each in a style that features of another line of the writer's show."""

import copy

import numpy as np
from jaxtyping import Float32, Int, Shaped

from data.source import Source


class StyledLines(Source):
    """Lines whose records have a "style", (places, channels), where `with_style` gave one."""

    _style: tuple[np.ndarray, np.ndarray] | None = None

    def with_style(
        self, features: Shaped[np.ndarray, "n places c"], of: Int[np.ndarray, " n"]
    ) -> "StyledLines":
        """The same lines, line i in the style of line of[i], by the features of all lines."""
        found = copy.copy(self)
        found._style = features, of
        return found

    @property
    def is_styled(self) -> bool:
        """Whether its lines have styles."""
        return self._style is not None

    def styles(self, indices: Int[np.ndarray, "b"]) -> Float32[np.ndarray, "b places c"]:
        """Those of some lines."""
        assert self._style is not None
        features, of = self._style
        return features[of[indices]].astype(np.float32)
