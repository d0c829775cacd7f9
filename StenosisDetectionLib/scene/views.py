"""The first look at a saved scene: the CT in the slice views, centered on the worst lesion."""

from typing import Any

import numpy as np

from ..geometry import transform_points
from ..study import StudyResult
from .application import slicer_package
from .nodes import ResultNodes

_SLICE_VIEWS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
_FIELD_OF_VIEW_MM = 150.0


def show_in_views(scene: Any, study: StudyResult, nodes: ResultNodes) -> None:
    """Show the CT in Slicer's three standard slice views, at the worst lesion or else the middle of the volume."""
    slicer = slicer_package()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    worst = max(study.lesions, key=lambda lesion: lesion.diameter_stenosis_percent, default=None)
    middle = transform_points(study.volume.ijk_to_ras, (np.array(study.volume.size_ijk) - 1) / 2.0)
    center = worst.position_ras if worst else middle
    for name, orientation in _SLICE_VIEWS.items():
        # The singleton tag lets Slicer take these settings over into its own views of the same name.
        view = scene.CreateNodeByClass("vtkMRMLSliceNode")
        view.UnRegister(None)
        view.SetSingletonTag(name)
        view.SetName(name)
        view.SetLayoutName(name)
        view = scene.AddNode(view)
        view.SetOrientation(orientation)
        view.SetFieldOfView(_FIELD_OF_VIEW_MM, _FIELD_OF_VIEW_MM, study.volume.spacing_mm[2])
        view.JumpSliceByCentering(*center)
        layers = slicer.vtkMRMLSliceCompositeNode()
        layers.SetSingletonTag(name)
        layers.SetName(f"{name} layers")
        layers.SetLayoutName(name)
        layers.SetBackgroundVolumeID(nodes.volume.GetID())
        scene.AddNode(layers)
