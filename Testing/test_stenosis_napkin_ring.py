"""The napkin-ring sign: an eccentric plaque with and without a rim, in fat and in muscle."""

from dataclasses import replace

import numpy as np
import pytest

from StenosisDetectionLib.lumen import PointSpread, VolumeSampler, measure_lumen
from StenosisDetectionLib.phantom import Physics, grid_around, render_study, tree_vessel
from StenosisDetectionLib.phantom.render import Painted
from StenosisDetectionLib.phantom.solids import Tube
from StenosisDetectionLib.phantom.tree import ATTENUATION_HU
from StenosisDetectionLib.stenosis.napkin_ring import shows_ring, with_napkin_rings
from StenosisDetectionLib.stenosis.plaque import believed_features
from StenosisDetectionLib.study import CTVolume, Lesion, LumenProfile, Plaque, Vessel, VesselTree

SIGMA_MM, SPACING_MM, NOISE_HU = (0.35, 0.35, 0.42), (0.4, 0.4, 0.5), 25.0
LENGTH_MM = 24.0
CORE_HU, WALL_HU, WALL_MM = 20.0, 75.0, 0.5
RING_HU, RING_MM = 110.0, 0.8
FAT_HU, MUSCLE_HU = -90.0, 100.0

Measured = tuple[CTVolume, Vessel, LumenProfile]


def _measured(rim_hu: float, rim_mm: float, outside_hu: float = FAT_HU, seed: int = 5) -> Measured:
    """A vessel of 3 mm with a remodeled plaque of 60 % beside it, and its profile."""
    line = np.array([[0.1, 0.15, -LENGTH_MM / 2], [0.1, 0.15, LENGTH_MM / 2]])
    truth = tree_vessel("LAD", line, (3.0, 3.0))
    points, along = truth.points_ras, truth.distance_mm
    plaque = 0.5 * (1.0 + np.cos(np.clip((along - LENGTH_MM / 2) / 5.0, -1.0, 1.0) * np.pi))
    lumen, outer = 1.5 - 0.6 * plaque, 1.5 + WALL_MM + 1.1 * plaque
    middle = points - np.array([1.0, 0.0, 0.0]) * (plaque * (outer - lumen - WALL_MM))[:, None]
    inside = plaque > 0.02
    scene = [
        Painted(Tube(points, outer), rim_hu),
        Painted(Tube(points[inside], outer[inside] - rim_mm, True, True), CORE_HU),
        Painted(Tube(middle, lumen), 400.0, 1),
    ]
    grid = grid_around(points.min(axis=0) - 8.0, points.max(axis=0) + 4.0, SPACING_MM)
    physics = Physics(SIGMA_MM, NOISE_HU, seed)
    volume = render_study("ring", scene, outside_hu, (truth,), (), grid, physics, ATTENUATION_HU).volume
    vessel = Vessel("LAD", None, None, points, along, np.full(len(along), 1.5))
    seen = tuple(float(np.hypot(s, v / np.sqrt(6))) for s, v in zip(SIGMA_MM, SPACING_MM, strict=True))
    spread = PointSpread(seen, True)  # type: ignore[arg-type]
    (profile,) = measure_lumen(volume, VesselTree((vessel,)), 400.0, NOISE_HU, spread, VolumeSampler(volume, "cpu"))
    return volume, vessel, profile


@pytest.fixture(scope="module")
def ring() -> Measured:
    return _measured(RING_HU, RING_MM)


def _shown(measured: Measured) -> bool:
    volume, vessel, profile = measured
    plaque = np.flatnonzero(np.abs(vessel.distance_mm - LENGTH_MM / 2) < 5.0)
    return shows_ring(profile, plaque, VolumeSampler(volume, "cpu"))


def _lesion() -> Lesion:
    return Lesion(
        "L1", "LAD", "pLAD", (0.0, 0.0, 0.0), 7.0, 12.0, 17.0, 10.0, 1.8, 2.5, 3.0, "model", 40.0, (35.0, 45.0), 64.0,
        0.0, 0.0, "mild", Plaque("noncalcified", 30.0, 0.0), features=("low_attenuation",),
    )  # fmt: skip


def test_a_rim_around_a_dark_core_is_a_candidate(ring: Measured) -> None:
    assert _shown(ring)
    volume, vessel, profile = ring
    (lesion,) = with_napkin_rings((_lesion(),), VesselTree((vessel,)), (profile,), VolumeSampler(volume, "cpu"))
    assert lesion.features == ("low_attenuation", "napkin_ring")
    (again,) = with_napkin_rings((lesion,), VesselTree((vessel,)), (profile,), VolumeSampler(volume, "cpu"))
    assert again == lesion
    assert believed_features((lesion,), {"kvp": 80.0})[0].features == ()
    assert believed_features((lesion,), {"kvp": 120.0})[0] == lesion


def test_the_wall_around_a_dark_plaque_is_none() -> None:
    assert not _shown(_measured(WALL_HU, WALL_MM))


def test_muscle_around_a_dark_plaque_is_none() -> None:
    assert not _shown(_measured(WALL_HU, WALL_MM, MUSCLE_HU))


def test_without_contrast_to_noise_nothing_is_said(ring: Measured) -> None:
    volume, vessel, profile = ring
    noisy = replace(profile, contrast_to_noise=np.full(len(vessel.distance_mm), 9.0))
    assert not _shown((volume, vessel, noisy))
    assert not _shown((volume, vessel, replace(profile, contrast_to_noise=None)))


def test_the_healthy_vessel_beside_shows_none(ring: Measured) -> None:
    volume, vessel, profile = ring
    healthy = np.flatnonzero(vessel.distance_mm < 6.0)
    assert not shows_ring(profile, healthy, VolumeSampler(volume, "cpu"))
    assert not shows_ring(profile, healthy[:2], VolumeSampler(volume, "cpu"))
