"""Scores of stenosis detection at a threshold: lesions, vessels, patients and the FROC curve.

In: one `CaseLesions` a patient and a threshold in percent diameter stenosis: a lesion is positive at t when it has at
least t percent. Out: figures with 95 % intervals from patients drawn with replacement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .causes import CAUSES, OVERESTIMATED
from .lesions import CaseLesions, LesionFinding
from .names import VESSEL_GROUPS, vessel_group
from .statistics import Figure, f1_score, figure, ratio, roc_auc

THRESHOLDS_PERCENT = (25.0, 50.0, 70.0)

NEAR_PERCENT = 10.0
"""A detection matched to a true lesion at most this far below the threshold is a near false positive."""

FROC_RATES = (0.1, 0.3, 0.5, 1.0)
"""False positives per patient at which the sensitivity is read off the FROC curve."""

ALL_VESSELS = "all"


@dataclass(frozen=True, eq=False)
class ThresholdFigures:
    """Detection at a threshold: lesions, vessels and patients.

    `counts` has true_positives, false_positives (near ones included), near_false_positives, false_negatives.
    `lesions`, and each entry of `vessels` and `patients`, name figures. `froc` is the curve (false positives per
    patient, sensitivity) over falling scores.
    """

    percent: float
    counts: dict[str, int]
    lesions: dict[str, Figure]
    vessels: dict[str, dict[str, Figure]]
    patients: dict[str, Figure]
    froc: tuple[tuple[float, float], ...]
    causes: dict[str, int]


@dataclass(frozen=True, eq=False)
class _Outcome:
    """A patient at a threshold: the partner of each detection, which detections count, and the number to find."""

    positives: int
    scores: np.ndarray
    hit: np.ndarray
    called: np.ndarray
    near: np.ndarray
    causes: tuple[str, ...]


def _outcome(case: CaseLesions, percent: float) -> _Outcome:
    partner = {j: case.references[i] for i, j in case.pairs}
    kept = [j for j in range(len(case.detections)) if j not in partner or partner[j].graded]
    detections = [case.detections[j] for j in kept]
    partners = [partner.get(j) for j in kept]
    true = [-math.inf if p is None else p.diameter_stenosis_percent for p in partners]
    return _Outcome(
        positives=sum(r.graded and r.diameter_stenosis_percent >= percent for r in case.references),
        scores=np.array([d.score(percent) for d in detections], dtype=np.float64),
        hit=np.array([value >= percent for value in true], dtype=bool),
        called=np.array([d.diameter_stenosis_percent >= percent for d in detections], dtype=bool),
        near=np.array([percent - NEAR_PERCENT <= value < percent for value in true], dtype=bool),
        causes=tuple(OVERESTIMATED if p is not None else case.causes[j] for j, p in zip(kept, partners, strict=True)),
    )


def at_threshold(cases: Sequence[CaseLesions], percent: float, draws: np.ndarray) -> ThresholdFigures:
    """Return the figures at a threshold; `draws` are the resamples of the patients (samples, cases)."""
    outcomes = [_outcome(case, percent) for case in cases]
    positives = np.array([o.positives for o in outcomes], dtype=np.float64)
    tp = np.array([(o.called & o.hit).sum() for o in outcomes], dtype=np.float64)
    fp = np.array([(o.called & ~o.hit).sum() for o in outcomes], dtype=np.float64)
    near = np.array([(o.called & o.near).sum() for o in outcomes], dtype=np.float64)
    fn = positives - tp
    found, called = int(positives.sum()), int((tp + fp).sum())

    def of(statistic: Callable[[np.ndarray], float], n: int, what: str, unit: str = "") -> Figure:
        return figure(statistic, len(cases), n, what, unit, draws)

    lesions = {
        "sensitivity": of(lambda w: ratio(w @ tp, w @ positives), found, "lesions"),
        "positive_predictive_value": of(lambda w: ratio(w @ tp, w @ (tp + fp)), called, "detections"),
        "positive_predictive_value_without_near": of(
            lambda w: ratio(w @ tp, w @ (tp + fp - near)), called - int(near.sum()), "detections"
        ),
        "f1": of(lambda w: f1_score(w @ tp, w @ fp, w @ fn), found + called, "lesions and detections"),
        "false_positives_per_patient": of(lambda w: ratio(w @ fp, w.sum()), len(cases), "patients"),
        "near_false_positives_per_patient": of(lambda w: ratio(w @ near, w.sum()), len(cases), "patients"),
    }
    curve = _Froc(outcomes)
    for rate in FROC_RATES:
        name = f"sensitivity_at_{rate:g}_false_positives_per_patient"
        lesions[name] = of(lambda w, rate=rate: curve.sensitivity_at(rate, w), found, "lesions")  # type: ignore[misc]
    causes = dict.fromkeys(CAUSES, 0)
    for outcome in outcomes:
        for number in np.flatnonzero(outcome.called & ~outcome.hit):
            causes[outcome.causes[number]] += 1
    return ThresholdFigures(
        percent=percent,
        counts={
            "true_positives": int(tp.sum()),
            "false_positives": int(fp.sum()),
            "near_false_positives": int(near.sum()),
            "false_negatives": int(fn.sum()),
        },
        lesions=lesions,
        vessels={
            group: _classification(cases, percent, groups, "vessels", draws)
            for group, groups in {ALL_VESSELS: VESSEL_GROUPS, **{g: (g,) for g in VESSEL_GROUPS}}.items()
        },
        patients=_classification(cases, percent, None, "patients", draws),
        froc=curve.points(),
        causes=causes,
    )


class _Froc:
    """The FROC curve of outcomes: the detections of all patients by falling score."""

    def __init__(self, outcomes: Sequence[_Outcome]) -> None:
        self.positives = np.array([o.positives for o in outcomes], dtype=np.float64)
        case = np.repeat(np.arange(len(outcomes)), [len(o.scores) for o in outcomes])
        scores = np.concatenate([o.scores for o in outcomes]) if outcomes else np.zeros(0)
        order = np.argsort(-scores, kind="stable")
        self.scores, self.case = scores[order], case[order]
        self.hit = (np.concatenate([o.hit for o in outcomes]) if outcomes else np.zeros(0, dtype=bool))[order]
        # The curve has a point only after all detections of one score.
        self.last = np.append(np.diff(self.scores) != 0, True) if len(self.scores) else np.zeros(0, dtype=bool)

    def _curve(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        drawn = weights[self.case]
        false = np.cumsum(drawn * ~self.hit)[self.last] / weights.sum()
        total = float(weights @ self.positives)
        true = np.cumsum(drawn * self.hit)[self.last]
        return false, true / total if total > 0 else np.full(len(true), np.nan)

    def sensitivity_at(self, rate: float, weights: np.ndarray) -> float:
        """Return the highest sensitivity with at most `rate` false positives a patient."""
        if weights @ self.positives <= 0:
            return math.nan
        false, true = self._curve(weights)
        return float(true[false <= rate + 1e-9].max(initial=0.0))

    def points(self) -> tuple[tuple[float, float], ...]:
        """Return the points (false positives per patient, sensitivity); none without a lesion to find."""
        if self.positives.sum() == 0:
            return ()
        false, true = self._curve(np.ones(len(self.positives)))
        return ((0.0, 0.0), *((float(x), float(y)) for x, y in zip(false, true, strict=True)))


def _classification(
    cases: Sequence[CaseLesions], percent: float, groups: tuple[str, ...] | None, of: str, draws: np.ndarray
) -> dict[str, Figure]:
    """Return sensitivity, specificity and area under the curve of vessels of some groups, or of patients (None)."""
    case, positive, called, score = [], [], [], []
    for number, item in enumerate(cases):
        for group in (None,) if groups is None else groups:
            truth = [r for r in item.references if r.graded and _in_group(r, group)]
            found = [d for d in item.detections if _in_group(d, group)]
            case.append(number)
            positive.append(any(r.diameter_stenosis_percent >= percent for r in truth))
            called.append(any(d.diameter_stenosis_percent >= percent for d in found))
            score.append(max((d.score(percent) for d in found), default=0.0))
    owner = np.array(case, dtype=int)
    p, c, s = np.array(positive, dtype=bool), np.array(called, dtype=bool), np.array(score)
    n, diseased = len(cases), int(p.sum())
    return {
        "sensitivity": figure(
            lambda w: ratio(w[owner] @ (p & c), w[owner] @ p), n, diseased, f"{of} with disease", "", draws
        ),
        "specificity": figure(
            lambda w: ratio(w[owner] @ (~p & ~c), w[owner] @ ~p), n, len(p) - diseased, f"{of} without", "", draws
        ),
        "auc": figure(lambda w: roc_auc(p, s, w[owner]), n, len(p), of, "", draws),
    }


def _in_group(lesion: LesionFinding, group: str | None) -> bool:
    return group is None or vessel_group(lesion.territory) == group
