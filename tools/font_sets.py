"""What the builders of sets from fonts share: npm packages, and the command line."""

import argparse
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from options.choices import require
from options.errors import InvalidValue, StorageError, Words
from options.program import one_line_errors

VERSION = "5.3.0"  # of the packages `@fontsource/NAME`


def packages(names: Sequence[str]) -> list[str]:
    """What `npm pack` takes for these fonts."""
    return [f"@fontsource/{name}@{VERSION}" for name in names]


def outlines(folder: Path, name: str) -> bytes:
    """A font, in woff2; StorageError where its package is missing or damaged."""
    archive = folder / f"fontsource-{name}-{VERSION}.tgz"
    return file_of(archive, f"files/{name}-latin-400-normal.woff2")


def file_of(archive: Path, name: str) -> bytes:
    """A file of an npm package."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            file = tar.extractfile(f"package/{name}")
            assert file is not None, f"{name} is not a file"
            return file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error, KeyError) as error:
        but = f"{archive} is not a whole package: {error}"
        raise StorageError("archives", but=but) from None


def parser(about: str | None, out: str, lines: int) -> argparse.ArgumentParser:
    """The flags of every builder. out, lines: defaults."""
    made = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    made.add_argument("--archives", type=Path, help="folder of packages")
    made.add_argument("--out", type=Path, default=Path(out))
    made.add_argument("--lines", type=int, default=lines, help="of training")
    made.add_argument("--tested", type=int, default=1500, help="of test, and of new_writers")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--packages", action="store_true", help="name the npm packages, and end")
    return made


def run(
    args: argparse.Namespace, named: list[str], build: Callable[[argparse.Namespace], None]
) -> None:
    """Names the packages, or checks what was asked for and builds."""
    if args.packages:
        print(*named)
        return
    with one_line_errors():
        for field in ("lines", "tested"):
            require(getattr(args, field) >= 1, field, getattr(args, field), "at least 1")
        require(args.seed >= 0, "seed", args.seed, "0 or more")
        if args.archives is None:
            raise InvalidValue("archives", Words("nothing"), "a folder of packages")
        build(args)
