"""The model and device section of the panel: what computes, and where.

In: the widgets of the .ui file (modelComboBox, deviceComboBox). Out: `AnalysisOptions`. The model belongs to the scene,
so `on_model` is told what the user chooses; the device belongs to the machine and is kept in the application settings.
"""

from collections.abc import Callable
from typing import Any

from ..options import AnalysisOptions
from .devices import device_choices

DEVICE_SETTING = "StenosisDetection/Device"


class ChoicesView:
    """Shows the registered models and the devices of this machine."""

    def __init__(self, ui: Any, on_model: Callable[[str], None]) -> None:
        import qt

        from ..segmentation.models import list_models

        self._ui = ui
        self._on_model = on_model
        for index, model in enumerate(list_models()):
            ui.modelComboBox.addItem(model.name, model.name)
            ui.modelComboBox.setItemData(index, model.description, qt.Qt.ToolTipRole)
        self.fill_devices()
        ui.modelComboBox.connect("currentIndexChanged(int)", self._on_model_changed)
        ui.deviceComboBox.connect("currentIndexChanged(int)", self._on_device_changed)

    @property
    def options(self) -> AnalysisOptions:
        """What the user chose."""
        return AnalysisOptions(model=self._ui.modelComboBox.currentData, device=self._ui.deviceComboBox.currentData)

    def fill_devices(self) -> None:
        """List the devices, which change when PyTorch is installed or loaded, and choose that of the settings."""
        import slicer

        combo = self._ui.deviceComboBox
        combo.blockSignals(True)
        combo.clear()
        for device in device_choices():
            combo.addItem(device, device)
        chosen = slicer.util.settingsValue(DEVICE_SETTING, AnalysisOptions.device)
        combo.currentIndex = max(combo.findData(chosen), 0)
        combo.blockSignals(False)

    def show_model(self, name: str) -> None:
        """Choose a model, if there is one of that name."""
        index = self._ui.modelComboBox.findData(name)
        if index >= 0:
            self._ui.modelComboBox.currentIndex = index

    def _on_model_changed(self, index: int) -> None:
        self._on_model(self._ui.modelComboBox.itemData(index))

    def _on_device_changed(self, index: int) -> None:
        import qt

        qt.QSettings().setValue(DEVICE_SETTING, self._ui.deviceComboBox.itemData(index))
