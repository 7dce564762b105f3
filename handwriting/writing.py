"""Lines of handwriting drawn from a model: texts in styles, of lengths, as rows (dx, dy, pen)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from data.space import Space
from generation.batches import at_once, batches
from handwriting.render import STYLE
from models.handwriting import ALIGNMENT
from options.classes import named
from options.memory import lowering
from options.progress import Progress, bar_updater, part_of, progress_bar
from parameterization import C_NOISE, MASK, NetworkPredictor, Predictor
from sampling import KeyedNoise, keys_of
from sde_lib import Node, Process, expand_right
from solvers.sampler import Sampler
from storage import pictures
from tasks.strokes import PEN

MULTIPLE = 128  # of which the drawn lengths are: a program is compiled for each
ALIGNED_AT = 0.3  # of the time of the prior


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """What is to be written, n lines.

    Attributes:
      cond: values of the model's conditions by name, "text" among them, each of n.
      lengths: points of each line.
    """

    cond: Mapping[str, Any]
    lengths: Int[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.lengths)

    def conditioning(self, lines: Int[np.ndarray, "b"], length: int) -> dict[str, Array]:
        """`cond` of some lines by their numbers, with the mask of lines padded to `length`."""
        mask = np.arange(length)[:, None] < self.lengths[lines][:, None, None]
        given = {name: jnp.asarray(value[lines]) for name, value in self.cond.items()}
        return given | {MASK: jnp.asarray(mask)}


class Written(NamedTuple):
    """What was written.

    Attributes:
      rows: (dx, dy, pen) of each line, (points, 3) float32, without padding.
      nfe: mean number of network evaluations of a line.
      ok: whether each line reached the end of the grid.
    """

    rows: list[Float[np.ndarray, "_ 3"]]
    nfe: float
    ok: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Scribe:
    """A sampler of handwriting in batches of one length each.

    Line i depends on the key, on i, on its text, style and length, not on the lines that it is
    drawn with.

    Attributes:
      sampler: of states (dx, dy), of whatever length.
      space: of the rows. divisor: of which lengths must be multiples.
      batch_size: drawn at once; None for the most that fit.
    """

    sampler: Sampler
    space: Space
    divisor: int = 8
    batch_size: int | None = None

    def write(
        self,
        predict: Predictor,
        key: Key[Array, ""],
        asked: Asked,
        *,
        progress: Progress | None = None,
    ) -> Written:
        """The lines; progress: called as progress(steps done, steps in all)."""
        multiple = max(MULTIPLE, self.divisor)
        padded = -(-asked.lengths // multiple) * multiple
        groups = [np.flatnonzero(padded == length) for length in np.unique(padded)]
        rows: list[Any] = [None] * len(asked)
        nfe, ok = np.zeros(len(asked)), np.zeros(len(asked), bool)
        for number, lines in enumerate(groups):
            sampler = dataclasses.replace(self.sampler, shape=(int(padded[lines[0]]), 2))
            report = part_of(progress, number, len(groups)) if progress else None
            size = self._at_once(sampler, predict, asked, lines)
            parts = list(batches(len(lines), size))
            for part, places in enumerate(parts):
                chosen = lines[places]
                with lowering("sampling.batch_size", size):
                    made = sampler.draw(
                        key,
                        predict,
                        size,
                        cond=asked.conditioning(chosen, sampler.shape[0]),
                        noise=KeyedNoise(keys_of(key, jnp.asarray(chosen))),
                        progress=part_of(report, part, len(parts)) if report else None,
                    )
                x, log_odds = np.asarray(made.x), np.asarray(made.aux[PEN])
                found = self.space.decode(np.concatenate([x, log_odds > 0], axis=-1))
                for row, line in zip(found, chosen, strict=True):
                    rows[line] = row[: asked.lengths[line]]
                nfe[chosen], ok[chosen] = made.nfe, made.ok
        return Written(rows, float(nfe.mean()), ok)

    def _at_once(self, sampler: Sampler, predict: Predictor, asked: Asked, lines: Any) -> int:
        def lower(size: int) -> jax.stages.Lowered:
            chosen = np.resize(lines, size)
            return sampler.lower(predict, size, asked.conditioning(chosen, sampler.shape[0]))

        return at_once(self.batch_size, lower, len(lines))


def alignments(
    predict: NetworkPredictor,
    process: Process,
    x_0: Float[np.ndarray, "b length 2"],
    cond: Mapping[str, Array],
) -> Float[np.ndarray, "b length characters"]:
    """By how much each point attends to each character of its text, over all attention blocks.

    The network sees the lines at the noise level of ALIGNED_AT, without noise; x_0: states.
    """
    node = process.node(jnp.full(len(x_0), ALIGNED_AT * process.t_max))
    x = expand_right(node.alpha, jnp.asarray(x_0)) * x_0
    _, kept = _with_intermediates(predict, x, node, dict(cond))
    blocks = [weights for name, weights in _leaves(kept) if name == ALIGNMENT]
    whole = [np.repeat(w, x_0.shape[1] // w.shape[1], axis=1) for w in map(np.asarray, blocks)]
    return np.mean(whole, axis=0)


@jax.jit
def _with_intermediates(predict: Any, x: Array, node: Node, cond: dict[str, Array]) -> Any:
    network, params = predict.network, {"params": predict.params}
    c_noise = named(C_NOISE, predict.parameterization.c_noise, "c_noise")(node)
    return network.apply(params, x, c_noise, **cond, mutable=["intermediates"])


def _leaves(kept: Any) -> list[tuple[str, Array]]:
    """What a network kept, with the last part of its name."""
    return [(str(path[-2].key), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(kept)]


@dataclasses.dataclass(frozen=True, eq=False)
class DrawLines:
    """What the training loop draws at intervals: lines of held-out texts, each with its text.

    Attributes:
      asked: the lines, read when they are first drawn. texts: of each.
    """

    scribe: Scribe
    asked: Callable[[], tuple[Asked, Sequence[str]]]

    def __call__(self, predict: Predictor, key: Key[Array, ""]) -> dict[str, np.ndarray]:
        """{"lines": uint8 (height, width)}."""
        asked, texts = self.asked()
        predict = self.scribe.sampler.prepared(predict)
        with progress_bar(desc="writing lines", leave=False) as bar:
            made = self.scribe.write(predict, key, asked, progress=bar_updater(bar))
        return {"lines": picture(made.rows, texts)}


def picture(rows: Sequence[Float[np.ndarray, "_ 3"]], texts: Sequence[str]) -> np.ndarray:
    """Lines below one another, each named by its text, uint8 (height, width, 1)."""
    images = [STYLE(line)[..., None] for line in rows]
    widest = max(image.shape[1] for image in images)
    wide = [
        np.pad(image, ((8, 8), (0, widest - image.shape[1]), (0, 0)), constant_values=255)
        for image in images
    ]
    return pictures.drawn(pictures.Panel(np.stack(wide)[:, None], (), list(texts)))
