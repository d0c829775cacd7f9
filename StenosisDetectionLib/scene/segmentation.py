"""The labels of a study as a segmentation node.

In: the `LabelMap` of a study, on a grid of its own, and the volume node it belongs to. Out: a
`vtkMRMLSegmentationNode` with one coded and colored segment per label that has voxels, all in one shared labelmap, and
smoothed surfaces for the 3D view.
"""

import itertools
from typing import Any

import numpy as np
import vtk

from ..geometry import transform_points
from ..study import LabelMap
from .application import slicer_package
from .terminology import label_color, terminology_entry
from .volume import image_data, vtk_matrix

LUMEN_OPACITY_3D, AORTA_OPACITY_3D = 0.6, 0.25

_GRID_SLACK = 1e-3
"""Part of a voxel by which a corner of the volume may miss a grid point and still lie on it."""


def add_segmentation_node(scene: Any, labels: LabelMap, volume_node: Any, name: str) -> Any:
    """Add the segmentation to the scene and return its node; the segment ids are the names of the labels."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    node.GetSegmentation().SetConversionParameter(
        slicer_package().vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
        _geometry(labels, volume_node),
    )
    node.SetSourceRepresentationToBinaryLabelmap()
    image = _oriented_image(labels)
    for value, label in sorted(labels.names.items()):
        if np.any(labels.labels == value):
            _add_segment(node, image, value, label)
    node.CreateDefaultDisplayNodes()
    node.CreateClosedSurfaceRepresentation()
    display = node.GetDisplayNode()
    display.SetPreferredDisplayRepresentationName3D("Closed surface")
    display.SetOpacity2DFill(0.3)
    for label in node.GetSegmentation().GetSegmentIDs():
        # The lumen stays translucent, so that centerlines, lesions and plaque show through it.
        display.SetSegmentOpacity3D(label, AORTA_OPACITY_3D if label == "Aorta" else LUMEN_OPACITY_3D)
    return node


def _add_segment(node: Any, image: Any, value: int, name: str) -> None:
    slicer = slicer_package()
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*label_color(name))
    segment.SetLabelValue(value)
    segment.AddRepresentation(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName(), image)
    if hasattr(segment, "SetTerminology"):
        segment.SetTerminology(terminology_entry(name))
    else:
        segment.SetTag(segment.GetTerminologyEntryTagName(), terminology_entry(name))
    node.GetSegmentation().AddSegment(segment, name)


def _oriented_image(labels: LabelMap) -> Any:
    """Return the labels, cropped to their bounding box, as an image with the directions and the indices of the map."""
    inside = np.nonzero(labels.labels)
    low = [int(axis.min()) if axis.size else 0 for axis in inside]
    high = [int(axis.max()) + 1 if axis.size else 1 for axis in inside]
    box = labels.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    values = box.astype(np.uint8 if labels.labels.max() < 256 else np.uint16)
    image = slicer_package().vtkOrientedImageData()
    image.ShallowCopy(image_data(values))
    extent = [index for a, b in zip(low[::-1], high[::-1], strict=True) for index in (a, b - 1)]
    image.SetExtent(extent)
    image.SetImageToWorldMatrix(vtk_matrix(labels.ijk_to_ras))
    return image


def _geometry(labels: LabelMap, volume_node: Any) -> str:
    """Return the grid of the labels, continued over the whole volume, as MRML writes it.

    On its own grid a segmentation is saved and loaded as it is; on that of the volume every label would be resampled,
    which takes seconds and moves its surface. Continued, so that a reader can draw wherever there is an image.
    """
    slicer = slicer_package()
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    ijk_to_ras = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    size = np.array(volume_node.GetImageData().GetDimensions()) - 1.0
    corners = np.array(list(itertools.product(*((0.0, last) for last in size))))
    ijk = transform_points(np.linalg.inv(labels.ijk_to_ras), transform_points(ijk_to_ras, corners))
    low = np.minimum(np.ceil(ijk.min(axis=0) - _GRID_SLACK), 0).astype(int)
    high = np.maximum(np.floor(ijk.max(axis=0) + _GRID_SLACK), np.array(labels.labels.shape[::-1]) - 1).astype(int)
    image = slicer.vtkOrientedImageData()
    image.SetExtent([int(index) for pair in zip(low, high, strict=True) for index in pair])
    image.SetImageToWorldMatrix(vtk_matrix(labels.ijk_to_ras))
    return str(slicer.vtkSegmentationConverter.SerializeImageGeometry(image))
