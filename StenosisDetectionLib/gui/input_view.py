"""The input section of the panel: which of the loaded volumes is suggested.

In: the widgets of the .ui file (suggestionFrame, suggestionLabel, useSuggestionButton) and the volumes of the scene.
Out: `on_use` is told the volume node that the user takes.
"""

from collections.abc import Callable
from typing import Any

from .suggestion import Suggestion, VolumeFacts, suggest_volume

_REGION_SHARE = 0.7
"""Part of the volume's sides that a new region takes."""


class InputView:
    """Suggests one of the loaded volumes."""

    def __init__(self, ui: Any, on_use: Callable[[Any], None]) -> None:
        self._ui = ui
        self._on_use = on_use
        self._suggestion: Suggestion | None = None
        ui.useSuggestionButton.connect("clicked(bool)", self._use)
        ui.suggestionFrame.visible = False

    def suggested_node(self) -> Any:
        """Return the volume node that looks most like a coronary CT angiography, None when none does."""
        import slicer

        self._suggestion = suggest_volume(tuple(_facts(node) for node in volume_nodes()))
        return slicer.mrmlScene.GetNodeByID(self._suggestion.node_id) if self._suggestion is not None else None

    def refresh(self, chosen_node: Any) -> None:
        """Show the suggestion where it is another volume than the chosen one."""
        node = self.suggested_node()
        self._ui.suggestionFrame.visible = node is not None and node is not chosen_node
        if self._suggestion is not None:
            self._ui.suggestionLabel.text = self._suggestion.line

    def _use(self, _checked: bool = False) -> None:
        node = self.suggested_node()
        if node is not None:
            self._on_use(node)


def volume_nodes() -> list[Any]:
    """Return the volumes of the scene that the selector offers: no label maps, no color images, none of our own."""
    import slicer

    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [
        node for node in nodes if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()
    ]


def start_region(roi_node: Any, volume_node: Any) -> None:
    """Give a region that was not drawn yet the middle of the volume, for the user to drag into place."""
    if roi_node.GetNumberOfControlPoints() > 0:
        return
    bounds = [0.0] * 6
    volume_node.GetRASBounds(bounds)
    low, high = bounds[0::2], bounds[1::2]
    roi_node.SetXYZ(*((a + b) / 2.0 for a, b in zip(low, high, strict=True)))
    roi_node.SetRadiusXYZ(*(_REGION_SHARE * (b - a) / 2.0 for a, b in zip(low, high, strict=True)))


def _facts(node: Any) -> VolumeFacts:
    from ..scene.reading import modality_of_node

    image = node.GetImageData()
    size = image.GetDimensions() if image is not None else (0, 0, 0)
    return VolumeFacts(node.GetID(), node.GetName(), modality_of_node(node), size, node.GetSpacing())
