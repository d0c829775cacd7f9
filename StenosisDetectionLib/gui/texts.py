"""What the panel shows of a study, as plain texts and numbers.

In: a `StudyResult` and the review of it. Out: rows and lines. Numbers have the decimals a reader can use; the tables in
the scene and the files have all of them.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..i18n import tr as _
from ..rows import vessel_rows
from ..stenosis.hidden import INTERVAL_ONLY, as_shown
from ..study import Lesion, StudyResult
from ..writing.wording import (
    cad_rads_words,
    flag_words,
    interval_percent,
    number,
    probability,
    segment_words,
    stenosis_percent,
    stenosis_words,
    study_notes,
)
from .review import ACCEPTED, REJECTED, Opinion, Review
from .vocabulary import sentence, word

if TYPE_CHECKING:
    from ..segmentation.models import RegisteredModel

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
        lesions = [lesion for lesion in study.lesions if lesion.vessel == name]
        worst = max(lesions, key=lambda lesion: lesion.diameter_stenosis_percent, default=None)
        cells = (
            name,
            _rounded(row["length_mm"], 0),
            float(row["lesions"] or 0),
            float(stenosis_percent(float(percent))) if percent is not None else None,
            grade_words(worst) if worst is not None else word(str(row["grade"])),
            _rounded(row["minimal_lumen_diameter_mm"], 2),
            _rounded(row["measured_percent"], 0),
        )
        flags = "".join(f"; {sentence(flag_words(flag))}" for flag in str(row["flags"]).split())
        rows.append(VesselRow(name, str(row["grade"]), cells, f"{row['full_name']}{flags}"))
    return tuple(rows)


def cad_rads_line(study: StudyResult) -> str:
    """Return the CAD-RADS category with its meaning and who stands for it; it never passes for a reader's finding."""
    patient = study.patient
    if patient.cad_rads is None:
        return sentence(patient.cad_rads_text)
    by = (
        _("reviewed by {name}, {time} UTC").format(
            name=patient.reviewed[0], time=patient.reviewed[1][:16].replace("T", " ")
        )
        if patient.reviewed
        else _("software-suggested, unreviewed")
    )
    text = word(patient.cad_rads_text)
    return _("CAD-RADS {category} ({by}): {text}").format(category=cad_rads_words(patient), by=by, text=text)


def summary_line(study: StudyResult) -> str:
    """Return what was found, on what and in how many seconds, in one line."""
    return _("{lesions} on {vessels} ({model}, {device}, {seconds} s)").format(
        lesions=_counted(len(study.lesions), _("{count} lesion"), _("{count} lesions")),
        vessels=_counted(len(study.tree.vessels), _("{count} vessel"), _("{count} vessels")),
        model=study.segmentation.model.name,
        device=study.device,
        seconds=f"{study.timing_s.get('total', 0.0):.0f}",
    )


def worst_lesion(study: StudyResult) -> str | None:
    """Return the id of the lesion with the highest diameter stenosis; None when there is none."""
    known = [lesion for lesion in study.lesions if math.isfinite(lesion.diameter_stenosis_percent)]
    return max(known, key=lambda lesion: lesion.diameter_stenosis_percent).id if known else None


def warning_lines(study: StudyResult) -> tuple[str, ...]:
    """Return what limits the study, each warning once."""
    lines = dict.fromkeys((*study.volume.warnings, *study.quality.warnings, *study_notes(study)))
    return tuple(sentence(line) for line in lines)


def model_text(model: "RegisteredModel") -> str:
    """Return what a model is, under which license, and what it lacks on this computer."""
    sentences = [sentence(model.description)]
    if model.license:
        sentences.append(_("License of its weights: {license}.").format(license=model.license))
    if not model.installed:
        sentences.append(_("It is not on this computer yet."))
    return " ".join(sentences)


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
    return _("{elapsed}, about {left} left").format(elapsed=text, left=elapsed_text(5.0 * math.ceil(left / 5.0)))


def moved_line(before: Lesion, now: Lesion) -> str:
    """Return a lesion in one line and, where its markers were moved, what that changed."""
    words = stenosis_words(now)
    if before != now:
        words = f"{stenosis_words(before)} → {words}"
    return _("{id} {segment}: {stenosis}, {grade}, {diameter} of {reference} mm, {length} mm long").format(
        id=now.id,
        segment=segment_words(now.segment),
        stenosis=words,
        grade=grade_words(now),
        diameter=number(as_shown(now).minimal_lumen_diameter_mm, 2),
        reference=number(now.reference_diameter_mm, 2),
        length=f"{now.length_mm:.1f}",
    )


def grade_words(lesion: Lesion) -> str:
    """Return the grade of a lesion as a word, `or more` where calcium hides the lumen."""
    grade = word(lesion.grade)
    return _("{grade} or more").format(grade=grade) if INTERVAL_ONLY in lesion.flags else grade


def lesion_row(lesion: Lesion, opinion: Opinion) -> LesionRow:
    """Return the row of one lesion; where calcium hides the lumen, its numbers are unknown."""
    lesion = as_shown(lesion)
    percent = lesion.diameter_stenosis_percent
    mark = _MARKS.get(opinion.state, _("open"))
    cells = (
        segment_words(lesion.segment),
        grade_words(lesion),
        float(stenosis_percent(percent)) if math.isfinite(percent) else None,
        interval_percent(lesion.diameter_stenosis_interval_90),
        _("{mark} edited").format(mark=mark) if opinion.edited else mark,
        _rounded(lesion.minimal_lumen_diameter_mm, 2),
        _rounded(lesion.reference_diameter_mm, 2),
        _rounded(lesion.length_mm, 1),
        word(lesion.plaque.type),
        "; ".join(sentence(flag_words(flag)) for flag in lesion.flags),
        opinion.comment,
    )
    tool_tip = _(
        "{id}: throat {distance} mm along {vessel}, area stenosis {area} %, {half} % likely to be 50 % or more, "
        "{severe} % likely to be 70 % or more, plaque {plaque}"
    ).format(
        id=lesion.id,
        distance=f"{lesion.throat_mm:.1f}",
        vessel=lesion.vessel,
        area=number(lesion.area_stenosis_percent, 0),
        half=probability(lesion.probability_50),
        severe=probability(lesion.probability_70),
        plaque=word(lesion.plaque.type),
    )
    return LesionRow(lesion.id, lesion.grade, cells, tool_tip, opinion.state != REJECTED)


def _rounded(value: object, decimals: int) -> float | None:
    number = math.nan if value is None else float(value)  # type: ignore[arg-type]
    return round(number, decimals) if math.isfinite(number) else None


def _counted(number: int, one: str, several: str) -> str:
    return (one if number == 1 else several).format(count=number)
