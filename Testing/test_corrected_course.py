"""A course of which some control points were moved: what stays, what is new, and what is measured again."""

from dataclasses import fields

import numpy as np
import pytest
from scipy.spatial import cKDTree

from StenosisDetectionLib import AnalysisOptions, analyze
from StenosisDetectionLib.centerline.corrected_course import corrected_course
from StenosisDetectionLib.centerline.smoothing import resample
from StenosisDetectionLib.editing import replace_branch
from StenosisDetectionLib.lumen import measure
from StenosisDetectionLib.phantom import toy_study
from StenosisDetectionLib.study import LumenProfile, StudyResult


@pytest.fixture(scope="module")
def study() -> StudyResult:
    toy = toy_study()
    return analyze(toy.volume, AnalysisOptions(device="cpu"), segmentation=toy.lumen)


def helix() -> np.ndarray:
    angle = np.arange(0.0, 100.0, 0.1) / 30.0
    return resample(np.stack([30 * np.sin(angle), 30 * np.cos(angle), 6 * angle], axis=1), 0.25)


def controls(path: np.ndarray, count: int = 14) -> np.ndarray:
    return path[np.round(np.linspace(0, len(path) - 1, count)).astype(int)].copy()


def moved(control: np.ndarray, *rows: int) -> np.ndarray:
    control = control.copy()
    control[list(rows)] += np.array([0.8, 0.3, -0.5])
    return control


MOVED = np.array([0.0, 0.5, 0.3])
PATH = helix()
CONTROL = controls(PATH)
STEP = (len(PATH) - 1) / 13


@pytest.mark.parametrize(
    ("control", "first", "old_last"),
    [
        (moved(CONTROL, 5), 4, 6),
        (moved(CONTROL, 3, 8), 2, 9),
        (np.delete(CONTROL, 6, axis=0), 5, 7),
        (np.insert(CONTROL, 6, CONTROL[5:7].mean(axis=0) + MOVED, axis=0), 5, 6),
    ],
    ids=["moved", "two moved", "removed", "added"],
)
def test_the_path_stays_between_points_that_stay(control, first, old_last):
    course = corrected_course(PATH, control)
    assert course is not None
    assert abs(course.first - 1 - first * STEP) <= 1 and abs(course.old_last - old_last * STEP) <= 1
    np.testing.assert_array_equal(course.points_ras[: course.first], PATH[: course.first])
    np.testing.assert_array_equal(course.points_ras[course.last :], PATH[course.old_last :])
    steps = np.linalg.norm(np.diff(course.points_ras, axis=0), axis=1)
    assert abs(steps - 0.25).max() < 0.003
    assert cKDTree(course.points_ras).query(control)[0].max() < 0.13
    turns = np.diff(course.points_ras, 2, axis=0)
    assert np.linalg.norm(turns, axis=1).max() < 0.03  # no corner where old and new meet


def test_a_tip_is_moved_extended_or_cut():
    tip = corrected_course(PATH, moved(CONTROL, 13))
    longer = corrected_course(PATH, np.concatenate([CONTROL, CONTROL[-1:] + 10.0 * MOVED]))
    shorter = corrected_course(PATH, CONTROL[:-1])
    both = corrected_course(PATH, moved(CONTROL[:-1], 4))
    assert tip is not None and longer is not None and shorter is not None and both is not None
    assert abs(tip.first - 1 - 12 * STEP) <= 1 and tip.last == len(tip.points_ras)
    assert longer.first == len(PATH) and len(longer.points_ras) > len(PATH) + 25
    assert len(shorter.points_ras) == shorter.first == shorter.last
    np.testing.assert_array_equal(shorter.points_ras, PATH[: len(shorter.points_ras)])
    kept = len(both.points_ras) - both.last
    np.testing.assert_array_equal(both.points_ras[both.last :], PATH[both.old_last :][:kept])
    np.testing.assert_allclose(both.points_ras[-1], CONTROL[-2])


@pytest.mark.parametrize(
    "control",
    [
        CONTROL,
        moved(CONTROL, 0),
        CONTROL + 1.0,
        CONTROL[::-1],
        CONTROL[:2],
        np.full((5, 3), np.nan),
        np.zeros((5, 2)),
    ],
    ids=["nothing moved", "start", "all", "backwards", "two points", "not a number", "flat"],
)
def test_what_is_no_correction_is_drawn_anew(control):
    assert corrected_course(PATH, control) is None


def test_only_what_changed_is_measured_again(study, monkeypatch):
    fitted = []

    def fit_contours(*arguments):
        fitted.append(len(arguments[5]))
        return measured(*arguments)

    measured = measure.fit_contours
    monkeypatch.setattr(measure, "fit_contours", fit_contours)
    vessel, profile = study.tree.vessel("RCA"), profile_of(study, "RCA")
    control = controls(vessel.points_ras, 18)
    edited = replace_branch(study, "RCA", moved(control, 12))
    new, after = edited.tree.vessel("RCA"), profile_of(edited, "RCA")
    (count,) = fitted
    assert count < 0.6 * len(vessel.points_ras)
    assert "edited" in new.flags and new.parent == vessel.parent
    whole = measure_whole(edited, "RCA")
    away = cKDTree(vessel.points_ras).query(new.points_ras)[0]
    changed = np.flatnonzero(away > 1e-9)
    assert 20 < len(changed) < 100 and away.max() > 0.3
    for field in fields(LumenProfile):
        if field.name in ("vessel", "psf_error_mm", "quality"):
            continue
        value, expected = getattr(after, field.name), getattr(whole, field.name)
        assert value.shape == expected.shape, field.name
    np.testing.assert_allclose(after.frames, whole.frames, atol=1e-9)
    known = np.isfinite(after.diameter_mm) & np.isfinite(whole.diameter_mm)
    assert known.sum() > 0.9 * len(known)
    np.testing.assert_allclose(after.diameter_mm[known], whole.diameter_mm[known], atol=0.02)
    # The directions of the contours behind turned with the path before them.
    np.testing.assert_allclose(after.contour_radius_mm[known], whole.contour_radius_mm[known], atol=0.06)
    far = [
        lesion
        for lesion in study.lesions
        if lesion.vessel == "RCA" and not changed[0] - 40 < 4 * lesion.throat_mm < changed[-1] + 40
    ]
    assert far
    for lesion in far:
        (same,) = [one for one in edited.lesions if one.id == lesion.id]
        assert same.diameter_stenosis_percent == pytest.approx(lesion.diameter_stenosis_percent, abs=1.0)
    before = slice(0, changed[0] - 20)
    np.testing.assert_array_equal(after.diameter_mm[before], profile.diameter_mm[before])


def profile_of(study: StudyResult, name: str) -> LumenProfile:
    return next(p for p in study.profiles if p.vessel == name)


def measure_whole(study: StudyResult, name: str) -> LumenProfile:
    """Return the profile of a vessel as `measure_lumen` gives it for the whole of it."""
    from StenosisDetectionLib.editing import _blood_hu, _noise_hu, _point_spread
    from StenosisDetectionLib.lumen import VolumeSampler

    (profile,) = measure.measure_lumen(
        study.volume,
        study.tree,
        _blood_hu(study),
        _noise_hu(study),
        _point_spread(study),
        VolumeSampler(study.volume, "cpu"),
        only=frozenset({name}),
        segmentation=study.segmentation,
    )
    return profile
