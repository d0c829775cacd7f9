"""Coded terminology of the segments: strings for segments and the context file of Slicer's selector.

In: names of labels (`anatomy`). Out: terminology entries in the notation of Slicer's terminologies module,
`context~category~type~type modifier~region context~region~region modifier`, each code as `scheme^value^meaning`.
Categories, types and codes are those of `anatomy.py`, the one table of these facts.
"""

import json
from pathlib import Path

from ..anatomy import CORONARY_ARTERY, STRUCTURES, VESSEL_CATEGORY, VESSELS, vessel_definition

CONTEXT_NAME = "StenosisDetection"
"""Name of our terminology context in Slicer's selector."""

_REGION_CONTEXT = "Anatomic codes - DICOM master list"
_NO_CODE = "^^"
_SCHEMA = "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/segment-context-schema.json#"


def terminology_entry(name: str) -> str:
    """Return the terminology entry of a label: a vessel of the anatomy table, aorta or plaque.

    An unlisted name is a branch and gets the code of a coronary artery in general.
    """
    region = _NO_CODE
    if name in STRUCTURES:
        structure = STRUCTURES[name]
        category = _code("SCT", *structure.category)
        kind = _code(structure.scheme, structure.snomed, structure.meaning)
        if structure.in_coronary_artery:
            region = _code("SCT", *CORONARY_ARTERY)
    else:
        vessel = vessel_definition(name)
        category = _code("SCT", *VESSEL_CATEGORY)
        kind = _code("SCT", vessel.snomed, vessel.snomed_meaning)
    return "~".join((CONTEXT_NAME, category, kind, _NO_CODE, _REGION_CONTEXT, region, _NO_CODE))


def label_color(name: str) -> tuple[float, float, float]:
    """Return the display color of a label, red, green and blue from 0 to 1."""
    red, green, blue = STRUCTURES[name].color if name in STRUCTURES else vessel_definition(name).color
    return red / 255.0, green / 255.0, blue / 255.0


def terminology_context() -> dict[str, object]:
    """Return the content of `Resources/terminology/StenosisDetection.term.json`, made from the anatomy table.

    Vessels without a code of their own share that of a coronary artery in general, which is listed once.
    """
    categories: dict[tuple[str, str], dict[tuple[str, str], dict[str, object]]] = {}
    vessel_types = categories.setdefault(VESSEL_CATEGORY, {})
    for vessel in VESSELS.values():
        vessel_types.setdefault(
            ("SCT", vessel.snomed), _type("SCT", vessel.snomed, vessel.snomed_meaning, vessel.color)
        )
    for structure in STRUCTURES.values():
        types = categories.setdefault(structure.category, {})
        code = (structure.scheme, structure.snomed)
        types[code] = _type(*code, structure.meaning, structure.color)
    return {
        "SegmentationCategoryTypeContextName": CONTEXT_NAME,
        "@schema": _SCHEMA,
        "SegmentationCodes": {
            "Category": [
                {
                    "CodingSchemeDesignator": "SCT",
                    "CodeValue": value,
                    "CodeMeaning": meaning,
                    # Vessels name their place themselves; plaque needs an anatomic region.
                    "showAnatomy": "false" if (value, meaning) == VESSEL_CATEGORY else "true",
                    "Type": list(types.values()),
                }
                for (value, meaning), types in categories.items()
            ]
        },
    }


def write_terminology_context(path: Path) -> None:
    """Write the terminology context; run this when the anatomy table changes."""
    path.write_text(json.dumps(terminology_context(), indent=2) + "\n", encoding="utf-8")


def _code(scheme: str, value: str, meaning: str) -> str:
    return f"{scheme}^{value}^{meaning}"


def _type(scheme: str, value: str, meaning: str, color: tuple[int, int, int]) -> dict[str, object]:
    return {
        "recommendedDisplayRGBValue": list(color),
        "CodingSchemeDesignator": scheme,
        "CodeValue": value,
        "CodeMeaning": meaning,
    }
