"""The series of a DICOM folder that is to be analyzed, and why.

In: slice headers of a folder. Out: the chosen `Grid` with its reason, or an `InputError`. Messages name a series by its
number, slice count, spacing and kernel only.

Candidates are CT slices with a position, in HU, at least `MINIMUM_SLICES` of one series and orientation. Each gets
the points of `_POINTS`; the best one whose slices are complete and thin enough is taken.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .checks import MINIMUM_SLICES, REFUSED_SLICE_SPACING_MM, SHEAR_TOLERANCE, check_slice_spacing
from .dicom_geometry import Grid, SeveralPhasesError, grid_of
from .dicom_headers import Folder, SliceHeader

_NOT_HU = ("Z_EFF", "ED", "EDW", "MGML", "PCT", "OD", "HU_MOD")
"""Rescale types of spectral maps, which are no attenuation images (DICOM PS3.3 C.11.1.1.2)."""
_NOT_VOLUME = ("LOCALIZER", "SCOUT", "SCREEN SAVE", "DOSE_INFO", "MONITORING", "CINE")
_PROJECTED = ("MIP", "MPR", "VRT", "REFORMATTED", "PROJECTION IMAGE", "CPR")
CARDIAC_WORDS = ("coron", "cardi", "ccta", "ctca", "heart")
CONTRAST_WORDS = ("cta", "ctca", "angio", "contrast")
PLAIN_WORDS = ("calcium", "score", "scoring", "casc", "agatston", "non con", "noncon", "non-con", "without contrast")
TIMING_WORDS = ("monitor", "bolus", "timing", "scout", "topogram", "locali", "surview")


@dataclass(frozen=True, eq=False)
class Candidate:
    """Slices of one series and orientation; `grid` is None where `refusal` says why it cannot be used."""

    slices: tuple[SliceHeader, ...]
    grid: Grid | None
    refusal: InputError | None
    score: int
    reasons: tuple[str, ...]

    @property
    def label(self) -> str:
        """How messages name the series."""
        number = self.slices[0].series_number
        return "a series without number" if number is None else f"series {number}"


def choose_series(folder: Folder, widest_mm: float = REFUSED_SLICE_SPACING_MM) -> tuple[Candidate, tuple[str, ...]]:
    """Return the chosen series and one line about the choice for each thing the user should know.

    Raises
    ------
    InputError : the folder holds no CT, or none of its series can be used; the reason of the best one is given.
    """
    groups, rejected = _groups(folder.headers)
    if not groups:
        _refuse_without_ct(folder, rejected)
    patients = len({group[0].patient_key for group in groups})
    if patients > 1:
        raise InputError(f"the folder holds CT series of {patients} patients: give the folder of one patient")
    candidates = sorted((_candidate(group, widest_mm) for group in groups), key=_rank)
    usable = [candidate for candidate in candidates if candidate.grid is not None]
    best = candidates[0]
    # A better series with several phases is the one that was meant: the user chooses the phase.
    if not usable or isinstance(best.refusal, SeveralPhasesError):
        assert best.refusal is not None
        where = f"{best.label}: " if len(candidates) > 1 else ""
        raise InputError(f"{where}{best.refusal}") from None
    chosen = usable[0]
    return chosen, _choice_lines(chosen, candidates, rejected)


def _groups(headers: list[SliceHeader]) -> tuple[list[list[SliceHeader]], Counter[str]]:
    """Return slices by series, orientation and pixel grid, and why the other images were left out (with counts)."""
    groups: list[list[SliceHeader]] = []
    rejected: Counter[str] = Counter()
    for header in headers:
        reason = _unsuitable(header)
        if reason:
            rejected[reason] += 1
            continue
        home = next((group for group in groups if _belongs(header, group[0])), None)
        if home is None:
            groups.append([header])
        else:
            home.append(header)
    return groups, rejected


def _unsuitable(header: SliceHeader) -> str:
    """Return why an image cannot be a slice of a CT volume, or an empty string."""
    words = " ".join(header.image_type)
    if header.modality != "CT":
        return f"{header.modality} images"
    if header.frames > 1:
        return "enhanced multi-frame CT"
    if any(word in words for word in _NOT_VOLUME):
        return "localizers"
    if header.samples != 1:
        return "screen captures"
    if header.rescale_type in _NOT_HU:
        return "spectral maps"
    if not header.placed:
        return "images without position"
    return ""


def _belongs(header: SliceHeader, other: SliceHeader) -> bool:
    """Return whether two slices share series, pixel grid and orientation."""
    if (header.series_uid, header.rows, header.columns) != (other.series_uid, other.rows, other.columns):
        return False
    turn = max(
        np.abs(header.row_direction - other.row_direction).max(),
        np.abs(header.column_direction - other.column_direction).max(),
    )
    same_pixels = np.allclose(header.pixel_spacing, other.pixel_spacing, rtol=1e-4)
    return bool(turn < SHEAR_TOLERANCE and same_pixels)


def _candidate(slices: list[SliceHeader], widest_mm: float) -> Candidate:
    """Return a group of slices with its grid or refusal, and its points."""
    grid, refusal = None, None
    try:
        grid = grid_of(slices)
        check_slice_spacing(grid.slice_spacing_mm, widest_mm)
    except InputError as error:
        refusal = error
        grid = None
    met = [(points, words) for points, words, test in _POINTS if test(slices[0], len(slices), grid)]
    return Candidate(tuple(slices), grid, refusal, sum(points for points, _ in met), tuple(w for p, w in met if p > 0))


def _axial(header: SliceHeader) -> bool:
    return abs(float(np.cross(header.row_direction, header.column_direction)[2])) > 0.8


def _field_of_view_mm(header: SliceHeader) -> float:
    return header.rows * header.pixel_spacing[0]


def _has(words: tuple[str, ...], header: SliceHeader) -> bool:
    return any(word in header.description for word in words)


_Test = Callable[[SliceHeader, int, Grid | None], bool]
_POINTS: tuple[tuple[int, str, _Test], ...] = (
    (3, "original", lambda h, n, g: "ORIGINAL" in h.image_type),
    (1, "primary", lambda h, n, g: "PRIMARY" in h.image_type),
    (2, "axial", lambda h, n, g: _axial(h)),
    (4, "contrast agent", lambda h, n, g: h.acquisition.get("contrast_agent") is True or _has(CONTRAST_WORDS, h)),
    (3, "cardiac", lambda h, n, g: _has(CARDIAC_WORDS, h) or "cardiac_phase_percent" in h.acquisition),
    (2, "at least 100 slices", lambda h, n, g: n >= 100),
    (1, "slices up to 1 mm apart", lambda h, n, g: g is not None and g.slice_spacing_mm <= 1.0 + 1e-3),
    (1, "slices up to 0.6 mm apart", lambda h, n, g: g is not None and g.slice_spacing_mm <= 0.6 + 1e-3),
    (2, "cardiac field of view", lambda h, n, g: 150 <= _field_of_view_mm(h) <= 280),
    (1, "diastole", lambda h, n, g: 65 <= float(h.acquisition.get("cardiac_phase_percent", 0)) <= 85),
    (-4, "plain scan", lambda h, n, g: _has(PLAIN_WORDS, h)),
    (-4, "timing scan", lambda h, n, g: _has(TIMING_WORDS, h)),
    (-4, "reformatted", lambda h, n, g: any(word in " ".join(h.image_type) for word in _PROJECTED)),
    (-10, "too few slices", lambda h, n, g: n < MINIMUM_SLICES),
)
"""Points of a series, why, and when: first slice, number of slices, grid (None when it cannot be used)."""


def _rank(candidate: Candidate) -> tuple[int, int, float, float, str]:
    """Return the sort key: points, then more slices, thinner slices, lower number."""
    spacing = candidate.grid.slice_spacing_mm if candidate.grid else np.inf
    number = candidate.slices[0].series_number
    return (
        -candidate.score,
        -len(candidate.slices),
        spacing,
        np.inf if number is None else number,
        candidate.slices[0].series_uid,
    )


def _choice_lines(chosen: Candidate, candidates: list[Candidate], rejected: Counter[str]) -> tuple[str, ...]:
    """Return the line that says which series was chosen and why, when there was anything to choose from."""
    assert chosen.grid is not None
    others = [candidate for candidate in candidates if candidate is not chosen]
    if not others and not rejected:
        return ()
    kernel = chosen.slices[0].acquisition.get("kernel")
    facts = f"{len(chosen.grid.slices)} slices, {chosen.grid.slice_spacing_mm:.2f} mm apart"
    facts += f", kernel {kernel}" if kernel else ""
    facts += f", {chosen.score} points" if others else ""
    left = [_left_out(other) for other in others[:5]]
    left += [f"{len(others) - 5} more series"] if len(others) > 5 else []
    left += [f"{count} {reason}" for reason, count in sorted(rejected.items())]
    return (
        f"{chosen.label} ({facts}) was chosen because it is {', '.join(chosen.reasons) or 'the only usable one'}; "
        f"left out: {'; '.join(left)}",
    )


def _left_out(other: Candidate) -> str:
    """Return one phrase about a series that was not chosen."""
    if len(other.slices) < MINIMUM_SLICES:
        return f"{other.label} ({len(other.slices)} slices)"
    if other.refusal is not None:
        return f"{other.label} ({str(other.refusal).split(':')[0]})"
    assert other.grid is not None
    facts = f"{len(other.grid.slices)} slices, {other.grid.slice_spacing_mm:.2f} mm apart, {other.score} points"
    return f"{other.label} ({facts})"


def _refuse_without_ct(folder: Folder, rejected: Counter[str]) -> None:
    """Raise the refusal of a folder without CT slices, naming what it holds."""
    held = [f"{count} {reason}" for reason, count in sorted(rejected.items())]
    held += [f"{count} {modality} objects" for modality, count in sorted(folder.other_objects.items())]
    if "enhanced multi-frame CT" in rejected:
        raise InputError(
            "enhanced multi-frame CT is not read directly: load it in Slicer and save it as .nrrd, "
            "or export single-frame CT"
        )
    if held:
        raise InputError(
            f"there is no CT volume in the input (it holds {', '.join(held)}): choose a coronary CT angiogram"
        )
    if folder.unreadable:
        raise InputError(
            f"none of the {folder.unreadable} DICOM files can be read: they are empty or damaged; copy them again"
        )
    raise InputError(
        f"there are no DICOM files in the folder ({folder.foreign} other files): choose the folder of the series, "
        "or give an image file itself"
    )
