"""Nodes in: a volume node or a segmentation node of Slicer becomes plain arrays.

Comes in: MRML nodes, on the main thread. Goes out: copies, in RAS and mm, that no node shares.
"""

from typing import Any

import numpy as np
import vtk

from ..errors import InputError
from ..study import CTVolume, LabelMap


def volume_from_node(volume_node: Any) -> CTVolume:
    """Copy a vtkMRMLScalarVolumeNode, with the linear transforms it is under.

    Raises
    ------
    InputError : there is no volume, it has no voxels, several values per voxel, or a warping transform.
    """
    from slicer.util import arrayFromVolume

    if volume_node is None or volume_node.GetImageData() is None:
        raise InputError("no volume was given, or it has no voxels: load a CT angiography and choose it")
    if volume_node.GetImageData().GetNumberOfScalarComponents() != 1:
        raise InputError("the volume has several values per voxel: choose a CT volume with one")
    return CTVolume(
        voxels=arrayFromVolume(volume_node).astype(np.float32),
        ijk_to_ras=_ijk_to_world(volume_node),
        modality=_modality(volume_node),
        source_format="Slicer",
    )


def label_map_from_segmentation(segmentation_node: Any, volume_node: Any) -> LabelMap:
    """Copy all segments of a vtkMRMLSegmentationNode as labels 1, 2, ... on the voxels of a volume node.

    The names of the segments become the names of the labels; where segments overlap, the later one wins.

    Raises
    ------
    InputError : there is no segmentation, it is empty, or it has no voxel inside the volume.
    """
    from slicer import vtkOrientedImageData, vtkSegmentation, vtkSlicerSegmentationsModuleLogic
    from slicer.util import arrayFromVolume

    if segmentation_node is None:
        raise InputError("no segmentation was given: choose the segmentation of the coronary lumen")
    segmentation = segmentation_node.GetSegmentation()
    identifiers = vtk.vtkStringArray()
    for index in range(segmentation.GetNumberOfSegments()):
        identifiers.InsertNextValue(segmentation.GetNthSegmentID(index))
    if not identifiers.GetNumberOfValues() or not segmentation_node.CreateBinaryLabelmapRepresentation():
        raise InputError("the segmentation is empty: draw the coronary lumen or choose another segmentation")
    merged = vtkOrientedImageData()
    vtkSlicerSegmentationsModuleLogic.GenerateMergedLabelmapInReferenceGeometry(
        segmentation_node, volume_node, identifiers, vtkSegmentation.EXTENT_REFERENCE_GEOMETRY, merged
    )
    labels = _on_grid(merged, arrayFromVolume(volume_node).shape)
    if not labels.any():
        raise InputError("the segmentation has no voxel inside the volume: choose a segmentation of this volume")
    names = {index + 1: segmentation.GetNthSegment(index).GetName() for index in range(identifiers.GetNumberOfValues())}
    return LabelMap(labels, _ijk_to_world(volume_node), names)


def _ijk_to_world(volume_node: Any) -> np.ndarray:
    from slicer.util import arrayFromVTKMatrix

    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    transform_node = volume_node.GetParentTransformNode()
    if transform_node is not None:
        to_world = vtk.vtkMatrix4x4()
        if not transform_node.GetMatrixTransformToWorld(to_world):
            raise InputError("the volume is under a warping transform: harden the transform, then try again")
        vtk.vtkMatrix4x4.Multiply4x4(to_world, matrix, matrix)
    return np.array(arrayFromVTKMatrix(matrix))


def _modality(volume_node: Any) -> str:
    """Return the DICOM modality of a volume; CT where it was not loaded from DICOM and so nobody knows."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume_node.GetScene())
    if hierarchy is None:
        return "CT"
    attribute = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    return hierarchy.GetItemAttribute(hierarchy.GetItemByDataNode(volume_node), attribute) or "CT"


def _on_grid(image: Any, shape_kji: tuple[int, ...]) -> np.ndarray:
    """Return the voxels of an image whose extent counts from the first voxel of a grid, as uint16 of that grid."""
    from vtk.util.numpy_support import vtk_to_numpy

    labels = np.zeros(shape_kji, dtype=np.uint16)
    scalars = image.GetPointData().GetScalars()
    if scalars is None:
        return labels
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    voxels = vtk_to_numpy(scalars).reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
    labels[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = voxels
    return labels
