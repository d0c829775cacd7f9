"""A label map of the user as the segmentation: any grid, any labels.

In: a `LabelMap` and the CT volume it belongs to. Out: a `LumenSegmentation` on the grid of the label map, cut to what
it contains. Segments are told apart by their names; without names, the thick part is the aorta.
"""

import numpy as np

from ..errors import InputError
from ..geometry import grid_corners_ras, shifted, spacing_of, transform_points
from ..study import CTVolume, LabelMap, LumenSegmentation, ModelInfo
from .aorta import Aorta
from .grid import resample_mask

MODEL = ModelInfo("given", "1.0")

AORTA_RADIUS_MM = 4.5
"""In a label map without names, what holds a ball of this radius is aorta."""

SMALLEST_AORTA_ML = 15.0
"""Of several thick parts of such a map, the largest and all of this volume are aorta; an aneurysm is smaller."""

THICKEST_AORTA_MM = 30.0
"""What holds a ball of this radius is a heart rather than an aorta."""

VESSEL_MM = 6.0
"""A vessel leads at least this far away from what is thick."""

_CHECKED_MM = 1.2  # voxels this large show whether something is a solid

_NOT_LUMEN = ("plaque", "calcium", "calcification", "myocard", "ventric", "atrium", "vein", "heart")
_MARGIN_MM = 5.0


def segmentation_from_labels(label_map: LabelMap, volume: CTVolume, aorta: Aorta | None = None) -> LumenSegmentation:
    """Return the segmentation a user gives.

    Parameters
    ----------
    label_map : on any grid; every label is lumen except those whose names speak of the aorta, of plaque or of parts
        of the heart. A map without such names is split by thickness.
    volume : the CT, to check that both lie at the same place.
    aorta : gives the aorta when the label map has none.

    Raises
    ------
    InputError : the label map is empty, holds no lumen, is a solid such as a heart, or does not overlap the volume.
    """
    present = np.zeros(int(label_map.labels.max(initial=0)) + 1, dtype=bool)
    present[label_map.labels] = True
    names = {int(value): label_map.names.get(int(value), "").lower() for value in np.flatnonzero(present) if value > 0}
    if not names:
        raise InputError("the segmentation is empty: give a label map with the coronary lumen in it")
    # a segment of both, "coronary arteries and aorta", is split by thickness like one without a name
    aorta_values = [value for value, name in names.items() if "aort" in name and "coronar" not in name]
    other_values = [value for value, name in names.items() if any(word in name for word in _NOT_LUMEN)]
    lumen_values = [value for value in names if value not in aorta_values and value not in other_values]
    lumen = _labeled(label_map.labels, lumen_values, len(present))
    own_aorta = _labeled(label_map.labels, aorta_values, len(present))
    if not lumen.any():
        raise InputError("the segmentation holds no coronary lumen: name its segments after vessels (LM, LAD, ...)")
    _check_overlap(lumen, label_map.ijk_to_ras, volume)

    low, high = _box(lumen | own_aorta, label_map.ijk_to_ras, aorta if not aorta_values else None)
    cut = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    lumen, own_aorta = lumen[cut], own_aorta[cut]
    matrix = shifted(label_map.ijk_to_ras, (float(low[2]), float(low[1]), float(low[0])))
    x, y, z = spacing_of(matrix)
    spacing = (z, y, x)
    _check_solid(lumen, spacing)
    if not aorta_values:
        thick = _thick(lumen, spacing)
        lumen, own_aorta = lumen & ~thick, thick
        if aorta is not None and aorta.found and not thick.any():
            own_aorta = resample_mask(aorta.mask, aorta.ijk_to_ras, lumen.shape, matrix) & ~lumen
    flags = () if own_aorta.any() else ("aorta_not_found",)
    return LumenSegmentation(lumen, own_aorta, matrix, MODEL, flags)


def _labeled(labels: np.ndarray, values: list[int], count: int) -> np.ndarray:
    """Return the voxels whose label is one of `values`; labels are below `count`."""
    wanted = np.zeros(count, dtype=bool)
    wanted[values] = True
    return np.asarray(wanted[labels])


def _check_overlap(lumen: np.ndarray, ijk_to_ras: np.ndarray, volume: CTVolume) -> None:
    """Refuse a label map none of whose lumen lies inside the volume."""
    where = np.argwhere(lumen)
    where = where[:: 1 + len(where) // 20_000]
    ijk = transform_points(np.linalg.inv(volume.ijk_to_ras), transform_points(ijk_to_ras, where[:, ::-1]))
    inside = ((ijk >= -0.5) & (ijk <= np.array(volume.size_ijk) - 0.5)).all(axis=1)
    if not inside.any():
        raise InputError(
            "the segmentation does not overlap the volume: give the label map that was drawn on this study"
        )


def _box(mask: np.ndarray, ijk_to_ras: np.ndarray, aorta: Aorta | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last voxel (k, j, i) of what is wanted of the grid: the mask and the aorta near it."""
    where = np.argwhere(mask)
    low, high = where.min(axis=0), where.max(axis=0)
    margin = np.ceil(_MARGIN_MM / np.array(spacing_of(ijk_to_ras)[::-1])).astype(int)
    if aorta is not None and aorta.found:
        corners = grid_corners_ras(aorta.mask.shape, aorta.ijk_to_ras)
        kji = transform_points(np.linalg.inv(ijk_to_ras), corners)[:, ::-1]
        low = np.minimum(low, np.floor(kji.min(axis=0)).astype(int))
        high = np.maximum(high, np.ceil(kji.max(axis=0)).astype(int))
    return np.maximum(low - margin, 0), np.minimum(high + margin + 1, mask.shape)


def _check_solid(mask: np.ndarray, spacing_kji: tuple[float, float, float]) -> None:
    """Refuse a solid: a heart, or a thick part from which no vessel leads away."""
    from scipy.ndimage import distance_transform_edt

    step = [max(1, round(_CHECKED_MM / spacing)) for spacing in spacing_kji]
    coarse = np.pad(mask[:: step[0], :: step[1], :: step[2]], 1)
    sampling = tuple(n * spacing for n, spacing in zip(step, spacing_kji, strict=True))
    depth = distance_transform_edt(coarse, sampling=sampling)
    core = depth > AORTA_RADIUS_MM
    if not core.any():
        return
    volume_ml = np.count_nonzero(mask) * float(np.prod(spacing_kji)) / 1000.0
    if depth.max() > THICKEST_AORTA_MM:
        raise InputError(
            f"the segmentation holds a solid as thick as a heart, {volume_ml:.0f} mL in all: choose the coronary "
            "lumen, not the heart"
        )
    away = distance_transform_edt(~core, sampling=sampling)
    if away[coarse].max() < AORTA_RADIUS_MM + VESSEL_MM:
        raise InputError(
            f"the segmentation is a solid of {volume_ml:.0f} mL with no vessel on it: choose the coronary lumen, not "
            "the heart or the aorta alone"
        )


def _thick(mask: np.ndarray, spacing_kji: tuple[float, float, float]) -> np.ndarray:
    """Return the opening of a mask with a ball of `AORTA_RADIUS_MM`: its largest component and other large ones."""
    from scipy import ndimage

    core = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_kji)[1:-1, 1:-1, 1:-1] > AORTA_RADIUS_MM
    if not core.any():
        return np.zeros_like(mask)
    opened = (ndimage.distance_transform_edt(~core, sampling=spacing_kji) <= AORTA_RADIUS_MM) & mask
    parts, count = ndimage.label(opened)
    voxels = np.bincount(parts.ravel(), minlength=count + 1)
    voxels[0] = 0
    large = voxels * float(np.prod(spacing_kji)) >= 1000.0 * SMALLEST_AORTA_ML
    large[np.argmax(voxels)] = True
    return np.asarray(large[parts] & opened)
