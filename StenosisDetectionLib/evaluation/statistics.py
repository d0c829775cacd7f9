"""Statistics of an evaluation: agreement, classification and bootstrap intervals as pure functions.

Every statistic takes a weight per case (how often the case was drawn), so that one function gives the estimate (all
weights 1) and, with the counts of a resample, each replicate of the bootstrap. What is undefined is NaN here and null
in every file.

Sources: Cohen 1968 (weighted kappa), Shrout and Fleiss 1979 (ICC), Bland and Altman 1986 (limits of agreement), Hanley
and McNeil 1982 (area under the ROC curve), Efron 1979 (bootstrap).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np

BOOTSTRAP_SAMPLES = 2000
BOOTSTRAP_SEED = 20131

LIMITS_OF_AGREEMENT_SD = 1.96

_FEWEST_CASES = 2  # one case cannot be resampled

Statistic = Callable[[np.ndarray], float]
"""A number from the weights (cases,) of the cases."""


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval (patient-level bootstrap, None where it cannot be had), its n and its unit.

    `n` counts what the number is made of, `of` says what that is: cases, lesions, vessels, patients or points.
    """

    value: float | None
    interval_95: tuple[float, float] | None
    n: int
    of: str
    unit: str = ""


def resamples(cases: int, samples: int = BOOTSTRAP_SAMPLES, seed: int = BOOTSTRAP_SEED) -> np.ndarray:
    """Return how often each case is drawn in each resample with replacement, (samples, cases)."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(cases, np.full(cases, 1.0 / cases), size=samples).astype(np.float64)


def figure(
    statistic: Statistic, cases: int, n: int, of: str, unit: str = "", draws: np.ndarray | None = None
) -> Figure:
    """Return a statistic over cases with its percentile bootstrap interval.

    Parameters
    ----------
    statistic : the number from a weight per case.
    cases : number of cases, the unit that is resampled.
    n, of, unit : what the number is made of (see `Figure`).
    draws : resamples (samples, cases) to use; None makes them.
    """
    if cases == 0:
        return Figure(None, None, n, of, unit)
    value = statistic(np.ones(cases))
    if not math.isfinite(value):
        return Figure(None, None, n, of, unit)
    interval = None
    if cases >= _FEWEST_CASES:
        draws = resamples(cases) if draws is None else draws
        replicates = np.array([statistic(weights) for weights in draws])
        replicates = replicates[np.isfinite(replicates)]
        # A statistic that most resamples leave undefined (one diseased patient, for example) has no interval.
        if len(replicates) >= len(draws) / 2:
            low, high = np.percentile(replicates, [2.5, 97.5])
            interval = (float(low), float(high))
    return Figure(float(value), interval, n, of, unit)


def mean_figure(values: Sequence[float | None], unit: str = "", draws: np.ndarray | None = None) -> Figure:
    """Return the mean over the cases in which a value is defined, with its bootstrap interval."""
    array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    known = np.isfinite(array)
    filled = np.where(known, array, 0.0)
    return figure(lambda w: ratio(w @ filled, w @ known), len(array), int(known.sum()), "cases", unit, draws)


def ratio(part: SupportsFloat, whole: SupportsFloat) -> float:
    """Return part over whole, NaN where there is no whole."""
    return float(part) / float(whole) if float(whole) > 0 else math.nan


def f1_score(true_positives: SupportsFloat, false_positives: SupportsFloat, false_negatives: SupportsFloat) -> float:
    """Return the harmonic mean of sensitivity and positive predictive value; NaN without anything to find or found."""
    twice = 2.0 * float(true_positives)
    return ratio(twice, twice + float(false_positives) + float(false_negatives))


def roc_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Parameters
    ----------
    positive : bool (N,).
    score : (N,), higher is more suspicious.
    weights : (N,) how often each counts; None counts each once.
    """
    positive = np.asarray(positive, dtype=bool)
    score = np.asarray(score, dtype=np.float64)
    weights = np.ones(len(score)) if weights is None else np.asarray(weights, dtype=np.float64)
    a, wa = score[positive], weights[positive]
    b, wb = score[~positive], weights[~positive]
    wins = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    return ratio(float(wa @ wins @ wb), float(wa.sum() * wb.sum()))


def weighted_kappa(confusion: np.ndarray, power: int = 1) -> float:
    """Return the weighted kappa of a confusion matrix (k, k), reference in rows (Cohen 1968).

    Agreement weights are 1 - (|i - j| / (k - 1)) ** power: power 1 is linear, 2 quadratic. NaN when chance alone
    gives full agreement, as when both name one category only.
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    total = confusion.sum()
    if total <= 0:
        return math.nan
    k = len(confusion)
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / (k - 1)
    disagreement = distance**power
    expected = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / total
    chance = float((disagreement * expected).sum())
    return 1.0 - float((disagreement * confusion).sum()) / chance if chance > 0 else math.nan


def pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the correlation coefficient of Pearson; NaN with fewer than two different values of either."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.sum() < 2:
        return math.nan
    dx, dy = x - w @ x / w.sum(), y - w @ y / w.sum()
    spread = math.sqrt(float(w @ dx**2) * float(w @ dy**2))
    return float(w @ (dx * dy)) / spread if spread > 0 else math.nan


def icc_2_1(ratings: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return ICC(2,1): two-way random effects, absolute agreement, single rater (Shrout and Fleiss 1979).

    Parameters
    ----------
    ratings : (targets, raters).
    weights : (targets,) how often each target counts; None counts each once.
    """
    x = np.asarray(ratings, dtype=np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    n, k = float(w.sum()), x.shape[1]
    if n < 2:
        return math.nan
    grand = float((w @ x).sum()) / (n * k)
    rows, columns = x.mean(axis=1), (w @ x) / n
    between_rows = k * float(w @ (rows - grand) ** 2) / (n - 1)
    between_columns = n * float(((columns - grand) ** 2).sum()) / (k - 1)
    residual = x - rows[:, None] - columns + grand
    error = float((w @ residual**2).sum()) / ((n - 1) * (k - 1))
    whole = between_rows + (k - 1) * error + k * (between_columns - error) / n
    return (between_rows - error) / whole if whole > 0 else math.nan


def spread(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the standard deviation (n - 1) of weighted values; NaN below two."""
    total = float(weights.sum())
    if total < 2:
        return math.nan
    mean = float(weights @ values) / total
    return math.sqrt(float(weights @ (values - mean) ** 2) / (total - 1))
