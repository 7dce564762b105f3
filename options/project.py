"""The project as it is installed: its files, by name from any folder, and its optional packages."""

import contextlib
import os
import re
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from options.choices import did_you_mean, did_you_mean_path
from options.errors import NotInstalled

NAME = "score-sde-jax"
ROOT = Path(__file__).resolve().parent.parent
# The folders of files that are known by a name, which leaves out folder and suffix.
NAMED = {"configs": ".py", "pretrained": ".npz"}
# What no module of the project imports: a user's own may have their names.
PROGRAMS = {"main", "benchmarks"}


def find(where: str | Path) -> Path:
    """A file or folder as it is given, from here; what is not here, among the project's files.

    `configs/digits/vp.py` and `pretrained/emoji.npz` are found from every folder, and so are they
    by name, as in `digits/vp` and `emoji`. What is nowhere is left as given.
    """
    path = Path(os.path.expanduser(where))  # as it is, where there is no such home
    if path.exists():
        return path
    named = (ROOT / folder / f"{path}{suffix}" for folder, suffix in NAMED.items())
    return next((file for file in (ROOT / path, *named) if file.is_file()), path)


def nearest(where: str | Path) -> str:
    """ "; did you mean 'x'?" for what `find` did not find: a path from here, or what is shipped."""
    return did_you_mean_path(where) or did_you_mean(str(where), shipped())


def shipped() -> list[str]:
    """The project's files that `find` knows: paths, and names."""
    found = []
    for folder, suffix in NAMED.items():
        paths = sorted((ROOT / folder).rglob(f"*{suffix}"))
        found += [str(path.relative_to(ROOT)) for path in paths]
        found += [str(path.relative_to(ROOT / folder).with_suffix("")) for path in paths]
    return found


def version_of(distribution: str) -> tuple[int, ...]:
    """The version of an installed distribution, as numbers; () where it is not installed."""
    from importlib import metadata  # slow to import, and seldom needed

    try:
        return tuple(int(part) for part in re.findall(r"\d+", metadata.version(distribution))[:3])
    except metadata.PackageNotFoundError:
        return ()


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """NotInstalled, which names an extra of the project, where an import inside finds no module."""
    try:
        yield
    except ModuleNotFoundError as error:
        # A clone is installed from its folder; what pip installed is known to it by name.
        own = f"-e '{ROOT}[{name}]'" if (ROOT / "pyproject.toml").is_file() else f"'{NAME}[{name}]'"
        raise NotInstalled("", but=f"{error.name} is not installed: pip install {own}") from None


def require_unhidden() -> None:
    """ImportError if another project's module would be imported in place of one of this one."""
    packages = {path.parent.name for path in ROOT.glob("[a-z]*/__init__.py")}
    modules = {path.stem for path in ROOT.glob("*.py")}
    for name in sorted((packages | modules) - PROGRAMS):
        spec = PathFinder.find_spec(name)
        if spec and spec.origin and not Path(spec.origin).resolve().is_relative_to(ROOT):
            raise ImportError(
                f"{spec.origin} hides the module {name!r} of {NAME}: "
                "rename it, or keep its folder off the path",
                name=name,
            )
