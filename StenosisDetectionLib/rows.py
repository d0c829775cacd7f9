"""The tables of a study, a row per lesion, vessel, segment or patient: the one source of CSV files and Slicer tables.

In: a `StudyResult`. Out: rows as dicts by column name, with plain Python values (str, int, float), lengths in mm,
areas in mm2, volumes in mm3; None where a number is unknown (never NaN). Column names are stable English and not
translated, since scripts depend on them; titles and descriptions are for people, and in Slicer in their language where
Slicer shows them.
"""

import math
from dataclasses import dataclass

import numpy as np

from .anatomy import segment_definition, vessel_definition
from .i18n import tr as _
from .stenosis.burden import segment_scores
from .stenosis.hidden import as_shown
from .stenosis.patient import probability_25, territory_of
from .study import Lesion, LumenProfile, ReferenceProfile, SegmentQuality, StudyResult, Vessel, VesselSegment

Row = dict[str, str | int | float | None]
"""A row of a table by column name."""


@dataclass(frozen=True)
class Column:
    """A column: stable name, type of its values (str, int or float), title, unit (UCUM, empty for none), description.

    Floats are rounded to `decimals`, about a tenth of what the measurement can resolve.
    """

    name: str
    type: type
    title: str
    unit: str
    description: str
    decimals: int = 3


LESION_COLUMNS: tuple[Column, ...] = (
    Column("id", str, _("Lesion"), "", _("Name of the lesion within the study")),
    Column("vessel", str, _("Vessel"), "", _("Vessel the lesion lies on")),
    Column("segment", str, _("Segment"), "", _("Segment of the SCCT 18-segment model at the throat")),
    Column("grade", str, _("Grade"), "", _("none, minimal, mild, moderate, severe or occluded")),
    Column("diameter_stenosis_percent", float, _("Diameter stenosis"), "%", _("1 - throat / reference diameter"), 1),
    Column("diameter_stenosis_low_percent", float, _("Stenosis, low"), "%", _("Lower end of the 90 % interval"), 1),
    Column("diameter_stenosis_high_percent", float, _("Stenosis, high"), "%", _("Upper end of the 90 % interval"), 1),
    Column("area_stenosis_percent", float, _("Area stenosis"), "%", _("1 - throat / reference lumen area"), 1),
    Column("probability_50", float, _("P(>= 50 %)"), "", _("Probability that the diameter stenosis is 50 % or more")),
    Column("probability_70", float, _("P(>= 70 %)"), "", _("Probability that the diameter stenosis is 70 % or more")),
    Column(
        "minimal_lumen_diameter_mm", float, _("Minimal lumen diameter"), "mm", _("Equivalent diameter at the throat")
    ),
    Column("minimal_lumen_area_mm2", float, _("Minimal lumen area"), "mm2", _("Lumen area at the throat")),
    Column("reference_diameter_mm", float, _("Reference diameter"), "mm", _("Healthy diameter at the throat")),
    Column("reference_method", str, _("Reference method"), "", _("How the healthy diameter was found")),
    Column("length_mm", float, _("Length"), "mm", _("Length of the lesion along the vessel"), 2),
    Column("start_mm", float, _("Start"), "mm", _("Distance of the lesion's start along the vessel"), 2),
    Column("throat_mm", float, _("Throat"), "mm", _("Distance of the narrowest place along the vessel"), 2),
    Column("end_mm", float, _("End"), "mm", _("Distance of the lesion's end along the vessel"), 2),
    Column("position_r_mm", float, _("R"), "mm", _("Position of the throat, to the right (RAS)")),
    Column("position_a_mm", float, _("A"), "mm", _("Position of the throat, to the front (RAS)")),
    Column("position_s_mm", float, _("S"), "mm", _("Position of the throat, to the head (RAS)")),
    Column("plaque_type", str, _("Plaque"), "", _("calcified, noncalcified, mixed or unknown")),
    Column("plaque_volume_mm3", float, _("Plaque volume"), "mm3", _("Volume of the plaque"), 1),
    Column("calcified_volume_mm3", float, _("Calcified volume"), "mm3", _("Volume of its calcified part"), 1),
    Column(
        "low_attenuation_volume_mm3",
        float,
        _("Low attenuation"),
        "mm3",
        _("Volume of noncalcified plaque below 30 HU"),
        1,
    ),
    Column("fibrofatty_volume_mm3", float, _("Fibrofatty"), "mm3", _("Noncalcified plaque of 30 to 130 HU"), 1),
    Column("fibrous_volume_mm3", float, _("Fibrous"), "mm3", _("Noncalcified plaque above 130 HU"), 1),
    Column("model_reference_diameter_mm", float, _("Model reference"), "mm", _("Healthy diameter of the taper model")),
    Column("local_reference_diameter_mm", float, _("Local reference"), "mm", _("Healthy diameter beside the lesion")),
    Column(
        "local_reference_method", str, _("Local method"), "", _("interp (both sides), prox or dist; empty for none")
    ),
    Column("eccentricity", float, _("Eccentricity"), "", _("Smallest over largest lumen diameter at the throat")),
    Column(
        "remodeling_index", float, _("Remodeling"), "", _("Outer diameter at the throat over that beside the lesion")
    ),
    Column("features", str, _("Features"), "", _("Candidates of high-risk plaque features, words separated by spaces")),
    Column("flags", str, _("Flags"), "", _("What limits the measurement, words separated by spaces")),
)

VESSEL_COLUMNS: tuple[Column, ...] = (
    Column("vessel", str, _("Vessel"), "", _("Short name of the vessel")),
    Column("full_name", str, _("Name"), "", _("Full name of the vessel")),
    Column("parent", str, _("Parent"), "", _("Vessel it branches from; empty when it begins at the aorta")),
    Column("territory", str, _("Territory"), "", _("Main vessel whose territory it belongs to: LM, LAD, LCX or RCA")),
    Column("segments", str, _("Segments"), "", _("Numbers of its segments in the SCCT 18-segment model")),
    Column("length_mm", float, _("Length"), "mm", _("Length of the centerline"), 2),
    Column("mean_lumen_diameter_mm", float, _("Mean diameter"), "mm", _("Mean of the measured lumen diameters")),
    Column(
        "minimal_lumen_diameter_mm", float, _("Minimal diameter"), "mm", _("Smallest of the measured lumen diameters")
    ),
    Column("mean_reference_diameter_mm", float, _("Mean reference"), "mm", _("Mean of the healthy diameters")),
    Column("lumen_volume_mm3", float, _("Lumen volume"), "mm3", _("Volume of the measured lumen"), 1),
    Column("measured_percent", float, _("Measured"), "%", _("Share of the centerline where the lumen was measured"), 1),
    Column("lesions", int, _("Lesions"), "", _("Number of lesions on the vessel")),
    Column("grade", str, _("Grade"), "", _("Grade of its worst lesion; empty when nothing could be measured")),
    Column("diameter_stenosis_percent", float, _("Diameter stenosis"), "%", _("Of its worst lesion"), 1),
    Column("probability_25", float, _("P(>= 25 %)"), "", _("Largest probability among its lesions")),
    Column("probability_50", float, _("P(>= 50 %)"), "", _("Largest probability among its lesions")),
    Column("probability_70", float, _("P(>= 70 %)"), "", _("Largest probability among its lesions")),
    Column("ostium_r_mm", float, _("R"), "mm", _("Position of the vessel's start, to the right (RAS)")),
    Column("ostium_a_mm", float, _("A"), "mm", _("Position of the vessel's start, to the front (RAS)")),
    Column("ostium_s_mm", float, _("S"), "mm", _("Position of the vessel's start, to the head (RAS)")),
    Column("flags", str, _("Flags"), "", _("What limits the measurement, words separated by spaces")),
)


SEGMENT_COLUMNS: tuple[Column, ...] = (
    Column("segment", str, "Segment", "", "Abbreviation of the segment of the SCCT 18-segment model"),
    Column("number", int, "Number", "", "Its number in the SCCT 18-segment model"),
    Column("snomed", str, "SNOMED CT", "", "Its code in SNOMED CT"),
    Column("vessel", str, "Vessel", "", "Vessel it lies on"),
    Column("start_mm", float, "Start", "mm", "Distance of its start along the vessel", 2),
    Column("end_mm", float, "End", "mm", "Distance of its end along the vessel", 2),
    Column("confidence", float, "Confidence", "", "Of its borders, 0 to 1"),
    Column("measured_percent", float, "Measured", "%", "Share of its length where the lumen was measured", 1),
    Column("lumen_hu", float, "Lumen", "[hnsf'U]", "Median attenuation at the center of the lumen", 1),
    Column("noise_hu", float, "Noise", "[hnsf'U]", "Standard deviation in the core of the lumen", 1),
    Column("noise_error_hu", float, "Noise, error", "[hnsf'U]", "Standard error of the noise", 1),
    Column("contrast_to_noise", float, "Contrast to noise", "", "Lumen minus surroundings over noise", 1),
    Column("lesions", int, "Lesions", "", "Number of lesions with their throat in it"),
    Column("grade", str, "Grade", "", "Grade of its worst lesion; empty when nothing was measured"),
    Column("diameter_stenosis_percent", float, "Diameter stenosis", "%", "Of its worst lesion", 1),
    Column("stenosis_score", int, "Score", "", "Its part of the segment stenosis score, 0 to 3"),
)

_TERRITORIES = ("LM", "LAD", "LCX", "RCA")

PATIENT_COLUMNS: tuple[Column, ...] = (
    Column("case", str, "Case", "", "Pseudonymous name of the case"),
    Column("cad_rads", str, "CAD-RADS", "", "CAD-RADS 2.0 category, a candidate until reviewed"),
    Column("plaque_burden", str, "P", "", "Plaque burden of CAD-RADS 2.0 by segment involvement"),
    Column("modifiers", str, "Modifiers", "", "Modifiers of CAD-RADS 2.0, words separated by spaces"),
    Column("segment_involvement_score", int, "SIS", "", "Segments with plaque, of 18"),
    Column("segment_stenosis_score", int, "SSS", "", "Sum over the segments of 0 to 3, of 54"),
    Column("probability_50", float, "P(>= 50 %)", "", "Largest of the territories"),
    Column("probability_70", float, "P(>= 70 %)", "", "Largest of the territories"),
    Column("dominance", str, "Dominance", "", "right, left, balanced or unknown"),
    *(
        Column(f"{name.lower()}_{field}", kind, f"{name} {title}", unit, description, decimals)
        for name in _TERRITORIES
        for field, kind, title, unit, description, decimals in (
            ("grade", str, "grade", "", "Worst grade; empty where it was not found", 0),
            ("diameter_stenosis_percent", float, "stenosis", "%", "Of its worst lesion", 1),
            ("probability_25", float, "P(>= 25 %)", "", "Largest of its lesions", 3),
            ("probability_50", float, "P(>= 50 %)", "", "Largest of its lesions", 3),
            ("probability_70", float, "P(>= 70 %)", "", "Largest of its lesions", 3),
            ("assessed", str, "assessed", "", "yes, or no where a part of it could not be", 0),
        )
    ),
    Column("plaque_volume_mm3", float, "Plaque volume", "mm3", "Where the outer wall can be measured", 1),
    Column("calcified_volume_mm3", float, "Calcified", "mm3", "Volume of its calcified part", 1),
    Column("low_attenuation_volume_mm3", float, "Low attenuation", "mm3", "Noncalcified plaque below 30 HU", 1),
    Column("fibrofatty_volume_mm3", float, "Fibrofatty", "mm3", "Noncalcified plaque of 30 to 130 HU", 1),
    Column("fibrous_volume_mm3", float, "Fibrous", "mm3", "Noncalcified plaque above 130 HU", 1),
    Column("atheroma_volume_percent", float, "Atheroma volume", "%", "Plaque over vessel within the outer wall", 2),
    Column("wall_shown_percent", float, "Wall shown", "%", "Share of the length where the outer wall is measured", 1),
    Column("noise_hu", float, "Noise", "[hnsf'U]", "Standard deviation in the aorta", 1),
    Column("aorta_hu", float, "Aorta", "[hnsf'U]", "Attenuation of the aorta", 1),
    Column("contrast_to_noise", float, "Contrast to noise", "", "Median along the main vessels", 1),
    Column("reviewed_by", str, "Reviewed by", "", "Reader who signed; empty until then"),
    Column("reviewed_at", str, "Reviewed at", "", "When (ISO 8601)"),
)


def lesion_rows(study: StudyResult) -> list[Row]:
    """Return one row per lesion with the columns of `LESION_COLUMNS`, in the order of the study."""
    return [_row(LESION_COLUMNS, _lesion_values(lesion)) for lesion in study.lesions]


def vessel_rows(study: StudyResult) -> list[Row]:
    """Return one row per vessel with the columns of `VESSEL_COLUMNS`, in the order of the tree."""
    measured = zip(study.tree.vessels, study.profiles, study.references, strict=True)
    return [
        _row(VESSEL_COLUMNS, _vessel_values(study, vessel, profile, reference))
        for vessel, profile, reference in measured
    ]


def segment_rows(study: StudyResult) -> list[Row]:
    """Return one row per SCCT segment with the columns of `SEGMENT_COLUMNS`, in the order of their numbers."""
    scores = segment_scores(study.tree, study.profiles, study.lesions)
    quality = {(one.vessel, one.number): one for one in study.segment_quality}
    rows = []
    for vessel in study.tree.vessels:
        for segment in vessel.segments:
            seen = quality.get((vessel.name, segment.number))
            rows.append(_row(SEGMENT_COLUMNS, _segment_values(study, vessel, segment, seen, scores)))
    return sorted(rows, key=lambda row: int(row["number"] or 0))


def patient_row(study: StudyResult) -> Row:
    """Return the row of the patient with the columns of `PATIENT_COLUMNS`."""
    patient, quality = study.patient, study.quality
    by, at = patient.reviewed or ("", "")
    values: dict[str, object] = {
        **vars(patient),
        "case": study.case_id,
        "cad_rads": patient.cad_rads or "",
        "plaque_burden": patient.plaque_burden or "",
        "modifiers": " ".join(patient.modifiers),
        "probability_50": patient.probability_50,
        "probability_70": patient.probability_70,
        "atheroma_volume_percent": patient.percent_atheroma_volume,
        "noise_hu": quality.noise_hu,
        "aorta_hu": quality.aorta_hu,
        "contrast_to_noise": quality.contrast_to_noise,
        "reviewed_by": by,
        "reviewed_at": at,
    }
    found = {one.territory: one for one in patient.severity}
    for name in _TERRITORIES:
        severity = found.get(name)
        for field in ("grade", "diameter_stenosis_percent", "probability_25", "probability_50", "probability_70"):
            values[f"{name.lower()}_{field}"] = None if severity is None else getattr(severity, field)
        values[f"{name.lower()}_assessed"] = "yes" if severity is not None and severity.assessed else "no"
    return _row(PATIENT_COLUMNS, values)


def _segment_values(
    study: StudyResult,
    vessel: Vessel,
    segment: VesselSegment,
    quality: SegmentQuality | None,
    scores: dict[str, int],
) -> dict[str, object]:
    name = segment_definition(segment.number).abbreviation
    lesions = [lesion for lesion in study.lesions if lesion.vessel == vessel.name and lesion.segment == name]
    worst = max(lesions, key=lambda lesion: lesion.diameter_stenosis_percent, default=None)
    measured = quality is not None and quality.measured_percent > 0.0
    return {
        "segment": name,
        "number": segment.number,
        "snomed": segment.snomed,
        "vessel": vessel.name,
        "start_mm": segment.start_mm,
        "end_mm": segment.end_mm,
        "confidence": segment.confidence,
        "measured_percent": None if quality is None else quality.measured_percent,
        "lumen_hu": None if quality is None else quality.lumen_hu,
        "noise_hu": None if quality is None else quality.noise_hu,
        "noise_error_hu": None if quality is None else quality.noise_error_hu,
        "contrast_to_noise": None if quality is None else quality.contrast_to_noise,
        "lesions": len(lesions),
        "grade": worst.grade if worst else ("none" if measured else ""),
        "diameter_stenosis_percent": as_shown(worst).diameter_stenosis_percent if worst else None,
        "stenosis_score": scores.get(name, 0),
    }


def _lesion_values(lesion: Lesion) -> dict[str, object]:
    low, high = lesion.diameter_stenosis_interval_90
    right, anterior, superior = lesion.position_ras
    return {
        **vars(as_shown(lesion)),
        "diameter_stenosis_low_percent": low,
        "diameter_stenosis_high_percent": high,
        "position_r_mm": right,
        "position_a_mm": anterior,
        "position_s_mm": superior,
        "plaque_type": lesion.plaque.type,
        "plaque_volume_mm3": lesion.plaque.volume_mm3,
        "calcified_volume_mm3": lesion.plaque.calcified_volume_mm3,
        "low_attenuation_volume_mm3": lesion.plaque.low_attenuation_volume_mm3,
        "fibrofatty_volume_mm3": lesion.plaque.fibrofatty_volume_mm3,
        "fibrous_volume_mm3": lesion.plaque.fibrous_volume_mm3,
        "local_reference_method": lesion.local_reference_method or "",
        "features": " ".join(lesion.features),
        "flags": " ".join(lesion.flags),
    }


def _vessel_values(
    study: StudyResult, vessel: Vessel, profile: LumenProfile, reference: ReferenceProfile
) -> dict[str, object]:
    lesions = [lesion for lesion in study.lesions if lesion.vessel == vessel.name]
    worst = max(lesions, key=lambda lesion: lesion.diameter_stenosis_percent, default=None)
    diameter = profile.diameter_mm[np.isfinite(profile.diameter_mm)]
    healthy = reference.diameter_mm[np.isfinite(reference.diameter_mm)]
    area = profile.area_mm2[np.isfinite(profile.area_mm2)]
    count = len(vessel.points_ras)
    right, anterior, superior = vessel.points_ras[0]
    return {
        "vessel": vessel.name,
        "full_name": vessel_definition(vessel.name).full_name,
        "parent": vessel.parent or "",
        "territory": territory_of(study.tree, vessel.name),
        "segments": " ".join(str(segment.number) for segment in vessel.segments),
        "length_mm": vessel.length_mm,
        "mean_lumen_diameter_mm": diameter.mean() if diameter.size else None,
        "minimal_lumen_diameter_mm": diameter.min() if diameter.size else None,
        "mean_reference_diameter_mm": healthy.mean() if healthy.size else None,
        # Each measured point stands for an equal piece of the centerline, so gaps add nothing.
        "lumen_volume_mm3": area.sum() * vessel.length_mm / (count - 1) if area.size and count > 1 else None,
        "measured_percent": 100.0 * diameter.size / count,
        "lesions": len(lesions),
        "grade": worst.grade if worst else ("none" if diameter.size else ""),
        "diameter_stenosis_percent": as_shown(worst).diameter_stenosis_percent if worst else None,
        "probability_25": max((probability_25(lesion) for lesion in lesions), default=None),
        "probability_50": max((lesion.probability_50 for lesion in lesions), default=None),
        "probability_70": max((lesion.probability_70 for lesion in lesions), default=None),
        "ostium_r_mm": right,
        "ostium_a_mm": anterior,
        "ostium_s_mm": superior,
        "flags": " ".join(vessel.flags),
    }


def _row(columns: tuple[Column, ...], values: dict[str, object]) -> Row:
    return {column.name: _plain(column, values[column.name]) for column in columns}


def _plain(column: Column, value: object) -> str | int | float | None:
    """Return a value as a plain Python one of the column's type, None for what is unknown."""
    if value is None:
        return None
    if column.type is not float:
        return column.type(value)
    number = float(value)  # type: ignore[arg-type]
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    return round(number, column.decimals) + 0.0 if math.isfinite(number) else None
