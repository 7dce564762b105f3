"""Build a data set of images of handwriting: lines and words in made-up hands, derived from fonts.

    make lines                     (fetches the packages, then writes runs/lines/lines.npz)
    python -m tools.build_lines --archives FOLDER --out runs/lines/lines.npz

Nobody wrote these lines. Handwriting fonts draw them, and hands differ by slant, size, width,
weight of the stroke, baseline, deformations, ink and paper (`handwriting.paper_hand`). FOLDER holds
the packages that --packages prints, as `npm pack` leaves them, and the PyPI package `names` 0.3.0.
About half of the images are single words, the others lines (`tools.stroke_texts`). The splits are

    train        hands and texts to learn
    test         the same hands, texts that no line of training has
    new_writers  hands with the letters of other fonts, texts of neither

--sheet writes a picture of every hand beside the file. The fonts are by many, under the SIL Open
Font License 1.1 or Apache 2.0; the novel and the speeches are in the public domain
(data/README.md). The same seed gives the same file.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from data.text_lines import HEIGHT, WHITE, TextLine, write
from handwriting.paper_hand import OutlineFont, PaperHand
from options.choices import require
from options.errors import Words
from options.progress import progress_bar
from storage.pictures import write_png
from tools import build_strokes, font_sets, stroke_texts
from tools.stroke_texts import Corpus, lines, read_corpus

ABOUT = "images of lines derived from fonts"
HANDS = 2  # of each font
WORDS = 0.5  # of the images, single words
SHEET = "Quick, the lazy dog's 27 (84)!"

# Packages `@fontsource/NAME`, beside those whose outlines `tools.build_strokes` traces.
MORE = (
    "bad-script", "caveat-brush", "cedarville-cursive", "comic-neue", "cookie",
    "delicious-handrawn", "homemade-apple", "kaushan-script", "licorice", "long-cang",
    "nanum-brush-script", "sacramento", "schoolbell", "vibur", "yellowtail",
)  # fmt: skip
# Handwriting fonts that were looked at, and why they are not among them; of others, PP-OCRv5
# misreads at most .05 of the characters of six lines.
LEFT_OUT = {
    "covered-by-your-grace": "has no %",
    "gaegu": "has no `",
    "mr-de-haviland": "thin cursive, of which PP-OCRv5 misreads .15 of the characters",
    "permanent-marker": "capitals only",
    "rock-salt": "capitals only",
    "sue-ellen-francisco": "narrow, of which PP-OCRv5 misreads .09 of the characters",
}
FONTS = (*build_strokes.TRACED, *MORE)
NEW = (*build_strokes.NEW, "cedarville-cursive", "schoolbell")  # of new_writers


def packages() -> list[str]:
    """What `npm pack` takes."""
    return [*font_sets.packages(FONTS), *stroke_texts.PACKAGES]


def read_fonts(folder: Path) -> list[OutlineFont]:
    """All fonts; StorageError where a package is missing or damaged, InvalidValue where a font
    lacks a character."""
    fonts = []
    for name in FONTS:
        font = OutlineFont(name, font_sets.outlines(folder, name))
        lacks = font.lacks()
        require(not lacks, name, Words(f"a font without {lacks!r}"), "all of printable ASCII")
        fonts.append(font)
    return fonts


def texts(corpus: Corpus, rng: np.random.Generator) -> Iterator[str]:
    """Lines and words without end."""
    for line in lines(corpus, rng):
        words = line.split()
        yield words[int(rng.integers(len(words)))] if rng.uniform() < WORDS else line


def written(
    hands: Sequence[PaperHand], source: Iterator[str], taken: set[str], count: int, seed: int
) -> Iterator[TextLine]:
    """`count` lines by hands in turn, of texts that are not `taken`; line i is drawn from (seed, i)
    alone, and its text."""
    for number in range(count):
        text = next(text for text in source if text not in taken)
        hand = hands[number % len(hands)]
        image = hand.write(text, np.random.default_rng([seed, number]))
        yield TextLine(image, text, hand.name)


def splits(
    fonts: Sequence[OutlineFont], corpora: tuple[Corpus, Corpus], counts: tuple[int, int], seed: int
) -> dict[str, list[TextLine]]:
    """The lines of every split, in a random order. counts: of training, of either test."""
    known, new = (hands_of([f for f in fonts if (f.name in NEW) == held], seed) for held in (0, 1))
    train, test = corpora
    found: dict[str, list[TextLine]] = {}
    for part, (split, hands, corpus, count) in enumerate(
        (
            ("train", known, train, counts[0]),
            ("test", known, test, counts[1]),
            ("new_writers", new, test, counts[1]),
        )
    ):
        rng = np.random.default_rng([seed, part])
        taken = {line.text for lines in found.values() for line in lines}
        source = written(hands, texts(corpus, rng), taken, count, seed + 2**20 * (part + 1))
        made = list(progress_bar(source, split, count, unit="line"))
        found[split] = [made[i] for i in rng.permutation(len(made))]
    return found


def hands_of(fonts: Sequence[OutlineFont], seed: int) -> list[PaperHand]:
    """All hands that write with some fonts."""
    pairs = itertools.product(fonts, range(1, HANDS + 1))
    return [PaperHand.of(font, number, seed) for font, number in pairs]


def sheet(hands: Sequence[PaperHand], seed: int) -> UInt8[np.ndarray, "h w 1"]:
    """One line of every hand below the other, with the names of the hands."""
    images = [hand.write(SHEET, np.random.default_rng([seed, k])) for k, hand in enumerate(hands)]
    left = 200
    canvas = Image.new("L", (left + max(i.shape[1] for i in images), HEIGHT * len(hands)), WHITE)
    draw = ImageDraw.Draw(canvas)
    for row, (hand, image) in enumerate(zip(hands, images, strict=True)):
        draw.text((4, HEIGHT * row + HEIGHT // 2), hand.name, fill=0, anchor="lm")
        canvas.paste(Image.fromarray(image), (left, HEIGHT * row))
    return np.asarray(canvas)[..., None]


def main() -> None:
    """The command line."""
    parser = font_sets.parser(__doc__, "runs/lines/lines.npz", 12000)
    parser.add_argument("--sheet", action="store_true", help="write a picture of all hands too")
    font_sets.run(parser.parse_args(), packages(), build)


def build(args: argparse.Namespace) -> None:
    """Reads the packages, writes the file and prints what is in it."""
    corpora = read_corpus(args.archives)
    fonts = read_fonts(args.archives)
    if args.sheet:
        write_png(args.out.with_suffix(".png"), sheet(hands_of(fonts, args.seed), args.seed))
    found = splits(fonts, corpora, (args.lines, args.tested), args.seed)
    write(args.out, ABOUT, found)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")
    for split, some in found.items():
        print(described(split, some))


def described(split: str, some: Sequence[TextLine]) -> str:
    """A line of how many there are of what in a split."""
    widths = [line.image.shape[1] for line in some]
    letters = set().union(*(line.text for line in some))
    words = sum(" " not in line.text for line in some)
    return (
        f"{split}: {len(some)} images by {len({line.writer for line in some})} writers, {words} of "
        f"one word; {len({line.text for line in some})} texts of {len(letters)} characters; widths "
        f"{min(widths)} to {max(widths)}, median {int(np.median(widths))}"
    )


if __name__ == "__main__":
    main()
