"""The parts of the panel that need no Slicer: the background worker and the texts."""

import dataclasses
import sys
import threading

import pytest
from studies import small_study

from StenosisDetectionLib.errors import Cancelled, InputError, error_line
from StenosisDetectionLib.gui import texts
from StenosisDetectionLib.gui.devices import device_choices
from StenosisDetectionLib.gui.worker import Worker
from StenosisDetectionLib.progress import Progress
from StenosisDetectionLib.stenosis.grades import GRADES
from StenosisDetectionLib.writing.wording import flag_words


def _wait(worker):
    for _ in range(1000):
        if worker.poll():
            return
    raise AssertionError("the worker did not end")


def test_worker_gives_result_and_last_progress():
    def work(progress):
        progress(Progress("one", 0.25, "a"))
        progress(Progress("two", 0.75, "b"))
        return threading.current_thread()

    worker = Worker(work)
    worker.start()
    _wait(worker)
    assert worker.result is not threading.main_thread()
    assert worker.progress == Progress("two", 0.75, "b")
    assert worker.error is None
    assert not worker.cancelled


def test_worker_stops_at_the_next_report_after_cancel():
    reported, may_go_on = threading.Event(), threading.Event()
    reached = []

    def work(progress):
        progress(Progress("one", 0.1))
        reported.set()
        may_go_on.wait(10)
        progress(Progress("two", 0.2))
        reached.append("two")

    worker = Worker(work)
    worker.start()
    assert reported.wait(10)
    assert not worker.poll()
    worker.cancel()
    assert worker.cancel_requested
    assert not worker.cancelled
    may_go_on.set()
    _wait(worker)
    assert worker.cancelled
    assert worker.result is None
    assert worker.error is None
    assert reached == []


def test_cancel_and_wait_returns_when_the_thread_has_ended():
    started = threading.Event()

    def work(progress):
        while True:
            progress(Progress("loop", 0.5))
            started.set()

    worker = Worker(work)
    worker.start()
    assert started.wait(10)
    assert worker.cancel_and_wait(10)
    assert worker.cancelled


def test_cancel_and_wait_says_when_the_work_does_not_stop():
    release = threading.Event()
    worker = Worker(lambda progress: release.wait(10))
    worker.start()
    assert not worker.cancel_and_wait(0.01)
    release.set()
    _wait(worker)


def test_work_lets_the_polling_thread_do_what_it_must_not():
    def step():
        return threading.current_thread()

    def broken():
        raise TimeoutError("the step's own")

    def work(_progress):
        with pytest.raises(TimeoutError, match="own"):
            worker.on_main(broken)
        return worker.on_main(step)

    worker = Worker(work)
    worker.start()
    _wait(worker)
    assert worker.error is None
    assert worker.result is threading.main_thread()


def test_cancelled_work_does_not_wait_for_a_thread_that_waits_for_it():
    asked = threading.Event()

    def work(_progress):
        asked.set()
        worker.on_main(lambda: None)

    worker = Worker(work)
    worker.start()
    assert asked.wait(10)
    assert worker.cancel_and_wait(10)
    assert worker.cancelled


@pytest.mark.parametrize("error", [InputError("a line"), ZeroDivisionError("x"), MemoryError()])
def test_worker_keeps_the_error(error):
    def work(_progress):
        raise error

    worker = Worker(work)
    worker.start()
    _wait(worker)
    assert worker.error is error
    assert not worker.cancelled


def test_error_line_is_one_line_and_names_unexpected_errors():
    assert error_line(InputError("the volume is empty: choose another")) == "the volume is empty: choose another"
    assert error_line(Cancelled("cancelled")) == "cancelled"
    assert error_line(ValueError("first\n  second")) == "Unexpected error (ValueError: first second)"
    assert error_line(MemoryError()) == "Unexpected error (MemoryError)"


def test_elapsed_text():
    assert [texts.elapsed_text(s) for s in (0.0, 59.99, 60.0, 65.2, 3605.0)] == [
        "0:00",
        "0:59",
        "1:00",
        "1:05",
        "60:05",
    ]


def test_time_text_guesses_the_rest_in_steps():
    assert texts.time_text(2.0, 0.5) == "0:02"  # too early to tell
    assert texts.time_text(20.0, 0.02) == "0:20"
    assert texts.time_text(20.0, 0.5) == "0:20, about 0:20 left"
    assert texts.time_text(20.0, 0.51) == "0:20, about 0:20 left"
    assert texts.time_text(60.0, 1.0) == "1:00"


def test_lesion_rows_hold_the_numbers_of_the_lesions():
    study = small_study()
    rows = texts.lesion_rows(study)
    assert [row.lesion_id for row in rows] == ["L1", "L2"]
    for row, lesion in zip(rows, study.lesions, strict=True):
        assert row.cells[texts.GRADE_COLUMN] == row.grade == lesion.grade
        assert row.cells[texts.STENOSIS_COLUMN] == pytest.approx(lesion.diameter_stenosis_percent, abs=0.51)
        assert row.cells[5] == pytest.approx(lesion.minimal_lumen_diameter_mm, abs=0.0051)
        assert row.cells[6] == pytest.approx(lesion.reference_diameter_mm, abs=0.0051)
        assert row.cells[7] == pytest.approx(lesion.length_mm, abs=0.051)
        assert row.cells[8] == lesion.plaque.type
        assert row.cells[texts.REVIEW_COLUMN] == "open"
    assert rows[0].cells[0] == "pLAD (6)"
    assert rows[0].cells[9] == flag_words("calcium")
    assert rows[1].cells[9] == ""


def test_a_shown_stenosis_never_contradicts_its_grade():
    study = small_study()
    lesion = dataclasses.replace(study.lesions[0], diameter_stenosis_percent=49.7, grade="mild")
    (row,) = texts.lesion_rows(dataclasses.replace(study, lesions=(lesion,)))
    assert row.cells[texts.STENOSIS_COLUMN] < 50


def test_unknown_numbers_stay_empty():
    study = small_study()
    nan = float("nan")
    lesion = dataclasses.replace(
        study.lesions[0], minimal_lumen_diameter_mm=nan, diameter_stenosis_percent=nan, reference_diameter_mm=nan
    )
    (row,) = texts.lesion_rows(dataclasses.replace(study, lesions=(lesion,)))
    assert row.cells[texts.STENOSIS_COLUMN] is None
    assert row.cells[5] is None
    assert row.cells[6] is None


def test_every_grade_has_a_color_with_enough_contrast():
    assert list(texts.GRADE_COLORS) == [grade.name for grade in GRADES]
    for background, text in texts.GRADE_COLORS.values():
        light, dark = sorted((_luminance(background), _luminance(text)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.1, level AA


def _luminance(color):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_cad_rads_line_says_who_stands_for_it():
    study = small_study()
    assert texts.cad_rads_line(study) == (
        "CAD-RADS 3/P2/N (software-suggested, unreviewed): Moderate stenosis (50-69 %)"
    )
    signed = dataclasses.replace(
        study, patient=dataclasses.replace(study.patient, reviewed=("A. Reader", "2026-01-02T03:04:05Z"))
    )
    assert "reviewed by A. Reader, 2026-01-02 03:04 UTC" in texts.cad_rads_line(signed)
    assert "unreviewed" not in texts.cad_rads_line(signed)
    nothing = dataclasses.replace(
        study, patient=dataclasses.replace(study.patient, cad_rads=None, cad_rads_text="no coronary artery was found")
    )
    assert texts.cad_rads_line(nothing) == "no coronary artery was found"


def test_summary_and_warnings():
    study = small_study()
    assert texts.summary_line(study) == "2 lesions on 3 vessels (vesselness, cpu, 1 s)"
    one = dataclasses.replace(study, lesions=study.lesions[:1])
    assert texts.summary_line(one).startswith("1 lesion on")
    assert texts.warning_lines(study) == ("small test volume",)  # named by the volume and the quality, shown once


def test_the_worst_lesion_is_the_one_to_show_first():
    study = small_study()
    assert texts.worst_lesion(study) == "L1"
    unknown = dataclasses.replace(study.lesions[0], diameter_stenosis_percent=float("nan"))
    assert texts.worst_lesion(dataclasses.replace(study, lesions=(unknown, study.lesions[1]))) == "L2"
    assert texts.worst_lesion(dataclasses.replace(study, lesions=(unknown,))) is None


def test_devices_without_loading_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    choices = device_choices()
    assert choices[0] == "auto"
    assert "cpu" in choices
    assert "torch" not in sys.modules


def test_devices_are_those_of_torch_once_it_is_loaded():
    torch = pytest.importorskip("torch")
    assert device_choices()[0] == "auto"
    assert ("cuda:0" in device_choices()) == torch.cuda.is_available()


def test_a_lesion_behind_calcium_is_shown_as_an_interval():
    study = small_study()
    lesion = dataclasses.replace(
        study.lesions[0],
        diameter_stenosis_percent=0.0,
        diameter_stenosis_interval_90=(0.0, 100.0),
        grade="none",
        flags=("calcium_limited", "interval_only"),
    )
    study = dataclasses.replace(study, lesions=(lesion,))
    row = texts.lesion_rows(study)[0]
    assert row.cells[1:4] == ("none or more", None, "0–100")
    assert row.cells[5] is None  # no minimal lumen diameter either
    assert "area stenosis –" in row.tool_tip
    line = texts.moved_line(lesion, study.lesions[0])
    assert "0–100 %" in line and "0 %" not in line.replace("0–100 %", "")
    vessel = next(row for row in texts.vessel_table_rows(study) if row.vessel == lesion.vessel)
    assert vessel.cells[3:5] == (None, "none or more")
    assert "none or more" in texts.moved_line(lesion, lesion)
