"""The demo study in Slicer's Sample Data module; it is computed, not downloaded.

Its button computes it, with a progress dialog, straight into the scene. A script that calls `SampleData.downloadSample`
needs an address and a file instead: the address is one of our own, and a rule for addresses, which Sample Data asks
before it downloads, computes the file into Slicer's cache.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cancelled
from ..i18n import tr as _
from ..study import CTVolume
from ..version import __version__
from .demo import demo_volume

NAME = "StenosisDetectionDemo"
"""Of the study, its node and its thumbnail."""

ADDRESS, FILE_NAME = "stenosisdetection:demo", f"{NAME}-{__version__}.nrrd"


def register_sample_data() -> None:
    """Offer the demo study in the Sample Data module; call it when Slicer has started."""
    import SampleData
    import slicer

    logic = SampleData.SampleDataLogic
    icons = Path(slicer.util.modulePath("StenosisDetection")).parent / "Resources" / "Icons"
    if hasattr(logic, "registerCustomSampleDataCategory"):
        logic.registerCustomSampleDataCategory("StenosisDetection", title=_("Stenosis Detection"))
    logic.registerUrlRewriteRule("StenosisDetection", provide_demo_file)
    logic.registerCustomSampleDataSource(
        category="StenosisDetection",
        sampleName=NAME,
        thumbnailFileName=str(icons / f"{NAME}.png"),
        uris=[ADDRESS],
        fileNames=[FILE_NAME],
        nodeNames=[NAME],
        customDownloader=lambda source: add_demo_volume(),
    )


def provide_demo_file(address: str) -> str:
    """Compute the file of the demo study where its address is asked for and the file is not there; return the address.

    Raises
    ------
    Cancelled : the user cancelled.
    """
    import slicer

    from ..phantom.writing import write_image

    if address != ADDRESS:
        return address
    path = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / FILE_NAME
    if not path.is_file():
        volume = _computed_volume()
        if volume is None:
            raise Cancelled(_("the demo study was cancelled"))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{FILE_NAME}")
        write_image(volume.voxels.astype(np.int16), volume.ijk_to_ras, partial, {})
        partial.replace(path)
    return address


def add_demo_volume() -> Any:
    """Compute the demo study, a synthetic CT angiography with known narrowings, and show it.

    Returns its vtkMRMLScalarVolumeNode, or None when the user cancelled.
    """
    import slicer

    volume = _computed_volume()
    if volume is None:
        return None
    volume_node = slicer.util.addVolumeFromArray(volume.voxels, volume.ijk_to_ras, NAME)
    slicer.util.setSliceViewerLayers(background=volume_node, fit=True)
    return volume_node


def _computed_volume() -> CTVolume | None:
    import qt
    import slicer

    dialog = slicer.util.createProgressDialog(
        labelText=_("Computing a synthetic CT angiography"),
        windowTitle=_("Stenosis Detection"),
        windowModality=qt.Qt.WindowModal,
    )
    try:
        return demo_volume(dialog, slicer.app.processEvents)
    finally:
        dialog.deleteLater()  # or it would stay, hidden, as long as the main window
