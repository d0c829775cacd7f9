"""The panel by keyboard: order of the Tab key, mnemonics, arrow keys that move along a vessel and through lesions."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from panel_fixtures import UI, needs_stand_in

pytestmark = needs_stand_in

SECTIONS = ("inputs", "model", "findings", "vessels", "correct", "review", "advanced")
ALWAYS_SHOWN = ("applyButton", "cancelButton", "detailsButton")


def _mnemonics(element):
    """Return the letters that Alt is pressed with, by the name of the widget, of all widgets inside of an element."""
    found = {}
    for widget in element.iter("widget"):
        for item in widget.findall("property"):
            match = re.search(r"&(\w)", item.findtext("string") or "") if item.get("name") == "text" else None
            if match and widget.get("class") != "ctkCollapsibleButton":
                found[widget.get("name")] = match.group(1).lower()
    return found


def test_no_two_widgets_of_a_section_have_the_same_mnemonic():
    root = ElementTree.parse(UI).getroot()
    always = {name: letter for name, letter in _mnemonics(root).items() if name in ALWAYS_SHOWN}
    assert set(always) == set(ALWAYS_SHOWN)
    for section in root.iter("widget"):
        if section.get("class") == "ctkCollapsibleButton":
            letters = [*_mnemonics(section).values(), *always.values()]
            assert sorted(letters) == sorted(set(letters)), (section.get("name"), _mnemonics(section))


@pytest.fixture
def shown(reviewed):
    """The panel with all sections open, in the focus of the window."""
    from PySide6.QtWidgets import QApplication

    for name in SECTIONS:
        getattr(reviewed.ui, f"{name}CollapsibleButton").collapsed = False
    target = reviewed.parent._target
    for _ in range(3):
        QApplication.processEvents()
        target.resize(520, target.layout().sizeHint().height())
    target.activateWindow()
    return reviewed


def test_tab_goes_from_top_to_bottom_and_reaches_everything(shown):
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtWidgets import QAbstractButton, QAbstractItemView, QAbstractSpinBox, QComboBox, QLineEdit, QSlider

    target = shown.parent._target
    widget, chain = target, []
    while (widget := widget.nextInFocusChain()) is not target:
        kinds = (QAbstractButton, QAbstractItemView, QAbstractSpinBox, QComboBox, QLineEdit, QSlider)
        inside = isinstance(widget.parentWidget(), (QAbstractSpinBox, QComboBox, QAbstractItemView))
        if isinstance(widget, kinds) and widget.isVisible() and widget.isEnabled() and not inside:
            chain.append(widget)
    assert all(widget.focusPolicy() & Qt.TabFocus for widget in chain), [
        widget.objectName() for widget in chain if not widget.focusPolicy() & Qt.TabFocus
    ]
    places = [widget.mapTo(target, QPoint(0, 0)) for widget in chain]
    for before, after, widget in zip(places, places[1:], chain[1:], strict=False):
        same_row = abs(after.y() - before.y()) < 16
        assert (after.x() > before.x()) if same_row else (after.y() > before.y()), widget.objectName()
    assert len(chain) > 40


def test_arrow_keys_move_along_the_vessel(shown):
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QSlider

    before = shown.ui.positionSlider.value
    slider = shown.ui.positionSlider._target.findChild(QSlider)
    slider.setFocus()
    QTest.keyClick(slider, Qt.Key_Right)
    assert shown.ui.positionSlider.value == pytest.approx(before + 0.25)
    assert f"{before + 0.25:.2f} mm" in shown.ui.readoutLabel.text
    QTest.keyClick(slider, Qt.Key_PageUp)
    assert shown.ui.positionSlider.value == pytest.approx(before + 5.25)


def test_arrow_keys_go_from_lesion_to_lesion(shown):
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    assert shown.panel.findings.chosen == "L1"
    table = shown.ui.lesionTable._target
    table.setCurrentCell(table.currentRow() if table.currentRow() >= 0 else 0, 0)
    table.setFocus()
    QTest.keyClick(table, Qt.Key_Down)
    assert shown.panel.findings.chosen == "L2"
    assert shown.ui.vesselComboBox.currentText == "RCA"
    QTest.keyClick(table, Qt.Key_Up)
    assert shown.ui.vesselComboBox.currentText == "LAD"


def test_sections_open_by_key(shown):
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    section = shown.ui.correctCollapsibleButton
    QTest.keyClick(section._target, Qt.Key_Space)
    assert section.collapsed
    QTest.keyClick(section._target, Qt.Key_Space)
    assert not section.collapsed
