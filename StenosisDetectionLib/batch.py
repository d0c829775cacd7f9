"""Analyze several studies one after another: paths in, a folder of results and one line of outcome for each out."""

import logging
from collections.abc import Iterable
from pathlib import Path

from .errors import Cancelled, StenosisDetectionError, error_line
from .options import AnalysisOptions
from .progress import Progress, ProgressCallback, stage_report


def run_batch(
    inputs: Iterable[str | Path],
    output_folder: str | Path,
    options: AnalysisOptions | None = None,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
) -> list[dict[str, str | None]]:
    """Analyze files and DICOM folders in turn and write the case folder of each into the output folder.

    Returns one dict per input: `input` (its name), `report` (path of its report.json) and `error` (one line); one of
    the last two is None. An input that fails does not stop the rest; `Cancelled`, which `progress` may raise, does.
    """
    from .pipeline import analyze
    from .reading import read_volume
    from .writing import write_case

    paths = [Path(path) for path in inputs]
    outcomes: list[dict[str, str | None]] = []
    for index, path in enumerate(paths):
        watch = _part_of_batch(progress, index, len(paths), path.name) if progress else None
        outcome: dict[str, str | None] = {"input": path.name, "report": None, "error": None}
        try:
            volume = read_volume(path, stage_report(watch, "reading", 0.0, 0.0))
            study = analyze(volume, options, watch)
            report = write_case(study, output_folder, overwrite, stage_report(watch, "writing", 1.0, 1.0))
            outcome["report"] = str(report)
        except Cancelled:
            raise
        except Exception as error:
            if not isinstance(error, StenosisDetectionError):
                logging.error(f"StenosisDetection: input {index + 1} failed", exc_info=error)
            outcome["error"] = error_line(error)
        outcomes.append(outcome)
    return outcomes


def _part_of_batch(progress: ProgressCallback, index: int, count: int, name: str) -> ProgressCallback:
    """Return a watcher of one case that reports to the watcher of the whole batch."""

    def watch(report: Progress) -> None:
        message = f"{name}: {report.message}" if report.message else name
        progress(Progress(report.stage, (index + report.fraction) / count, message))

    return watch
