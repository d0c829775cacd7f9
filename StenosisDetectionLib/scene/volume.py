"""The CT as a scalar volume node.

In: a `CTVolume` in HU. Out: a `vtkMRMLScalarVolumeNode` whose voxels are exactly those of the study: int16 where all
values are whole numbers that fit, as CT from DICOM are, which halves the size of a saved scene; else float32.
"""

from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ..study import CTVolume

WINDOW_HU, LEVEL_HU = 900.0, 250.0
"""Display window of the CT: coronary lumen, plaque and calcium are told apart."""


def add_volume_node(scene: Any, volume: CTVolume, name: str) -> Any:
    """Add the CT to the scene, with the display window of coronary CT, and return its node."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(vtk_matrix(volume.ijk_to_ras))
    node.SetAndObserveImageData(image_data(_compact(volume.voxels)))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(WINDOW_HU, LEVEL_HU)
    return node


def image_data(array: np.ndarray) -> vtk.vtkImageData:
    """Return a [k, j, i] array as image data with spacing 1 and origin 0, the form MRML keeps images in."""
    image = vtk.vtkImageData()
    image.SetDimensions(array.shape[::-1])
    scalars = numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    return image


def vtk_matrix(matrix: np.ndarray) -> vtk.vtkMatrix4x4:
    """Return a 4 x 4 array as a VTK matrix."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=np.float64).ravel().tolist())
    return result


def _compact(voxels: np.ndarray) -> np.ndarray:
    limits = np.iinfo(np.int16)
    if voxels.min() < limits.min or voxels.max() > limits.max:
        return voxels
    whole = voxels.astype(np.int16)
    return whole if np.array_equal(whole, voxels) else voxels
