"""Calcium and stents beside the lumen: the image of an arc, lumens that calcium hides, rings that are not measured."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from scipy import ndimage
from test_lumen import LENGTH, SEEN_SIGMA, SIGMA, SPACING, rotation, straight_vessel

from StenosisDetectionLib.geometry import affine
from StenosisDetectionLib.lumen import PointSpread, VolumeSampler, measure_lumen
from StenosisDetectionLib.lumen.attenuation import _medians_near
from StenosisDetectionLib.lumen.calcium import arc_area, arc_image, guess_arcs
from StenosisDetectionLib.lumen.contours import Contours
from StenosisDetectionLib.lumen.estimates import share_of_first
from StenosisDetectionLib.lumen.evidence import healthy_radius
from StenosisDetectionLib.phantom.noise import correlated_noise
from StenosisDetectionLib.phantom.render import Painted, render
from StenosisDetectionLib.phantom.solids import Tube
from StenosisDetectionLib.study import CTVolume, LumenProfile, Vessel, VesselTree

ALONG = np.arange(0.0, LENGTH + 1e-6, 0.25)
AXIS = np.array([0.35, 0.45, 0.82]) / np.linalg.norm([0.35, 0.45, 0.82])
POINTS = (ALONG - LENGTH / 2)[:, None] * AXIS


def test_image_of_an_arc_is_a_gaussian_filtered_arc() -> None:
    step, sigma = 0.02, 0.4
    axis = np.arange(-4, 4, step)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    inside = (radius > 1.2) & (radius < 1.8) & (np.abs(angle - 1.0) < 0.8)
    truth = ndimage.gaussian_filter(700.0 * inside, sigma / step)[::20, ::20]
    arc = torch.tensor([[[1.2, 0.6, 1.0, 0.8, 700.0]]], dtype=torch.float64)
    at = [torch.from_numpy(a[::20, ::20].reshape(1, -1).copy()) for a in (x, y)]
    image, _ = arc_image(arc, at[0], at[1], torch.tensor([sigma], dtype=torch.float64))
    assert np.abs(image.numpy().reshape(truth.shape) - truth).max() < 6.0
    assert float(arc_area(arc)) == pytest.approx(inside.sum() * step**2, rel=0.02)


def test_derivatives_of_the_arc_are_those_of_its_image() -> None:
    arcs = torch.tensor([[[1.2, 0.6, 1.0, 0.8, 700.0], [1.5, 0.8, 4.0, 0.4, 900.0]]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(1, 40, dtype=torch.float64, generator=generator) * 1.5 for _ in range(2))
    sigma = torch.tensor([0.4], dtype=torch.float64)
    image, derivatives = arc_image(arcs, x, y, sigma)
    for n in range(10):
        moved = arcs.clone()
        moved.view(-1)[n] += 1e-5
        numeric = (arc_image(moved, x, y, sigma)[0] - image) / 1e-5
        # The width of the cells changes with the arc, which the derivatives leave out.
        assert float((numeric - derivatives[..., n]).abs().max()) < 0.03 * float(numeric.abs().max()) + 1e-6


def test_arcs_are_guessed_from_bright_samples() -> None:
    distance = torch.linspace(0.1, 4.0, 32)[None]
    calcium = torch.zeros(1, 24, 32, dtype=torch.bool)
    calcium[0, [23, 0, 1, 2], 12:16] = True
    guess = guess_arcs(calcium, distance)
    assert guess.present.tolist() == [[True, False]]
    inner, thickness, middle, half, _ = guess.parameters[0, 0].tolist()
    assert inner + thickness / 2 == pytest.approx(float(distance[0, 12:16].mean()), abs=0.05)
    assert np.cos(middle - 0.5 * 2 * np.pi / 24) == pytest.approx(1.0, abs=0.02)
    assert half == pytest.approx(2 * 2 * np.pi / 24, abs=0.05)


def narrowed(percent: float) -> np.ndarray:
    s = ALONG - LENGTH / 2
    return 3.0 * (1 - percent / 100 * np.where(np.abs(s) < 5, 0.5 * (1 + np.cos(2 * np.pi * s / 10)), 0))


def scene_volume(scene: list[Painted], seed: int, sigma_mm: tuple[float, float, float] = SIGMA) -> CTVolume:
    size = (64, 64, 64)
    matrix = affine(np.array(SPACING), rotation(seed), np.zeros(3))
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array(size) - 1) / 2
    voxels, _ = render(scene, size, matrix, sigma_mm, -90.0)
    return CTVolume((voxels + correlated_noise(voxels.shape, SPACING, 25.0, seed)).astype(np.float32), matrix)


def measured(volume: CTVolume, sigma_mm: tuple[float, float, float] = SEEN_SIGMA) -> LumenProfile:
    vessel = Vessel("LAD", None, None, POINTS, ALONG, np.full(len(ALONG), 1.5))
    sampler = VolumeSampler(volume, "cpu")
    return measure_lumen(volume, VesselTree((vessel,)), 400.0, 25.0, PointSpread(sigma_mm, True), sampler)[0]


@pytest.mark.parametrize("percent", [50.0, 70.0])
def test_calcium_beside_a_narrowed_lumen_is_neither_lumen_nor_hidden(percent: float) -> None:
    true = narrowed(percent)
    side = np.cross(AXIS, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    other = np.cross(AXIS, side)
    inside = np.abs(ALONG - LENGTH / 2) < 3.0
    scene = [Painted(Tube(POINTS, np.full(len(ALONG), 2.0)), 75.0)]
    for degrees in (-50, -25, 0, 25, 50):
        toward = np.cos(np.radians(degrees)) * side + np.sin(np.radians(degrees)) * other
        inner, outer = true[inside] / 2, np.full(inside.sum(), 1.8)
        scene.append(
            Painted(Tube(POINTS[inside] + (0.5 * (inner + outer))[:, None] * toward, (outer - inner) / 2), 800.0)
        )
    scene.append(Painted(Tube(POINTS, true / 2), 400.0))
    profile = measured(scene_volume(scene, 4))
    near = np.abs(ALONG - LENGTH / 2) < 2.0
    least = float(np.nanmin(profile.diameter_mm[near]))
    assert 100 * (1 - least / 3.0) == pytest.approx(percent, abs=12.0)
    assert np.nanmax(profile.calcified_area_mm2[near]) > 1.0
    # Half of the circumference without calcium has none.
    assert np.nanmax(profile.calcified_area_mm2[np.abs(ALONG - LENGTH / 2) > 6.0]) == 0.0


def test_one_spot_of_calcium_as_bright_as_the_lumen_is_none() -> None:
    true = narrowed(45.0)
    side = np.cross(AXIS, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    inside = np.abs(ALONG - LENGTH / 2) < 3.0
    inner, outer = true[inside] / 2, np.full(inside.sum(), 1.8)
    spot = Tube(POINTS[inside] + (0.5 * (inner + outer))[:, None] * side, (outer - inner) / 2)
    scene = [
        Painted(Tube(POINTS, np.full(len(ALONG), 2.0)), 75.0),
        Painted(spot, 800.0),
        Painted(Tube(POINTS, true / 2), 400.0),
    ]
    # The point spread dims the spot to less than the attenuation of the lumen.
    seen = tuple(float(np.hypot(0.5, spacing / np.sqrt(6))) for spacing in SPACING)
    profile = measured(scene_volume(scene, 9, (0.5, 0.5, 0.5)), (seen[0], seen[1], seen[2]))
    throat = int(np.argmin(true))
    # The spot and the lumen together look like a healthy lumen of 2.7 mm. More than half of what the spot hides is
    # found: the fit does better, but the section network, which counts more here, is too sure of 2.1 mm.
    assert 100 * (1 - profile.diameter_mm[throat] / 3.0) > 25.0
    assert abs(profile.diameter_mm[throat] - true[throat]) < 0.5
    assert profile.calcium_error_mm is not None
    assert 0.1 < np.hypot(profile.diameter_error_mm[throat], profile.calcium_error_mm[throat]) < 0.6
    assert np.nanmedian(profile.calcified_area_mm2[np.abs(ALONG - LENGTH / 2) < 1.0]) > 0.3


def test_where_sections_fit_badly_anyway_more_parameters_are_no_calcium() -> None:
    volume, tree, _ = straight_vessel(
        lambda s: 2.6 * (1.0 - 0.3 * np.exp(-(((s - LENGTH / 2) / 3.0) ** 2))), rotation(0), noise_hu=50.0
    )
    sampler = VolumeSampler(volume, "cpu")
    # The noise is far from what the fit is told, as it is where a vessel moved.
    profile = measure_lumen(volume, tree, 400.0, 20.0, PointSpread(SEEN_SIGMA, True), sampler)[0]
    assert (np.nan_to_num(profile.calcified_area_mm2[16:-16]) > 0.0).sum() < 12


def test_calcium_around_most_of_the_lumen_leaves_an_interval() -> None:
    true = narrowed(40.0)
    side = np.cross(AXIS, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    other = np.cross(AXIS, side)
    inside = np.abs(ALONG - LENGTH / 2) < 3.0
    inner, outer = true[inside] / 2, np.full(inside.sum(), 1.9)
    scene = [Painted(Tube(POINTS, np.full(len(ALONG), 2.0)), 75.0)]
    for degrees in range(-110, 111, 20):
        toward = np.cos(np.radians(degrees)) * side + np.sin(np.radians(degrees)) * other
        rod = Tube(POINTS[inside] + (0.5 * (inner + outer))[:, None] * toward, (outer - inner) / 2)
        scene.append(Painted(rod, 900.0))
    scene.append(Painted(Tube(POINTS, true / 2), 400.0))
    profile = measured(scene_volume(scene, 5))
    hidden = np.array(profile.quality) == "calcium"
    near = np.abs(ALONG - LENGTH / 2) < 2.0
    assert hidden[near].mean() > 0.8
    assert np.isnan(profile.diameter_mm[hidden]).all()
    assert profile.hidden_diameter_mm is not None
    low, high = profile.hidden_diameter_mm.T
    assert np.isnan(low[~hidden]).all()
    assert np.mean((low < true)[hidden] & (true < high)[hidden]) > 0.8
    assert (high[hidden] < 4.2).all()


def test_calcium_wider_than_a_narrowed_lumen_makes_no_wide_vessel() -> None:
    s = ALONG - LENGTH / 2
    true = 1.6 * (1 - 0.73 * np.where(np.abs(s) < 4, 0.5 * (1 + np.cos(2 * np.pi * s / 8)), 0))
    side = np.cross(AXIS, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    other = np.cross(AXIS, side)
    inside = np.abs(s) < 1.5
    scene = [Painted(Tube(POINTS, np.full(len(ALONG), 1.3)), 75.0)]
    for degrees in (-100, -50, 0, 50, 100):
        toward = np.cos(np.radians(degrees)) * side + np.sin(np.radians(degrees)) * other
        scene.append(Painted(Tube(POINTS[inside] + 0.8 * toward, np.full(inside.sum(), 0.6)), 720.0))
    scene.append(Painted(Tube(POINTS, true / 2), 510.0))
    volume = scene_volume(scene, 3)
    vessel = Vessel("LAD", None, None, POINTS, ALONG, np.full(len(ALONG), 0.8))
    sampler = VolumeSampler(volume, "cpu")
    profile = measure_lumen(volume, VesselTree((vessel,)), 510.0, 25.0, PointSpread(SEEN_SIGMA, True), sampler)[0]
    # At the throat calcium covers more than half of the circumference.
    hidden = np.array(profile.quality) == "calcium"
    near = (np.abs(s) < 2.0) & np.isfinite(profile.diameter_mm)
    assert near.sum() > 3
    assert (near | hidden)[np.abs(s) < 2.0].all()
    # Calcium and lumen run into one, of 2.3 mm; the healthy vessel has 1.6 mm.
    assert float(np.median(profile.diameter_mm[near])) < 1.6
    assert profile.hidden_diameter_mm is not None
    low, high = profile.hidden_diameter_mm[hidden].T
    assert np.mean((low < true[hidden]) & (true[hidden] < high)) > 0.8
    # The error says that they do, and none where there is no calcium.
    assert profile.calcium_error_mm is not None
    assert (np.hypot(profile.diameter_error_mm, profile.calcium_error_mm)[near] > 0.15).all()
    assert (profile.calcium_error_mm[(np.abs(s) > 6.0) & (np.abs(s) < 10.0)] == 0.0).all()


def test_the_healthy_radius_is_that_of_the_quiet_sections_around() -> None:
    radius = torch.full((160, 5), 1.0)
    radius[100:110, 0] = 2.5
    fit = SimpleNamespace(radius_coefficients=radius)
    contours = cast(Contours, SimpleNamespace(fit=fit, neighbor=np.full((160, 24), np.inf)))
    vessel, quiet = np.repeat([0, 1], [150, 10]), np.ones(160, dtype=bool)
    quiet[100:110] = False
    healthy = healthy_radius(contours, vessel, np.arange(160), quiet)
    assert (healthy[:150] == 1.0).all()
    # A vessel with too few sections to tell has no limit.
    assert np.isinf(healthy[150:]).all()


def test_a_stent_is_recognized_and_not_measured() -> None:
    inside = np.abs(ALONG - LENGTH / 2) < 7.0
    scene = [
        Painted(Tube(POINTS, np.full(len(ALONG), 2.0)), 75.0),
        Painted(Tube(POINTS[inside], np.full(inside.sum(), 1.62), True, True), 2400.0),
        Painted(Tube(POINTS, np.full(len(ALONG), 1.5)), 400.0),
    ]
    profile = measured(scene_volume(scene, 7))
    quality = np.array(profile.quality)
    assert (quality[np.abs(ALONG - LENGTH / 2) < 5.0] == "stent").all()
    assert np.isnan(profile.diameter_mm[quality == "stent"]).all()
    assert (quality[np.abs(ALONG - LENGTH / 2) > 9.0] != "stent").all()


def test_a_wider_point_spread_changes_the_diameter_as_predicted() -> None:
    volume, tree, _ = straight_vessel(lambda s: np.full(len(s), 2.0), rotation(6))
    sampler = VolumeSampler(volume, "cpu")
    first, second = (
        measure_lumen(volume, tree, 400.0, 25.0, PointSpread(tuple(s + d for s in SEEN_SIGMA), True), sampler)[0]
        for d in (0.0, 0.04)
    )
    middle = slice(20, -20)
    change = float(np.mean((second.diameter_mm - first.diameter_mm)[middle]))
    assert first.diameter_by_psf is not None
    # The network, which reads along, is told the point spread, too, and takes part of the change back.
    assert 0.0 < change / 0.04 < 1.1 * float(np.mean(first.diameter_by_psf[middle]))
    assert first.psf_error_mm > 0.0


def test_medians_along_a_vessel_are_those_of_numpy():
    random = np.random.default_rng(3)
    for share in (0.06, 0.4, 0.95):
        clear = random.random(300) < share
        clear[120:190] = False
        good = np.flatnonzero(clear)
        values = random.normal(size=(2, len(good)))
        for value, found in zip(values, _medians_near(good, 300, 40, *values), strict=True):
            for place in range(300):
                near = np.abs(good - place) <= 40
                chosen = near if near.sum() >= 8 else np.argsort(np.abs(good - place), kind="stable")[:8]
                assert found[place] == np.median(value[chosen])


@pytest.mark.parametrize(("first", "second"), [((2.0, 0.04), (2.1, 0.01)), ((2.0, 0.04), (1.0, 0.01))])
def test_fit_and_network_count_as_two_studies_of_one_quantity(
    first: tuple[float, float], second: tuple[float, float]
) -> None:
    share, variance = share_of_first(*(np.array([value]) for value in (*first, *second)))
    # The general formula of DerSimonian and Laird, for any number of studies.
    values, variances = np.array([first, second]).T
    weights = 1.0 / variances
    heterogeneity = (weights * (values - np.average(values, weights=weights)) ** 2).sum()
    between = max(0.0, (heterogeneity - 1.0) / (weights.sum() - (weights**2).sum() / weights.sum()))
    weights = 1.0 / (variances + between)
    expected = np.average(values, weights=weights)
    assert share[0] * first[0] + (1.0 - share[0]) * second[0] == pytest.approx(expected)
    assert variance[0] == pytest.approx(1.0 / weights.sum())
