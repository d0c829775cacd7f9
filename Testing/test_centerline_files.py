"""Centerlines to files and back: VTK, VMTK, CAT08, Slicer; and the centerlines that VMTK made of a real tree."""

import json
from pathlib import Path

import numpy as np
import pytest
import vtk
from scipy.spatial import cKDTree
from studies import small_study
from vtk.util.numpy_support import vtk_to_numpy

from StenosisDetectionLib.centerline.lines import CenterlineLine, tree_from_lines
from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.reading import read_centerlines
from StenosisDetectionLib.study import Vessel, VesselTree
from StenosisDetectionLib.writing import write_cat08, write_vmtk_text, write_vtp


@pytest.fixture(scope="module")
def tree() -> VesselTree:
    return small_study().tree


def assert_same(found: VesselTree, tree: VesselTree, atol: float) -> None:
    assert {v.name: v.parent for v in found.vessels} == {v.name: v.parent for v in tree.vessels}
    for vessel in tree.vessels:
        other = found.vessel(vessel.name)
        np.testing.assert_allclose(other.points_ras, vessel.points_ras, atol=atol)
        np.testing.assert_allclose(other.radius_mm, vessel.radius_mm, atol=atol)
        assert [s.number for s in other.segments] != [] and "imported" in other.flags
        if vessel.parent_distance_mm is not None:
            assert other.parent_distance_mm == pytest.approx(vessel.parent_distance_mm, abs=0.3)


@pytest.mark.parametrize("space", ["RAS", "LPS"])
def test_a_tree_survives_vtk_poly_data(tree, tmp_path, space):
    path = write_vtp(tree, tmp_path / "tree.vtp", space)
    assert [p.name for p in tmp_path.iterdir()] == ["tree.vtp"]
    assert_same(tree_from_lines(read_centerlines(path)), tree, 1e-9)
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    data = reader.GetOutput()
    sign = 1.0 if space == "RAS" else -1.0
    np.testing.assert_allclose(vtk_to_numpy(data.GetPoints().GetData())[0, 0], sign * tree.vessels[0].points_ras[0, 0])
    assert data.GetNumberOfCells() == len(tree.vessels)
    for name in ("MaximumInscribedSphereRadius", "Radius"):
        assert data.GetPointData().GetArray(name).GetNumberOfTuples() == data.GetNumberOfPoints()


@pytest.mark.parametrize("space", ["RAS", "LPS"])
def test_slicer_loads_the_poly_data_at_its_place(tree, tmp_path, space):
    import slicer

    path = write_vtp(tree, tmp_path / "tree.vtp", space)
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLModelNode")
    storage = scene.AddNewNodeByClass("vtkMRMLModelStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    points = vtk_to_numpy(node.GetPolyData().GetPoints().GetData())
    np.testing.assert_allclose(points[: len(tree.vessels[0].points_ras)], tree.vessels[0].points_ras, atol=1e-4)


@pytest.mark.parametrize("space", ["RAS", "LPS"])
def test_a_tree_survives_the_text_formats(tree, tmp_path, space):
    assert len(write_cat08(tree, tmp_path / "cat", space)) == len(tree.vessels)
    assert_same(tree_from_lines(read_centerlines(tmp_path / "cat", space)), tree, 1e-5)
    path = write_vmtk_text(tree, tmp_path / "tree.dat", space)
    lines = read_centerlines(path, space)
    assert len(lines) == len(tree.vessels)
    for line, vessel in zip(lines, tree.vessels, strict=True):
        np.testing.assert_allclose(line.points_ras, vessel.points_ras, atol=1e-5)
        np.testing.assert_allclose(line.radius_mm, vessel.radius_mm, atol=1e-5)


def test_slicer_curves_come_back(tmp_path):
    from StenosisDetectionLib.scene import write_scene_files

    study = small_study()
    write_scene_files(study, tmp_path)
    found = tree_from_lines(read_centerlines(tmp_path / "centerlines"))
    assert {v.name: v.parent for v in found.vessels} == {v.name: v.parent for v in study.tree.vessels}
    for vessel, profile in zip(study.tree.vessels, study.profiles, strict=True):
        np.testing.assert_allclose(found.vessel(vessel.name).points_ras, vessel.points_ras, atol=1e-4)
        known = np.isfinite(profile.diameter_mm)
        radius = found.vessel(vessel.name).radius_mm
        np.testing.assert_allclose(radius[known], profile.diameter_mm[known] / 2.0, atol=1e-4)


def test_curves_hold_what_slicer_vmtk_reads(tmp_path):
    """CrossSectionAnalysis of SlicerVMTK (commit 003313d) takes the diameters of a curve from its measurement `Radius`.

    It looks up the control point values by the whole part of the place of each curve point and by the next whole
    number, the last curve point excepted, and shows twice the value as a diameter in mm: there must be a value for
    every control point, and no two curve points between control points. It checks nothing, so a value that is missing
    or unknown would end in an error or in nonsense. A model must have a point array of the same name.
    """
    from StenosisDetectionLib.scene import write_scene_files

    study = small_study()
    write_scene_files(study, tmp_path)
    for vessel, profile in zip(study.tree.vessels, study.profiles, strict=True):
        text = (tmp_path / "centerlines" / f"{vessel.name}.mrk.json").read_text(encoding="utf-8")
        (curve,) = json.loads(text)["markups"]
        (radius,) = [m for m in curve["measurements"] if m["name"] == "Radius"]
        values = np.array(radius["controlPointValues"], dtype=np.float64)
        assert curve["type"] == "Curve" and radius["enabled"] and radius["units"] == "mm"
        assert values.shape == (len(curve["controlPoints"]),) and (values > 0).all()
        known = np.isfinite(profile.diameter_mm)
        np.testing.assert_allclose(2.0 * values[known], profile.diameter_mm[known], atol=1e-4)


def test_the_centerlines_of_vmtk_become_a_named_tree(real_data):
    folder = real_data / "coronary_tree_ccta"
    lines = (*read_centerlines(folder / "lca_cl.vtp", "LPS"), *read_centerlines(folder / "rca_cl.vtp", "LPS"))
    # VMTK's lines begin inside the aorta, where the radius is that of the aorta.
    outside = []
    for line in lines:
        first = int(np.flatnonzero(line.radius_mm > 3.5)[-1]) + 1
        outside.append(CenterlineLine(line.points_ras[first:], line.radius_mm[first:]))
    tree = tree_from_lines(tuple(outside))
    names = {v.name for v in tree.vessels}
    assert {"LM", "LAD", "LCX", "RCA"} <= names
    assert tree.vessel("LAD").parent == tree.vessel("LCX").parent == "LM"
    right = read_centerlines(folder / "rca_cl.vtp", "LPS")
    own = cKDTree(np.concatenate([line.points_ras for line in right]))
    assert own.query(tree.vessel("RCA").points_ras)[0].max() < 0.3
    for vessel in tree.vessels:
        assert np.isfinite(vessel.radius_mm).all() and (vessel.radius_mm > 0.3).all()


def test_whole_ways_to_the_tips_become_branches():
    stem = np.linspace([0, 0, 0], [-10, 2, 0], 41)
    front = np.concatenate([stem, np.linspace([-10, 2, 0], [-40, 60, -60], 361)[1:]])
    back = np.concatenate([stem, np.linspace([-10, 2, 0], [-40, -50, -30], 281)[1:]])
    lines = tuple(CenterlineLine(p, np.full(len(p), np.nan), n) for p, n in ((front, "vessel1"), (back, "vessel2")))
    tree = tree_from_lines(lines)
    assert {v.name: v.parent for v in tree.vessels} == {"LM": None, "LAD": "LM", "LCX": "LM"}
    assert tree.vessel("LM").length_mm == pytest.approx(10.2, abs=1.5)


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "1 2 3\n4 5 6\n", "does not tell its space"),
        ("a.txt", "one two\n", "no table of numbers"),
        ("a.txt", "1 2\n3 4\n", "no centerline"),
        ("a.txt", "", "no centerline"),
        ("a.mrk.json", "{}", "no markups file"),
        ("a.mrk.json", "not json", "no markups file"),
        ("a.mrk.json", '{"markups": []}', "holds no line"),
        ("a.vtp", "garbage", "holds no line"),
        ("a.stl", "", "no centerline file"),
    ],
)
def test_files_that_are_no_centerlines_are_refused_in_one_line(tmp_path, name, text, words):
    with pytest.raises(InputError, match=words) as refusal:
        read_centerlines(_write(tmp_path / name, text))
    assert "\n" not in str(refusal.value) and str(tmp_path) not in str(refusal.value)


def test_what_is_missing_is_refused(tmp_path, tree):
    with pytest.raises(InputError, match="does not exist"):
        read_centerlines(tmp_path / "no.vtp")
    with pytest.raises(InputError, match="holds no centerlines"):
        read_centerlines(tmp_path)
    with pytest.raises(InputError, match="unknown space"):
        write_vtp(tree, tmp_path / "x.vtp", "XYZ")
    with pytest.raises(InputError, match="at least 2 mm"):
        tree_from_lines((CenterlineLine(np.zeros((5, 3)), np.ones(5)),))


def test_lines_without_names_that_begin_near_a_fork_leave_the_stem_first(tmp_path):
    # The ramus begins 1.5 mm before the left main ends, so near the start of the LAD that it might seem to leave that.
    def straight(name, parent, at, start, step, count):
        points = np.array(start) + 0.25 * np.arange(count)[:, None] * np.array(step) / np.linalg.norm(step)
        return Vessel(name, parent, at, points, 0.25 * np.arange(count), np.full(count, 1.5))

    known = VesselTree(
        (
            straight("LM", None, None, (-10, 0, 0), (-1, 0, 0), 25),
            straight("LAD", "LM", 6.0, (-16, 0, 0), (-0.5, 1, -0.6), 400),
            straight("LCX", "LM", 6.0, (-16, 0, 0), (-0.3, -1, -0.3), 240),
            straight("RI", "LM", 4.5, (-14.5, 0, 0), (-1, 0, -0.3), 280),
        )
    )
    path = write_vmtk_text(known, tmp_path / "tree.dat", "RAS")
    tree = tree_from_lines(read_centerlines(path, "RAS"))
    assert {v.name: v.parent for v in tree.vessels} == {"LM": None, "LAD": "LM", "LCX": "LM", "RI": "LM"}
    assert tree.vessel("LM").length_mm == pytest.approx(6.0, abs=1.6)
