"""Names, codes and colors of the coronary vessels and segments: the one table of these facts.

Segments follow the SCCT 18-segment model (Leipsic 2014); their SNOMED CT codes are those of DICOM CID 3014 and 3015.
Numbers of other schemes (CREDS, BARI) differ for the same place, so `scheme` and `number` always stay together.
"""

from dataclasses import dataclass

SEGMENT_SCHEME = "SCCT"


@dataclass(frozen=True)
class SegmentDefinition:
    """One segment of the SCCT model: number, abbreviation, full name, SNOMED CT code and the vessel it lies on."""

    number: int
    abbreviation: str
    name: str
    snomed: str
    vessel: str


SEGMENTS: tuple[SegmentDefinition, ...] = (
    SegmentDefinition(1, "pRCA", "Proximal right coronary artery", "91083009", "RCA"),
    SegmentDefinition(2, "mRCA", "Mid right coronary artery", "450960006", "RCA"),
    SegmentDefinition(3, "dRCA", "Distal right coronary artery", "41879009", "RCA"),
    SegmentDefinition(4, "R-PDA", "Posterior descending artery from the right coronary artery", "53655008", "PDA"),
    SegmentDefinition(5, "LM", "Left main coronary artery", "3227004", "LM"),
    SegmentDefinition(6, "pLAD", "Proximal left anterior descending artery", "68787002", "LAD"),
    SegmentDefinition(7, "mLAD", "Mid left anterior descending artery", "91748002", "LAD"),
    SegmentDefinition(8, "dLAD", "Distal left anterior descending artery", "36672000", "LAD"),
    SegmentDefinition(9, "D1", "First diagonal branch", "91750005", "D1"),
    SegmentDefinition(10, "D2", "Second diagonal branch", "91751009", "D2"),
    SegmentDefinition(11, "pLCx", "Proximal left circumflex artery", "52433000", "LCX"),
    SegmentDefinition(12, "OM1", "First obtuse marginal branch", "91754001", "OM1"),
    SegmentDefinition(13, "dLCx", "Mid and distal left circumflex artery", "91753007", "LCX"),
    SegmentDefinition(14, "OM2", "Second obtuse marginal branch", "91755000", "OM2"),
    SegmentDefinition(15, "L-PDA", "Posterior descending artery from the left circumflex artery", "91760001", "PDA"),
    SegmentDefinition(16, "R-PLB", "Posterolateral branch from the right coronary artery", "17269004", "PLB"),
    SegmentDefinition(17, "RI", "Ramus intermedius", "244252004", "RI"),
    SegmentDefinition(18, "L-PLB", "Posterolateral branch from the left circumflex artery", "57823005", "PLB"),
)


@dataclass(frozen=True)
class VesselDefinition:
    """A vessel: name, full name, CAD-RADS territory (LM, LAD, LCX or RCA), SNOMED CT code and meaning, color."""

    name: str
    full_name: str
    territory: str
    snomed: str
    snomed_meaning: str
    color: tuple[int, int, int]


_CORONARY = ("41801008", "Coronary artery")

# Colors follow the Okabe-Ito palette, which readers with a color vision deficiency can tell apart.
VESSELS: dict[str, VesselDefinition] = {
    v.name: v
    for v in (
        VesselDefinition("LM", "Left main coronary artery", "LM", "3227004", "Left main coronary artery", (213, 94, 0)),
        VesselDefinition(
            "LAD",
            "Left anterior descending artery",
            "LAD",
            "59438005",
            "Anterior descending branch of left coronary artery",
            (230, 159, 0),
        ),
        VesselDefinition(
            "LCX",
            "Left circumflex artery",
            "LCX",
            "57396003",
            "Circumflex branch of left coronary artery",
            (86, 180, 233),
        ),
        VesselDefinition("RCA", "Right coronary artery", "RCA", "13647002", "Right coronary artery", (0, 158, 115)),
        VesselDefinition("RI", "Ramus intermedius", "LCX", "244252004", "Ramus intermedius artery", (204, 121, 167)),
        VesselDefinition(
            "D1",
            "First diagonal branch",
            "LAD",
            "91750005",
            "First diagonal branch of anterior descending branch of left coronary artery",
            (240, 200, 100),
        ),
        VesselDefinition(
            "D2",
            "Second diagonal branch",
            "LAD",
            "91751009",
            "Second diagonal branch of anterior descending branch of left coronary artery",
            (240, 220, 140),
        ),
        VesselDefinition("D3", "Third diagonal branch", "LAD", *_CORONARY, (240, 228, 180)),
        VesselDefinition("S1", "First septal branch", "LAD", *_CORONARY, (200, 140, 60)),
        VesselDefinition(
            "OM1",
            "First obtuse marginal branch",
            "LCX",
            "91754001",
            "First marginal branch of circumflex branch of left coronary artery",
            (0, 114, 178),
        ),
        VesselDefinition(
            "OM2",
            "Second obtuse marginal branch",
            "LCX",
            "91755000",
            "Second marginal branch of circumflex branch of left coronary artery",
            (70, 140, 200),
        ),
        VesselDefinition("OM3", "Third obtuse marginal branch", "LCX", *_CORONARY, (120, 165, 210)),
        VesselDefinition("AM1", "First acute marginal branch", "RCA", *_CORONARY, (100, 190, 150)),
        VesselDefinition("AM2", "Second acute marginal branch", "RCA", *_CORONARY, (130, 205, 170)),
        VesselDefinition(
            "PDA",
            "Posterior descending artery",
            "RCA",
            "53655008",
            "Posterior descending branch of right coronary artery",
            (0, 110, 80),
        ),
        VesselDefinition(
            "PLB",
            "Posterolateral branch",
            "RCA",
            "17269004",
            "Posterolateral branch of right coronary artery",
            (60, 160, 90),
        ),
    )
}

BRANCH_KINDS: dict[str, tuple[str, ...]] = {"LAD": ("D", "S"), "LCX": ("OM",), "RCA": ("AM",)}
"""What the branches of a main vessel are called, before their number; the first is the ordinary kind."""


def branch_name(parent: str, used: set[str]) -> str:
    """Return the first free name of a branch of a vessel: D1, D2 ... of the LAD, D1a, D1b ... of D1."""
    kind = BRANCH_KINDS.get(parent, ("",))[0]
    if kind:
        return next(f"{kind}{n}" for n in range(1, len(used) + 2) if f"{kind}{n}" not in used)
    suffixes = [*"abcdefghijklmnopqrstuvwxyz", *(f"z{n}" for n in range(1, len(used) + 2))]
    return next(parent + suffix for suffix in suffixes if parent + suffix not in used)


UNNAMED_VESSEL = VesselDefinition("branch", "Unnamed branch", "LAD", *_CORONARY, (190, 190, 190))


def vessel_definition(name: str) -> VesselDefinition:
    """Return the definition of a vessel name; an unlisted branch gets the generic coronary artery code.

    The territory of an unlisted name is that of its parent and must be taken from the tree (`territory_of`).
    """
    return VESSELS.get(name, VesselDefinition(name, name, "", *_CORONARY, UNNAMED_VESSEL.color))


def segment_definition(number: int) -> SegmentDefinition:
    """Return a segment of the SCCT model by its number, 1 to 18; KeyError when there is none."""
    for segment in SEGMENTS:
        if segment.number == number:
            return segment
    raise KeyError(number)


@dataclass(frozen=True)
class StructureDefinition:
    """What is segmented beside the lumen: name, SCT category and type with their meanings, color.

    `scheme` is the coding scheme of the type; `in_coronary_artery` says that the anatomic region is that artery.
    """

    name: str
    category: tuple[str, str]
    snomed: str
    meaning: str
    color: tuple[int, int, int]
    scheme: str = "SCT"
    in_coronary_artery: bool = False


CORONARY_ARTERY = _CORONARY
"""SNOMED CT code and meaning of a coronary artery in general."""

VESSEL_CATEGORY = ("123037004", "Anatomical Structure")
"""SNOMED CT category of vessels in Slicer's terminologies."""

_ABNORMAL = ("49755003", "Morphologically Altered Structure")

AORTA = StructureDefinition("Aorta", VESSEL_CATEGORY, "15825003", "Aorta", (224, 97, 76))
CALCIFIED_PLAQUE = StructureDefinition(
    "Calcified plaque", _ABNORMAL, "29483008", "Calcified atheroma", (250, 250, 245), in_coronary_artery=True
)
NONCALCIFIED_PLAQUE = StructureDefinition(
    "Noncalcified plaque", _ABNORMAL, "122356", "Soft plaque", (153, 102, 51), "DCM", in_coronary_artery=True
)
STRUCTURES: dict[str, StructureDefinition] = {s.name: s for s in (AORTA, CALCIFIED_PLAQUE, NONCALCIFIED_PLAQUE)}
