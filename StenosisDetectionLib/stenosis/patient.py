"""The findings of the patient: CAD-RADS 2.0, plaque burden and what could not be assessed.

In: tree, profiles, references and lesions. Out: a `Patient` and warnings, one line each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..anatomy import vessel_definition
from ..options import AnalysisOptions
from ..study import CENTERLINE_SPACING_MM, Patient, VesselSeverity
from .burden import plaque_volumes, segment_scores
from .cad_rads import cad_rads, plaque_burden
from .grades import OBSTRUCTIVE_PERCENT, grade_of
from .hidden import INTERVAL_ONLY
from .measurement import probability_above
from .stretch import segment_at

if TYPE_CHECKING:
    from ..study import Lesion, LumenProfile, ReferenceProfile, StudyResult, VesselTree

MAIN_VESSELS = ("LAD", "LCX", "RCA")

COMPUTED_MODIFIERS = ("N",)
"""Modifiers that are computed; HRP and S are said as candidates, and I, G and E only a reader can know."""

HIDDEN_MM = 2.0
"""Calcium that hides the lumen of a segment over this length leaves open whether it is narrowed, unless the lumen that
the fit allows excludes an obstructive stenosis."""

_UNASSESSED = ("low_contrast", "unreliable", "segmentation", "calcium", "stent", "outside")


def territory_of(tree: VesselTree, name: str) -> str:
    """Return the territory LM, LAD, LCX or RCA that a vessel belongs to; empty when it cannot be told.

    Posterior branches belong to the vessel that gives them, whichever that is, and so do branches without a rule.
    """
    vessel = tree.vessel(name)
    while vessel.parent not in (None, "LM") and vessel.name not in ("LM", *MAIN_VESSELS):
        vessel = tree.vessel(str(vessel.parent))
    return vessel_definition(vessel.name).territory


def smallest_graded_mm(study: StudyResult) -> float:
    """Return the smallest healthy diameter in mm that is graded in a study, by default that of the options."""
    value = study.parameters.get("minimum_reference_diameter_mm")
    return float(value) if isinstance(value, int | float) else AnalysisOptions.minimum_reference_diameter_mm


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
    graded = [lesion for lesion in lesions if _wide_enough(lesion, minimum_reference_diameter_mm)]
    for lesion in graded:
        # Where the territory cannot be told the lesion still counts, as one more of the largest territory.
        territory = territory_of(tree, lesion.vessel) or "LAD"
        stenosis[territory] = max(stenosis.get(territory, 0.0), lesion.diameter_stenosis_percent)
    scores = segment_scores(tree, profiles, lesions)
    missing = [name for name in MAIN_VESSELS if all(vessel.name != name for vessel in tree.vessels)]
    segments = list(_graded_segments(tree, profiles, references, minimum_reference_diameter_mm))
    unassessed = [name for name, quality, known, _ in segments if _mostly_unmeasured(quality, known)]
    hidden = [name for name, _, _, hides in segments if hides.sum() * CENTERLINE_SPACING_MM >= HIDDEN_MM]
    # A shorter one that may be obstructive is left open as well: its certain end alone would make the category.
    may_be = [one for one in graded if INTERVAL_ONLY in one.flags and _may_be_obstructive(one)]
    result = cad_rads(
        stenosis,
        plaque=bool(scores),
        occluded=any(lesion.grade == "occluded" for lesion in graded),
        nondiagnostic=bool(missing or unassessed or hidden or may_be),
    )
    warnings = []
    if missing:
        warnings.append(f"not found, so that disease there is not excluded: {', '.join(missing)}")
    if unassessed:
        warnings.append(f"could not be measured over more than half of the length: {', '.join(unassessed)}")
    if hidden:
        warnings.append(f"calcium hides the lumen over {HIDDEN_MM:.0f} mm or more: {', '.join(hidden)}")
    stented = [name for name, quality, _, _ in segments if (quality == "stent").any()]
    if stented:
        warnings.append(f"a bright ring, a stent or a ring of calcium, hides the lumen: {', '.join(stented)}")
    risky = [lesion.id for lesion in lesions if len(lesion.features) >= 2]
    if risky:
        warnings.append(f"candidates of high-risk plaque (two features or more), for the reader: {', '.join(risky)}")
    small = sorted({lesion.vessel for lesion in lesions if "diffusely_small_vessel" in lesion.flags})
    if small:
        warnings.append(f"diffusely small, so that a stenosis there may be underestimated: {', '.join(small)}")
    unsure = {*unassessed, *hidden, *(lesion.segment for lesion in may_be)}
    patient = Patient(
        cad_rads=result.category,
        cad_rads_text=result.text,
        plaque_burden=plaque_burden(len(scores), result.category),
        segment_involvement_score=len(scores),
        dominance=tree.dominance,
        modifiers=result.modifiers,
        segment_stenosis_score=sum(scores.values()),
        severity=_severity(tree, lesions, unsure),
        **vars(plaque_volumes(tree, profiles, references, lesions)),
    )
    return patient, tuple(warnings)


def _may_be_obstructive(lesion: Lesion) -> bool:
    """Whether the interval of a lesion begins below an obstructive stenosis and reaches one."""
    low, high = lesion.diameter_stenosis_interval_90
    return low < OBSTRUCTIVE_PERCENT <= high


def _wide_enough(lesion: Lesion, minimum_mm: float) -> bool:
    """Whether the healthy vessel is wide enough to be graded; a lesion that a reader added may lie on a thinner one."""
    return max(lesion.reference_diameter_mm, lesion.model_reference_diameter_mm or 0.0) >= minimum_mm


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


def _graded_segments(
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    references: tuple[ReferenceProfile, ...],
    minimum_reference_mm: float,
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield each segment with, of its points wide enough to be graded, what is known of them.

    That is their quality, whether their reference is known, and whether calcium may hide an obstructive stenosis there.
    """
    for vessel, profile, reference in zip(tree.vessels, profiles, references, strict=True):
        names = np.array([segment_at(vessel, float(s)) for s in vessel.distance_mm])
        known = np.isfinite(reference.diameter_mm)
        # Beyond the thin end of a vessel whose reference is known otherwise nothing is graded.
        diameter = reference.diameter_mm if known.any() else 2.0 * vessel.radius_mm
        with np.errstate(invalid="ignore"):
            graded = diameter >= minimum_reference_mm
        hides = np.array(profile.quality) == "calcium"
        if profile.hidden_diameter_mm is not None:
            with np.errstate(invalid="ignore"):
                least = profile.hidden_diameter_mm[:, 0]
                hides &= ~(least > (1.0 - OBSTRUCTIVE_PERCENT / 100.0) * reference.diameter_mm)
        for name in dict.fromkeys(names.tolist()):
            own = (names == name) & graded
            yield name, np.array(profile.quality)[own], known[own], hides[own]


def _mostly_unmeasured(quality: np.ndarray, reference_known: np.ndarray) -> bool:
    """Return whether a segment of at least 5 mm could not be measured over more than half of its length."""
    failed = np.isin(quality, _UNASSESSED) | ~reference_known
    return len(quality) * CENTERLINE_SPACING_MM >= 5.0 and bool(failed.mean() > 0.5)
