"""From diameters to findings: healthy reference, lesions, CAD-RADS 2.0."""

from .cad_rads import CadRads, cad_rads, plaque_burden
from .grades import grade_of
from .lesions import find_lesions
from .patient import assess_patient, territory_of
from .reference import fit_references

__all__ = [
    "CadRads",
    "assess_patient",
    "cad_rads",
    "find_lesions",
    "fit_references",
    "grade_of",
    "plaque_burden",
    "territory_of",
]
