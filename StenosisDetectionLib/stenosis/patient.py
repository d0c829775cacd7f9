"""The findings of the patient: CAD-RADS 2.0, plaque burden and what could not be assessed.

In: tree, profiles, references and lesions. Out: a `Patient` and warnings, one line each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..anatomy import vessel_definition
from ..study import CENTERLINE_SPACING_MM, Patient, VesselSeverity
from .cad_rads import cad_rads, plaque_burden
from .grades import OBSTRUCTIVE_PERCENT, SEVERE_PERCENT, grade_of
from .measurement import probability_above
from .stretch import segment_at

if TYPE_CHECKING:
    from ..study import Lesion, LumenProfile, ReferenceProfile, VesselTree

MAIN_VESSELS = ("LAD", "LCX", "RCA")

COMPUTED_MODIFIERS = ("N",)
"""Modifiers that are computed; HRP and S are said as candidates, and I, G and E only a reader can know."""

HIDDEN_MM = 2.0
"""Calcium that hides the lumen of a segment over this length leaves open whether it is narrowed."""

_UNASSESSED = ("low_contrast", "unreliable", "calcium", "stent", "outside")
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
    stented = [name for name, quality, _ in segments if (quality == "stent").any()]
    if stented:
        warnings.append(f"a bright ring, a stent or a ring of calcium, hides the lumen: {', '.join(stented)}")
    risky = [lesion.id for lesion in lesions if len(lesion.features) >= 2]
    if risky:
        warnings.append(f"candidates of high-risk plaque (two features or more), for the reader: {', '.join(risky)}")
    small = sorted({lesion.vessel for lesion in lesions if "diffusely_small_vessel" in lesion.flags})
    if small:
        warnings.append(f"diffusely small, so that a stenosis there may be underestimated: {', '.join(small)}")
    unsure = {*unassessed, *hidden}
    score = len(involved)
    volume, share = _plaque_volumes(profiles)
    patient = Patient(
        cad_rads=result.category,
        cad_rads_text=result.text,
        plaque_burden=plaque_burden(score, result.category),
        segment_involvement_score=score,
        dominance=tree.dominance,
        modifiers=result.modifiers,
        segment_stenosis_score=_segment_stenosis_score(lesions, involved),
        severity=_severity(tree, lesions, unsure),
        plaque_volume_mm3=volume,
        percent_atheroma_volume=share,
    )
    return patient, tuple(warnings)


def _segment_stenosis_score(lesions: tuple[Lesion, ...], involved: set[str]) -> int:
    """Return the sum over the segments with plaque of 1, 2 from 50 % and 3 from 70 % (Min 2007)."""
    worst = dict.fromkeys(involved, 0.0)
    for lesion in lesions:
        worst[lesion.segment] = max(worst.get(lesion.segment, 0.0), lesion.diameter_stenosis_percent)
    return sum(1 + (percent >= OBSTRUCTIVE_PERCENT) + (percent >= SEVERE_PERCENT) for percent in worst.values())


def _severity(tree: VesselTree, lesions: tuple[Lesion, ...], unsure: set[str]) -> tuple[VesselSeverity, ...]:
    """Return one entry per territory that was found."""
    result = []
    for territory in ("LM", *MAIN_VESSELS):
        names = [vessel.name for vessel in tree.vessels if territory_of(tree, vessel.name) == territory]
        if not names:
            continue
        own = [lesion for lesion in lesions if lesion.vessel in names]
        worst = max((lesion.diameter_stenosis_percent for lesion in own), default=0.0)
        segments = {
            segment_at(vessel, float(distance))
            for vessel in tree.vessels
            if vessel.name in names
            for distance in vessel.distance_mm[::8]
        }
        result.append(
            VesselSeverity(
                territory,
                grade_of(worst),
                worst,
                max((probability_25(lesion) for lesion in own), default=0.0),
                max((lesion.probability_50 for lesion in own), default=0.0),
                max((lesion.probability_70 for lesion in own), default=0.0),
                not (segments & unsure),
            )
        )
    return tuple(result)


def probability_25(lesion: Lesion) -> float:
    """Return the probability that the diameter stenosis of a lesion is 25 % or more."""
    return probability_above(25.0, lesion.diameter_stenosis_percent, lesion.diameter_stenosis_error or 0.0)


def _plaque_volumes(profiles: tuple[LumenProfile, ...]) -> tuple[float | None, float | None]:
    """Return the plaque volume in mm3 and its percentage of lumen and plaque, where the outer wall shows."""
    plaque, lumen = 0.0, 0.0
    for profile in profiles:
        known = np.isfinite(profile.plaque_area_mm2) & np.isfinite(profile.area_mm2)
        plaque += float(profile.plaque_area_mm2[known].sum()) * CENTERLINE_SPACING_MM
        lumen += float(profile.area_mm2[known].sum()) * CENTERLINE_SPACING_MM
    return (plaque, 100.0 * plaque / (plaque + lumen)) if lumen > 0.0 else (None, None)


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
