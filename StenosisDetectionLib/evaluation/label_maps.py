"""A segmentation against a reference label map: any two grids in, scores of the whole, of each side and vessel out.

The result is brought to the grid of the reference, its surface interpolated linearly; the reference is never
resampled. Left out of both, because they are no coronary lumen and would raise the overlap: the aorta, balls of 3 mm
around the ostia, and small branches where the reference marks them as a label of their own. Components are counted in
the lumen before anything is cut out of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..anatomy import VESSELS, vessel_definition
from ..centerline import label_vessels
from ..geometry import shifted, spacing_of, transform_points
from ..segmentation.grid import resample_mask
from ..study import LabelMap, LumenSegmentation, ModelInfo
from .names import SIDES, vessel_name
from .segmentation import MaskScores, compare_masks, dice

if TYPE_CHECKING:
    from ..study import VesselTree

OSTIUM_MM = 3.0
"""Radius of the ball around an ostium that is left out."""

_AORTA = ("aort",)
_NOT_LUMEN = ("plaque", "calci", "myocard", "ventric", "atri", "vein", "heart", "stent", "pulmonary")
_SMALL = ("small",)
_MARGIN = 2  # voxels around small branches that are left out with them


@dataclass(frozen=True)
class VesselOverlap:
    """A vessel by name: whether it is in the reference and in the result, and its Dice if it is in both."""

    name: str
    in_reference: bool
    in_result: bool
    dice: float | None


@dataclass(frozen=True)
class SegmentationScores:
    """Scores of a segmentation: the whole, the left and right tree where they can be told apart, and the vessels.

    `left_out` says in words what was left out of both masks.
    """

    whole: MaskScores
    sides: dict[str, MaskScores]
    vessels: tuple[VesselOverlap, ...]
    left_out: str


def compare_label_maps(result: LabelMap, reference: LabelMap, tree: VesselTree | None = None) -> SegmentationScores:
    """Return the scores of a result against a reference.

    Parameters
    ----------
    result, reference : label maps with named labels; every label is lumen that is not named after something else.
    tree : reference centerlines, which tell ostia, sides and, in a reference with one label, vessels.
    """
    lumen, aorta, small = (_mask(reference, role) for role in ("lumen", "aorta", "small"))
    found, found_aorta = _mask(result, "lumen"), _mask(result, "aorta")
    low, high = _box(lumen, found, result.ijk_to_ras, reference.ijk_to_ras)
    cut = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    matrix = shifted(reference.ijk_to_ras, (float(low[2]), float(low[1]), float(low[0])))
    shape = tuple(int(n) for n in high - low)
    truth, prediction = lumen[cut], _on_grid(found, result.ijk_to_ras, shape, matrix)

    excluded, words = aorta[cut].copy(), ["the aorta of the reference"]
    if not aorta.any():
        excluded, words = _on_grid(found_aorta, result.ijk_to_ras, shape, matrix), ["the aorta of the result"]
    ostia = [] if tree is None else [vessel.points_ras[0] for vessel in tree.vessels if vessel.parent is None]
    for ostium in ostia:
        _mark_ball(excluded, matrix, ostium)
    words += [f"{OSTIUM_MM:g} mm around each ostium"] if ostia else []
    uncut = prediction, truth
    if small.any():
        beside = _around(small[cut]) & ~truth
        excluded |= beside
        words.append("small unnamed branches")
        uncut = _without_pieces_inside(prediction, beside), truth
    truth, prediction = truth & ~excluded, prediction & ~excluded

    spacing = spacing_of(matrix)
    owners = _vessel_labels(reference, tree, cut, truth, matrix)
    return SegmentationScores(
        whole=compare_masks(prediction, truth, spacing, uncut),
        sides=_sides(prediction, truth, uncut, owners, matrix),
        vessels=_vessels(result, prediction, owners, matrix),
        left_out=", ".join(words),
    )


def role_of(name: str) -> str:
    """Return what a label of that name is: lumen, aorta, small (branches that are left out) or other."""
    lower = name.lower()
    if any(word in lower for word in _AORTA) and "coronar" not in lower:
        return "aorta"
    if any(word in lower for word in _NOT_LUMEN):
        return "other"
    return "small" if any(word in lower for word in _SMALL) else "lumen"


def _mask(labels: LabelMap, role: str) -> np.ndarray:
    wanted = np.zeros(int(labels.labels.max(initial=0)) + 1, dtype=bool)
    for value in range(1, len(wanted)):
        wanted[value] = role_of(labels.names.get(value, "")) == role
    return np.asarray(wanted[labels.labels])


def _box(
    lumen: np.ndarray, found: np.ndarray, found_to_ras: np.ndarray, to_ras: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and last voxel (k, j, i) of the reference's grid that hold both masks, with a margin."""
    from scipy import ndimage

    corners = []
    for mask, matrix in ((lumen, to_ras), (found, found_to_ras)):
        if mask.any():
            box = ndimage.find_objects(mask.astype(np.uint8))[0]
            ends = np.array([[s.start, s.stop - 1] for s in box])
            kji = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
            corners.append(transform_points(np.linalg.inv(to_ras), transform_points(matrix, kji[:, ::-1]))[:, ::-1])
    if not corners:
        return np.zeros(3, dtype=int), np.ones(3, dtype=int)
    places = np.concatenate(corners)
    shape = np.array(lumen.shape)
    low = np.clip(np.floor(places.min(axis=0)).astype(int) - _MARGIN, 0, shape - 1)
    return low, np.clip(np.ceil(places.max(axis=0)).astype(int) + _MARGIN + 1, low + 1, shape)


def _on_grid(mask: np.ndarray, from_ras: np.ndarray, shape: tuple[int, ...], to_ras: np.ndarray) -> np.ndarray:
    """Return a mask on another grid; voxels that are the same on both are copied."""
    if not mask.any():
        return np.zeros(shape, dtype=bool)
    offset = transform_points(np.linalg.inv(from_ras), np.asarray(to_ras)[:3, 3])
    if np.allclose(np.asarray(from_ras)[:3, :3], np.asarray(to_ras)[:3, :3], atol=1e-5):
        first = np.round(offset).astype(int)[::-1]
        if np.allclose(offset[::-1], first, atol=1e-3):
            result = np.zeros(shape, dtype=bool)
            low, high = np.maximum(first, 0), np.minimum(first + np.array(shape), mask.shape)
            if (high > low).all():
                there = tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))
                result[there] = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
            return result
    return resample_mask(mask, from_ras, shape, to_ras)


def _around(mask: np.ndarray) -> np.ndarray:
    """Return a mask with `_MARGIN` voxels around it."""
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(mask, iterations=_MARGIN))


def _without_pieces_inside(mask: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Return a mask without its components that lie entirely in a region."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask, np.ones((3, 3, 3), dtype=bool))
    kept = np.zeros(count + 1, dtype=bool)
    kept[pieces[mask & ~region]] = True
    return np.asarray(kept[pieces])


def _mark_ball(mask: np.ndarray, matrix: np.ndarray, center_ras: np.ndarray) -> None:
    """Set the voxels of a mask within `OSTIUM_MM` of a point."""
    center = transform_points(np.linalg.inv(matrix), center_ras)[::-1]
    reach = OSTIUM_MM / np.array(spacing_of(matrix)[::-1])
    low = np.clip(np.floor(center - reach).astype(int), 0, mask.shape)
    high = np.clip(np.ceil(center + reach).astype(int) + 1, low, mask.shape)
    kji = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), axis=-1)
    near = np.linalg.norm(transform_points(matrix, kji[..., ::-1]) - center_ras, axis=-1) <= OSTIUM_MM
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] |= near


def _vessel_labels(
    reference: LabelMap, tree: VesselTree | None, cut: tuple[slice, ...], truth: np.ndarray, matrix: np.ndarray
) -> LabelMap | None:
    """Return the reference lumen by vessel: its own labels if named after vessels, else by the nearest centerline."""
    names = {value: vessel_name(name) for value, name in reference.names.items() if role_of(name) == "lumen"}
    if sum(name in VESSELS for name in names.values()) >= 2:
        return LabelMap(np.where(truth, reference.labels[cut], 0), matrix, names)
    if tree is None or not tree.vessels:
        return None
    lumen = LumenSegmentation(truth, np.zeros_like(truth), matrix, ModelInfo("reference", ""))
    owners = label_vessels(lumen, tree)
    return LabelMap(owners.labels, matrix, {value: vessel_name(name) for value, name in owners.names.items()})


def _sides(
    prediction: np.ndarray,
    truth: np.ndarray,
    uncut: tuple[np.ndarray, np.ndarray],
    owners: LabelMap | None,
    matrix: np.ndarray,
) -> dict[str, MaskScores]:
    """Return the scores of each side; a voxel belongs to the side of the nearest reference voxel with a vessel."""
    from scipy.spatial import cKDTree

    if owners is None:
        return {}
    side = np.zeros(int(owners.labels.max(initial=0)) + 1, dtype=np.uint8)
    for value in range(1, len(side)):
        territory = vessel_definition(owners.names.get(value, "")).territory
        side[value] = 0 if not territory else 1 + SIDES.index("right" if territory == "RCA" else "left")
    sides = side[owners.labels]
    spacing = np.array(spacing_of(matrix)[::-1])
    known = np.argwhere(sides)
    if len(known) == 0:
        return {}
    kji = np.argwhere((prediction | uncut[0] | uncut[1]) & (sides == 0))
    nearest = cKDTree(known * spacing).query(kji * spacing)[1]
    sides[tuple(kji.T)] = sides[tuple(known[nearest].T)]
    scores = {}
    for number, name in enumerate(SIDES, start=1):
        own = sides == number
        if (truth & own).any():
            parts = uncut[0] & own, uncut[1] & own
            scores[name] = compare_masks(prediction & own, truth & own, spacing_of(matrix), parts)
    return scores


def _vessels(
    result: LabelMap, prediction: np.ndarray, owners: LabelMap | None, matrix: np.ndarray
) -> tuple[VesselOverlap, ...]:
    """Return presence and overlap of each vessel that either side names."""
    if owners is None or not any(vessel_name(name) in VESSELS for name in result.names.values()):
        return ()
    kji = np.argwhere(prediction)
    places = transform_points(np.linalg.inv(result.ijk_to_ras), transform_points(matrix, kji[:, ::-1]))[:, ::-1]
    places = np.round(places).astype(int)
    inside = ((places >= 0) & (places < np.array(result.labels.shape))).all(axis=1)
    values = np.zeros(len(kji), dtype=result.labels.dtype)
    values[inside] = result.labels[tuple(places[inside].T)]
    names = {value: vessel_name(name) for value, name in result.names.items()}
    found = {name: kji[np.isin(values, [v for v, n in names.items() if n == name])] for name in set(names.values())}
    overlaps = []
    for name in VESSELS:
        truth = np.isin(owners.labels, [value for value, other in owners.names.items() if other == name])
        own = np.zeros_like(truth)
        if name in found:
            own[tuple(found[name].T)] = True
        if truth.any() or own.any():
            both = bool(truth.any() and own.any())
            overlaps.append(VesselOverlap(name, bool(truth.any()), bool(own.any()), dice(own, truth) if both else None))
    return tuple(overlaps)
