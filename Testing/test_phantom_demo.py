"""The demo study: its model, the stenoses pressed into it, and the rendered study."""

import numpy as np
import pytest

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.geometry import arc_length, transform_points
from StenosisDetectionLib.phantom.arteries import VEIN_DIAMETER_MM, cardiac_veins
from StenosisDetectionLib.phantom.coronary_model import load_coronary_model
from StenosisDetectionLib.phantom.curves import tangents
from StenosisDetectionLib.phantom.demo import LESIONS, NOISE_HU, PSF_SIGMA_MM, demo_study
from StenosisDetectionLib.phantom.mesh import TriangleMesh, cut_sections, split_long_edges
from StenosisDetectionLib.phantom.pressing import press_lesions
from StenosisDetectionLib.phantom.truth import LesionShape, VesselTruth, complete_diameter, lesion_truth
from StenosisDetectionLib.resources import resource_path


@pytest.fixture(scope="module")
def model():
    return load_coronary_model(resource_path("demo"))


@pytest.fixture(scope="module")
def pressed(model):
    return press_lesions(model.mesh, model.vessels, LESIONS)


@pytest.fixture(scope="module")
def demo():
    return demo_study()


def open_edges(mesh: TriangleMesh) -> int:
    """Return the number of edges that do not join exactly two triangles."""
    import vtk

    edges = vtk.vtkFeatureEdges()
    edges.SetInputData(mesh.to_vtk())
    edges.FeatureEdgesOff()
    edges.ManifoldEdgesOff()
    edges.BoundaryEdgesOn()
    edges.NonManifoldEdgesOn()
    edges.Update()
    return edges.GetOutput().GetNumberOfCells()


def mass(mesh: TriangleMesh) -> tuple[float, float]:
    """Return the volume and the area of a closed mesh by VTK."""
    import vtk

    properties = vtk.vtkMassProperties()
    properties.SetInputData(mesh.to_vtk())
    return properties.GetVolume(), properties.GetSurfaceArea()


def cylinder(radius: float, length: float, sides: int) -> TriangleMesh:
    """Return a closed cylinder along z, with rings of points every millimeter."""
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    rings = int(length) + 1
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    points = [np.column_stack([ring, np.full(sides, z)]) for z in np.linspace(0, length, rings)]
    points.append(np.array([[0, 0, 0], [0, 0, length]]))
    triangles = []
    for k in range(rings - 1):
        for i in range(sides):
            a, b = k * sides + i, k * sides + (i + 1) % sides
            triangles += [(a, b, b + sides), (a, b + sides, a + sides)]
    first, last, top = rings * sides, rings * sides + 1, (rings - 1) * sides
    for i in range(sides):
        j = (i + 1) % sides
        triangles += [(first, j, i), (last, top + i, top + j)]
    return TriangleMesh(np.concatenate(points), np.array(triangles))


def test_a_section_of_a_cylinder_has_its_area():
    mesh = cylinder(2.0, 20.0, 24)
    polygon = 0.5 * 24 * 4 * np.sin(2 * np.pi / 24)
    for tilt in (0.0, 0.5):
        tangent = np.array([[np.sin(tilt), 0, np.cos(tilt)]])
        sections = cut_sections(mesh, np.array([[0.3, 0.2, 10.0]]), tangent)
        assert np.pi / 4 * sections.diameter_mm[0] ** 2 == pytest.approx(polygon / np.cos(tilt), rel=1e-6)


def test_splitting_edges_keeps_surface_and_closure():
    mesh = cylinder(2.0, 20.0, 24)
    bounds = np.array([[-3.0, -3.0, 6.0], [3.0, 3.0, 12.0]])
    fine = split_long_edges(mesh, 0.3, bounds, lambda p: (p[:, 2] > 6) & (p[:, 2] < 12))
    assert len(fine.triangles) > 2 * len(mesh.triangles)
    assert open_edges(mesh) == open_edges(fine) == 0
    assert mass(fine) == pytest.approx(mass(mesh), rel=1e-6)


@pytest.mark.parametrize("eccentricity", [0.0, 0.7])
def test_a_stenosis_pressed_into_a_cylinder_has_the_analytic_volume(eccentricity):
    mesh = cylinder(2.0, 30.0, 24)
    line = np.stack([np.zeros(121), np.zeros(121), np.linspace(0, 30, 121)], axis=1)
    vessel = VesselTruth("LAD", None, None, line, arc_length(line), np.full(121, 4.0), np.full(121, 4.0))
    lesion = LesionShape("LAD", 15.0, 10.0, 60.0, eccentricity=eccentricity)
    pressed = press_lesions(mesh, [vessel], [lesion])
    assert open_edges(pressed) == 0
    # Mean of (1 - 0.6 (1 + cos) / 2)^2 over the lesion: 1 - 0.6 + 0.36 * 3 / 8.
    lost = mass(mesh)[0] / 30 * 10 * (1 - (1 - 0.6 + 0.36 * 3 / 8))
    assert mass(mesh)[0] - mass(pressed)[0] == pytest.approx(lost, rel=0.01)


def test_the_model_is_closed_and_its_vessels_lie_in_it(model):
    assert open_edges(model.mesh) == 0
    inside = _inside(model.mesh, np.concatenate([vessel.points_ras for vessel in model.vessels]))
    assert inside.mean() > 0.999


def _inside(mesh, points):
    import vtk

    distance = vtk.vtkImplicitPolyDataDistance()
    distance.SetInput(mesh.to_vtk())
    return np.array([distance.EvaluateFunction(point) < 0 for point in points[::7]])


def test_the_right_coronary_artery_is_on_the_right_and_the_apex_on_the_left(model):
    vessels = {vessel.name: vessel for vessel in model.vessels}
    assert vessels["RCA"].points_ras[-100:, 0].mean() > vessels["LAD"].points_ras[:, 0].mean() + 40
    assert vessels["LAD"].points_ras[-1, 0] < -60
    # The left anterior descending artery runs in front of the circumflex artery, and down to the apex.
    assert vessels["LAD"].points_ras[:, 1].mean() > vessels["LCX"].points_ras[:, 1].mean() + 30
    assert vessels["LAD"].points_ras[-1, 2] < vessels["LAD"].points_ras[0, 2] - 80


def test_the_file_of_the_model_is_the_published_surface(model, real_data):
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    reader = vtk.vtkSTLReader()
    reader.SetFileName(str(real_data / "coronary_tree_ccta" / "NARCO_119_early.stl"))
    reader.Update()
    lps = vtk_to_numpy(reader.GetOutput().GetPoints().GetData())
    np.testing.assert_allclose(model.mesh.points, lps * [-1, -1, 1], atol=1e-5)


def test_the_license_stands_beside_the_model():
    text = (resource_path("demo") / "LICENSE.txt").read_text()
    assert "Anselm W. Stark" in text
    assert "Permission is hereby granted" in text
    assert sum(path.stat().st_size for path in resource_path("demo").iterdir()) < 1.5e6


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"coronary_surface\.vtp"):
        load_coronary_model(tmp_path)


@pytest.mark.parametrize("lesion", LESIONS, ids=lambda lesion: f"{lesion.vessel}-{lesion.throat_mm:.0f}")
def test_a_section_of_the_pressed_surface_has_the_diameter_of_the_truth(model, pressed, lesion):
    vessel = next(v for v in model.vessels if v.name == lesion.vessel)
    part = (vessel.distance_mm > lesion.start_mm - 2) & (vessel.distance_mm < lesion.end_mm + 2)
    sections = cut_sections(pressed, vessel.points_ras[part], tangents(vessel.points_ras)[part])
    expected = vessel.healthy_diameter_mm[part] * lesion.factor(vessel.distance_mm[part])
    np.testing.assert_allclose(sections.diameter_mm, expected, atol=0.03)
    throat = int(np.argmin(np.abs(vessel.distance_mm[part] - lesion.throat_mm)))
    truth = lesion_truth(lesion, vessel)
    assert sections.diameter_mm[throat] == pytest.approx(truth.minimal_lumen_diameter_mm, abs=0.015)
    assert truth.reference_diameter_mm > 2.2


def test_lesions_are_away_from_bifurcations(model):
    for lesion in LESIONS:
        vessel = next(v for v in model.vessels if v.name == lesion.vessel)
        around = np.abs(vessel.distance_mm - lesion.throat_mm) < lesion.length_mm / 2 + 4
        assert np.isfinite(vessel.healthy_diameter_mm[around]).all()


def test_the_rest_of_the_surface_stays(model, pressed):
    assert open_edges(pressed) == 0
    old = pressed.points[: len(model.mesh.points)]
    moved = np.linalg.norm(old - model.mesh.points, axis=1) > 1e-9
    throats = np.array([lesion_truth(s, v).position_ras for s in LESIONS for v in model.vessels if v.name == s.vessel])
    nearest = np.linalg.norm(old[moved][:, None] - throats, axis=2).min(axis=1)
    assert nearest.max() < 9
    assert 0 < moved.sum() < 1500


def test_the_vein_keeps_its_distance_from_every_artery(model):
    vessels = {vessel.name: vessel for vessel in model.vessels}
    for vein in cardiac_veins(vessels["LAD"], vessels["LCX"]):
        assert vein.radius_mm.max() == VEIN_DIAMETER_MM / 2
        for vessel in vessels.values():
            gap = np.linalg.norm(vein.points_ras[:, None] - vessel.points_ras, axis=2)
            gap -= vein.radius_mm[:, None] + complete_diameter(vessel) / 2
            assert gap.min() >= 2.0


@pytest.mark.slow
def test_the_rendered_demo_study_is_a_ccta_of_the_model(demo, model):
    voxels, labels = demo.volume.voxels, demo.lumen.labels
    assert demo.volume.size_ijk == (380, 380, 262)
    np.testing.assert_allclose(demo.volume.spacing_mm, (0.4, 0.4, 0.5))
    assert (demo.truth.psf_sigma_mm, demo.truth.noise_hu) == (PSF_SIGMA_MM, NOISE_HU)
    np.testing.assert_array_equal(voxels, np.round(voxels))
    aorta = voxels[labels == 2]
    assert np.median(aorta) == pytest.approx(395, abs=10)
    # Noise where the model is even: the descending aorta.
    center = transform_points(np.linalg.inv(demo.volume.ijk_to_ras), np.array([-18.5, 134.0, 1690.0]))
    i, j, k = np.round(center).astype(int)
    assert voxels[k - 20 : k + 20, j - 10 : j + 10, i - 10 : i + 10].std() == pytest.approx(NOISE_HU, rel=0.05)
    for vessel in demo.truth.vessels:
        wide = np.nan_to_num(vessel.diameter_mm) > 2.2
        if not wide.any():
            continue
        ijk = np.round(transform_points(np.linalg.inv(demo.volume.ijk_to_ras), vessel.points_ras[wide])).astype(int)
        k, j, i = ijk[:, ::-1].T
        assert np.median(voxels[k, j, i]) > 330
        assert (labels[k, j, i] == 1).mean() > 0.95
    coronary = float((labels == 1).sum()) * 0.08
    whole = mass(press_lesions(model.mesh, model.vessels, LESIONS))[0]
    assert 2500 < coronary < 0.15 * whole
