"""A reader's changes of one lesion, computed from the profiles that were already measured.

In: a `StudyResult` and distances along the vessel in mm. Out: a `Lesion`; nothing of the study changes, and only the
voxels around the lesion are read, so that markers can be dragged. The new lesion carries the flag `edited` or `added`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..lumen import VolumeSampler
from .local_reference import marked_reference
from .measurement import measure_lesion
from .napkin_ring import with_napkin_rings
from .plaque import believed_features
from .reference import branching_mask
from .stretch import Stretch

if TYPE_CHECKING:
    from ..study import Lesion, StudyResult


def remeasure_lesion(
    study: StudyResult,
    lesion_id: str,
    start_mm: float | None = None,
    throat_mm: float | None = None,
    end_mm: float | None = None,
    reference_mm: tuple[float, float] | None = None,
) -> Lesion:
    """Measure a lesion again with ends, throat or reference markers moved by hand.

    Parameters
    ----------
    start_mm, throat_mm, end_mm : distances along the vessel; what is None stays, except that the throat is searched
        again where an end has moved.
    reference_mm : distances of the proximal and the distal reference marker along the same vessel; the healthy diameter
        at the throat is then taken between them instead of from the model.

    Raises
    ------
    InputError : there is no such lesion, the distances are not in order, or nothing was measured there.
    """
    lesion = next((one for one in study.lesions if one.id == lesion_id), None)
    if lesion is None:
        raise InputError(f"there is no lesion '{lesion_id}' in this study")
    if throat_mm is None and start_mm is None and end_mm is None:
        throat_mm = lesion.throat_mm
    return _measured(
        study,
        lesion.id,
        lesion.vessel,
        lesion.start_mm if start_mm is None else start_mm,
        throat_mm,
        lesion.end_mm if end_mm is None else end_mm,
        reference_mm,
        "edited",
    )


def add_lesion(
    study: StudyResult,
    vessel: str,
    start_mm: float,
    throat_mm: float | None = None,
    end_mm: float | None = None,
    reference_mm: tuple[float, float] | None = None,
) -> Lesion:
    """Return a lesion that a reader saw and the software did not, measured like any other.

    Without `throat_mm` the narrowest place between the ends is taken; without `end_mm` the lesion is a point.

    Raises
    ------
    InputError : there is no such vessel, the distances are not in order, or nothing was measured there.
    """
    taken = {one.id for one in study.lesions}
    number = next(n for n in range(1, len(taken) + 2) if f"A{n}" not in taken)
    end = start_mm if end_mm is None else end_mm
    return _measured(study, f"A{number}", vessel, start_mm, throat_mm, end, reference_mm, "added")


def _measured(
    study: StudyResult,
    name: str,
    vessel_name: str,
    start_mm: float,
    throat_mm: float | None,
    end_mm: float,
    reference_mm: tuple[float, float] | None,
    flag: str,
) -> Lesion:
    position = next((n for n, one in enumerate(study.tree.vessels) if one.name == vessel_name), None)
    if position is None:
        raise InputError(f"there is no vessel '{vessel_name}' in this study")
    vessel, profile, reference = study.tree.vessels[position], study.profiles[position], study.references[position]
    first, last = _index(vessel.distance_mm, start_mm), _index(vessel.distance_mm, end_mm)
    if throat_mm is None:
        inside = profile.diameter_mm[first : last + 1]
        if last < first or not np.isfinite(inside).any():
            raise InputError(
                f"the lumen of {vessel_name} was not measured between {start_mm:.1f} and {end_mm:.1f} mm: choose a "
                "place where it was"
            )
        throat = first + int(np.nanargmin(inside))
    else:
        throat = _index(vessel.distance_mm, throat_mm)
    if not first <= throat <= last:
        raise InputError(f"a lesion of {vessel_name} needs its start before its throat and its throat before its end")
    if not np.isfinite(profile.diameter_mm[throat]):
        raise InputError(
            f"the lumen of {vessel_name} was not measured at {vessel.distance_mm[throat]:.1f} mm: choose a place where "
            "it was"
        )
    marked = None
    if reference_mm is not None:
        if not reference_mm[0] < reference_mm[1]:
            raise InputError("the proximal reference marker must lie before the distal one")
        marked = marked_reference(vessel, profile, reference_mm, float(vessel.distance_mm[throat]))
        if marked is None:
            raise InputError(
                f"the lumen of {vessel_name} was not measured at the reference markers: choose a place where it was"
            )
    elif not np.isfinite(reference.diameter_mm[throat]):
        raise InputError(f"{vessel_name} has no healthy diameter: set the two reference markers")
    branching = branching_mask(study.tree, vessel)
    lesion = measure_lesion(name, vessel, profile, reference, branching, Stretch(first, throat, last), marked)
    seen = with_napkin_rings((lesion,), study.tree, study.profiles, VolumeSampler(study.volume, "cpu"))
    (lesion,) = believed_features(seen, study.volume.acquisition)
    return replace(lesion, flags=(*lesion.flags, flag))


def _index(distance_mm: np.ndarray, wanted_mm: float) -> int:
    """Return the index of the nearest centerline point; markers beyond an end belong to it."""
    return int(np.argmin(np.abs(distance_mm - wanted_mm)))
