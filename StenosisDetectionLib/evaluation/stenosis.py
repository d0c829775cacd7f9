"""Scores of stenosis detection and measurement over patients (after the Rotterdam challenge, Kirisli 2013).

In: one `CaseLesions` a patient. Out: figures with 95 % intervals from patients drawn with replacement. Percent
diameter stenosis throughout; a lesion is positive at t when it has at least t percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..stenosis.cad_rads import CATEGORIES
from .detection import THRESHOLDS_PERCENT, ThresholdFigures, at_threshold
from .lesions import CaseLesions
from .statistics import (
    BOOTSTRAP_SAMPLES,
    LIMITS_OF_AGREEMENT_SD,
    Figure,
    figure,
    icc_2_1,
    pearson,
    ratio,
    resamples,
    spread,
    weighted_kappa,
)


@dataclass(frozen=True)
class Pair:
    """A true lesion and what was measured of it: no number where the result has an interval alone."""

    case_id: str
    vessel: str
    reference_percent: float
    measured_percent: float | None
    interval_90: tuple[float, float] | None
    reference_mld_mm: float | None
    measured_mld_mm: float | None


@dataclass(frozen=True, eq=False)
class StenosisFigures:
    """Everything about stenoses.

    `confusion` counts patients by CAD-RADS category, reference in rows, in the order of `CATEGORIES`; `excluded`
    counts those left out of it: N of the reference, N of the result, not determined.
    """

    cases: int
    references: int
    detections: int
    ignored: int
    thresholds: tuple[ThresholdFigures, ...]
    measurement: dict[str, Figure]
    pairs: tuple[Pair, ...]
    agreement: dict[str, Figure]
    confusion: np.ndarray
    excluded: dict[str, int]


def stenosis_figures(cases: Sequence[CaseLesions], samples: int = BOOTSTRAP_SAMPLES) -> StenosisFigures:
    """Return all figures over patients, with intervals by that many bootstrap samples of patients (seeded)."""
    draws = resamples(len(cases), samples) if cases else np.zeros((0, 0))
    confusion, excluded, category_pairs = _confusion(cases)
    pairs = [(number, _pair(case, i, j)) for number, case in enumerate(cases) for i, j in _graded_pairs(case)]
    return StenosisFigures(
        cases=len(cases),
        references=sum(lesion.graded for case in cases for lesion in case.references),
        detections=sum(len(case.detections) for case in cases),
        ignored=sum(not lesion.graded for case in cases for lesion in case.references),
        thresholds=tuple(at_threshold(cases, percent, draws) for percent in THRESHOLDS_PERCENT),
        measurement=_measurement(cases, pairs, draws),
        pairs=tuple(pair for _, pair in pairs),
        agreement=_agreement(category_pairs, len(cases), draws),
        confusion=confusion,
        excluded=excluded,
    )


def _graded_pairs(case: CaseLesions) -> list[tuple[int, int]]:
    return [(i, j) for i, j in case.pairs if case.references[i].graded]


def _pair(case: CaseLesions, i: int, j: int) -> Pair:
    reference, detection = case.references[i], case.detections[j]
    return Pair(
        case.case_id,
        reference.vessel,
        reference.diameter_stenosis_percent,
        detection.diameter_stenosis_percent if detection.has_number else None,
        detection.interval_90,
        reference.minimal_lumen_diameter_mm,
        detection.minimal_lumen_diameter_mm,
    )


def _measurement(cases: Sequence[CaseLesions], pairs: list[tuple[int, Pair]], draws: np.ndarray) -> dict[str, Figure]:
    """Return bias, spread, errors and agreement of the measured stenosis, and of the minimal lumen diameter.

    Lesions with an interval alone have no number that could be wrong: they count for the coverage of the intervals.
    """
    numbers = [
        (n, pair.reference_percent, pair.measured_percent) for n, pair in pairs if pair.measured_percent is not None
    ]
    owner = np.array([number for number, _, _ in numbers], dtype=int)
    x = np.array([reference for _, reference, _ in numbers])
    y = np.array([measured for _, _, measured in numbers])
    error = y - x
    missed = [
        (number, lesion.diameter_stenosis_percent)
        for number, case in enumerate(cases)
        for i, lesion in enumerate(case.references)
        if lesion.graded and all(i != row for row, _ in case.pairs)
    ]
    all_owner = np.append(owner, [number for number, _ in missed]).astype(int)
    all_error = np.append(error, [-percent for _, percent in missed])
    n = len(numbers)

    def of(statistic: Callable[[np.ndarray], float], count: int = n, unit: str = "percentage points") -> Figure:
        return figure(statistic, len(cases), count, "lesions", unit, draws)

    def bias(w: np.ndarray) -> float:
        return ratio(w[owner] @ error, w[owner].sum())

    def limit(sign: float) -> Callable[[np.ndarray], float]:
        return lambda w: bias(w) + sign * LIMITS_OF_AGREEMENT_SD * spread(error, w[owner])

    figures = {
        "bias": of(bias),
        "sd": of(lambda w: spread(error, w[owner])),
        "limit_of_agreement_low": of(limit(-1.0)),
        "limit_of_agreement_high": of(limit(1.0)),
        "mae": of(lambda w: ratio(w[owner] @ np.abs(error), w[owner].sum())),
        "rmse": of(lambda w: math.sqrt(ratio(w[owner] @ error**2, w[owner].sum()))),
        "rmse_with_misses": of(
            lambda w: math.sqrt(ratio(w[all_owner] @ all_error**2, w[all_owner].sum())), len(all_error)
        ),
        "icc_2_1": of(lambda w: icc_2_1(np.stack([x, y], axis=1), w[owner]), unit=""),
        "pearson": of(lambda w: pearson(x, y, w[owner]), unit=""),
    }
    with_interval = [(number, pair) for number, pair in pairs if pair.interval_90 is not None]
    covered = np.array([_covers(pair) for _, pair in with_interval], dtype=np.float64)
    cover_owner = np.array([number for number, _ in with_interval], dtype=int)
    figures["interval_90_coverage"] = of(
        lambda w: ratio(w[cover_owner] @ covered, w[cover_owner].sum()), len(with_interval), ""
    )
    known = [
        (number, pair.measured_mld_mm - pair.reference_mld_mm)
        for number, pair in pairs
        if pair.measured_mld_mm is not None and pair.reference_mld_mm is not None
    ]
    mld_owner = np.array([number for number, _ in known], dtype=int)
    mld = np.array([value for _, value in known])
    figures["mld_bias"] = of(lambda w: ratio(w[mld_owner] @ mld, w[mld_owner].sum()), len(known), "mm")
    figures["mld_mae"] = of(lambda w: ratio(w[mld_owner] @ np.abs(mld), w[mld_owner].sum()), len(known), "mm")
    return figures


def _covers(pair: Pair) -> bool:
    assert pair.interval_90 is not None
    low, high = pair.interval_90
    return low <= pair.reference_percent <= high


def _confusion(cases: Sequence[CaseLesions]) -> tuple[np.ndarray, dict[str, int], list[tuple[int, int, int]]]:
    """Return the patients by category, how many were left out, and (case, reference, result) of the others."""
    confusion = np.zeros((len(CATEGORIES), len(CATEGORIES)), dtype=int)
    excluded = {"reference_n": 0, "result_n": 0, "not_determined": 0}
    kept = []
    for number, case in enumerate(cases):
        if case.category_reference == "N":
            excluded["reference_n"] += 1
        elif case.category == "N":
            excluded["result_n"] += 1
        elif case.category not in CATEGORIES or case.category_reference not in CATEGORIES:
            excluded["not_determined"] += 1
        else:
            row, column = CATEGORIES.index(case.category_reference), CATEGORIES.index(case.category)
            confusion[row, column] += 1
            kept.append((number, row, column))
    return confusion, excluded, kept


def _agreement(kept: list[tuple[int, int, int]], cases: int, draws: np.ndarray) -> dict[str, Figure]:
    rows = np.array([row for _, row, _ in kept], dtype=int)
    columns = np.array([column for _, _, column in kept], dtype=int)
    owner = np.array([number for number, _, _ in kept], dtype=int)
    apart = np.abs(rows - columns)

    def kappa(w: np.ndarray, power: int) -> float:
        table = np.zeros((len(CATEGORIES), len(CATEGORIES)))
        np.add.at(table, (rows, columns), w[owner])
        return weighted_kappa(table, power)

    def of(statistic: Callable[[np.ndarray], float]) -> Figure:
        return figure(statistic, cases, len(kept), "patients", "", draws)

    return {
        "kappa_linear": of(lambda w: kappa(w, 1)),
        "kappa_quadratic": of(lambda w: kappa(w, 2)),
        "exact": of(lambda w: ratio(w[owner] @ (apart == 0), w[owner].sum())),
        "within_one": of(lambda w: ratio(w[owner] @ (apart <= 1), w[owner].sum())),
    }
