"""The calcium score of a CT without contrast agent: Agatston, volume and mass.

In: a CT volume in HU and the regions of the coronary arteries on its grid. Out: a `CalciumScore`. Method: Agatston 1990
(JACC 15:827): in axial slices of 3 mm, connected voxels of 130 HU or more with an area of at least 1 mm2 count their
area times 1 to 4 by their highest attenuation (130, 200, 300, 400 HU). Thinner slices are averaged to about 3 mm first,
and slices of another thickness count in proportion to it. In an angiogram blood itself exceeds 130 HU: there the score
is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
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

THICKEST_MM = 3.5
"""Slices thicker than this are no calcium scan."""

_STEPS_HU = (130.0, 200.0, 300.0, 400.0)
_KVP = 120.0


@dataclass(frozen=True)
class CalciumPart:
    """The score of one region: Agatston, volume in mm3, mass in mg (None without a calibration), number of lesions."""

    name: str
    agatston: float
    volume_mm3: float
    mass_mg: float | None
    lesions: int


@dataclass(frozen=True)
class CalciumScore:
    """Agatston score, volume in mm3, mass in mg (None without a calibration), number of lesions, parts and warnings."""

    agatston: float
    volume_mm3: float
    mass_mg: float | None
    lesions: int
    warnings: tuple[str, ...] = ()
    parts: tuple[CalciumPart, ...] = ()


@dataclass(frozen=True)
class _Spot:
    """Connected calcium in one slice: its region, number of voxels, sum of their HU, and area (mm2) times weight."""

    region: int
    voxels: int
    hu: float
    weighted_mm2: float


def calcium_score(
    volume: CTVolume,
    region: np.ndarray,
    blood_hu: float | None = None,
    calibration_mg_per_hu_mm3: float | None = None,
    names: Mapping[int, str] | None = None,
) -> CalciumScore:
    """Return the calcium score of the coronary arteries.

    Parameters
    ----------
    region : bool array [k, j, i] on the grid of the volume, the coronary arteries and what surrounds them; or whole
        numbers, a label per artery, of which calcium that reaches into several counts to the one with most of it.
    blood_hu : attenuation of the aorta, where it is known.
    calibration_mg_per_hu_mm3 : of the scanner, from its calibration phantom; without it there is no mass.
    names : the name of each label, for the parts of the score; without names there are no parts.

    Raises
    ------
    InputError : the volume was made with contrast agent, its slices are not axial or thicker than `THICKEST_MM`, or the
        region has another grid.
    """
    refuse_contrast(volume, blood_hu)
    _check(volume, region)
    slices, labels, thickness = _thick_slices(volume, region)
    voxel_mm2 = volume.spacing_mm[0] * volume.spacing_mm[1]
    spots, counted = _spots(slices, labels, voxel_mm2)
    numbers = sorted(names) if names else []
    components = _components(counted, labels)

    def part(name: str, own: list[_Spot], lesions: int) -> CalciumPart:
        mm3 = voxel_mm2 * thickness
        mass = calibration_mg_per_hu_mm3
        return CalciumPart(
            name,
            sum(spot.weighted_mm2 for spot in own) * thickness / SLICE_MM,
            sum(spot.voxels for spot in own) * mm3,
            None if mass is None else mass * sum(spot.hu for spot in own) * mm3,
            lesions,
        )

    total = part("", spots, len(components))
    return CalciumScore(
        total.agatston,
        total.volume_mm3,
        total.mass_mg,
        total.lesions,
        _warnings(volume),
        tuple(
            part((names or {})[number], [spot for spot in spots if spot.region == number], components.count(number))
            for number in numbers
        ),
    )


def refuse_contrast(volume: CTVolume, blood_hu: float | None = None) -> None:
    """Raise InputError where the header or the attenuation of blood tells of contrast agent."""
    if volume.acquisition.get("contrast_agent") or (blood_hu is not None and blood_hu > THRESHOLD_HU):
        raise InputError(
            "the calcium score needs a CT without contrast agent: in an angiogram the blood itself exceeds 130 HU; "
            "choose the calcium scan"
        )


def _check(volume: CTVolume, region: np.ndarray) -> None:
    if region.shape != volume.voxels.shape:
        raise InputError("the region of the calcium score must have the grid of the CT volume")
    k_mm = volume.spacing_mm[2]
    if k_mm > THICKEST_MM:
        raise InputError(
            f"the calcium score needs slices of at most {THICKEST_MM} mm, this volume has {k_mm:.1f} mm: choose a "
            "series of thinner slices"
        )
    if abs(volume.ijk_to_ras[2, 2]) < 0.9 * k_mm:
        raise InputError("the calcium score needs axial slices: reformat the volume, or choose the axial series")
    if len(volume.voxels) * k_mm < SLICE_MM:
        raise InputError(f"the volume is thinner than one slice of {SLICE_MM:.0f} mm: choose the full series")


def _thick_slices(volume: CTVolume, region: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return slices of about 3 mm, the labels in them, and their thickness; a rest below one slice is left out."""
    k_mm = volume.spacing_mm[2]
    together = max(1, round(SLICE_MM / k_mm))
    count = len(volume.voxels) // together
    used = volume.voxels[: count * together].reshape(count, together, *volume.voxels.shape[1:])
    labels = region[: count * together].astype(np.int32).reshape(used.shape)
    return used.mean(axis=1), labels.max(axis=1), together * k_mm


def _spots(slices: np.ndarray, labels: np.ndarray, voxel_mm2: float) -> tuple[list[_Spot], np.ndarray]:
    """Return the calcium of each slice and the voxels that count."""
    from scipy import ndimage

    counted = np.zeros(slices.shape, dtype=bool)
    spots = []
    for number, (hu, own) in enumerate(zip(slices, labels, strict=True)):
        connected, found = ndimage.label((hu >= THRESHOLD_HU) & (own > 0))
        for spot in range(1, found + 1):
            inside = connected == spot
            voxels = int(inside.sum())
            if voxels * voxel_mm2 < SMALLEST_MM2:
                continue
            weight = sum(float(hu[inside].max()) >= step for step in _STEPS_HU)
            region = int(np.bincount(own[inside]).argmax())
            spots.append(_Spot(region, voxels, float(hu[inside].sum()), voxels * voxel_mm2 * weight))
            counted[number] |= inside
    return spots, counted


def _components(counted: np.ndarray, labels: np.ndarray) -> list[int]:
    """Return the region of each lesion, which may go through several slices."""
    from scipy import ndimage

    connected, found = ndimage.label(counted)
    return [int(np.bincount(labels[connected == number]).argmax()) for number in range(1, found + 1)]


def _warnings(volume: CTVolume) -> tuple[str, ...]:
    kvp = volume.acquisition.get("kvp")
    if isinstance(kvp, int | float) and abs(float(kvp) - _KVP) > 1.0:
        return (f"the score is defined at {_KVP:.0f} kV; at {float(kvp):.0f} kV the attenuation of calcium differs",)
    return ()
