"""The demo study in Slicer's Sample Data module."""

import pytest
from panel_fixtures import needs_stand_in
from studies import small_study

from StenosisDetectionLib.gui import sample_data
from StenosisDetectionLib.gui.sample_data import add_demo_volume

pytestmark = needs_stand_in


@pytest.fixture
def demo(panel_module, monkeypatch):
    """Replace the demo study, which takes a minute, by the small one; return when to go on after half of it."""
    import types

    import slicer
    from PySide6.QtWidgets import QApplication

    import StenosisDetectionLib.phantom as phantom

    def demo_study(report):
        report(0.5, "half")
        for _ in range(100):
            report(0.6, "more")
        return types.SimpleNamespace(volume=small_study().volume)

    monkeypatch.setattr(phantom, "demo_study", demo_study)
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: None)
    monkeypatch.setattr(slicer.app, "processEvents", QApplication.processEvents)
    return demo_study


def test_the_demo_study_is_computed_and_shown(panel_module, demo):
    import slicer

    layers = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    node = add_demo_volume()
    assert slicer.util.arrayFromVolume(node).shape == small_study().volume.voxels.shape
    assert layers.GetBackgroundVolumeID() == node.GetID()


def test_the_demo_study_can_be_cancelled(panel_module, demo, monkeypatch):
    import slicer

    create = slicer.util.createProgressDialog

    def cancelled_dialog(**options):
        dialog = create(**options)
        dialog.cancel()
        return dialog

    monkeypatch.setattr(slicer.util, "createProgressDialog", cancelled_dialog)
    import StenosisDetectionLib.phantom as phantom

    reached = []

    def endless(report):
        while True:
            report(0.5, "on")
            reached.append(1)

    monkeypatch.setattr(phantom, "demo_study", endless)
    assert add_demo_volume() is None
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0


def test_the_demo_study_is_offered_as_sample_data(panel_module, monkeypatch):
    import sys
    import types

    from PySide6.QtGui import QImage

    offered = {}
    logic = types.SimpleNamespace(
        registerCustomSampleDataCategory=lambda category, title: offered.update(category=category),
        registerCustomSampleDataSource=lambda **source: offered.update(source),
        registerUrlRewriteRule=lambda name, rule: offered.update(rule=rule),
    )
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    monkeypatch.setattr(sample_data, "add_demo_volume", lambda: "added")
    sample_data.register_sample_data()
    assert offered["category"] == "StenosisDetection"
    # The data source checks that its lists have one length.
    assert [len(offered[name]) for name in ("uris", "fileNames", "nodeNames")] == [1, 1, 1]
    assert offered["rule"](offered["uris"][0] + "/other") == offered["uris"][0] + "/other"
    assert offered["customDownloader"](None) == "added"
    thumbnail = QImage(offered["thumbnailFileName"])
    assert (thumbnail.width(), thumbnail.height()) == (260, 280)  # what Sample Data shows


def test_a_script_gets_the_demo_study_as_a_file(panel_module, demo, monkeypatch, tmp_path):
    """Sample Data asks for an address, then takes the file that is in its cache already."""
    import types

    import numpy as np
    import slicer

    from StenosisDetectionLib.reading import read_volume

    cache = types.SimpleNamespace(GetRemoteCacheDirectory=lambda: str(tmp_path / "cache"))
    scene = types.SimpleNamespace(GetCacheManager=lambda: cache)
    monkeypatch.setattr(slicer, "mrmlScene", scene)
    assert sample_data.provide_demo_file("https://somewhere/CTA.nrrd") == "https://somewhere/CTA.nrrd"
    assert not (tmp_path / "cache").exists()
    assert sample_data.provide_demo_file(sample_data.ADDRESS) == sample_data.ADDRESS
    (path,) = (tmp_path / "cache").iterdir()
    assert path.name == sample_data.FILE_NAME
    volume, wanted = read_volume(path), small_study().volume
    assert np.allclose(volume.voxels, wanted.voxels, atol=0.51)
    assert np.allclose(volume.ijk_to_ras, wanted.ijk_to_ras, atol=1e-5)
    monkeypatch.setattr(sample_data, "_computed_volume", None)  # the second time nothing is computed
    assert sample_data.provide_demo_file(sample_data.ADDRESS) == sample_data.ADDRESS


def test_a_script_is_told_when_the_demo_study_was_cancelled(panel_module, monkeypatch, tmp_path):
    import types

    import slicer

    from StenosisDetectionLib.errors import Cancelled

    cache = types.SimpleNamespace(GetRemoteCacheDirectory=lambda: str(tmp_path))
    monkeypatch.setattr(slicer, "mrmlScene", types.SimpleNamespace(GetCacheManager=lambda: cache))
    monkeypatch.setattr(sample_data, "_computed_volume", lambda: None)
    with pytest.raises(Cancelled):
        sample_data.provide_demo_file(sample_data.ADDRESS)
    assert list(tmp_path.iterdir()) == []
