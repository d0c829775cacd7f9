"""The panel in the stand-in for Slicer, for the tests that drive it."""

import dataclasses
import importlib.util
import os
import threading
import time
from pathlib import Path

import pytest
from studies import small_study

from StenosisDetectionLib.progress import Progress

REPOSITORY = Path(__file__).resolve().parents[1]
MODULE = REPOSITORY / "StenosisDetection" / "StenosisDetection.py"
UI = REPOSITORY / "StenosisDetection" / "Resources" / "UI" / "StenosisDetection.ui"
NAMES = Path(os.environ.get("STENOSIS_TEST_DATA", REPOSITORY.parent / "shared" / "data")).parent / "qtapi.json"

needs_stand_in = [
    pytest.mark.skipif(not NAMES.is_file(), reason="the table of Slicer's names is absent: set STENOSIS_TEST_DATA"),
    pytest.mark.skipif(importlib.util.find_spec("PySide6") is None, reason="PySide6-Essentials is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]
"""Marks of a test file that drives the panel."""


class Pipeline:
    """An analysis that waits at half time until it is told to go on."""

    def __init__(self):
        self.half, self.go_on = threading.Event(), threading.Event()
        self.error = None
        self.study = small_study()
        self.calls = []

    def analyze(self, _logic, volume, label_map=None, options=None, progress=None):
        self.calls.append((volume, label_map, options))
        progress(Progress("segmentation", 0.5, "filtering"))
        self.half.set()
        self.go_on.wait(20)
        progress(Progress("lumen", 0.75))
        if self.error is not None:
            raise self.error
        return dataclasses.replace(self.study, volume=volume)


@pytest.fixture(scope="module")
def table():
    """The names that a real Slicer offers."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from slicer_stand_in.pythonqt import Table

    return Table(NAMES)


@pytest.fixture
def panel_module(table, tmp_path):
    """The module, imported into the stand-in."""
    from slicer_stand_in.install import installed

    with installed(MODULE, table, tmp_path) as module:
        yield module


@pytest.fixture
def pipeline(panel_module, monkeypatch):
    """What the panel runs instead of the engine."""
    pipeline = Pipeline()
    monkeypatch.setattr(
        panel_module.StenosisDetectionLogic, "analyze", lambda self, *arguments: pipeline.analyze(self, *arguments)
    )
    return pipeline


@pytest.fixture
def widget(panel_module, pipeline, table):
    """The panel as Slicer shows it."""
    from slicer_stand_in.pythonqt import ERRORS, UNKNOWN_SIGNALS, Wrapped
    from slicer_stand_in.widgets import make_parent

    ERRORS.clear()
    UNKNOWN_SIGNALS.clear()
    target = make_parent()
    widget = panel_module.StenosisDetectionWidget(Wrapped(table, target))
    widget.setup()
    target.resize(520, 1100)
    target.show()
    yield widget
    pipeline.go_on.set()
    widget.cleanup()
    target.deleteLater()
    assert ERRORS == []
    assert UNKNOWN_SIGNALS == []


@pytest.fixture
def reviewed(widget, pipeline):
    """The panel with the result of the small study."""
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    start(widget, pipeline)
    finish(widget, pipeline)
    return widget


@pytest.fixture
def layout(widget, table):
    """The views of Slicer."""
    import slicer
    from slicer_stand_in.layout import LayoutManager

    slicer.app.layout = LayoutManager(table, slicer.mrmlScene)
    return slicer.app.layout


@pytest.fixture
def looking(widget, pipeline, layout):
    """The panel with a result, looking along the LAD in our layout."""
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    start(widget, pipeline)
    finish(widget, pipeline)
    widget.ui.showLayoutButton.click()
    widget.ui.vesselComboBox.currentIndex = widget.ui.vesselComboBox.findText("LAD")
    return widget


def add_volume(name="CTA", seed=1):
    import slicer

    volume = small_study(seed=seed).volume
    return slicer.util.addVolumeFromArray(volume.voxels, volume.ijk_to_ras, name)


def process_events_until(condition):
    from PySide6.QtWidgets import QApplication

    for _ in range(2000):
        QApplication.processEvents()
        if condition():
            return
        time.sleep(0.002)
    raise AssertionError("it did not happen")


def start(widget, pipeline):
    """Press Apply and wait until half of the analysis is shown."""
    widget.ui.applyButton.click()
    assert pipeline.half.wait(20), widget.ui.statusLabel.text
    process_events_until(lambda: widget.ui.progressBar.value == 50)


def finish(widget, pipeline):
    """Let the analysis go on and wait until its end is shown."""
    pipeline.go_on.set()
    process_events_until(lambda: not widget.panel.run.running)


def table_column(table, column):
    return [table.item(row, column).text() for row in range(table.rowCount)]


def picture(widget, name):
    """Save a picture of the whole panel where STENOSIS_PICTURES says; for people to look at."""
    from PySide6.QtWidgets import QApplication

    folder = os.environ.get("STENOSIS_PICTURES")
    if folder:
        target = widget.parent._target
        for _ in range(3):
            QApplication.processEvents()
            target.resize(520, max(target.layout().sizeHint().height(), 700))
        target.grab().save(str(Path(folder) / f"panel-{name}.png"))
