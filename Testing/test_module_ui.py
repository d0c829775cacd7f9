"""The .ui file, and the stand-in itself, against the names that a real Slicer 5.12.3 offers."""

import ast
import re
import xml.etree.ElementTree as ElementTree

import conftest
import pytest
from panel_fixtures import MODULE, UI, needs_stand_in

pytestmark = needs_stand_in


def test_every_widget_explains_itself():
    root = ElementTree.parse(UI).getroot()
    for widget in root.iter("widget"):
        kind, name = widget.get("class"), widget.get("name")
        shown = {item.get("name") for item in widget.findall("property")}
        names_another = kind == "QLabel" and "buddy" in shown  # the partner of the label has the tool tip
        if kind not in ("qMRMLWidget", "QFrame", "ctkCollapsibleButton") and not names_another:
            assert "toolTip" in shown, name


def test_sections_hide_nothing_but_one_frame_each():
    """A collapsible button forgets that a child of its own was hidden while it was collapsed."""
    for section in ElementTree.parse(UI).getroot().iter("widget"):
        if section.get("class") == "ctkCollapsibleButton":
            assert [child.get("class") for child in section.findall("layout/item/widget")] == ["QFrame"]
            assert len(section.findall("layout/item")) == 1


def test_every_choice_can_be_reached_by_key():
    """A label with a mnemonic leads to its partner, and every button has a mnemonic of its own or can be tabbed to."""
    root = ElementTree.parse(UI).getroot()
    names = {widget.get("name") for widget in root.iter("widget")}
    for widget in root.iter("widget"):
        for item in widget.findall("property"):
            if item.get("name") == "buddy":
                assert item.findtext("cstring") in names
            assert item.get("name") != "focusPolicy", widget.get("name")


def test_the_ui_file_names_only_what_slicer_has(table):
    from slicer_stand_in.widgets import unknown_names

    assert list(unknown_names(ElementTree.parse(UI).getroot(), table)) == []


def test_parameters_of_the_ui_file_exist(panel_module):
    root = ElementTree.parse(UI).getroot()
    bound = {item.findtext("string") for item in root.iter("property") if item.get("name") == "SlicerParameterName"}
    known = set(panel_module.StenosisDetectionParameterNode.__annotations__)
    assert bound <= known
    assert known - bound == {"model", "vessel", "position"}  # their lists and ranges change: the panel binds them


def test_the_stand_in_is_as_strict_as_pythonqt(table, panel_module):
    """The harness itself: what is tried here must fail in it as it fails in Slicer."""
    import qt

    button = qt.QPushButton("text")
    assert button.text == "text"
    with pytest.raises(TypeError):
        button.text()
    with pytest.raises(AttributeError):
        button.setTitle("x")
    with pytest.raises(AttributeError):
        button.answer = 42
    assert button.connect("nosuch()", print) is False
    assert button.connect("clicked(bool)", print) is True
    with pytest.raises(AttributeError):
        qt.QNonsense
    item = qt.QTableWidgetItem()
    item.setData(qt.Qt.DisplayRole, 12.5)
    assert item.text() == "12.5"


ROOMS = [
    MODULE,
    *sorted((conftest.REPOSITORY / "StenosisDetectionLib" / "gui").glob("*.py")),
    *sorted((conftest.REPOSITORY / "StenosisDetectionLib" / "scene").glob("*.py")),
]
SUBMODULES = {"packaging", "i18n", "ScriptedLoadableModule", "parameterNodeWrapper"}
"""Modules of Slicer that are loaded when they are imported."""


def names_used(tree):
    """Yield the names that a file takes from Slicer: (owner, name, line), owner being slicer, app, util, qt or ctk."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "slicer":
            yield from (("slicer", alias.name, node.lineno) for alias in node.names)
        if not isinstance(node, ast.Attribute):
            continue
        value = node.value
        if isinstance(value, ast.Name) and value.id in ("slicer", "qt", "ctk"):
            yield value.id, node.attr, node.lineno
        elif isinstance(value, ast.Call) and getattr(value.func, "id", "") == "slicer_package":
            yield "slicer", node.attr, node.lineno
        elif isinstance(value, ast.Attribute) and getattr(value.value, "id", "") == "slicer":
            yield value.attr, node.attr, node.lineno


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_real_slicer_has_every_name_that_is_used(path, table):
    """Those that no other test reaches, too: in Slicer they would fail when a user gets there."""
    import slicer.util

    def known(owner, name):
        if owner == "slicer":
            return name in table.names["slicer"] or name in SUBMODULES
        if owner in ("qt", "ctk"):
            return name in table.names[owner]
        if owner == "app":
            return table.offers("qSlicerApplication", name)
        return owner != "util" or hasattr(slicer.util, name)

    used = list(names_used(ast.parse(path.read_text(encoding="utf-8"))))
    assert [f"{owner}.{name} in line {line}" for owner, name, line in used if not known(owner, name)] == []


def test_the_search_for_names_finds_what_it_should(table):
    text = "import slicer\nslicer.app.nosuch()\nqt.QNonsense\nslicer_package().vtkNothing\nfrom slicer import vtkNone\n"
    assert {(owner, name) for owner, name, _ in names_used(ast.parse(text))} == {
        ("slicer", "app"), ("app", "nosuch"), ("qt", "QNonsense"), ("slicer", "vtkNothing"), ("slicer", "vtkNone"),
    }  # fmt: skip
    assert not table.offers("qSlicerApplication", "nosuch")
    assert table.offers("qSlicerLayoutManager", "resetThreeDViews")  # of a base class


def test_slicer_has_the_signals_of_the_application_that_are_used(table):
    text = "".join(path.read_text(encoding="utf-8") for path in ROOMS)
    signals = re.findall(r'slicer\.app\.(?:dis)?connect\("([^"]+)"', text)
    assert set(signals) == {"startupCompleted()", "aboutToQuit()"}
    assert set(signals) <= table.signals("qSlicerApplication")


def test_the_logics_that_make_a_scene_are_those_of_slicer(table):
    from StenosisDetectionLib.scene.application import _LOGICS

    assert set(_LOGICS) <= set(table.names["slicer"])
