"""Nodes of a scene as the plain data the other rooms take.

In: a scalar volume node, a segmentation node. Out: `CTVolume` and `LabelMap`, in the coordinates of the nodes
themselves; a transform they are under is not applied, since the result is put under the same one.
"""

import itertools
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..errors import InputError
from ..study import CTVolume, LabelMap
from .application import slicer_package


def volume_of_node(volume_node: Any) -> CTVolume:
    """Return a copy of a scalar volume node's voxels in HU with its geometry.

    Nothing of the patient is taken over; `reading.check_volume` decides whether it can be analyzed.

    Raises
    ------
    InputError : the node has no voxels, or more than one value per voxel.
    """
    image = volume_node.GetImageData() if volume_node is not None else None
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if image is None or scalars is None or scalars.GetNumberOfTuples() == 0:
        raise InputError("the volume is empty: choose a loaded CT volume")
    if scalars.GetNumberOfComponents() != 1:
        raise InputError("the volume has several values per voxel: choose a CT volume, not a color image")
    voxels = vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1]).astype(np.float32)
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return CTVolume(voxels, _array(matrix), source_format="Slicer")


def region_of_node(roi_node: Any, volume_node: Any) -> tuple[float, float, float, float, float, float]:
    """Return the box around a region of interest in the coordinates of a volume node: x0, x1, y0, y1, z0, z1 in mm.

    Raises
    ------
    InputError : the region is empty.
    """
    bounds = [0.0] * 6
    roi_node.GetRASBounds(bounds)
    if not all(low < high for low, high in zip(bounds[0::2], bounds[1::2], strict=True)):
        raise InputError("the region is empty: draw it around the heart, or choose the whole volume")
    corners = []
    for corner in itertools.product(bounds[0:2], bounds[2:4], bounds[4:6]):
        own = [0.0, 0.0, 0.0]
        volume_node.TransformPointFromWorld(corner, own)
        corners.append(own)
    (x0, y0, z0), (x1, y1, z1) = np.min(corners, axis=0).tolist(), np.max(corners, axis=0).tolist()
    return x0, x1, y0, y1, z0, z1


def modality_of_node(volume_node: Any) -> str:
    """Return the DICOM modality that the subject hierarchy has of a volume node in a scene, "" when it has none."""
    slicer = slicer_package()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume_node.GetScene())
    item = hierarchy.GetItemByDataNode(volume_node)
    attribute = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    return str(hierarchy.GetItemAttribute(item, attribute)) if item else ""


def label_map_of_segmentation(segmentation_node: Any) -> LabelMap:
    """Return all segments of a segmentation node as one label map on the grid of its labelmaps.

    Labels count from 1 in the order of the segments and are named as these; where segments overlap the later one wins.

    Raises
    ------
    InputError : the segmentation has no segment or no voxel.
    """
    slicer = slicer_package()
    segmentation = segmentation_node.GetSegmentation() if segmentation_node is not None else None
    if segmentation is None or not segmentation.GetNumberOfSegments():
        raise InputError("the segmentation has no segment: draw the coronary lumen first")
    if not segmentation.CreateRepresentation(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()):
        raise InputError("the segmentation cannot be turned into voxels: draw the coronary lumen first")
    merged = slicer.vtkOrientedImageData()
    segmentation_node.GenerateMergedLabelmapForAllSegments(
        merged, slicer.vtkSegmentation.EXTENT_UNION_OF_EFFECTIVE_SEGMENTS
    )
    scalars = merged.GetPointData().GetScalars()
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        raise InputError("all segments are empty: draw the coronary lumen first")
    labels = vtk_to_numpy(scalars).reshape(merged.GetDimensions()[::-1]).astype(np.uint16)
    matrix = vtk.vtkMatrix4x4()
    merged.GetImageToWorldMatrix(matrix)
    # The image may begin at another index than 0: its first voxel is that of its extent.
    first = np.array([*merged.GetExtent()[0::2], 1.0])
    ijk_to_ras = _array(matrix)
    ijk_to_ras[:, 3] = ijk_to_ras @ first
    names = {
        value: segmentation.GetSegment(each).GetName()
        for value, each in enumerate(segmentation.GetSegmentIDs(), start=1)
    }
    return LabelMap(labels, ijk_to_ras, names)


def _array(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
