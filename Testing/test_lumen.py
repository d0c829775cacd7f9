"""The lumen room against analytic truth: blurred discs, edges of known sharpness, tubes of known diameter."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from StenosisDetectionLib.geometry import affine
from StenosisDetectionLib.lumen import PointSpread, VolumeSampler, estimate_point_spread, measure_lumen
from StenosisDetectionLib.lumen.disc import blurred_disc
from StenosisDetectionLib.lumen.measure import smooth_along
from StenosisDetectionLib.phantom.noise import correlated_noise
from StenosisDetectionLib.phantom.render import Painted, render
from StenosisDetectionLib.phantom.solids import Tube
from StenosisDetectionLib.progress import Cancelled
from StenosisDetectionLib.study import CTVolume, LumenProfile, Vessel, VesselTree

SPACING = (0.4, 0.4, 0.5)
SIGMA = (0.35, 0.35, 0.45)
SEEN_SIGMA = tuple(float(np.sqrt(s**2 + v**2 / 6)) for s, v in zip(SIGMA, SPACING, strict=True))
"""The point spread widened by trilinear interpolation, whose mean variance is a sixth of the spacing squared."""

LENGTH = 26.0


def rotation(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def straight_vessel(
    diameter: Callable[[np.ndarray], np.ndarray], directions: np.ndarray, noise_hu: float = 25.0, seed: int = 0
) -> tuple[CTVolume, VesselTree, np.ndarray]:
    """A straight vessel of 400 HU with a wall of 70 HU in fat, filled with plaque up to its widest diameter."""
    along = np.arange(0.0, LENGTH + 1e-6, 0.25)
    axis = np.array([0.35, 0.45, 0.82])
    points = (along - LENGTH / 2)[:, None] * axis / np.linalg.norm(axis)
    true = diameter(along)
    outer = np.full(len(along), true.max() / 2 + 0.5)
    scene = [Painted(Tube(points, outer), 70.0), Painted(Tube(points, true / 2), 400.0)]
    size = (64, 64, 64)
    matrix = affine(np.array(SPACING), directions, np.zeros(3))
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array(size) - 1) / 2
    voxels, _ = render(scene, size, matrix, SIGMA, -90.0)
    if noise_hu:
        voxels = voxels + correlated_noise(voxels.shape, SPACING, noise_hu, seed)
    vessel = Vessel("LAD", None, None, points, along, np.full(len(along), true.max() / 2))
    return CTVolume(voxels.astype(np.float32), matrix), VesselTree((vessel,)), true


def measure(volume: CTVolume, tree: VesselTree, noise_hu: float = 25.0) -> LumenProfile:
    sampler = VolumeSampler(volume, "cpu")
    return measure_lumen(volume, tree, 400.0, noise_hu, PointSpread(SEEN_SIGMA, True), sampler)[0]


@pytest.mark.parametrize("radius", [0.4, 1.0, 2.5])
def test_blurred_disc_is_a_gaussian_filtered_disc(radius: float) -> None:
    step, sigma = 0.02, 0.4
    x = np.arange(-5, 5 + step / 2, step)
    disc = (np.hypot(x[:, None], x[None]) <= radius).astype(float)
    truth = ndimage.gaussian_filter(disc, sigma / step)[len(x) // 2]
    distance = torch.tensor(np.abs(x), dtype=torch.float32)
    ours, _ = blurred_disc(distance, torch.full_like(distance, radius), torch.full_like(distance, sigma))
    # The raster of the disc itself is only good to half a step of its radius.
    assert np.abs(ours.numpy() - truth).max() < 0.02


def test_slope_of_the_blurred_disc_is_its_derivative() -> None:
    distance, radius = torch.meshgrid(torch.linspace(0.01, 4, 40), torch.linspace(0.3, 3, 30), indexing="ij")
    sigma = torch.full_like(distance, 0.4)
    step = 0.02
    above, below = (blurred_disc(distance, radius + sign * step, sigma)[0] for sign in (1, -1))
    assert ((above - below) / (2 * step) - blurred_disc(distance, radius, sigma)[1]).abs().max() < 0.01


def test_sampler_agrees_with_scipy_in_an_oblique_grid() -> None:
    rng = np.random.default_rng(3)
    voxels = rng.normal(size=(20, 24, 28)).astype(np.float32)
    matrix = affine(np.array([0.4, 0.5, 0.9]), rotation(1), np.array([12.0, -30.0, 5.0]))
    ijk = rng.uniform(1, 18, size=(200, 3))
    points = ijk @ matrix[:3, :3].T + matrix[:3, 3]
    values, inside = VolumeSampler(CTVolume(voxels, matrix), "cpu")(torch.from_numpy(points))
    truth = ndimage.map_coordinates(voxels, ijk[:, ::-1].T, order=1)
    assert inside.all()
    np.testing.assert_allclose(values.numpy(), truth, atol=1e-3)
    assert not VolumeSampler(CTVolume(voxels, matrix), "cpu")(torch.from_numpy(points + 100.0))[1].any()


@pytest.mark.parametrize("sigma", [(0.3, 0.3, 0.4), (0.5, 0.5, 0.6)])
def test_point_spread_is_found_from_the_edge_of_the_aorta(sigma: tuple[float, float, float]) -> None:
    size = (100, 100, 80)
    matrix = affine(np.array(SPACING), rotation(2), np.zeros(3))
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array(size) - 1) / 2
    line = np.array([[0.0, 0.0, -30.0], [3.0, 2.0, 0.0], [0.0, 0.0, 30.0]])
    scene = [Painted(Tube(line, np.full(3, 14.0)), 80.0), Painted(Tube(line, np.full(3, 12.5)), 400.0, 2)]
    voxels, labels = render(scene, size, matrix, sigma, -90.0)
    volume = CTVolume(voxels + correlated_noise(voxels.shape, SPACING, 25.0, 0).astype(np.float32), matrix)
    found = estimate_point_spread(volume, labels == 2, matrix, 400.0, VolumeSampler(volume, "cpu"))
    expected = [np.sqrt(s**2 + v**2 / 6) for s, v in zip(sigma, SPACING, strict=True)]
    assert found.measured
    np.testing.assert_allclose(found.sigma_mm, expected, atol=0.05)


def test_without_an_aorta_the_point_spread_is_assumed_and_said_so() -> None:
    volume = CTVolume(np.zeros((20, 20, 20), np.float32), np.diag([0.4, 0.4, 0.5, 1.0]))
    found = estimate_point_spread(
        volume, np.zeros((20, 20, 20), bool), volume.ijk_to_ras, 400.0, VolumeSampler(volume, "cpu")
    )
    assert not found.measured
    assert "assumed" in found.warnings[0]


@pytest.mark.parametrize("millimeters", [1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_diameter_of_healthy_vessels(millimeters: float, seed: int) -> None:
    volume, tree, true = straight_vessel(lambda s: np.full(len(s), millimeters), rotation(seed), seed=seed)
    profile = measure(volume, tree)
    error = (profile.diameter_mm - true)[16:-16]
    assert abs(error.mean()) < 0.10
    assert error.std() < 0.10
    assert np.all(profile.minimum_diameter_mm[16:-16] <= profile.maximum_diameter_mm[16:-16])
    np.testing.assert_allclose(profile.area_mm2, np.pi * profile.diameter_mm**2 / 4)


@pytest.mark.parametrize("percent", [25.0, 50.0, 70.0])
def test_stenosis_by_soft_plaque(percent: float) -> None:
    def narrowed(s: np.ndarray) -> np.ndarray:
        bump = np.where(np.abs(s - LENGTH / 2) < 5, 0.5 * (1 + np.cos(2 * np.pi * (s - LENGTH / 2) / 10)), 0)
        return 3.0 * (1 - percent / 100 * bump)

    volume, tree, true = straight_vessel(narrowed, rotation(4))
    diameter = measure(volume, tree).diameter_mm
    throat = slice(len(true) // 2 - 8, len(true) // 2 + 9)
    healthy = np.median(np.concatenate([diameter[14:30], diameter[-30:-14]]))
    measured = 100 * (1 - diameter[throat].min() / healthy)
    assert measured == pytest.approx(percent, abs=6.0)
    assert diameter[throat].min() == pytest.approx(true.min(), abs=0.2)


def test_a_path_beside_the_axis_is_recentered() -> None:
    volume, tree, true = straight_vessel(lambda s: np.full(len(s), 3.0), rotation(5))
    vessel = tree.vessels[0]
    moved = Vessel(
        "LAD", None, None, vessel.points_ras + np.array([0.5, -0.3, 0.1]), vessel.distance_mm, vessel.radius_mm
    )
    profile = measure(volume, VesselTree((moved,)))
    assert abs((profile.diameter_mm - true)[16:-16].mean()) < 0.12
    axis = vessel.points_ras[-1] - vessel.points_ras[0]
    axis /= np.linalg.norm(axis)
    off = profile.contour_center_ras - (profile.contour_center_ras @ axis)[:, None] * axis
    assert np.linalg.norm(off, axis=1)[16:-16].mean() < 0.15


def test_a_lumen_far_wider_than_its_segmentation_is_another_vessel() -> None:
    volume, tree, _ = straight_vessel(lambda s: np.full(len(s), 3.0), np.eye(3))
    (vessel,) = tree.vessels
    twig = replace(vessel, radius_mm=np.full(len(vessel.radius_mm), 0.5))
    assert "unreliable" not in measure(volume, tree).quality
    inner = measure(volume, VesselTree((twig,))).quality[16:-16]
    assert inner.count("unreliable") > 0.5 * len(inner)


def test_outside_of_the_volume_nothing_is_measured() -> None:
    volume, tree, _ = straight_vessel(lambda s: np.full(len(s), 3.0), np.eye(3))
    vessel = tree.vessels[0]
    away = Vessel("LAD", None, None, vessel.points_ras + 60.0, vessel.distance_mm, vessel.radius_mm)
    profile = measure(volume, VesselTree((away,)))
    assert set(profile.quality) == {"outside"}
    assert np.isnan(profile.diameter_mm).all()


@pytest.mark.parametrize(("border_mm", "seen"), [(3.4, True), (1.8, True), (1.0, False)])
def test_a_vessel_beside_the_border_of_the_image_is_measured_where_its_lumen_is_seen(border_mm, seen) -> None:
    """The image ends beside a lumen of 1.5 mm radius, parallel to the path."""
    axis = np.array([0.35, 0.45, 0.82]) / np.linalg.norm([0.35, 0.45, 0.82])
    side, _ = np.linalg.qr(np.stack([axis, np.eye(3)[0], np.eye(3)[1]], axis=1))
    directions = np.stack([side[:, 1], side[:, 2], axis], axis=1)
    directions[:, 0] *= np.sign(np.linalg.det(directions))
    volume, tree, true = straight_vessel(lambda s: np.full(len(s), 3.0), directions)
    last = round(31.5 + border_mm / SPACING[0])
    profile = measure(CTVolume(volume.voxels[:, :, : last + 1].copy(), volume.ijk_to_ras), tree)
    inner = slice(16, -16)
    if seen:
        assert set(profile.quality[inner]) == {"ok"}
        assert abs((profile.diameter_mm - true)[inner].mean()) < 0.1
    else:
        assert set(profile.quality[inner]) == {"outside"}


def test_two_runs_give_the_same_bytes_and_no_vessel_gives_nothing() -> None:
    volume, tree, _ = straight_vessel(lambda s: np.full(len(s), 2.5), rotation(6))
    assert measure(volume, tree).diameter_mm.tobytes() == measure(volume, tree).diameter_mm.tobytes()
    sampler = VolumeSampler(volume, "cpu")
    assert measure_lumen(volume, VesselTree(()), 400.0, 25.0, PointSpread(SIGMA, True), sampler) == ()


def test_measuring_can_be_cancelled() -> None:
    volume, tree, _ = straight_vessel(lambda s: np.full(len(s), 2.5), rotation(6))

    def cancel(fraction: float, message: str) -> None:
        raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        measure_lumen(volume, tree, 400.0, 25.0, PointSpread(SIGMA, True), VolumeSampler(volume, "cpu"), cancel)


def test_smoothing_keeps_lines_and_leaves_gaps_out() -> None:
    line = np.linspace(3.0, 2.0, 60)
    np.testing.assert_allclose(smooth_along(line, np.full(60, 0.1)), line, atol=1e-9)
    line[20] = np.nan
    smooth = smooth_along(line, np.full(60, 0.1))
    assert np.isnan(smooth[20])
    np.testing.assert_allclose(np.delete(smooth, 20), np.delete(line, 20), atol=1e-9)
