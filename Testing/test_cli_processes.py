"""The command line in processes of its own: what libraries write past Python, and interrupts."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from test_cli import names


def write_bad_inputs(folder):
    """Return inputs that cannot be used, by what is wrong with them."""
    flat = sitk.GetImageFromArray(np.zeros((16, 16), np.int16))
    sitk.WriteImage(flat, str(folder / "slice.nrrd"))
    (folder / "empty.nrrd").touch()
    (folder / "text.nii").write_text("this is no image")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (folder / "folder").mkdir()
    return [folder / name for name in ("slice.nrrd", "empty.nrrd", "text.nii", "photo.jpg", "folder", "absent.nrrd")]


def test_real_bad_inputs_are_one_line_each_and_leave_nothing(tmp_path):
    """In processes of their own, so that what a library writes past Python is seen, too."""
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    repository = Path(__file__).resolve().parents[1]
    for path in write_bad_inputs(inputs):
        command = [
            sys.executable,
            "-m",
            "StenosisDetectionLib",
            "analyze",
            str(path),
            "--output",
            str(tmp_path / "out"),
        ]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
        assert done.returncode == 2, (path.name, done.stderr)
        assert done.stdout == ""
        assert re.fullmatch(r"error: .+\n", done.stderr), (path.name, done.stderr)
        assert str(tmp_path) not in done.stderr
        assert names(tmp_path) == {"inputs"}


SLOW = """
import sys, time, types
from studies import small_study
from StenosisDetectionLib import reading, scene
from StenosisDetectionLib.cli.main import main
from StenosisDetectionLib.progress import Progress

def analyze(volume, options, progress, segmentation):
    progress(Progress("lumen", 0.5))
    print("working", file=sys.stderr, flush=True)
    for _ in range(300):
        time.sleep(0.1)
        if sys.argv[2] == "reports":
            progress(Progress("lumen", 0.5))

pipeline = types.ModuleType("pipeline")
pipeline.analyze = analyze
pipeline.case_id_of = lambda volume: "case-1"
sys.modules["StenosisDetectionLib.pipeline"] = pipeline
reading.read_volume = lambda path, report: small_study().volume
sys.exit(main(["analyze", "a", "b", "--output", sys.argv[1], "--quiet"]))
"""


def start_slow(folder, how):
    testing = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(testing), str(testing.parent)])}
    command = [sys.executable, "-c", SLOW, str(folder), how]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == "working\n"
    return process


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_ends_the_work_at_its_next_report(tmp_path, number):
    process = start_slow(tmp_path / "out", "reports")
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "cancelled\n")
    assert names(tmp_path) == set()


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
def test_the_second_interrupt_ends_the_work_at_once(tmp_path):
    process = start_slow(tmp_path / "out", "silent")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "cancelled\n")
    assert names(tmp_path) == set()
