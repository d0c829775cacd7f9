"""The model and device section of the panel: what computes, where, and what is missing for it.

In: the widgets of the .ui file (modelComboBox, deviceComboBox, environmentLabel and its buttons). Out: the model and
the device of `AnalysisOptions`. The model belongs to the scene, so `on_model` is told what the user chooses; the device
belongs to the machine and is kept in the application settings. Nothing is installed without a press of its button.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..i18n import tr as _
from ..options import AnalysisOptions
from .dependencies import install_packages, install_torch, missing_packages
from .devices import device_choices
from .environment import environment_lines, look
from .texts import model_text
from .vocabulary import sentence

DEVICE_SETTING = "StenosisDetection/Device"


class ChoicesView:
    """Shows the registered models, the devices of this machine and what the machine lacks.

    Parameters
    ----------
    on_model : told the name of the model that the user chooses.
    on_error : told what went wrong while installing.
    on_download : told the name of the model whose weights the user wants.
    requirements : the file of the packages the module needs.
    """

    def __init__(
        self,
        ui: Any,
        on_model: Callable[[str], None],
        on_error: Callable[[Exception], None],
        on_download: Callable[[str], None],
        requirements: Path,
    ) -> None:
        self._ui = ui
        self._on_model = on_model
        self._on_error = on_error
        self._on_download = on_download
        self._requirements = requirements
        self._models: dict[str, Any] = {}
        self.refresh()
        ui.downloadModelButton.connect("clicked(bool)", lambda _checked: self._on_download(self.model))
        ui.openModelsButton.connect("clicked(bool)", _open_model_folder)
        ui.modelComboBox.connect("currentIndexChanged(int)", self._on_model_changed)
        ui.deviceComboBox.connect("currentIndexChanged(int)", self._on_device_changed)
        ui.checkButton.connect("clicked(bool)", self._on_check)
        ui.installTorchButton.connect("clicked(bool)", self._on_install_torch)
        ui.installPackagesButton.connect("clicked(bool)", self._on_install_packages)

    @property
    def device(self) -> str:
        """The device that the user chose."""
        return str(self._ui.deviceComboBox.currentData)

    @property
    def model(self) -> str:
        """The model that the user chose."""
        return str(self._ui.modelComboBox.currentData)

    def refresh(self) -> None:
        """Look again at what this computer has; loads nothing."""
        self._fill_models()
        self._fill_devices()
        self._show_environment(load=False)
        self._describe_model()

    def show_model(self, name: str) -> None:
        """Choose a model, if there is one of that name."""
        index = self._ui.modelComboBox.findData(name)
        if index >= 0:
            self._ui.modelComboBox.currentIndex = index

    def _fill_models(self) -> None:
        """List the models, which change when some are registered or downloaded meanwhile; the choice stays."""
        import qt

        self._models = self._known_models()
        combo = self._ui.modelComboBox
        listed = [combo.itemData(index) for index in range(combo.count)]
        if listed == list(self._models):
            return
        chosen = combo.currentData
        combo.blockSignals(True)
        combo.clear()
        for index, model in enumerate(self._models.values()):
            combo.addItem(model.name, model.name)
            combo.setItemData(index, sentence(model.description), qt.Qt.ToolTipRole)
        combo.currentIndex = max(combo.findData(chosen), 0)
        combo.blockSignals(False)

    def _fill_devices(self) -> None:
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

    def _show_environment(self, load: bool) -> None:
        environment = look(missing_packages(self._requirements), load)
        self._ui.environmentLabel.text = "\n".join(environment_lines(environment))
        self._ui.installTorchButton.visible = environment.torch_version is None
        self._ui.installPackagesButton.visible = bool(environment.missing_packages)
        if not environment.ready:
            self._ui.modelCollapsibleButton.collapsed = False

    def _known_models(self) -> dict[str, Any]:
        """Return the registered models by name; without those of the user where their registry is damaged."""
        from ..segmentation.models import list_models, shipped_models

        try:
            return {model.name: model for model in list_models()}
        except ModelError as error:
            self._on_error(error)
            return {model.name: model for model in shipped_models()}

    def _describe_model(self) -> None:
        from ..models.registry import find_entry

        model = self._models.get(self.model)
        self._ui.modelDescriptionLabel.text = model_text(model) if model is not None else ""
        missing = model is not None and not model.installed
        self._ui.downloadModelButton.visible = missing and find_entry(self.model) is not None

    def _on_model_changed(self, index: int) -> None:
        self._describe_model()
        self._on_model(self._ui.modelComboBox.itemData(index))

    def _on_device_changed(self, index: int) -> None:
        import qt

        qt.QSettings().setValue(DEVICE_SETTING, self._ui.deviceComboBox.itemData(index))

    def _on_check(self, _checked: bool = False) -> None:
        import slicer

        with slicer.util.WaitCursor():
            self._show_environment(load=True)
            self._fill_models()
            self._fill_devices()
            self._describe_model()

    def _on_install_torch(self, _checked: bool = False) -> None:
        import slicer

        # The PyTorch extension shows no progress of its own, and Slicer cannot be used meanwhile.
        self._ui.environmentLabel.text = _(
            "Installing PyTorch: a download of up to some gigabytes, which takes minutes; Slicer waits for it."
        )
        slicer.app.processEvents()
        self._install(install_torch)

    def _on_install_packages(self, _checked: bool = False) -> None:
        self._install(lambda: install_packages(self._requirements))

    def _install(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._on_error(error)
        self.refresh()


def _open_model_folder(_checked: bool = False) -> None:
    """Open the folder of downloaded models in the file manager of the system."""
    import qt

    from ..models.cache import cache_folder

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder)))
