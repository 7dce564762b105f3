"""How well and how fast a model writes, by sampler.

All samplers write the same held-out texts in the style of their writers from the same noise; below
them are the real lines. Seconds are of all lines in batches, and of one line, compiled before.
"""

import time
from dataclasses import dataclass
from typing import ClassVar

from evaluation.handwriting import OF_REAL, legibility_of, style_of, written
from tools.handwriting_sections.samplers import Sampled, of_families
from tools.handwriting_sections.section import Asked, as_table, cells, chosen_of, real_figures


@dataclass(frozen=True)
class SpeedAndLegibility:
    """A row a sampler."""

    lines: ClassVar[int] = 40

    def __call__(self, asked: Asked, count: int) -> str:
        """See `Section`."""
        subject = asked.writer(asked.splits[0]).experiment.subject()
        chosen, real = chosen_of(subject, count)
        rows = [self._row(asked, sampler, count) for sampler in of_families(asked.samplers)]
        rows.append({"sampler": "real lines"} | cells(real_figures(subject, real)))
        return as_table(f"{len(real)} lines of {subject.held_out.name}", rows)

    def _row(self, asked: Asked, sampler: Sampled, count: int) -> dict[str, str]:
        """The figures of what a sampler writes, and its seconds a line."""
        writer = asked.writer(asked.splits[0], sampler.overrides)
        subject = writer.experiment.subject()
        chosen, real = chosen_of(subject, count)
        seconds = {}
        for name, n in (("single", 1), ("batched", len(chosen))):
            written(subject, writer.params, chosen[:n], real[:n], 0)
            began = time.monotonic()
            made, evaluations = written(subject, writer.params, chosen[:n], real[:n], 0)
            seconds[f"s a line, {name}"] = f"{(time.monotonic() - began) / n:.3f}"
        figures = legibility_of(subject.medium, made, evaluations=evaluations)
        figures += style_of(subject, made, real, evaluations)
        found = cells([figure for figure in figures if OF_REAL not in figure.name])
        return {"sampler": sampler.name, "evaluations": f"{evaluations:.0f}"} | found | seconds
