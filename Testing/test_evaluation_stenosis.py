"""Matching of lesions and the scores of stenoses: hand-made patients with known values."""

import math
from dataclasses import replace

import numpy as np
import pytest
from evaluation_shapes import heart, lesion, straight, tree

from StenosisDetectionLib.evaluation import stenosis
from StenosisDetectionLib.evaluation.causes import CAUSES
from StenosisDetectionLib.evaluation.lesions import category_of, compare_lesions, match_lesions
from StenosisDetectionLib.study import VesselTree

HEART = heart()


def stenosis_figures(cases):
    return stenosis.stenosis_figures(cases, samples=40)  # enough to test, and fast


def patient(references=(), detections=(), category=None, name="a", **options):
    category = category_of(detections) if category is None else category
    return compare_lesions(name, references, detections, HEART, HEART, category, **options)


def at(figures, percent):
    return next(item for item in figures.thresholds if item.percent == percent)


def values(figures):
    return {name: item.value for name, item in figures.items()}


@pytest.mark.parametrize(
    ("truth", "found", "same"),
    [
        (lesion(60, throat=30), lesion(55, throat=34.9, length=1), True),  # throats within 5 mm
        (lesion(60, throat=30, length=2), lesion(55, throat=36, length=2), False),
        (lesion(60, throat=30, length=8), lesion(55, throat=37, length=8), True),  # overlap of 1 mm
        (lesion(60, throat=30, length=8), lesion(55, throat=37.2, length=8), False),
        (lesion(60, "RCA", 30), lesion(60, "LAD", 30), False),
        (lesion(60, "LM", 8), lesion(60, "LAD", 2), True),  # 4 mm apart on one path, across the names
        (lesion(60, "D1", 3), lesion(60, "LAD", 23), False),  # each on its own branch, 3 mm off the path
    ],
)
def test_when_two_lesions_are_the_same(truth, found, same):
    assert bool(match_lesions([truth], [found], HEART)) is same


def test_a_lesion_on_a_shifted_centerline():
    """Up to 2 mm beside the path it is the same; further away only within one segment."""
    for shift, segment, same in ((1.9, 0, True), (2.5, 0, False), (2.5, 7, True)):
        moved = lesion(60, on=heart((0, 0, shift)), segment=segment)
        assert bool(match_lesions([lesion(60)], [moved], HEART)) is same


def test_the_assignment_is_one_to_one_and_nearest():
    truth = [lesion(60, throat=30), lesion(30, throat=35)]
    found = [lesion(28, throat=34), lesion(58, throat=31), lesion(40, throat=60)]
    assert match_lesions(truth, found, HEART) == [(0, 1), (1, 0)]
    # Two detections of one lesion: one is left over.
    assert match_lesions([lesion(60)], [lesion(50, throat=27), lesion(60, throat=30)], HEART) == [(0, 1)]
    # The most pairs before the smallest distance.
    chain = [lesion(50, throat=30, length=2), lesion(50, throat=34, length=2)]
    assert match_lesions(chain, [lesion(50, throat=30, length=2), lesion(50, throat=26, length=2)], HEART) == [
        (0, 1), (1, 0),
    ]  # fmt: skip


def test_lesions_without_a_place():
    """A reader's list may say the segment only; or the distance along the vessel only."""
    nowhere = {
        "start_mm": None,
        "throat_mm": None,
        "end_mm": None,
        "start_ras": None,
        "throat_ras": None,
        "end_ras": None,
    }
    by_segment = replace(lesion(60), **nowhere)
    assert match_lesions([by_segment], [lesion(50, throat=45)], HEART) == [(0, 0)]
    assert match_lesions([by_segment], [lesion(50, throat=55)], HEART) == []
    by_vessel = replace(by_segment, segment=None)
    assert match_lesions([by_vessel], [lesion(50, throat=70)], None) == [(0, 0)]
    by_distance = replace(lesion(60), start_ras=None, throat_ras=None, end_ras=None)
    assert match_lesions([by_distance], [lesion(50, throat=33)], HEART) == [(0, 0)]
    assert match_lesions([by_distance], [lesion(50, throat=45)], HEART) == []
    by_point = replace(lesion(60), start_mm=None, throat_mm=None, end_mm=None, start_ras=None, end_ras=None, vessel="x")
    assert match_lesions([by_point], [lesion(50, throat=33)], HEART) == [(0, 0)]


def test_an_interval_alone_is_called_by_its_middle_and_has_no_error():
    truth = (lesion(60), lesion(80, "RCA", 50))
    hidden = replace(lesion(62), interval_90=(44.0, 80.0), flags=("interval_only",))  # read as its middle, 62
    figures = stenosis_figures([patient(truth, (hidden, replace(lesion(70, "RCA", 50), interval_90=(60.0, 75.0))))])
    assert [pair.measured_percent for pair in figures.pairs] == [None, 70]
    measured = figures.measurement
    assert (measured["bias"].value, measured["bias"].n) == (-10.0, 1)
    assert (measured["interval_90_coverage"].value, measured["interval_90_coverage"].n) == (0.5, 2)
    assert values(figures.thresholds[1].lesions)["sensitivity"] == 1.0
    assert values(figures.thresholds[2].lesions)["sensitivity"] == 1.0  # of the 80 % one


def test_a_perfect_result():
    truth = (lesion(60), lesion(80, "RCA", 50), lesion(30, "LCX", 20))
    exact = tuple(replace(item, interval_90=(v - 5, v + 5), probability_50=float(v >= 50)) for item in truth
                  for v in [item.diameter_stenosis_percent])  # fmt: skip
    healthy = patient((), (), "0", "b")
    figures = stenosis_figures([patient(truth, exact), healthy, patient(truth[2:], exact[2:], name="c")])
    for item in figures.thresholds:
        scores = values(item.lesions)
        assert scores["sensitivity"] == scores["positive_predictive_value"] == scores["f1"] == 1.0
        assert scores["false_positives_per_patient"] == 0.0 and sum(item.causes.values()) == 0
        assert values(item.patients) == {"sensitivity": 1.0, "specificity": 1.0, "auc": 1.0}
        assert values(item.vessels["all"]) == {"sensitivity": 1.0, "specificity": 1.0, "auc": 1.0}
    measured = values(figures.measurement)
    assert all(measured[name] == 0.0 for name in ("bias", "sd", "mae", "rmse", "rmse_with_misses", "mld_bias"))
    assert measured["icc_2_1"] == measured["pearson"] == pytest.approx(1.0)
    assert measured["interval_90_coverage"] == 1.0
    assert values(figures.agreement) == {"kappa_linear": 1.0, "kappa_quadratic": 1.0, "exact": 1.0, "within_one": 1.0}


def test_thresholds_and_near_false_positives():
    truth = (lesion(60), lesion(45, "RCA", 30), lesion(20, "LCX", 20))
    found = (
        lesion(40),  # found, but below the threshold: missed at 50
        lesion(55, "RCA", 31),  # near: the true lesion has 45 %
        lesion(52, "LCX", 21),  # of a lesion of 20 %: false
        lesion(65, "RCA", 80),  # nothing there: false
    )
    figures = stenosis_figures([patient(truth, found)])
    half = at(figures, 50.0)
    assert half.counts == {
        "true_positives": 0, "false_positives": 3, "near_false_positives": 1, "false_negatives": 1
    }  # fmt: skip
    quarter = at(figures, 25.0)
    assert quarter.counts == {
        "true_positives": 2, "false_positives": 2, "near_false_positives": 1, "false_negatives": 0
    }  # fmt: skip
    assert quarter.lesions["positive_predictive_value"].value == 0.5
    assert quarter.lesions["positive_predictive_value_without_near"].value == pytest.approx(2 / 3)
    assert quarter.lesions["f1"].value == pytest.approx(2 * 0.5 * 1.0 / 1.5)
    assert half.causes["overestimated"] == 2 and half.causes["motion_or_noise"] == 1
    assert at(figures, 70.0).lesions["sensitivity"].value is None


def test_ungraded_lesions_are_neither_hit_nor_miss():
    narrow = lesion(80, throat=70, reference_diameter_mm=1.2)
    found = stenosis_figures([patient((narrow,), (lesion(75, throat=70),))])
    missed = stenosis_figures([patient((narrow,), ())])
    for figures in (found, missed):
        assert figures.references == 0 and figures.ignored == 1 and figures.pairs == ()
        assert at(figures, 50.0).counts == dict.fromkeys(at(figures, 50.0).counts, 0)
        assert figures.measurement["rmse_with_misses"].value is None


def test_measurement_by_hand():
    truth = (lesion(40), lesion(60, "RCA", 30), lesion(50, "LCX", 20))
    found = (
        lesion(44, interval_90=(35, 50)),
        lesion(58, "RCA", 30, interval_90=(61, 70), minimal_lumen_diameter_mm=1.5),
    )
    figures = stenosis_figures([patient(truth, found)])
    measured = values(figures.measurement)
    assert measured["bias"] == pytest.approx(1.0)
    assert measured["sd"] == pytest.approx(math.sqrt(18))
    assert measured["limit_of_agreement_high"] == pytest.approx(1 + 1.96 * math.sqrt(18))
    assert measured["mae"] == pytest.approx(3.0)
    assert measured["rmse"] == pytest.approx(math.sqrt(10))
    assert measured["rmse_with_misses"] == pytest.approx(math.sqrt((16 + 4 + 2500) / 3))
    assert measured["interval_90_coverage"] == 0.5
    assert measured["pearson"] == pytest.approx(1.0)
    # MSR = (mean 42 and 59): 289; MSC = 1; MSE = 9: ICC = (289 - 9) / (289 + 9 + 2 (1 - 9) / 2) = 280 / 290.
    assert measured["icc_2_1"] == pytest.approx(280 / 290)
    assert measured["mld_bias"] == pytest.approx((-0.12 + 0.3) / 2)
    assert all(item.interval_95 is None for item in figures.measurement.values())  # one patient


def test_froc_by_hand():
    """Two patients, three lesions; scores 0.9 true, 0.8 false, 0.7 true, 0.6 false, one missed."""

    def scored(percent, probability, *place):
        return lesion(percent, *place, probability_50=probability)

    first = patient((lesion(60), lesion(70, "RCA", 30)), (scored(60, 0.9, "LAD", 30), scored(60, 0.8, "LCX", 30)))
    second = patient((lesion(55, "RCA", 50),), (scored(52, 0.7, "RCA", 50), scored(51, 0.6, "LAD", 60)), name="b")
    half = at(stenosis_figures([first, second]), 50.0)
    expected = ((0, 0), (0, 1 / 3), (0.5, 1 / 3), (0.5, 2 / 3), (1.0, 2 / 3))
    assert half.froc == tuple(pytest.approx(point) for point in expected)
    at_rate = {name: item.value for name, item in half.lesions.items() if name.startswith("sensitivity_at")}
    assert at_rate == {
        f"sensitivity_at_{rate}_false_positives_per_patient": pytest.approx(value)
        for rate, value in (("0.1", 1 / 3), ("0.3", 1 / 3), ("0.5", 2 / 3), ("1", 2 / 3))
    }


def test_vessels_and_patients():
    """LAD diseased and called; RCA of another patient diseased and missed; LCX called without disease."""
    first = patient((lesion(60),), (lesion(70), lesion(60, "LCX", 20)))
    second = patient((lesion(60, "RCA", 30),), (lesion(30, "RCA", 30),), name="b")
    third = patient((), (), "0", "c")
    half = at(stenosis_figures([first, second, third]), 50.0)
    assert values(half.vessels["all"]) == {"sensitivity": 0.5, "specificity": 6 / 7, "auc": pytest.approx(13 / 14)}
    assert values(half.vessels["LCX"]) == {"sensitivity": None, "specificity": pytest.approx(2 / 3), "auc": None}
    assert half.vessels["LM+LAD"]["sensitivity"].value == 1.0
    assert values(half.patients) == {"sensitivity": 0.5, "specificity": 1.0, "auc": 1.0}


def test_the_left_main_counts_to_the_lad():
    half = at(stenosis_figures([patient((lesion(60, "LM", 5),), (lesion(60, "LM", 5),))]), 50.0)
    assert half.vessels["LM+LAD"]["sensitivity"].value == 1.0
    assert half.vessels["LCX"]["sensitivity"].value is None


def test_categories():
    assert category_of(()) == "0"
    assert category_of((lesion(10),)) == "1"
    assert category_of((lesion(80, reference_diameter_mm=1.3),)) == "1"  # plaque, but too narrow to grade
    assert category_of((lesion(30), lesion(50, "RCA", 30))) == "3"
    assert category_of((lesion(50, "LM", 5),)) == "4B"
    assert category_of((lesion(70), lesion(75, "RCA", 30), lesion(70, "LCX", 20))) == "4B"
    assert category_of((lesion(100, "RCA", 30),)) == "5"


def test_agreement_leaves_n_out_and_counts_it():
    cases = [
        patient((lesion(60),), (), "3", "a"),
        patient((lesion(60),), (), "4A/HRP", "b"),
        patient((), (), "N", "c"),
        patient((), (), None, "d", category_reference="N"),
        replace(patient((), (), "0", "e"), category=None),
        patient((), (), "2", "f"),
    ]
    figures = stenosis_figures(cases)
    assert figures.excluded == {"reference_n": 1, "result_n": 1, "not_determined": 1}
    assert figures.confusion.sum() == 3 and figures.confusion[3, 3] == figures.confusion[3, 4] == 1
    assert figures.confusion[0, 2] == 1
    assert figures.agreement["exact"].value == pytest.approx(1 / 3)
    assert figures.agreement["within_one"].value == pytest.approx(2 / 3)
    assert figures.agreement["kappa_linear"].n == 3
    # Observed |i - j|: 0 + 1 + 2; by chance: rows 0 (1), 3 (2), columns 2, 3, 4: (2+3+4)/3 + 2 (1+0+1)/3.
    assert figures.agreement["kappa_linear"].value == pytest.approx(1 - 3 / (9 / 3 + 4 / 3))


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (lesion(60, "RCA", 40, flags=("stent",)), "stent"),
        (lesion(60, "RCA", 40, on=heart((0, 3, 0))), "vein"),
        (lesion(60, "RCA", 3), "ostium"),
        (lesion(60, "LAD", 23), "bifurcation"),
        (lesion(60, "RCA", 95), "distal_taper"),
        (lesion(60, "RCA", 40, plaque="calcified"), "calcium"),
        (lesion(60, "RCA", 40, flags=("calcium_limited",)), "calcium"),
        (lesion(60, "RCA", 40), "motion_or_noise"),
    ],
)
def test_causes_of_false_positives(found, cause):
    half = at(stenosis_figures([patient((), (found,))]), 50.0)
    assert half.causes == dict.fromkeys(CAUSES, 0) | {cause: 1}


def test_a_narrow_vessel_tapers():
    thin = tree(*heart(names=("LM", "LAD", "LCX")).vessels, straight("RCA", (40, 0, 0), (0, 0, -1), 100, (1.7, 0.7)))
    found = lesion(60, "RCA", 80, on=thin)
    case = compare_lesions("a", (), (found,), thin, thin, "3")
    assert case.causes == ("distal_taper",)


def test_without_reference_centerlines_the_cause_is_unknown():
    case = compare_lesions("a", (), (lesion(60),), None, HEART, "3")
    assert case.causes == ("unknown",)


def test_nothing_at_all():
    for figures in (stenosis_figures([]), stenosis_figures([compare_lesions("a", (), (), VesselTree(()), None, None)])):
        assert figures.references == figures.detections == 0
        assert at(figures, 50.0).lesions["sensitivity"].value is None
        assert figures.measurement["bias"].value is None and figures.agreement["kappa_linear"].value is None


def test_intervals_are_the_same_every_time():
    generator = np.random.default_rng(1)
    cases = []
    for number in range(12):
        percent = generator.uniform(10, 90, 3)
        truth = tuple(lesion(float(p), v, 30) for v, p in zip(("LAD", "RCA", "LCX"), percent, strict=True))
        found = tuple(lesion(min(t.diameter_stenosis_percent + 3, 99.0), t.vessel, 31) for t in truth[: 1 + number % 3])
        cases.append(patient(truth, found, name=str(number)))
    first, second = stenosis_figures(cases), stenosis_figures(cases)
    assert first.measurement == second.measurement and first.agreement == second.agreement
    sensitivity = at(first, 50.0).lesions["sensitivity"]
    assert sensitivity.interval_95[0] < sensitivity.value < sensitivity.interval_95[1]
    assert at(first, 50.0).lesions == at(second, 50.0).lesions
