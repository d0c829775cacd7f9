"""A stretch of one vessel by point index: what a lesion covers and where it is narrowest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..anatomy import segment_definition
from ..study import CENTERLINE_SPACING_MM

if TYPE_CHECKING:
    from ..study import Vessel


@dataclass(frozen=True)
class Stretch:
    """First, narrowest and last point of a stretch, inclusive."""

    first: int
    throat: int
    last: int


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def points_of(length_mm: float) -> int:
    """Return how many steps along a centerline a length has."""
    return round(length_mm / CENTERLINE_SPACING_MM)


def segment_at(vessel: Vessel, distance_mm: float) -> str:
    """Return the abbreviation of the SCCT segment at a distance along a vessel; the vessel's name where it has none."""
    for segment in vessel.segments:
        if segment.start_mm <= distance_mm <= segment.end_mm:
            return segment_definition(segment.number).abbreviation
    return vessel.name
