"""Refusals and warnings that hold for a CT volume however it came; every limit stands in the table below.

In: a `CTVolume`. Out: the same volume with warnings added, or an `InputError` of one line.
"""

from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..study import CTVolume

MINIMUM_SLICES = 16
"""Fewest voxels along any axis."""
REFUSED_SLICE_SPACING_MM = 1.5
"""Slices further apart cannot measure a coronary lumen of 1.5 to 5 mm."""
WARNED_SLICE_SPACING_MM = 1.0
"""Slices (or their thickness) above this make diameters uncertain."""
WARNED_IN_PLANE_SPACING_MM = 0.5
"""Pixels above this make diameters uncertain: a cardiac field of view of 250 mm in 512 pixels gives 0.49 mm."""
MINIMUM_SPACING_MM = 0.05
"""A smaller spacing is not in mm."""
SHEAR_TOLERANCE = 0.002
"""Largest cosine between two axes of the grid (0.1 degree)."""
AIR_HU = -1024.0
"""Lowest meaningful value; padding below it becomes air."""
MAXIMUM_HU = 32767.0
"""Above it stand negative values that were stored without their sign (extended CT scales end at 30710 HU)."""
MINIMUM_RANGE_HU = 200.0
"""A chest spans more than this; a normalized image, a probability map or an empty one does not."""
MINIMUM_NEGATIVE_FRACTION = 0.001
"""Fat and lung make more of a chest than this; without them the values are not HU."""
MAXIMUM_LABELS = 200
"""Whole numbers from 0 up with no more distinct values than this are a label map (an 8-bit grey image has 256)."""
REFUSED_AORTA_HU = 150.0
"""Blood below this carries no usable contrast agent."""
WARNED_AORTA_HU = 250.0
"""Blood below this makes small vessels uncertain."""


def check_contrast(aorta_hu: float) -> tuple[str, ...]:
    """Return warnings about the attenuation of aortic blood.

    Raises
    ------
    InputError : the blood lies below `REFUSED_AORTA_HU`, or the value is not finite.
    """
    if not np.isfinite(aorta_hu) or aorta_hu < REFUSED_AORTA_HU:
        measured = f"{aorta_hu:.0f} HU" if np.isfinite(aorta_hu) else "no finite value"
        raise InputError(
            f"the scan shows no arterial contrast: aortic blood has {measured}, at least {REFUSED_AORTA_HU:.0f} HU are "
            "needed; choose the contrast-enhanced series"
        )
    if aorta_hu < WARNED_AORTA_HU:
        return (
            f"weak contrast: aortic blood has {aorta_hu:.0f} HU, below {WARNED_AORTA_HU:.0f} HU; "
            "small vessels and soft plaque are uncertain",
        )
    return ()


def check_given_lumen(vessels_hu: float, aorta_hu: float | None) -> tuple[str, ...]:
    """Return warnings about the attenuation of the blood in a lumen that was given, beside that of the aorta if found.

    Raises
    ------
    InputError : the aorta is enhanced and the vessels are not, or there is no contrast at all.
    """
    if aorta_hu is not None and aorta_hu >= REFUSED_AORTA_HU > vessels_hu:
        raise InputError(
            f"the vessels of the segmentation have {vessels_hu:.0f} HU where the aorta has {aorta_hu:.0f} HU: choose "
            "the segmentation that belongs to this scan"
        )
    return check_contrast(vessels_hu)


def check_volume(volume: CTVolume, widest_mm: float = REFUSED_SLICE_SPACING_MM) -> CTVolume:
    """Return the volume with warnings added and values below `AIR_HU` set to it, or refuse it.

    Checks modality, shape, affine, spacing and values. It may be called again on its own result, which changes nothing.
    Slices farther apart than `widest_mm` are refused; where more is allowed than a lumen can be measured in, nothing
    is said of diameters.

    Raises
    ------
    InputError : one line that says what is wrong and what to do.
    """
    if volume.modality != "CT":
        raise InputError(
            f"the image is {volume.modality or 'of unknown modality'}, not CT: choose a coronary CT angiogram"
        )
    if volume.voxels.ndim != 3:
        raise InputError(
            f"the image has {volume.voxels.ndim} dimensions, not 3: choose a single volume (one cardiac phase)"
        )
    _check_affine(volume.ijk_to_ras)
    smallest = min(volume.size_ijk)
    if smallest < MINIMUM_SLICES:
        raise InputError(
            f"the image has only {smallest} {'slice' if smallest == 1 else 'slices'} along one axis, at least "
            f"{MINIMUM_SLICES} are needed: choose the full series"
        )
    check_slice_spacing(max(volume.spacing_mm), widest_mm)
    measurable = widest_mm <= REFUSED_SLICE_SPACING_MM
    warnings = [*_spacing_warnings(volume.spacing_mm), *_thickness_warnings(volume)] if measurable else []
    voxels = np.asarray(volume.voxels, dtype=np.float32)
    _check_values(voxels)
    if float(voxels.min()) < AIR_HU:
        voxels = np.maximum(voxels, np.float32(AIR_HU))
    added = tuple(w for w in warnings if w not in volume.warnings)
    return replace(volume, voxels=voxels, warnings=volume.warnings + added)


def check_slice_spacing(spacing_mm: float, widest_mm: float = REFUSED_SLICE_SPACING_MM) -> None:
    """Refuse slices too far apart to measure; rounding in file headers does not turn 1.5 mm into a refusal."""
    if spacing_mm > widest_mm + 1e-3:
        raise InputError(
            f"the slices stand {spacing_mm:.2f} mm apart, at most {widest_mm:g} mm can be measured: "
            "choose a reconstruction with thinner slices"
        )


def label_values(voxels: np.ndarray) -> np.ndarray | None:
    """Return the distinct values of an array [k, j, i] if all are whole numbers from 0 to 65535, otherwise None."""
    if float(voxels.min()) < 0 or float(voxels.max()) > 65535:
        return None
    seen = np.zeros(65536, dtype=bool)
    # Slice by slice, because a grey image shows itself in the first one and counting needs much memory.
    for part in voxels:
        if np.issubdtype(part.dtype, np.floating) and np.any(part != np.floor(part)):
            return None
        seen[part.astype(np.uint16)] = True
    return np.flatnonzero(seen)


def looks_like_labels(voxels: np.ndarray) -> bool:
    """Return whether an array [k, j, i] of finite values holds 2 to `MAXIMUM_LABELS` whole numbers from 0 up."""
    values = label_values(voxels)
    return values is not None and 2 <= len(values) <= MAXIMUM_LABELS


def shear_of(directions: np.ndarray) -> float:
    """Return the largest cosine between two columns of a 3 x 3 matrix; 0 where they stand at right angles."""
    unit = directions / np.linalg.norm(directions, axis=0)
    return float(np.abs(unit.T @ unit - np.eye(3)).max())


def _check_affine(ijk_to_ras: np.ndarray) -> None:
    """Refuse a matrix that is not finite, not invertible, not in mm or sheared."""
    matrix = np.asarray(ijk_to_ras, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InputError("the position of the image is not given by finite numbers: export it again from its source")
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if spacing.min() < MINIMUM_SPACING_MM:
        raise InputError(
            f"the voxel spacing {_in_mm(*spacing)} is not plausible: export the image with its spacing in mm"
        )
    shear = shear_of(matrix[:3, :3])
    if shear > SHEAR_TOLERANCE:
        raise InputError(
            f"the image grid is sheared by {np.degrees(np.arcsin(min(shear, 1.0))):.1f} degrees (gantry tilt): "
            "resample it to right angles first, for example with Slicer's acquisition geometry regularization"
        )


def _spacing_warnings(spacing_mm: tuple[float, float, float]) -> list[str]:
    """Return warnings about the spacing, of which the largest is that of the slices."""
    _, in_plane, slices = sorted(spacing_mm)
    warnings = []
    if slices > WARNED_SLICE_SPACING_MM + 1e-3:
        warnings.append(
            f"the slices stand {slices:.2f} mm apart, above {WARNED_SLICE_SPACING_MM:g} mm: diameters are uncertain"
        )
    if in_plane > WARNED_IN_PLANE_SPACING_MM + 1e-3:
        warnings.append(
            f"the pixels are {in_plane:.2f} mm wide, above {WARNED_IN_PLANE_SPACING_MM:g} mm: diameters are uncertain"
        )
    return warnings


def _thickness_warnings(volume: CTVolume) -> list[str]:
    """Return warnings about the slice thickness, where the file states it."""
    thickness = volume.acquisition.get("slice_thickness_mm")
    if not isinstance(thickness, float):
        return []
    spacing = max(volume.spacing_mm)
    if thickness > WARNED_SLICE_SPACING_MM + 1e-3:
        return [
            f"the slices are {thickness:.2f} mm thick, above {WARNED_SLICE_SPACING_MM:g} mm: diameters are uncertain"
        ]
    if thickness < 0.95 * spacing:
        return [f"slices {thickness:.2f} mm thick every {spacing:.2f} mm leave gaps between them"]
    return []


def _check_values(voxels: np.ndarray) -> None:
    """Refuse values that are not finite or not HU: label maps, normalized images, stored values without rescale."""
    finite = np.isfinite(voxels)
    if not finite.all():
        count = int(finite.size - np.count_nonzero(finite))
        raise InputError(
            f"{count} voxels are not finite numbers ({100 * count / finite.size:.2g} %): "
            "export the image again without them"
        )
    lowest, highest = float(voxels.min()), float(voxels.max())
    if looks_like_labels(voxels):
        raise InputError(
            f"the image is a label map (only whole numbers from 0 to {highest:.0f}): give the CT itself as the input, "
            "and a label map of the lumen as the segmentation"
        )
    if highest - max(lowest, AIR_HU) < MINIMUM_RANGE_HU:
        raise InputError(
            f"the values of the image reach only from {lowest:g} to {highest:g}, which is not a CT in HU: "
            "export it without normalization"
        )
    if highest > MAXIMUM_HU:
        raise InputError(
            f"the values of the image reach {highest:.0f}, beyond any CT: negative values were stored without their "
            "sign; export it as signed 16-bit HU"
        )
    negative = np.count_nonzero((voxels < 0) & (voxels > AIR_HU)) / voxels.size
    if negative < MINIMUM_NEGATIVE_FRACTION:
        raise InputError(
            f"the values of the image (from {lowest:.0f} to {highest:.0f}) are not HU: neither fat nor lung lies below "
            "0; export it with the rescale applied (stored values - 1024), or choose the CT if this is MR"
        )


def _in_mm(*lengths: float) -> str:
    """Return lengths as text, for example 0.5 x 0.5 x 0.6 mm."""
    return " x ".join(f"{length:.3g}" for length in lengths) + " mm"
