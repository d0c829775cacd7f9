"""A course of which some control points were moved: what of the path stays, and what is new."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from StenosisDetectionLib.centerline.corrected_course import corrected_course
from StenosisDetectionLib.centerline.smoothing import resample


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
