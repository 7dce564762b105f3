"""Sections of `tools.handwriting_report`, each a table: a class each, a line of `SECTIONS`."""

from tools.handwriting_sections.conditions import Conditions
from tools.handwriting_sections.distributions import Distributions
from tools.handwriting_sections.fifty_strings import FiftyStrings
from tools.handwriting_sections.photographs import Photographs
from tools.handwriting_sections.section import Section
from tools.handwriting_sections.speed_and_legibility import SpeedAndLegibility
from tools.handwriting_sections.words import Words
from tools.handwriting_sections.writers import Writers

SECTIONS: dict[str, type[Section]] = {
    "samplers": SpeedAndLegibility,
    "writers": Writers,
    "words": Words,
    "fifty": FiftyStrings,
    "photographs": Photographs,
    "distributions": Distributions,
    "conditions": Conditions,
}
