"""Take the views of Slicer to a position."""

import numpy as np


def jump_to(position_ras: tuple[float, float, float]) -> None:
    """Center all slice and 3-D views on a position in mm; the 3-D cameras keep their direction and distance."""
    import slicer

    slicer.modules.markups.logic().JumpSlicesToLocation(*position_ras, True)
    for index in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLCameraNode")):
        camera = slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLCameraNode")
        to_camera = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
        camera.SetFocalPoint(*position_ras)
        camera.SetPosition(*(np.asarray(position_ras) + to_camera))
        camera.ResetClippingRange()
