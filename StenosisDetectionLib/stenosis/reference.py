"""The healthy diameter along a vessel.

In: vessel tree and lumen profiles. Out: a `ReferenceProfile` per vessel in mm. Method: steps and tapers. Between
branching points the healthy diameter falls linearly by 0 to 0.05 mm/mm; at a branching point it may step down by up
to a third (Finet 2008: the daughters together are 1.48 times as wide as the mother). Tapers and steps are found by
quantile regression as a linear program, so that narrowed stretches, which only lower the diameter, do not pull the
reference down; samples clearly below the fit are then left out and the median of the rest is fitted again.
Bifurcations, the ostium and what could not be measured are masked. Where a vessel has become too thin to be graded for
good, as where it ends in twigs, there is no reference. The fit is then joined, by its variance, with the population's
diameter of the segment and, for a vessel that ends in a bifurcation, with Finet's law: where much was measured these
hardly count, where little was (short, ostial, diffusely diseased vessels) they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..study import CENTERLINE_SPACING_MM, ReferenceProfile
from .priors import FINET, FINET_SD, SMALL_RATIO, population_diameter
from .stretch import points_of, runs

if TYPE_CHECKING:
    from ..study import LumenProfile, Vessel, VesselTree

STEEPEST_TAPER = 0.05
"""Largest healthy taper in mm diameter per mm length."""

LARGEST_STEP = 1.0 / 3.0
"""Largest healthy step down at a branching point, as a fraction of the diameter before it."""

SHOWN_MM, SHOWN_LENGTH_MM = 1.2, 2.0
"""A lumen of this diameter over this length shows a vessel that is graded: 1.5 mm, less a narrowing too small to be a
lesion. What is thinner from there to the free end is the end of the vessel, or a twig that the path goes on in."""

_BRANCH_RADIUS_MM = 0.6
_SHORTEST_PIECE_MM = 8.0
_SIDESTEP_MM = 1.0
_QUANTILE = 0.75
_STRIDE = 2
_DISEASED_FRACTION = 0.10
_FEWEST_MM = 3.0
_LEAST_ERROR, _FLARE_ERROR = 0.03, 0.10  # as a part of the diameter; ostia and bifurcations are wider than the vessel
_MEASURED = ("ok", "bifurcation", "ostium", "end")


def fit_references(
    tree: VesselTree, profiles: tuple[LumenProfile, ...], only: frozenset[str] | None = None
) -> tuple[ReferenceProfile, ...]:
    """Fit the healthy diameter of every vessel, or of those named in `only`, in the order of the tree.

    A vessel of which less than 3 mm could be used gets NaN and the method `none`.
    """
    wanted = [vessel for vessel in tree.vessels if only is None or vessel.name in only]
    names = {vessel.name for vessel in wanted}
    by_name = {
        vessel.name: _fit_vessel(tree, vessel, profile)
        for vessel, profile in zip(tree.vessels, profiles, strict=True)
        if vessel.name in names or vessel.parent in names
    }
    return tuple(_with_priors(tree, vessel, by_name) for vessel in wanted)


def small_vessel_mm(tree: VesselTree, vessel: Vessel, reference: ReferenceProfile) -> float:
    """Return the length in mm over which the reference lies far below the population's diameter of its segment."""
    mean, _ = _population(tree, vessel)
    with np.errstate(invalid="ignore"):
        small = reference.diameter_mm < SMALL_RATIO * mean
    return float(small.sum() * CENTERLINE_SPACING_MM)


def _population(tree: VesselTree, vessel: Vessel) -> tuple[np.ndarray, np.ndarray]:
    """Return the population's diameter and its standard deviation along a vessel, NaN where its segment is unknown."""
    mean, sd = np.full(len(vessel.distance_mm), np.nan), np.full(len(vessel.distance_mm), np.nan)
    for segment in vessel.segments:
        known = population_diameter(segment.number, tree.dominance)
        inside = (vessel.distance_mm >= segment.start_mm) & (vessel.distance_mm <= segment.end_mm)
        if known is not None:
            mean[inside], sd[inside] = known
    return mean, sd


def _with_priors(tree: VesselTree, vessel: Vessel, fitted: dict[str, ReferenceProfile]) -> ReferenceProfile:
    """Join the fit of a vessel with what the population and its daughters say, each weighted by its variance."""
    own = fitted[vessel.name]
    if own.method == "none":
        return own
    weight = 1.0 / np.square(own.error_mm)
    total, value = weight.copy(), weight * own.diameter_mm
    mean, sd = _population(tree, vessel)
    known = np.isfinite(mean)
    total[known] += 1.0 / np.square(sd[known])
    value[known] += mean[known] / np.square(sd[known])
    daughters = [
        fitted[child.name].diameter_mm[0]
        for child in tree.vessels
        if child.parent == vessel.name
        and child.parent_distance_mm is not None
        and child.parent_distance_mm >= vessel.length_mm - 1.0
        and np.isfinite(fitted[child.name].diameter_mm[:1]).all()
    ]
    if len(daughters) >= 2:
        expected = FINET * sum(sorted(daughters)[-2:])
        precision = 1.0 / (FINET_SD * expected) ** 2
        total += precision
        value += precision * expected
    return ReferenceProfile(vessel.name, value / total, 1.0 / np.sqrt(total), own.method)


def shown_points(tree: VesselTree, vessel: Vessel, profile: LumenProfile) -> int:
    """Return how many points of a vessel lie before its thin end: all without one, 0 where it is thin all along."""
    count = len(profile.diameter_mm)
    if not tree.ends_free(vessel):
        return count
    measured = np.isfinite(profile.diameter_mm) & np.isin(profile.quality, _MEASURED)
    with np.errstate(invalid="ignore"):
        wide = measured & (profile.diameter_mm >= SHOWN_MM)
    shortest = points_of(SHOWN_LENGTH_MM)
    last = max((end for first, end in runs(wide) if end - first >= shortest), default=-1)
    return last + 1 if measured[last + 1 :].sum() > shortest else count


def branching_mask(tree: VesselTree, vessel: Vessel) -> np.ndarray:
    """Return which points of a vessel lie so near a branching point that its flare widens them.

    Reach: 1.5 parent radii (at least 1.5 mm) along the main vessel, 2.25 parent radii (at least 2.5 mm) at the start
    of a branch, where the flare has faded below 5 %.
    """
    along = vessel.distance_mm
    mask = np.zeros(len(along), dtype=bool)
    for child in tree.vessels:
        if child.parent == vessel.name and child.parent_distance_mm is not None:
            at = child.parent_distance_mm
            reach = max(1.5 * _radius_at(vessel, at), 1.5)
            mask |= np.abs(along - at) < reach
    if vessel.parent is not None and vessel.parent_distance_mm is not None:
        parent_radius = _radius_at(tree.vessel(vessel.parent), vessel.parent_distance_mm)
        mask |= along < max(2.25 * parent_radius, 2.5)
    return mask


def _radius_at(vessel: Vessel, distance_mm: float) -> float:
    return float(np.interp(distance_mm, vessel.distance_mm, vessel.radius_mm))


def _fit_vessel(tree: VesselTree, vessel: Vessel, profile: LumenProfile) -> ReferenceProfile:
    along = vessel.distance_mm
    diameter, error = profile.diameter_mm, profile.diameter_error_mm
    quality = np.array(profile.quality)
    shown = np.arange(len(along)) < (shown_points(tree, vessel, profile) or len(along))
    good = np.isfinite(diameter) & (quality == "ok") & shown
    strict = good & ~branching_mask(tree, vessel)
    used = strict if strict.sum() * CENTERLINE_SPACING_MM >= _FEWEST_MM else good
    flared = used.sum() * CENTERLINE_SPACING_MM < _FEWEST_MM
    if flared:
        # A short left main coronary artery is all ostium and bifurcation.
        used = np.isfinite(diameter) & np.isin(quality, _MEASURED) & shown
    if used.sum() * CENTERLINE_SPACING_MM < _FEWEST_MM:
        nothing = np.full(len(along), np.nan)
        return ReferenceProfile(vessel.name, nothing, nothing.copy(), "none")
    breaks, free = _pieces(tree, vessel, _sidesteps(along, diameter, quality, used))
    chosen = np.flatnonzero(used)[::_STRIDE]
    fitted = _steps_and_tapers(along, breaks, free, along[chosen], diameter[chosen], _QUANTILE)
    for _ in range(3):
        margin = np.maximum(_DISEASED_FRACTION * fitted, 2.0 * np.nan_to_num(error))
        healthy = used & (diameter > fitted - margin)
        chosen = np.flatnonzero(healthy)[::_STRIDE]
        if len(chosen) * _STRIDE * CENTERLINE_SPACING_MM < _FEWEST_MM:
            break
        fitted = _steps_and_tapers(along, breaks, free, along[chosen], diameter[chosen], 0.5)
    scatter = 1.4826 * np.median(np.abs(diameter[chosen] - fitted[chosen]))
    # The fit rests on the samples of its own piece; they are correlated over about a millimeter.
    piece = np.searchsorted(breaks, along, side="right")
    samples = np.bincount(piece[chosen], minlength=len(breaks) + 1) * _STRIDE * CENTERLINE_SPACING_MM
    least = _FLARE_ERROR if flared else _LEAST_ERROR
    uncertainty = np.hypot(scatter / np.sqrt(np.maximum(samples[piece], 1.0)), least * fitted)
    fitted[~shown] = uncertainty[~shown] = np.nan
    return ReferenceProfile(vessel.name, fitted, uncertainty, "model")


def _sidesteps(along: np.ndarray, diameter: np.ndarray, quality: np.ndarray, used: np.ndarray) -> list[float]:
    """Return where along a vessel its path stepped sideways out of the lumen, with enough measured on both sides."""
    places = []
    for first, last in runs((quality == "unreliable") & ~np.isfinite(diameter)):
        middle = 0.5 * float(along[first] + along[last])
        least = min(used[:first].sum(), used[last + 1 :].sum()) * CENTERLINE_SPACING_MM
        if along[last] - along[first] >= _SIDESTEP_MM and least >= _SHORTEST_PIECE_MM:
            places.append(middle)
    return places


def _pieces(tree: VesselTree, vessel: Vessel, sidesteps: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return where along the vessel the reference may step, pieces not too short, and which steps (bool) are free.

    It may step down at branches that matter. Where the path stepped sideways it may have come from another vessel, so
    that the step is free.
    """
    at = sorted(
        child.parent_distance_mm
        for child in tree.vessels
        if child.parent == vessel.name
        and child.parent_distance_mm is not None
        and len(child.radius_mm)
        and float(np.median(child.radius_mm)) >= _BRANCH_RADIUS_MM
    )
    breaks: list[float] = []
    for position in sidesteps:
        if position - (breaks[-1] if breaks else 0.0) >= _SHORTEST_PIECE_MM:
            breaks.append(position)
    for position in at:
        others = [0.0, vessel.length_mm, *breaks]
        if min(abs(position - other) for other in others) >= _SHORTEST_PIECE_MM:
            breaks.append(position)
    breaks.sort()
    return np.array(breaks), np.isin(breaks, sidesteps)


def _steps_and_tapers(
    along: np.ndarray, breaks: np.ndarray, free: np.ndarray, x: np.ndarray, y: np.ndarray, quantile: float
) -> np.ndarray:
    """Fit steps and tapers to samples (x, y) by quantile regression and return the fit at `along`.

    Unknowns are the level at the start of each piece and its taper; the linear program minimizes the pinball loss
    subject to tapers of 0 to `STEEPEST_TAPER` and steps of 0 to `LARGEST_STEP` at the breaks that are not free.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack

    starts = np.concatenate([[0.0], breaks])
    ends = np.concatenate([breaks, [along[-1]]])
    count = len(starts)

    def design(positions: np.ndarray) -> np.ndarray:
        piece = np.searchsorted(breaks, positions, side="right")
        rows = np.arange(len(positions))
        matrix = np.zeros((len(positions), 2 * count))
        matrix[rows, piece] = 1.0
        matrix[rows, count + piece] = -(positions - starts[piece])
        return matrix

    identity = eye_array(len(x))
    equalities = hstack([csr_array(design(x)), identity, -identity])
    # Level after the break <= level before it, and >= (1 - LARGEST_STEP) of it.
    steps = np.zeros((2 * (count - 1), 2 * count + 2 * len(x)))
    for n in range(count - 1):
        if free[n]:
            continue
        length = ends[n] - starts[n]
        steps[2 * n, [n + 1, n, count + n]] = 1.0, -1.0, length
        keep = 1.0 - LARGEST_STEP
        steps[2 * n + 1, [n + 1, n, count + n]] = -1.0, keep, -keep * length
    weights = np.concatenate([np.zeros(2 * count), np.full(len(x), quantile), np.full(len(x), 1.0 - quantile)])
    result = linprog(
        weights,
        A_ub=csr_array(steps) if count > 1 else None,
        b_ub=np.zeros(len(steps)) if count > 1 else None,
        A_eq=equalities,
        b_eq=y,
        bounds=[(0.3, None)] * count + [(0.0, STEEPEST_TAPER)] * count + [(0.0, None)] * (2 * len(x)),
        method="highs",
    )
    if not result.success:
        return np.full(len(along), float(np.quantile(y, quantile)))
    return np.maximum(design(along) @ result.x[: 2 * count], 0.3)
