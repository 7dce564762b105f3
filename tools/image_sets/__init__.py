"""Published sets of images, as they lie on a user's disk: a class each, a line of `SETS`."""

from tools.image_sets.afhq import AFHQ
from tools.image_sets.celeba import CelebA
from tools.image_sets.files import Published
from tools.image_sets.lsun import LSUN
from tools.image_sets.numbered import FFHQ, CelebAHQ

SETS: dict[str, type[Published]] = {
    "celeba": CelebA,
    "celebahq": CelebAHQ,
    "ffhq": FFHQ,
    "afhq": AFHQ,
    "lsun": LSUN,
}
