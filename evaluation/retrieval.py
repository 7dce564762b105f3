"""Evaluation of a text-image judge: whether it finds the caption of an image among others.

    <report>/report.json    the fraction of images whose caption is among the first k, by level

Of held-out images, among all distinct captions that are held out, at levels s = sigma / alpha.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from data import Source, Transform
from evaluation.image_models import held_out_of
from evaluation.options import check_checkpoints
from evaluation.places import Places
from metrics.report import Figure, Report
from options.choices import require, require_at_least_one, require_non_negative
from options.fields import hidden
from options.progress import progress_bar
from sde_lib import Process, expand_right
from tasks.matching import Judge, MatchingTask

PyTree = Any
NOISE = 0  # the purpose of the keys of noise


@dataclasses.dataclass(frozen=True)
class RetrievalOptions:
    """On how many images a text-image judge is judged, and how.

    Attributes:
      checkpoints: "latest", "all", or step numbers with commas between them.
      batch_size: images at once; no figure depends on it.
      max_images: held-out ones; 0 for all.
      levels: sigma / alpha of the noise.
      first: k of the fraction whose caption is among the first k.
    """

    checkpoints: str = "latest"
    batch_size: int = 64
    max_images: int = 0
    levels: tuple[float, ...] = (0.05, 0.3, 1.0, 3.0)
    first: int = 5
    seed: int = hidden(0)

    def __post_init__(self) -> None:
        check_checkpoints(self.checkpoints)
        require_at_least_one(self, "batch_size", "first")
        require_non_negative(self, "max_images")
        some = bool(self.levels) and all(level > 0 for level in self.levels)
        require(some, "levels", self.levels, "positive numbers, at least one")


@dataclasses.dataclass(frozen=True, eq=False)
class RetrievalSubject:
    """What is evaluated, and on what: everything but parameters.

    value: the condition's value, of texts.
    """

    task: MatchingTask
    train: Source
    held_out: Source
    transform: Transform
    value: Any


def evaluate(
    subject: RetrievalSubject, params: PyTree, step: int, options: RetrievalOptions, places: Places
) -> Report:
    """The report on one set of parameters, written to its place."""
    judge, process = subject.task.judge(params), subject.task.process
    candidates = sorted(set(subject.held_out.texts))
    texts = judge.texts(jax.tree.map(jnp.asarray, subject.value(candidates)))
    own = np.searchsorted(candidates, subject.held_out.texts)
    count = min(options.max_images or len(own), len(own))
    chosen = np.random.default_rng(options.seed).permutation(len(own))[:count]
    records = subject.held_out.take(chosen)
    images = np.stack([subject.transform.resized(x) for x in records["image"]])
    x_0 = np.asarray(subject.transform.space.encode(images))
    figures = []
    for level in options.levels:
        ranks = ranks_of(judge, process, x_0, texts, own[chosen], level, options.batch_size)
        about = {"detail": f"at sigma / alpha = {level:g}, of {len(candidates)} captions"}
        for k in sorted({1, options.first}):
            figures.append(Figure.mean(f"retrieved_at_{k}", (ranks < k).astype(float), **about))
    said = {"step": step, "held_out": held_out_of(subject), "captions": len(candidates)}
    report = Report(said, figures)
    report.write(places.report / "report.json")
    return report


def ranks_of(
    judge: Judge,
    process: Process,
    x_0: Float[np.ndarray, "n h w c"],
    texts: Float[Array, "m d"],
    own: Int[np.ndarray, " n"],
    level: float,
    batch_size: int = 64,
) -> Int[np.ndarray, " n"]:
    """How many of the texts a judge finds likelier than an image's own, at sigma / alpha = level.

    x_0: in the process's range; noised by a key of each one's number.
    """
    found: list[np.ndarray] = []
    with progress_bar(range(0, len(x_0), batch_size), "retrieval", leave=False) as bar:
        for start in bar:
            numbers = np.minimum(np.arange(start, start + batch_size), len(x_0) - 1)
            ranks = _ranks(judge, process, x_0[numbers], texts, own[numbers], numbers, level)
            found.append(np.asarray(ranks)[: len(x_0) - start])
    return np.concatenate(found)


@functools.partial(jax.jit, static_argnums=1)
def _ranks(
    judge: Judge, process: Process, x_0: Array, texts: Array, own: Array, numbers: Array, level: Any
) -> Int[Array, " b"]:
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(NOISE), numbers)
    eps = jax.vmap(lambda key: jax.random.normal(key, x_0.shape[1:]))(keys)
    node = process.node(process.time_of_log_snr(jnp.full(len(x_0), -2 * jnp.log(level))))
    x = expand_right(node.alpha, x_0) * x_0 + expand_right(node.sigma, x_0) * eps
    log_probs = judge.log_probs(x, node, texts)
    of_own = jnp.take_along_axis(log_probs, own[:, None], axis=1)
    return jnp.sum(log_probs > of_own, axis=1)
