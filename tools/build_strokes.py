"""Build a data set of pen strokes: lines of English in made-up hands, derived from fonts.

    make strokes                   (fetches the packages, then writes runs/strokes/strokes.npz)
    python -m tools.build_strokes --archives FOLDER --out runs/strokes/strokes.npz

Nobody wrote these lines. Their letters are those of single-line fonts, and of handwriting fonts
whose outlines are thinned to the path of a pen; hands differ by slant, size, width, spacing,
baseline, deformations and the speed of the pen (`handwriting.hand`). FOLDER holds the packages that
--packages prints, as `npm pack` leaves them, and the PyPI package `names` 0.3.0.

The splits are

    train        hands and texts to learn
    test         the same hands, other texts: prose of other chapters and speeches
    new_writers  hands with the letters of other fonts, and other texts again

Fonts are by many, under the SIL Open Font License 1.1 or Apache 2.0; the novel and the speeches are
in the public domain (data/README.md). The same seed gives the same file.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data.strokes import Line, Strokes, write
from handwriting.hand import Hand
from handwriting.pen_font import PenFont, single_line, traced
from handwriting.preprocessing import to_rows
from options.progress import progress_bar
from tools import font_sets, stroke_texts
from tools.stroke_texts import Corpus, lines, read_corpus

ABOUT = "strokes derived from fonts"
UNIT = 1 / 256  # heights of the letter x
LONGEST = 488  # points of a line
HANDS = 2  # of each font

# Packages `@fontsource/NAME`, whose outlines are traced.
TRACED = (
    "annie-use-your-telescope", "architects-daughter", "balsamiq-sans", "caveat", "chilanka",
    "comic-relief", "courgette", "damion", "dancing-script", "delius",
    "gloria-hallelujah", "gochi-hand", "grandstander", "handlee", "indie-flower", "itim", "kalam",
    "mansalva", "marck-script", "nanum-pen-script", "neucha", "oooh-baby", "patrick-hand",
    "playpen-sans", "poor-story", "reenie-beanie", "satisfy", "shadows-into-light",
    "shantell-sans", "short-stack", "sriracha", "swanky-and-moo-moo", "the-girl-next-door",
    "yomogi", "yusei-magic", "zen-kurenaido",
)  # fmt: skip
# Single-line fonts of the package `hersheytext`.
HERSHEY = "hersheytext-2.0.0.tgz"
SINGLE_LINE = (
    "EMSAllure", "EMSFelix", "EMSReadability", "EMSReadabilityItalic", "EMSTech", "HersheySans1",
    "HersheyScript1",
)  # fmt: skip
NEW = ("annie-use-your-telescope", "gochi-hand", "marck-script", "neucha")  # of new_writers


def packages() -> list[str]:
    """What `npm pack` takes."""
    return [*font_sets.packages(TRACED), "hersheytext@2.0.0", *stroke_texts.PACKAGES]


def read_fonts(folder: Path) -> list[PenFont]:
    """All fonts, single-line and traced; StorageError where a package is missing or damaged."""
    bar = progress_bar(TRACED, "tracing", unit="font")
    fonts = [traced(font_sets.outlines(folder, name), name) for name in bar]
    for name in SINGLE_LINE:
        svg = font_sets.file_of(folder / HERSHEY, f"svg_fonts/{name}.svg").decode()
        fonts.append(single_line(svg, name))
    return fonts


def written(
    hands: Sequence[Hand], texts: Iterator[str], seen: set[str], count: int, seed: int
) -> Iterator[Line]:
    """`count` lines by hands in turn, each of another text; adds the texts to `seen`, and takes
    none that is there. Lines of too many points are not taken either."""
    number = 0
    for attempt in itertools.count():
        if number == count:
            return
        text = next(texts)
        if text in seen:
            continue
        hand = hands[number % len(hands)]
        rng = np.random.default_rng([seed, attempt])
        rows = to_rows(hand.write(text, rng))
        if len(rows) <= LONGEST:
            seen.add(text)
            number += 1
            yield Line(rows, text, hand.name)


def splits(
    fonts: Sequence[PenFont], corpora: tuple[Corpus, Corpus], counts: tuple[int, int], seed: int
) -> dict[str, list[Line]]:
    """The lines of every split, in a random order. counts: of training, of either test."""
    hands = [Hand.of(font, number, seed) for font in fonts for number in range(1, HANDS + 1)]
    known = [hand for hand in hands if hand.font.name not in NEW]
    new = [hand for hand in hands if hand.font.name in NEW]
    train, test = corpora
    seen: set[str] = set()
    found = {}
    for part, (split, some, corpus, count) in enumerate(
        (
            ("train", known, train, counts[0]),
            ("test", known, test, counts[1]),
            ("new_writers", new, test, counts[1]),
        )
    ):
        rng = np.random.default_rng([seed, part])
        source = written(some, lines(corpus, rng), seen, count, seed=seed + 2**20 * (part + 1))
        made = list(progress_bar(source, split, count, unit="line"))
        found[split] = [made[i] for i in rng.permutation(len(made))]
    return found


def main() -> None:
    """The command line."""
    parser = font_sets.parser(__doc__, "runs/strokes/strokes.npz", 24000)
    font_sets.run(parser.parse_args(), packages(), build)


def build(args: argparse.Namespace) -> None:
    """Reads the packages, writes the file and prints what is in it."""
    corpora = read_corpus(args.archives)
    fonts = read_fonts(args.archives)
    found = splits(fonts, corpora, (args.lines, args.tested), args.seed)
    write(args.out, ABOUT, found, UNIT)
    size = args.out.stat().st_size / 1e6
    print(f"{args.out}: {size:.1f} MB, std {Strokes(str(args.out)).read().std:.4f}")
    for split, some in found.items():
        writers, texts = {line.writer for line in some}, "".join(line.text for line in some)
        points = sum(len(line.offsets) for line in some)
        print(
            f"{split}: {len(some)} lines by {len(writers)} writers, {len(texts)} characters of "
            f"{len(set(texts))} kinds, {points / len(texts):.1f} points each"
        )


if __name__ == "__main__":
    main()
