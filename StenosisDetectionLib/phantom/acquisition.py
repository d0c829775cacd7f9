"""How a synthetic study was scanned: everything between the anatomy and its voxels, drawn from a seed. RAS, mm, HU.

Ranges: point spread, noise, motion and steps as published for coronary CT angiography with 64 to 320 rows.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import numpy as np

from ..errors import InputError
from .assembly import AXIAL, Grid
from .cells import Field, Painted
from .truth import VesselTruth

NOISE_SHAPES: dict[str, tuple[float, float]] = {"soft": (1.0, 2.0), "iterative": (0.6, 1.3), "sharp": (1.5, 3.0)}
"""Noise power over the frequency f in the slice plane is f^p exp(-(f / f0)^q): p and q of the training families."""

HELD_OUT_NOISE_SHAPES: dict[str, tuple[float, float]] = {"steep": (2.4, 1.5)}
"""The same of families that no training study has."""

ACQUISITION_FAMILIES = ("training", "held-out")

MOTION_STRATA: dict[str, tuple[float, float]] = {"still": (0.0, 0.3), "mild": (0.3, 1.2), "strong": (1.2, 5.0)}
"""Way in mm of the right coronary artery in the time window of the image, by stratum."""

NOISE_STRATA: dict[str, tuple[float, float]] = {"low": (15.0, 22.0), "middle": (22.0, 32.0), "high": (32.0, 45.0)}
"""Standard deviation of the noise in HU, by stratum."""

_PART_OF_RCA_WAY = {"rca": 1.0, "lcx": 48 / 70, "lad": 22 / 70}  # mean velocities of the arteries, mm/s
_MOTION_ODDS = (0.45, 0.35, 0.2)


@dataclass(frozen=True)
class HUScale:
    """A calibration that is a little off: `gain` and `offset_hu` after `gamma` of the range -100 to 700 HU."""

    gain: float = 1.0
    offset_hu: float = 0.0
    gamma: float = 1.0

    def __call__(self, hu: np.ndarray) -> np.ndarray:
        """Return the attenuation (HU) that the scanner would show."""
        hu = np.asarray(hu)
        part = np.maximum(hu + 100, 0) / 800
        bent = np.where(hu > -100, 800 * part**self.gamma - 100, hu)
        return (self.gain * bent + self.offset_hu).astype(hu.dtype if hu.dtype.kind == "f" else np.float64)

    def scene(self, scene: Sequence[Painted]) -> list[Painted]:
        """Return a scene in the attenuations that the scanner would show."""
        return [replace(painted, hu=self.paint(painted.hu)) for painted in scene]

    def paint(self, hu: float | Field) -> float | Field:
        """Return an attenuation, or a field of it, as the scanner would show it."""
        if callable(hu):
            return lambda ijk_to_ras, shape: self(hu(ijk_to_ras, shape))
        return float(self(np.array(float(hu))))


@dataclass(frozen=True)
class Noise:
    """Noise: standard deviation at the middle of the heart (HU), its power in the plane, its correlation along k.

    `shape` names an entry of `NOISE_SHAPES` or `HELD_OUT_NOISE_SHAPES`, `peak_lp_mm` the frequency of most power;
    `z_sigma_mm` is the sigma of the Gaussian along k; the deviation falls by the part `fall` from the middle of the
    body to 120 mm from it.
    """

    noise_hu: float
    shape: str = "soft"
    peak_lp_mm: float = 0.3
    z_sigma_mm: float = 0.3
    fall: float = 0.0


@dataclass(frozen=True)
class Motion:
    """A part of the heart that moves while it is scanned, evenly along a way (3,) in RAS mm.

    `group` is one of `truth.MOTION_GROUPS`. The truth is its place in the middle of the time.
    """

    group: str
    way_ras: tuple[float, float, float]
    first_view_degrees: float = 0.0


@dataclass(frozen=True)
class Step:
    """A slab from another heartbeat: from `start_mm` along k (from the center) on, the body is `offset_ras` away."""

    start_mm: float
    offset_ras: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Acquisition:
    """A scan.

    Parameters
    ----------
    seed, family : what `sample_acquisition` made it from.
    center_ras : middle of the field of view.
    directions : 3 x 3, columns i, j, k in RAS; the k of a grid for training is always toward the head.
    size_ijk, spacing_mm : voxel grid.
    psf_sigma_mm : Gaussian point spread along i, j, k.
    overshoot : height of the bright rim of an edge that the kernel sharpens, as part of the edge.
    shadow_hu : depth of the shadow beside dense calcium.
    iodine_shade_hu : depth of the shade between chambers full of contrast.
    ring_hu : standard deviation of ring artifacts.
    kvp : tube voltage, that of the anatomy's attenuations.
    """

    seed: int
    family: str
    center_ras: tuple[float, float, float]
    directions: np.ndarray
    size_ijk: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    psf_sigma_mm: tuple[float, float, float]
    hu_scale: HUScale
    overshoot: float
    noise: Noise
    motions: tuple[Motion, ...]
    steps: tuple[Step, ...]
    shadow_hu: float
    iodine_shade_hu: float
    ring_hu: float
    kvp: float = 120.0

    @property
    def grid(self) -> Grid:
        """The voxel grid of the study."""
        return centered_grid(self.center_ras, self.directions, self.size_ijk, self.spacing_mm)

    @property
    def training_directions(self) -> np.ndarray:
        """The directions with k toward the head, as training grids have them."""
        directions = self.directions.copy()
        if directions[2, 2] < 0:
            directions[:, 2] *= -1
        return directions

    def offsets(self, points_ras: np.ndarray) -> np.ndarray:
        """Return how far (N, 3) the body is away at points (N, 3) of it."""
        along = (np.asarray(points_ras) - self.center_ras) @ self.training_directions[:, 2]
        result = np.zeros((len(along), 3))
        for step in self.steps:
            result[along >= step.start_mm - 1e-6] = step.offset_ras  # a slice at the very border, in any grid
        return result

    def displaced(self, vessels: Sequence[VesselTruth]) -> tuple[VesselTruth, ...]:
        """Return vessels where the scan shows them."""
        if not self.steps:
            return tuple(vessels)
        return tuple(replace(v, points_ras=v.points_ras + self.offsets(v.points_ras)) for v in vessels)

    def as_dict(self) -> dict[str, object]:
        """Return what was applied, as JSON values."""
        values = {name: value for name, value in vars(self).items() if name not in ("directions", "seed")}
        for name in ("hu_scale", "noise"):
            values[name] = asdict(values[name])
        for name in ("motions", "steps"):
            values[name] = [asdict(value) for value in values[name]]
        return values | {"directions": np.round(self.directions, 9).tolist()}


class Anatomy(Protocol):
    """What a scan must know of an anatomy."""

    @property
    def heart_bounds_ras(self) -> np.ndarray:
        """Lowest and highest coordinates (2, 3) of the heart with its fat and the aortic root."""

    @property
    def attenuation_hu(self) -> dict[str, float]:
        """What is painted; `kvp` is the tube voltage it is meant for."""


def centered_grid(
    center_ras: Sequence[float],
    directions: np.ndarray,
    size_ijk: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
) -> Grid:
    """Return the grid whose middle is a point."""
    matrix = np.eye(4)
    matrix[:3, :3] = directions * np.array(spacing_mm)
    matrix[:3, 3] = np.asarray(center_ras) - matrix[:3, :3] @ ((np.array(size_ijk) - 1) / 2)
    return Grid(size_ijk, matrix)


def with_spacing(acquisition: Acquisition, spacing_mm: tuple[float, float, float]) -> Acquisition:
    """Return a scan of the same field of view with other voxels."""
    extent = np.array(acquisition.size_ijk) * acquisition.spacing_mm
    i, j, k = (max(1, round(float(n))) for n in extent / spacing_mm)
    return replace(acquisition, spacing_mm=spacing_mm, size_ijk=(i, j, k))


def sample_acquisition(
    seed: int, family: str, plan: Anatomy, noise_stratum: str | None = None, motion_stratum: str | None = None
) -> Acquisition:
    """Return the scan of a seed for a heart.

    Parameters
    ----------
    family : one of `ACQUISITION_FAMILIES`; the second has noise that the first never has.
    noise_stratum, motion_stratum : an entry of `NOISE_STRATA` and `MOTION_STRATA`; by default any.
    """
    if family not in ACQUISITION_FAMILIES:
        raise InputError(f"there is no family of scans '{family}': choose one of {', '.join(ACQUISITION_FAMILIES)}")
    draw = np.random.default_rng([seed, 4, ACQUISITION_FAMILIES.index(family)])
    low, high = plan.heart_bounds_ras
    directions = _directions(draw)
    spacing, size = _voxels(draw, high - low)
    motion_stratum = motion_stratum or str(draw.choice(list(MOTION_STRATA), p=_MOTION_ODDS))
    xy = draw.uniform(0.25, 0.55)
    return Acquisition(
        seed=seed,
        family=family,
        center_ras=_center(draw, low, high, size, spacing),
        directions=directions,
        size_ijk=size,
        spacing_mm=spacing,
        psf_sigma_mm=(xy, xy, draw.uniform(0.30, 0.65)),
        hu_scale=HUScale(draw.uniform(0.95, 1.05), draw.uniform(-8, 8), draw.uniform(0.95, 1.05)),
        overshoot=max(0.0, draw.uniform(-0.05, 0.10)),
        noise=_noise(draw, family, NOISE_STRATA.get(noise_stratum or "", (15.0, 45.0))),
        motions=_motions(draw, motion_stratum),
        steps=_steps(draw, size[2] * spacing[2], directions),
        shadow_hu=draw.uniform(50, 150) * float(draw.random() < 0.7),
        iodine_shade_hu=draw.uniform(0, 20),
        ring_hu=draw.uniform(1, 4) * float(draw.random() < 0.3),
        kvp=plan.attenuation_hu.get("kvp", 120.0),
    )


def _directions(draw: np.random.Generator) -> np.ndarray:
    """Return axial directions, turned by up to 15 degrees in half of the cases; k to the feet in a quarter."""
    from scipy.spatial.transform import Rotation

    axis = draw.normal(size=3)
    angle = np.radians(draw.uniform(0, 15)) * float(draw.random() < 0.5)
    turned = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix() @ AXIAL
    return turned @ np.diag([1.0, 1.0, -1.0 if draw.random() < 0.25 else 1.0])


def _voxels(draw: np.random.Generator, heart_mm: np.ndarray) -> tuple[tuple[float, float, float], tuple[int, int, int]]:
    """Return spacing and size: mostly a square of 180 to 220 mm with 512 columns, at times fewer and larger voxels."""
    field_mm = draw.uniform(180, 220) if draw.random() < 0.8 else draw.uniform(145, 180)
    columns = 512 if draw.random() < 0.75 else int(np.ceil(field_mm / draw.uniform(0.45, 0.6)))
    spacing = float(np.round(max(field_mm / columns, 0.28), 6))
    between = float(draw.choice([0.25, 0.3, 0.4, 0.5, 0.5, 0.6, 0.625, 0.75, 1.0]))
    height = float(heart_mm[2]) + draw.uniform(0, 25) - 30 * float(draw.random() < 0.15)
    return (spacing, spacing, between), (columns, columns, int(np.ceil(max(height, 80.0) / between)))


def _center(
    draw: np.random.Generator,
    low: np.ndarray,
    high: np.ndarray,
    size: tuple[int, int, int],
    spacing: tuple[float, float, float],
) -> tuple[float, float, float]:
    """Return the middle of the field of view: near that of the heart; at times it cuts a side of the heart."""
    center = (low + high) / 2 + draw.normal(0, 4, 3)
    if draw.random() < 0.12:
        spare = np.abs(np.array(size) * spacing - (high - low)) / 2
        axis = int(draw.integers(3))
        center[axis] += draw.choice([-1.0, 1.0]) * (spare[axis] + draw.uniform(0, 15))
    return float(center[0]), float(center[1]), float(center[2])


def _noise(draw: np.random.Generator, family: str, noise_hu: tuple[float, float]) -> Noise:
    shapes = HELD_OUT_NOISE_SHAPES if family == "held-out" else NOISE_SHAPES
    return Noise(
        noise_hu=draw.uniform(*noise_hu),
        shape=str(draw.choice(list(shapes))),
        peak_lp_mm=draw.uniform(0.2, 0.4),
        z_sigma_mm=draw.uniform(0.6, 0.8) / 2.355,
        fall=draw.uniform(0, 0.4),
    )


def _motions(draw: np.random.Generator, stratum: str) -> tuple[Motion, ...]:
    """Return how the arteries move: mostly in the slice plane, the right coronary artery farthest."""
    motions = []
    farthest = draw.uniform(*MOTION_STRATA[stratum])
    for group, part in _PART_OF_RCA_WAY.items():
        heading = draw.normal(size=3) * [1.0, 1.0, 0.5]
        way = farthest * part * draw.uniform(0.7, 1.0) * heading / np.linalg.norm(heading)
        motions.append(Motion(group, (float(way[0]), float(way[1]), float(way[2])), draw.uniform(0, 180)))
    return tuple(motions)


def _steps(draw: np.random.Generator, height_mm: float, directions: np.ndarray) -> tuple[Step, ...]:
    """Return the slabs of other heartbeats, in a quarter of the studies, 25 to 45 mm high, moved in the plane."""
    if draw.random() > 0.25:
        return ()
    steps = []
    position = -height_mm / 2 + draw.uniform(20, 45)
    while position < height_mm / 2 - 5:
        angle, way = draw.uniform(0, 2 * np.pi), draw.uniform(0.5, 3.0) * float(draw.random() < 0.6)
        offset = way * (np.cos(angle) * directions[:, 0] + np.sin(angle) * directions[:, 1])
        steps.append(Step(position, (float(offset[0]), float(offset[1]), float(offset[2]))))
        position += draw.uniform(25, 45)
    return tuple(steps)
