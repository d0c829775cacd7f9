"""calcium.json and calcium.csv: the calcium score of a CT without contrast agent.

Comes in: a `CalciumScore` and its volume. Goes out: the two files in the folder of the case, each complete or absent.
Areas mm2, volumes mm3, masses mg; what is unknown is null in JSON and empty in CSV.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..stenosis.cad_rads import plaque_burden_of_score
from ..stenosis.calcium_score import CalciumPart, CalciumScore
from ..study import CTVolume
from ..version import RESEARCH_USE, __version__
from .document import input_facts, rounded
from .texts import write_texts

SCHEMA = "stenosis-detection/calcium/1"
"""The name and version of the form of calcium.json."""

JSON_FILE, TABLE_FILE = "calcium.json", "calcium.csv"

METHOD = "Agatston 1990, 130 HU, axial slices of 3 mm"


def check_output(directory: Path, overwrite: bool) -> None:
    """Refuse a folder that holds a calcium score already, before the work.

    Raises
    ------
    InputError : it does, and `overwrite` is not set.
    """
    if (directory / JSON_FILE).exists() and not overwrite:
        raise InputError(
            f"the case '{directory.name}' has a calcium score in the output folder already: choose another folder or "
            "add --overwrite"
        )


def write_calcium(score: CalciumScore, volume: CTVolume, voxels_sha256: str, directory: Path) -> Path:
    """Write both files into a folder, which is created, and return the path of calcium.json.

    Raises
    ------
    InputError : the folder cannot be written to.
    """
    document = calcium_document(score, volume, voxels_sha256, directory.name)
    texts = {
        TABLE_FILE: calcium_csv(score),
        JSON_FILE: json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    }
    write_texts(directory, texts, "the calcium score")
    return directory / JSON_FILE


def calcium_document(score: CalciumScore, volume: CTVolume, voxels_sha256: str, case_id: str) -> dict[str, Any]:
    """Return calcium.json as plain data."""
    return {
        "schema": SCHEMA,
        "case": {"id": case_id, "input": input_facts(volume, voxels_sha256)},
        "software": {"version": __version__, "method": METHOD, "use": RESEARCH_USE},
        "agatston": rounded(score.agatston, 1),
        "volume_mm3": rounded(score.volume_mm3, 1),
        "mass_mg": rounded(score.mass_mg, 2),
        "lesions": score.lesions,
        "plaque_burden": plaque_burden_of_score(score.agatston),
        "regions": [_fields(part) for part in score.parts],
        "warnings": list(score.warnings),
    }


def calcium_csv(score: CalciumScore) -> str:
    """Return calcium.csv: a line per region and one for all of them."""
    text = io.StringIO(newline="")
    total = CalciumPart("all", score.agatston, score.volume_mm3, score.mass_mg, score.lesions)
    writer = csv.DictWriter(text, list(_fields(total)), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(_fields(part) for part in (*score.parts, total))
    return text.getvalue()


def _fields(part: CalciumPart) -> dict[str, Any]:
    return {
        "region": part.name,
        "agatston": rounded(part.agatston, 1),
        "volume_mm3": rounded(part.volume_mm3, 1),
        "mass_mg": rounded(part.mass_mg, 2),
        "lesions": part.lesions,
    }
