"""CAD-RADS 2.0 category and plaque burden as pure functions (Cury 2022, JCCT 16:536).

In: the worst stenosis per territory and what could not be assessed. Out: category, its text and modifiers. What only a
reader can know (ischemia, graft, exceptions) is never filled in here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .grades import OBSTRUCTIVE_PERCENT, SEVERE_PERCENT

TERRITORIES = ("LAD", "LCX", "RCA")

CATEGORY_TEXT: dict[str, str] = {
    "0": "no plaque and no stenosis",
    "1": "minimal stenosis (1-24 %) or plaque without stenosis",
    "2": "mild stenosis (25-49 %)",
    "3": "moderate stenosis (50-69 %)",
    "4A": "severe stenosis (70-99 %) in one or two vessels",
    "4B": "left main stenosis of 50 % or more, or severe stenosis in three vessels",
    "5": "total occlusion",
    "N": "not diagnostic: obstructive disease cannot be excluded",
}

CATEGORIES = ("0", "1", "2", "3", "4A", "4B", "5")
"""The categories by severity, without N."""

MODIFIERS = ("N", "HRP", "I+", "I-", "I±", "S", "G", "E")
"""The modifiers in the order of print; only N is computed, the others are the reader's."""


@dataclass(frozen=True)
class CadRads:
    """A CAD-RADS 2.0 category, its text and its modifiers in the order of print."""

    category: str
    text: str
    modifiers: tuple[str, ...]


def cad_rads(
    stenosis_percent: Mapping[str, float],
    *,
    plaque: bool = False,
    occluded: bool = False,
    nondiagnostic: bool = False,
    left_main_from_50: bool = True,
) -> CadRads:
    """Return the category of a patient.

    Parameters
    ----------
    stenosis_percent : largest diameter stenosis in percent of LM and of the territories LAD, LCX and RCA; a territory
        that is absent or 0 has none. Side branches count to their territory.
    plaque : whether any plaque is seen, with or without stenosis.
    occluded : whether a vessel is totally occluded, which geometry alone cannot tell.
    nondiagnostic : whether a segment that should be graded could not be assessed.
    left_main_from_50 : whether a left main stenosis of exactly 50 % makes 4B, as in version 2.0; version 1 asks for
        more.
    """
    unknown = set(stenosis_percent) - {"LM", *TERRITORIES}
    if unknown:
        raise ValueError(f"unknown territory: {', '.join(sorted(unknown))}")
    left_main = stenosis_percent.get("LM", 0.0)
    largest = max(stenosis_percent.values(), default=0.0)
    severe_territories = sum(stenosis_percent.get(name, 0.0) >= SEVERE_PERCENT for name in TERRITORIES)
    if left_main_from_50:
        left_main_high = left_main >= OBSTRUCTIVE_PERCENT
    else:
        left_main_high = left_main > OBSTRUCTIVE_PERCENT
    if occluded:
        category = "5"
    elif left_main_high or severe_territories == len(TERRITORIES):
        category = "4B"
    elif largest >= SEVERE_PERCENT:
        category = "4A"
    elif largest >= OBSTRUCTIVE_PERCENT:
        category = "3"
    elif largest >= 25.0:
        category = "2"
    elif plaque or largest >= 1.0:
        category = "1"
    else:
        category = "0"
    modifiers: tuple[str, ...] = ()
    if nondiagnostic:
        if CATEGORIES.index(category) >= CATEGORIES.index("3"):
            modifiers = ("N",)
        else:
            category = "N"
    return CadRads(category, CATEGORY_TEXT[category], modifiers)


def plaque_burden(segment_involvement_score: int, category: str) -> str | None:
    """Return P1 to P4 from the number of segments with plaque; None where there is none or the category is 0."""
    if category == "0" or segment_involvement_score <= 0:
        return None
    for name, most in (("P1", 2), ("P2", 4), ("P3", 7)):
        if segment_involvement_score <= most:
            return name
    return "P4"


def plaque_burden_of_score(agatston: float) -> str | None:
    """Return P1 to P4 from the Agatston score of a CT without contrast agent; None where it is 0.

    The printed table leaves 1000 open (301 to 999, above 1000): it counts as P4 here.
    """
    if agatston <= 0.0:
        return None
    for name, below in (("P1", 101.0), ("P2", 301.0), ("P3", 1000.0)):
        if agatston < below:
            return name
    return "P4"


def in_order_of_print(modifiers: Iterable[str]) -> tuple[str, ...]:
    """Return modifiers in the order of print, without doubles; unknown ones come last in their own order."""
    order = {name: n for n, name in enumerate(MODIFIERS)}
    return tuple(sorted(dict.fromkeys(modifiers), key=lambda name: order.get(name, len(order))))
