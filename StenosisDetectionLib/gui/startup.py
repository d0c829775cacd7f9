"""What Slicer is told about the module when it has started, before anybody opens the panel."""

from ..scene.review_views import register_layout
from .sample_data import register_sample_data


def register_in_slicer() -> None:
    """Make the layout and the demo study known: a scene that was saved in our layout may be loaded at any time."""
    import slicer

    layout_manager = slicer.app.layoutManager()
    if layout_manager is not None:  # there is none without a main window
        register_layout(layout_manager.layoutLogic().GetLayoutNode())
    register_sample_data()
