"""What `benchmarks.gpu` found, as tables: from its record, whole or cut."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.breakdown import kinds_table
from benchmarks.gpu_sections import FIRST, SECTIONS, Section
from benchmarks.tables import Cell, Table, times

Known = Mapping[str, Any]  # see `gpu.Record`
# How exactly each of PyTorch's settings and each of our precisions computes, the most exact first.
EXACTNESS = {"float32": 0, "as it comes": 1, "TF32": 1, "tf32": 1, "bfloat16": 2}
WORK = {
    "pc": "PC step (2 evaluations)",
    "dpm": "DPM-Solver++, whole run",
    "likelihood": "likelihood: drift and divergence",
}
# Forward passes that need as many operations: the gradient twice a forward pass for parameters
# and activations together, once for activations alone.
PASSES = {"train": 3.0, "pc": 2.0, "likelihood": 2.0}


def tables(known: Known) -> Iterator[Table]:
    """All of them; a section that was not asked for has no rows."""
    found = Found(known)
    yield about_table(found)
    yield golden_table(found)
    yield ceilings_table(found)
    yield training_table(found)
    yield sampling_table(found)
    yield compilation_table(found)
    yield from profile_tables(found)


class Found:
    """A record, asked by section and measure."""

    def __init__(self, known: Known):
        self.about = known["about"]
        self._sections = known["sections"]

    def sections(self, *kinds: str) -> list[Section]:
        """Those that were asked for, of some kinds."""
        return [s for s in SECTIONS if s.kind in kinds and s.name in self._sections]

    def why_not(self, section: Section) -> str:
        """Why it was not prepared, "" if it was."""
        return "" if self.facts(section) else self._sections.get(section.name, {}).get("state", "")

    def facts(self, section: Section) -> Mapping[str, Any]:
        return self.known(section.name).get("facts", {})

    def known(self, name: str) -> Mapping[str, Any]:
        return self._sections.get(name, {})

    def measures(self, name: str) -> Mapping[str, Any]:
        return self.known(name).get("measures", {})

    def value(self, name: str, measure: str, quantity: str) -> float | None:
        """A number that a measure found, None if it failed or was not run."""
        return self.measures(name).get(measure, {}).get(quantity)

    def cell(self, name: str, measure: str, quantity: str) -> Cell:
        """The same, or why there is none."""
        found = self.measures(name).get(measure, {})
        return f"failed: {found['error']}" if "error" in found else found.get(quantity)

    # What the machine does at most.

    def floor_ms(self, network: str, passes: float, batch: int, precision: str) -> float | None:
        """The least milliseconds of so many forward passes of a batch, by their operations."""
        forward = self.value(FIRST.name, f"forward {network}", "gflop")
        rate = self.value(FIRST.name, precision, "tflops")
        return passes * batch * forward / rate if batch and forward and rate else None

    def copy_ms(self, gbytes: float | None) -> float | None:
        """The least milliseconds for so many bytes read and written."""
        rate = self.value(FIRST.name, "copy", "gbytes_per_s")
        return 1e3 * gbytes / rate if gbytes and rate else None

    # PyTorch's.

    def torch(self, work: str) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
        """(setting, batch, what was found) of the settings in which a work was measured."""
        for section in self.sections("torch"):
            for name, found in self.measures(section.name).items():
                done, setting = name.split(": ")
                if done.partition(",")[0] == work:
                    yield setting, self.facts(section)["batch"], found

    def best_torch(self, work: str, precision: str) -> float | None:
        """Queued milliseconds of its fastest setting that is at least as exact as a precision."""
        allowed = [
            found["queued_ms"]
            for setting, _, found in self.torch(work)
            if exactness(setting) <= exactness(precision) and "queued_ms" in found
        ]
        return min(allowed, default=None)


def exactness(setting: str) -> int:
    """Of a precision, or of a setting whose name begins with one."""
    return EXACTNESS[setting.partition(",")[0]]


def per_second(batch: int, ms: float | None) -> float | None:
    return 1e3 * batch / ms if ms else None


def ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part and whole else None


def about_table(found: Found) -> Table:
    facts = found.facts(FIRST)
    rows: list[list[Cell]] = [[name, str(value)] for name, value in found.about.items()]
    names = ("card", "nvidia_smi", "runtime", "memory_gb", "cores")
    rows += [[name, _plain(facts[name])] for name in names if facts.get(name)]
    rows += [[name, said] for name, said in facts.get("versions", {}).items()]
    for section in found.sections("torch")[:1]:
        rows.append(["torch", found.facts(section).get("torch") or found.why_not(section)])
    if why := found.why_not(FIRST):
        rows.append(["machine", why])
    return Table("The machine", ["what", ""], rows)


def _plain(value: Any) -> Cell:
    return value if isinstance(value, str) else float(value)


def golden_table(found: Found) -> Table:
    rows: list[list[Cell]] = []
    for section in found.sections("golden"):
        measured = found.measures(section.name).get("golden", {})
        said = found.why_not(section) or measured.get("error") or measured.get("skipped")
        if said or not measured:
            rows.append([said, *[None] * 3])
            continue
        which = ", ".join(measured["which failed"]) or "none"
        which += f"; {measured['cut']}" if measured["cut"] else ""
        rows.append([measured["passed"], measured["failed"], measured["left out"], which])
    header = ["passed", "failed", "left out", "which failed"]
    return Table("Golden tests at the default precision", header, rows)


def ceilings_table(found: Found) -> Table:
    rows: list[list[Cell]] = []
    for precision in ("bfloat16", "tf32", "float32"):
        side = found.value(FIRST.name, precision, "side")
        cell = found.cell(FIRST.name, precision, "tflops")
        rows.append([f"products of {side:.0f} x {side:.0f} matrices" if side else "products",
                     precision, cell, "TFLOP/s"])  # fmt: skip
    rows.append(
        ["copy, read and written", None, found.cell(FIRST.name, "copy", "gbytes_per_s"), "GB/s"]
    )
    for network in ("full", "small"):
        cell = found.cell(FIRST.name, f"forward {network}", "gflop")
        rows.append([f"a forward pass of the {network} network", None, cell, "GFLOP an image"])
    return Table("Ceilings", ["what", "precision", "", "unit"], rows)


def training_table(found: Found) -> Table:
    rows = [_training_row(found, section) for section in found.sections("train")]
    for section in found.sections("torch"):
        if "train" in section.name and (why := found.why_not(section)):
            rows.append(["full", "PyTorch", section.name, why, *[None] * 10])
    for setting, batch, measured in found.torch("train"):
        ms, queued = measured.get("ms"), measured.get("queued_ms")
        first: Cell = f"failed: {measured['error']}" if "error" in measured else ms
        rows.append(
            ["full", "PyTorch", setting, first, per_second(batch, ms), queued,
             per_second(batch, queued), None, measured.get("memory_gb"), *[None] * 5]
        )  # fmt: skip
    header = ["network", "who", "precision", "ms", "images/s", "queued, ms", "queued, images/s"]
    header += ["as main.py runs it, images/s", "memory, GB", "program, GB"]
    header += ["floor by operations, ms", "floor by bytes, ms", "fraction of the ceiling"]
    header += ["PyTorch slower by"]
    return Table("Training step", header, rows, _TRAINING)


_TRAINING = """\
Medians of single steps that are waited for; *queued*: many dispatched, the last waited for. Memory:
the most that the device held, compilation included; program: what XLA's analysis says. Floors:
three forward passes at the ceiling of the precision; the bytes that XLA counts in the compiled step
at that of a copy. Fraction of the ceiling: the floor by operations over the queued time. PyTorch:
its fastest setting at least as exact, queued over queued."""


def _training_row(found: Found, section: Section) -> list[Cell]:
    _, network, precision = section.name.split()
    facts = found.facts(section)
    ms, queued = (found.value(section.name, m, "ms") for m in ("step", "queued"))
    batch = facts.get("batch", 0)
    floor = found.floor_ms(network, PASSES["train"], batch, precision)
    # PyTorch is measured on the full network alone.
    best = found.best_torch("train", precision) if network == "full" else None
    return [
        network, "ours", precision,
        found.why_not(section) or found.cell(section.name, "step", "ms"),
        per_second(batch, ms), found.cell(section.name, "queued", "ms"),
        per_second(batch, queued), _as_run(found, network, precision),
        found.cell(section.name, "memory", "gb"), ratio(facts.get("program_mb"), 1e3),
        floor, found.copy_ms(facts.get("gbytes")), ratio(floor, queued), times(best, queued),
    ]  # fmt: skip


def _as_run(found: Found, network: str, precision: str) -> Cell:
    for section in found.sections("fit"):
        if section.name == f"fit {network} {precision}":
            return found.why_not(section) or found.cell(section.name, "fit", "images_per_s")
    return None


def sampling_table(found: Found) -> Table:
    rows: list[list[Cell]] = []
    for section in found.sections("sampling", "likelihood"):
        _, network, precision = section.name.split()
        for work in ("pc", "dpm") if section.kind == "sampling" else ("likelihood",):
            rows.append(_sampling_row(found, section, work, precision, network))
    for section in found.sections("torch"):
        if "pc" in section.name and (why := found.why_not(section)):
            rows.append([section.name, "PyTorch", None, None, why, *[None] * 4])
    for work, title in WORK.items():
        for setting, batch, measured in found.torch(work):
            ms = f"failed: {measured['error']}" if "error" in measured else measured.get("ms")
            memory = measured.get("memory_gb")
            rows.append([title, "PyTorch", setting, batch, ms, memory, *[None] * 3])
    header = ["what", "who", "precision", "batch", "ms", "memory, GB", "floor by operations, ms"]
    header += ["fraction of the ceiling", "PyTorch slower by"]
    return Table("Sampling and likelihood (full network)", header, rows, _SAMPLING)


_SAMPLING = """\
PyTorch's likelihood takes the reference's two passes. Its fastest setting at least as exact is
compared, a queued run of it with a run of ours that is waited for."""


def _sampling_row(
    found: Found, section: Section, work: str, precision: str, network: str
) -> list[Cell]:
    facts, ms = found.facts(section), found.value(section.name, work, "ms")
    passes = PASSES.get(work) or facts.get("evaluations", {}).get(work, 0)
    batch = facts.get("batch", 0)
    floor = found.floor_ms(network, passes, batch, precision)
    return [
        WORK[work], "ours", precision, batch or None,
        found.why_not(section) or found.cell(section.name, work, "ms"),
        found.cell(section.name, "memory", "gb"), floor, ratio(floor, ms),
        times(found.best_torch(work, precision), ms),
    ]  # fmt: skip


def compilation_table(found: Found) -> Table:
    rows: list[list[Cell]] = []
    for section in found.sections("train"):
        _, network, precision = section.name.split()
        facts = found.facts(section)
        cached = found.known(f"fit {network} {precision}").get("facts", {})
        rows.append(
            [network, precision, found.why_not(section) or facts.get("init_s")]
            + [facts.get("trace_s"), facts.get("compile_s"), cached.get("trace_and_compile_s")]
        )
    beside = found.about.get("together", 1) - 1
    note = f"""\
From the cache: from the first batch to the first step of `training.loop.fit`. Up to {beside} other
sections were compiled beside each."""
    header = ["network", "precision", "initialise, s", "trace, s", "compile, cold, s"]
    return Table("Waits", [*header, "trace and compile from the cache, s"], rows, note)


def profile_tables(found: Found) -> Iterator[Table]:
    for section in found.sections("train"):
        ms = found.measures(section.name).get("profile", {})
        title = f"Profile: {section.name.replace('train', 'training step,')}"
        if "error" in ms:
            yield Table(title, ["what", "ms", "fraction"], [[f"failed: {ms['error']}", None, None]])
        elif ms:
            queued = found.value(section.name, "queued", "ms")
            note = f"{sum(ms.values()):.3g} ms of computation in a step"
            yield kinds_table(title, ms, f"{note} of {queued:.3g} ms." if queued else f"{note}.")
