"""A case of an evaluation: what a result says, what a reference says, and the scores of one against the other.

RAS, mm, percent. What one side does not tell is None and is not scored: a label map alone gives the scores of the
segmentation, a list of lesions those of the stenoses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .centerline import TreeScores, compare_trees
from .label_maps import SegmentationScores, compare_label_maps
from .lesions import CaseLesions, LesionFinding, compare_lesions

if TYPE_CHECKING:
    from ..study import LabelMap, Vessel, VesselTree

LabelReader = Callable[[], "LabelMap"]
"""Label maps are large, so a case holds the reading of one, not the voxels."""


@dataclass(frozen=True, eq=False)
class ResultCase:
    """What an analysis wrote of a case.

    `category` is CAD-RADS 2.0; `software` has version and model of the report, `labels` reads its segmentation; `note`
    says why there is no finding where the study was refused.
    """

    case_id: str
    sha256: str
    tree: VesselTree
    lesions: tuple[LesionFinding, ...]
    category: str | None
    software: dict[str, str | None]
    labels: LabelReader | None
    seconds: float | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class ReferenceCase:
    """What is known of a case.

    `lesions` is None where nothing is known of them, empty where there is none; `group` is a word that cases of one
    kind share, for example a family of phantoms. `unknown_vessels` are vessels of which the reference knows nothing,
    though the image may show a part of them: a detection or a centerline there is neither right nor false, and of the
    patient's category nothing is known.
    """

    case_id: str
    tree: VesselTree | None = None
    lesions: tuple[LesionFinding, ...] | None = None
    category: str | None = None
    labels: LabelReader | None = None
    dominance: str | None = None
    group: str = ""
    unknown_vessels: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CaseScores:
    """The scores of a case; None for what was not scored."""

    case_id: str
    group: str
    software: dict[str, str | None]
    seconds: float | None
    segmentation: SegmentationScores | None
    tree: TreeScores | None
    lesions: CaseLesions | None
    dominance: tuple[str, str] | None
    """Dominance of the reference and of the result, where the reference tells."""
    note: str = ""


def score_case(result: ResultCase, reference: ReferenceCase) -> CaseScores:
    """Return the scores of a result against its reference."""
    segmentation = None
    if result.labels is not None and reference.labels is not None:
        segmentation = compare_label_maps(result.labels(), reference.labels(), reference.tree)
    lesions = None
    if reference.lesions is not None:
        lesions = _compared(result, reference, result.lesions)
        if reference.unknown_vessels:
            matched = {found for _, found in lesions.pairs}
            known = [
                lesion
                for number, lesion in enumerate(result.lesions)
                if number in matched or lesion.vessel not in reference.unknown_vessels
            ]
            lesions = replace(_compared(result, reference, known), category_reference=None)
    return CaseScores(
        case_id=reference.case_id,
        group=reference.group,
        software=result.software,
        seconds=result.seconds,
        segmentation=segmentation,
        tree=None
        if reference.tree is None
        else compare_trees(result.tree, reference.tree, unknown=reference.unknown_vessels),
        lesions=lesions,
        dominance=None if reference.dominance is None else (reference.dominance, result.tree.dominance),
        note=result.note,
    )


def _compared(result: ResultCase, reference: ReferenceCase, detections: Sequence[LesionFinding]) -> CaseLesions:
    return compare_lesions(
        reference.case_id,
        reference.lesions or (),
        detections,
        reference.tree,
        result.tree,
        result.category,
        reference.category,
    )


def place_at(vessel: Vessel, distance_mm: float | None) -> tuple[float, float, float] | None:
    """Return the point at a distance along a vessel, None for no distance."""
    if distance_mm is None:
        return None
    x, y, z = (float(np.interp(distance_mm, vessel.distance_mm, axis)) for axis in vessel.points_ras.T)
    return x, y, z


def distance_on(vessel: Vessel, point_ras: np.ndarray) -> float:
    """Return the distance along a vessel of its point nearest to a point."""
    nearest = int(np.argmin(np.linalg.norm(vessel.points_ras - point_ras, axis=1)))
    return float(vessel.distance_mm[nearest])
