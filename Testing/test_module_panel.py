"""The panel under a stand-in for PythonQt that offers only the names a real Slicer 5.12.3 was seen to offer: from Apply
to the result, and everything that can come between."""

import dataclasses
import json
import re
import threading

import pytest
from panel_fixtures import add_volume, finish, needs_stand_in, picture, process_events_until, start, table_column

from StenosisDetectionLib.errors import InputError

pytestmark = needs_stand_in


def test_apply_waits_for_a_volume(widget):
    assert not widget.ui.applyButton.enabled
    assert "Choose the volume" in widget.ui.applyButton.toolTip
    volume_node = add_volume()
    widget.ui.inputVolumeSelector.setCurrentNode(volume_node)
    assert widget._parameterNode.inputVolume is volume_node
    assert widget.ui.applyButton.enabled
    assert not widget.ui.cancelButton.enabled


def test_a_loaded_volume_is_chosen_on_entering(widget):
    volume_node = add_volume()
    widget.exit()
    widget.enter()
    assert widget._parameterNode.inputVolume is volume_node
    assert widget.ui.inputVolumeSelector.currentNode() is volume_node


def test_a_label_map_is_not_chosen_as_volume(widget):
    import slicer

    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    volume_node = add_volume()
    widget.exit()
    widget.enter()
    assert widget._parameterNode.inputVolume is volume_node


def test_apply_analyzes_in_the_background_and_shows_the_result(widget, pipeline, tmp_path):
    import slicer

    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    start(widget, pipeline)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    assert not widget.ui.applyButton.enabled
    assert widget.ui.cancelButton.enabled
    assert not widget.ui.inputVolumeSelector.enabled
    assert widget.ui.progressFrame.visible
    assert widget.ui.stageLabel.text == "segmentation: filtering"
    assert re.fullmatch(r"\d+:\d\d", widget.ui.elapsedLabel.text)
    picture(widget, "running")
    finish(widget, pipeline)
    assert slicer.mrmlScene.GetNumberOfNodes() > nodes
    assert not widget.ui.progressFrame.visible
    assert widget.ui.applyButton.enabled
    assert widget.ui.statusLabel.text.startswith("Done")
    assert "software-suggested, unreviewed" in widget.ui.cadRadsLabel.text
    assert widget.ui.warningsLabel.visible
    assert widget.ui.lesionTable.rowCount == 2
    assert table_column(widget.ui.lesionTable, 0) == ["pLAD (6)", "pRCA (1)"]  # the worst first
    assert widget.ui.detailsText.plainText.splitlines()[-1].endswith("lumen")
    picture(widget, "done")


def test_the_options_come_from_the_panel(widget, pipeline):
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    widget.ui.deviceComboBox.setCurrentIndex(widget.ui.deviceComboBox.findData("cpu"))
    start(widget, pipeline)
    finish(widget, pipeline)
    (_, label_map, options) = pipeline.calls[0]
    assert label_map is None
    assert options.device == "cpu"
    assert options.model == widget.ui.modelComboBox.currentData
    # The device is remembered by the application, the model by the scene.
    widget.panel.choices.refresh()
    assert widget.ui.deviceComboBox.currentData == "cpu"
    assert widget._parameterNode.parameterNode.GetParameter("device") == ""


def test_cancel_leaves_the_scene_as_it_was(widget, pipeline):
    import slicer

    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    start(widget, pipeline)
    widget.ui.cancelButton.click()
    assert not widget.ui.cancelButton.enabled
    assert widget.panel.run.running  # until the work has stopped
    finish(widget, pipeline)
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert widget.ui.statusLabel.text.startswith("Cancelled")
    assert widget.ui.applyButton.enabled
    assert widget.ui.lesionTable.rowCount == 0


@pytest.mark.parametrize("leave", ["exit", "cleanup", "close scene", "quit"])
def test_leaving_stops_the_work_first(widget, pipeline, leave):
    import slicer

    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    start(widget, pipeline)
    thread = widget.panel.run._worker._thread
    threading.Timer(0.05, pipeline.go_on.set).start()
    if leave == "close scene":
        slicer.mrmlScene.Clear(0)
        assert widget._parameterNode is not None  # the widget is shown, so it has a new one
        assert widget._parameterNode.inputVolume is None
    elif leave == "quit":
        slicer.app.emit("aboutToQuit()")
    else:
        getattr(widget, leave)()
        if leave == "cleanup":
            assert slicer.app.connections == []
            widget.cleanup = lambda: None
    assert not thread.is_alive()
    assert not widget.panel.run.running
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsCurveNode") == 0


def test_a_removed_volume_drops_the_result(widget, pipeline):
    import slicer

    volume_node = add_volume()
    widget.ui.inputVolumeSelector.setCurrentNode(volume_node)
    start(widget, pipeline)
    slicer.mrmlScene.RemoveNode(volume_node)
    finish(widget, pipeline)
    assert "removed" in widget.ui.statusLabel.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsCurveNode") == 0
    assert not widget.ui.applyButton.enabled


def test_an_expected_error_is_one_line(widget, pipeline, caplog):
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    pipeline.error = InputError("the volume has no contrast: choose a CT angiography")
    start(widget, pipeline)
    finish(widget, pipeline)
    assert widget.ui.statusLabel.text == "the volume has no contrast: choose a CT angiography"
    assert "Traceback" not in widget.ui.detailsText.plainText
    assert not caplog.records
    assert widget.ui.applyButton.enabled


def test_an_unexpected_error_is_one_line_and_a_log(widget, pipeline, caplog):
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    pipeline.error = ZeroDivisionError("division by zero")
    start(widget, pipeline)
    finish(widget, pipeline)
    assert widget.ui.statusLabel.text == (
        "Unexpected error (ZeroDivisionError: division by zero): "
        "try again; if it returns, report it with the text under Details"
    )
    assert "Traceback" in widget.ui.detailsText.plainText
    assert caplog.records[0].exc_info[1] is pipeline.error
    widget.ui.detailsButton.click()
    assert widget.ui.detailsText.visible
    picture(widget, "error")


def test_an_empty_volume_is_refused_before_anything_starts(widget, pipeline):
    import slicer

    widget.ui.inputVolumeSelector.setCurrentNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty"))
    widget.ui.applyButton.click()
    assert not widget.panel.run.running
    assert "empty" in widget.ui.statusLabel.text
    assert pipeline.calls == []


def test_the_chosen_segmentation_is_measured(widget, pipeline):
    import slicer

    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    widget.ui.inputSegmentationSelector.setCurrentNode(
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Nothing drawn")
    )
    widget.ui.applyButton.click()
    assert "segment" in widget.ui.statusLabel.text
    assert pipeline.calls == []


def test_a_missing_model_is_fetched_on_request(widget, pipeline, monkeypatch):
    import StenosisDetectionLib.models.download as download
    import StenosisDetectionLib.models.registry as registry
    import StenosisDetectionLib.segmentation.models as models

    known = {"here": False}

    def list_models():
        first = dataclasses.replace(models.shipped_models()[0], name="distant", installed=known["here"], license="MIT")
        return (*models.shipped_models(), first)

    def download_model(entry, report):
        report(0.5, "half")
        known["here"] = True

    monkeypatch.setattr(models, "list_models", list_models)
    monkeypatch.setattr(registry, "find_entry", lambda name: name if name == "distant" else None)
    monkeypatch.setattr(download, "download_model", download_model)
    ui = widget.ui
    assert not ui.downloadModelButton.visible
    widget.enter()
    ui.modelComboBox.currentIndex = ui.modelComboBox.findData("distant")
    assert "not on this computer" in ui.modelDescriptionLabel.text
    assert "MIT" in ui.modelDescriptionLabel.text
    ui.modelCollapsibleButton.collapsed = False
    assert ui.downloadModelButton.visible
    ui.downloadModelButton.click()
    process_events_until(lambda: not widget.panel.run.running)
    assert "now" in ui.statusLabel.text
    assert not ui.downloadModelButton.visible


def test_a_model_that_is_registered_while_slicer_runs_can_be_chosen(widget, monkeypatch, tmp_path):
    registry = tmp_path / "models.json"
    monkeypatch.setenv("STENOSIS_DETECTION_REGISTRY", str(registry))
    combo = widget.ui.modelComboBox
    combo.currentIndex = combo.findData("vesselness")
    content = json.dumps(
        {"models": [{"name": "mine", "kind": "network", "files": {"fine": {"file": "net.safetensors"}}}]}
    )
    registry.write_text(content, encoding="utf-8")
    widget.enter()  # the user comes back to the panel
    assert combo.findData("mine") >= 0
    assert combo.currentData == widget.panel.parameters.model == "vesselness"
    combo.currentIndex = combo.findData("mine")
    assert widget.panel.options().model == widget.panel.parameters.model == "mine"
    registry.unlink()
    widget.exit()
    widget.enter()
    assert combo.findData("mine") < 0
    assert combo.currentIndex == 0
    registry.write_text(content, encoding="utf-8")
    widget.enter()
    assert combo.currentData == "mine"  # the choice that the scene has holds again


def test_a_damaged_registry_of_the_user_is_told_and_passed_over(widget, monkeypatch):
    import StenosisDetectionLib.segmentation.models as models
    from StenosisDetectionLib.errors import ModelError

    def list_models():
        raise ModelError("models.json: line 3 cannot be understood: correct it")

    monkeypatch.setattr(models, "list_models", list_models)
    widget.panel.choices.refresh()
    assert "models.json" in widget.ui.statusLabel.text
    assert widget.ui.modelDescriptionLabel.text
