"""The findings of the patient: CAD-RADS 2.0, plaque burden and what could not be assessed.

In: tree, profiles, references and lesions. Out: a `Patient` and warnings, one line each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..anatomy import vessel_definition
from ..study import CENTERLINE_SPACING_MM, Patient
from .cad_rads import cad_rads, plaque_burden
from .stretch import segment_at

if TYPE_CHECKING:
    from ..study import Lesion, LumenProfile, ReferenceProfile, VesselTree

MAIN_VESSELS = ("LAD", "LCX", "RCA")

COMPUTED_MODIFIERS = ("N", "HRP", "S")
"""Modifiers that are computed; the others (I, G, E) only a reader can know."""

HIDDEN_MM = 2.0
"""Calcium that hides the lumen of a segment over this length leaves open whether it is narrowed."""

_UNASSESSED = ("low_contrast", "unreliable", "calcium", "outside")
_CALCIUM_MM2, _CALCIUM_MM = 0.5, 1.0


def territory_of(tree: VesselTree, name: str) -> str:
    """Return the territory LM, LAD, LCX or RCA that a vessel belongs to; empty when it cannot be told.

    Posterior branches belong to the vessel that gives them, whichever that is, and so do branches without a rule.
    """
    vessel = tree.vessel(name)
    while vessel.parent not in (None, "LM") and vessel.name not in ("LM", *MAIN_VESSELS):
        vessel = tree.vessel(str(vessel.parent))
    return vessel_definition(vessel.name).territory


def assess_patient(
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    references: tuple[ReferenceProfile, ...],
    lesions: tuple[Lesion, ...],
    minimum_reference_diameter_mm: float,
) -> tuple[Patient, tuple[str, ...]]:
    """Return the patient's findings and warnings about what is missing."""
    if not tree.vessels:
        text = "no coronary artery was found; nothing was assessed"
        return Patient(None, text, None, None, tree.dominance), (text,)
    stenosis: dict[str, float] = {}
    for lesion in lesions:
        # Where the territory cannot be told the lesion still counts, as one more of the largest territory.
        territory = territory_of(tree, lesion.vessel) or "LAD"
        stenosis[territory] = max(stenosis.get(territory, 0.0), lesion.diameter_stenosis_percent)
    calcified = _calcified_segments(tree, profiles)
    involved = {lesion.segment for lesion in lesions} | calcified
    missing = [name for name in MAIN_VESSELS if all(vessel.name != name for vessel in tree.vessels)]
    segments = list(_graded_segments(tree, profiles, references, minimum_reference_diameter_mm))
    unassessed = [name for name, quality, known in segments if _mostly_unmeasured(quality, known)]
    hidden = [
        name for name, quality, _ in segments if (quality == "calcium").sum() * CENTERLINE_SPACING_MM >= HIDDEN_MM
    ]
    result = cad_rads(
        stenosis,
        plaque=bool(involved),
        occluded=any(lesion.grade == "occluded" for lesion in lesions),
        nondiagnostic=bool(missing or unassessed or hidden),
    )
    warnings = []
    if missing:
        warnings.append(f"not found, so that disease there is not excluded: {', '.join(missing)}")
    if unassessed:
        warnings.append(f"could not be measured over more than half of the length: {', '.join(unassessed)}")
    if hidden:
        warnings.append(f"calcium hides the lumen over {HIDDEN_MM:.0f} mm or more: {', '.join(hidden)}")
    score = len(involved)
    patient = Patient(
        cad_rads=result.category,
        cad_rads_text=result.text,
        plaque_burden=plaque_burden(score, result.category),
        segment_involvement_score=score,
        dominance=tree.dominance,
        modifiers=result.modifiers,
    )
    return patient, tuple(warnings)


def _calcified_segments(tree: VesselTree, profiles: tuple[LumenProfile, ...]) -> set[str]:
    """Return the segments with at least a millimeter of calcium along the vessel."""
    result: set[str] = set()
    for vessel, profile in zip(tree.vessels, profiles, strict=True):
        with np.errstate(invalid="ignore"):
            calcium = profile.calcified_area_mm2 > _CALCIUM_MM2
        names = [segment_at(vessel, float(vessel.distance_mm[i])) for i in np.flatnonzero(calcium)]
        result |= {name for name in names if names.count(name) * CENTERLINE_SPACING_MM >= _CALCIUM_MM}
    return result


def _graded_segments(
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    references: tuple[ReferenceProfile, ...],
    minimum_reference_mm: float,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield each segment, the quality of its points wide enough to be graded, and whether their reference is known."""
    for vessel, profile, reference in zip(tree.vessels, profiles, references, strict=True):
        names = np.array([segment_at(vessel, float(s)) for s in vessel.distance_mm])
        known = np.isfinite(reference.diameter_mm)
        graded = np.where(known, reference.diameter_mm, 2.0 * vessel.radius_mm) >= minimum_reference_mm
        for name in dict.fromkeys(names.tolist()):
            own = (names == name) & graded
            yield name, np.array(profile.quality)[own], known[own]


def _mostly_unmeasured(quality: np.ndarray, reference_known: np.ndarray) -> bool:
    """Return whether a segment of at least 5 mm could not be measured over more than half of its length."""
    failed = np.isin(quality, _UNASSESSED) | ~reference_known
    return len(quality) * CENTERLINE_SPACING_MM >= 5.0 and bool(failed.mean() > 0.5)
