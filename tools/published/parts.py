"""What the importers of a part of a model share: recorded outputs, and the command line."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from options.choices import require
from options.errors import InvalidValue
from options.program import one_line_errors
from tools.published.checkpoint import Compared


def agreement(found: Iterable[Compared], tolerance: float) -> Iterator[str]:
    """A line on each output; InvalidValue for one that differs by more of its largest value."""
    for output in found:
        error = output.error
        said = f"{output.name} differs by {error:.2g} of the largest value, {tolerance:g} allowed"
        if not error <= tolerance:
            raise InvalidValue("file", but=said)
        yield said


def command(
    about: str | None,
    source: str,
    convert: Callable[[str, Path, str, str], Iterable[str]],
    argv: list[str] | None,
) -> None:
    """The command line. convert: of (source, out, dtype, expected), gives the lines to print."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help=source)
    parser.add_argument("--out", type=Path, required=True, help="the file to write (.npz)")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float32")
    parser.add_argument("--expected", default="", help="recorded inputs and outputs (.npz)")
    args = parser.parse_args(argv)
    with one_line_errors():
        require(args.out.suffix == ".npz", "out", str(args.out), "a name that ends in .npz")
        for line in convert(args.source, args.out, args.dtype, args.expected):
            print(line)
        print(f"{args.out}, {args.out.stat().st_size / 1e6:.1f} MB")
