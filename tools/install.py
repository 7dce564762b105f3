"""Installs the project into the Python that runs this, beside the jax that is there.

    python -m tools.install           in the project's folder; options are those of pip install

Colab, clusters and images for GPUs come with a jax, its plugins for the accelerator and a numpy
that belong together, and `pip install -r requirements.txt` would put a jax for CPUs in their place.
Here they are constraints: pip installs what is missing, in versions that go with them, or says what
does not and changes nothing. The install is editable: it puts the project's folder on the path.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata

from options.project import ROOT, version_of

# jax, jax-cuda13-plugin, jax-cuda13-pjrt, jaxlib, libtpu, numpy.
KEPT = re.compile(r"jax|jax[-_].*(plugin|pjrt)|jaxlib|libtpu.*|numpy", re.IGNORECASE)


def kept() -> list[str]:
    """What stays as it is, as constraints of pip."""
    names = {d.metadata["Name"] or "" for d in metadata.distributions()}
    # Of a name that is there twice, the version that is imported: the first on the path.
    return sorted(f"{name}=={metadata.version(name)}" for name in names if KEPT.fullmatch(name))


def oldest_jax() -> str:
    """The oldest jax that the project works with, "0.10"."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        needed = tomllib.load(file)["project"]["dependencies"]
    return next(name.removeprefix("jax>=") for name in needed if name.startswith("jax>="))


def main(options: list[str]) -> int:
    """Runs pip with these further options; its exit status, 2 where there is no jax to keep."""
    oldest, found = oldest_jax(), version_of("jax")
    if found < tuple(int(part) for part in oldest.split(".")):
        got = f"has jax {metadata.version('jax')}" if found else "has no jax"
        print(
            f"error: {sys.executable} {got}, expected {oldest} or newer: install it for the "
            "accelerator first, as in pip install -U 'jax[cuda13]'",
            file=sys.stderr,
        )
        return 2
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        print(*kept(), sep="\n", file=constraints, flush=True)
        command = [sys.executable, "-m", "pip", "install", "-c", constraints.name]
        done = subprocess.run([*command, "-e", f"{ROOT}[all]", *options])
    if done.returncode == 0:
        print(f"kept as they were: {', '.join(kept())}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
