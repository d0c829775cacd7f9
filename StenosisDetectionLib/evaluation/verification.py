"""Analyzes and scores a part of the frozen verification set (`phantom.verification`), so that nothing done is lost.

In: the name of a set and the options of an analysis. Out: a `CaseScores` a case. On disk: `<studies>/<case>/`, the
rendered study with its truth, kept for the next run and for other models; `<output>/results/<case>/`, what analyze
writes. A rerun renders and analyzes only what is missing, or was made by another version or model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from math import gcd
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, error_line
from ..progress import Progress, ProgressCallback, stage_report
from ..reading import read_label_map, read_volume
from ..segmentation.models import get_model
from ..study import LabelMap, VesselTree
from ..version import __version__
from .cases import CaseScores, ResultCase, score_case
from .results import REPORT_FILE, read_json, read_result
from .truths import read_truth, volume_in

if TYPE_CHECKING:
    from ..options import AnalysisOptions
    from ..phantom.verification import VerificationCase

STUDIES_FOLDER, RESULTS_FOLDER = "studies", "results"
_MADE_BY_FILE, _REFUSED_FILE = "made_by.json", "refused.json"
_STRIDE = 7


def data_set_name(set_name: str, use_truth: bool) -> str:
    """Return the name of the data set of a verification set, with its version and what it was measured in."""
    from ..phantom.verification import VERSION

    return f"phantom-v{VERSION} {set_name}" + (", true segmentation" if use_truth else "")


def score_verification(
    set_name: str,
    output: Path,
    options: AnalysisOptions,
    count: int | None = None,
    use_truth: bool = False,
    studies: Path | None = None,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
) -> list[CaseScores]:
    """Render, analyze and score cases of a verification set.

    Parameters
    ----------
    set_name : T1 to T6.
    output : folder of the results.
    options : of the analysis.
    count : only so many cases (see `spread`); None for all.
    use_truth : measure in the true lumen instead of finding it.
    studies : folder of the rendered studies; None for one inside `output`.
    overwrite : analyze again what was analyzed; studies are never rendered again.
    progress : may raise `Cancelled`; what is finished then stays.

    Raises
    ------
    InputError : there is no such set, or a folder cannot be written to.
    """
    from ..phantom.verification import verification_cases

    cases = spread(verification_cases(set_name), count)
    studies = output / STUDIES_FOLDER if studies is None else studies
    scores = []
    for number, case in enumerate(cases):
        watch = _part(progress, number, len(cases), case.name)
        folder = studies / case.name
        _render(case, folder, watch)
        result = _analyzed(folder, output / RESULTS_FOLDER / case.name, options, use_truth, overwrite, watch)
        watch(Progress("scoring", 1.0, ""))
        scores.append(score_case(replace(result, case_id=case.name), read_truth(folder, case.name)))
    return scores


def spread(cases: Sequence[VerificationCase], count: int | None) -> list[VerificationCase]:
    """Return so many cases, spread over the families and strata that take turns in a set; None for all, in order.

    Every seventh is taken, around and around, so that fewer cases are the first of more.
    """
    if count is None or gcd(_STRIDE, len(cases)) > 1:
        return list(cases[:count])
    return [cases[number * _STRIDE % len(cases)] for number in range(min(count, len(cases)))]


def _render(case: VerificationCase, folder: Path, progress: ProgressCallback) -> None:
    """Render a study into its folder, unless it is there."""
    from ..phantom.verification import make_cached

    progress(Progress("rendering", 0.0, ""))
    make_cached(case, folder.parent, stage_report(progress, "rendering", 0.0, 0.95))


def _analyzed(
    folder: Path, target: Path, options: AnalysisOptions, use_truth: bool, overwrite: bool, progress: ProgressCallback
) -> ResultCase:
    """Return the result of a study: that of an earlier run where it fits, else a new one.

    A study that is refused has a result, too: without artery, and with the reason as its note.
    """
    from ..phantom.writing import LABELS_FILE
    from ..pipeline import analyze
    from ..writing import write_case

    made_by = _made_by(options, use_truth)
    if not overwrite:
        earlier = _earlier(target, made_by)
        if earlier is not None:
            return earlier
    shutil.rmtree(target, ignore_errors=True)
    labels = read_label_map(folder / LABELS_FILE) if use_truth else None
    try:
        volume = read_volume(volume_in(folder))
        study = analyze(volume, options, progress, segmentation=labels)
    except InputError as error:
        target.mkdir(parents=True, exist_ok=True)
        refusal = {"made_by": made_by, "reason": error_line(error)}
        (target / _REFUSED_FILE).write_text(json.dumps(refusal) + "\n", encoding="utf-8")
        return _refused(refusal)
    report = write_case(study, target, overwrite=True)
    (target / _MADE_BY_FILE).write_text(json.dumps(made_by) + "\n", encoding="utf-8")
    return read_result(report.parent)


def _made_by(options: AnalysisOptions, use_truth: bool) -> dict[str, object]:
    """Return what a result depends on beside the study: version, model and options, as JSON has them."""
    model = get_model(options.model)
    values = {name: value for name, value in asdict(options).items() if name != "model"}  # which may be a path
    identity = None if use_truth else [PurePath(model.name).name, model.version, model.sha256]
    made_by: dict[str, object] = json.loads(json.dumps({"version": __version__, "model": identity, "options": values}))
    return made_by


def _earlier(target: Path, made_by: dict[str, object]) -> ResultCase | None:
    """Return the result of an earlier run with the same version, model and options; None without."""
    refused = target / _REFUSED_FILE
    if refused.is_file():
        refusal = read_json(refused)
        return _refused(refusal) if refusal.get("made_by") == made_by else None
    mark = target / _MADE_BY_FILE
    if not mark.is_file() or read_json(mark) != made_by:
        return None
    reports = sorted(target.glob(f"*/{REPORT_FILE}"))
    return read_result(reports[0].parent) if len(reports) == 1 else None


def _refused(refusal: dict[str, Any]) -> ResultCase:
    """Return the result of a study that was refused: nothing was found, and the note says why."""
    made_by = refusal["made_by"]
    name, version, sha256 = made_by["model"] or ("given", "", None)
    software = {"version": made_by["version"], "model": name, "model_version": version, "model_sha256": sha256}
    return ResultCase(
        case_id="",
        sha256="",
        tree=VesselTree(()),
        lesions=(),
        category=None,
        software=software | {"device": None, "precision": None},
        labels=partial(LabelMap, np.zeros((1, 1, 1), dtype=np.uint8), np.eye(4), {}),
        note=str(refusal["reason"]),
    )


def _part(progress: ProgressCallback | None, number: int, count: int, name: str) -> ProgressCallback:
    """Return a callback that tells of a case as its part of all cases."""

    def callback(part: Progress) -> None:
        if progress is not None:
            message = f"{name}, case {number + 1} of {count}" + (f": {part.message}" if part.message else "")
            progress(Progress(part.stage, (number + part.fraction) / count, message))

    return callback
