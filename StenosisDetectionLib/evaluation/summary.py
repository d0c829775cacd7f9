"""Scores of cases become the figures of a data set: means, rates and 95 % intervals from patients drawn again.

In: a `CaseScores` a case. Out: an `Evaluation`. Means over centerlines or lengths add up over all patients before they
are divided, as their intervals do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .cases import CaseScores
from .centerline import TreeScores
from .segmentation import MaskScores
from .statistics import BOOTSTRAP_SAMPLES, Figure, figure, mean_figure, ratio, resamples
from .stenosis import StenosisFigures, stenosis_figures

WHOLE = "whole"
MAIN_PATHS = ("LAD", "LCX", "RCA")

_MASK_FIGURES: dict[str, tuple[str, Callable[[MaskScores], float | None]]] = {
    "dice": ("", lambda s: s.dice),
    "cldice": ("", lambda s: s.cldice),
    "hd95": ("mm", lambda s: s.hd95_mm),
    "assd": ("mm", lambda s: s.assd_mm),
    "betti0_error": ("components", lambda s: s.betti0_error),
    "topology_precision": ("", lambda s: s.topology_precision),
    "topology_sensitivity": ("", lambda s: s.topology_sensitivity),
}


@dataclass(frozen=True)
class VesselPresence:
    """A vessel over all cases: how often it is in the reference, in the result and in both, and its Dice there."""

    name: str
    in_reference: int
    in_result: int
    in_both: int
    dice: Figure


@dataclass(frozen=True, eq=False)
class SegmentationFigures:
    """Figures of the segmentation: of the whole and of each side, by name; of vessels; and of studies without artery.

    Means are over the cases with an artery in the reference; `false_artery` is the part of the others in which the
    result has one.
    """

    left_out: str
    masks: dict[str, dict[str, Figure]]
    false_artery: Figure
    vessels: tuple[VesselPresence, ...]


@dataclass(frozen=True, eq=False)
class CenterlineFigures:
    """Figures of the tree: the CAT08 measures of all paths and of those of the main vessels, and of the tree."""

    paths: dict[str, dict[str, Figure]]
    tree: dict[str, Figure]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The evaluation of a data set; None for what its references do not tell.

    `without_reference` counts results that no reference belongs to.
    """

    data_set: str
    cases: tuple[CaseScores, ...]
    without_reference: int
    segmentation: SegmentationFigures | None
    centerline: CenterlineFigures | None
    stenosis: StenosisFigures | None


def summarize(
    cases: Sequence[CaseScores], data_set: str, without_reference: int = 0, samples: int = BOOTSTRAP_SAMPLES
) -> Evaluation:
    """Return the evaluation of a data set.

    Parameters
    ----------
    cases : the scores of its cases.
    data_set : its name, which every figure carries.
    samples : number of bootstrap samples.
    """
    segmented = [case for case in cases if case.segmentation is not None]
    traced = [case.tree for case in cases if case.tree is not None]
    lesions = [case.lesions for case in cases if case.lesions is not None]
    return Evaluation(
        data_set=data_set,
        cases=tuple(cases),
        without_reference=without_reference,
        segmentation=_segmentation(segmented, samples) if segmented else None,
        centerline=_centerline(traced, [case.dominance for case in cases if case.tree is not None], samples)
        if traced
        else None,
        stenosis=stenosis_figures(lesions, samples) if lesions else None,
    )


def _segmentation(cases: list[CaseScores], samples: int) -> SegmentationFigures:
    scores = [case.segmentation for case in cases if case.segmentation is not None]
    with_artery = [item for item in scores if item.whole.betti0_reference > 0]
    without = [float(item.whole.betti0 > 0) for item in scores if item.whole.betti0_reference == 0]
    groups = {WHOLE: [item.whole for item in with_artery]}
    for side in ("left", "right"):
        found = [item.sides[side] for item in with_artery if side in item.sides]
        if found:
            groups[side] = found
    masks = {}
    for name, group in groups.items():
        draws = resamples(len(group), samples) if group else None
        masks[name] = {
            figure_name: mean_figure([value(item) for item in group], unit, draws)
            for figure_name, (unit, value) in _MASK_FIGURES.items()
        }
    names = dict.fromkeys(vessel.name for item in scores for vessel in item.vessels)
    return SegmentationFigures(
        left_out="; ".join(dict.fromkeys(item.left_out for item in scores)),
        masks=masks,
        false_artery=mean_figure(without, "", resamples(len(without), samples) if without else None),
        vessels=tuple(_presence(name, cases, samples) for name in names),
    )


def _presence(name: str, cases: list[CaseScores], samples: int) -> VesselPresence:
    found = [
        vessel
        for case in cases
        if case.segmentation is not None
        for vessel in case.segmentation.vessels
        if vessel.name == name
    ]
    values = [vessel.dice for vessel in found if vessel.dice is not None]
    return VesselPresence(
        name=name,
        in_reference=sum(vessel.in_reference for vessel in found),
        in_result=sum(vessel.in_result for vessel in found),
        in_both=len(values),
        dice=mean_figure(values, "", resamples(len(values), samples) if values else None),
    )


def _centerline(trees: list[TreeScores], dominance: list[tuple[str, str] | None], samples: int) -> CenterlineFigures:
    draws = resamples(len(trees), samples)
    known = [pair for pair in dominance if pair is not None and pair[0] in ("right", "left", "balanced")]

    def rate(
        part: Callable[[TreeScores], float], whole: Callable[[TreeScores], float], of: str, unit: str = ""
    ) -> Figure:
        a, b = np.array([part(t) for t in trees], dtype=float), np.array([whole(t) for t in trees], dtype=float)
        return figure(lambda w: ratio(w @ a, w @ b), len(trees), round(b.sum()), of, unit, draws)

    def per_patient(count: Callable[[TreeScores], float]) -> Figure:
        return rate(count, lambda _: 1.0, "patients")

    found_ostia = [[o.distance_mm for o in tree.ostia if o.distance_mm is not None] for tree in trees]
    by_tree = dict(zip(map(id, trees), found_ostia, strict=True))
    tree_figures = {
        "length_recall": rate(lambda t: t.found_mm, lambda t: t.reference_mm, "mm of the reference"),
        "length_precision": rate(lambda t: t.matched_mm, lambda t: t.path_mm, "mm of the result"),
        "branch_recall": rate(lambda t: t.branches_found, lambda t: t.branches, "branches"),
        "false_branches_per_patient": per_patient(lambda t: t.false_branches),
        "gaps_per_patient": per_patient(lambda t: t.gaps),
        "betti0_error": per_patient(lambda t: abs(t.trees - t.trees_reference)),
        "ostium_error": rate(lambda t: sum(by_tree[id(t)]), lambda t: len(by_tree[id(t)]), "ostia found", "mm"),
        "ostia_found": rate(lambda t: len(by_tree[id(t)]), lambda t: len(t.ostia), "ostia"),
        "vessel_name_accuracy": rate(lambda t: t.named_mm, lambda t: t.main_mm, "mm of main vessels found"),
        "segment_name_accuracy": rate(
            lambda t: t.segment_named_mm, lambda t: t.segment_mm, "mm of main vessels found with a segment"
        ),
        "dominance_accuracy": mean_figure(
            [float(a == b) for a, b in known], "", resamples(len(known), samples) if known else None
        ),
    }
    return CenterlineFigures(
        paths={"all": _paths(trees, None, draws), "main": _paths(trees, MAIN_PATHS, draws)}, tree=tree_figures
    )


def _paths(trees: list[TreeScores], names: tuple[str, ...] | None, draws: np.ndarray) -> dict[str, Figure]:
    """Return the means of the CAT08 measures over the paths to the ends of some vessels, of all for None."""
    chosen = [[p.scores for p in tree.paths if names is None or p.name in names] for tree in trees]
    figures = {}
    for name, unit in (
        ("overlap", ""),
        ("overlap_first_error", ""),
        ("overlap_relevant", ""),
        ("accuracy_inside_mm", "mm"),
        ("average_distance_mm", "mm"),
    ):
        known = [[v for v in (getattr(s, name) for s in scores) if v is not None] for scores in chosen]
        total = np.array([sum(values) for values in known], dtype=float)
        count = np.array([len(values) for values in known], dtype=float)
        figures[name.removesuffix("_mm")] = figure(
            lambda w, total=total, count=count: ratio(w @ total, w @ count),  # type: ignore[misc]
            len(trees),
            int(count.sum()),
            "centerlines",
            unit,
            draws,
        )
    return figures
