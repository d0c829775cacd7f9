"""The review of a study, the session that keeps it, and the record of both: plain data, no Qt."""

import dataclasses
import json

import numpy as np
import pytest
from studies import full_study, small_study

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.gui import review as steps
from StenosisDetectionLib.gui.environment import Environment, environment_lines, free_memory_gb, look
from StenosisDetectionLib.gui.review import ACCEPTED, REJECTED, Review
from StenosisDetectionLib.gui.reviewed import counted_study, shown_study
from StenosisDetectionLib.gui.suggestion import VolumeFacts, suggest_volume
from StenosisDetectionLib.scene.record import StudyRecorder, plain, study_of_text

AT, LATER = "2026-01-02T03:04:05Z", "2026-01-02T03:05:00Z"


def assert_same(first, second, where="study"):
    assert type(first) is type(second), where
    if isinstance(first, np.ndarray):
        assert first.dtype == second.dtype, where
        assert np.array_equal(first, second, equal_nan=first.dtype.kind == "f"), where
    elif dataclasses.is_dataclass(first):
        for field in dataclasses.fields(first):
            assert_same(getattr(first, field.name), getattr(second, field.name), f"{where}.{field.name}")
    elif isinstance(first, tuple | list):
        assert len(first) == len(second), where
        for one, other in zip(first, second, strict=True):
            assert_same(one, other, where)
    elif isinstance(first, dict):
        assert list(first) == list(second), where
        for key in first:
            assert_same(first[key], second[key], f"{where}[{key}]")
    elif isinstance(first, float) and first != first:
        assert second != second, where
    else:
        assert first == second, where


@pytest.mark.parametrize("make", [small_study, full_study])
def test_a_study_survives_as_text(make):
    study = make()
    text = StudyRecorder().text_of(study)
    assert "\n" not in text
    assert_same(study, study_of_text(text, study.volume))
    # The voxels are in the volume node; they are not written twice.
    noise = dataclasses.replace(study.volume, voxels=np.random.default_rng(0).random((80, 88, 96)).astype("f4"))
    assert len(StudyRecorder().text_of(dataclasses.replace(study, volume=noise))) < len(text) + 100


def test_the_recorder_gives_the_same_text_again():
    study, recorder = small_study(), StudyRecorder()
    first = recorder.text_of(study)
    assert recorder.text_of(study) == first
    other = dataclasses.replace(study, lesions=study.lesions[:1])
    assert_same(other, study_of_text(recorder.text_of(other), study.volume))


def test_empty_masks_survive():
    study = small_study()
    nothing = dataclasses.replace(study.segmentation, aorta=np.zeros_like(study.segmentation.aorta))
    study = dataclasses.replace(study, segmentation=nothing)
    assert_same(study, study_of_text(StudyRecorder().text_of(study), study.volume))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        json.dumps(
            {"format": "stenosis-detection/study/1", "shape": [1, 1, 1], "study": {"type": "Popen", "fields": {}}}
        ),
        json.dumps({"format": "stenosis-detection/study/1", "shape": [1, 1, 1], "study": 5}),
    ],
)
def test_foreign_text_is_no_study(text):
    with pytest.raises(InputError, match="cannot be read"):
        study_of_text(text, small_study().volume)


def test_a_record_belongs_to_its_volume():
    study = small_study()
    text = StudyRecorder().text_of(study)
    smaller = dataclasses.replace(study.volume, voxels=study.volume.voxels[1:])
    moved = dataclasses.replace(study.volume, ijk_to_ras=study.volume.ijk_to_ras + np.eye(4))
    for volume in (smaller, moved):
        with pytest.raises(InputError, match="changed"):
            study_of_text(text, volume)


def test_decisions_are_recorded_and_end_a_signature():
    review = steps.signed(Review(), "AR", AT)
    assert review.signed == ("AR", AT)
    review = steps.decided(review, "L1", REJECTED, "", LATER)
    assert review.signed is None
    assert review.rejected == {"L1"}
    assert [event.by for event in review.events] == ["AR", steps.NOBODY]
    assert review.events[1].line == "2026-01-02 03:05 UTC  unnamed reader  rejected L1"
    review = steps.commented(review, "L1", "calcium", "BR", LATER)
    assert review.opinion("L1").state == REJECTED
    assert review.opinion("L1").comment == "calcium"


def test_a_signature_needs_a_name():
    with pytest.raises(InputError, match="name"):
        steps.signed(Review(), "  ", AT)


def test_a_review_survives_as_text():
    lesion = small_study().lesions[0]
    review = steps.decided(Review(), "L2", ACCEPTED, "Ä", AT)
    review = steps.edited(review, lesion, dataclasses.replace(lesion, throat_mm=9.0), "moved", ("8", "9"), "B", LATER)
    review = steps.signed(review, "B", LATER)
    text = steps.text_of_review(review)
    assert text.isascii()
    assert_same(review, steps.review_of_text(text))
    assert steps.review_of_text("") == Review()
    for wrong in ("{}", "[]", "x", json.dumps({"format": steps.FORMAT, "review": plain(lesion)})):
        with pytest.raises(InputError):
            steps.review_of_text(wrong)


def test_what_counts_follows_the_review():
    study = small_study()
    assert counted_study(study, Review()).patient == study.patient
    review = steps.decided(Review(), "L1", REJECTED, "A", AT)
    counted = counted_study(study, review)
    assert [lesion.id for lesion in counted.lesions] == ["L2"]
    assert counted.patient.cad_rads != study.patient.cad_rads
    assert counted.patient.reviewed is None
    assert len(shown_study(study, review).lesions) == 2
    signed = counted_study(study, steps.signed(review, "A", LATER))
    assert signed.patient.reviewed == ("A", LATER)
    narrower = dataclasses.replace(study.lesions[1], diameter_stenosis_percent=80.0, grade="severe")
    edited = steps.edited(Review(), study.lesions[1], narrower, "moved", ("", ""), "A", AT)
    assert counted_study(study, edited).lesions[1].grade == "severe"
    assert shown_study(study, edited).lesions[1].grade == "severe"
    added = dataclasses.replace(study.lesions[0], id="A1", throat_mm=1.0)
    assert [
        x.id for x in shown_study(study, steps.edited(Review(), None, added, "added", ("", ""), "A", AT)).lesions
    ] == [
        "A1",
        "L1",
        "L2",
    ]


def test_review_line():
    assert steps.review_line(Review(), ()) == "Not signed; no lesions to decide on."
    review = steps.decided(Review(), "L1", REJECTED, "A", AT)
    assert steps.review_line(review, ("L1", "L2")) == "Not signed: of 2 lesions 0 accepted, 1 rejected, 1 open."
    assert steps.review_line(steps.signed(review, "A", AT), ("L1",)) == "Signed by A, 2026-01-02 03:04 UTC."


def _volume(name, modality="CT", slices=200, thickness=0.5, field=200.0):
    return VolumeFacts(name, name, modality, (512, 512, slices), (field / 512, field / 512, thickness))


def test_the_suggestion_is_the_coronary_angiography():
    best = _volume("6: CorCTA 75 % B26f")
    others = (
        _volume("2: Calcium Score 3.0", thickness=3.0, slices=50),
        _volume("4: Bolus timing", slices=20),
        _volume("9: Lung", field=400.0, thickness=1.5),
        _volume("Liver", modality="MR"),
        _volume("1: Topogram", slices=1),
    )
    assert suggest_volume((*others, best, _volume("7: CorCTA 35 %", thickness=0.8))).node_id == best.node_id
    assert "cardiac field of view" in suggest_volume((best,)).line
    assert suggest_volume(()) is None
    assert suggest_volume((_volume("MR", modality="MR"),)) is None
    assert suggest_volume((_volume("x", modality=""),)).node_id == "x"


def test_environment_lines_say_what_to_do():
    ready = Environment("2.6", ("cuda:0 (Card, 24 GB)", "cpu (8 threads)"), 20.0, 16.0)
    lines = environment_lines(ready)
    assert lines[1] == "GPU: cuda:0 (Card, 24 GB), 20.0 GB free"
    assert ready.ready
    assert lines[-1] == "Packages: complete"
    missing = Environment(None, None, None, 2.0, ("monai>=1.3",))
    text = "\n".join(environment_lines(missing))
    assert "Install PyTorch" in text
    assert "close other programs" in text
    assert "monai>=1.3 missing" in text
    assert not missing.ready
    assert any("smaller pieces" in line for line in environment_lines(dataclasses.replace(ready, gpu_free_gb=1.0)))
    assert "none, the processor" in environment_lines(Environment("2", ("cpu (1 thread)",), None, None))[1]


def test_looking_loads_nothing(monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "torch", raising=False)
    environment = look()
    assert "torch" not in sys.modules
    assert environment.devices is None
    memory = free_memory_gb()
    assert memory is None or 0.0 < memory < 10_000.0


def test_the_decisions_of_a_review_survive_and_show_in_the_report():
    """From the panel's steps to text, back, and into the report: who, when, why, before and after."""
    from StenosisDetectionLib.writing.page import report_page

    study = small_study()
    first, second = study.lesions
    narrower = dataclasses.replace(second, diameter_stenosis_percent=72.0, grade="severe")
    review = steps.commented(Review(), first.id, "look again", "A. Reader", AT)
    review = steps.edited(review, second, narrower, "moved", ("30 %", "72 %"), "B. Reader", LATER)
    saved = steps.text_of_review(review)
    counted = counted_study(study, steps.review_of_text(saved))
    assert [(one.lesion_id, one.decision, one.by, one.at) for one in counted.reviews] == [
        (first.id, "commented", "A. Reader", AT),
        (second.id, "edited", "B. Reader", LATER),
    ]
    again = study_of_text(StudyRecorder().text_of(counted), study.volume)
    assert_same(counted, again)
    page = report_page(again)
    for words in ("look again", "A. Reader", "B. Reader", AT, LATER, ">commented<", ">edited<", ">72<"):
        assert words in page
