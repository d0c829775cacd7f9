"""The coronary tree of a real patient against the centerlines and inscribed spheres of VMTK."""

import numpy as np
import pytest
import vtk
from scipy.ndimage import distance_transform_edt, label
from scipy.spatial import cKDTree
from vtk.util.numpy_support import vtk_to_numpy

from StenosisDetectionLib.centerline import extract_tree, label_vessels
from StenosisDetectionLib.study import LumenSegmentation, ModelInfo, VesselTree

SPACING = np.array([0.4, 0.4, 0.5])
AORTA_OPENING_MM = 5.0


@pytest.fixture(scope="module")
def segmentation(real_data) -> LumenSegmentation:
    """The surface (LPS) as a mask; what holds a ball of 5 mm is the aorta."""
    reader = vtk.vtkSTLReader()
    reader.SetFileName(str(real_data / "coronary_tree_ccta" / "NARCO_119_early.stl"))
    reader.Update()
    bounds = np.array(reader.GetOutput().GetBounds()).reshape(3, 2)
    origin = bounds[:, 0] - 3
    size = np.ceil((bounds[:, 1] + 3 - origin) / SPACING).astype(int)
    stencil = vtk.vtkPolyDataToImageStencil()
    stencil.SetInputConnection(reader.GetOutputPort())
    stencil.SetOutputOrigin(*origin)
    stencil.SetOutputSpacing(*SPACING)
    stencil.SetOutputWholeExtent(0, size[0] - 1, 0, size[1] - 1, 0, size[2] - 1)
    image = vtk.vtkImageStencilToImage()
    image.SetInputConnection(stencil.GetOutputPort())
    image.SetInsideValue(1)
    image.SetOutsideValue(0)
    image.SetOutputScalarTypeToUnsignedChar()
    image.Update()
    inside = vtk_to_numpy(image.GetOutput().GetPointData().GetScalars()).reshape(size[::-1]).astype(bool)
    sampling = tuple(SPACING[::-1])
    core, _ = label(distance_transform_edt(inside, sampling=sampling) > AORTA_OPENING_MM)
    core = core == 1 + np.argmax(np.bincount(core.ravel())[1:])
    aorta = inside & (distance_transform_edt(~core, sampling=sampling) <= AORTA_OPENING_MM + 0.3)
    lps_to_ras = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    lps_to_ras[:3, 3] = origin * [-1, -1, 1]
    return LumenSegmentation(inside & ~aorta, aorta, lps_to_ras, ModelInfo("surface", "1"))


@pytest.fixture(scope="module")
def tree(segmentation) -> VesselTree:
    return extract_tree(segmentation)


@pytest.fixture(scope="module")
def reference(real_data, segmentation) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Side, points in RAS and radii of each VMTK line outside the aorta, up to the last radius above 0.75 mm."""
    aorta = (
        np.argwhere(segmentation.aorta)[::5, ::-1] @ segmentation.ijk_to_ras[:3, :3].T + segmentation.ijk_to_ras[:3, 3]
    )
    aorta_tree = cKDTree(aorta)
    lines = []
    for side, name in (("left", "lca_cl.vtp"), ("right", "rca_cl.vtp")):
        reader = vtk.vtkXMLPolyDataReader()
        reader.SetFileName(str(real_data / "coronary_tree_ccta" / name))
        reader.Update()
        data = reader.GetOutput()
        points = vtk_to_numpy(data.GetPoints().GetData()) * [-1.0, -1.0, 1.0]
        radii = vtk_to_numpy(data.GetPointData().GetArray("MaximumInscribedSphereRadius"))
        for cell in range(data.GetNumberOfCells()):
            ids = data.GetCell(cell).GetPointIds()
            rows = [ids.GetId(n) for n in range(ids.GetNumberOfIds())]
            line, radius = points[rows], radii[rows]
            first = np.flatnonzero(aorta_tree.query(line)[0] < 1)[-1] + 1
            last = np.flatnonzero(radius > 0.75)[-1] + 1
            lines.append((side, line[first:last], radius[first:last]))
    return lines


def test_names_of_the_real_tree(tree):
    # An anomalous right coronary artery from the left sinus; its posterior descending artery is cut off by the model.
    assert [(v.name, v.parent) for v in tree.vessels] == [
        ("LM", None), ("LAD", "LM"), ("LCX", "LM"), ("RCA", None),
        ("D1", "LAD"), ("D2", "LAD"), ("OM1", "LCX"), ("AM1", "RCA"), ("AM2", "RCA"),
    ]  # fmt: skip


def test_the_tree_follows_the_vmtk_lines(tree, reference):
    points = np.concatenate([v.points_ras for v in tree.vessels])
    radii = np.concatenate([v.radius_mm for v in tree.vessels])
    found = cKDTree(points)
    distances, errors = [], []
    for _, line, radius in reference:
        distance, nearest = found.query(line)
        assert (distance < radius).mean() > 0.97
        distances.append(distance)
        errors.append(radii[nearest] - radius)
    assert np.concatenate(distances).mean() < 0.2
    assert abs(np.concatenate(errors).mean()) < 0.05
    assert np.abs(np.concatenate(errors)).mean() < 0.1


def test_no_vessel_is_false(tree, real_data, reference):
    lines = cKDTree(np.concatenate([line for _, line, _ in reference]))
    for vessel in tree.vessels:
        # The thin ends, below a radius of 0.75 mm, are not part of the reference.
        thick = vessel.radius_mm > 1.0
        assert (lines.query(vessel.points_ras[thick])[0] < 1.5).mean() > 0.9


def test_left_and_right_are_not_exchanged(tree, reference):
    for name, side in (("LAD", "left"), ("LCX", "left"), ("RCA", "right")):
        own = cKDTree(np.concatenate([line for s, line, _ in reference if s == side]))
        assert np.median(own.query(tree.vessel(name).points_ras)[0]) < 0.3


def test_labels_cover_the_coronary_lumen(tree, segmentation, reference):
    labels = label_vessels(segmentation, tree)
    inverse = np.linalg.inv(segmentation.ijk_to_ras)
    for _, line, _ in reference:
        ijk = np.rint(line @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
        in_lumen = segmentation.lumen[ijk[:, 2], ijk[:, 1], ijk[:, 0]]
        assert (labels.labels[ijk[:, 2], ijk[:, 1], ijk[:, 0]][in_lumen] > 0).mean() > 0.97
