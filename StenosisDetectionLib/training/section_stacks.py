"""Stacks of cross-sections of synthetic arteries with their true lumen: what the section network learns from.

In: the seed of a training-family heart. Out: `SectionStack`s around its lesions and at healthy places, cut from small
renderings on the voxel grid of a scan. The path of a stack strays from the axis of its vessel as extracted centerlines
do: smoothly, and beside calcium toward it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..centerline.frames import rotation_minimizing_frames
from ..geometry import transform_points
from ..lumen.section_network import PIXEL_MM, STEP_MM, plane_sigma_mm, section_grid
from ..study import CENTERLINE_SPACING_MM

if TYPE_CHECKING:
    from ..phantom.acquisition import Acquisition
    from ..phantom.assembly import Grid
    from ..phantom.heart import HeartPlan
    from ..phantom.scanning import Scene
    from ..phantom.truth import VesselTruth

FAMILY = "training"

SOFT_SHARE = 0.35
"""Part of the lesions without calcium that are rendered: the fit of the image reads these well."""

DISEASES, LOAD, CALCIFIED = 3, 0.6, 0.85
"""Drawings of the disease of a heart, the part of its segments with a lesion, and of its soft lesions that get calcium:
most of the time goes into drawing the anatomy."""

_HALF_MM, _MARGIN_MM = 14.0, 4.2
_SHORTEST = 20  # points of a vessel
_PATHS = 2  # of each rendering, each with its own noise
_SCAN_SEEDS = 1_000_000
_STRAYS_MM = 0.25
_TOWARD = (-0.7, 1.0)  # the way from the vessel's axis to the middle of the lumen, which lies beside the calcium
_WIDE_MM = 1.8
_LUMEN_ERROR, _NOISE_ERROR, _SIGMA_ERROR = 0.03, 0.1, 0.06


@dataclass(frozen=True, eq=False)
class SectionStack:
    """Sections every `STEP_MM` along a path: arrays of the same length L.

    `values` (L, PIXELS, PIXELS) HU; `diameter_mm` true, NaN in bifurcations; `offset_mm` (L, 2) of the middle of the
    lumen in the plane; `calcium_mm2` area of the vessel's own calcium; `lumen_hu`, `noise_hu`, `sigma_mm` as an
    analysis would know them.
    """

    values: np.ndarray
    diameter_mm: np.ndarray
    offset_mm: np.ndarray
    calcium_mm2: np.ndarray
    lumen_hu: np.ndarray
    noise_hu: np.ndarray
    sigma_mm: np.ndarray


def save_stacks(path: Path, stacks: list[SectionStack]) -> None:
    """Write stacks to an .npz file, which is complete or absent."""
    joined = {f.name: np.concatenate([getattr(one, f.name) for one in stacks]) for f in fields(SectionStack)}
    partial = path.with_name(path.name + ".partial.npz")
    np.savez(partial, lengths=np.array([len(one.diameter_mm) for one in stacks]), **joined)  # type: ignore[arg-type]
    partial.replace(path)


def load_stacks(path: Path) -> list[SectionStack]:
    """Return the stacks of a file; nothing in it is executed."""
    with np.load(path, allow_pickle=False) as stored:
        ends = np.cumsum(stored["lengths"])[:-1]
        parts = [np.split(stored[f.name], ends) for f in fields(SectionStack)]
    return [SectionStack(*values) for values in zip(*parts, strict=True)]


def render_stacks(seed: int) -> list[SectionStack]:
    """Return the stacks of the heart of a seed, with several diseases and scans of it."""
    from ..phantom.acquisition import sample_acquisition
    from ..phantom.heart import plan_heart
    from ..phantom.heart.redrawn import with_other_disease

    plan = plan_heart(seed, FAMILY)
    stacks = []
    for number in range(DISEASES):
        diseased = with_other_disease(plan, number, LOAD, CALCIFIED)
        acquisition = sample_acquisition(seed + number * _SCAN_SEEDS, FAMILY, diseased)
        stacks += _stacks_of(diseased, acquisition, np.random.default_rng([seed, 77, number]))
    return stacks


def _stacks_of(plan: HeartPlan, acquisition: Acquisition, draw: np.random.Generator) -> list[SectionStack]:
    """Return the stacks of a scan of a heart; none where the vessels are too short."""
    from ..phantom.scanning import scan, scene_of
    from ..phantom.tree import mark_bifurcations
    from ..phantom.truth import narrowed

    scene = scene_of(plan.scene, plan.background, plan.vessels, acquisition)
    marked = tuple(narrowed(vessel, plan.lesions) for vessel in mark_bifurcations(plan.vessels))
    vessels = {vessel.name: vessel for vessel in acquisition.displaced(marked)}
    places = [
        (lesion.vessel, max(lesion.throat_mm + draw.uniform(-4.0, 4.0), 3.0))
        for lesion in plan.lesions
        if lesion.plaque != "noncalcified" or draw.random() < SOFT_SHARE
    ]
    calcified = {plaque.lesion.vessel for plaque in plan.plaques if plaque.calcium}
    anywhere = list(vessels.values())[int(draw.integers(len(vessels)))]
    places.append((anywhere.name, draw.uniform(0.0, anywhere.distance_mm[-1])))
    stacks: list[SectionStack] = []
    done: list[np.ndarray] = []
    for name, distance in places:
        vessel = vessels[name]
        center = _at(vessel, distance) + draw.normal(0.0, 1.0, 3)
        if any(np.linalg.norm(center - other) < 0.5 * _HALF_MM for other in done):
            continue  # that rendering shows this place, too
        done.append(center)
        clean, grid = _rendered(acquisition, scene, center)
        seen = {name: _seen_part(vessel, grid, distance)} | {
            other.name: _seen_part(other, grid, _nearest(other, center))
            for other in vessels.values()
            if other.name in calcified - {name}
        }
        seen = {own: part for own, part in seen.items() if part.stop - part.start >= _SHORTEST}
        for _ in range(_PATHS if seen else 0):
            image = clean.copy()
            scan(image, scene, acquisition, grid, plan.attenuation_hu["aorta"], int(draw.integers(1 << 31)))
            image = np.clip(np.round(image), -1024, 3071)
            stacks += [_stack(plan, acquisition, vessels[own], part, image, grid, draw) for own, part in seen.items()]
    return stacks


def _rendered(acquisition: Acquisition, scene: Scene, center: np.ndarray) -> tuple[np.ndarray, Grid]:
    """Return the image [k, j, i] around a place on the voxels of the scan before its noise, and its grid."""
    from ..phantom.acquisition import centered_grid
    from ..phantom.patches import CELL_MM, CELLS_PER_SIGMA
    from ..phantom.scanning import noise_free

    i, j, k = (int(np.ceil(2.0 * _HALF_MM / spacing)) for spacing in acquisition.spacing_mm)
    grid = centered_grid(center.tolist(), acquisition.directions, (i, j, k), acquisition.spacing_mm)
    image = noise_free(scene, acquisition, grid, cell_mm=CELL_MM, cells_per_sigma=CELLS_PER_SIGMA).image
    return image, grid


def _shown(points_ras: np.ndarray, acquisition: Acquisition) -> np.ndarray:
    """Return points where the scan shows them."""
    return points_ras + acquisition.offsets(points_ras) if acquisition.steps else points_ras


def _at(vessel: VesselTruth, distance_mm: float) -> np.ndarray:
    return np.array([np.interp(distance_mm, vessel.distance_mm, axis) for axis in vessel.points_ras.T])


def _nearest(vessel: VesselTruth, point: np.ndarray) -> float:
    return float(vessel.distance_mm[np.linalg.norm(vessel.points_ras - point, axis=1).argmin()])


def _seen_part(vessel: VesselTruth, grid: Grid, distance_mm: float) -> slice:
    """Return the part of a vessel around a place whose sections lie in a grid."""
    matrix = grid.ijk_to_ras
    ijk = transform_points(np.linalg.inv(matrix), vessel.points_ras)
    room = np.minimum(ijk, np.array(grid.size_ijk) - 1 - ijk) * np.linalg.norm(matrix[:3, :3], axis=0)
    outside = np.flatnonzero(room.min(axis=1) <= _MARGIN_MM)
    here = int(np.argmin(np.abs(vessel.distance_mm - distance_mm)))
    if here in outside:
        return slice(0, 0)
    first = outside[outside < here].max(initial=-1) + 1
    last = outside[outside > here].min(initial=len(ijk))
    return slice(int(first), int(last))


def _lumen_middle(plan: HeartPlan, acquisition: Acquisition, vessel: VesselTruth, seen: slice) -> np.ndarray:
    """Return the middle of the lumen along a part of a vessel: eccentric plaque pushes it from the axis."""
    distance, middle = vessel.distance_mm[seen], vessel.points_ras[seen].copy()
    for plaque in plan.plaques:
        if plaque.lesion.vessel == vessel.name:
            inside = (distance >= plaque.distance_mm[0]) & (distance <= plaque.distance_mm[-1])
            center = _shown(plaque.lumen_center_ras, acquisition)
            for axis in range(3):
                middle[inside, axis] = np.interp(distance[inside], plaque.distance_mm, center[:, axis])
    return middle


def _stack(
    plan: HeartPlan,
    acquisition: Acquisition,
    vessel: VesselTruth,
    seen: slice,
    image: np.ndarray,
    grid: Grid,
    draw: np.random.Generator,
) -> SectionStack:
    """Return the sections along a path that strays from the vessel."""
    from scipy.ndimage import map_coordinates
    from scipy.spatial import cKDTree

    calcium = [
        (_shown(tube.points_ras, acquisition), float(tube.radius_mm[0]))
        for plaque in plan.plaques
        if plaque.lesion.vessel == vessel.name
        for tube in plaque.calcium
    ]
    middle = _lumen_middle(plan, acquisition, vessel, seen)
    path, frames = _straying(vessel.points_ras[seen], middle, draw)
    points = section_grid(path, frames)
    to_ijk = np.linalg.inv(grid.ijk_to_ras)
    values = map_coordinates(image, transform_points(to_ijk, points).T[::-1].swapaxes(1, 3), order=1, mode="nearest")
    _, nearest = cKDTree(middle).query(path)
    toward = middle[nearest] - path
    offset = np.stack([(toward * frames[:, n]).sum(axis=1) for n in (1, 2)], axis=1)
    diameter = vessel.diameter_mm[seen][nearest].astype(np.float64)
    healthy = np.isclose(diameter, vessel.healthy_diameter_mm[seen][nearest].astype(np.float64))

    solid = np.zeros(points.shape[:-1], dtype=bool)
    for line, radius in calcium:
        if np.linalg.norm(line - path[len(path) // 2], axis=1).min() < 2.0 * _HALF_MM:
            distance, _ = cKDTree(np.concatenate([line, 0.5 * (line[1:] + line[:-1])])).query(
                points, distance_upper_bound=radius
            )
            solid |= distance < radius
    away = points - middle[nearest][:, None, None]
    solid &= (away**2).sum(axis=-1) > np.nan_to_num(diameter / 2.0, nan=0.5)[:, None, None] ** 2

    core = map_coordinates(image, transform_points(to_ijk, middle[nearest]).T[::-1], order=1, mode="nearest")
    clear = healthy & (diameter >= _WIDE_MM)
    painted = float(acquisition.hu_scale(np.array(plan.attenuation_hu["lumen"])))
    level = float(np.median(core[clear])) if clear.sum() >= 6 else painted * draw.uniform(0.88, 1.0)
    directions = acquisition.directions
    covariance = directions @ np.diag(np.square(acquisition.psf_sigma_mm)) @ directions.T
    count = np.ones(len(path), dtype=np.float32)
    return SectionStack(
        values=values.astype(np.float16),
        diameter_mm=diameter.astype(np.float32),
        offset_mm=offset.astype(np.float32),
        calcium_mm2=(solid.sum(axis=(1, 2)) * PIXEL_MM**2).astype(np.float32),
        lumen_hu=count * np.float32(level * (1.0 + _LUMEN_ERROR * draw.normal())),
        noise_hu=count * np.float32(acquisition.noise.noise_hu * (1.0 + _NOISE_ERROR * draw.uniform(-1.0, 1.0))),
        sigma_mm=(plane_sigma_mm(frames, covariance) * (1.0 + _SIGMA_ERROR * draw.normal())).astype(np.float32),
    )


def _straying(axis: np.ndarray, middle: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a path (L, 3) every `STEP_MM` near the axis of a vessel, and frames (L, 3, 3) turned by any angle."""
    from scipy.ndimage import gaussian_filter1d

    from ..phantom.curves import resampled

    smooth = gaussian_filter1d(draw.normal(size=(len(axis) + 80, 3)), draw.uniform(2.5, 10.0), axis=0)[40:-40]
    smooth *= abs(draw.normal(0.0, _STRAYS_MM)) / max(float(smooth.std()), 1e-6)
    path = resampled(axis + draw.uniform(*_TOWARD) * (middle - axis) + smooth)
    every = round(STEP_MM / CENTERLINE_SPACING_MM)
    frames = rotation_minimizing_frames(path)[::every]
    angle = draw.uniform(0.0, 2.0 * np.pi)
    turned = frames.copy()
    turned[:, 1] = np.cos(angle) * frames[:, 1] + np.sin(angle) * frames[:, 2]
    turned[:, 2] = np.cos(angle) * frames[:, 2] - np.sin(angle) * frames[:, 1]
    return path[::every], turned
