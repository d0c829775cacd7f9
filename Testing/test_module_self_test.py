"""The self test of the panel in the stand-in, and the script that runs it in a real Slicer."""

import dataclasses
import re
import subprocess
import sys
import time
import types
import unittest
import xml.etree.ElementTree as ElementTree

import pytest
import run_in_slicer
from panel_fixtures import needs_stand_in
from scenes import read_into
from studies import small_study

from StenosisDetectionLib.progress import Progress

PANEL_TESTS = ["test_opening", "test_panel", "test_panel_cancel", "test_two_volumes"]


@pytest.fixture
def in_slicer(panel_module, widget, monkeypatch, tmp_path, request):
    """Give the self test what it needs of a Slicer with a main window, and an engine that is quick."""
    import slicer
    from PySide6.QtWidgets import QApplication

    cancelled = "test_panel_cancel" in request.node.name  # then it must not end by itself, however slow the computer is
    steps = 3000 if cancelled else 20

    def analyze(_logic, volume, _labels=None, _options=None, progress=None):
        for step in range(1, steps + 1):
            progress(Progress("lumen", min(step / 20, 0.9)))
            time.sleep(0.01)
        return dataclasses.replace(small_study(), volume=volume)

    def load(path):
        slicer.mrmlScene.Clear(0)
        read_into(slicer.mrmlScene, path, tmp_path)

    test = panel_module.StenosisDetectionTest
    monkeypatch.setattr(panel_module.StenosisDetectionLogic, "analyze", analyze)
    monkeypatch.setattr(test, "_phantom", staticmethod(small_study))
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: object())
    monkeypatch.setattr(slicer.util, "selectModule", lambda name: None)
    monkeypatch.setattr(slicer.util, "getModuleWidget", lambda name: widget)
    monkeypatch.setattr(slicer.util, "saveScene", lambda path: slicer.mrmlScene.WriteToMRB(path))
    monkeypatch.setattr(slicer.util, "loadScene", load)
    monkeypatch.setattr(slicer.app, "processEvents", QApplication.processEvents)
    monkeypatch.setattr(slicer.app, "temporaryPath", str(tmp_path), raising=False)
    return test


class TestPanel:
    """What a real Slicer runs, here with a replaced engine."""

    pytestmark = needs_stand_in

    @pytest.mark.parametrize("name", PANEL_TESTS)
    def test_the_self_test_of_the_panel_passes(self, in_slicer, name):
        result = in_slicer(name).run()
        assert [text for _, text in (*result.errors, *result.failures)] == []
        assert result.skipped == []

    def test_it_leaves_pictures_of_the_window_and_of_every_section_where_they_are_wanted(
        self, in_slicer, widget, monkeypatch, tmp_path
    ):
        import ctk
        import slicer
        from PySide6.QtGui import QImage

        folder = tmp_path / "pictures"
        folder.mkdir()
        monkeypatch.setattr(slicer.app, "property", lambda name: str(folder), raising=False)
        monkeypatch.setattr(slicer.util, "forceRenderAllViews", lambda: None)
        utilities = types.SimpleNamespace(grabWidget=lambda _window: widget.parent.grab())
        monkeypatch.setattr(ctk, "ctkWidgetsUtils", utilities, raising=False)
        open_before = widget.ui.findingsCollapsibleButton.collapsed
        assert in_slicer("test_panel").run().wasSuccessful()
        sections = ("inputs", "model", "findings", "vessels", "correct", "review", "advanced")
        names = {"lesion", "loaded", *(f"panel-{name}" for name in sections)}
        assert {path.stem for path in folder.glob("*.png")} == names
        assert widget.ui.findingsCollapsibleButton.collapsed == open_before
        heights = {QImage(str(folder / f"panel-{name}.png")).height() for name in sections}
        assert 0 not in heights

    def test_it_fails_when_the_review_is_lost(self, in_slicer, monkeypatch):
        from StenosisDetectionLib.gui.session import Session

        monkeypatch.setattr(Session, "_write_review", lambda self: None)
        result = in_slicer("test_panel").run()
        assert len(result.failures) == 1

    def test_it_is_skipped_where_packages_are_missing(self, in_slicer, monkeypatch):
        import slicer.packaging

        monkeypatch.setattr(slicer.packaging, "pip_check", lambda wanted: False)
        ((_, reason),) = in_slicer("test_panel").run().skipped
        assert "monai" in reason
        assert in_slicer("test_opening").run().wasSuccessful()

    def test_reload_and_test_goes_on_after_a_skipped_test_and_tells_a_failed_one(self, in_slicer, monkeypatch, capsys):
        import slicer.packaging

        monkeypatch.setattr(slicer.packaging, "pip_check", lambda wanted: False)
        in_slicer().runTest()
        told = capsys.readouterr().out
        assert "skipped 'not installed" in told
        assert len(re.findall(r"\.\.\. ok", told)) == 2  # test_opening and test_refusal need no packages
        monkeypatch.setattr(in_slicer, "test_opening", lambda self: self.fail("closed"))
        with pytest.raises(AssertionError, match="test_opening"):
            in_slicer().runTest()

    def test_it_is_skipped_without_a_main_window(self, in_slicer, monkeypatch):
        import slicer

        monkeypatch.setattr(slicer.util, "mainWindow", lambda: None)
        assert len(in_slicer("test_panel").run().skipped) == 1


class Cases(unittest.TestCase):
    """Tests with every kind of end; pytest itself does not collect them."""

    __test__ = False

    def test_good(self):
        pass

    def test_wrong(self):
        self.assertEqual(1, 2, "<&>")

    def test_broken(self):
        raise RuntimeError("broken")

    @unittest.skip("not here")
    def test_left_out(self):
        pass


def test_the_junit_file_tells_every_end():
    recorder = run_in_slicer.Recorder()
    names = ["test_good", "test_wrong", "test_broken", "test_left_out"]
    unittest.TestSuite(Cases(name) for name in names).run(recorder)
    root = ElementTree.fromstring(run_in_slicer.junit(recorder.cases))
    assert [case.get("name") for case in root] == names
    assert [[child.tag for child in case] for case in root] == [[], ["failure"], ["error"], ["skipped"]]
    assert "<&>" in root[1][0].text
    assert root.attrib | {"time": ""} == {
        "name": "StenosisDetection", "tests": "4", "failures": "1", "errors": "1", "skipped": "1", "time": "",
    }  # fmt: skip
    assert not recorder.wasSuccessful()


def test_the_module_path_precedes_the_script(tmp_path):
    command = run_in_slicer.slicer_command("Slicer", tmp_path)
    assert command.index("--additional-module-paths") < command.index("--python-script")
    assert (run_in_slicer.HOME / "StenosisDetection" / "StenosisDetection.py").is_file()
    assert str(run_in_slicer.HOME / "StenosisDetection") in command


def stand_in_slicer(folder, script):
    """An executable that stands for Slicer; it is given the output folder as the last argument."""
    slicer = folder / "Slicer"
    slicer.write_text(f"#!{sys.executable}\nimport sys, time\nfrom pathlib import Path\n{script}\n")
    slicer.chmod(0o755)
    return slicer


def run_script(slicer, output, *arguments, **environment):
    return subprocess.run(
        [sys.executable, run_in_slicer.__file__, str(slicer), "--output", str(output), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/no/such/folder", "DISPLAY": ":0"} | environment,
    )


@pytest.mark.parametrize("writes, status", [(True, 0), (False, 2)])
def test_the_script_reports_how_slicer_ended(tmp_path, writes, status):
    script = "Path(sys.argv[-1], 'junit.xml').write_text('<testsuite/>')" if writes else ""
    assert run_script(stand_in_slicer(tmp_path, script), tmp_path / "out").returncode == status
    missing = run_script(tmp_path / "no", tmp_path / "out")
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: ")
    assert "executable" in missing.stderr


def test_the_script_ends_a_slicer_that_hangs_with_all_it_started(tmp_path):
    child = "import time, pathlib; time.sleep(3); pathlib.Path(sys.argv[-1], 'alive').touch()".replace(
        "sys.argv[-1]", "{}"
    )
    script = f"import subprocess\nsubprocess.run([sys.executable, '-c', {child!r}.format(repr(sys.argv[-1]))])"
    run = run_script(stand_in_slicer(tmp_path, script), tmp_path / "out", "--timeout", "1")
    assert run.returncode == 2
    assert "not finished after 1 s" in run.stderr
    time.sleep(3)
    assert not (tmp_path / "out" / "alive").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have a screen")
def test_without_a_screen_the_script_takes_a_virtual_one_or_says_what_to_do(tmp_path):
    slicer = stand_in_slicer(tmp_path, "Path(sys.argv[-1], 'junit.xml').write_text('<testsuite/>')")
    run = run_script(slicer, tmp_path / "out", DISPLAY="")
    assert run.returncode == 2
    assert "install xvfb" in run.stderr
    virtual = tmp_path / "xvfb-run"
    virtual.write_text('#!/bin/sh\necho virtual screen\nshift 3\nexec "$@"\n')
    virtual.chmod(0o755)
    run = run_script(slicer, tmp_path / "out", DISPLAY="", PATH=f"{tmp_path}:/bin:/usr/bin")
    assert run.returncode == 0, run.stderr
    assert "virtual screen" in (tmp_path / "out" / "log.txt").read_text()


def test_the_end_says_what_failed_and_why_tests_were_skipped(tmp_path):
    cases = [
        ("test_a", 1.0, "", ""),
        ("test_b", 1.0, "failure", "Traceback\nAssertionError: 1 != 2"),
        ("test_c", 0.0, "skipped", "not installed: PyTorch, monai>=1.4"),
    ]
    path = tmp_path / "junit.xml"
    path.write_text(run_in_slicer.junit(cases, [("Slicer", "5.12.3 <amd64>")]), encoding="utf-8")
    properties = ElementTree.parse(path).getroot().find("properties")
    assert [(one.get("name"), one.get("value")) for one in properties] == [("Slicer", "5.12.3 <amd64>")]
    told = run_in_slicer.summary(path)
    assert "failure: test_b: AssertionError: 1 != 2" in told
    assert "skipped: test_c: not installed: PyTorch, monai>=1.4" in told
    assert "1 passed, 1 failed, 1 skipped" in told
    assert "Install packages" in told
    path.write_text(run_in_slicer.junit(cases[:1]), encoding="utf-8")
    assert "Install" not in run_in_slicer.summary(path)


def test_inside_slicer_the_file_is_written_and_slicer_is_left(tmp_path, monkeypatch):
    left = []
    log = tmp_path / "session.log"
    log.write_text("what Slicer logged")
    application = types.SimpleNamespace(
        setProperty=lambda name, value: None, applicationVersion="5.12.3", currentLogFile=lambda: str(log)
    )
    util = types.SimpleNamespace(exit=left.append, mainWindow=lambda: None)
    module = types.ModuleType("StenosisDetection")
    module.Cases = type("Cases", (unittest.TestCase,), {"test_good": Cases.test_good})
    monkeypatch.setitem(sys.modules, "slicer", types.SimpleNamespace(app=application, util=util))
    monkeypatch.setitem(sys.modules, "StenosisDetection", module)
    run_in_slicer.run_inside(str(tmp_path))
    assert left == [0]
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert root.get("tests") == "1"
    assert ("Slicer", "5.12.3") in [(one.get("name"), one.get("value")) for one in root.find("properties")]
    assert (tmp_path / "slicer.log").read_text() == "what Slicer logged"
