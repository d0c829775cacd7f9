"""Lesion shapes, trees and the toy study against their analytic truth."""

import numpy as np
import pytest
from test_phantom_render import oblique_directions

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.geometry import LPS_TO_RAS, transform_points
from StenosisDetectionLib.phantom import LesionShape, Physics, toy_study, tree_study, tree_vessel, y_bifurcation
from StenosisDetectionLib.phantom.assembly import AXIAL, grid_around
from StenosisDetectionLib.phantom.toy import toy_vessels
from StenosisDetectionLib.phantom.tree import ATTENUATION_HU, mark_bifurcations

TILTED = np.array([0.48, 0.6, 0.64])


@pytest.fixture(scope="module")
def toy():
    return toy_study((0.8, 0.8, 1.0))


def sampled(volume, points):
    """Return the volume at RAS points, linear between voxels."""
    from scipy.ndimage import map_coordinates

    ijk = transform_points(np.linalg.inv(volume.ijk_to_ras), points)
    return map_coordinates(volume.voxels, ijk[:, ::-1].T, order=1)


def densitometric_diameter(phantom, center, tangent, radius):
    """Return the diameter of a bright disk on fat from the integral of the attenuation in a normal plane."""
    first = np.cross(tangent, [1.0, 0.0, 0.0])
    first /= np.linalg.norm(first)
    second = np.cross(tangent, first)
    step = 0.1
    u, v = np.meshgrid(*[np.arange(-radius, radius, step)] * 2)
    inside = np.hypot(u, v) < radius
    points = center + u[inside][:, None] * first + v[inside][:, None] * second
    excess = sampled(phantom.volume, points) - ATTENUATION_HU["fat"]
    area = excess.sum() * step**2 / (ATTENUATION_HU["lumen"] - ATTENUATION_HU["fat"])
    return 2 * np.sqrt(area / np.pi)


def test_lesion_factor_is_exact_at_its_throat_and_ends():
    for shape in ("cosine", "plateau"):
        lesion = LesionShape("LAD", 20.0, 8.0, 60.0, shape=shape)
        np.testing.assert_allclose(lesion.factor(np.array([10.0, 16.0, 20.0, 24.0, 30.0])), [1, 1, 0.4, 1, 1])
    assert LesionShape("LAD", 20.0, 8.0, 60.0, shape="plateau").factor(np.array(21.9)) == pytest.approx(0.4)
    assert LesionShape("LAD", 20.0, 8.0, 60.0).factor(np.array(22.0)) == pytest.approx(0.7)


@pytest.mark.parametrize(
    "change", [{"diameter_stenosis_percent": 100.0}, {"length_mm": 0.0}, {"plaque": "soft"}, {"shape": "box"}]
)
def test_an_impossible_lesion_is_refused(change):
    with pytest.raises(InputError):
        LesionShape(
            **({"vessel": "LAD", "throat_mm": 9.0, "length_mm": 5.0, "diameter_stenosis_percent": 50.0} | change)
        )


def test_a_tapering_vessel_has_its_diameter_in_the_image_and_in_the_truth():
    vessel = tree_vessel("LAD", np.stack([-12 * TILTED, 12 * TILTED]), (4.0, 3.0))
    phantom = tree_study([vessel], spacing_mm=(0.4, 0.4, 0.5))
    truth = phantom.truth.vessel("LAD")
    for distance in (6.0, 12.0, 18.0):
        index = int(distance / 0.25)
        measured = densitometric_diameter(phantom, truth.points_ras[index], TILTED, 5.0)
        assert truth.diameter_mm[index] == pytest.approx(4.0 - distance / 24, abs=0.01)
        # The wall around the lumen adds its own, known excess over the fat.
        wall = ATTENUATION_HU["vessel_wall"] - ATTENUATION_HU["fat"]
        lumen = ATTENUATION_HU["lumen"] - ATTENUATION_HU["fat"]
        d = truth.diameter_mm[index]
        expected = np.sqrt(d**2 + ((d + 1) ** 2 - d**2) * wall / lumen)
        assert measured == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("eccentricity", [0.0, 0.8])
def test_a_stenosis_takes_its_part_of_the_lumen(eccentricity):
    vessel = tree_vessel("LAD", np.stack([-10 * TILTED, 10 * TILTED]), (3.0, 3.0))
    lesion = LesionShape("LAD", 10.0, 8.0, 50.0, shape="plateau", eccentricity=eccentricity)
    phantom = tree_study([vessel], [lesion], (0.3, 0.3, 0.3))
    (truth,) = phantom.truth.lesions
    assert truth.minimal_lumen_diameter_mm == pytest.approx(1.5)
    assert truth.reference_diameter_mm == pytest.approx(3.0)
    assert truth.area_stenosis_percent == pytest.approx(75.0)
    np.testing.assert_allclose(truth.position_ras, 0.0, atol=0.05)
    hu = ATTENUATION_HU
    lumen, plaque, wall = (hu[name] - hu["fat"] for name in ("lumen", "plaque", "vessel_wall"))
    expected = np.sqrt((1.5**2 * lumen + (3.0**2 - 1.5**2) * plaque + (4.0**2 - 3.0**2) * wall) / lumen)
    assert densitometric_diameter(phantom, np.zeros(3), TILTED, 5.0) == pytest.approx(expected, abs=0.04)


def test_calcium_is_brighter_than_the_lumen_and_outside_it():
    vessel = tree_vessel("LAD", np.stack([-10 * TILTED, 10 * TILTED]), (4.0, 4.0))
    bright = {}
    for plaque in ("noncalcified", "mixed", "calcified"):
        phantom = tree_study([vessel], [LesionShape("LAD", 10.0, 10.0, 50.0, plaque)], (0.3, 0.3, 0.3))
        voxels = phantom.volume.voxels
        bright[plaque] = int((voxels > 450).sum())
        # By half maximum the true lumen stays the lumen: calcium does not fill it.
        assert sampled(phantom.volume, np.zeros((1, 3)))[0] == pytest.approx(400, abs=60)
    assert bright["noncalcified"] == 0 < bright["mixed"] < bright["calcified"]


@pytest.mark.parametrize("angle", [50.0, 80.0, 110.0])
def test_a_bifurcation_has_both_branches_where_the_truth_says(angle):
    vessels = y_bifurcation(angle, (4.0, 3.2, 2.6), length_mm=12.0)
    phantom = tree_study(vessels)
    main, branch = phantom.truth.vessels
    assert branch.parent == "LAD"
    assert branch.parent_distance_mm == pytest.approx(12.0, abs=0.25)
    ends = main.points_ras[-1], branch.points_ras[-1]
    directions = [end / np.linalg.norm(end) for end in ends]
    assert np.degrees(np.arccos(directions[0] @ directions[1])) == pytest.approx(angle, abs=0.5)
    for vessel in (main, branch):
        lumen = sampled(phantom.volume, vessel.points_ras[4:-8])
        assert lumen.min() > 360
    # Where they part the sections have no diameter of their own, elsewhere they have that of the vessel.
    assert np.isnan(branch.diameter_mm[:4]).all()
    assert np.isnan(main.diameter_mm[48])
    assert main.diameter_mm[10] == 4.0
    assert main.diameter_mm[-10] == 3.2
    assert branch.diameter_mm[-10] == 2.6


def test_a_grid_holds_the_box_at_its_spacing():
    low, high = np.array([-10.0, 5.0, 2.0]), np.array([20.0, 25.0, 14.0])
    axial = grid_around(low, high, (0.5, 0.4, 0.6))
    assert axial.size_ijk == (60, 50, 20)
    first = transform_points(axial.ijk_to_ras, np.zeros(3))
    np.testing.assert_allclose(first, [19.75, 24.8, 2.3])
    oblique = grid_around(low, high, (0.5, 0.4, 0.6), oblique_directions())
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    ijk = transform_points(np.linalg.inv(oblique.ijk_to_ras), corners)
    assert ijk.min() >= -1.0
    assert (ijk.max(axis=0) <= np.array(oblique.size_ijk)).all()


def test_right_is_right_and_front_is_front():
    vessels = {vessel.name: vessel for vessel in toy_vessels()}
    assert vessels["RCA"].points_ras[:, 0].min() > 0
    assert vessels["LAD"].points_ras[:, 0].max() < 0
    assert vessels["LAD"].points_ras[-1, 1] > 20
    assert vessels["LCX"].points_ras[:, 1].min() < -10
    assert vessels["LM"].parent is None
    assert {vessels[name].parent for name in ("LAD", "LCX")} == {"LM"}


def test_vessels_are_sampled_every_quarter_millimeter_from_their_parent():
    vessels = {vessel.name: vessel for vessel in toy_vessels()}
    for vessel in vessels.values():
        np.testing.assert_allclose(np.diff(vessel.distance_mm), 0.25, atol=1e-3)
        if vessel.parent:
            parent = vessels[vessel.parent]
            at = [np.interp(vessel.parent_distance_mm, parent.distance_mm, axis) for axis in parent.points_ras.T]
            assert np.linalg.norm(at - vessel.points_ras[0]) < 0.3


def test_the_toy_image_shows_its_vessels(toy):
    for vessel in toy.truth.vessels:
        healthy = vessel.healthy_diameter_mm
        clear = np.isfinite(healthy) & (vessel.diameter_mm > 0.9 * healthy) & (vessel.diameter_mm > 1.8)
        assert np.median(sampled(toy.volume, vessel.points_ras[clear])) > 280
    lesion = toy.truth.lesions[0]
    inside = sampled(toy.volume, np.array([lesion.position_ras]))[0]
    assert inside < 300
    inside_label = toy.lumen.labels == 1
    kji = np.argwhere(inside_label)
    x = transform_points(toy.volume.ijk_to_ras, kji[:, ::-1])[:, 0]
    assert x.min() < -40
    assert x.max() > 25


def test_an_oblique_grid_shows_the_same_heart_at_the_same_place(toy):
    oblique = toy_study((0.8, 0.9, 1.0), directions=oblique_directions())
    assert np.abs(oblique.volume.ijk_to_ras[:3, :3]).min() > 0.01
    for name in ("LAD", "RCA", "LCX"):
        vessel = toy.truth.vessel(name)
        np.testing.assert_array_equal(vessel.points_ras, oblique.truth.vessel(name).points_ras)
        wide = vessel.diameter_mm > 2.6
        points = vessel.points_ras[wide]
        difference = sampled(toy.volume, points) - sampled(oblique.volume, points)
        assert np.abs(difference).mean() < 35
    volumes = [(p.lumen.labels == 1).sum() * abs(np.linalg.det(p.lumen.ijk_to_ras[:3, :3])) for p in (toy, oblique)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.05)


def test_the_same_seed_gives_the_same_bytes_and_another_only_other_noise():
    vessels = y_bifurcation(80.0, (4.0, 3.2, 2.6), length_mm=12.0)

    def study(seed):
        return tree_study(vessels, [LesionShape("LAD", 6.0, 5.0, 50.0)], physics=Physics((0.4, 0.4, 0.5), 20.0, seed))

    first, again, other = study(1), study(1), study(2)
    assert first.volume.voxels.tobytes() == again.volume.voxels.tobytes()
    assert first.lumen.labels.tobytes() == again.lumen.labels.tobytes()
    difference = first.volume.voxels - other.volume.voxels
    assert difference.std() == pytest.approx(20 * np.sqrt(2), rel=0.05)
    assert first.lumen.labels.tobytes() == other.lumen.labels.tobytes()


def test_axial_is_the_order_of_dicom():
    np.testing.assert_array_equal(LPS_TO_RAS[:3, :3] @ AXIAL, np.eye(3))


def test_vessels_alone_keep_their_diameters():
    (vessel,) = mark_bifurcations([tree_vessel("RCA", np.array([[0, 0, 0], [0, 0, 30.0]]), (3.0, 2.0))])
    assert np.isfinite(vessel.diameter_mm).all()
