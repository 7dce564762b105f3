"""FID, KID and other distances between two sets of images.

    python -m metrics.compare DIR_A DIR_B --extractor efficientnet_lite0 --weights lite0.npz

Prints the metrics and writes them as JSON, with the extractor and the numbers of images, to --out,
by default comparison.json in a folder below runs/compare that is named by what is compared. Images
that differ in size within or between the folders need --size: they are then cropped to its aspect
and resized, with antialiasing. --save keeps the statistics of DIR_B in a file, which can stand in
its place from then on, as can files of pytorch-fid and of Song et al. 2021, of which --second-by
says the extractor.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data import Source, folder
from data.transforms import resize
from metrics import extractors
from metrics.distances import DEFAULT, DISTANCES, distances, parse
from metrics.features import FeatureExtractor, extract
from metrics.published_statistics import WRITERS, load
from metrics.report import Report
from metrics.statistics import Statistics
from options.errors import InvalidValue, Words, within
from options.program import one_line_errors
from storage.outputs import claimed, named, spelled

COMPARISONS = Path("runs/compare")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path, help="folder of samples")
    parser.add_argument("second", type=Path, help="folder of reference images, or statistics .npz")
    parser.add_argument("--extractor", default="digits", choices=sorted(extractors.EXTRACTORS))
    parser.add_argument("--weights", type=Path, help="file of the extractor's weights")
    parser.add_argument("--channels", type=int, help="1 or 3; default 1 for digits, else 3")
    parser.add_argument("--size", type=parse_size, help="side, or HEIGHT,WIDTH, to resize to")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--out", type=Path, help="file; default: one below runs/compare")
    parser.add_argument("--metrics", default=DEFAULT, help=f"of {', '.join(DISTANCES)}")
    parser.add_argument("--bootstrap", type=int, default=0, help="replicates, for intervals")
    parser.add_argument("--second-by", default="", help="extractor of another program's statistics")
    parser.add_argument("--save", type=Path, help="where to keep the second's statistics")
    parser.add_argument("--save-as", default="own", choices=sorted(WRITERS))
    arguments = parser.parse_args()
    with one_line_errors():
        run(arguments)


def run(arguments: argparse.Namespace) -> None:
    """Compares, prints and writes."""
    extractor = extractors.load(arguments.extractor, arguments.weights)
    report, reference = compare(
        arguments.first,
        arguments.second,
        extractor,
        channels=arguments.channels or extractor.channels,
        size=arguments.size,
        batch_size=arguments.batch_size,
        asked=Asked(parse(arguments.metrics), arguments.bootstrap, arguments.second_by),
    )
    to = arguments.out or folder_of(arguments, extractor) / "comparison.json"
    report.write(to)
    print(report)
    print(f"written to {to}")
    if arguments.save:
        WRITERS[arguments.save_as](arguments.save, reference)


def folder_of(arguments: argparse.Namespace, extractor: FeatureExtractor) -> Path:
    """Of the report on what is compared."""
    parts = [spelled(str(path.absolute())) for path in (arguments.first, arguments.second)]
    parts += [spelled(x) for x in (extractor.identity, arguments.size) if x]
    further = {"metrics": DEFAULT, "bootstrap": 0, "second_by": ""}
    asked = {k: str(v) for k in further if (v := getattr(arguments, k)) != further[k]}
    parts += [spelled(value) for value in asked.values()]
    compared = {name: str(getattr(arguments, name)) for name in ("channels", "size")} | asked
    for name in ("first", "second"):
        compared[name] = str(getattr(arguments, name).resolve())
    return claimed(COMPARISONS, named(parts), compared | {"extractor": extractor.identity})


def parse_size(text: str) -> int | tuple[int, ...]:
    """A number, or several between commas."""
    numbers = tuple(map(int, text.split(",")))
    return numbers if len(numbers) > 1 else numbers[0]


class Asked(NamedTuple):
    """Which distances, how many replicates of the bootstrap, and by which extractor a file of
    statistics was made that does not say it."""

    metrics: Sequence[str] = tuple(parse(DEFAULT))
    replicates: int = 0
    second_by: str = ""


DEFAULTS = Asked()


def compare(
    first: Path,
    second: Path,
    extractor: FeatureExtractor,
    channels: int = 3,
    size: int | tuple[int, ...] | None = None,
    batch_size: int = 64,
    asked: Asked = DEFAULTS,
) -> tuple[Report, Statistics]:
    """Distances of the images in `first` to those in `second`, every readable one counted.

    second: a folder, or a file of statistics of the same extractor. Also returns its statistics.
    """
    folders = {"first": first} if second.is_file() else {"first": first, "second": second}
    sources = []
    for which, path in folders.items():
        with within("", path=which):
            sources.append(folder(path, channels=channels, classes=False))
    shapes = {source.shape for source in sources}
    if size is None and (len(shapes) > 1 or None in shapes):
        but = "images differ in size within or between the folders"
        raise InvalidValue("size", Words("none"), but=but)
    kept = None
    if second.is_file():
        with within("", reference_by="second_by"):
            kept = load(second, extractor, asked.second_by)
    found = [statistics(source, extractor, size, batch_size) for source in sources]
    reference = kept or found[1]
    about = {
        "first": str(first),
        "second": str(second),
        "size": size,
        "left_out": {source.report.folder: source.report.left_out for source in sources},
    }
    figures = distances(found[0], reference, asked.metrics, asked.replicates)
    return Report(about, figures), reference


def statistics(
    source: Source, extractor: FeatureExtractor, size: int | tuple[int, ...] | None, batch_size: int
) -> Statistics:
    """Features of all images of a source, read one at a time, and their moments."""

    def images() -> Iterator[np.ndarray]:
        for i in range(len(source)):
            image = source[i]["image"]
            yield image if size is None else resize(image, size)

    features = extract(extractor, images(), batch_size, len(source)).features
    name = source.name if size is None else f"{source.name} at {size}"
    return Statistics.of(extractor, name, features)


if __name__ == "__main__":
    main()
