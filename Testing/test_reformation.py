"""Reformations against a volume whose values are a linear function of position, so that pixels tell their place."""

import subprocess
import sys

import numpy as np
import pytest

from StenosisDetectionLib.geometry import affine, transform_points
from StenosisDetectionLib.lumen import VolumeSampler
from StenosisDetectionLib.reformation import cross_sections, curved, path_from_ostium, straightened
from StenosisDetectionLib.study import CTVolume, Vessel, VesselTree

SLOPE = np.array([3.0, -2.0, 1.5])
"""HU per mm along R, A, S."""


@pytest.fixture(scope="module")
def volume() -> CTVolume:
    directions = np.linalg.qr(np.array([[-1.0, 0.2, 0.1], [0.1, -1.0, 0.3], [0.2, 0.1, 1.0]]))[0]
    matrix = affine(np.array([0.7, 0.8, 1.1]), directions, np.array([20.0, -30.0, 900.0]))
    ijk = np.stack(np.meshgrid(*[np.arange(n) for n in (110, 100, 90)], indexing="ij"), axis=-1)
    values = (transform_points(matrix, ijk) @ SLOPE).transpose(2, 1, 0)
    return CTVolume(np.ascontiguousarray(values, dtype=np.float32), matrix)


def vessel_in(volume: CTVolume) -> Vessel:
    """A helix in the middle of the volume, sampled every 0.25 mm."""
    middle = transform_points(volume.ijk_to_ras, np.array([55.0, 50.0, 45.0]))
    radius, pitch = 12.0, 3.0
    speed = np.hypot(radius, pitch)
    t = np.arange(0, 240) * 0.25 / speed
    points = middle + np.stack([radius * np.cos(t), radius * np.sin(t), pitch * t], axis=1)
    return Vessel("RCA", None, None, points, np.arange(240) * 0.25, np.full(240, 1.5))


@pytest.mark.parametrize("angle", [0.0, 37.0, 180.0])
@pytest.mark.parametrize("make", [straightened, curved])
def test_every_pixel_of_an_image_maps_back_to_its_place(volume, make, angle):
    image = make(volume, vessel_in(volume), angle)
    rows, columns = image.values.shape
    assert len(image.index_to_ras) == len(image.distance_mm) == len(image.center_column) == rows
    column = np.arange(columns)
    index = np.stack([column, 0 * column, 0 * column, 0 * column + 1])
    points = (image.index_to_ras @ index)[:, :3]
    expected = np.einsum("srn,r->sn", points, SLOPE)
    inside = np.isfinite(image.values)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(image.values[inside], expected[inside], atol=0.02)
    np.testing.assert_allclose(image.to_ras(7, 5), points[7, :, 5], atol=1e-9)
    halfway = 0.5 * (points[7, :, 5] + points[8, :, 5])
    np.testing.assert_allclose(image.to_ras(7.5, 5), halfway, atol=1e-9)


def test_cross_sections_are_normal_and_map_back(volume):
    vessel = vessel_in(volume)
    stack = cross_sections(volume, vessel, np.array([0.0, 10.1, 59.0]), half_width_mm=6.0, pixel_mm=0.5)
    assert stack.values.shape == (3, 25, 25)
    np.testing.assert_allclose(stack.distance_mm, [0.0, 10.0, 59.0])
    for sample, distance in enumerate(stack.distance_mm):
        center = vessel.points_ras[round(distance / 0.25)]
        np.testing.assert_allclose(stack.to_ras(sample, 12, 12), center, atol=1e-9)
        edge = stack.to_ras(sample, 24, 3) - center
        assert abs(edge @ stack.index_to_ras[sample, :3, 2]) < 1e-9
        for column, row in ((0, 0), (24, 3), (7, 20)):
            value = stack.to_ras(sample, column, row) @ SLOPE
            assert stack.values[sample, row, column] == pytest.approx(value, abs=0.02)


def test_the_path_runs_where_the_image_says(volume):
    vessel = vessel_in(volume)
    for image in (straightened(volume, vessel, 20.0), curved(volume, vessel, 20.0)):
        for row in range(0, len(image.distance_mm), 25):
            on_path = np.stack([np.interp(image.distance_mm[row], vessel.distance_mm, x) for x in vessel.points_ras.T])
            place = image.to_ras(row, image.center_column[row])
            assert np.linalg.norm(place - on_path) < 0.05


def test_lengths_on_the_curved_surface_are_true(volume):
    image = curved(volume, vessel_in(volume), 65.0)
    rows = np.arange(len(image.values) - 1)
    steps = [image.to_ras(r + 1, 30.0) - image.to_ras(r, 30.0) for r in rows]
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1)[2:-2], image.pixel_mm, rtol=0.02)


def test_turning_the_straightened_image_by_180_degrees_mirrors_it(volume):
    vessel = vessel_in(volume)
    first, second = straightened(volume, vessel, 30.0), straightened(volume, vessel, 210.0)
    np.testing.assert_allclose(first.values, second.values[:, ::-1], atol=0.01)


def test_outside_of_the_volume_is_unknown(volume):
    vessel = vessel_in(volume)
    away = Vessel("X", None, None, vessel.points_ras + 500.0, vessel.distance_mm, vessel.radius_mm)
    assert np.isnan(straightened(volume, away).values).all()


def test_a_sampler_can_stand_for_the_volume(volume):
    vessel = vessel_in(volume)
    np.testing.assert_allclose(
        straightened(VolumeSampler(volume, "cpu"), vessel).values, straightened(volume, vessel).values, atol=0.02
    )


def test_no_torch_is_needed_for_an_image(volume):
    """A reader who opens a saved scene sees the vessel at once, not after the seconds that PyTorch takes to load."""
    script = (
        "import sys\n"
        "import numpy as np\n"
        "from StenosisDetectionLib.reformation import cross_sections, curved\n"
        "from StenosisDetectionLib.study import CTVolume, Vessel\n"
        "points = np.stack([np.zeros(40), np.zeros(40), 0.25 * np.arange(40.0)], axis=1) + 10.0\n"
        "vessel = Vessel('LAD', None, None, points, 0.25 * np.arange(40.0), np.ones(40))\n"
        "volume = CTVolume(np.full((30, 30, 30), 7.0, np.float32), np.eye(4))\n"
        "assert (cross_sections(volume, vessel, half_width_mm=4.0).values == 7.0).all()\n"
        "assert (curved(volume, vessel, margin_mm=4.0).values == 7.0).all()\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_path_along_the_ruling_direction_still_has_an_image(volume):
    middle = transform_points(volume.ijk_to_ras, np.array([55.0, 50.0, 45.0]))
    turns = np.concatenate([np.zeros((40, 3)), np.cumsum(np.tile([0.25, 0.0, 0.0], (80, 1)), axis=0)])
    turns[:40, 2] = -0.25 * np.arange(40)[::-1]
    turns = np.concatenate([turns, turns[-1] + np.cumsum(np.tile([0.0, 0.0, 0.25], (60, 1)), axis=0)])
    vessel = Vessel("LCX", None, None, middle + turns, np.arange(180) * 0.25, np.full(180, 1.5))
    image = curved(volume, vessel, 0.0)
    assert np.isfinite(image.index_to_ras).all() and np.isfinite(image.values).mean() > 0.5


def test_the_path_from_the_ostium_holds_the_parent_up_to_the_fork(volume):
    lm = vessel_in(volume)
    joint = 100
    points = lm.points_ras[joint] + np.arange(50)[:, None] * np.array([0.0, 0.0, 0.25])
    lad = Vessel("LAD", "RCA", 25.0, points, np.arange(50) * 0.25, np.full(50, 1.2), flags=("bridged",))
    whole = path_from_ostium(VesselTree((lm, lad)), "LAD")
    assert whole.parent is None and whole.flags == ("bridged",)
    np.testing.assert_array_equal(whole.points_ras[:joint], lm.points_ras[:joint])
    np.testing.assert_array_equal(whole.points_ras[joint:], points)
    assert whole.length_mm == pytest.approx(0.25 * (joint + 49))
    with pytest.raises(KeyError):
        path_from_ostium(VesselTree((lm, lad)), "D1")
