"""The command line: exit statuses, messages, output folder and progress."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
from studies import small_study

from StenosisDetectionLib import reading, scene
from StenosisDetectionLib.cli.main import main
from StenosisDetectionLib.cli.outcome import worst
from StenosisDetectionLib.errors import Cancelled, InputError, ModelError
from StenosisDetectionLib.options import DEFAULT_MODEL
from StenosisDetectionLib.progress import Progress
from StenosisDetectionLib.study import VesselTree
from StenosisDetectionLib.version import __version__

BANNER = "Research use only. Not a medical device. Not for diagnosis or treatment decisions."


class FakePipeline(types.ModuleType):
    """Stands in for the pipeline: each call takes the next outcome, a study or an error, and records its arguments."""

    def __init__(self, *outcomes):
        super().__init__("StenosisDetectionLib.pipeline")
        self.outcomes = list(outcomes)
        self.calls = []

    def case_id_of(self, volume):
        return getattr(self.outcomes[0], "case_id", "case-of-an-error")

    def analyze(self, volume, options=None, progress=None, segmentation=None):
        self.calls.append((volume, options, segmentation))
        for stage, fraction in (("aorta", 0.0), ("aorta", 0.1), ("lumen", 0.5), ("lumen", 1.0)):
            progress(Progress(stage, fraction, "working"))
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def empty_study():
    study = small_study("case-empty")
    patient = replace(study.patient, cad_rads=None, plaque_burden=None, segment_involvement_score=None)
    return replace(study, tree=VesselTree(()), profiles=(), references=(), lesions=(), patient=patient)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Return a function that installs a fake pipeline; reading and the files of the scene are stood in for, too."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "state"))
    monkeypatch.setattr(scene, "write_scene_files", lambda study, directory, *_: None)
    monkeypatch.setattr(reading, "read_volume", lambda path, report: small_study().volume)

    def install(*outcomes):
        pipeline = FakePipeline(*outcomes)
        monkeypatch.setitem(sys.modules, "StenosisDetectionLib.pipeline", pipeline)
        return pipeline

    return install


def names(folder):
    return {path.name for path in folder.iterdir()}


def error_line(captured):
    """Return the one line on standard error, which must be an error."""
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    return line


def test_help_of_the_program_and_of_each_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "Example: stenosis-detection" in text and BANNER in text
    commands = re.findall(r"^    ([a-z]+) ", text, flags=re.MULTILINE)
    assert "analyze" in commands
    for command in commands:
        assert main([command, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "Example" in shown and f"stenosis-detection {command}" in shown


def test_version_says_what_the_program_may_be_used_for(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.split() == f"stenosis-detection {__version__}. {BANNER}".split()


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom StenosisDetectionLib.cli.main import main\nmain(['analyze', '--help'])\n"
        "print(sorted({'torch', 'vtk', 'vtkmodules', 'SimpleITK', 'scipy', 'jinja2'} & set(sys.modules)))"
    )
    repository = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_runs_as_a_module():
    repository = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "StenosisDetectionLib", "analyze"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*--help'\n", done.stderr)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: COMMAND"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["analyze", "x.nrrd"], "--output"),
        (["analyze", "--output", "OUT"], "INPUT"),
        (["analyze", "x.nrrd", "--output", "OUT", "--device", "gpu"], "unknown device 'gpu'"),
        (["analyze", "x.nrrd", "--output", "OUT", "--device", "cuda:x"], "unknown device 'cuda:x'"),
        (["analyze", "x.nrrd", "--output", "OUT", "--device", "cuda:99"], "device 'cuda:99' is not available here"),
        (["analyze", "x.nrrd", "--output", "OUT", "--model", "none"], "unknown segmentation model 'none'"),
        (["analyze", "x.nrrd", "--output", "OUT", "--precision", "fp8"], "invalid choice: 'fp8'"),
        (["analyze", "x.nrrd", "--output", "OUT", "--roi", "1,2,3"], "'1,2,3' is no region"),
        (["analyze", "x.nrrd", "--output", "OUT", "--roi", "-1,2,a,4,5,6"], "is no region"),
        (["analyze", "x.nrrd", "--output", "OUT", "--roi", "nan,2,3,4,5,6"], "is no region"),
        (["analyze", "x.nrrd", "--output", "OUT", "--roi", "2,1,3,4,5,6"], "each x0 < x1"),
        (["analyze", "x.nrrd", "--output", "OUT", "--research", "ffr"], "invalid choice: 'ffr'"),
        (["analyze", "x.nrrd", "--output", "OUT", "--quiet", "--verbose"], "not allowed with"),
        (["analyze", "x.nrrd", "--output", "OUT", "--over"], "unrecognized arguments: --over"),
        (["analyze", "x.nrrd", "y.nrrd", "--output", "OUT", "--segmentation", "z.nrrd"], "belongs to one study"),
    ],
)
def test_an_unusable_request_is_one_line_before_any_work(fake, capsys, tmp_path, arguments, words):
    pipeline = fake()
    arguments = [str(tmp_path / "out") if argument == "OUT" else argument for argument in arguments]
    assert main(arguments) == 2
    assert words in error_line(capsys.readouterr())
    assert pipeline.calls == [] and names(tmp_path) == set()


def test_writes_the_case_and_prints_its_path(fake, capsys, tmp_path):
    pipeline = fake(small_study())
    out = tmp_path / "a" / "b"
    roi = ["--roi", "-10,20,-30.5,40,0,60"]
    assert main(["analyze", "x.nrrd", "--output", str(out), "--device", "cpu", "--precision", "fp32", *roi]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out / 'case-1' / 'report.json'}\n"
    assert json.loads((out / "case-1" / "report.json").read_text("utf-8"))["case"]["id"] == "case-1"
    assert captured.err.splitlines() == [
        "x.nrrd:   5 % aorta",
        "x.nrrd:  50 % lumen",
        "x.nrrd:  95 % writing",
        "x.nrrd: 2 lesions, CAD-RADS candidate 3 (software-suggested, unreviewed)",
    ]
    ((_, options, segmentation),) = pipeline.calls
    assert options.roi == (-10.0, 20.0, -30.5, 40.0, 0.0, 60.0)
    assert (options.device, options.precision, options.model, segmentation) == ("cpu", "fp32", DEFAULT_MODEL, None)


def test_quiet_and_verbose(fake, capsys, tmp_path):
    fake(small_study(), small_study())
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "out"), "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "out2"), "--verbose"]) == 0
    assert "x.nrrd:  14 % aorta: working" in capsys.readouterr().err.splitlines()


def test_on_a_terminal_one_line_updates_itself(fake, capsys, monkeypatch, tmp_path):
    fake(small_study())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().err
    assert text.count("\n") == 1  # of the result
    assert all(len(part) < 40 for part in text.split("\r\x1b[K")[:-1])


def test_the_segmentation_is_handed_to_the_pipeline(fake, monkeypatch, tmp_path):
    pipeline = fake(small_study())
    monkeypatch.setattr(reading, "read_label_map", lambda path: f"labels of {path}")
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "out"), "--segmentation", "lumen.nrrd"]) == 0
    assert pipeline.calls[0][2] == "labels of lumen.nrrd"


def test_research_is_asked_for_by_name(fake, tmp_path):
    pipeline = fake(small_study(), small_study("case-2"))
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "out")]) == 0
    research = ["--research", "pressure-drop", "--research", "fat-attenuation", "--research", "pressure-drop"]
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "out"), *research]) == 0
    assert [call[1].research for call in pipeline.calls] == [(), ("pressure-drop", "fat-attenuation")]


def test_no_coronary_artery_is_3_with_a_report(fake, capsys, tmp_path):
    fake(empty_study())
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "out"), "--quiet"]) == 3
    captured = capsys.readouterr()
    report = tmp_path / "out" / "case-empty" / "report.json"
    assert captured.out == f"{report}\n"
    assert captured.err == "no coronary artery was found in x.nrrd; the report says so\n"
    assert json.loads(report.read_text("utf-8"))["vessels"] == []


@pytest.mark.parametrize("error", [InputError("it is wrong:\nsave it again"), ModelError("it is wrong: save it again")])
def test_an_unusable_input_is_2_and_leaves_nothing(fake, capsys, tmp_path, error):
    fake(error)
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "a" / "b"), "--quiet"]) == 2
    assert error_line(capsys.readouterr()) == "error: it is wrong: save it again"
    assert names(tmp_path) == set()


@pytest.mark.parametrize("error", [Cancelled("cancelled"), KeyboardInterrupt()])
def test_cancelled_is_130_and_leaves_nothing(fake, capsys, tmp_path, error):
    pipeline = fake(error, small_study())
    assert main(["analyze", "x.nrrd", "y.nrrd", "--output", str(tmp_path / "out"), "--quiet"]) == 130
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "cancelled\n")
    assert len(pipeline.calls) == 1 and names(tmp_path) == set()


def test_anything_else_is_1_and_the_log_has_the_account_without_the_message(fake, capsys, tmp_path):
    fake(ZeroDivisionError("/data/Doe^John.nrrd"))
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "out"), "--quiet"]) == 1
    line = error_line(capsys.readouterr())
    assert line.startswith("error: unexpected ZeroDivisionError in Testing/test_cli.py line ")
    assert "Doe" not in line and line.endswith("errors.log")
    log = (tmp_path / "state" / "stenosis-detection" / "errors.log").read_text("utf-8")
    assert "ZeroDivisionError" in log and "cli/analyze.py line" in log and __version__ in log
    assert "Doe" not in log and str(Path(__file__).parent) not in log
    assert names(tmp_path) == {"state"}


def test_missing_mrml_is_said_before_the_work(fake, capsys, monkeypatch, tmp_path):
    pipeline = fake(small_study())
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "slicer" else find_spec(name))
    monkeypatch.setitem(sys.modules, "slicer", None)
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "out"), "--quiet"]) == 1
    assert "pip install" in error_line(capsys.readouterr())
    assert pipeline.calls == []


def test_verbose_shows_the_traceback(fake, capsys, tmp_path):
    fake(ZeroDivisionError("seven"))
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "out"), "--verbose"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError: seven" in lines
    assert lines[-1].startswith("error: unexpected ZeroDivisionError")


def test_an_error_without_a_log_still_is_one_line(fake, capsys, monkeypatch, tmp_path):
    fake(ZeroDivisionError("seven"))
    (tmp_path / "state").write_text("a file where the folder of the log should be")
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "out"), "--quiet"]) == 1
    assert error_line(capsys.readouterr()).endswith("run again with --verbose to see more")


def test_one_bad_input_does_not_stop_the_others(fake, capsys, tmp_path):
    fake(small_study("case-1"), InputError("it is wrong: save it again"), small_study("case-3"))
    out = tmp_path / "out"
    assert main(["analyze", "a.nrrd", "b.nrrd", "c.nrrd", "--output", str(out), "--quiet"]) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [str(out / case / "report.json") for case in ("case-1", "case-3")]
    assert captured.err == "error: b.nrrd: it is wrong: save it again\n"
    assert names(out) == {"case-1", "case-3"}


def test_the_worst_status_counts(fake, tmp_path):
    fake(empty_study(), ZeroDivisionError(), InputError("x"), small_study())
    assert main(["analyze", "a", "b", "c", "d", "--output", str(tmp_path / "out"), "--quiet"]) == 1
    assert worst([]) == worst([0, 0]) == 0
    assert [worst([0, 3]), worst([3, 2]), worst([2, 1, 0]), worst([1, 130])] == [3, 2, 1, 130]


def test_an_existing_case_needs_overwrite(fake, capsys, tmp_path):
    fake(small_study(), replace(small_study(), device="mps"))
    request = ["analyze", "x.nrrd", "--output", str(tmp_path / "out"), "--quiet"]
    assert main(request) == 0
    capsys.readouterr()
    assert main(request) == 2
    assert "'case-1' exists in the output folder" in error_line(capsys.readouterr())
    assert main([*request, "--overwrite"]) == 0
    report = json.loads((tmp_path / "out" / "case-1" / "report.json").read_text("utf-8"))
    assert report["software"]["device"] == "mps"


def test_two_inputs_with_one_content_are_not_written_over_each_other(fake, capsys, tmp_path):
    fake(small_study(), small_study())
    assert main(["analyze", "a", "b", "--output", str(tmp_path / "out"), "--overwrite", "--quiet"]) == 2
    assert capsys.readouterr().err.startswith("error: b: the input gives the same case as another input of this run")


def test_an_output_that_is_a_file_is_refused_before_any_work(fake, capsys, tmp_path):
    pipeline = fake()
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "folder"):
        assert main(["analyze", "x.nrrd", "--output", str(out)]) == 2
        line = error_line(capsys.readouterr())
        assert "is a file or lies in one" in line and str(tmp_path) not in line
    assert pipeline.calls == [] and names(tmp_path) == {"file"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind this user")
def test_an_output_that_is_not_writable_is_refused_before_any_work(fake, capsys, tmp_path):
    pipeline = fake()
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert main(["analyze", "x.nrrd", "--output", str(folder / "out")]) == 2
    assert "cannot write to the output folder" in error_line(capsys.readouterr())
    assert pipeline.calls == []


def test_an_output_folder_that_was_there_stays(fake, tmp_path):
    fake(InputError("x"))
    (tmp_path / "out").mkdir()
    assert main(["analyze", "x.nrrd", "--output", str(tmp_path / "out" / "deep" / "er"), "--quiet"]) == 2
    assert names(tmp_path) == {"out"} and names(tmp_path / "out") == set()
