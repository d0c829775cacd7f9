"""The words of the report: grades, reference methods, flags and numbers as a reader expects them.

Numbers come in with their units in the name (mm, mm2, %) and go out as text; what is unknown becomes a dash.
"""

import math

from ..anatomy import SEGMENTS

UNKNOWN = "–"

GRADE_RANGES = {
    "none": "0 %",
    "minimal": "1–24 %",
    "mild": "25–49 %",
    "moderate": "50–69 %",
    "severe": "70–99 %",
    "occluded": "100 %",
}
"""Diameter stenosis of each grade (CAD-RADS 2.0, Cury 2022)."""

GRADE_THRESHOLDS_PERCENT = (1.0, 25.0, 50.0, 70.0, 100.0)

REFERENCE_METHODS = {
    "interp": "interpolated between the healthy vessel before and behind",
    "prox": "healthy vessel before the lesion",
    "dist": "healthy vessel behind the lesion",
    "model": "taper model of the vessel",
}
"""What the short words of `reference_method` mean."""

FLAGS = {
    "calcium": "calcified plaque beside the lumen limits the measurement",
    "calcium_limited": "calcified plaque limits the measurement: read the interval, not the number",
    "low_contrast": "low contrast in the lumen",
    "uncertain_reference": "the healthy diameter is uncertain (local and modeled values differ)",
    "diffuse": "diffuse disease: the healthy diameter may be underestimated",
    "bifurcation": "at a bifurcation",
    "ostium": "at the ostium",
    "borderline_50": "the interval spans the 50 % threshold",
    "borderline_70": "the interval spans the 70 % threshold",
    "aorta_not_found": "the aorta was not found",
}
"""The flags of lesions and vessels in words; any other flag is shown with its underscores as spaces."""

ACQUISITION = {
    "kvp": "Tube voltage (kV)",
    "contrast_agent": "Contrast agent",
    "kernel": "Reconstruction kernel",
    "manufacturer": "Manufacturer",
    "slice_thickness_mm": "Slice thickness (mm)",
}
"""Titles of what the file says of the scan."""


def number(value: float | None, decimals: int) -> str:
    """Return a number as text with that many decimals, a dash where it is unknown."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value + 0.0:.{decimals}f}"


def stenosis_percent(value: float | None) -> str:
    """Return a diameter stenosis as a whole number, with decimals only where rounding would change its grade."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    for decimals in range(4):
        text = f"{value:.{decimals}f}"
        if all((float(text) >= threshold) == (value >= threshold) for threshold in GRADE_THRESHOLDS_PERCENT):
            break
    return text


def interval_percent(interval: tuple[float, float]) -> str:
    """Return an interval of percentages as `low–high`, limited to what a stenosis can be."""
    low, high = interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return UNKNOWN
    return f"{min(max(low, 0.0), 100.0):.0f}–{min(max(high, 0.0), 100.0):.0f}"


def probability(value: float | None) -> str:
    """Return a probability in percent; the ends are shown as bounds, since no measurement is certain."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value < 0.01:
        return "< 1"
    if value > 0.99:
        return "> 99"
    return f"{100 * value:.0f}"


def flag_words(flag: str) -> str:
    """Return a flag as words."""
    return FLAGS.get(flag, flag.replace("_", " "))


def reference_words(method: str) -> str:
    """Return a reference method as words."""
    return REFERENCE_METHODS.get(method, method.replace("_", " "))


def segment_words(segment: str) -> str:
    """Return a segment number of the SCCT model with its abbreviation, for example `pLAD (6)`."""
    for definition in SEGMENTS:
        if segment in (str(definition.number), definition.abbreviation, definition.name):
            return f"{definition.abbreviation} ({definition.number})"
    return segment or UNKNOWN


def acquisition_words(name: str) -> str:
    """Return the title of an acquisition parameter."""
    return ACQUISITION.get(name, name.replace("_", " "))


def plain_words(value: object) -> str:
    """Return an option or a parameter as text."""
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(plain_words(item) for item in value)
    return str(value)
