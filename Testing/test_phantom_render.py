"""The renderer against analytic volumes, error functions and VTK."""

import numpy as np
import pytest

from StenosisDetectionLib.errors import Cancelled, InputError
from StenosisDetectionLib.geometry import affine, transform_points
from StenosisDetectionLib.phantom.assembly import AXIAL
from StenosisDetectionLib.phantom.mesh import TriangleMesh
from StenosisDetectionLib.phantom.noise import correlated_noise
from StenosisDetectionLib.phantom.render import Painted, render
from StenosisDetectionLib.phantom.solids import ClosedSurface, Ellipsoid, HalfSpace, Texture, Tube

SPACING = (0.4, 0.45, 0.5)
SIGMA = (0.35, 0.4, 0.5)
SIZE = (44, 40, 38)


def oblique_directions() -> np.ndarray:
    axis = np.array([0.3, -0.5, 0.81])
    axis /= np.linalg.norm(axis)
    cross = np.cross(np.eye(3), axis)
    angle = 0.6
    return (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross) @ AXIAL


def centered_grid(directions: np.ndarray) -> np.ndarray:
    """Return the affine of a grid of SIZE whose middle is RAS (0, 0, 0)."""
    return affine(SPACING, directions, -directions @ ((np.array(SIZE) - 1) / 2 * np.array(SPACING)))


def vtk_mesh(source) -> tuple[TriangleMesh, float]:
    """Return the triangles of a VTK source and the volume inside by vtkMassProperties."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputConnection(source.GetOutputPort())
    triangles.Update()
    data = triangles.GetOutput()
    mass = vtk.vtkMassProperties()
    mass.SetInputData(data)
    points = vtk_to_numpy(data.GetPoints().GetData()).astype(float)
    return TriangleMesh(points, vtk_to_numpy(data.GetPolys().GetConnectivityArray()).reshape(-1, 3)), mass.GetVolume()


def rendered_volume(voxels: np.ndarray) -> float:
    """Return the volume in mm3 of what was painted with 100 HU on 0 HU."""
    return float(voxels.sum(dtype=np.float64)) * float(np.prod(SPACING)) / 100


@pytest.mark.parametrize("directions", [AXIAL, oblique_directions()], ids=["axial", "oblique"])
def test_partial_volume_is_that_of_the_shape(directions):
    grid = centered_grid(directions)
    axes = oblique_directions()
    ellipsoid = Ellipsoid(np.array([0.3, -0.2, 0.1]), np.array([3.0, 4.0, 2.0]), axes)
    voxels, labels = render([Painted(ellipsoid, 100.0, 1)], SIZE, grid, SIGMA, 0.0)
    expected = 4 / 3 * np.pi * 24
    assert rendered_volume(voxels) == pytest.approx(expected, rel=0.003)
    assert labels.sum() * np.prod(SPACING) == pytest.approx(expected, rel=0.02)

    along = np.array([0.48, 0.6, 0.64])
    tube = Tube(np.stack([-5 * along, 5 * along]), np.array([1.1, 1.1]), flat_start=True, flat_end=True)
    voxels, _ = render([Painted(tube, 100.0)], SIZE, grid, SIGMA, 0.0)
    assert rendered_volume(voxels) == pytest.approx(np.pi * 1.21 * 10, rel=0.01)

    round_ends = Tube(np.stack([-4 * along, 4 * along]), np.array([1.1, 1.1]))
    voxels, _ = render([Painted(round_ends, 100.0)], SIZE, grid, SIGMA, 0.0)
    assert rendered_volume(voxels) == pytest.approx(np.pi * 1.21 * 8 + 4 / 3 * np.pi * 1.331, rel=0.01)


@pytest.mark.parametrize("directions", [AXIAL, oblique_directions()], ids=["axial", "oblique"])
def test_a_closed_surface_fills_its_volume_at_its_place(directions):
    import vtk

    source = vtk.vtkSphereSource()
    source.SetRadius(3.5)
    source.SetCenter(1.0, -0.7, 0.4)
    source.SetThetaResolution(40)
    source.SetPhiResolution(40)
    mesh, volume = vtk_mesh(source)
    grid = centered_grid(directions)
    voxels, _ = render([Painted(ClosedSurface(mesh), 100.0)], SIZE, grid, SIGMA, 0.0)
    assert rendered_volume(voxels) == pytest.approx(volume, rel=0.002)
    kji = np.argwhere(np.ones_like(voxels, dtype=bool))
    center = np.average(transform_points(grid, kji[:, ::-1]), axis=0, weights=voxels.ravel())
    np.testing.assert_allclose(center, [1.0, -0.7, 0.4], atol=0.005)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_edge_is_an_error_function_of_the_given_sigma(axis):
    from scipy.optimize import curve_fit
    from scipy.special import erf

    def model(x, where, sigma):
        return -90 + 390 * 0.5 * (1 - erf((x - where) / (np.sqrt(2) * sigma)))

    grid = centered_grid(AXIAL)
    normal = AXIAL[:, axis]
    position = (np.arange(SIZE[axis]) - (SIZE[axis] - 1) / 2) * SPACING[axis]
    found = []
    for offset in (0.02, 0.06, 0.1, 0.14, 0.18):
        edge = HalfSpace(offset * normal, normal)
        voxels, _ = render([Painted(edge, 300.0)], SIZE, grid, SIGMA, -90.0)
        profile = np.moveaxis(voxels, 2 - axis, 0)[:, 20, 20]
        (where, sigma), _ = curve_fit(model, position, profile, p0=(0.0, 0.3))
        assert where == pytest.approx(offset, abs=0.004)
        assert np.abs(model(position, where, sigma) - profile).max() < 1.5
        found.append(sigma)
    assert np.mean(found) == pytest.approx(SIGMA[axis], abs=0.002)
    # A cell holds a fraction, not a place: one edge by itself may come out a little sharper or softer.
    np.testing.assert_allclose(found, SIGMA[axis], atol=0.006)


def test_later_solids_cover_earlier_ones():
    inner = Ellipsoid(np.zeros(3), np.full(3, 2.0), np.eye(3))
    outer = Ellipsoid(np.zeros(3), np.full(3, 6.0), np.eye(3))
    voxels, labels = render([Painted(outer, 100.0, 1), Painted(inner, 50.0, 2)], SIZE, centered_grid(AXIAL), SIGMA, 0.0)
    middle = voxels[SIZE[2] // 2, SIZE[1] // 2]
    assert middle[SIZE[0] // 2] == pytest.approx(50, abs=0.1)
    assert middle[SIZE[0] // 2 + 10] == pytest.approx(100, abs=0.1)
    assert middle[0] == pytest.approx(0, abs=0.1)
    assert labels[SIZE[2] // 2, SIZE[1] // 2, SIZE[0] // 2] == 2


def test_an_attenuation_that_varies_is_painted_where_it_belongs():
    def rises_to_the_right(ijk_to_ras, shape):
        k, j, i = np.indices(shape)
        return 10 * transform_points(ijk_to_ras, np.stack([i, j, k], axis=-1))[..., 0]

    grid = centered_grid(oblique_directions())
    body = Ellipsoid(np.zeros(3), np.full(3, 7.0), np.eye(3))
    voxels, _ = render([Painted(body, rises_to_the_right)], SIZE, grid, SIGMA, 0.0)
    kji = np.argwhere(np.ones_like(voxels, dtype=bool))
    points = transform_points(grid, kji[:, ::-1])
    inside = np.linalg.norm(points, axis=1) < 5
    np.testing.assert_allclose(voxels.ravel()[inside], 10 * points[inside, 0], atol=1.0)


def test_a_texture_belongs_to_the_place_and_not_to_the_grid():
    texture = Texture(50.0, 20.0, 3.0, seed=1)
    plain = centered_grid(AXIAL)
    turned = centered_grid(oblique_directions())
    values = texture(plain, SIZE[::-1])
    assert values.mean() == pytest.approx(50, abs=2)
    assert 5 < values.std() < 20
    # The same RAS points through both grids, by the texture's own lattice: one point of each, and its neighbors.
    for index in ((5, 9, 11), (20, 30, 17)):
        place = transform_points(turned, np.array(index))
        one = affine(SPACING, AXIAL, place)
        assert texture(turned, SIZE[::-1])[index[::-1]] == pytest.approx(texture(one, (1, 1, 1))[0, 0, 0], abs=1e-3)


def test_a_report_may_cancel_the_rendering():
    def report(fraction, message):
        raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        render([], SIZE, centered_grid(AXIAL), SIGMA, 0.0, report)


def test_a_point_spread_without_width_is_refused():
    with pytest.raises(InputError, match="point spread"):
        render([], SIZE, centered_grid(AXIAL), (0.3, 0.0, 0.3), 0.0)


def test_noise_has_the_given_deviation_and_is_correlated():
    shape, spacing = (40, 96, 96), (0.4, 0.4, 0.5)
    noise = correlated_noise(shape, spacing, 25.0, seed=3)
    assert noise.std() == pytest.approx(25.0, abs=1e-3)
    assert noise.mean() == pytest.approx(0.0, abs=1e-3)
    variance = float((noise**2).mean())
    assert float((noise[:, :, 1:] * noise[:, :, :-1]).mean()) / variance > 0.5
    assert float((noise[1:] * noise[:-1]).mean()) / variance > 0.4
    # The power in the plane peaks between the frequencies 0.2 and 0.4 line pairs per mm.
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(96, 0.4)] * 2))
    rings = [power[(frequency >= f) & (frequency < f + 0.05)].mean() for f in np.arange(0.0, 1.0, 0.05)]
    assert 0.2 <= 0.05 * int(np.argmax(rings)) + 0.025 <= 0.4
    np.testing.assert_array_equal(noise, correlated_noise(shape, spacing, 25.0, seed=3))
    assert np.abs(noise - correlated_noise(shape, spacing, 25.0, seed=4)).max() > 25
