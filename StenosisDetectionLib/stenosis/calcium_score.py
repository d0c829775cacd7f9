"""The calcium score of a CT without contrast agent: Agatston, volume and mass.

In: a CT volume in HU and the region of the coronary arteries on its grid. Out: a `CalciumScore`. Method: Agatston 1990
(JACC 15:827): in slices of 3 mm, connected voxels of 130 HU or more with an area of at least 1 mm2 count their area
times 1 to 4 by their highest attenuation (130, 200, 300, 400 HU). Thinner slices are averaged to about 3 mm first, and
slices of another thickness count in proportion to it. In an angiogram blood itself exceeds 130 HU: there the score is
refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from ..study import CTVolume

THRESHOLD_HU = 130.0
SMALLEST_MM2 = 1.0
SLICE_MM = 3.0
"""Attenuation from which calcium counts, smallest area of a lesion in a slice, and the thickness the score is for."""

_STEPS_HU = (130.0, 200.0, 300.0, 400.0)
_KVP = 120.0


@dataclass(frozen=True)
class CalciumScore:
    """Agatston score, volume in mm3, mass in mg (None without a calibration), number of lesions, and warnings."""

    agatston: float
    volume_mm3: float
    mass_mg: float | None
    lesions: int
    warnings: tuple[str, ...] = ()


def calcium_score(
    volume: CTVolume,
    region: np.ndarray,
    blood_hu: float | None = None,
    calibration_mg_per_hu_mm3: float | None = None,
) -> CalciumScore:
    """Return the calcium score of a region.

    Parameters
    ----------
    region : bool array [k, j, i] on the grid of the volume: the coronary arteries and what surrounds them.
    blood_hu : attenuation of the aorta, where it is known.
    calibration_mg_per_hu_mm3 : of the scanner, from its calibration phantom; without it there is no mass.

    Raises
    ------
    InputError : the volume was made with contrast agent, its slices are thicker than 3.5 mm, or the region has another
        grid.
    """
    from scipy import ndimage

    if volume.acquisition.get("contrast_agent") or (blood_hu is not None and blood_hu > THRESHOLD_HU):
        raise InputError(
            "the calcium score needs a CT without contrast agent: in an angiogram the blood itself exceeds 130 HU"
        )
    if region.shape != volume.voxels.shape:
        raise InputError("the region of the calcium score must have the grid of the CT volume")
    i_mm, j_mm, k_mm = volume.spacing_mm
    if k_mm > 3.5:
        raise InputError(f"the calcium score needs slices of at most 3.5 mm, this volume has {k_mm:.1f} mm")
    together = max(1, round(SLICE_MM / k_mm))
    count = len(volume.voxels) // together
    if count == 0:
        raise InputError("the volume is thinner than one slice of 3 mm")
    used = volume.voxels[: count * together].reshape(count, together, *volume.voxels.shape[1:])
    slices = used.mean(axis=1)
    inside = region[: count * together].reshape(used.shape).any(axis=1)
    thickness, area = together * k_mm, i_mm * j_mm
    candidate = (slices >= THRESHOLD_HU) & inside
    agatston, attenuation, voxels = 0.0, 0.0, 0
    counted = np.zeros_like(candidate)
    for number, (plane, hu) in enumerate(zip(candidate, slices, strict=True)):
        labels, found = ndimage.label(plane)
        for label in range(1, found + 1):
            own = labels == label
            if own.sum() * area < SMALLEST_MM2:
                continue
            weight = sum(float(hu[own].max()) >= step for step in _STEPS_HU)
            agatston += own.sum() * area * weight * thickness / SLICE_MM
            attenuation += float(hu[own].sum())
            voxels += int(own.sum())
            counted[number] |= own
    lesions = int(ndimage.label(counted)[1])
    mm3 = voxels * area * thickness
    mass = None
    if calibration_mg_per_hu_mm3 is not None:
        mass = calibration_mg_per_hu_mm3 * attenuation * area * thickness
    kvp = volume.acquisition.get("kvp")
    warnings: tuple[str, ...] = ()
    if isinstance(kvp, int | float) and abs(float(kvp) - _KVP) > 1.0:
        warnings = (
            f"the score is defined at {_KVP:.0f} kV; at {float(kvp):.0f} kV the attenuation of calcium differs",
        )
    return CalciumScore(agatston, mm3, mass, lesions, warnings)
