"""Training data from planned hearts: patches and whole hearts on an isotropic grid, and a coarse view of the chest.

Everything is rendered at the spacing of the network itself. RAS, mm, HU, arrays [k, j, i].
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..geometry import spacing_of, transform_points
from ..progress import StageReport, no_report, part_of
from .acquisition import Acquisition, centered_grid
from .assembly import Grid
from .heart import HeartPlan
from .scanning import Scene, noise_free, scan, scene_of
from .truth import AORTA_LABEL, LUMEN_LABEL, SIDE_BRANCH_LABEL, VEIN_LABEL, VesselTruth

CENTERLINE_LIMIT_MM = 3.0
"""Distances to the centerline are cut off here."""

OSTIUM_SIGMA_MM = 2.0
CORONARY_ZONE_MM = 4.0
"""The coronary zone of the coarse view reaches this far from the lines of the arteries."""

SITES = ("artery", "lesion", "vein", "ostium", "heart", "elsewhere")
"""Kinds of places that `sample_centers` draws."""

CELL_MM = 0.3
CELLS_PER_SIGMA = 0.9
_IGNORED_FRACTION = 0.05
_COARSE_SIGMA = 0.45  # of the coarse view's point spread, in voxels
_LABELS = (LUMEN_LABEL, VEIN_LABEL, SIDE_BRANCH_LABEL)


@dataclass(frozen=True, eq=False)
class Patch:
    """A part of a heart with what a network is to find in it; all arrays [k, j, i] on one grid.

    Parameters
    ----------
    image : float32, HU.
    ijk_to_ras : 4 x 4.
    lumen_fraction : float32, the part of the voxel that the lumen of a named artery fills, before blur.
    centerline_distance_mm : float32, distance to the centerline of a named artery, cut off at `CENTERLINE_LIMIT_MM`.
    ostium : float32, 0 to 1: a Gaussian of `OSTIUM_SIGMA_MM` around each ostium.
    vein_fraction : float32, the part of the voxel that a cardiac vein fills.
    ignore : bool, True where a small unnamed branch runs, which may be found or missed.
    """

    image: np.ndarray
    ijk_to_ras: np.ndarray
    lumen_fraction: np.ndarray
    centerline_distance_mm: np.ndarray
    ostium: np.ndarray
    vein_fraction: np.ndarray
    ignore: np.ndarray

    def crop(self, start_kji: Sequence[int], size_kji: Sequence[int]) -> "Patch":
        """Return the part of a size that begins at a voxel; it must lie inside."""
        box = tuple(slice(start, start + n) for start, n in zip(start_kji, size_kji, strict=True))
        if any(s.start < 0 or s.stop > n for s, n in zip(box, self.image.shape, strict=True)):
            raise ValueError("the crop leaves the volume")
        matrix = self.ijk_to_ras.copy()
        matrix[:3, 3] = transform_points(matrix, np.array(start_kji[::-1]))
        arrays = {name: value[box] for name, value in vars(self).items() if name != "ijk_to_ras"}
        return Patch(ijk_to_ras=matrix, **arrays)

    def crop_around(self, center_ras: Sequence[float], size_kji: Sequence[int]) -> "Patch":
        """Return the part of a size nearest to a place that lies inside."""
        center = transform_points(np.linalg.inv(self.ijk_to_ras), np.asarray(center_ras))[::-1]
        room = np.array(self.image.shape) - size_kji
        start = np.clip(_nearest(center - (np.array(size_kji) - 1) / 2).astype(int), 0, np.maximum(room, 0))
        return self.crop([int(n) for n in start], size_kji)


@dataclass(frozen=True, eq=False)
class CoarseVolume:
    """A coarse view: image (float32, HU) and what it shows (bool), arrays [k, j, i] on one grid.

    `heart` is the box of the heart rounded to an ellipsoid, `coronary_zone` within `CORONARY_ZONE_MM` of an artery.
    """

    image: np.ndarray
    ijk_to_ras: np.ndarray
    heart: np.ndarray
    aorta: np.ndarray
    coronary_zone: np.ndarray


def heart_scene(plan: HeartPlan, acquisition: Acquisition) -> Scene:
    """Return what a scan sees of a heart; made once, it serves any number of patches."""
    return scene_of(plan.scene, plan.background, plan.vessels, acquisition)


def render_patch(
    plan: HeartPlan,
    acquisition: Acquisition,
    center_ras: Sequence[float],
    size_kji: tuple[int, int, int] = (96, 96, 96),
    spacing_mm: float = 0.5,
    seed: int = 0,
    scene: Scene | None = None,
) -> Patch:
    """Return a patch of a heart, rendered by itself.

    Parameters
    ----------
    center_ras : middle of the patch; it is moved to the nearest voxel of the training grid of this heart.
    seed : that of the noise.
    scene : `heart_scene(plan, acquisition)`, to make many patches of one heart.
    """
    spacing = (spacing_mm,) * 3
    # A whole number of voxels from the middle of the heart, so that patches are crops of one volume.
    anchor = centered_grid(_middle(plan), acquisition.training_directions, (1, 1, 1), spacing).ijk_to_ras
    size = (size_kji[2], size_kji[1], size_kji[0])
    index = transform_points(np.linalg.inv(anchor), np.asarray(center_ras)) - (np.array(size) - 1) / 2
    matrix = anchor.copy()
    matrix[:3, 3] = transform_points(anchor, _nearest(index))
    return _training_data(plan, acquisition, Grid(size, matrix), seed, scene, no_report)


def render_training_volume(
    plan: HeartPlan,
    acquisition: Acquisition,
    spacing_mm: float = 0.5,
    seed: int = 0,
    margin_mm: float = 2.0,
    report: StageReport = no_report,
) -> Patch:
    """Return the whole heart with a margin at once, to crop many patches from (`Patch.crop_around`)."""
    grid = _grid_of(plan, acquisition, plan.heart_bounds_ras + np.array([[-margin_mm], [margin_mm]]), spacing_mm)
    return _training_data(plan, acquisition, grid, seed, None, report)


def render_coarse(
    plan: HeartPlan,
    acquisition: Acquisition,
    spacing_mm: float = 2.0,
    seed: int = 0,
    extent_mm: tuple[float, float, float] | None = None,
    report: StageReport = no_report,
) -> CoarseVolume:
    """Return a coarse view of the field of view, as a network sees it that looks for heart, aorta and arteries.

    `extent_mm` is its size along i, j, k; by default that of the acquisition.
    """
    extent = np.array(extent_mm or np.array(acquisition.size_ijk) * acquisition.spacing_mm)
    size = np.maximum(np.round(extent / spacing_mm).astype(int), 1)
    counts = (int(size[0]), int(size[1]), int(size[2]))
    grid = centered_grid(acquisition.center_ras, acquisition.training_directions, counts, (spacing_mm,) * 3)
    soft = replace(
        acquisition,
        psf_sigma_mm=(_COARSE_SIGMA * spacing_mm,) * 3,
        motions=(),
        steps=(),
        overshoot=0.0,
        noise=replace(acquisition.noise, noise_hu=0.25 * acquisition.noise.noise_hu),
    )
    scene = replace(heart_scene(plan, soft), detail=None)
    result = noise_free(scene, soft, grid, report, spacing_mm, _COARSE_SIGMA, (AORTA_LABEL,))
    scan(result.image, scene, soft, grid, plan.attenuation_hu["aorta"], seed)
    low, high = plan.heart_bounds_ras
    points = transform_points(grid.ijk_to_ras, np.moveaxis(np.indices(counts[::-1]), 0, -1)[..., ::-1])
    heart = (((points - (low + high) / 2) / ((high - low) / 2)) ** 2).sum(axis=-1) <= 1
    zone = distance_to_lines(plan.vessels, grid, CORONARY_ZONE_MM) < CORONARY_ZONE_MM
    return CoarseVolume(result.image, grid.ijk_to_ras, heart, result.fractions[AORTA_LABEL] >= 0.5, zone)


def sample_centers(plan: HeartPlan, generator: np.random.Generator, site: str, count: int = 1) -> np.ndarray:
    """Return places (count, 3) in RAS of a kind of `SITES`.

    Arteries are drawn vessel by vessel, so that short ones are as frequent as long ones; a kind that the heart has not
    gives places in the heart.
    """
    low, high = plan.heart_bounds_ras
    anywhere = generator.uniform(low, high, (count, 3))
    if site == "elsewhere":
        return generator.uniform(low - 30, high + 30, (count, 3))
    if site == "ostium" and plan.ostia_ras:
        ostia = np.stack(list(plan.ostia_ras.values()))
        return ostia[generator.integers(len(ostia), size=count)] + generator.normal(0, 4, (count, 3))
    if site == "artery":
        return np.stack([_on_a_vessel(plan.vessels, generator) for _ in range(count)])
    if site == "lesion" and plan.lesions:
        by_name = {vessel.name: vessel for vessel in plan.vessels}
        chosen = [plan.lesions[int(n)] for n in generator.integers(len(plan.lesions), size=count)]
        return np.stack([_at(by_name[c.vessel], generator.uniform(c.start_mm, c.end_mm)) for c in chosen])
    if site == "vein":
        lines = [
            np.asarray(p.solid.points_ras)
            for p in plan.scene
            if p.label == VEIN_LABEL and hasattr(p.solid, "points_ras")
        ]
        if lines:
            points = np.concatenate(lines)
            return points[generator.integers(len(points), size=count)]
    return anywhere


def distance_to_lines(vessels: Sequence[VesselTruth], grid: Grid, limit_mm: float) -> np.ndarray:
    """Return the distance (float32 [k, j, i], mm) of voxels to the lines of vessels, cut off at a limit."""
    from scipy.spatial import cKDTree

    result = np.full(grid.size_ijk[::-1], limit_mm, dtype=np.float32)
    if not vessels:
        return result
    points = np.concatenate([_dense(vessel.points_ras) for vessel in vessels])
    spacing = np.array(spacing_of(grid.ijk_to_ras))
    # Voxels within reach of a voxel with a point in it, and no more than a few others.
    reach = np.ceil(limit_mm / spacing).astype(int) + 1
    box = np.array(grid.size_ijk) + 2 * reach
    indices = np.unique(np.round(transform_points(np.linalg.inv(grid.ijk_to_ras), points)).astype(int), axis=0) + reach
    offsets = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    slack = float(np.linalg.norm(spacing))
    offsets = offsets[np.linalg.norm(offsets * spacing, axis=1) < limit_mm + slack]
    indices = indices[((indices >= 0) & (indices < box)).all(axis=1)]
    near = np.zeros((box + 2 * reach)[::-1], dtype=bool)
    strides = np.array([1, near.shape[2], near.shape[1] * near.shape[2]])
    flat, of_index = near.reshape(-1), (indices + reach) @ strides
    for offset in offsets @ strides:
        flat[of_index + offset] = True
    inside = tuple(slice(2 * int(r), -2 * int(r)) for r in reach[::-1])
    kji = np.argwhere(near[inside])
    distance, _ = cKDTree(points).query(transform_points(grid.ijk_to_ras, kji[:, ::-1]), distance_upper_bound=limit_mm)
    result[tuple(kji.T)] = np.minimum(distance, limit_mm)
    return result


def _nearest(index: np.ndarray) -> np.ndarray:
    """Return the nearest whole numbers; a half goes down, also one that is a little off by rounding."""
    return np.ceil(index - 0.5 - 1e-6)


def _dense(points: np.ndarray) -> np.ndarray:
    """Return a line with five points for one."""
    fine = np.arange(0, len(points) - 0.8, 0.2)
    return np.stack([np.interp(fine, np.arange(len(points)), axis) for axis in points.T], axis=1)


def _training_data(
    plan: HeartPlan, acquisition: Acquisition, grid: Grid, seed: int, scene: Scene | None, report: StageReport
) -> Patch:
    """Return the patch of a grid."""
    scene = scene or heart_scene(plan, acquisition)
    result = noise_free(scene, acquisition, grid, part_of(report, 0.0, 0.8), CELL_MM, CELLS_PER_SIGMA, _LABELS)
    report(0.8, "scanning")
    scan(result.image, scene, acquisition, grid, plan.attenuation_hu["aorta"], seed)
    vessels = acquisition.displaced(plan.vessels)
    return Patch(
        image=result.image,
        ijk_to_ras=grid.ijk_to_ras,
        lumen_fraction=result.fractions[LUMEN_LABEL],
        centerline_distance_mm=distance_to_lines(vessels, grid, CENTERLINE_LIMIT_MM),
        ostium=_heat(plan, acquisition, grid),
        vein_fraction=result.fractions[VEIN_LABEL],
        ignore=result.fractions[SIDE_BRANCH_LABEL] > _IGNORED_FRACTION,
    )


def _heat(plan: HeartPlan, acquisition: Acquisition, grid: Grid) -> np.ndarray:
    """Return the heat map of the ostia, float32 [k, j, i]."""
    result = np.zeros(grid.size_ijk[::-1], dtype=np.float32)
    spacing = np.array(spacing_of(grid.ijk_to_ras))
    reach = np.ceil(4 * OSTIUM_SIGMA_MM / spacing).astype(int)
    for ostium in plan.ostia_ras.values():
        place = ostium + acquisition.offsets(ostium[None])[0]
        center = transform_points(np.linalg.inv(grid.ijk_to_ras), place)
        low = np.clip(np.round(center).astype(int) - reach, 0, grid.size_ijk)
        high = np.clip(np.round(center).astype(int) + reach + 1, 0, grid.size_ijk)
        if (low < high).all():
            squared = [((np.arange(a, b) - c) * s) ** 2 for a, b, c, s in zip(low, high, center, spacing, strict=True)]
            total = squared[2][:, None, None] + squared[1][:, None] + squared[0]
            part = result[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
            np.maximum(part, np.exp(-total / (2 * OSTIUM_SIGMA_MM**2)), out=part)
    return result


def _middle(plan: HeartPlan) -> tuple[float, float, float]:
    center = np.mean(plan.heart_bounds_ras, axis=0)
    return float(center[0]), float(center[1]), float(center[2])


def _grid_of(plan: HeartPlan, acquisition: Acquisition, bounds_ras: np.ndarray, spacing_mm: float) -> Grid:
    """Return the training grid that holds a box around the middle of the heart; its sizes are odd."""
    directions = acquisition.training_directions
    half = np.abs(directions.T) @ (np.diff(bounds_ras, axis=0)[0] / 2)
    size = 2 * np.ceil(half / spacing_mm).astype(int) + 1
    return centered_grid(_middle(plan), directions, (int(size[0]), int(size[1]), int(size[2])), (spacing_mm,) * 3)


def _on_a_vessel(vessels: Sequence[VesselTruth], generator: np.random.Generator) -> np.ndarray:
    vessel = vessels[int(generator.integers(len(vessels)))]
    return _at(vessel, generator.uniform(0, float(vessel.distance_mm[-1])))


def _at(vessel: VesselTruth, distance_mm: float) -> np.ndarray:
    return np.array([np.interp(distance_mm, vessel.distance_mm, axis) for axis in vessel.points_ras.T])
