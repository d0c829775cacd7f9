"""Names of vessels and segments as data sets write them, brought to the names of `anatomy`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..anatomy import SEGMENTS, VESSELS, segment_definition, vessel_definition
from ..stenosis.patient import territory_of

if TYPE_CHECKING:
    from ..study import VesselTree

VESSEL_GROUPS = ("LM+LAD", "LCX", "RCA")
"""The vessels of a per-vessel evaluation; the left main coronary artery counts to the LAD (method of Rotterdam)."""

MAIN_VESSELS = ("LM", "LAD", "LCX", "RCA")

SIDES = ("left", "right")

_ALIASES = {
    "IM": "RI", "RAMUS": "RI", "RIM": "RI", "CX": "LCX", "LMCA": "LM", "LMS": "LM", "LEFTMAIN": "LM",
    "RPDA": "PDA", "LPDA": "PDA", "RPLB": "PLB", "LPLB": "PLB", "RPLA": "PLB", "LPLA": "PLB", "PL": "PLB", "PLA": "PLB",
    "D": "D1", "OM": "OM1", "M1": "OM1", "M2": "OM2", "AM": "AM1",
}  # fmt: skip


def vessel_name(text: str) -> str:
    """Return the name of `anatomy.VESSELS` that a text means, for example LCX for `LCx`; the text itself if none."""
    short = re.sub(r"[^A-Za-z0-9]", "", text).upper()
    short = _ALIASES.get(short, short)
    if short in VESSELS:
        return short
    lower = text.strip().lower()
    for definition in VESSELS.values():
        if definition.full_name.lower() == lower:
            return definition.name
    return text.strip()


def segment_number(text: str) -> int | None:
    """Return the SCCT number of a segment given as number, abbreviation or full name; None if it is none."""
    short = text.strip().lower()
    for segment in SEGMENTS:
        if short in (str(segment.number), segment.abbreviation.lower(), segment.name.lower()):
            return segment.number
    return None


def vessel_of_segment(number: int) -> str:
    """Return the name of the vessel that a segment of the SCCT model lies on."""
    return segment_definition(number).vessel


def vessel_group(territory: str) -> str:
    """Return the group of `VESSEL_GROUPS` of a territory LM, LAD, LCX or RCA; empty for an unknown one."""
    if territory in ("LM", "LAD"):
        return VESSEL_GROUPS[0]
    return territory if territory in VESSEL_GROUPS else ""


def territory_in(tree: VesselTree, name: str) -> str:
    """Return the CAD-RADS territory of a vessel: as the tree tells, else as its name does; empty if neither can."""
    try:
        return territory_of(tree, name)
    except KeyError:
        return vessel_definition(vessel_name(name)).territory
