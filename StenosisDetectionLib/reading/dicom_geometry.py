"""The grid of a DICOM series, from the positions and orientations of its slices alone.

In: the headers of one series. Out: the slices in order along their normal and the affine to RAS, or an `InputError`.
Instance numbers and file names play no part. Method: DICOM PS3.3 C.7.6.2.1.1, positions projected on the normal.
"""

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..geometry import LPS_TO_RAS
from .checks import MINIMUM_SLICES, SHEAR_TOLERANCE
from .dicom_headers import SliceHeader

SAME_POSITION_MM = 0.01
"""Slices closer than this stand at the same position."""
EVEN_TOLERANCE_MM = 0.06
"""Positions may differ this much from even spacing: headers are often rounded to 0.1 mm."""
EVEN_TOLERANCE = 0.1
"""... or this fraction of the slice spacing, whichever is larger."""
_PHASE_UNITS = {"percent": " %", "ms": " ms", "time": "", "acquisition": ""}
_PHASE_WORDS = {
    "percent": "cardiac phases",
    "ms": "trigger times",
    "time": "time points",
    "acquisition": "acquisitions",
}


class SeveralPhasesError(InputError):
    """The series holds several volumes at the same positions; the user must choose one."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Slices in order along k, the affine from (i, j, k) to RAS, and one line for each thing that was left aside."""

    slices: tuple[SliceHeader, ...]
    ijk_to_ras: np.ndarray
    warnings: tuple[str, ...] = ()

    @property
    def slice_spacing_mm(self) -> float:
        """Distance between slices."""
        return float(np.linalg.norm(self.ijk_to_ras[:3, 2]))


def grid_of(slices: list[SliceHeader]) -> Grid:
    """Return the grid of slices of one orientation, pixel spacing and size.

    Raises
    ------
    SeveralPhasesError : different images stand at the same positions (4-D).
    InputError : too few, missing or uneven slices, or gantry tilt.
    """
    first = slices[0]
    row, column, normal = _axes(first)
    positions = np.array([header.position for header in slices])
    along = positions @ normal
    order = np.lexsort(([str(header.path) for header in slices], along))
    stacks = _stacks([slices[n] for n in order], along[order])
    kept, dropped = _without_copies(stacks)
    notes = (f"{dropped} identical copies of slices were left aside",) if dropped else ()
    positions = np.array([header.position for header in kept])
    if len(kept) < MINIMUM_SLICES:
        raise InputError(
            f"the series has only {len(kept)} {'slice' if len(kept) == 1 else 'slices'}, at least {MINIMUM_SLICES} are "
            "needed: choose the full series"
        )
    _check_even(positions @ normal)
    step = (positions[-1] - positions[0]) / (len(kept) - 1)
    _check_tilt(step, normal)
    _check_straight(positions, step)
    matrix = np.eye(4)
    # PixelSpacing is (between rows, between columns); i runs along a row.
    matrix[:3, :3] = np.column_stack((row * first.pixel_spacing[1], column * first.pixel_spacing[0], step))
    matrix[:3, 3] = positions[0]
    return Grid(tuple(kept), LPS_TO_RAS @ matrix, notes)


def _axes(header: SliceHeader) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the unit vectors of rows, columns and their normal in LPS."""
    lengths = np.linalg.norm(header.row_direction), np.linalg.norm(header.column_direction)
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01:
        raise InputError("the orientation of the slices is not given by unit vectors: export the series again")
    row, column = header.row_direction / lengths[0], header.column_direction / lengths[1]
    if abs(row @ column) > SHEAR_TOLERANCE:
        raise InputError("the rows and columns of the slices do not stand at right angles: export the series again")
    normal = np.cross(row, column)
    return row, column, normal / np.linalg.norm(normal)


def _stacks(slices: list[SliceHeader], along: np.ndarray) -> list[list[SliceHeader]]:
    """Return the slices in order, those at the same position together."""
    stacks = [[slices[0]]]
    for number in range(1, len(slices)):
        if along[number] - along[number - 1] < SAME_POSITION_MM:
            stacks[-1].append(slices[number])
        else:
            stacks.append([slices[number]])
    return stacks


def _without_copies(stacks: list[list[SliceHeader]]) -> tuple[list[SliceHeader], int]:
    """Return one slice per position and the number of identical copies left aside; refuse different images."""
    kept, dropped = [], 0
    for stack in stacks:
        if len({_digest(header) for header in stack} if len(stack) > 1 else {0}) > 1:
            _refuse_phases(stacks)
        kept.append(stack[0])
        dropped += len(stack) - 1
    return kept, dropped


def _digest(header: SliceHeader) -> str:
    """Return a hash of the stored pixels and their rescale."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(header.path, specific_tags=["PixelData"], force=True)
    pixels = bytes(dataset.get("PixelData", b""))
    return hashlib.sha256(pixels + f"{header.slope},{header.intercept}".encode()).hexdigest()


def _refuse_phases(stacks: list[list[SliceHeader]]) -> None:
    """Raise the refusal of a series with different images at the same position, naming the phases where it can."""
    crowded = [stack for stack in stacks if len(stack) > 1]
    count = max(len(stack) for stack in crowded)
    if 2 * len(crowded) < len(stacks):
        raise SeveralPhasesError(
            f"{len(crowded)} of {len(stacks)} slice positions hold several different images: "
            "put the slices of one volume into a folder of their own"
        )
    advice = "put one phase, best that near 75 %, into a folder of its own"
    for key, words in _PHASE_WORDS.items():
        values = sorted({header.phase[key] for stack in crowded for header in stack if key in header.phase})
        if len(values) == count and all(
            len({header.phase.get(key) for header in stack}) == len(stack) for stack in crowded
        ):
            listed = ", ".join(f"{value:g}{_PHASE_UNITS[key]}" for value in values)
            raise SeveralPhasesError(f"the series is 4-D, with {count} {words} ({listed}): {advice}")
    raise SeveralPhasesError(f"the series is 4-D, with {count} different images at each slice position: {advice}")


def _check_even(along: np.ndarray) -> None:
    """Refuse missing or uneven slices, saying where."""
    gaps = np.diff(along)
    spacing = float(np.median(gaps))
    wide = np.flatnonzero(gaps > 1.5 * spacing)
    if len(wide):
        missing = int(np.sum(np.round(gaps[wide] / spacing) - 1))
        places = ", ".join(f"{along[n]:.1f} and {along[n + 1]:.1f} mm" for n in wide[:3])
        more = f" and at {len(wide) - 3} more places" if len(wide) > 3 else ""
        raise InputError(
            f"{missing} {'slice is' if missing == 1 else 'slices are'} missing, between {places}{more} along the slice "
            f"normal (spacing {spacing:.2f} mm): import the complete series"
        )
    index = np.arange(len(along))
    aside = np.abs(along - np.polyval(np.polyfit(index, along, 1), index))
    if aside.max() > max(EVEN_TOLERANCE_MM, EVEN_TOLERANCE * spacing):
        worst = int(np.argmax(aside))
        raise InputError(
            f"the slices are unevenly spaced, {gaps.min():.2f} to {gaps.max():.2f} mm (worst near {along[worst]:.1f} "
            "mm along the slice normal): choose an evenly reconstructed series"
        )


def _check_tilt(step: np.ndarray, normal: np.ndarray) -> None:
    """Refuse slices stacked along another direction than their normal."""
    lateral = float(np.linalg.norm(step - (step @ normal) * normal) / np.linalg.norm(step))
    if lateral > SHEAR_TOLERANCE:
        raise InputError(
            f"the slices are stacked at {np.degrees(np.arcsin(lateral)):.1f} degrees to their normal (gantry tilt): "
            "resample the series to right angles first, for example with Slicer's acquisition geometry regularization"
        )


def _check_straight(positions: np.ndarray, step: np.ndarray) -> None:
    """Refuse slices that are shifted sideways against each other."""
    line = positions[0] + np.arange(len(positions))[:, None] * step
    aside = positions - line
    aside -= np.outer(aside @ step, step) / (step @ step)
    shift = float(np.linalg.norm(aside, axis=1).max())
    if shift > 2 * EVEN_TOLERANCE_MM:
        raise InputError(
            f"the slices are shifted sideways by up to {shift:.1f} mm against each other: choose a series "
            "reconstructed with one field of view"
        )
