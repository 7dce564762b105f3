"""What fits a device: the memory that compiled programs need, and the largest batch for it."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from options.choices import MOST_COUNT, require
from options.errors import OutOfMemory

AUTO = "auto"  # of a batch: the largest that fits
# What XLA says where memory runs out: an accelerator's, and a CPU's.
RAN_OUT = ("RESOURCE_EXHAUSTED", "Out of memory")
MEMINFO = Path("/proc/meminfo")


def number_or_auto(batch: str | int, field: str) -> int | None:
    """The number that a field of a configuration, which is text, holds; None for "auto"."""
    text = str(batch)
    number = text.isdecimal() and len(text) <= len(str(MOST_COUNT)) and 1 <= int(text) <= MOST_COUNT
    require(number or text == AUTO, field, batch, f"{AUTO!r} or a number, 1 to {MOST_COUNT:,}")
    return int(text) if number else None


class Batched:
    """Options with a `batch_size`: a number, or "auto" for the largest that fits."""

    batch_size: str | int

    @property
    def at_once(self) -> int | None:
        """The batch, if that is a number; InvalidValue for what is neither."""
        return number_or_auto(self.batch_size, "batch_size")


def largest_batch(compile_for: Callable[[int], Any], most: int, step: int, field: str) -> int:
    """A batch whose program fits a device: `most`, or about the largest multiple of `step` below.

    Memory grows with the batch, so a program that does not fit says how much smaller it must be:
    one or two are compiled where `most` does not fit, none more where it does.

    Args:
      compile_for: batch -> `jax.stages.Compiled`.
      most: a multiple of `step`.
      field: of a configuration, named where not even a batch of `step` fits: OutOfMemory.
    """
    budget, size = max(0, device_memory() - occupied()), most
    before: tuple[int, int] | None = None
    while True:
        program = compile_if_it_fits(compile_for, size)
        needs = footprint(program) if program else 2 * max(budget, 1)
        if needs <= budget:
            return size
        if size <= step:
            but = f"a batch of {size} needs {in_words(needs)}, a device has {in_words(budget)} left"
            raise OutOfMemory(field, but=but)
        # By the line through the last two, or at first through 0.
        last, needed = before or (0, 0)
        each = (needed - needs) / (last - size)
        fits = size - (needs - budget) / each if each > 0 else size / 2
        before = size, needs
        size = max(step, min(int(fits), size - step) // step * step)


def fitting(
    size: int | None, lower: Callable[[int], Any], most: int, field: str
) -> Callable[[int], int]:
    """What says how many of `count` examples are computed at once: `size`, or where that is None
    the largest batch that fits, at most `most`.

    lower: batch -> `jax.stages.Lowered`, on one device.
    """

    def batch(count: int) -> int:
        if size is not None:
            return size
        return largest_batch(lambda n: lower(n).compile(), min(count, most), 1, field)

    return batch


def compile_if_it_fits(compile_for: Callable[[int], Any], size: int) -> Any:
    """The program, None if the compiler itself runs out of the device's memory (as on TPUs)."""
    try:
        return compile_for(size)
    except jax.errors.JaxRuntimeError as error:
        if not ran_out(error):
            raise
        return None


def ran_out(error: jax.errors.JaxRuntimeError) -> bool:
    """Whether an error says that the memory of a device ran out."""
    return any(said in str(error) for said in RAN_OUT)


@contextlib.contextmanager
def lowering(field: str, got: Any) -> Iterator[None]:
    """Inside, a device whose memory runs out is OutOfMemory of the field that is to be lowered."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not ran_out(error):
            raise
        but = "the device is out of memory"
        raise OutOfMemory(field, got, "a smaller number", but) from error


def footprint(compiled: Any) -> int:
    """Bytes that a compiled program needs on one device: arguments, results and scratch."""
    m = compiled.memory_analysis()
    live = m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes
    return live + m.temp_size_in_bytes + m.generated_code_size_in_bytes


def device_memory(fraction: float = 0.9) -> int:
    """Bytes a program may use on one local device: `fraction` of what there is.

    An accelerator says so itself; simulated or real CPU devices share the memory that the system,
    or the control group this process runs in, has left.
    """
    limits = _statistics("bytes_limit")
    if all(limits):
        return int(fraction * min(limits))
    return int(fraction * _available_ram() / jax.local_device_count())


def occupied() -> int:
    """Bytes of `device_memory` that arrays hold already, of the local device that holds most.

    What else runs then has less: a picture, say, beside the state of a training.
    """
    return max(_statistics("bytes_in_use"))


def _statistics(name: str) -> list[int]:
    """Of each local device; 0 of one that does not say."""
    return [(device.memory_stats() or {}).get(name, 0) for device in jax.local_devices()]


def _available_ram() -> int:
    if not MEMINFO.exists():  # not Linux: half of all, since no one says what others have
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    meminfo = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
    available = 1024 * int(meminfo["MemAvailable"].split()[0])
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no control group, or one without a limit ("max")
        return available
    return min(available, limit - used)


def in_words(n: int | None) -> str:
    """Bytes as MiB or GiB; None as what it stands for, see `compile_if_it_fits`."""
    if n is None:
        return "more than the compiler can place"
    return f"{n / 2**30:.2f} GiB" if n >= 2**30 else f"{n / 2**20:.2f} MiB"
