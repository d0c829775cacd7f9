"""Looking along a vessel: where the cross-section and the long axis lie, what was measured there, where to go.

In: a `StudyResult` and the name of a vessel. Out: plain arrays in RAS and mm, and texts. No Qt and no Slicer.

Slicer's slice matrices have the columns right, up and away from the viewer, which is left-handed: axial slices are seen
from the feet. The cross-section is seen looking downstream; flipped, upstream.
"""

from dataclasses import dataclass

import numpy as np

from ..i18n import tr as _
from ..lumen.measure import NORMAL_WALL_MM
from ..study import LumenProfile, ReferenceProfile, StudyResult, Vessel
from ..writing.wording import number
from .vocabulary import sentence

GOALS = ("stenosis", "diameter", "area", "start", "end")
"""Places on a vessel that can be gone to: largest stenosis, smallest diameter, smallest area, its ends."""

BAND_QUANTILE = 1.6449
"""Standard errors on each side of the healthy diameter that hold 90 %."""


@dataclass(frozen=True, eq=False)
class VesselPath:
    """One vessel of a study with its measurements."""

    vessel: Vessel
    profile: LumenProfile
    reference: ReferenceProfile

    @property
    def length_mm(self) -> float:
        """Distance of the last point."""
        return self.vessel.length_mm

    def index_at(self, distance_mm: float) -> int:
        """Return the index of the point nearest to a distance along the vessel."""
        return int(np.argmin(np.abs(self.vessel.distance_mm - distance_mm)))

    def nearest_distance(self, position_ras: tuple[float, float, float] | np.ndarray) -> float:
        """Return the distance along the vessel of the point nearest to a position."""
        offsets = self.vessel.points_ras - np.asarray(position_ras, dtype=np.float64)
        return float(self.vessel.distance_mm[int(np.argmin(np.linalg.norm(offsets, axis=1)))])

    def center_ras(self, distance_mm: float) -> np.ndarray:
        """Return the center (3,) of the lumen, or the point of the path where no lumen was fitted."""
        index = self.index_at(distance_mm)
        center = self.profile.contour_center_ras[index]
        known = bool(np.isfinite(center).all())
        return np.array(center if known else self.vessel.points_ras[index], dtype=np.float64)

    def cross_section(self, distance_mm: float, spin_deg: float = 0.0, flip: bool = False) -> np.ndarray:
        """Return the slice matrix (4, 4) of the plane across the vessel."""
        along, first, second = self.profile.frames[self.index_at(distance_mm)]
        right, up = _turned(first, -second, spin_deg)
        if flip:
            right, along = -right, -along
        return _slice_matrix(right, up, along, self.center_ras(distance_mm))

    def long_axis(self, distance_mm: float, rotation_deg: float = 0.0) -> np.ndarray:
        """Return the slice matrix (4, 4) of a plane along the vessel, upstream at the top."""
        along, first, second = self.profile.frames[self.index_at(distance_mm)]
        right, _ = _turned(first, second, rotation_deg)
        return _slice_matrix(right, -along, -np.cross(right, -along), self.center_ras(distance_mm))

    def lumen_contour(self, distance_mm: float) -> np.ndarray | None:
        """Return the fitted lumen contour (R, 3) in RAS; None where there is none."""
        index = self.index_at(distance_mm)
        return self._ring(index, self.profile.contour_radius_mm[index])

    def wall_contour(self, distance_mm: float) -> np.ndarray | None:
        """Return an outer wall (R, 3) in RAS that holds the measured plaque beside a healthy wall; None where unknown.

        Only the area of the plaque is measured, so it is spread around the lumen.
        """
        index = self.index_at(distance_mm)
        plaque = float(self.profile.plaque_area_mm2[index])
        if not np.isfinite(plaque):
            return None
        healthy = self.profile.contour_radius_mm[index] + NORMAL_WALL_MM
        return self._ring(index, np.sqrt(healthy**2 + plaque / np.pi))

    def edges_mm(self, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far (N,) the lumen's edge lies from the path on both sides of a straightened view.

        `across` (N, 3) is the direction in which the view shows the vessel at each point; distances along it are
        positive. NaN where unknown.
        """
        radii, frames = self.profile.contour_radius_mm, self.profile.frames
        count = radii.shape[1]
        first, second = (np.einsum("nd,nd->n", across, frames[:, axis]) for axis in (1, 2))
        ray = np.round(np.arctan2(second, first) / (2.0 * np.pi) * count).astype(int) % count
        point = np.arange(len(radii))
        shift = np.einsum("nd,nd->n", self.profile.contour_center_ras - self.vessel.points_ras, across)
        return shift + radii[point, ray], shift - radii[point, (ray + count // 2) % count]

    def band_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends (N,) of the 90 % interval of the healthy diameter."""
        error = BAND_QUANTILE * self.reference.error_mm
        return self.reference.diameter_mm - error, self.reference.diameter_mm + error

    def stenosis_percent(self) -> np.ndarray:
        """Return the diameter stenosis (N,) in percent, NaN where unknown."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return 100.0 * (1.0 - self.profile.diameter_mm / self.reference.diameter_mm)

    def goal(self, name: str) -> float | None:
        """Return the distance of one of `GOALS`; None where nothing was measured."""
        if name == "start":
            return 0.0
        if name == "end":
            return self.length_mm
        values = {
            "stenosis": -self.stenosis_percent(),
            "diameter": self.profile.diameter_mm,
            "area": self.profile.area_mm2,
        }[name]
        if not np.isfinite(values).any():
            return None
        return float(self.vessel.distance_mm[int(np.nanargmin(values))])

    def readout(self, distance_mm: float) -> str:
        """Return what was measured at a place, in one line."""
        index = self.index_at(distance_mm)
        profile = self.profile
        stenosis = float(self.stenosis_percent()[index])
        quality = profile.quality[index]
        text = _(
            "{vessel} {distance} mm, lumen {diameter} mm ({smallest}–{largest}), {area} mm², "
            "reference {reference} mm, stenosis {stenosis} %"
        ).format(
            vessel=self.vessel.name,
            distance=f"{float(self.vessel.distance_mm[index]):.2f}",
            diameter=number(float(profile.diameter_mm[index]), 2),
            smallest=number(float(profile.minimum_diameter_mm[index]), 2),
            largest=number(float(profile.maximum_diameter_mm[index]), 2),
            area=number(float(profile.area_mm2[index]), 2),
            reference=number(float(self.reference.diameter_mm[index]), 2),
            stenosis=number(stenosis, 0),
        )
        return text if quality == "ok" else f"{text}, {sentence(quality.replace('_', ' '))}"

    def _ring(self, index: int, radii: np.ndarray) -> np.ndarray | None:
        center = self.profile.contour_center_ras[index]
        if not (np.isfinite(radii).all() and np.isfinite(center).all()):
            return None
        angles = 2.0 * np.pi * np.arange(len(radii)) / len(radii)
        _, first, second = self.profile.frames[index]
        ring: np.ndarray = center + radii[:, None] * (
            np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second
        )
        return ring


def vessel_path(study: StudyResult, name: str) -> VesselPath | None:
    """Return a vessel of a study with its measurements; None when there is no such vessel."""
    for vessel, profile, reference in zip(study.tree.vessels, study.profiles, study.references, strict=True):
        if vessel.name == name:
            return VesselPath(vessel, profile, reference)
    return None


def lesion_diameter_mm(path: VesselPath, study: StudyResult) -> np.ndarray:
    """Return the lumen diameter (N,) inside the lesions of a vessel, NaN elsewhere."""
    inside = np.zeros(len(path.vessel.distance_mm), dtype=bool)
    for lesion in study.lesions:
        if lesion.vessel == path.vessel.name:
            inside |= (path.vessel.distance_mm >= lesion.start_mm) & (path.vessel.distance_mm <= lesion.end_mm)
    return np.where(inside, path.profile.diameter_mm, np.nan)


def _turned(first: np.ndarray, second: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    angle = np.radians(degrees)
    return (
        np.cos(angle) * first + np.sin(angle) * second,
        np.cos(angle) * second - np.sin(angle) * first,
    )


def _slice_matrix(right: np.ndarray, up: np.ndarray, away: np.ndarray, center: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = right, up, away, center
    return matrix
