"""The labels of a study as a segmentation node.

In: the `LabelMap` of a study, on a grid of its own, and the volume node it belongs to. Out: a
`vtkMRMLSegmentationNode` with one coded and colored segment per label that has voxels, all in one shared labelmap, and
smoothed surfaces for the 3D view.
"""

from typing import Any

import numpy as np

from ..geometry import shifted
from ..study import LabelMap
from .application import slicer_package
from .terminology import label_color, terminology_entry
from .volume import image_data, vtk_matrix

LUMEN_OPACITY_3D, AORTA_OPACITY_3D = 0.6, 0.25


def add_segmentation_node(scene: Any, labels: LabelMap, volume_node: Any, name: str) -> Any:
    """Add the segmentation to the scene and return its node; the segment ids are the names of the labels."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
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
    """Return the labels, cropped to their bounding box, as an image with directions."""
    inside = np.nonzero(labels.labels)
    low = [int(axis.min()) if axis.size else 0 for axis in inside]
    high = [int(axis.max()) + 1 if axis.size else 1 for axis in inside]
    box = labels.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    values = box.astype(np.uint8 if labels.labels.max() < 256 else np.uint16)
    image = slicer_package().vtkOrientedImageData()
    image.ShallowCopy(image_data(values))
    image.SetImageToWorldMatrix(vtk_matrix(shifted(labels.ijk_to_ras, (low[2], low[1], low[0]))))
    return image
