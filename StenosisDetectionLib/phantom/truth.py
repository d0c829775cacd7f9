"""What a phantom truly contains: analytic vessels and lesions, and the physics of its image. RAS, mm, HU."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import InputError
from ..study import CTVolume, LabelMap

PLAQUE_TYPES = ("noncalcified", "calcified", "mixed")
SHAPES = ("cosine", "plateau", "wedge", "bell", "occlusion")
LESION_KINDS = ("focal", "ostial", "bifurcation", "tandem", "diffuse", "occlusion")
_SHOULDER = 0.25  # part of a plateau lesion that each of its cosine shoulders takes

LUMEN_LABEL = 1
AORTA_LABEL = 2
VEIN_LABEL = 3
SIDE_BRANCH_LABEL = 4
"""Branches of the coronary arteries below 1.2 mm, which have no name: lumen that a segmentation may find or miss."""

HEART_LABELS = {
    LUMEN_LABEL: "Coronary lumen",
    AORTA_LABEL: "Aorta",
    VEIN_LABEL: "Cardiac veins",
    SIDE_BRANCH_LABEL: "Small coronary branches",
}
"""Names of the labels of a whole heart."""

MOTION_GROUPS = ("still", "lad", "lcx", "rca")
"""Parts of a heart that move as one: `lad` and `lcx` hold their branches, `rca` the right heart, `still` the chest."""


@dataclass(frozen=True)
class LesionShape:
    """A stenosis to make, at a distance along a vessel from its start.

    Parameters
    ----------
    vessel : name of the vessel.
    throat_mm, length_mm : middle and length along the vessel.
    diameter_stenosis_percent : narrowing at the throat, of the equivalent diameter the vessel would have there.
    plaque : one of `PLAQUE_TYPES`.
    shape : `cosine`, or `plateau`: cosine shoulders of a quarter of the length and an even middle half; `occlusion` is
        a plateau of 100 %, `wedge` has straight sides and `bell` is narrow with long shoulders.
    eccentricity : 0 keeps the lumen on the centerline, 1 lets it touch the wall on one side.
    skew : above 0 the lesion begins farther from the throat than it ends, below 0 nearer; -1 to 1, 0 is symmetric.
    kind : one of `LESION_KINDS`.
    medina : for a bifurcation, 0 or 1 for the parts before it, behind it and in the branch, for example `1,1,0`.
    remodeling_index : diameter of the outer wall at the throat over the healthy one.
    plaque_hu : attenuation of the plaque without its calcium; None for that of the scene.

    Raises
    ------
    InputError : a lesion that cannot be made.
    """

    vessel: str
    throat_mm: float
    length_mm: float
    diameter_stenosis_percent: float
    plaque: str = "noncalcified"
    shape: str = "cosine"
    eccentricity: float = 0.0
    skew: float = 0.0
    kind: str = "focal"
    medina: str = ""
    remodeling_index: float = 1.0
    plaque_hu: float | None = None

    def __post_init__(self) -> None:
        if self.plaque not in PLAQUE_TYPES or self.shape not in SHAPES:
            raise InputError(f"a lesion needs a plaque of {PLAQUE_TYPES} and a shape of {SHAPES}")
        most = 100 if self.shape == "occlusion" else np.nextafter(100, 0)
        stenosis_fits = 0 <= self.diameter_stenosis_percent <= most
        if not (stenosis_fits and self.length_mm > 0 and 0 <= self.eccentricity <= 1):
            raise InputError("a lesion needs a stenosis of 0 to below 100 %, a length above 0 mm, eccentricity 0 to 1")
        if not -1 < self.skew < 1 or self.kind not in LESION_KINDS:
            raise InputError(f"a lesion needs a skew between -1 and 1 and a kind of {LESION_KINDS}")

    @property
    def start_mm(self) -> float:
        """Distance at which it begins."""
        return self.throat_mm - self.length_mm * (1 + self.skew) / 2

    @property
    def end_mm(self) -> float:
        """Distance at which it ends."""
        return self.throat_mm + self.length_mm * (1 - self.skew) / 2

    def factor(self, distance_mm: np.ndarray) -> np.ndarray:
        """Return lumen diameter over healthy diameter at distances along the vessel."""
        return 1 - 0.01 * self.diameter_stenosis_percent * self.profile(distance_mm)

    def profile(self, distance_mm: np.ndarray) -> np.ndarray:
        """Return the narrowing at distances along the vessel as a share of that at the throat, 0 to 1."""
        away = np.asarray(distance_mm) - self.throat_mm
        u = np.clip(np.abs(away) / (0.5 * self.length_mm * (1 - np.sign(away) * self.skew)), 0, 1)
        if self.shape == "wedge":
            return 1 - u
        if self.shape == "bell":
            return 0.5 * (1 + np.cos(np.pi * u)) * np.exp(-2.5 * u**2)
        if self.shape != "cosine":
            u = np.clip((u - (1 - 2 * _SHOULDER)) / (2 * _SHOULDER), 0, 1)
        return 0.5 * (1 + np.cos(np.pi * u))


@dataclass(frozen=True, eq=False)
class VesselTruth:
    """A vessel every 0.25 mm from its ostium or from its parent's branching point.

    `diameter_mm` is the equivalent diameter of the lumen with its lesions, `healthy_diameter_mm` without them; NaN
    where a section normal to the centerline has no diameter of its own (inside a bifurcation). `segments` are the SCCT
    segments: number, start and end in mm along the vessel. `motion` is one of `MOTION_GROUPS`.
    """

    name: str
    parent: str | None
    parent_distance_mm: float | None
    points_ras: np.ndarray
    distance_mm: np.ndarray
    diameter_mm: np.ndarray
    healthy_diameter_mm: np.ndarray
    segments: tuple[tuple[int, float, float], ...] = ()
    motion: str = "still"


@dataclass(frozen=True)
class LesionTruth:
    """A lesion as made: the diameter is smallest against its healthy diameter at the throat.

    `segment` is the number of the SCCT segment of the throat. `plaque_volume_mm3` holds the calcium; volumes are None
    where they are not known.
    """

    vessel: str
    start_mm: float
    throat_mm: float
    end_mm: float
    length_mm: float
    position_ras: tuple[float, float, float]
    diameter_stenosis_percent: float
    area_stenosis_percent: float
    minimal_lumen_diameter_mm: float
    reference_diameter_mm: float
    plaque: str
    shape: str
    eccentricity: float
    kind: str = "focal"
    segment: int | None = None
    medina: str = ""
    remodeling_index: float = 1.0
    plaque_volume_mm3: float | None = None
    calcium_volume_mm3: float | None = None


@dataclass(frozen=True, eq=False)
class PhantomTruth:
    """Everything known of a phantom.

    `psf_sigma_mm` runs along the voxel axes i, j, k; `noise_hu` is the standard deviation of the noise;
    `attenuation_hu` names the attenuations painted, before blur and noise. Of a whole heart: `family` of its generator,
    `ostia_ras` by the name of the vessel that begins there, small unnamed `side_branches`, vessels `cropped` by the
    field of view (what lies outside is not in `vessels`), and what the `acquisition` did (see `acquisition`).
    """

    kind: str
    vessels: tuple[VesselTruth, ...]
    lesions: tuple[LesionTruth, ...]
    psf_sigma_mm: tuple[float, float, float]
    noise_hu: float
    seed: int
    attenuation_hu: dict[str, float] = field(default_factory=dict)
    coordinate_system: str = "RAS"
    family: str = ""
    dominance: str | None = None
    anomalies: tuple[str, ...] = ()
    ostia_ras: dict[str, np.ndarray] = field(default_factory=dict)
    side_branches: tuple[VesselTruth, ...] = ()
    cropped: tuple[str, ...] = ()
    acquisition: dict[str, object] = field(default_factory=dict)

    def vessel(self, name: str) -> VesselTruth:
        """Return the vessel of that name; KeyError when there is none."""
        for vessel in self.vessels:
            if vessel.name == name:
                return vessel
        raise KeyError(name)


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic study: the volume, what it contains, and the true lumen (1) and aorta (2) on its grid."""

    volume: CTVolume
    truth: PhantomTruth
    lumen: LabelMap


def complete_diameter(vessel: VesselTruth) -> np.ndarray:
    """Return the healthy diameter of a vessel with the gaps at bifurcations filled linearly, (N,)."""
    known = np.isfinite(vessel.healthy_diameter_mm)
    return np.interp(vessel.distance_mm, vessel.distance_mm[known], vessel.healthy_diameter_mm[known])


def lumen_factor(vessel: VesselTruth, lesions: Sequence[LesionShape]) -> np.ndarray:
    """Return lumen diameter over healthy diameter along a vessel, (N,)."""
    factor = np.ones_like(vessel.distance_mm)
    for lesion in lesions:
        if lesion.vessel == vessel.name:
            factor *= lesion.factor(vessel.distance_mm)
    return factor


def narrowed(vessel: VesselTruth, lesions: Sequence[LesionShape]) -> VesselTruth:
    """Return a vessel with the lumen diameter that its lesions leave."""
    return replace(vessel, diameter_mm=vessel.healthy_diameter_mm * lumen_factor(vessel, lesions))


def lesion_truth(shape: LesionShape, vessel: VesselTruth) -> LesionTruth:
    """Return the truth of a lesion on its vessel."""
    position = [float(np.interp(shape.throat_mm, vessel.distance_mm, axis)) for axis in vessel.points_ras.T]
    reference = float(np.interp(shape.throat_mm, vessel.distance_mm, complete_diameter(vessel)))
    factor = float(shape.factor(np.array(shape.throat_mm)))
    return LesionTruth(
        vessel=shape.vessel,
        start_mm=shape.start_mm,
        throat_mm=shape.throat_mm,
        end_mm=shape.end_mm,
        length_mm=shape.length_mm,
        position_ras=(position[0], position[1], position[2]),
        diameter_stenosis_percent=shape.diameter_stenosis_percent,
        area_stenosis_percent=100 * (1 - factor**2),
        minimal_lumen_diameter_mm=factor * reference,
        reference_diameter_mm=reference,
        plaque=shape.plaque,
        shape=shape.shape,
        eccentricity=shape.eccentricity,
        kind=shape.kind,
        segment=segment_at(vessel, shape.throat_mm),
        medina=shape.medina,
        remodeling_index=shape.remodeling_index,
    )


def segment_at(vessel: VesselTruth, distance_mm: float) -> int | None:
    """Return the number of the SCCT segment at a distance along a vessel; None where it has none."""
    for number, start, end in vessel.segments:
        if start <= distance_mm <= end:
            return number
    return None
