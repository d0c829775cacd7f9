"""Phantoms of the measurement benchmark: straight vessels, the real tree without lesions, IVUS series as a vessel."""

import os
from pathlib import Path

import numpy as np

from StenosisDetectionLib.geometry import arc_length
from StenosisDetectionLib.lumen import PointSpread
from StenosisDetectionLib.phantom import Phantom, Physics, VesselTruth, grid_around, render_study
from StenosisDetectionLib.phantom.coronary_model import load_coronary_model
from StenosisDetectionLib.phantom.mesh import TriangleMesh
from StenosisDetectionLib.phantom.render import Painted
from StenosisDetectionLib.phantom.solids import ClosedSurface
from StenosisDetectionLib.phantom.tree import ATTENUATION_HU
from StenosisDetectionLib.phantom.truth import LUMEN_LABEL, complete_diameter
from StenosisDetectionLib.phantom.walls import WALL_MM, around
from StenosisDetectionLib.resources import resource_path
from StenosisDetectionLib.study import Vessel, VesselTree

DATA = Path(os.environ.get("STENOSIS_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

_PAD_MM = 12.0
_RIM = 72


def rotation(seed: int) -> np.ndarray:
    """Return a random rotation: the directions of i, j, k."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def straight_line(length_mm: float, seed: int) -> np.ndarray:
    """Return both ends of a straight line that passes near the origin, off the voxel centers."""
    shift = np.random.default_rng(1000 + seed).uniform(-0.25, 0.25, 3)
    return np.array([[0.0, 0.0, -length_mm / 2], [0.0, 0.0, length_mm / 2]]) + shift


def true_point_spread(phantom: Phantom) -> PointSpread:
    """Return the point spread as the trilinear sampler sees it: interpolation adds a sixth of the spacing squared."""
    i, j, k = (
        float(np.hypot(sigma, spacing / np.sqrt(6)))
        for sigma, spacing in zip(phantom.truth.psf_sigma_mm, phantom.volume.spacing_mm, strict=True)
    )
    return PointSpread((i, j, k), True)


def tree_of(phantom: Phantom) -> VesselTree:
    """Return the true centerlines as the tree of an analysis; radii are those of the healthy vessel."""
    vessels = [
        Vessel(
            truth.name,
            truth.parent,
            truth.parent_distance_mm,
            truth.points_ras,
            truth.distance_mm,
            complete_diameter(truth) / 2,
        )
        for truth in phantom.truth.vessels
    ]
    return VesselTree(tuple(vessels))


def real_tree_phantom(physics: Physics) -> Phantom:
    """Return the real coronary tree of the demo study in fat, without lesions of ours."""
    model = load_coronary_model(resource_path("demo"))
    points = np.concatenate([vessel.points_ras for vessel in model.vessels])
    grid = grid_around(points.min(axis=0) - 8.0, points.max(axis=0) + 8.0, (0.4, 0.4, 0.5))
    scene = [
        Painted(around(vessel, WALL_MM, spacing_mm=0.5), ATTENUATION_HU["vessel_wall"]) for vessel in model.vessels
    ]
    scene.append(Painted(ClosedSurface(model.mesh), ATTENUATION_HU["lumen"], LUMEN_LABEL))
    return render_study("real tree", scene, ATTENUATION_HU["fat"], model.vessels, (), grid, physics, ATTENUATION_HU)


def ivus_phantom(series: str, physics: Physics) -> tuple[Phantom, np.ndarray]:
    """Return an IVUS series as a straight vessel along z and its true area (N,) in mm2, NaN on the added ends.

    Contours are those of diastole in the order and at the positions of the reader's table, centered and turned so
    that they fit their neighbors; both ends go on for a stretch of unchanged contour.
    """
    rings, position = _contours(series)
    before, after = position[0] - _PAD_MM, position[-1] + _PAD_MM
    rings = np.concatenate([rings[:1], rings, rings[-1:]])
    levels = np.concatenate([[before], position, [after]])
    fine = np.arange(before, after + 1e-6, 0.25)
    contour = np.stack([np.interp(fine, levels, rings[:, n, a]) for n in range(_RIM) for a in (0, 1)], axis=1)
    contour = contour.reshape(len(fine), _RIM, 2)
    area = _area(contour)
    center = np.zeros((len(fine), 2))
    line = np.column_stack([center, fine - fine.mean()])
    wall = contour + 0.8 * contour / np.linalg.norm(contour, axis=2, keepdims=True)
    scene = [
        Painted(ClosedSurface(_surface(wall, line[:, 2])), ATTENUATION_HU["vessel_wall"]),
        Painted(ClosedSurface(_surface(contour, line[:, 2])), ATTENUATION_HU["lumen"], LUMEN_LABEL),
    ]
    diameter = 2 * np.sqrt(area / np.pi)
    vessel = VesselTruth("LAD", None, None, line, arc_length(line), diameter, diameter.copy())
    grid = grid_around(line.min(axis=0) - 7.0, line.max(axis=0) + 3.0, (0.4, 0.4, 0.5), rotation(11))
    phantom = render_study(series, scene, ATTENUATION_HU["fat"], (vessel,), (), grid, physics, ATTENUATION_HU)
    inside = (fine >= position[0]) & (fine <= position[-1])
    return phantom, np.where(inside, area, np.nan)


def _contours(series: str) -> tuple[np.ndarray, np.ndarray]:
    """Return contours (F, _RIM, 2) around their centroids and positions (F,) in mm, ascending."""
    raw = np.loadtxt(DATA / "ivus_stenosis" / series / "diastolic_contours.csv")
    table = np.genfromtxt(
        DATA / "ivus_stenosis" / series / "combined_sorted_manual.csv", delimiter=",", skip_header=1, dtype=str
    )
    rows = [(float(row[1]), int(row[0])) for row in table if row[2] == "D"]
    rings: list[np.ndarray] = []
    positions = []
    for position, frame in sorted(rows):
        points = raw[raw[:, 0] == frame][:, 1:3]
        closed = np.concatenate([points, points[:1]])
        along = arc_length(np.column_stack([closed, np.zeros(len(closed))]))
        at = np.linspace(0, along[-1], _RIM, endpoint=False)
        ring = np.stack([np.interp(at, along, closed[:, a]) for a in (0, 1)], axis=1)
        x, y = ring.T
        cross = x * np.roll(y, -1) - np.roll(x, -1) * y
        centroid = np.array([((x + np.roll(x, -1)) * cross).sum(), ((y + np.roll(y, -1)) * cross).sum()])
        ring = ring - centroid / (3 * cross.sum())
        if cross.sum() < 0:
            ring = ring[::-1]
        if rings:
            turned = [_turned(ring, angle) for angle in np.arange(0, 360, 5)]
            starts = [np.roll(t, n, axis=0) for t in turned for n in range(0, _RIM, 2)]
            ring = min(starts, key=lambda r: float(((r - rings[-1]) ** 2).sum()))
        rings.append(ring)
        positions.append(position)
    return np.stack(rings), np.array(positions)


def _turned(ring: np.ndarray, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return ring @ np.array([[c, s], [-s, c]])


def _area(contour: np.ndarray) -> np.ndarray:
    x, y = contour[..., 0], contour[..., 1]
    return 0.5 * np.abs((x * np.roll(y, -1, axis=-1) - np.roll(x, -1, axis=-1) * y).sum(axis=-1))


def _surface(contour: np.ndarray, z: np.ndarray) -> TriangleMesh:
    """Return the closed surface over rings (F, R, 2) at heights z, with a flat cap at each end."""
    count, rim = contour.shape[:2]
    points = np.concatenate([contour, np.broadcast_to(z[:, None, None], (count, rim, 1))], axis=2).reshape(-1, 3)
    ends = np.array([[*contour[0].mean(axis=0), z[0]], [*contour[-1].mean(axis=0), z[-1]]])
    n = np.arange(rim)
    m = (n + 1) % rim
    triangles = []
    for f in range(count - 1):
        a, b = f * rim, (f + 1) * rim
        triangles += [np.stack([a + n, a + m, b + m], axis=1), np.stack([a + n, b + m, b + n], axis=1)]
    first, last = count * rim, count * rim + 1
    triangles.append(np.stack([np.full(rim, first), m, n], axis=1))
    top = (count - 1) * rim
    triangles.append(np.stack([np.full(rim, last), top + n, top + m], axis=1))
    return TriangleMesh(np.concatenate([points, ends]), np.concatenate(triangles))
