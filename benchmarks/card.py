"""The card that JAX computes on, its driver and the versions."""

import contextlib
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "flax", "optax", "numpy")


def about() -> dict[str, Any]:
    """The card, its driver and the versions."""
    import jax

    device = jax.local_devices()[0]
    return {
        "platform": device.platform,
        "card": device.device_kind,
        "devices": jax.device_count(),
        "memory_gb": (device.memory_stats() or {}).get("bytes_limit", 0) / 1e9,
        "runtime": " ".join(device.client.platform_version.split()),
        "nvidia_smi": nvidia_smi(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {"python": platform.python_version()} | versions(PACKAGES),
    }


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Of those packages that are installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def nvidia_smi() -> str:
    """Name, driver, memory, power limit and highest clock, "" without the program."""
    if not shutil.which("nvidia-smi"):
        return ""
    asked = "name,driver_version,memory.total,power.limit,clocks.max.sm"
    command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.stdout.strip().replace("\n", "; ")
