"""report.html: one self-contained page for people.

Comes in: a `StudyResult`. Goes out: HTML text with its style, plots (SVG) and pictures (PNG as data URIs) inside, no
scripts and nothing loaded from elsewhere. The content follows the reporting guideline for coronary CT angiography
(SCCT, Leipsic 2014) as far as software can fill it; the layout is Resources/templates/report.html.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ..anatomy import SEGMENTS, SegmentDefinition, segment_definition, vessel_definition
from ..resources import resource_path
from ..rows import Row, vessel_rows
from ..stenosis.lesions import DETECTION_PERCENT, IGNORED_END_MM
from ..study import Lesion, StudyResult, Vessel, VesselSegment
from ..version import RESEARCH_USE
from . import wording
from .document import report_model, report_parameters
from .pictures import Picture, cross_section, straightened
from .plots import DiameterPlot, diameter_plot


@dataclass(frozen=True)
class LesionFigure:
    """A lesion with its two pictures."""

    lesion: Lesion
    cross_section: Picture
    straightened: Picture


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
    """A segment with its definition, the vessel it lies on and the worst lesion in it."""

    segment: VesselSegment
    definition: SegmentDefinition
    vessel: str
    lesion: Lesion | None


def report_page(study: StudyResult) -> str:
    """Return report.html of a study."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

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
    )
    return environment.get_template("report.html").render(
        study=study,
        model=report_model(study),
        parameters=report_parameters(study),
        research_use=RESEARCH_USE,
        grades=wording.grade_ranges(),
        segment_count=len(SEGMENTS),
        cad_rads=wording.cad_rads_words(study.patient),
        notes=wording.study_notes(study),
        smallest_lesion_percent=DETECTION_PERCENT,
        ignored_end_mm=IGNORED_END_MM,
        lesions=[_lesion_figure(study, lesion) for lesion in study.lesions],
        vessels=_vessel_figures(study),
        segments=_segment_lines(study),
    )


def _lesion_figure(study: StudyResult, lesion: Lesion) -> LesionFigure:
    index = [vessel.name for vessel in study.tree.vessels].index(lesion.vessel)
    vessel, profile = study.tree.vessels[index], study.profiles[index]
    return LesionFigure(
        lesion,
        cross_section(study.volume, vessel, profile, lesion),
        straightened(study.volume, vessel, profile, lesion),
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
    return max(lesions, key=lambda lesion: lesion.diameter_stenosis_percent, default=None)


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
            lines.append(SegmentLine(segment, segment_definition(segment.number), vessel.name, worst))
    return sorted(lines, key=lambda line: line.segment.number)
