"""Writing: a `StudyResult` becomes the folder of a case with report.json, report.html, tables and Slicer files."""

from .case import case_directory, write_case

__all__ = ["case_directory", "write_case"]
