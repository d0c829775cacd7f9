"""Running the verification set: what is done is kept, a rerun goes on, and a refused study is a result."""

import json
import sys
import types
from dataclasses import dataclass, replace

import pytest
from evaluation_shapes import few_resamples
from studies import small_study

from StenosisDetectionLib import pipeline, scene
from StenosisDetectionLib.cli.main import main
from StenosisDetectionLib.errors import Cancelled, InputError
from StenosisDetectionLib.evaluation import verification
from StenosisDetectionLib.evaluation.verification import score_verification
from StenosisDetectionLib.options import AnalysisOptions
from StenosisDetectionLib.phantom.truth import LesionShape, Phantom, PhantomTruth, VesselTruth, lesion_truth
from StenosisDetectionLib.phantom.writing import write_phantom
from StenosisDetectionLib.progress import Progress
from StenosisDetectionLib.study import LabelMap


@dataclass(frozen=True)
class Case:
    name: str


def phantom(name):
    """Return a phantom whose truth is the small study with its lesions."""
    study = small_study()
    vessels = tuple(
        VesselTruth(v.name, v.parent, v.parent_distance_mm, v.points_ras, v.distance_mm, r.diameter_mm, r.diameter_mm)
        for v, r in zip(study.tree.vessels, study.references, strict=True)
    )
    truth = PhantomTruth("toy", vessels, (), (0.4, 0.4, 0.4), 20.0, 1)
    lesions = tuple(
        lesion_truth(
            LesionShape(x.vessel, x.throat_mm, x.length_mm, x.diameter_stenosis_percent), truth.vessel(x.vessel)
        )
        for x in study.lesions
    )
    labels = (study.labels.labels > 0).astype("uint8")
    lumen = LabelMap(labels, study.labels.ijk_to_ras, {1: "Coronary lumen"})
    return Phantom(replace(study.volume), replace(truth, lesions=lesions), lumen)


@pytest.fixture
def stage(monkeypatch):
    """Stand in for the verification set, the analysis and the files of the scene; count what is done."""
    done = {"rendered": [], "analyzed": 0, "next": None}
    module = types.ModuleType("StenosisDetectionLib.phantom.verification")
    module.VERSION = "0"
    module.VerificationCase = Case

    def verification_cases(name):
        if name != "T4":
            raise InputError(f"unknown set '{name}': choose one of T1 to T6")
        return tuple(Case(f"T4-{number}") for number in range(3))

    def make_cached(case, folder, report=None):
        if not (folder / case.name / "truth.json").exists():
            done["rendered"].append(case.name)
            write_phantom(phantom(case.name), folder / case.name)

    def analyze(volume, options, progress, segmentation=None):
        progress(Progress("lumen", 0.5, "working"))
        if done["next"] is not None:
            error, done["next"] = done["next"], None
            raise error
        done["analyzed"] += 1
        done["segmentation"] = segmentation
        return small_study()

    module.verification_cases, module.make_cached = verification_cases, make_cached
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(pipeline, "analyze", analyze)
    monkeypatch.setattr(scene, "write_scene_files", lambda study, directory, *_: None)
    return done


def test_what_is_done_is_not_done_again(stage, tmp_path):
    scores = score_verification("T4", tmp_path, AnalysisOptions(), count=2)
    assert [score.case_id for score in scores] == ["T4-0", "T4-1"]
    assert stage["rendered"] == ["T4-0", "T4-1"] and stage["analyzed"] == 2
    assert scores[0].lesions.pairs == ((0, 0), (1, 1))
    again = score_verification("T4", tmp_path, AnalysisOptions())
    assert len(again) == 3 and stage["rendered"] == ["T4-0", "T4-1", "T4-2"] and stage["analyzed"] == 3
    score_verification("T4", tmp_path, AnalysisOptions(), count=1, overwrite=True)
    assert len(stage["rendered"]) == 3 and stage["analyzed"] == 4


def test_other_options_or_versions_analyze_again_in_the_same_studies(stage, tmp_path, monkeypatch):
    studies = tmp_path / "studies"
    score_verification("T4", tmp_path / "a", AnalysisOptions(), count=1, studies=studies)
    score_verification("T4", tmp_path / "b", AnalysisOptions(), count=1, studies=studies, use_truth=True)
    assert stage["rendered"] == ["T4-0"] and stage["analyzed"] == 2
    assert stage["segmentation"].names == {1: "Coronary lumen"}
    score_verification("T4", tmp_path / "a", AnalysisOptions(precision="fp32"), count=1, studies=studies)
    assert stage["analyzed"] == 3
    monkeypatch.setattr(verification, "__version__", "9.9")
    score_verification("T4", tmp_path / "a", AnalysisOptions(precision="fp32"), count=1, studies=studies)
    assert stage["analyzed"] == 4


def test_a_part_of_a_set_is_spread_over_its_strata(monkeypatch):
    cases = [Case(str(number)) for number in range(100)]
    some = [int(case.name) for case in verification.spread(cases, 6)]
    assert some == [0, 7, 14, 21, 28, 35]
    assert {n % 2 for n in some} == {0, 1} and {n // 2 % 3 for n in some} == {n // 6 % 3 for n in some} == {0, 1, 2}
    assert (
        verification.spread(cases, None) == cases == sorted(verification.spread(cases, 200), key=lambda c: int(c.name))
    )
    assert verification.spread(cases[:14], 3) == cases[:3]


def test_a_cancel_keeps_what_is_finished(stage, tmp_path):
    def cancel_in_the_second(progress):
        if "T4-1" in progress.message and progress.stage == "lumen":
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        score_verification("T4", tmp_path, AnalysisOptions(), progress=cancel_in_the_second)
    assert stage["analyzed"] == 1
    assert len(score_verification("T4", tmp_path, AnalysisOptions())) == 3
    assert stage["rendered"] == ["T4-0", "T4-1", "T4-2"] and stage["analyzed"] == 3


def test_a_refused_study_is_a_result(stage, tmp_path):
    stage["next"] = InputError("no contrast agent: choose another study")
    refused, other = score_verification("T4", tmp_path, AnalysisOptions(), count=2)
    assert refused.note == "no contrast agent: choose another study" and other.note == ""
    assert refused.tree.branches_found == 0 and refused.lesions.detections == ()
    assert refused.segmentation.whole.dice == 0.0
    assert score_verification("T4", tmp_path, AnalysisOptions(), count=1)[0].note == refused.note
    assert stage["analyzed"] == 1


def test_the_command(stage, tmp_path, capsys, monkeypatch):
    few_resamples(monkeypatch)
    out = tmp_path / "out"
    assert main(["evaluate", "--verification", "T4", "--cases", "2", "--output", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out / 'evaluation.json'}\n"
    assert any(line.startswith("phantom-v0 T4: sensitivity at 50 % 1.000") for line in captured.err.splitlines())
    document = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert document["data_set"] == "phantom-v0 T4" and document["cases"] == 2
    assert main(["evaluate", "--verification", "T4", "--cases", "2", "--output", str(out), "--quiet"]) == 0
    assert stage["analyzed"] == 2
    capsys.readouterr()
    assert main(["evaluate", "--verification", "T9", "--output", str(tmp_path / "new")]) == 2
    assert "unknown set 'T9'" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
