"""Statistics of the evaluation: published examples and hand calculations."""

import math

import numpy as np
import pytest

from StenosisDetectionLib.evaluation.statistics import (
    figure,
    icc_2_1,
    mean_figure,
    pearson,
    ratio,
    resamples,
    roc_auc,
    spread,
    weighted_kappa,
)

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
"""Ratings of six targets by four judges (Shrout and Fleiss 1979, table 2)."""

WRIGHT = np.array([494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427])
MINI = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451])
"""Peak expiratory flow by two meters (Bland and Altman 1986, table 1, first measurements)."""


def test_icc_of_shrout_and_fleiss():
    assert icc_2_1(SHROUT_FLEISS) == pytest.approx(0.29, abs=0.005)


def test_icc_of_two_raters_by_hand():
    # Rater 2 is 2 above rater 1: MSR = 2, MSC = 6, MSE = 0, ICC = 2 / (2 + 2 * 6 / 3) = 1/3.
    assert icc_2_1(np.array([[1, 3], [2, 4], [3, 5]])) == pytest.approx(1 / 3)
    assert icc_2_1(np.array([[1, 1], [2, 2], [5, 5]])) == 1.0


def test_weights_count_as_repeated_targets():
    repeated = np.repeat(SHROUT_FLEISS, [2, 0, 1, 3, 1, 1], axis=0)
    weights = np.array([2, 0, 1, 3, 1, 1])
    assert icc_2_1(SHROUT_FLEISS, weights) == pytest.approx(icc_2_1(repeated))
    x, y = SHROUT_FLEISS[:, 0], SHROUT_FLEISS[:, 1]
    assert pearson(x, y, weights) == pytest.approx(np.corrcoef(repeated[:, 0], repeated[:, 1])[0, 1])
    assert spread(x.astype(float), weights) == pytest.approx(repeated[:, 0].std(ddof=1))
    positive, score = np.array([1, 0, 1, 0, 0, 1], dtype=bool), np.array([0.9, 0.2, 0.4, 0.4, 0.6, 0.3])
    twice = [np.repeat(values, weights) for values in (positive, score)]
    assert roc_auc(positive, score, weights) == pytest.approx(roc_auc(*twice))


def test_limits_of_agreement_of_bland_and_altman():
    difference = (WRIGHT - MINI).astype(float)
    ones = np.ones(len(difference))
    assert difference.mean() == pytest.approx(-2.1, abs=0.05)
    assert spread(difference, ones) == pytest.approx(38.8, abs=0.05)


def test_kappa_by_hand():
    table = np.array([[10, 2, 0], [1, 8, 1], [0, 3, 5]])
    # Linear: observed disagreement 3.5, by chance 12.5; quadratic: 1.75 and 8.9167 (of 30).
    assert weighted_kappa(table) == pytest.approx(1 - 3.5 / 12.5)
    assert weighted_kappa(table, 2) == pytest.approx(1 - 1.75 / (430 / 120 + 160 / 30))
    assert weighted_kappa(np.diag([3, 0, 4])) == 1.0
    # Two categories: any weights give Cohen's kappa, here (0.7 - 0.5) / 0.5.
    assert weighted_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    assert math.isnan(weighted_kappa(np.diag([5, 0, 0]))) and math.isnan(weighted_kappa(np.zeros((3, 3))))


def test_quadratic_kappa_is_an_icc():
    """Fleiss and Cohen 1973: quadratic kappa equals ICC(2,1) up to terms of 1 / n."""
    generator = np.random.default_rng(3)
    a = generator.integers(0, 7, 4000)
    b = np.clip(a + generator.integers(-1, 3, 4000), 0, 6)
    table = np.zeros((7, 7))
    np.add.at(table, (a, b), 1)
    assert weighted_kappa(table, 2) == pytest.approx(icc_2_1(np.stack([a, b], axis=1)), abs=1e-3)


def test_area_under_the_curve_by_hand():
    assert roc_auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])) == 0.75
    assert roc_auc(np.array([0, 1]), np.array([0.5, 0.5])) == 0.5
    assert math.isnan(roc_auc(np.array([1, 1]), np.array([0.1, 0.2])))


def test_bootstrap_is_the_same_every_time_and_covers_what_theory_says():
    values = np.random.default_rng(0).normal(10.0, 2.0, 200)
    first, second = mean_figure(values.tolist()), mean_figure(values.tolist())
    assert first == second and first.n == 200
    error = 1.96 * values.std() / math.sqrt(200)
    low, high = first.interval_95
    assert low == pytest.approx(values.mean() - error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + error, abs=0.1 * error)
    draws = resamples(7)
    assert draws.shape == (2000, 7) and (draws.sum(axis=1) == 7).all()
    assert (draws == resamples(7)).all()


def test_undefined_figures_are_none():
    assert mean_figure([]).value is None
    assert mean_figure([None, None]).value is None
    single = mean_figure([0.5])
    assert (single.value, single.interval_95, single.n) == (0.5, None, 1)
    some = mean_figure([0.5, None, 0.7])
    assert some.value == pytest.approx(0.6) and some.n == 2
    # One diseased patient of six: a third of the resamples lack it, one of thirty: defined in 64 %.
    disease = np.array([1.0] + [0.0] * 29)
    assert figure(lambda w: ratio(w @ disease, w @ disease), 30, 1, "patients").interval_95 == (1.0, 1.0)
    assert figure(lambda w: ratio(1.0, 0.0), 5, 0, "patients").value is None
