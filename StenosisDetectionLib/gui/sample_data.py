"""The demo study in Slicer's Sample Data module; it is computed, not downloaded."""

from typing import Any

from ..i18n import tr as _
from .demo import demo_volume


def register_sample_data() -> None:
    """Offer the demo study in the Sample Data module; call it when Slicer has started."""
    import SampleData

    if hasattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory"):
        SampleData.SampleDataLogic.registerCustomSampleDataCategory("StenosisDetection", title=_("Stenosis Detection"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="StenosisDetection",
        sampleName="StenosisDetectionDemo",
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
    volume_node = slicer.util.addVolumeFromArray(volume.voxels, volume.ijk_to_ras, "StenosisDetectionDemo")
    slicer.util.setSliceViewerLayers(background=volume_node, fit=True)
    return volume_node
