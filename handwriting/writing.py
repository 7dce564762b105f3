"""Lines of handwriting drawn from a model: texts in styles, of lengths, in whatever medium."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from data.space import Space
from generation.batches import at_once, batches
from handwriting.medium import Medium, Trace
from models.layers.attention import ALIGNMENT
from options.classes import named
from options.memory import lowering
from options.progress import Progress, bar_updater, part_of, progress_bar
from parameterization import C_NOISE, MASK, NetworkPredictor, Predictor
from sampling import KeyedNoise, keys_of
from sde_lib import Node, Process, expand_right
from solvers.sampler import Sampler
from storage import pictures

ALIGNED_AT = 0.3  # of the time of the prior


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """What is to be written, n lines.

    Attributes:
      cond: values of the model's conditions by name, "text" among them, each of n.
      lengths: of each line, in points or columns.
    """

    cond: Mapping[str, Any]
    lengths: Int[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.lengths)

    def conditioning(
        self, lines: Int[np.ndarray, "b"], medium: Medium, length: int
    ) -> dict[str, Array]:
        """`cond` of some lines by their numbers, with the mask of lines padded to `length`."""
        mask = medium.mask(self.lengths[lines], length)
        given = {name: jnp.asarray(value[lines]) for name, value in self.cond.items()}
        return given | {MASK: jnp.asarray(mask)}


class Written(NamedTuple):
    """What was written.

    Attributes:
      traces: of each line, see `handwriting.medium`.
      nfe: mean number of network evaluations of a line.
      ok: whether each line reached the end of the grid.
    """

    traces: list[Trace]
    nfe: float
    ok: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Scribe:
    """A sampler of handwriting in batches of one length each.

    Line i depends on the key, on i, on its text, style and length, not on the lines that it is
    drawn with.

    Attributes:
      sampler: of states of whatever length.
      space: of what they are decoded to. medium: of the lines.
      divisor: of which lengths must be multiples.
      batch_size: drawn at once; None for the most that fit.
    """

    sampler: Sampler
    space: Space
    medium: Medium
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
        padded = self.padded(asked.lengths)
        groups = [np.flatnonzero(padded == length) for length in np.unique(padded)]
        traces: list[Any] = [None] * len(asked)
        nfe, ok = np.zeros(len(asked)), np.zeros(len(asked), bool)
        for number, lines in enumerate(groups):
            length = int(padded[lines[0]])
            sampler = dataclasses.replace(self.sampler, shape=self.medium.shape(length))
            report = part_of(progress, number, len(groups)) if progress else None
            size = self._at_once(sampler, predict, asked, lines, length)
            parts = list(batches(len(lines), size))
            for part, places in enumerate(parts):
                chosen = lines[places]
                with lowering("sampling.batch_size", size):
                    made = sampler.draw(
                        key,
                        predict,
                        size,
                        cond=asked.conditioning(chosen, self.medium, length),
                        noise=KeyedNoise(keys_of(key, jnp.asarray(chosen))),
                        progress=part_of(report, part, len(parts)) if report else None,
                    )
                x, lengths = np.asarray(made.x), asked.lengths[chosen]
                found = self.medium.traces(self.space, x, made.aux, lengths)
                for line, trace in zip(chosen, found, strict=True):
                    traces[line] = trace
                nfe[chosen], ok[chosen] = made.nfe, made.ok
        return Written(traces, float(nfe.mean()), ok)

    def padded(self, lengths: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        """What lines of some lengths are padded to."""
        multiple = math.lcm(self.medium.multiple, self.divisor)
        return -(-lengths // multiple) * multiple

    def _at_once(
        self, sampler: Sampler, predict: Predictor, asked: Asked, lines: Any, length: int
    ) -> int:
        def lower(size: int) -> jax.stages.Lowered:
            cond = asked.conditioning(np.resize(lines, size), self.medium, length)
            return sampler.lower(predict, size, cond)

        return at_once(self.batch_size, lower, len(lines))


def alignments(
    predict: NetworkPredictor,
    process: Process,
    x_0: Float[np.ndarray, "b *shape"],
    cond: Mapping[str, Array],
    axis: int = 0,
) -> Float[np.ndarray, "b length characters"]:
    """By how much each point, or column, attends to each character of its text, over all attention
    blocks. axis: of a state, along the line.

    The network sees the lines at the noise level of ALIGNED_AT, without noise; x_0: states.
    """
    node = process.node(jnp.full(len(x_0), ALIGNED_AT * process.t_max))
    x = expand_right(node.alpha, jnp.asarray(x_0)) * x_0
    _, kept = _with_intermediates(predict, x, node, dict(cond))
    blocks = [weights for name, weights in _leaves(kept) if name == ALIGNMENT]
    length = x_0.shape[axis + 1]
    whole = [np.repeat(w, length // w.shape[1], axis=1) for w in map(np.asarray, blocks)]
    return np.mean(whole, axis=0)


@jax.jit
def _with_intermediates(predict: Any, x: Array, node: Node, cond: dict[str, Array]) -> Any:
    network, params = predict.network, {"params": predict.params}
    c_noise = named(C_NOISE, predict.parameterization.c_noise, "c_noise")(node)
    with predict.precision.context():
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
        shown = [self.scribe.medium.shown(trace) for trace in made.traces]
        return {"lines": picture(shown, texts)}


def picture(lines: Sequence[UInt8[np.ndarray, "h _"]], texts: Sequence[str]) -> np.ndarray:
    """Images of lines below one another, each named by its text, uint8 (height, width, 1)."""
    images = [line[..., None] for line in lines]
    widest = max(image.shape[1] for image in images)
    wide = [
        np.pad(image, ((8, 8), (0, widest - image.shape[1]), (0, 0)), constant_values=255)
        for image in images
    ]
    return pictures.drawn(pictures.Panel(np.stack(wide)[:, None], (), list(texts)))
