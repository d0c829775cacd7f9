"""Measures of centerlines: hand-made lines and trees with known values."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from evaluation_shapes import heart, straight, tree

from StenosisDetectionLib.evaluation.centerline import compare_trees, path_from_ostium
from StenosisDetectionLib.evaluation.paths import compare_paths, correspondence
from StenosisDetectionLib.study import VesselTree


def line(start, end, offset=(0.0, 0.0, 0.0)):
    """Return a line along x from `start` to `end` mm, every mm, moved by an offset."""
    x = np.linspace(start, end, round(abs(end - start)) + 1)
    return np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=1) + np.array(offset)


REFERENCE = line(0, 100)
RADIUS = np.ones(101)


def test_a_perfect_path_has_perfect_scores():
    scores = compare_paths(REFERENCE, REFERENCE, RADIUS)
    assert (scores.overlap, scores.overlap_first_error, scores.overlap_relevant) == (1.0, 1.0, 1.0)
    assert scores.accuracy_inside_mm == scores.average_distance_mm == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("step", [0.1, 0.03])
def test_a_shifted_path_within_the_radius(step):
    scores = compare_paths(line(0, 100, (0, 0.5, 0)), REFERENCE, RADIUS, step)
    assert (scores.overlap, scores.overlap_first_error, scores.overlap_relevant) == (1.0, 1.0, 1.0)
    assert scores.accuracy_inside_mm == pytest.approx(0.5, abs=1e-6)


def test_a_path_outside_of_the_radius_has_no_accuracy_inside():
    scores = compare_paths(line(0, 100, (0, 2, 0)), REFERENCE, RADIUS)
    assert (scores.overlap, scores.overlap_first_error, scores.overlap_relevant) == (0.0, 0.0, 0.0)
    assert scores.accuracy_inside_mm is None
    assert scores.average_distance_mm == pytest.approx(2.0, abs=1e-6)


def test_a_short_path():
    """60 mm are found; the last point reaches 1 mm, its radius, further along the reference."""
    scores = compare_paths(line(0, 60), REFERENCE, RADIUS)
    assert scores.overlap == pytest.approx((60 + 61) / 160, abs=0.002)
    assert scores.overlap_first_error == pytest.approx(0.61, abs=0.002)


def test_a_path_that_goes_on_behind_the_reference():
    scores = compare_paths(line(0, 120), REFERENCE, RADIUS)
    assert scores.overlap == pytest.approx((100 + 101) / 220, abs=0.002)
    assert scores.overlap_first_error == 1.0


def test_a_detour():
    """From 40 to 60 mm the path runs 3 mm beside the reference: 20 mm of both are wrong, and the first error at 40."""
    path = np.concatenate([line(0, 40), line(40, 60, (0, 3, 0)), line(60, 100)])
    scores = compare_paths(path, REFERENCE, RADIUS)
    wrong_path, wrong_reference = 20 + 2 * 2.0, 20.0  # two mm of each way there and back lie outside
    expected = (200 + 6 - wrong_path - wrong_reference) / 206
    assert scores.overlap == pytest.approx(expected, abs=0.01)
    assert scores.overlap_first_error == pytest.approx(0.40, abs=0.015)


def test_errors_of_the_first_5_mm_are_no_first_error():
    path = np.concatenate([line(0, 4, (0, 3, 0)), line(5, 100)])
    assert compare_paths(path, REFERENCE, RADIUS).overlap_first_error == pytest.approx(0.96, abs=0.02)
    later = np.concatenate([line(0, 10), line(10, 20, (0, 3, 0)), line(20, 100)])
    assert compare_paths(later, REFERENCE, RADIUS).overlap_first_error == pytest.approx(0.10, abs=0.015)


def test_the_relevant_part_ends_where_the_vessel_is_1p5_mm_wide():
    radius = np.where(np.arange(101) <= 50, 1.0, 0.5)
    scores = compare_paths(line(0, 51), REFERENCE, radius)
    assert scores.overlap == pytest.approx((51 + 51.5) / 151, abs=0.004)
    assert scores.overlap_relevant == pytest.approx(1.0, abs=0.004)
    assert compare_paths(line(0, 51), REFERENCE, 0.5 * RADIUS).overlap_relevant is None


def test_what_lies_before_the_ostium_is_cut_off():
    inside_aorta = np.concatenate([line(-15, -1, (0, 1, 0)), REFERENCE])
    scores = compare_paths(inside_aorta, REFERENCE, RADIUS)
    assert scores.overlap == pytest.approx(1.0, abs=0.005)
    # Far beside the ostium nothing is cut: the path is wrong there.
    beside = np.concatenate([line(-15, 20, (0, 8, 0)), line(20, 100)])
    assert compare_paths(beside, REFERENCE, RADIUS).overlap < 0.85


def test_the_correspondence_is_the_best_of_all():
    """Against every monotone path of pairs of two short lines."""
    generator = np.random.default_rng(5)
    for n, m in ((1, 1), (1, 5), (4, 1), (4, 5), (5, 5)):
        a, b = generator.normal(size=(n, 3)), generator.normal(size=(m, 3))
        first, second = correspondence(a, b)
        assert set(first) == set(range(n)) and set(second) == set(range(m))
        assert all(np.diff(first) >= 0) and all(np.diff(second) >= 0)
        found = np.linalg.norm(a[first] - b[second], axis=1).sum()
        assert found == pytest.approx(min(_sums(a, b)))


def _sums(a, b):
    def follow(i, j, total):
        total += float(np.linalg.norm(a[i] - b[j]))
        if (i, j) == (len(a) - 1, len(b) - 1):
            yield total
        for di, dj in ((1, 0), (0, 1), (1, 1)):
            if i + di < len(a) and j + dj < len(b):
                yield from follow(i + di, j + dj, total)

    return list(itertools.chain(follow(0, 0, 0.0)))


def test_a_perfect_tree():
    scores = compare_trees(heart(), heart())
    assert [path.name for path in scores.paths] == ["LAD", "LCX", "RCA", "D1"]
    assert all(path.scores.overlap == 1.0 for path in scores.paths)
    assert [ostium.distance_mm for ostium in scores.ostia] == [0.0, 0.0]
    assert scores.found_mm == scores.reference_mm and scores.matched_mm == scores.path_mm
    assert (scores.branches, scores.branches_found, scores.false_branches, scores.gaps) == (5, 5, 0, 0)
    assert scores.trees == scores.trees_reference == 2
    assert scores.named_mm == scores.main_mm > 0 and scores.segment_named_mm == scores.segment_mm > 0


def test_an_empty_tree_misses_everything():
    scores = compare_trees(VesselTree(()), heart())
    assert all(path.scores.overlap == 0.0 for path in scores.paths)
    assert [ostium.distance_mm for ostium in scores.ostia] == [None, None]
    assert scores.found_mm == scores.path_mm == scores.main_mm == 0.0
    assert scores.branches_found == 0 and len(scores.missed_branches) == 5
    nothing = compare_trees(VesselTree(()), VesselTree(()))
    assert nothing.paths == () and nothing.reference_mm == 0.0 and nothing.false_branches == 0


def test_a_shifted_tree():
    scores = compare_trees(heart((0.3, 0.0, 0.4)), heart())
    assert [ostium.distance_mm for ostium in scores.ostia] == pytest.approx([0.5, 0.5])
    assert all(path.scores.overlap > 0.99 for path in scores.paths)
    rca = next(path for path in scores.paths if path.name == "RCA")
    assert rca.scores.accuracy_inside_mm == pytest.approx(0.3, abs=0.01)  # it runs along z


def test_a_missing_vessel_and_a_false_one():
    vein = straight("branch", (-40, 60, 30), (1, 0, 0), 25, 1.0)
    found = tree(*heart(names=("LM", "LAD", "LCX", "D1")).vessels, vein)
    scores = compare_trees(found, heart())
    assert scores.missed_branches == ("RCA",) and scores.branches_found == 4
    assert scores.false_branches == 1
    assert scores.found_mm == pytest.approx(scores.reference_mm - 100, abs=1.0)
    assert scores.matched_mm == pytest.approx(scores.path_mm - 25, abs=1.0)
    rca = next(path for path in scores.paths if path.name == "RCA")
    assert rca.scores.overlap == 0.0 and rca.scores.accuracy_inside_mm is None


def test_a_vessel_of_which_the_reference_knows_nothing_is_not_false():
    unseen = straight("LCX", (-40, 60, 30), (1, 0, 0), 25, 1.0)
    found = tree(*heart(names=("LM", "LAD", "D1")).vessels, unseen)
    reference = heart(names=("LM", "LAD", "D1"))
    scores = compare_trees(found, reference, unknown=("LCX", "OM1"))
    assert scores.false_branches == 0 and scores.matched_mm == scores.path_mm
    assert compare_trees(found, reference, unknown=("RCA",)).false_branches == 1
    # what the reference does hold counts under any name
    assert compare_trees(reference, reference, unknown=("LAD",)).matched_mm == pytest.approx(
        compare_trees(reference, reference).matched_mm
    )


def test_thin_branches_are_not_asked_for_but_not_false():
    thin = straight("S1", (-10, 40, 0), (0, 0, -1), 20, 0.6, "LAD", 40.0)
    with_thin = tree(*heart().vessels, thin)
    assert compare_trees(heart(), with_thin).branches == 5
    assert compare_trees(with_thin, with_thin).false_branches == 0
    assert compare_trees(with_thin, heart()).false_branches == 1


def test_a_gap():
    parts = heart()
    lad = parts.vessel("LAD")
    first = straight("LAD", lad.points_ras[0], (0, 1, 0), 30, 1.6, "LM", 10.0)
    second = straight("branch", lad.points_ras[0] + (0, 40, 0), (0, 1, 0), 40, 1.6)
    others = [vessel for vessel in parts.vessels if vessel.name != "LAD"]
    scores = compare_trees(tree(*others[:1], first, *others[1:], second), parts)
    assert scores.gaps == 1 and scores.trees - scores.trees_reference == 1
    assert scores.found_mm == pytest.approx(scores.reference_mm - 10 + 2 * 1.5, abs=1.0)


def test_swapped_names():
    right = heart()
    swapped = {"LAD": "LCX", "LCX": "LAD"}
    vessels = [replace(v, name=swapped.get(v.name, v.name)) for v in right.vessels if v.name != "D1"]
    scores = compare_trees(tree(*vessels), right)
    # LM and RCA keep their names: 110 of 240 mm, and 1.5 mm or less around the fork are within the tolerance of both.
    assert scores.named_mm / scores.main_mm == pytest.approx(110 / 240, abs=0.02)
    assert all(path.scores.overlap > 0.99 for path in scores.paths if path.name != "D1")


def test_segment_boundaries_that_are_off():
    moved = heart(
        RCA=straight("RCA", (40, 0, 0), (0, 0, -1), 100, 1.7, segments=((1, 0, 45), (2, 45, 70), (3, 70, 100)))
    )
    scores = compare_trees(moved, heart())
    assert scores.named_mm == scores.main_mm
    assert 1 - scores.segment_named_mm / scores.segment_mm == pytest.approx(10 / 240, abs=0.005)


def test_the_path_to_a_branch_goes_through_its_parents():
    points, radius = path_from_ostium(heart(), "D1")
    assert points[0] == pytest.approx([0, 0, 0]) and points[-1] == pytest.approx(heart().vessel("D1").points_ras[-1])
    assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() < 0.3
    assert len(points) == len(radius)
