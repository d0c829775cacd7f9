"""From diameters to findings: healthy reference, lesions, CAD-RADS 2.0, and what a reader changes."""

from .cad_rads import CadRads, cad_rads, plaque_burden, plaque_burden_of_score
from .calcium_score import CalciumScore, calcium_score
from .grades import grade_of
from .interactive import add_lesion, remeasure_lesion
from .lesions import find_lesions
from .patient import assess_patient, smallest_graded_mm, territory_of
from .reference import fit_references
from .research import research_findings
from .review import DECISIONS, apply_review

__all__ = [
    "DECISIONS",
    "CadRads",
    "CalciumScore",
    "add_lesion",
    "apply_review",
    "assess_patient",
    "cad_rads",
    "calcium_score",
    "find_lesions",
    "fit_references",
    "grade_of",
    "plaque_burden",
    "plaque_burden_of_score",
    "remeasure_lesion",
    "research_findings",
    "smallest_graded_mm",
    "territory_of",
]
