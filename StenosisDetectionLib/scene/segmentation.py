"""The labels of a study as a segmentation node.

In: the `LabelMap` of a study, on a grid of its own, and the volume it belongs to. Out: a `vtkSegmentation` with one
coded and colored segment per label that has voxels, all in one shared labelmap, with smoothed surfaces for the 3D view;
and of it a `vtkMRMLSegmentationNode`. The surfaces take most of the time and need no scene, so a thread can make them.
"""

import itertools
from typing import Any

import numpy as np

from ..errors import StenosisDetectionError
from ..geometry import transform_points
from ..study import CTVolume, LabelMap
from .application import register_conversions, slicer_package
from .terminology import label_color, terminology_entry
from .volume import image_data, vtk_matrix

LUMEN_OPACITY_3D, AORTA_OPACITY_3D = 0.6, 0.25

_GRID_SLACK = 1e-3
"""Part of a voxel by which a corner of the volume may miss a grid point and still lie on it."""


def make_segmentation(labels: LabelMap, volume: CTVolume) -> Any:
    """Return the labels as a `vtkSegmentation`; touches no scene. The segment ids are the names of the labels.

    Raises
    ------
    StenosisDetectionError : slicer-core is not installed, or the surfaces cannot be made.
    """
    register_conversions()
    converter = slicer_package().vtkSegmentationConverter
    segmentation = slicer_package().vtkSegmentation()
    segmentation.SetSourceRepresentationName(converter.GetBinaryLabelmapRepresentationName())
    segmentation.SetConversionParameter(converter.GetReferenceImageGeometryParameterName(), _geometry(labels, volume))
    image = _oriented_image(labels)
    for value, label in sorted(labels.names.items()):
        if np.any(labels.labels == value):
            _add_segment(segmentation, image, value, label)
    if segmentation.GetNumberOfSegments() and not segmentation.CreateRepresentation(
        converter.GetClosedSurfaceRepresentationName()
    ):
        raise StenosisDetectionError("the surfaces of the vessels could not be made: look into the log")
    return segmentation


def add_segmentation_node(scene: Any, segmentation: Any, volume_node: Any, name: str) -> Any:
    """Add what `make_segmentation` made to the scene and return its node."""
    geometry = slicer_package().vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    grid = segmentation.GetConversionParameter(geometry)
    node = scene.CreateNodeByClass("vtkMRMLSegmentationNode")
    node.UnRegister(None)
    node.SetName(scene.GenerateUniqueName(name))
    # Before the scene has the node: Slicer lists the segments that a node has when it is added.
    node.SetAndObserveSegmentation(segmentation)
    node = scene.AddNode(node)
    # This sets the grid of the volume, too, instead of our own.
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    segmentation.SetConversionParameter(geometry, grid)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetPreferredDisplayRepresentationName3D("Closed surface")
    display.SetOpacity2DFill(0.3)
    for label in node.GetSegmentation().GetSegmentIDs():
        # The lumen stays translucent, so that centerlines, lesions and plaque show through it.
        display.SetSegmentOpacity3D(label, AORTA_OPACITY_3D if label == "Aorta" else LUMEN_OPACITY_3D)
    return node


def _add_segment(segmentation: Any, image: Any, value: int, name: str) -> None:
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
    segmentation.AddSegment(segment, name)


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


def _geometry(labels: LabelMap, volume: CTVolume) -> str:
    """Return the grid of the labels, continued over the whole volume, as MRML writes it.

    On its own grid a segmentation is saved and loaded as it is; on that of the volume every label would be resampled,
    which takes seconds and moves its surface. Continued, so that a reader can draw wherever there is an image.
    """
    slicer = slicer_package()
    corners = np.array(list(itertools.product(*((0.0, last - 1.0) for last in volume.size_ijk))))
    ijk = transform_points(np.linalg.inv(labels.ijk_to_ras), transform_points(volume.ijk_to_ras, corners))
    low = np.minimum(np.ceil(ijk.min(axis=0) - _GRID_SLACK), 0).astype(int)
    high = np.maximum(np.floor(ijk.max(axis=0) + _GRID_SLACK), np.array(labels.labels.shape[::-1]) - 1).astype(int)
    image = slicer.vtkOrientedImageData()
    image.SetExtent([int(index) for pair in zip(low, high, strict=True) for index in pair])
    image.SetImageToWorldMatrix(vtk_matrix(labels.ijk_to_ras))
    return str(slicer.vtkSegmentationConverter.SerializeImageGeometry(image))
