"""Lesions of a reference and of a result, and which of them are the same (Rotterdam challenge, Kirisli 2013).

In: lesions of both sides and a tree on whose paths both can be placed. Out: one-to-one pairs. RAS, mm, percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..geometry import arc_length
from ..stenosis.cad_rads import cad_rads
from ..stenosis.hidden import INTERVAL_ONLY
from .causes import cause_of
from .centerline import path_from_ostium

if TYPE_CHECKING:
    from ..study import VesselTree

SAME_PATH_MM = 2.0
"""A lesion lies on the path of a reference lesion when its throat is at most this far from it."""

OVERLAP_MM, THROATS_MM = 1.0, 5.0
"""Lesions of one place are the same when they overlap by 1 mm or their throats are at most 5 mm apart."""

GRADED_DIAMETER_MM = 1.5
"""Reference lesions where the healthy vessel is narrower are not graded (CAD-RADS 2.0): neither hit nor miss."""

Point = tuple[float, float, float]


@dataclass(frozen=True)
class LesionFinding:
    """A lesion of a reference or of a result; None where the source does not tell.

    Parameters
    ----------
    vessel : name of `anatomy.VESSELS`.
    segment : SCCT number.
    territory : LM, LAD, LCX or RCA; empty when unknown.
    diameter_stenosis_percent : 0 to 100; the middle of the interval for a lesion that has an interval alone.
    start_mm, throat_mm, end_mm : along the vessel, from its first point.
    start_ras, throat_ras, end_ras : the same places in space.
    interval_90, probability_50, probability_70 : as measured, of a result only.
    plaque : calcified, noncalcified, mixed or unknown.
    """

    vessel: str
    segment: int | None
    territory: str
    diameter_stenosis_percent: float
    start_mm: float | None = None
    throat_mm: float | None = None
    end_mm: float | None = None
    start_ras: Point | None = None
    throat_ras: Point | None = None
    end_ras: Point | None = None
    minimal_lumen_diameter_mm: float | None = None
    reference_diameter_mm: float | None = None
    interval_90: tuple[float, float] | None = None
    probability_50: float | None = None
    probability_70: float | None = None
    plaque: str = "unknown"
    flags: tuple[str, ...] = ()

    @property
    def graded(self) -> bool:
        """Whether the healthy vessel is wide enough to be graded, as far as its diameter is known."""
        return self.reference_diameter_mm is None or self.reference_diameter_mm >= GRADED_DIAMETER_MM

    @property
    def has_number(self) -> bool:
        """Whether the stenosis was measured as a number, not as an interval alone."""
        return INTERVAL_ONLY not in self.flags

    def score(self, percent: float) -> float:
        """Return the suspicion of a stenosis of at least `percent`: its probability, else the measured stenosis.

        Measured stenosis also orders lesions of equal probability, so that 0 and 1 are no dead ends of an ROC curve.
        """
        measured = self.diameter_stenosis_percent / 100.0
        probability = {50.0: self.probability_50, 70.0: self.probability_70}.get(percent)
        return measured if probability is None else probability + 1e-3 * measured


@dataclass(frozen=True)
class Place:
    """A lesion on a path: distances of start, throat and end from the ostium, and of its throat from the path, in mm.

    `off_path_mm` is None for a lesion that is known by its distance along the vessel only.
    """

    start_mm: float
    throat_mm: float
    end_mm: float
    off_path_mm: float | None


@dataclass(frozen=True, eq=False)
class CaseLesions:
    """The lesions of a patient: true ones, detections, the pairs of both (see `match_lesions`), and the categories.

    `causes` has one word of `causes.CAUSES` a detection, for the case that it has no partner. `category` and
    `category_reference` are CAD-RADS 2.0 without modifiers; None where not determined.
    """

    case_id: str
    references: tuple[LesionFinding, ...]
    detections: tuple[LesionFinding, ...]
    pairs: tuple[tuple[int, int], ...]
    causes: tuple[str, ...]
    category: str | None
    category_reference: str | None


def compare_lesions(
    case_id: str,
    references: Sequence[LesionFinding],
    detections: Sequence[LesionFinding],
    tree_reference: VesselTree | None,
    tree: VesselTree | None,
    category: str | None,
    category_reference: str | None = None,
) -> CaseLesions:
    """Match the lesions of a patient; without a reference category, it is that of the reference lesions."""
    common = tree_reference if tree_reference is not None and tree_reference.vessels else tree
    return CaseLesions(
        case_id=case_id,
        references=tuple(references),
        detections=tuple(detections),
        pairs=tuple(match_lesions(references, detections, common)),
        causes=tuple(cause_of(detection, tree_reference) for detection in detections),
        category=_base(category),
        category_reference=_base(category_reference) or category_of(references),
    )


def category_of(lesions: Sequence[LesionFinding]) -> str:
    """Return the CAD-RADS category that lesions with known stenosis have; those in vessels too narrow are plaque."""
    stenosis: dict[str, float] = {}
    for lesion in lesions:
        if lesion.graded:
            territory = lesion.territory or "LAD"
            stenosis[territory] = max(stenosis.get(territory, 0.0), lesion.diameter_stenosis_percent)
    occluded = any(value >= 100.0 for value in stenosis.values())
    return cad_rads(stenosis, plaque=bool(lesions), occluded=occluded).category


def _base(category: str | None) -> str | None:
    """Return a category without its modifiers."""
    return category.split("/")[0].strip() or None if category else None


def match_lesions(
    references: Sequence[LesionFinding], detections: Sequence[LesionFinding], tree: VesselTree | None
) -> list[tuple[int, int]]:
    """Return pairs of indices (reference, detection), each at most once.

    Two lesions may be the same when they lie in one segment, or the detection on the path of the reference (2 mm),
    and they overlap by 1 mm or their throats are at most 5 mm apart along that path. Of all such assignments that
    with most pairs and then the smallest sum of throat distances is taken (Hungarian method).

    Parameters
    ----------
    tree : places both sides: the reference's, or the result's where the reference has none; None without any. A
        lesion without a place is matched by its segment, or by its vessel where that is unknown, too.
    """
    from scipy.optimize import linear_sum_assignment

    if not references or not detections:
        return []
    forbidden = 1e6
    cost = np.full((len(references), len(detections)), forbidden)
    for row, reference in enumerate(references):
        path = None if tree is None else path_of(reference, tree)
        for column, detection in enumerate(detections):
            distance = _throat_distance(reference, detection, path)
            if distance is not None:
                cost[row, column] = distance
    rows, columns = linear_sum_assignment(cost)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if cost[i, j] < forbidden]


def path_of(lesion: LesionFinding, tree: VesselTree) -> tuple[np.ndarray, float] | None:
    """Return the path from the ostium through the vessel of a lesion and the length of it before that vessel.

    Without a vessel of that name in the tree, the path that passes nearest to the throat is taken; None if the throat
    is unknown, too.
    """
    for vessel in tree.vessels:
        if vessel.name == lesion.vessel:
            points = path_from_ostium(tree, vessel.name)[0]
            return points, float(arc_length(points)[-1]) - vessel.length_mm
    if lesion.throat_ras is None or not tree.vessels:
        return None
    paths = [path_from_ostium(tree, vessel.name)[0] for vessel in tree.vessels]
    offsets = [float(np.linalg.norm(points - np.array(lesion.throat_ras), axis=1).min()) for points in paths]
    return paths[int(np.argmin(offsets))], 0.0


def place_on(lesion: LesionFinding, path: np.ndarray, before_mm: float | None = None) -> Place | None:
    """Return where a lesion lies on a path, by its points in space, else by its distances; None when both are missing.

    `before_mm` is the length of the path before the vessel of the lesion; None if the distances are of another tree.
    """
    along = arc_length(path)
    if lesion.throat_ras is not None:
        throat, off = _project(lesion.throat_ras, path, along)
        start = throat if lesion.start_ras is None else _project(lesion.start_ras, path, along)[0]
        end = throat if lesion.end_ras is None else _project(lesion.end_ras, path, along)[0]
        return Place(min(start, throat), throat, max(end, throat), off)
    if lesion.throat_mm is None or before_mm is None:
        return None
    start = lesion.throat_mm if lesion.start_mm is None else lesion.start_mm
    end = lesion.throat_mm if lesion.end_mm is None else lesion.end_mm
    return Place(before_mm + start, before_mm + lesion.throat_mm, before_mm + end, None)


def _throat_distance(
    reference: LesionFinding, detection: LesionFinding, path: tuple[np.ndarray, float] | None
) -> float | None:
    """Return how far apart two lesions are that may be the same; None when they may not."""
    same_vessel = reference.vessel == detection.vessel
    same_segment = reference.segment is not None and reference.segment == detection.segment
    if reference.throat_mm is None and reference.throat_ras is None:
        # Without a place the segment must do, or the vessel where the segment is unknown.
        together = same_segment if reference.segment is not None else same_vessel
        return THROATS_MM if together else None
    here = there = None
    if path is not None:
        points, before = path
        here = place_on(reference, points, before)
        there = place_on(detection, points, before if same_vessel else None)
    if here is None or there is None:
        here, there = _along_vessel(reference), _along_vessel(detection)
        if here is None or there is None or not same_vessel:
            return None
    on_path = same_vessel if there.off_path_mm is None else there.off_path_mm <= SAME_PATH_MM
    distance = abs(here.throat_mm - there.throat_mm)
    overlap = min(here.end_mm, there.end_mm) - max(here.start_mm, there.start_mm)
    close = overlap >= OVERLAP_MM or distance <= THROATS_MM
    return distance if (same_segment or on_path) and close else None


def _along_vessel(lesion: LesionFinding) -> Place | None:
    if lesion.throat_mm is None:
        return None
    start = lesion.throat_mm if lesion.start_mm is None else lesion.start_mm
    end = lesion.throat_mm if lesion.end_mm is None else lesion.end_mm
    return Place(start, lesion.throat_mm, end, None)


def _project(point: Point, path: np.ndarray, along: np.ndarray) -> tuple[float, float]:
    """Return the distance along a path of its point nearest to a point, and how far that is."""
    target = np.array(point)
    if len(path) == 1:
        return 0.0, float(np.linalg.norm(path[0] - target))
    step = np.diff(path, axis=0)
    squared = np.maximum((step**2).sum(axis=1), 1e-12)
    part = np.clip(((target - path[:-1]) * step).sum(axis=1) / squared, 0.0, 1.0)
    off = np.linalg.norm(path[:-1] + part[:, None] * step - target, axis=1)
    nearest = int(np.argmin(off))
    return float(along[nearest] + part[nearest] * (along[nearest + 1] - along[nearest])), float(off[nearest])
