"""report.html: one self-contained page for people.

Comes in: a `StudyResult`. Goes out: HTML text with its style, plots (SVG) and pictures (PNG as data URIs) inside, no
scripts and nothing loaded from elsewhere. The content follows the reporting guideline for coronary CT angiography
(SCCT, Leipsic 2014) as far as software can fill it; the layout is Resources/templates/report.html.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..anatomy import SEGMENTS, SegmentDefinition, segment_definition, vessel_definition
from ..errors import StenosisDetectionError
from ..resources import resource_path
from ..rows import Row, vessel_rows
from ..stenosis import assess_patient, smallest_graded_mm
from ..stenosis.burden import PLAQUE_VESSEL_MM, THICK_WALL_MM
from ..stenosis.fat_attenuation import FAT_HU
from ..stenosis.hidden import as_shown
from ..stenosis.lesions import DETECTION_PERCENT, IGNORED_END_MM
from ..stenosis.measurement import DISAGREEMENT
from ..stenosis.pressure_drop import AORTIC_MMHG, VELOCITY_M_S, VENOUS_MMHG
from ..study import Lesion, LesionReview, SegmentQuality, StudyResult, Vessel, VesselSegment
from ..version import RESEARCH_USE
from . import wording
from .document import report_model, report_parameters
from .pictures import Picture, cross_section, straightened
from .plots import DiameterPlot, diameter_plot


@dataclass(frozen=True)
class LesionFigure:
    """A lesion with its two pictures, a reader's last decision on it, and in words whether its grade is borderline."""

    lesion: Lesion
    cross_section: Picture
    straightened: Picture
    decision: LesionReview | None
    borderline: str


@dataclass(frozen=True)
class VesselFigure:
    """A vessel with its full name, its worst lesion, its row of vessels.csv and its diameter plot."""

    vessel: Vessel
    full_name: str
    worst: Lesion | None
    row: Row
    plot: DiameterPlot


@dataclass(frozen=True)
class SegmentLine:
    """A segment with its definition, the vessel it lies on, the worst lesion in it and its image quality."""

    segment: VesselSegment
    definition: SegmentDefinition
    vessel: str
    lesion: Lesion | None
    quality: SegmentQuality | None


def report_page(study: StudyResult) -> str:
    """Return report.html of a study.

    Raises
    ------
    StenosisDetectionError : jinja2 is not installed, as in a Slicer that was not asked to install it yet.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise StenosisDetectionError(
            "reports need the package jinja2: press Install packages in Slicer, or 'pip install jinja2'"
        ) from None

    environment = Environment(
        loader=FileSystemLoader(resource_path("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        number=wording.number,
        percent=wording.stenosis_percent,
        interval=wording.interval_percent,
        probability=wording.probability,
        flag=wording.flag_words,
        reference=wording.reference_words,
        segment=wording.segment_words,
        acquisition=wording.acquisition_words,
        plain=wording.plain_words,
        feature=wording.feature_words,
        decision=wording.decision_words,
    )
    return environment.get_template("report.html").render(
        study=replace(
            study, lesions=tuple(map(as_shown, study.lesions)), reviews=tuple(map(_shown_review, study.reviews))
        ),
        model=report_model(study),
        parameters=report_parameters(study),
        research_use=RESEARCH_USE,
        grades=wording.grade_ranges(),
        segment_count=len(SEGMENTS),
        cad_rads=wording.cad_rads_words(study.patient),
        category_range=category_range(study),
        disagreement_percent=100.0 * DISAGREEMENT,
        thick_wall_mm=THICK_WALL_MM,
        plaque_vessel_mm=PLAQUE_VESSEL_MM,
        fat_window=FAT_HU,
        pressures=(AORTIC_MMHG, VENOUS_MMHG, VELOCITY_M_S),
        notes=wording.study_notes(study),
        smallest_lesion_percent=DETECTION_PERCENT,
        ignored_end_mm=IGNORED_END_MM,
        lesions=[_lesion_figure(study, lesion) for lesion in study.lesions],
        vessels=_vessel_figures(study),
        segments=_segment_lines(study),
    )


def category_range(study: StudyResult) -> tuple[str, str] | None:
    """Return the categories with every lesion at the lower and at the upper end of its interval; None if they agree."""
    if not study.tree.vessels:
        return None
    ends = []
    for end in (0, 1):
        lesions = tuple(
            replace(lesion, diameter_stenosis_percent=lesion.diameter_stenosis_interval_90[end])
            for lesion in study.lesions
        )
        patient, _ = assess_patient(study.tree, study.profiles, study.references, lesions, smallest_graded_mm(study))
        ends.append(patient.cad_rads or wording.UNKNOWN)
    return (ends[0], ends[1]) if ends[0] != ends[1] else None


def _lesion_figure(study: StudyResult, lesion: Lesion) -> LesionFigure:
    index = [vessel.name for vessel in study.tree.vessels].index(lesion.vessel)
    vessel, profile = study.tree.vessels[index], study.profiles[index]
    return LesionFigure(
        as_shown(lesion),
        cross_section(study.volume, vessel, profile, lesion),
        straightened(study.volume, vessel, profile, lesion),
        next((review for review in reversed(study.reviews) if review.lesion_id == lesion.id), None),
        wording.borderline_words(lesion),
    )


def _vessel_figures(study: StudyResult) -> list[VesselFigure]:
    return [
        VesselFigure(
            vessel,
            vessel_definition(vessel.name).full_name,
            _worst(lesion for lesion in study.lesions if lesion.vessel == vessel.name),
            row,
            diameter_plot(study, index),
        )
        for index, (vessel, row) in enumerate(zip(study.tree.vessels, vessel_rows(study), strict=True))
    ]


def _worst(lesions: Iterable[Lesion]) -> Lesion | None:
    worst = max(lesions, key=lambda lesion: lesion.diameter_stenosis_percent, default=None)
    return None if worst is None else as_shown(worst)


def _shown_review(review: LesionReview) -> LesionReview:
    before, after = (None if one is None else as_shown(one) for one in (review.before, review.after))
    return replace(review, before=before, after=after)


def _segment_lines(study: StudyResult) -> list[SegmentLine]:
    """Return the segments found, in the order of their numbers."""
    lines = []
    for vessel in study.tree.vessels:
        for segment in vessel.segments:
            worst = _worst(
                lesion
                for lesion in study.lesions
                if lesion.vessel == vessel.name and segment.start_mm <= lesion.throat_mm <= segment.end_mm
            )
            quality = next(
                (q for q in study.segment_quality if q.vessel == vessel.name and q.number == segment.number), None
            )
            lines.append(SegmentLine(segment, segment_definition(segment.number), vessel.name, worst, quality))
    return sorted(lines, key=lambda line: line.segment.number)
