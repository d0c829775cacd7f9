"""The .ui file, and the stand-in itself, against the names that a real Slicer 5.12.3 offers."""

import ast
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


def test_the_application_has_every_name_the_module_uses(table):
    used = {
        node.attr
        for path in (MODULE, *(conftest.REPOSITORY / "StenosisDetectionLib" / "gui").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and ast.unparse(node.value) == "slicer.app"
    }
    assert used
    assert {name for name in used if not table.offers("qSlicerApplication", name)} == set()
    assert table.offers("qSlicerLayoutManager", "resetThreeDViews")


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
