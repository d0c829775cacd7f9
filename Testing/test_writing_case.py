"""The folder of a case: complete or absent."""

import errno
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from studies import small_study

from StenosisDetectionLib import scene
from StenosisDetectionLib.errors import Cancelled, InputError
from StenosisDetectionLib.writing import case as case_module
from StenosisDetectionLib.writing import write_case


@pytest.fixture
def light(monkeypatch):
    """Stand in for the files of the scene, which have their own tests, with one file."""

    def write(study, directory, *_):
        (directory / "scene.mrb").write_bytes(study.case_id.encode())

    monkeypatch.setattr(scene, "write_scene_files", write)


FILES = {
    "report.json", "report.html", "lesions.csv", "vessels.csv", "segments.csv", "patient.csv", "scene.mrb",
}  # fmt: skip


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_writes_every_file_of_the_interface(tmp_path):
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    path = write_case(small_study(), tmp_path / "new" / "results")
    assert path == tmp_path / "new" / "results" / "case-1" / "report.json"
    assert names(path.parent) == FILES | {"segmentation.seg.nrrd", "centerlines"}
    assert names(path.parent / "centerlines") == {"LM.mrk.json", "LAD.mrk.json", "RCA.mrk.json"}
    assert names(path.parent.parent) == {"case-1"}
    assert json.loads(path.read_text("utf-8"))["case"]["id"] == "case-1"


def test_files_are_utf8_with_the_line_ends_of_their_format(light, tmp_path):
    folder = write_case(small_study(), tmp_path).parent
    for name in FILES:
        (folder / name).read_bytes().decode("utf-8")
    assert b"\r" not in (folder / "report.json").read_bytes()
    assert b"\r\r" not in (folder / "lesions.csv").read_bytes()
    assert "Left anterior descending artery" in (folder / "report.html").read_text("utf-8")


def test_an_existing_case_is_kept_unless_overwritten(light, tmp_path):
    path = write_case(small_study(), tmp_path)
    (path.parent / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="'case-1' exists in the output folder") as caught:
        write_case(small_study(), tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)
    assert "mine.txt" in names(path.parent)
    assert write_case(small_study(), tmp_path, overwrite=True) == path
    assert names(path.parent) == FILES
    assert names(tmp_path) == {"case-1"}


@pytest.mark.parametrize("case_id", ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "a b", "x" * 101, "a\n"])
def test_a_case_id_that_is_no_folder_name_is_refused(light, tmp_path, case_id):
    with pytest.raises(InputError, match="case id is no folder name"):
        write_case(small_study(case_id), tmp_path / "out")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("error", [Cancelled("x"), KeyboardInterrupt(), RuntimeError("x"), OSError(errno.EIO, "x")])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_leaves_nothing_behind(light, monkeypatch, tmp_path, error, overwrite):
    if overwrite:
        before = write_case(small_study(), tmp_path).read_bytes()

    def fail(_study):
        raise error

    monkeypatch.setattr(case_module, "report_page", fail)
    with pytest.raises(type(error)):
        write_case(replace(small_study(), device="mps"), tmp_path, overwrite=overwrite)
    if overwrite:
        assert names(tmp_path) == {"case-1"}
        assert (tmp_path / "case-1" / "report.json").read_bytes() == before
    else:
        assert names(tmp_path) == set()


def test_cancel_while_writing_leaves_nothing_behind(light, tmp_path):
    def report(fraction, _message):
        if fraction > 0.5:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        write_case(small_study(), tmp_path, report=report)
    assert names(tmp_path) == set()


def test_the_previous_case_returns_when_the_new_one_cannot_take_its_name(light, monkeypatch, tmp_path):
    before = write_case(small_study(), tmp_path).read_bytes()
    rename = Path.rename

    def fail(self, target):
        if ".partial-" in self.name:
            raise PermissionError(errno.EACCES, "in use")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(InputError, match="cannot write the case"):
        write_case(small_study(), tmp_path, overwrite=True)
    assert names(tmp_path) == {"case-1"}
    assert (tmp_path / "case-1" / "report.json").read_bytes() == before


def test_a_full_disk_is_one_line(light, monkeypatch, tmp_path):
    def full(_study):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr(case_module, "lesions_csv", full)
    with pytest.raises(InputError, match="No space left on device") as caught:
        write_case(small_study(), tmp_path)
    assert str(tmp_path) not in str(caught.value)
    assert names(tmp_path) == set()


def test_the_name_appears_only_with_the_complete_folder(tmp_path):
    """Another process looks at the output folder all the time while cases are replaced."""
    script = """
import sys
from studies import small_study
from StenosisDetectionLib import scene
from StenosisDetectionLib.writing import write_case
scene.write_scene_files = lambda study, directory, *_: (directory / "scene.mrb").write_bytes(b"x")
for number in range(4):
    write_case(small_study(f"case-{number}"), sys.argv[1])
"""
    testing = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(testing), str(testing.parent)])}
    writer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=environment)
    seen = 0
    while writer.poll() is None:
        for folder in tmp_path.glob("case-*"):
            assert names(folder) == FILES
            seen += 1
        time.sleep(0.001)
    assert writer.returncode == 0
    assert seen > 0 and len(names(tmp_path)) == 4
