"""Grades of a stenosis by diameter: the one table of these thresholds (CAD-RADS 2.0, Cury 2022)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Grade:
    """A grade: its name and the smallest diameter stenosis in percent that belongs to it."""

    name: str
    lower_percent: float


GRADES: tuple[Grade, ...] = (
    Grade("none", 0.0),
    Grade("minimal", 1.0),
    Grade("mild", 25.0),
    Grade("moderate", 50.0),
    Grade("severe", 70.0),
    Grade("occluded", 100.0),
)

OBSTRUCTIVE_PERCENT = 50.0
SEVERE_PERCENT = 70.0


def grade_of(diameter_stenosis_percent: float) -> str:
    """Return the grade of a diameter stenosis in percent, on the unrounded value."""
    name = GRADES[0].name
    for grade in GRADES:
        if diameter_stenosis_percent >= grade.lower_percent:
            name = grade.name
    return name
