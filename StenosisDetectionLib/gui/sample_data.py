"""The demo study in Slicer's Sample Data module; it is computed, not downloaded."""

from pathlib import Path
from typing import Any

from ..i18n import tr as _
from .demo import demo_volume

NAME = "StenosisDetectionDemo"
"""Of the study, its node and its thumbnail."""


def register_sample_data() -> None:
    """Offer the demo study in the Sample Data module; call it when Slicer has started."""
    import SampleData
    import slicer

    icons = Path(slicer.util.modulePath("StenosisDetection")).parent / "Resources" / "Icons"
    if hasattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory"):
        SampleData.SampleDataLogic.registerCustomSampleDataCategory("StenosisDetection", title=_("Stenosis Detection"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="StenosisDetection",
        sampleName=NAME,
        thumbnailFileName=str(icons / f"{NAME}.png"),
        uris=[],
        fileNames=[],
        nodeNames=[],
        customDownloader=lambda source: add_demo_volume(),
    )


def add_demo_volume() -> Any:
    """Compute the demo study, a synthetic CT angiography with known narrowings, and show it.

    Returns its vtkMRMLScalarVolumeNode, or None when the user cancelled.
    """
    import qt
    import slicer

    dialog = slicer.util.createProgressDialog(
        labelText=_("Computing a synthetic CT angiography"),
        windowTitle=_("Stenosis Detection"),
        windowModality=qt.Qt.WindowModal,
    )
    try:
        volume = demo_volume(dialog, slicer.app.processEvents)
    finally:
        dialog.deleteLater()  # or it would stay, hidden, as long as the main window
    if volume is None:
        return None
    volume_node = slicer.util.addVolumeFromArray(volume.voxels, volume.ijk_to_ras, NAME)
    slicer.util.setSliceViewerLayers(background=volume_node, fit=True)
    return volume_node
