"""Where a model heeds what it is conditioned on: by noise level, how much the loss of held-out
lines rises when the text, or the style, is that of another line.

Times are drawn uniformly, whatever the training draws; *sigma / alpha* is that in the middle of a
row. A model that writes the text that it is given has a rise at the levels where that is decided;
where all rises are within their standard errors, it has not begun to read, and more training, or
times that are drawn from other levels (`loss.times`), is what it needs.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from evaluation.examples import LOSS, Examples
from evaluation.handwriting import MOST, HandwritingSubject
from losses import UniformTimes
from tasks.conditions import LABELS
from tasks.task import Context
from tools.handwriting_sections.section import Asked, as_table

ROWS = 10
ENTRIES = {LABELS: "label"}  # of a batch, where it is not the name of the condition
Values = Float32[np.ndarray, "n"]


@dataclasses.dataclass(frozen=True)
class Conditions:
    """A row a tenth of the noise levels, a column a condition."""

    lines: ClassVar[int] = 1000

    def __call__(self, asked: Asked, count: int) -> str:
        """See `Section`; lines beyond those that there are have noise of their own."""
        writer = asked.writer(asked.splits[0])
        subject = writer.experiment.subject()
        levels, own, others = self._losses(subject, writer.params, count)
        process, rows = subject.task.process, []
        number = np.minimum((levels * ROWS).astype(int), ROWS - 1)
        for k in np.unique(number):
            chosen = number == k
            node = process.node(jnp.float32(process.t_max * (k + 0.5) / ROWS))
            rises = {f"another {k}": mean((v - own)[chosen]) for k, v in others.items()}
            row = {
                "t / t_max": f"{k / ROWS:.1f} to {(k + 1) / ROWS:.1f}",
                "sigma / alpha": f"{float(node.sigma / node.alpha):.3g}",
                "loss": mean(own[chosen]),
            }
            rows.append(row | rises)
        about = f"{len(own)} losses of lines of {subject.held_out.name}, and by how much they rise"
        return as_table(about, rows)

    def _losses(
        self, subject: HandwritingSubject, params: Any, count: int
    ) -> tuple[Values, Values, dict[str, Values]]:
        """Level and loss of each line, and its loss by condition that is another line's."""
        task = dataclasses.replace(subject.task.for_evaluation(), times=UniformTimes())
        entries = [ENTRIES.get(condition.name, condition.name) for condition in task.conditions]

        @jax.jit
        def of(params: Any, batch: Any, keys: Any) -> tuple[Any, Any, Any]:
            def loss(batch: Any) -> Any:
                return task.loss(Context(params), batch, keys)[1]

            found = loss(batch)
            others = {}
            for entry in entries:
                turned = jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), batch[entry])
                others[entry] = loss({**batch, entry: turned})["loss"]
            return found["level"], found["loss"], others

        total, parts = len(subject.held_out), []
        for first in range(0, count, MOST):
            # Lines that come again have another order, and noise of their own.
            seed, begin = divmod(first, -(-total // MOST) * MOST)
            examples = Examples(subject.held_out, subject.transform.for_evaluation(), seed)
            numbers = np.minimum(np.arange(begin, begin + MOST), total - 1)
            found = of(params, examples.batch(numbers), examples.keys(LOSS, numbers))
            parts.append(jax.tree.map(lambda x, n=total - begin: x[:n], jax.device_get(found)))
        return jax.tree.map(lambda *each: np.concatenate(each)[:count], *parts)


def mean(values: Values) -> str:
    """With its standard error."""
    error = values.std() / max(len(values) - 1, 1) ** 0.5
    return f"{values.mean():.4f} ± {error:.4f}"
