"""The folder of a case: every file of a result, complete or absent.

Comes in: a `StudyResult` and the output folder. Goes out: DIR/<case>/ with report.json, report.html, tables
as CSV and the files for Slicer. Everything is written into a hidden folder beside it, which gets its name only
when it is complete; on any failure or cancel it is removed.
"""

import errno
import os
import re
import shutil
from pathlib import Path

from ..errors import InputError
from ..progress import MainThread, StageReport, here, no_report, part_of
from ..study import StudyResult
from .document import document_text, report_document
from .page import report_page
from .tables import lesions_csv, patient_csv, segments_csv, vessels_csv

_CASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_FULL_OR_FORBIDDEN = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def case_directory(case_id: str, output_directory: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Return the folder a case is written to.

    Raises
    ------
    InputError : the case id is no folder name, or the folder exists and `overwrite` is not set.
    """
    if not _CASE_NAME.fullmatch(case_id):
        raise InputError("the case id is no folder name: use up to 100 letters, digits, '.', '_' and '-'")
    directory = Path(output_directory) / case_id
    if os.path.lexists(directory) and not overwrite:
        raise InputError(f"the case '{case_id}' exists in the output folder: choose another folder or overwrite it")
    return directory


def write_case(
    study: StudyResult,
    output_directory: str | os.PathLike[str],
    overwrite: bool = False,
    report: StageReport = no_report,
    main: MainThread = here,
) -> Path:
    """Write every file of a study into `output_directory`/<case>/ and return the path of its report.json.

    The folder appears when all its files are complete; an existing one is replaced at that moment, and only with
    `overwrite`. The output folder itself is created when absent. `main` runs the steps that touch MRML.

    Raises
    ------
    InputError : the case exists and `overwrite` is not set, or the output folder is full or not writable.
    """
    directory = case_directory(study.case_id, output_directory, overwrite)
    partial = directory.with_name(f".{directory.name}.partial-{os.getpid()}")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had the same number
        partial.mkdir()
        _write_files(study, partial, report, main)
        _rename(partial, directory)
    except OSError as error:
        if error.errno not in _FULL_OR_FORBIDDEN:
            raise
        raise InputError(
            f"cannot write the case '{study.case_id}' to the output folder ({os.strerror(error.errno)}): "
            "free space there or choose another folder"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory / "report.json"


def _write_files(study: StudyResult, directory: Path, report: StageReport, main: MainThread) -> None:
    from ..scene import write_scene_files  # here, so that MRML is loaded only when a case is written

    report(0.0, "writing the files for Slicer")
    write_scene_files(study, directory, part_of(report, 0.0, 0.6), main)
    report(0.6, "writing the report")
    document = report_document(study)
    _write_text(directory / "report.html", report_page(study))
    report(0.9, "writing the tables")
    _write_text(directory / "lesions.csv", lesions_csv(study))
    _write_text(directory / "vessels.csv", vessels_csv(study))
    _write_text(directory / "segments.csv", segments_csv(study))
    _write_text(directory / "patient.csv", patient_csv(study))
    _write_text(directory / "report.json", document_text(document))
    report(1.0, "written")


def _write_text(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8"))  # bytes: no platform may change the line ends


def _rename(partial: Path, directory: Path) -> None:
    """Give the complete folder its name; the folder that had it is removed, or put back when that fails."""
    if not os.path.lexists(directory):
        partial.rename(directory)
        return
    previous = directory.with_name(f".{directory.name}.previous-{os.getpid()}")
    directory.rename(previous)
    try:
        partial.rename(directory)
    except BaseException:
        previous.rename(directory)
        raise
    shutil.rmtree(previous, ignore_errors=True)
