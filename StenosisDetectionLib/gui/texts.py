"""What the panel shows of a study, as plain texts and numbers.

In: a `StudyResult`. Out: rows and lines. Numbers have the decimals a reader can use; the tables in
the scene and the files have all of them.
"""

import math
from dataclasses import dataclass

from ..study import Lesion, StudyResult
from ..writing.wording import flag_words, interval_percent, probability, segment_words, stenosis_percent

UNREVIEWED = "software-suggested, unreviewed"
"""Stands beside every CAD-RADS category that no reader has signed."""

GRADE_COLUMN, STENOSIS_COLUMN = 2, 3
"""Which cells of a row hold the grade and the diameter stenosis."""

GRADE_COLORS = {
    "none": ((230, 230, 230), (27, 31, 36)),
    "minimal": ((191, 227, 247), (16, 48, 63)),
    "mild": ((86, 180, 233), (8, 32, 46)),
    "moderate": ((240, 180, 60), (43, 29, 0)),
    "severe": ((184, 71, 0), (255, 255, 255)),
    "occluded": ((27, 31, 36), (255, 255, 255)),
}
"""Background and text color of each grade, those of the report; the grade always stands there as a word too."""


@dataclass(frozen=True)
class LesionRow:
    """One line of the lesion table.

    Cells are texts, or numbers where sorting by number makes sense; None where unknown. `position_ras` is where
    the views go, in mm.
    """

    lesion_id: str
    position_ras: tuple[float, float, float]
    grade: str
    cells: tuple[str | float | None, ...]
    tool_tip: str


def lesion_rows(study: StudyResult) -> tuple[LesionRow, ...]:
    """Return the rows of the lesion table, in the order of the study.

    Cells: vessel, segment, grade, diameter stenosis in %, its 90 % interval, minimal lumen diameter, reference
    diameter and length in mm, flags.
    """
    return tuple(_lesion_row(lesion) for lesion in study.lesions)


def cad_rads_line(study: StudyResult) -> str:
    """Return the CAD-RADS category with its meaning and who stands for it; it never passes for a reader's finding."""
    patient = study.patient
    if patient.cad_rads is None:
        return patient.cad_rads_text
    by = f"reviewed by {patient.reviewed[0]}, {patient.reviewed[1]}" if patient.reviewed else UNREVIEWED
    category = "/".join((patient.cad_rads, *patient.modifiers))
    return f"CAD-RADS {category} ({by}): {patient.cad_rads_text}"


def summary_line(study: StudyResult) -> str:
    """Return what was found, on what and in how many seconds, in one line."""
    vessels, lesions = len(study.tree.vessels), len(study.lesions)
    model = study.segmentation.model.name
    return (
        f"{_counted(lesions, 'lesion')} on {_counted(vessels, 'vessel')} "
        f"({model}, {study.device}, {study.timing_s.get('total', 0.0):.0f} s)"
    )


def warning_lines(study: StudyResult) -> tuple[str, ...]:
    """Return what limits the study, each warning once."""
    return tuple(dict.fromkeys((*study.volume.warnings, *study.quality.warnings)))


def elapsed_text(seconds: float) -> str:
    """Return a time as minutes and seconds, for example `1:05`."""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def _lesion_row(lesion: Lesion) -> LesionRow:
    percent = lesion.diameter_stenosis_percent
    cells = (
        lesion.vessel,
        segment_words(lesion.segment),
        lesion.grade,
        float(stenosis_percent(percent)) if math.isfinite(percent) else None,
        interval_percent(lesion.diameter_stenosis_interval_90),
        _rounded(lesion.minimal_lumen_diameter_mm, 2),
        _rounded(lesion.reference_diameter_mm, 2),
        _rounded(lesion.length_mm, 1),
        "; ".join(flag_words(flag) for flag in lesion.flags),
    )
    tool_tip = (
        f"{lesion.id}: throat {lesion.throat_mm:.1f} mm along {lesion.vessel}, "
        f"area stenosis {lesion.area_stenosis_percent:.0f} %, "
        f"{probability(lesion.probability_50)} % likely to be 50 % or more, "
        f"{probability(lesion.probability_70)} % likely to be 70 % or more, plaque {lesion.plaque.type}"
    )
    return LesionRow(lesion.id, lesion.position_ras, lesion.grade, cells, tool_tip)


def _rounded(value: float, decimals: int) -> float | None:
    return round(float(value), decimals) if math.isfinite(value) else None


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
