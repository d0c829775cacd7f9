"""Reading a saved scene back without Slicer, for the tests."""

from pathlib import Path
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from StenosisDetectionLib.scene import create_scene


def read_bundle(path: Path, cache: Path) -> Any:
    """Return a fresh scene with the content of an .mrb file, unpacked in the folder `cache`."""
    scene = create_scene()
    read_into(scene, path, cache)
    return scene


def read_into(scene: Any, path: Path | str, cache: Path) -> None:
    """Read an .mrb file into a scene as Slicer's reader does."""
    import slicer

    remote, data = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
    remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
    remote.SetMRMLScene(scene)
    data.SetMRMLScene(scene)
    data.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    assert scene.ReadFromMRB(str(path), True)
    remote.RemoveDataIOFromScene()


def nodes_of(scene: Any, class_name: str) -> list[Any]:
    return [scene.GetNthNodeByClass(index, class_name) for index in range(scene.GetNumberOfNodesByClass(class_name))]


def all_nodes(scene: Any) -> list[Any]:
    return [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]


def ijk_to_ras_of(volume_node: Any) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def voxels_of(volume_node: Any) -> np.ndarray:
    image = volume_node.GetImageData()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def control_points_of(node: Any) -> np.ndarray:
    points = vtk.vtkPoints()
    node.GetControlPointPositionsWorld(points)
    return vtk_to_numpy(points.GetData()).astype(float)


def column_of(table_node: Any, name: str) -> list[Any]:
    column = table_node.GetTable().GetColumnByName(name)
    return [column.GetValue(row) for row in range(column.GetNumberOfValues())]
