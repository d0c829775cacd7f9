"""What Slicer is told about the module when it has started, before anybody opens the panel."""

from ..resources import resource_path
from ..scene.review_views import register_layout
from .sample_data import register_sample_data


def register_in_slicer() -> None:
    """Make the layout, the terminology and the demo study known: a scene that was saved in our layout, or with our
    segments, may be loaded at any time."""
    import slicer

    layout_manager = slicer.app.layoutManager()
    if layout_manager is not None:  # there is none without a main window
        register_layout(layout_manager.layoutLogic().GetLayoutNode())
    load_terminology()
    register_sample_data()


def load_terminology() -> None:
    """Offer the codes of vessels and plaque in Slicer's terminology selector."""
    import slicer

    terminologies = getattr(slicer.modules, "terminologies", None)
    if terminologies is not None:  # a Slicer can be started without it
        terminologies.logic().LoadTerminologyFromFile(str(resource_path("terminology", "StenosisDetection.term.json")))
