"""lesions.csv, vessels.csv, segments.csv and patient.csv: the rows of `rows.py` as CSV text.

Comes in: a `StudyResult`. Goes out: text after RFC 4180 (comma, CRLF, quotes where needed); the first line names the
columns with their units; an unknown number is an empty field.
"""

import csv
import io
from collections.abc import Sequence

from ..rows import (
    LESION_COLUMNS,
    PATIENT_COLUMNS,
    SEGMENT_COLUMNS,
    VESSEL_COLUMNS,
    Column,
    Row,
    lesion_rows,
    patient_row,
    segment_rows,
    vessel_rows,
)
from ..study import StudyResult


def lesions_csv(study: StudyResult) -> str:
    """Return lesions.csv: one line per lesion."""
    return _csv(LESION_COLUMNS, lesion_rows(study))


def vessels_csv(study: StudyResult) -> str:
    """Return vessels.csv: one line per vessel."""
    return _csv(VESSEL_COLUMNS, vessel_rows(study))


def segments_csv(study: StudyResult) -> str:
    """Return segments.csv: one line per SCCT segment."""
    return _csv(SEGMENT_COLUMNS, segment_rows(study))


def patient_csv(study: StudyResult) -> str:
    """Return patient.csv: one line, so that the files of many cases make one table."""
    return _csv(PATIENT_COLUMNS, [patient_row(study)])


def _csv(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [column.name for column in columns], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)  # None becomes an empty field
    return text.getvalue()
