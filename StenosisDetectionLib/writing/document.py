"""report.json: a `StudyResult` as plain data with the keys, the order and the units of the public interface.

Each object holds the keys of the interface first, then what this version knows beyond them. `reviews` and `research`
stand at the end, and only where there are any.

Comes in: a `StudyResult` (RAS, mm, mm2, mm3, HU). Goes out: dictionaries, lists, text, numbers and None that follow
Resources/schema/report.schema.json. Numbers are rounded so that the file is stable and readable: lengths and areas to
0.001, percentages to 0.001 (a grade is never contradicted by rounding to 0.1), HU and MB to 0.1, probabilities to
0.0001. What is unknown is null, never NaN.
"""

import json
import math
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from ..stenosis.hidden import INTERVAL_ONLY, UNMEASURED
from ..study import (
    CTVolume,
    Lesion,
    LesionReview,
    LumenProfile,
    Patient,
    ReferenceProfile,
    ResearchFindings,
    SegmentQuality,
    StudyResult,
    Vessel,
    VesselSegment,
    VesselSeverity,
)
from .wording import study_notes

SCHEMA = "stenosis-detection/report/1"
"""The name and version of the form of report.json."""

COORDINATE_SYSTEM = "RAS"


_SEGMENT_QUALITY = ("lumen_hu", "noise_hu", "noise_error_hu", "contrast_to_noise", "measured_percent")


def report_document(study: StudyResult) -> dict[str, Any]:
    """Return report.json of a study as plain data, keys in the order of the public interface."""
    return {
        "schema": SCHEMA,
        "case": _case(study),
        "coordinate_system": COORDINATE_SYSTEM,
        "software": _software(study),
        "vessels": [
            _vessel(study, vessel, profile, reference)
            for vessel, profile, reference in zip(study.tree.vessels, study.profiles, study.references, strict=True)
        ],
        "lesions": [_lesion(lesion) for lesion in study.lesions],
        "patient": _patient(study.patient),
        "quality": _quality(study),
        "timing_s": _timing(study),
        **({"reviews": [_review(review) for review in study.reviews]} if study.reviews else {}),
        **({} if study.research is None else {"research": _research(study.research)}),
    }


def document_text(document: dict[str, Any]) -> str:
    """Return the document as JSON text: one line for each key and for each list of numbers or words."""
    return _json(document, "") + "\n"


def rounded(value: float | None, digits: int) -> float | None:
    """Return the number with that many decimals, or None where it is unknown (None, NaN or infinite)."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), digits) + 0.0  # + 0.0 turns -0.0 into 0.0


def _case(study: StudyResult) -> dict[str, Any]:
    return {"id": study.case_id, "input": input_facts(study.volume, study.voxels_sha256)}


def input_facts(volume: CTVolume, voxels_sha256: str) -> dict[str, Any]:
    """Return what is told of an input: format, checksum of the voxels, size, spacing, modality."""
    return {
        "format": volume.source_format,
        "sha256": voxels_sha256,
        "size": list(volume.size_ijk),
        "spacing_mm": _list(volume.spacing_mm, 6),
        "modality": volume.modality,
    }


def _software(study: StudyResult) -> dict[str, Any]:
    return {
        "version": study.software_version,
        "model": report_model(study),
        "device": study.device,
        "precision": study.precision,
        "parameters": report_parameters(study),
    }


def report_model(study: StudyResult) -> dict[str, str | None]:
    """Return name, version and SHA-256 of the model; of one given as a path only the base name is kept."""
    model = study.segmentation.model
    return {"name": PurePath(model.name).name, "version": model.version, "sha256": model.sha256}


def report_parameters(study: StudyResult) -> dict[str, Any]:
    """Return the options of the analysis as plain data; of a model given as a path only the base name is kept."""
    parameters = {name: _plain(value) for name, value in study.parameters.items()}
    if isinstance(parameters.get("model"), str):
        parameters["model"] = PurePath(parameters["model"]).name
    return parameters


def _vessel(study: StudyResult, vessel: Vessel, profile: LumenProfile, reference: ReferenceProfile) -> dict[str, Any]:
    quality = {one.number: one for one in study.segment_quality if one.vessel == vessel.name}
    return {
        "name": vessel.name,
        "parent": vessel.parent,
        "ostium_ras": _list(vessel.points_ras[0], 3),
        "length_mm": rounded(vessel.length_mm, 3),
        "segments": [_segment(segment, quality.get(segment.number)) for segment in vessel.segments],
        "points_ras": [_list(point, 3) for point in vessel.points_ras],
        "distance_mm": _list(vessel.distance_mm, 3),
        "lumen_area_mm2": _list(profile.area_mm2, 3),
        "lumen_diameter_mm": _list(profile.diameter_mm, 3),
        "minimum_diameter_mm": _list(profile.minimum_diameter_mm, 3),
        "maximum_diameter_mm": _list(profile.maximum_diameter_mm, 3),
        "reference_diameter_mm": _list(reference.diameter_mm, 3),
        "quality": list(profile.quality),
        "flags": list(vessel.flags),
    }


def _segment(segment: VesselSegment, quality: SegmentQuality | None) -> dict[str, Any]:
    seen = None if quality is None else vars(quality)
    return {
        "scheme": segment.scheme,
        "number": segment.number,
        "name": segment.name,
        "snomed": segment.snomed,
        "start_mm": rounded(segment.start_mm, 3),
        "end_mm": rounded(segment.end_mm, 3),
        "confidence": rounded(segment.confidence, 3),
        **{name: rounded(seen[name] if seen else None, 1) for name in _SEGMENT_QUALITY},
    }


def _lesion(lesion: Lesion) -> dict[str, Any]:
    unmeasured = dict.fromkeys(UNMEASURED if INTERVAL_ONLY in lesion.flags else ())
    return {
        "id": lesion.id,
        "vessel": lesion.vessel,
        "segment": lesion.segment,
        "position_ras": _list(lesion.position_ras, 3),
        "start_mm": rounded(lesion.start_mm, 3),
        "throat_mm": rounded(lesion.throat_mm, 3),
        "end_mm": rounded(lesion.end_mm, 3),
        "length_mm": rounded(lesion.length_mm, 3),
        "minimal_lumen_diameter_mm": rounded(lesion.minimal_lumen_diameter_mm, 3),
        "minimal_lumen_area_mm2": rounded(lesion.minimal_lumen_area_mm2, 3),
        "reference_diameter_mm": rounded(lesion.reference_diameter_mm, 3),
        "reference_method": lesion.reference_method,
        "diameter_stenosis_percent": rounded(lesion.diameter_stenosis_percent, 3),
        "diameter_stenosis_interval_90": _list(lesion.diameter_stenosis_interval_90, 3),
        "area_stenosis_percent": rounded(lesion.area_stenosis_percent, 3),
        "probability_50": rounded(lesion.probability_50, 4),
        "probability_70": rounded(lesion.probability_70, 4),
        "grade": lesion.grade,
        "plaque": {
            "type": lesion.plaque.type,
            "volume_mm3": rounded(lesion.plaque.volume_mm3, 3),
            "calcified_volume_mm3": rounded(lesion.plaque.calcified_volume_mm3, 3),
            "low_attenuation_volume_mm3": rounded(lesion.plaque.low_attenuation_volume_mm3, 3),
            "fibrofatty_volume_mm3": rounded(lesion.plaque.fibrofatty_volume_mm3, 3),
            "fibrous_volume_mm3": rounded(lesion.plaque.fibrous_volume_mm3, 3),
        },
        "flags": list(lesion.flags),
        "model_reference_diameter_mm": rounded(lesion.model_reference_diameter_mm, 3),
        "local_reference_diameter_mm": rounded(lesion.local_reference_diameter_mm, 3),
        "local_reference_method": lesion.local_reference_method,
        "eccentricity": rounded(lesion.eccentricity, 3),
        "remodeling_index": rounded(lesion.remodeling_index, 3),
        "high_risk_features": list(lesion.features),
        **unmeasured,
    }


def _patient(patient: Patient) -> dict[str, Any]:
    reviewed: bool | dict[str, str] = False
    if patient.reviewed is not None:
        reviewed = {"by": patient.reviewed[0], "at": patient.reviewed[1]}
    return {
        "cad_rads": patient.cad_rads,
        "cad_rads_text": patient.cad_rads_text,
        "plaque_burden": patient.plaque_burden,
        "segment_involvement_score": patient.segment_involvement_score,
        "dominance": patient.dominance,
        "modifiers": list(patient.modifiers),
        "reviewed": reviewed,
        "segment_stenosis_score": patient.segment_stenosis_score,
        "probability_50": rounded(patient.probability_50, 4),
        "probability_70": rounded(patient.probability_70, 4),
        "territories": [_territory(severity) for severity in patient.severity],
        "plaque": {
            "volume_mm3": rounded(patient.plaque_volume_mm3, 3),
            "calcified_volume_mm3": rounded(patient.calcified_volume_mm3, 3),
            "low_attenuation_volume_mm3": rounded(patient.low_attenuation_volume_mm3, 3),
            "fibrofatty_volume_mm3": rounded(patient.fibrofatty_volume_mm3, 3),
            "fibrous_volume_mm3": rounded(patient.fibrous_volume_mm3, 3),
            "percent_atheroma_volume": rounded(patient.percent_atheroma_volume, 3),
            "wall_shown_percent": rounded(patient.wall_shown_percent, 1),
        },
    }


def _territory(severity: VesselSeverity) -> dict[str, Any]:
    return {
        "territory": severity.territory,
        "grade": severity.grade,
        "diameter_stenosis_percent": rounded(severity.diameter_stenosis_percent, 3),
        "probability_25": rounded(severity.probability_25, 4),
        "probability_50": rounded(severity.probability_50, 4),
        "probability_70": rounded(severity.probability_70, 4),
        "assessed": severity.assessed,
    }


def _review(review: LesionReview) -> dict[str, Any]:
    before, after = review.before, review.after
    return {
        "lesion": review.lesion_id,
        "decision": review.decision,
        "by": review.by,
        "at": review.at,
        "comment": review.comment,
        "before": None if before is None else _lesion(before),
        "after": None if after is None else _lesion(after),
    }


def _research(research: ResearchFindings) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    if research.fat is not None:
        parts["fat_attenuation"] = [_numbers(vars(one)) for one in research.fat]
    if research.pressure is not None:
        parts["pressure_drop"] = [_numbers(vars(one)) for one in research.pressure]
    return parts


def _numbers(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields with their numbers rounded, also those of intervals."""
    return {
        name: _list(value, 3) if isinstance(value, tuple) else rounded(value, 3) if isinstance(value, float) else value
        for name, value in fields.items()
    }


def _quality(study: StudyResult) -> dict[str, Any]:
    quality = study.quality
    return {
        "noise_hu": rounded(quality.noise_hu, 1),
        "aorta_hu": rounded(quality.aorta_hu, 1),
        "psf_sigma_mm": None if quality.psf_sigma_mm is None else _list(quality.psf_sigma_mm, 3),
        "warnings": [*quality.warnings, *study_notes(study)],
        "blood_hu": rounded(quality.blood_hu, 1),
        "contrast_to_noise": rounded(quality.contrast_to_noise, 1),
    }


def _timing(study: StudyResult) -> dict[str, float | None]:
    timing: dict[str, float | None] = {stage: rounded(seconds, 3) for stage, seconds in study.timing_s.items()}
    timing["peak_memory_mb"] = rounded(study.peak_memory_mb, 1)
    return timing


def _list(values: Iterable[float], digits: int) -> list[float | None]:
    return [rounded(float(value), digits) for value in values]


def _plain(value: object) -> Any:
    """Return an option as JSON can hold it; numpy numbers become Python numbers, unknown numbers None."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return _plain(value.item())
    if isinstance(value, float):
        return rounded(value, 6)
    return str(value)


def _json(value: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(key, ensure_ascii=False)}: {_json(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(inner + _json(item, inner) for item in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
