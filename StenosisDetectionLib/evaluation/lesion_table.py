"""Reads a reader's lesions from CSV: one line a lesion, any number of cases.

Columns (others are ignored; the names are those of lesions.csv, so that a corrected copy of it is a reference):

- `case`: case id of the result (needed).
- `diameter_stenosis_percent`: 0 to 100. An empty one in a line without a vessel says: this case has no lesion.
- `vessel` (LM, LAD, LCX, RCA, D1 ...) or `segment` (SCCT number or abbreviation): one of both is needed.
- `throat_mm`, `start_mm`, `end_mm`: distance from the beginning of the vessel.
- `position_r_mm`, `position_a_mm`, `position_s_mm` (RAS), or `position_x_mm`, `position_y_mm`, `position_z_mm` in the
  coordinates that the caller states: the throat in space.
- `minimal_lumen_diameter_mm`, `reference_diameter_mm`, `plaque_type`, `cad_rads` (of the case, in any of its lines).
"""

import csv
from pathlib import Path

import numpy as np

from ..anatomy import VESSELS, vessel_definition
from ..errors import InputError
from ..geometry import signs_of
from .cases import ReferenceCase
from .lesions import LesionFinding, Point
from .names import segment_number, vessel_name, vessel_of_segment

PERCENT = "diameter_stenosis_percent"
_RAS = ("position_r_mm", "position_a_mm", "position_s_mm")
_STATED = ("position_x_mm", "position_y_mm", "position_z_mm")


def read_lesion_table(path: Path, space: str | None = None) -> list[ReferenceCase]:
    """Read the lesions of all cases of a table, in the order of their first lines.

    Parameters
    ----------
    space : LPS or RAS, of `position_x_mm`, `position_y_mm` and `position_z_mm`; None where there are none.

    Raises
    ------
    InputError : the table cannot be read, a column is missing or a value has no meaning; the line is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = {(name or "").strip().lower() for name in reader.fieldnames or ()}
            rows = [
                {(key or "").strip().lower(): (value or "").strip() for key, value in row.items() if key is not None}
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path.name} cannot be read as CSV: save it as UTF-8 with commas") from error
    missing = [name for name in ("case", PERCENT) if name not in columns]
    if missing:
        raise InputError(f"{path.name} lacks the column '{missing[0]}': see 'stenosis-detection evaluate --help'")
    lesions: dict[str, list[LesionFinding]] = {}
    categories: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path.name} line {number}"
        case = row.get("case", "")
        if not any(row.values()):
            continue
        if not case:
            raise InputError(f"{where} names no case: fill the column 'case'")
        found = lesions.setdefault(case, [])
        if row.get("cad_rads"):
            categories[case] = row["cad_rads"]
        if row[PERCENT] or row.get("vessel") or row.get("segment"):
            found.append(_lesion(row, where, space))
    return [
        ReferenceCase(case_id=case, lesions=tuple(found), category=categories.get(case))
        for case, found in lesions.items()
    ]


def _lesion(row: dict[str, str], where: str, space: str | None) -> LesionFinding:
    percent = _number(row, PERCENT, where)
    if percent is None or not 0.0 <= percent <= 100.0:
        raise InputError(f"{where}: the diameter stenosis must be a number from 0 to 100")
    segment = segment_number(row.get("segment", ""))
    if row.get("segment") and segment is None and vessel_name(row["segment"]) not in VESSELS:
        raise InputError(f"{where}: '{row['segment']}' is no SCCT segment: give its number, 1 to 18, or abbreviation")
    name = vessel_name(row.get("vessel") or ("" if segment else row.get("segment", "")))
    if not name and segment is None:
        raise InputError(f"{where} names neither vessel nor segment")
    name = name or vessel_of_segment(segment or 0)
    return LesionFinding(
        vessel=name,
        segment=segment,
        territory=vessel_definition(name).territory,
        diameter_stenosis_percent=percent,
        start_mm=_number(row, "start_mm", where),
        throat_mm=_number(row, "throat_mm", where),
        end_mm=_number(row, "end_mm", where),
        throat_ras=_position(row, where, space),
        minimal_lumen_diameter_mm=_number(row, "minimal_lumen_diameter_mm", where),
        reference_diameter_mm=_number(row, "reference_diameter_mm", where),
        plaque=row.get("plaque_type") or "unknown",
    )


def _position(row: dict[str, str], where: str, space: str | None) -> Point | None:
    for columns, told in ((_RAS, "RAS"), (_STATED, space)):
        values = [_number(row, name, where) for name in columns]
        known = [value for value in values if value is not None]
        if len(known) not in (0, 3):
            raise InputError(f"{where} gives a part of a position: fill all of {', '.join(columns)}")
        if known:
            if told is None:
                raise InputError(f"{where}: say with --space whether {columns[0]} ... are LPS or RAS")
            x, y, z = (np.array(known) * signs_of(told)).tolist()
            return x, y, z
    return None


def _number(row: dict[str, str], column: str, where: str) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value or value in (float("inf"), float("-inf")):
        raise InputError(f"{where}: '{text}' in the column '{column}' is no number")
    return value
