"""The panel through the life of scene and module: the whole review after save and load, and the reload button."""

import importlib.util
import subprocess
import sys
import types

import pytest
from panel_fixtures import MODULE, add_volume, finish, needs_stand_in, process_events_until, start, table_column
from scenes import read_into

pytestmark = needs_stand_in


def _review(widget):
    """Do one of everything a reader does, and sign."""
    ui = widget.ui
    ui.readerEdit.text = "A. Reader"
    ui.readerEdit._target.editingFinished.emit()
    widget.panel._choose_lesion("L1")
    ui.throatSpinBox.value = widget.panel.session.lesion("L1").throat_mm - 0.5
    ui.commentEdit.text = "steps in the image"
    ui.commentEdit._target.editingFinished.emit()
    widget.panel._choose_lesion("L2")
    ui.rejectButton.click()
    ui.vesselComboBox.currentIndex = ui.vesselComboBox.findText("RCA")
    ui.positionSlider.value = 8.0
    ui.addLesionButton.click()
    ui.undoButton.click()
    ui.signButton.click()


def test_every_step_says_who_when_and_what(reviewed):
    _review(reviewed)
    events = reviewed.panel.session.review.events
    assert [event.action for event in events] == [
        "measured again", "commented on", "rejected", "added", "took back", "signed",
    ]  # fmt: skip
    assert {event.by for event in events} == {"A. Reader"}
    assert all(event.at.endswith("Z") and len(event.at) == len("2026-01-01T00:00:00Z") for event in events)
    assert "→" in events[0].line
    shown = reviewed.ui.historyText.plainText.splitlines()
    assert len(shown) == len(events)
    assert all("A. Reader" in line for line in shown)


def test_save_and_load_restores_the_whole_review(reviewed, tmp_path):
    import slicer

    _review(reviewed)
    ui, session = reviewed.ui, reviewed.panel.session
    table = [table_column(ui.lesionTable, column) for column in range(11)]
    before = session.review, session.study.lesions, ui.cadRadsLabel.text, ui.reviewLabel.text, ui.historyText.plainText
    assert "A. Reader" in ui.cadRadsLabel.text
    path = tmp_path / "review.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    slicer.mrmlScene.Clear(0)
    assert ui.lesionTable.rowCount == 0
    read_into(slicer.mrmlScene, path, tmp_path)
    session = reviewed.panel.session
    assert [table_column(ui.lesionTable, column) for column in range(11)] == table
    assert (
        session.review, session.study.lesions, ui.cadRadsLabel.text, ui.reviewLabel.text, ui.historyText.plainText,
    ) == before  # fmt: skip
    reviewed.panel._choose_lesion("L2")
    ui.acceptButton.click()  # and the review goes on
    assert "unreviewed" in ui.cadRadsLabel.text


def test_closing_the_scene_while_views_are_made_is_safe(widget, pipeline, monkeypatch):
    import gc
    import threading
    import weakref

    import slicer

    from StenosisDetectionLib.gui import reformation_view

    begun, go_on = threading.Event(), threading.Event()
    make = reformation_view.cross_sections

    def slow(*arguments, **options):
        begun.set()
        go_on.wait(20)
        return make(*arguments, **options)

    monkeypatch.setattr(reformation_view, "cross_sections", slow)
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    start(widget, pipeline)
    threading.Timer(0.2, go_on.set).start()  # the test's own thread stands for the machine
    finish(widget, pipeline)
    assert begun.is_set()
    voxels = weakref.ref(widget.panel.session.found.volume.voxels)
    pipeline.calls.clear()
    slicer.mrmlScene.Clear(0)
    assert not widget.panel.vessels._reformation.preparing
    gc.collect()
    assert voxels() is None


@pytest.fixture
def forgotten_library():
    """Let the module be reloaded; afterwards the other tests have their library again."""

    def forget():
        names = [name for name in sys.modules if name.partition(".")[0] == "StenosisDetectionLib"]
        return {name: sys.modules.pop(name) for name in names}

    before = dict(forget())
    sys.modules.update(before)
    yield
    forget()
    sys.modules.update(before)


def test_the_reload_button_gives_a_new_panel_with_the_same_result(reviewed, forgotten_library, monkeypatch, table):
    import slicer
    from slicer_stand_in.pythonqt import Wrapped
    from slicer_stand_in.widgets import make_parent

    old = sys.modules["StenosisDetectionLib.gui.panel"]
    reviewed.panel._choose_lesion("L2")
    reviewed.ui.rejectButton.click()
    made = []

    def reload_module(name):
        """What Slicer does: clean up the old widget, execute the file again, make a new widget."""
        reviewed.cleanup()
        specification = importlib.util.spec_from_file_location(name, MODULE)
        module = importlib.util.module_from_spec(specification)
        monkeypatch.setitem(sys.modules, name, module)
        specification.loader.exec_module(module)
        made.append(module.StenosisDetectionWidget(Wrapped(table, make_parent())))
        made[0].setup()

    monkeypatch.setattr(slicer.util, "reloadScriptedModule", reload_module)
    reviewed.onReload()
    monkeypatch.setattr(reviewed, "cleanup", lambda: None)
    again = made[0]
    assert sys.modules["StenosisDetectionLib.gui.panel"] is not old
    assert type(again.panel).__module__ == "StenosisDetectionLib.gui.panel"
    assert type(again.panel) is not old.Panel
    assert again.ui.lesionTable.rowCount == 2
    assert again.panel.session.review.rejected == {"L2"}
    process_events_until(lambda: not again.panel.vessels._reformation.preparing)
    again.panel._choose_lesion("L1")
    again.cleanup()


def test_leaving_lets_go_of_the_parameter_node(reviewed):
    """Each entering makes a new wrapper, whose observers would read every parameter at every change."""
    import gc
    import weakref

    wrapper = weakref.ref(reviewed._parameterNode)
    reviewed.exit()
    reviewed.enter()
    gc.collect()
    assert wrapper() is None
    assert reviewed._parameterNode.inputVolume is not None


def test_a_scene_in_our_layout_can_be_loaded_before_the_panel_is_opened(panel_module, table, monkeypatch):
    import slicer
    from slicer_stand_in.layout import LayoutManager

    from StenosisDetectionLib.gui import startup
    from StenosisDetectionLib.scene.review_views import LAYOUT_ID

    offered = []
    monkeypatch.setattr(startup, "register_sample_data", lambda: offered.append(1))
    startup.register_in_slicer()  # without a main window
    slicer.app.layout = LayoutManager(table, slicer.mrmlScene)
    startup.register_in_slicer()
    assert slicer.app.layout.layoutLogic().GetLayoutNode().IsLayoutDescription(LAYOUT_ID)
    assert offered == [1, 1]


def test_slicer_knows_our_terminology_from_its_start(panel_module, monkeypatch):
    import slicer
    from slicer_stand_in.application import LoadedModule

    from StenosisDetectionLib.gui import startup
    from StenosisDetectionLib.scene.terminology import CONTEXT_NAME

    monkeypatch.setattr(startup, "register_sample_data", lambda: None)
    startup.register_in_slicer()  # without that module
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    monkeypatch.setattr(slicer.modules, "terminologies", LoadedModule(logic), raising=False)
    startup.register_in_slicer()
    assert logic.GetNumberOfCategoriesInTerminology(CONTEXT_NAME) > 0


def test_the_panel_opens_where_packages_are_missing(panel_module, table, monkeypatch):
    import slicer.packaging
    from slicer_stand_in.pythonqt import Wrapped
    from slicer_stand_in.widgets import make_parent

    monkeypatch.setattr(slicer.packaging, "pip_check", lambda wanted: not str(wanted).startswith("monai"))
    widget = panel_module.StenosisDetectionWidget(Wrapped(table, make_parent()))
    widget.setup()
    assert "monai>=" in widget.ui.environmentLabel.text
    assert "jinja2" not in widget.ui.environmentLabel.text
    assert widget.ui.installPackagesButton.visible or not widget.ui.modelCollapsibleButton.collapsed
    widget.cleanup()


def test_apply_says_which_packages_are_missing_before_it_begins(widget, pipeline, monkeypatch):
    import slicer.packaging

    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    widget.ui.modelCollapsibleButton.collapsed = True
    monkeypatch.setattr(slicer.packaging, "pip_check", lambda wanted: not str(wanted).startswith("monai"))
    widget.ui.applyButton.click()
    assert "monai>=" in widget.ui.statusLabel.text
    assert "Install packages" in widget.ui.statusLabel.text
    assert not widget.panel.run.running
    assert pipeline.calls == []
    assert widget.ui.installPackagesButton.visible  # the section with its button was opened
    assert not widget.ui.detailsButton.visible


@pytest.mark.parametrize(
    "extension, remedy", [(True, "press Install PyTorch"), (False, "install the PyTorch extension")]
)
def test_apply_without_pytorch_says_what_is_to_be_installed(widget, monkeypatch, extension, remedy):
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    found = importlib.util.find_spec
    known = {"torch": None, "PyTorchUtils": object() if extension else None}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: known[name] if name in known else found(name, *rest)
    )
    widget.ui.applyButton.click()
    assert widget.ui.statusLabel.text.startswith(f"PyTorch is missing: {remedy}")
    assert not widget.panel.run.running
    assert widget.ui.installTorchButton.visible


@pytest.mark.parametrize(
    "error, line",
    [
        (RuntimeError("User declined"), "the packages were not installed"),
        (subprocess.CalledProcessError(1, "pip"), "pip could not install"),
    ],
)
def test_a_failed_installation_is_told_in_one_line(widget, monkeypatch, error, line):
    import slicer.packaging

    def refuse(_requirements, requester):
        raise error

    monkeypatch.setattr(slicer.packaging, "pip_ensure", refuse)
    widget.ui.installPackagesButton.click()
    assert widget.ui.statusLabel.text.startswith(line)
    assert not widget.ui.detailsButton.visible  # no traceback: it is nothing to report


@pytest.mark.parametrize(
    "made, line",
    [
        (subprocess.CalledProcessError(1, "pip"), "pip could not install"),
        (None, "PyTorch was not installed"),
    ],
)
def test_a_failed_installation_of_torch_is_told_in_one_line(widget, monkeypatch, made, line):
    """The PyTorch extension raises when pip fails, and gives None when the user declined."""
    import slicer

    shown = []

    def install(_logic, **_options):
        shown.append(widget.ui.environmentLabel.text)
        if made is not None:
            raise made

    extension = types.ModuleType("PyTorchUtils")
    extension.PyTorchUtilsLogic = type("PyTorchUtilsLogic", (), {"installTorch": install})
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: extension if name == "PyTorchUtils" else None if name == "torch" else found(name, *rest),
    )
    monkeypatch.setattr(slicer.app, "testingEnabled", lambda: False)
    widget.ui.installTorchButton.click()
    assert widget.ui.statusLabel.text.startswith(line)
    assert not widget.ui.detailsButton.visible
    (told,) = shown
    assert told.startswith("Installing PyTorch") and not widget.ui.environmentLabel.text.startswith("Installing")


def test_closing_the_scene_frees_the_volume(reviewed):
    """Nothing of the panel holds on to a node: with a CT each would keep its voxels."""
    import gc

    import slicer
    import vtk

    weak = vtk.vtkWeakReference()
    weak.Set(reviewed.ui.inputVolumeSelector.currentNode())
    assert weak.Get() is not None
    slicer.mrmlScene.Clear(0)
    gc.collect()
    assert weak.Get() is None
