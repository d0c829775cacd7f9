"""Take the views of Slicer to a position."""

from typing import Any

import numpy as np

from ..scene.review_views import OWN_SLICE_VIEWS


def jump_to(position_ras: tuple[float, float, float]) -> None:
    """Center all slice and 3-D views on a position in mm; the 3-D cameras keep their direction and distance.

    The views in which a vessel is looked along are left alone: they are not in the coordinates of the patient, or they
    are placed exactly by the section that owns them.
    """
    import slicer

    for index in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        view = slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
        if view.GetLayoutName() not in OWN_SLICE_VIEWS:
            view.JumpSliceByCentering(*position_ras)
    for index in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLCameraNode")):
        camera = slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLCameraNode")
        to_camera = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
        camera.SetFocalPoint(*position_ras)
        camera.SetPosition(*(np.asarray(position_ras) + to_camera))
        camera.ResetClippingRange()


def open_in_segment_editor(segmentation_node: Any, volume_node: Any) -> None:
    """Switch to Slicer's Segment Editor with a segmentation and the volume below it."""
    import slicer

    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    editor.setSegmentationNode(segmentation_node)
    editor.setSourceVolumeNode(volume_node)
