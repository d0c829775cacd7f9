"""evaluation.json and evaluation.csv: an `Evaluation` as plain data.

In: an `Evaluation`. Out: data that follow Resources/schema/evaluation.schema.json, and CSV text with a line a case.
Every figure has its value, its 95 % interval, n, unit and the name of its data set; what is undefined is null.
"""

import csv
import io
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..stenosis.cad_rads import CATEGORIES
from ..version import RESEARCH_USE, __version__
from .cases import CaseScores
from .causes import CAUSES
from .centerline import TOLERANCE_MM
from .paths import STEP_MM
from .segmentation import MaskScores
from .statistics import BOOTSTRAP_SAMPLES, BOOTSTRAP_SEED, Figure
from .stenosis import StenosisFigures
from .summary import Evaluation

SCHEMA = "stenosis-detection/evaluation/1"
"""The name and version of the form of evaluation.json."""

DIGITS = 5


def evaluation_document(evaluation: Evaluation, samples: int = BOOTSTRAP_SAMPLES) -> dict[str, Any]:
    """Return evaluation.json as plain data."""
    name = evaluation.data_set

    def plain(figures: dict[str, Figure]) -> dict[str, Any]:
        return {key: figure_document(item, name) for key, item in figures.items()}

    segmentation, centerline = evaluation.segmentation, evaluation.centerline
    return {
        "schema": SCHEMA,
        "data_set": name,
        "research_use": RESEARCH_USE,
        "software": {"evaluation_version": __version__, "analyses": _analyses(evaluation.cases)},
        "method": {
            "interval": "95 % percentile bootstrap over patients",
            "bootstrap_samples": samples,
            "bootstrap_seed": BOOTSTRAP_SEED,
            "centerline_step_mm": STEP_MM,
            "branch_tolerance_mm": TOLERANCE_MM,
        },
        "cases": len(evaluation.cases),
        "results_without_reference": evaluation.without_reference,
        "segmentation": None
        if segmentation is None
        else {
            "left_out": segmentation.left_out,
            "masks": {key: plain(figures) for key, figures in segmentation.masks.items()},
            "false_artery": figure_document(segmentation.false_artery, name),
            "vessels": [
                {
                    "name": vessel.name,
                    "in_reference": vessel.in_reference,
                    "in_result": vessel.in_result,
                    "in_both": vessel.in_both,
                    "dice": figure_document(vessel.dice, name),
                }
                for vessel in segmentation.vessels
            ],
        },
        "centerline": None
        if centerline is None
        else {
            "paths": {key: plain(figures) for key, figures in centerline.paths.items()},
            "tree": plain(centerline.tree),
        },
        "stenosis": None if evaluation.stenosis is None else _stenosis(evaluation.stenosis, name),
        "per_case": case_rows(evaluation),
    }


def figure_document(figure: Figure, data_set: str) -> dict[str, Any]:
    """Return a figure as plain data with the name of its data set."""
    return {
        "value": _rounded(figure.value),
        "interval_95": None if figure.interval_95 is None else [_rounded(x) for x in figure.interval_95],
        "n": figure.n,
        "of": figure.of,
        "unit": figure.unit,
        "data_set": data_set,
    }


def _stenosis(stenosis: StenosisFigures, name: str) -> dict[str, Any]:
    def plain(figures: dict[str, Figure]) -> dict[str, Any]:
        return {key: figure_document(item, name) for key, item in figures.items()}

    return {
        "patients": stenosis.cases,
        "reference_lesions": stenosis.references,
        "detections": stenosis.detections,
        "reference_lesions_below_1_5_mm": stenosis.ignored,
        "thresholds": [
            {
                "percent": item.percent,
                "counts": item.counts,
                "lesions": plain(item.lesions),
                "vessels": {group: plain(figures) for group, figures in item.vessels.items()},
                "patients": plain(item.patients),
                "froc": [[_rounded(x), _rounded(y)] for x, y in item.froc],
                "false_positive_causes": item.causes,
            }
            for item in stenosis.thresholds
        ],
        "false_positive_cause_meanings": CAUSES,
        "measurement": plain(stenosis.measurement),
        "icc_model": "ICC(2,1): two-way random effects, absolute agreement, single rater (Shrout and Fleiss 1979)",
        "pairs": [
            {
                "case": pair.case_id,
                "vessel": pair.vessel,
                "reference_percent": _rounded(pair.reference_percent),
                "measured_percent": _rounded(pair.measured_percent),
                "interval_90": None if pair.interval_90 is None else [_rounded(x) for x in pair.interval_90],
                "reference_mld_mm": _rounded(pair.reference_mld_mm),
                "measured_mld_mm": _rounded(pair.measured_mld_mm),
            }
            for pair in stenosis.pairs
        ],
        "cad_rads": {
            "categories": list(CATEGORIES),
            "confusion": stenosis.confusion.tolist(),
            "excluded": stenosis.excluded,
            "agreement": plain(stenosis.agreement),
        },
    }


def _analyses(cases: Iterable[CaseScores]) -> list[dict[str, Any]]:
    """Return the different versions and models that made the results, with how many cases each made."""
    found: dict[tuple[tuple[str, str | None], ...], int] = {}
    for case in cases:
        key = tuple(sorted(case.software.items()))
        found[key] = found.get(key, 0) + 1
    return [dict(key) | {"cases": count} for key, count in found.items()]


def case_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one row a case, all with the same columns; None for what was not scored."""
    return [_row(case, evaluation.data_set) for case in evaluation.cases]


def _row(case: CaseScores, data_set: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "data_set": data_set,
        "case": case.case_id,
        "group": case.group,
        "model": case.software.get("model"),
        "seconds": _rounded(case.seconds),
        "note": case.note,
    }
    masks: dict[str, MaskScores | None] = dict.fromkeys(("", "left_", "right_"))
    if case.segmentation is not None:
        masks[""] = case.segmentation.whole
        masks["left_"], masks["right_"] = case.segmentation.sides.get("left"), case.segmentation.sides.get("right")
    for prefix, mask in masks.items():
        for name in ("dice", "cldice", "hd95_mm", "assd_mm", "betti0", "betti0_reference", "betti0_error"):
            row[prefix + name] = None if mask is None else _rounded(getattr(mask, name))
    whole = masks[""]
    row["volume_mm3"] = None if whole is None else _rounded(whole.volume_mm3)
    row["volume_reference_mm3"] = None if whole is None else _rounded(whole.volume_reference_mm3)
    row |= _tree_columns(case) | _lesion_columns(case)
    return row


def _tree_columns(case: CaseScores) -> dict[str, Any]:
    names = (
        "overlap", "overlap_first_error", "overlap_relevant", "accuracy_inside_mm", "length_recall", "length_precision",
        "branches", "branches_found", "missed_branches", "false_branches", "gaps", "trees", "trees_reference",
        "ostium_error_mm", "vessel_name_accuracy", "segment_name_accuracy", "dominance_reference", "dominance",
    )  # fmt: skip
    row: dict[str, Any] = dict.fromkeys(names)
    tree = case.tree
    if tree is None:
        return row
    for name in names[:4]:
        row[name] = _mean(getattr(path.scores, name) for path in tree.paths)
    row |= {
        "length_recall": _part(tree.found_mm, tree.reference_mm),
        "length_precision": _part(tree.matched_mm, tree.path_mm),
        "branches": tree.branches,
        "branches_found": tree.branches_found,
        "missed_branches": " ".join(tree.missed_branches),
        "false_branches": tree.false_branches,
        "gaps": tree.gaps,
        "trees": tree.trees,
        "trees_reference": tree.trees_reference,
        "ostium_error_mm": _mean(ostium.distance_mm for ostium in tree.ostia),
        "vessel_name_accuracy": _part(tree.named_mm, tree.main_mm),
        "segment_name_accuracy": _part(tree.segment_named_mm, tree.segment_mm),
    }
    if case.dominance is not None:
        row["dominance_reference"], row["dominance"] = case.dominance
    return row


def _lesion_columns(case: CaseScores) -> dict[str, Any]:
    lesions = case.lesions
    if lesions is None:
        return dict.fromkeys(
            ("lesions_reference", "lesions_found", "lesions_matched", "cad_rads_reference", "cad_rads")
        )
    return {
        "lesions_reference": sum(lesion.graded for lesion in lesions.references),
        "lesions_found": len(lesions.detections),
        "lesions_matched": sum(lesions.references[i].graded for i, _ in lesions.pairs),
        "cad_rads_reference": lesions.category_reference,
        "cad_rads": lesions.category,
    }


def evaluation_csv(evaluation: Evaluation) -> str:
    """Return evaluation.csv: one line a case, an empty field where a score is undefined."""
    rows = case_rows(evaluation)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["data_set", "case"], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _rounded(float(np.mean(known))) if known else None


def _part(part: float, whole: float) -> float | None:
    return _rounded(part / whole) if whole > 0 else None


def _rounded(value: float | None) -> float | None:
    if value is None or isinstance(value, int):
        return value
    number = float(value)
    return round(number, DIGITS) + 0.0 if math.isfinite(number) else None
