"""What the panel shows of a study, as plain texts and numbers.

In: a `StudyResult` and the review of it. Out: rows and lines. Numbers have the decimals a reader can use; the tables in
the scene and the files have all of them.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rows import vessel_rows
from ..study import Lesion, StudyResult
from ..writing.wording import flag_words, interval_percent, probability, segment_words, stenosis_percent, study_notes
from .review import ACCEPTED, REJECTED, Opinion, Review

if TYPE_CHECKING:
    from ..segmentation.models import RegisteredModel

UNREVIEWED = "software-suggested, unreviewed"
"""Stands beside every CAD-RADS category that no reader has signed."""

GRADE_COLUMN, STENOSIS_COLUMN, REVIEW_COLUMN = 1, 2, 4
"""Which cells of a lesion row hold the grade, the diameter stenosis and the decision."""

VESSEL_GRADE_COLUMN = 4
"""Which cell of a vessel row holds the grade."""

GRADE_COLORS = {
    "none": ((230, 230, 230), (27, 31, 36)),
    "minimal": ((191, 227, 247), (16, 48, 63)),
    "mild": ((86, 180, 233), (8, 32, 46)),
    "moderate": ((240, 180, 60), (43, 29, 0)),
    "severe": ((184, 71, 0), (255, 255, 255)),
    "occluded": ((27, 31, 36), (255, 255, 255)),
}
"""Background and text color of each grade, those of the report; the grade always stands there as a word too."""

_MARKS = {ACCEPTED: "✓", REJECTED: "✗"}

Cell = str | float | None


@dataclass(frozen=True)
class LesionRow:
    """One line of the lesion table.

    Cells are texts, or numbers where sorting by number makes sense; None where unknown. `counts` is False for what a
    reader rejected.
    """

    lesion_id: str
    grade: str
    cells: tuple[Cell, ...]
    tool_tip: str
    counts: bool = True


@dataclass(frozen=True)
class VesselRow:
    """One line of the vessel table; cells as in `LesionRow`."""

    vessel: str
    grade: str
    cells: tuple[Cell, ...]
    tool_tip: str


def lesion_rows(study: StudyResult, review: Review | None = None) -> tuple[LesionRow, ...]:
    """Return the rows of the lesion table, in the order of the study.

    Cells: segment, grade, diameter stenosis in %, its 90 % interval, decision of the reader, minimal lumen diameter,
    reference diameter and length in mm, plaque, flags, comment.
    """
    review = review or Review()
    return tuple(lesion_row(lesion, review.opinion(lesion.id)) for lesion in study.lesions)


def vessel_table_rows(study: StudyResult) -> tuple[VesselRow, ...]:
    """Return the rows of the vessel table, in the order of the tree.

    Cells: vessel, length in mm, number of lesions, worst diameter stenosis in %, its grade, smallest diameter in mm,
    measured share of the length in %.
    """
    rows = []
    for row in vessel_rows(study):
        name = str(row["vessel"])
        percent = row["diameter_stenosis_percent"]
        cells = (
            name,
            _rounded(row["length_mm"], 0),
            float(row["lesions"] or 0),
            float(stenosis_percent(float(percent))) if percent is not None else None,
            str(row["grade"]),
            _rounded(row["minimal_lumen_diameter_mm"], 2),
            _rounded(row["measured_percent"], 0),
        )
        flags = "".join(f"; {flag_words(flag)}" for flag in str(row["flags"]).split())
        rows.append(VesselRow(name, str(row["grade"]), cells, f"{row['full_name']}{flags}"))
    return tuple(rows)


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


def worst_lesion(study: StudyResult) -> str | None:
    """Return the id of the lesion with the highest diameter stenosis; None when there is none."""
    known = [lesion for lesion in study.lesions if math.isfinite(lesion.diameter_stenosis_percent)]
    return max(known, key=lambda lesion: lesion.diameter_stenosis_percent).id if known else None


def warning_lines(study: StudyResult) -> tuple[str, ...]:
    """Return what limits the study, each warning once."""
    return tuple(dict.fromkeys((*study.volume.warnings, *study.quality.warnings, *study_notes(study))))


def model_text(model: "RegisteredModel") -> str:
    """Return what a model is, under which license, and what it lacks on this computer."""
    text = model.description
    if model.license:
        text += f" License of its weights: {model.license}."
    if not model.installed:
        text += " It is not on this computer yet."
    return text


def elapsed_text(seconds: float) -> str:
    """Return a time as minutes and seconds, for example `1:05`."""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def time_text(elapsed_s: float, fraction: float) -> str:
    """Return the elapsed time and, once there is something to judge by, the remaining one, for example
    `0:20, about 0:40 left`."""
    text = elapsed_text(elapsed_s)
    if elapsed_s < 3.0 or not 0.05 <= fraction < 1.0:
        return text
    left = elapsed_s * (1.0 - fraction) / fraction
    # In steps of 5 s: the guess is no better than that, and a number that flickers cannot be read.
    return f"{text}, about {elapsed_text(5.0 * math.ceil(left / 5.0))} left"


def moved_line(before: Lesion, now: Lesion) -> str:
    """Return a lesion in one line and, where its markers were moved, what that changed."""
    low, high = now.diameter_stenosis_interval_90
    words = f"{stenosis_percent(now.diameter_stenosis_percent)} % ({low:.0f}–{high:.0f})"
    if before != now:
        words = f"{stenosis_percent(before.diameter_stenosis_percent)} % → {words}"
    diameters = f"{now.minimal_lumen_diameter_mm:.2f} of {now.reference_diameter_mm:.2f} mm"
    return f"{now.id} {segment_words(now.segment)}: {words}, {now.grade}, {diameters}, {now.length_mm:.1f} mm long"


def lesion_row(lesion: Lesion, opinion: Opinion) -> LesionRow:
    """Return the row of one lesion."""
    percent = lesion.diameter_stenosis_percent
    mark = _MARKS.get(opinion.state, "open")
    cells = (
        segment_words(lesion.segment),
        lesion.grade,
        float(stenosis_percent(percent)) if math.isfinite(percent) else None,
        interval_percent(lesion.diameter_stenosis_interval_90),
        f"{mark} edited" if opinion.edited else mark,
        _rounded(lesion.minimal_lumen_diameter_mm, 2),
        _rounded(lesion.reference_diameter_mm, 2),
        _rounded(lesion.length_mm, 1),
        lesion.plaque.type,
        "; ".join(flag_words(flag) for flag in lesion.flags),
        opinion.comment,
    )
    tool_tip = (
        f"{lesion.id}: throat {lesion.throat_mm:.1f} mm along {lesion.vessel}, "
        f"area stenosis {lesion.area_stenosis_percent:.0f} %, "
        f"{probability(lesion.probability_50)} % likely to be 50 % or more, "
        f"{probability(lesion.probability_70)} % likely to be 70 % or more, plaque {lesion.plaque.type}"
    )
    return LesionRow(lesion.id, lesion.grade, cells, tool_tip, opinion.state != REJECTED)


def _rounded(value: object, decimals: int) -> float | None:
    number = math.nan if value is None else float(value)  # type: ignore[arg-type]
    return round(number, decimals) if math.isfinite(number) else None


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
