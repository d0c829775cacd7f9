"""The calcium score in the panel: a plain chest with deposits counted by hand, an angiogram, and missing choices."""

import numpy as np
import pytest
from panel_fixtures import needs_stand_in, picture, process_events_until
from scenes import column_of, nodes_of
from test_calcium_command import SHAPE, SPACING, chest

from StenosisDetectionLib.scene import volume_of_node
from StenosisDetectionLib.scene.calcium_table import CALCIUM_ATTRIBUTE
from StenosisDetectionLib.scene.segmentation import add_segmentation_node, make_segmentation
from StenosisDetectionLib.study import LabelMap

pytestmark = needs_stand_in

IJK_TO_RAS = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
PIXEL_MM2 = SPACING[0] * SPACING[1]


def _scan(widget, voxels, name="Calcium scan"):
    """Load and choose a volume."""
    import slicer

    node = slicer.util.addVolumeFromArray(voxels.astype(np.float32), IJK_TO_RAS, name)
    widget.ui.inputVolumeSelector.setCurrentNode(node)
    return node


def _regions(widget, volume_node):
    """Draw and choose a region around each artery."""
    import slicer

    labels = np.zeros(SHAPE, np.uint8)
    labels[10:20, 40:70, 30:60], labels[10:20, 40:70, 100:130] = 1, 2
    label_map = LabelMap(labels, IJK_TO_RAS, {1: "LAD", 2: "RCA"})
    node = add_segmentation_node(
        slicer.mrmlScene, make_segmentation(label_map, volume_of_node(volume_node)), volume_node, "Regions"
    )
    widget.ui.calciumRegionsSelector.setCurrentNode(node)


def _score(widget):
    widget.ui.calciumButton.click()
    process_events_until(lambda: not widget.panel.run.running)
    return widget.ui.statusLabel.text


def _tables():
    import slicer

    return [node for node in nodes_of(slicer.mrmlScene, "vtkMRMLTableNode") if node.GetAttribute(CALCIUM_ATTRIBUTE)]


def _deposits():
    voxels = chest()
    voxels[12:14, 45:50, 40:44] = 450.0  # 20 pixels, twice
    voxels[15, 50:54, 110:115] = 180.0  # 20 pixels
    return voxels


def test_the_score_stands_in_the_status_line_and_in_a_table(widget):
    volume_node = _scan(widget, _deposits())
    _regions(widget, volume_node)
    line = _score(widget)
    lad, rca = PIXEL_MM2 * 20 * 4 * 2, PIXEL_MM2 * 20
    assert f"Agatston score {lad + rca:.0f}, volume {60 * PIXEL_MM2 * 3:.0f} mm3, mass unknown" in line
    (table,) = _tables()
    assert column_of(table, "region") == ["LAD", "RCA", "all"]
    assert column_of(table, "agatston") == pytest.approx([lad, rca, lad + rca], rel=1e-4)
    assert column_of(table, "lesions") == [1, 1, 2]
    assert np.isnan(column_of(table, "mass_mg")).all()
    picture(widget, "calcium")


def test_the_mass_needs_the_calibration_and_a_second_score_replaces_the_first(widget):
    volume_node = _scan(widget, _deposits())
    _regions(widget, volume_node)
    _score(widget)
    widget.ui.calibrationSpinBox.value = 0.001
    mass = 0.001 * PIXEL_MM2 * 3.0 * (40 * 450 + 20 * 180)
    assert f"mass {mass:.1f} mg" in _score(widget)
    (table,) = _tables()
    assert column_of(table, "mass_mg")[-1] == pytest.approx(mass, rel=1e-4)
    # The scene keeps both choices.
    regions = widget.ui.calciumRegionsSelector.currentNode()
    widget.exit()
    widget.ui.calibrationSpinBox.value = 0.0
    widget.enter()
    assert widget.panel.parameters.calciumRegions is widget.ui.calciumRegionsSelector.currentNode() is regions
    assert widget.panel.parameters.calibration == widget.ui.calibrationSpinBox.value == pytest.approx(0.001)


def test_an_angiogram_is_refused_with_the_reason_and_leaves_no_table(widget):
    volume_node = _scan(widget, chest(blood_hu=400.0))
    _regions(widget, volume_node)
    assert "in an angiogram the blood itself exceeds 130 HU" in _score(widget)
    assert _tables() == []
    assert widget.ui.calciumButton.enabled


def test_a_lumen_without_its_aorta_is_refused_as_well(widget):
    """The arteries of an angiogram given as regions of a volume in which no aorta can be found."""
    voxels = chest()
    voxels[10:20, 40:70, 30:60] = voxels[10:20, 40:70, 100:130] = 350.0
    volume_node = _scan(widget, voxels)
    _regions(widget, volume_node)
    assert "without contrast agent" in _score(widget)
    assert _tables() == []


def test_what_is_not_chosen_is_asked_for(widget):
    assert "choose the CT without contrast agent" in _score(widget)
    _scan(widget, _deposits())
    assert "draw a segment around each artery" in _score(widget)
    assert _tables() == []


def test_a_scan_removed_meanwhile_gets_no_table(widget):
    import slicer

    volume_node = _scan(widget, _deposits())
    _regions(widget, volume_node)
    widget.ui.calciumButton.click()
    slicer.mrmlScene.RemoveNode(volume_node)
    process_events_until(lambda: not widget.panel.run.running)
    assert "removed" in widget.ui.statusLabel.text
    assert _tables() == []
