"""Training patches of planned hearts against fine counting, distances by hand and the whole volume."""

from dataclasses import replace

import numpy as np
import pytest

from StenosisDetectionLib.geometry import transform_points
from StenosisDetectionLib.phantom import render as render_module
from StenosisDetectionLib.phantom.acquisition import Acquisition, Noise, Step, sample_acquisition
from StenosisDetectionLib.phantom.heart import HeartPlan
from StenosisDetectionLib.phantom.patches import (
    CENTERLINE_LIMIT_MM,
    SITES,
    Patch,
    render_coarse,
    render_patch,
    render_training_volume,
    sample_centers,
)
from StenosisDetectionLib.phantom.render import Painted
from StenosisDetectionLib.phantom.solids import Ellipsoid, Tube
from StenosisDetectionLib.phantom.tree import tree_vessel
from StenosisDetectionLib.phantom.truth import AORTA_LABEL, LUMEN_LABEL, SIDE_BRANCH_LABEL, VEIN_LABEL, LesionShape

RADIUS_MM = 1.5


@pytest.fixture(scope="module")
def plan() -> HeartPlan:
    """A small heart: one straight artery, a vein beside it, a small branch, an aorta, muscle."""
    line = np.array([[-10.0, -8.0, -6.0], [10.0, 8.0, 6.0]])
    vessel = replace(tree_vessel("RCA", line, (2 * RADIUS_MM, 2 * RADIUS_MM)), motion="rca")
    along = (line[1] - line[0]) / np.linalg.norm(line[1] - line[0])
    beside = line + np.array([0.0, -5.0, 4.0])
    branch = np.array([[0.0, 0.0, 0.0], [0.0, -6.0, 8.0]])
    scene = (
        Painted(Ellipsoid(np.zeros(3), np.array([30.0, 26.0, 24.0]), np.eye(3)), -90.0),
        Painted(Ellipsoid(np.array([4.0, 18.0, -4.0]), np.array([14.0, 10.0, 12.0]), np.eye(3)), 110.0),
        Painted(Tube(beside, np.array([1.2, 1.2])), 170.0, VEIN_LABEL),
        Painted(Tube(branch, np.array([0.5, 0.5])), 300.0, SIDE_BRANCH_LABEL),
        Painted(Tube(vessel.points_ras, np.full(len(vessel.points_ras), RADIUS_MM + 0.5)), 75.0),
        Painted(Tube(vessel.points_ras, np.full(len(vessel.points_ras), RADIUS_MM)), 400.0, LUMEN_LABEL, "rca"),
        Painted(
            Tube(np.stack([line[0] - 9 * along, line[0] - 9 * along + [0, 0, 15]]), np.array([9.0, 9.0])), 400.0, 2
        ),
    )
    return HeartPlan(
        seed=0,
        family="test",
        scene=scene,
        background=-850.0,
        vessels=(vessel,),
        side_branches=(),
        lesions=(LesionShape("RCA", 12.0, 6.0, 0.0),),
        ostia_ras={"RCA": line[0]},
        dominance="right",
        anomalies=(),
        attenuation_hu={"aorta": 400.0, "kvp": 120.0},
        heart_bounds_ras=np.array([[-24.0, -22.0, -20.0], [24.0, 22.0, 20.0]]),
    )


@pytest.fixture(scope="module")
def quiet(plan: HeartPlan) -> Acquisition:
    """A turned scan with a step and neither noise nor artifacts."""
    drawn = sample_acquisition(11, "training", plan)
    return replace(
        drawn,
        center_ras=(0.0, 0.0, 0.0),
        psf_sigma_mm=(0.35, 0.35, 0.45),
        overshoot=0.0,
        noise=Noise(0.0),
        motions=(),
        steps=(Step(3.0, tuple(2.0 * drawn.training_directions[:, 0])),),
        shadow_hu=0.0,
        iodine_shade_hu=0.0,
        ring_hu=0.0,
    )


def test_a_patch_is_a_crop_of_the_whole_heart(plan, quiet):
    whole = render_training_volume(plan, quiet, spacing_mm=0.5)
    for center in ((0.0, 0.0, 0.0), (-8.0, -7.0, -4.0), (5.0, 6.0, 8.0)):
        patch = render_patch(plan, quiet, center, (40, 36, 32))
        crop = whole.crop_around(center, (40, 36, 32))
        np.testing.assert_allclose(patch.ijk_to_ras, crop.ijk_to_ras, atol=1e-9)
        # Elsewhere the tiles lie differently: where one is coarse and the other fine, edges differ by a few HU.
        difference = np.abs(patch.image - crop.image)
        assert np.percentile(difference, 99) < 3
        near = crop.centerline_distance_mm < 2.5
        assert difference[near].max() < 1
        np.testing.assert_allclose(patch.lumen_fraction, crop.lumen_fraction, atol=1e-4)
        np.testing.assert_allclose(patch.centerline_distance_mm, crop.centerline_distance_mm, atol=1e-5)
        np.testing.assert_allclose(patch.ostium, crop.ostium, atol=1e-5)
        np.testing.assert_array_equal(patch.ignore, crop.ignore)


def test_the_lumen_fraction_is_that_of_fine_counting(plan, quiet):
    patch = render_patch(plan, replace(quiet, steps=()), (0.0, 0.0, 0.0), (24, 24, 24))
    points = _fine_points(patch, 6)
    vessel = plan.vessels[0].points_ras
    along = (vessel[-1] - vessel[0]) / np.linalg.norm(vessel[-1] - vessel[0])
    across = points - vessel[0] - ((points - vessel[0]) @ along)[..., None] * along
    counted = (np.linalg.norm(across, axis=-1) < RADIUS_MM).mean(axis=(1, 3, 5))
    assert np.abs(patch.lumen_fraction - counted).mean() < 0.004
    assert np.abs(patch.lumen_fraction - counted).max() < 0.12
    assert patch.lumen_fraction.sum() == pytest.approx(counted.sum(), rel=0.01)


def _fine_points(patch: Patch, count: int) -> np.ndarray:
    """Return count^3 points in each voxel, (k, count, j, count, i, count, 3)."""
    axes = [(np.arange(n * count) + 0.5) / count - 0.5 for n in patch.image.shape]
    k, j, i = np.meshgrid(*axes, indexing="ij")
    points = transform_points(patch.ijk_to_ras, np.stack([i, j, k], axis=-1))
    shape = [n for size in patch.image.shape for n in (size, count)]
    return points.reshape(*shape, 3)


def test_maps_show_what_the_anatomy_tells(plan, quiet):
    patch = render_patch(plan, quiet, (0.0, 0.0, 0.0), (64, 64, 64))
    kji = np.argwhere(np.ones(patch.image.shape, dtype=bool))
    points = transform_points(patch.ijk_to_ras, kji[:, ::-1])
    # Where the scan's second slab shows the body, it is 2 mm along i away.
    height = points @ quiet.training_directions[:, 2]
    body = points - np.where(height >= 3.0, 2.0, 0.0)[:, None] * quiet.training_directions[:, 0]
    line = plan.vessels[0].points_ras
    along = (line[-1] - line[0]) / np.linalg.norm(line[-1] - line[0])
    part = np.clip((body - line[0]) @ along, 0, np.linalg.norm(line[-1] - line[0]))
    distance = np.minimum(np.linalg.norm(body - line[0] - part[:, None] * along, axis=1), CENTERLINE_LIMIT_MM)
    far_from_the_step = np.abs(height - 3.0) > CENTERLINE_LIMIT_MM
    found = patch.centerline_distance_mm.ravel()
    np.testing.assert_allclose(found[far_from_the_step], distance[far_from_the_step], atol=0.03)
    heat = np.exp(-(((body - plan.ostia_ras["RCA"]) ** 2).sum(axis=1)) / 8)
    np.testing.assert_allclose(patch.ostium.ravel()[height < 3], heat[height < 3], atol=0.01)
    assert patch.image[patch.lumen_fraction > 0.999].mean() > 300
    assert patch.vein_fraction.max() > 0.99
    assert 120 < patch.image[patch.vein_fraction > 0.999].mean() < 180
    assert patch.ignore.any()
    assert not (patch.ignore & (patch.lumen_fraction > 0.9)).any()


def test_a_seed_gives_the_same_patch_whatever_the_threads(plan, monkeypatch):
    acquisition = sample_acquisition(3, "training", plan, "middle", "strong")
    first = render_patch(plan, acquisition, (0.0, 0.0, 0.0), (48, 48, 48), seed=5)
    monkeypatch.setattr(render_module, "_THREADS", 5)
    second = render_patch(plan, acquisition, (0.0, 0.0, 0.0), (48, 48, 48), seed=5)
    for name, value in vars(first).items():
        np.testing.assert_array_equal(value, getattr(second, name))
    other = render_patch(plan, acquisition, (0.0, 0.0, 0.0), (48, 48, 48), seed=6)
    assert np.abs(other.image - first.image).max() > 20
    np.testing.assert_array_equal(other.lumen_fraction, first.lumen_fraction)


def test_a_coarse_view_shows_heart_aorta_and_the_zone_of_the_arteries(plan):
    acquisition = replace(sample_acquisition(4, "training", plan), center_ras=(0.0, 0.0, 0.0))
    view = render_coarse(plan, acquisition, 2.0, extent_mm=(80.0, 80.0, 70.0))
    assert view.image.shape == (35, 40, 40)
    points = transform_points(view.ijk_to_ras, np.argwhere(view.coronary_zone)[:, ::-1])
    line = plan.vessels[0].points_ras
    assert np.linalg.norm(points[:, None] - line[None, ::4], axis=-1).min(axis=1).max() < 4.1
    assert len(points) * 8 == pytest.approx(
        np.pi * 16 * np.linalg.norm(line[-1] - line[0]) + 4 / 3 * np.pi * 64, rel=0.1
    )
    assert view.aorta.any() and view.image[view.aorta].mean() > 250
    assert view.heart.sum() * 8 == pytest.approx(4 / 3 * np.pi * 24 * 22 * 20, rel=0.05)


def test_centers_lie_where_they_are_asked_for(plan):
    generator = np.random.default_rng(1)
    for site in SITES:
        assert sample_centers(plan, generator, site, 5).shape == (5, 3)
    line = plan.vessels[0].points_ras
    on = sample_centers(plan, generator, "artery", 20)
    assert np.linalg.norm(on[:, None] - line, axis=-1).min(axis=1).max() < 0.2
    lesion = sample_centers(plan, generator, "lesion", 20)
    distance = np.linalg.norm(lesion - line[0], axis=1)
    assert distance.min() >= 9 and distance.max() <= 15
    assert AORTA_LABEL == 2


def test_a_crop_outside_is_refused(plan, quiet):
    patch = render_patch(plan, quiet, (0.0, 0.0, 0.0), (8, 8, 8))
    with pytest.raises(ValueError, match="leaves"):
        patch.crop((4, 0, 0), (8, 8, 8))
