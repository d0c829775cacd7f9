"""Writing: a `StudyResult` becomes the folder of a case with report.json, report.html, tables and Slicer files."""

from .case import case_directory, write_case
from .centerlines import write_cat08, write_vmtk_text, write_vtp

__all__ = ["case_directory", "write_case", "write_cat08", "write_vmtk_text", "write_vtp"]
