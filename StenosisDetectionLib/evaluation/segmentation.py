"""Scores of a segmented lumen against a reference: two masks in, overlap, distance and topology out.

Arrays [k, j, i], spacing (i, j, k) in mm. Definitions: Dice; HD95 and ASSD between surface voxels (those that an
erosion with the six neighbors removes), symmetric, as MONAI computes them; clDice (Shit 2021) on the skeletons of Lee
1994; Betti-0 with 26 neighbors.

Empty masks: two empty masks agree, with Dice and clDice 1, distances 0 and no Betti-0 error. If only one is empty,
Dice and clDice are 0 and the distances None: there is no number for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ISOTROPIC_WITHIN = 1.5
"""Masks whose spacings differ by a larger factor are brought to their smallest spacing before they are thinned."""

LOST_MM = 3.5
"""What lies farther than this from the skeleton of its mask is an end that the thinning has lost: no coronary artery is
so wide."""

_LOST_MARGIN = 4  # voxels around a lost end that are thinned with it


@dataclass(frozen=True)
class MaskScores:
    """Scores of a mask; distances in mm, None where undefined; volumes in mm3.

    `topology_precision` is the part of the predicted skeleton inside the reference, `topology_sensitivity` the part
    of the reference skeleton inside the prediction, `cldice` their harmonic mean. `betti0` counts components.
    """

    dice: float
    hd95_mm: float | None
    assd_mm: float | None
    cldice: float
    topology_precision: float | None
    topology_sensitivity: float | None
    betti0: int
    betti0_reference: int
    volume_mm3: float
    volume_reference_mm3: float

    @property
    def betti0_error(self) -> int:
        """Difference of the numbers of components, without sign."""
        return abs(self.betti0 - self.betti0_reference)


def compare_masks(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing_mm: tuple[float, float, float],
    uncut: tuple[np.ndarray, np.ndarray] | None = None,
) -> MaskScores:
    """Return all scores of a predicted mask against a reference on the same grid.

    `uncut` gives prediction and reference for counting components, where parts were cut out of the masks.

    Raises
    ------
    ValueError : the masks have different shapes.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"masks of shapes {prediction.shape} and {reference.shape} cannot be compared")
    betti = [betti0(mask) for mask in uncut or (prediction, reference)]
    prediction, reference = _cut(np.asarray(prediction, dtype=bool), np.asarray(reference, dtype=bool))
    voxel_mm3 = float(np.prod(spacing_mm))
    to_reference, to_prediction = surface_distances(prediction, reference, spacing_mm)
    precision, sensitivity = topology(prediction, reference, spacing_mm)
    return MaskScores(
        dice=dice(prediction, reference),
        hd95_mm=hausdorff_95(to_reference, to_prediction),
        assd_mm=average_distance(to_reference, to_prediction),
        cldice=harmonic_mean(precision, sensitivity),
        topology_precision=precision,
        topology_sensitivity=sensitivity,
        betti0=betti[0],
        betti0_reference=betti[1],
        volume_mm3=float(prediction.sum()) * voxel_mm3,
        volume_reference_mm3=float(reference.sum()) * voxel_mm3,
    )


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Return the Dice coefficient, 2 |A and B| / (|A| + |B|); 1 for two empty masks."""
    size = int(prediction.sum()) + int(reference.sum())
    return 2.0 * int((prediction & reference).sum()) / size if size else 1.0


def surface_distances(
    prediction: np.ndarray, reference: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances in mm of the surface voxels of each mask to the nearest surface voxel of the other.

    Distances run between voxel centers. Where one mask is empty, those of the other are infinite.
    """
    from scipy.spatial import cKDTree

    points = [_surface_points(mask, spacing_mm) for mask in (prediction, reference)]
    if len(points[0]) == 0 or len(points[1]) == 0:
        return np.full(len(points[0]), np.inf), np.full(len(points[1]), np.inf)
    # A tree of the surface points costs what the vessels cost, a distance map what the whole box costs.
    return cKDTree(points[1]).query(points[0])[0], cKDTree(points[0]).query(points[1])[0]


def hausdorff_95(to_reference: np.ndarray, to_prediction: np.ndarray) -> float | None:
    """Return the larger of the 95th percentiles of two directed distances; 0 for two empty, None for one empty."""
    if len(to_reference) == 0 and len(to_prediction) == 0:
        return 0.0
    if len(to_reference) == 0 or len(to_prediction) == 0:
        return None
    return max(float(np.percentile(to_reference, 95)), float(np.percentile(to_prediction, 95)))


def average_distance(to_reference: np.ndarray, to_prediction: np.ndarray) -> float | None:
    """Return the average symmetric surface distance; 0 for two empty masks, None for one empty."""
    if len(to_reference) == 0 and len(to_prediction) == 0:
        return 0.0
    if len(to_reference) == 0 or len(to_prediction) == 0:
        return None
    return float(np.concatenate([to_reference, to_prediction]).mean())


def topology(
    prediction: np.ndarray, reference: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[float | None, float | None]:
    """Return precision and sensitivity of the skeletons (Shit 2021); None where the skeleton's own mask is empty."""
    prediction, _ = _isotropic(prediction, spacing_mm)
    reference, spacing = _isotropic(reference, spacing_mm)
    return _skeleton_inside(prediction, reference, spacing), _skeleton_inside(reference, prediction, spacing)


def harmonic_mean(precision: float | None, sensitivity: float | None) -> float:
    """Return clDice from its two parts: 1 when both skeletons are empty, 0 when one is."""
    if precision is None and sensitivity is None:
        return 1.0
    if not precision or not sensitivity:
        return 0.0
    return 2.0 * precision * sensitivity / (precision + sensitivity)


def betti0(mask: np.ndarray) -> int:
    """Return the number of components with 26 neighbors."""
    from scipy import ndimage

    return int(ndimage.label(mask, np.ones((3, 3, 3), dtype=bool))[1])


def _skeleton_inside(mask: np.ndarray, other: np.ndarray, spacing_mm: tuple[float, float, float]) -> float | None:
    """Return the part of the skeleton of a mask that lies inside another; None for an empty mask."""
    return float(other[skeleton_of(mask, spacing_mm)].mean()) if mask.any() else None


def skeleton_of(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the skeleton of a mask (Lee 1994), ends and pieces included that the thinning of scikit-image loses.

    Where a vessel is an even number of voxels wide, that thinning eats it up from its free end, all of it if it is even
    throughout. What lies far from the skeleton is thinned again on a grid with one voxel more between any two, set
    where both are, on which every width is odd.
    """
    from scipy import ndimage
    from scipy.spatial import cKDTree
    from skimage.morphology import skeletonize

    skeleton = skeletonize(np.pad(mask, 1))[1:-1, 1:-1, 1:-1].astype(bool)
    spacing = np.array(spacing_mm[::-1])
    voxels = np.argwhere(mask)
    lost = np.zeros_like(mask)
    found = np.argwhere(skeleton)
    if len(found):
        far = cKDTree(found * spacing).query(voxels * spacing)[0] > LOST_MM
        lost[tuple(voxels[far].T)] = True
    around = np.ones((3, 3, 3), dtype=bool)
    pieces, count = ndimage.label(mask, around)
    missing = np.setdiff1d(np.arange(1, count + 1), pieces[skeleton])
    lost |= np.isin(pieces, missing) if len(missing) else False
    parts, _ = ndimage.label(lost, around)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        wide = tuple(slice(max(s.start - _LOST_MARGIN, 0), s.stop + _LOST_MARGIN) for s in box)
        fine = skeletonize(np.pad(_between(mask[wide]), 1))[1:-1, 1:-1, 1:-1].astype(bool)
        places = np.argwhere(fine) // 2
        places = places[parts[wide][tuple(places.T)] == number] + [s.start for s in wide]
        skeleton[tuple(places.T)] = True
    return skeleton


def _between(mask: np.ndarray) -> np.ndarray:
    """Return a mask with a voxel between any two neighbors along each axis, set where both are."""
    for axis in range(mask.ndim):
        old = np.moveaxis(mask, axis, 0)
        new = np.empty((2 * len(old) - 1, *old.shape[1:]), dtype=bool)
        new[::2] = old
        new[1::2] = old[1:] & old[:-1]
        mask = np.moveaxis(new, 0, axis)
    return mask


def _surface_points(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    from scipy import ndimage

    kji = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    return kji * np.array(spacing_mm[::-1])


def _cut(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both masks without the empty margin around them, one voxel of it kept."""
    from scipy import ndimage

    union = prediction | reference
    if not union.any():
        return prediction[:1, :1, :1], reference[:1, :1, :1]
    box = ndimage.find_objects(union.astype(np.uint8))[0]
    # Voxels at the border of the image are surface, inside of it or not, so the cut must not change the border.
    cut = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
    return prediction[cut], reference[cut]


def _isotropic(
    mask: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Return a mask and its spacing, at its smallest spacing if these differ much: thinning counts in voxels."""
    finest = min(spacing_mm)
    if max(spacing_mm) <= ISOTROPIC_WITHIN * finest:
        return mask, spacing_mm
    for axis, step in enumerate(spacing_mm[::-1]):
        count = mask.shape[axis]
        places = (np.arange(max(round(count * step / finest), 1)) + 0.5) * finest / step
        mask = np.take(mask, np.minimum(places.astype(int), count - 1), axis=axis)
    return mask, (finest, finest, finest)
