"""What the command lines of the tools share."""

import argparse
import os
import platform
from pathlib import Path

from options.errors import InvalidValue
from storage.outputs import claimed, named, spelled


def folder_of(args: argparse.Namespace, parser: argparse.ArgumentParser, root: str) -> Path:
    """What --out names; else a folder below `root`, named by what else is asked for."""
    if args.out is not None:
        return Path(args.out)
    asked = {name: value for name, value in vars(args).items() if name != "out"}
    parts = [
        f"{name}={spelled(value)}"
        for name, value in asked.items()
        if value != parser.get_default(name)
    ]
    return claimed(Path(root), named(parts), {k: str(v) for k, v in asked.items()})


def numbers(field: str, text: str) -> list[float]:
    """Numbers between commas, "" for none; InvalidValue with the field's name."""
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise InvalidValue(field, text, "numbers with commas between") from None


def hardware() -> str:
    """The accelerator, or the processor and the cores that may be used."""
    import jax

    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{jax.device_count()} x {device.device_kind}"
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    names = [e.partition(":")[2].strip() for e in text.splitlines() if e.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    counted = "1 core" if cores == 1 else f"{cores} cores"
    return f"{counted} of {names[0] if names else platform.processor() or platform.machine()}"
