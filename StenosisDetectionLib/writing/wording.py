"""The words of the report: grades, reference methods, flags and numbers as a reader expects them.

Numbers come in with their units in the name (mm, mm2, %) and go out as text; what is unknown becomes a dash.
"""

import math

from ..anatomy import SEGMENTS
from ..stenosis.cad_rads import in_order_of_print
from ..stenosis.grades import GRADES, grade_of
from ..stenosis.hidden import as_shown
from ..study import Lesion, LesionReview, Patient, StudyResult

UNKNOWN = "–"

REFERENCE_METHODS = {
    "model": "taper model",
    "model_interp": "taper model and both sides of the lesion",
    "model_prox": "taper model and the vessel before the lesion",
    "model_dist": "taper model and the vessel behind the lesion",
    "interp": "both sides of the lesion",
    "prox": "the vessel before the lesion",
    "dist": "the vessel behind the lesion",
    "marked_interp": "between the reader's markers",
    "marked_prox": "the reader's proximal marker",
    "marked_dist": "the reader's distal marker",
    "none": "not known",
}
"""What the words of `reference_method` mean."""

FLAGS = {
    "calcium_limited": "calcified plaque limits the measurement: read the interval, not the number",
    "interval_only": "calcium around more than half of the circumference hides the lumen: an interval, no number",
    "from_segmentation": "the fit failed at the narrowest place: the lumen is that of the segmentation",
    "bifurcation": "at a bifurcation",
    "ostial": "at the ostium",
    "uncertain_reference": "the healthy diameter is uncertain: the vessel beside the lesion differs from the reference",
    "diffusely_small_vessel": "the vessel is small over a long way: diffuse disease may hide in the reference",
    "tandem": "one of two lesions near each other",
    "added": "added by a reader",
    "contrast_gap": "a gap without contrast: candidate of an occlusion",
    "occlusion_not_excluded": "an occlusion is not excluded",
    "borderline_50": "borderline: the interval spans 50 %",
    "borderline_70": "borderline: the interval spans 70 %",
    "aorta_not_found": "the aorta was not found",
    "aortic_root_incomplete": "the aortic root is not complete in the image",
    "no_contrast": "no contrast agent was found in the aorta",
    "no_coronary_artery": "no coronary artery was found on the aorta",
    "aorta_doubtful": "no artery begins at the aorta found by its shape: that of the network is used",
    "vessels_leave_the_image": "an artery reaches the border of the image: what lies beyond was not imaged",
    "no_lumen": "the segmentation holds no lumen",
    "no_vessel": "the segmentation holds nothing that has the shape of a vessel",
    "lumen_too_large": "the segmentation is too large or too thick for coronary arteries: choose the coronary lumen, "
    "not the heart",
    "left_not_found": "no left coronary artery was found: it may lie outside of the image",
    "right_not_found": "no right coronary artery was found: it may lie outside of the image",
    "no_left_main": "the left main coronary artery was not found",
    "separate_left_ostia": "LAD and LCX begin at the aorta separately",
    "common_ostium": "left and right coronary artery begin at one place",
    "trees_touch": "the left and the right tree touch: names and ends there are uncertain",
    "ostium_estimated": "the ostium is estimated: the aorta was not found there",
    "ostium_gap": "the vessel begins at a distance from the aorta",
    "pieces_without_ostium": "parts of the segmentation have no way to an ostium and were left out",
    "several_hearts": "the segmentation holds the coronary trees of more than one heart: that of the aorta in this "
    "image was analyzed, the other was left out; check that the segmentation belongs to this patient",
    "several_hearts_undecided": "the segmentation holds the coronary trees of more than one heart, and no aorta tells "
    "which is this patient's: nothing was analyzed; give the tree of one patient, or its aorta as well",
    "bridged": "a gap without visible lumen was bridged: an occlusion or an artefact is possible",
    "loop_cut": "the lumen closes a loop here, or touches another vessel: the loop was cut",
    "leaves_field_of_view": "the vessel leaves the image: what follows was not imaged",
    "abrupt_end": "ends abruptly although it is wide: a possible occlusion without refill behind it, or lumen that was "
    "not found; read the image at its end, nothing was graded there",
    "left_not_imaged": "the left coronary artery lies outside of the image: it was not imaged",
    "right_not_imaged": "the right coronary artery lies outside of the image: it was not imaged",
    "one_sinus": "both coronary arteries begin in one sinus of the aorta, which is an anomaly",
    "orientation_doubtful": "the anatomy looks mirrored or turned: check the orientation of the image and the names",
    "dominance_inferred": "no posterior descending artery was seen; dominance is that of the artery reaching the crux",
    "balanced_inferred": "the circumflex artery goes on as a posterolateral branch: check that, dominance hangs on it",
    "touching_vein": "a vessel that runs beside an artery and touches it was taken for a vein and left out",
    "renamed": "named by a reader",
    "edited": "drawn or changed by a reader",
    "imported": "read from a file of centerlines",
}
"""The flags of lesions, vessels and the study in words; any other flag is shown with its underscores as spaces."""

ACQUISITION = {
    "kvp": "Tube voltage (kV)",
    "contrast_agent": "Contrast agent",
    "kernel": "Reconstruction kernel",
    "manufacturer": "Manufacturer",
    "slice_thickness_mm": "Slice thickness (mm)",
}
"""Titles of what the file says of the scan."""


FEATURES = {
    "low_attenuation": "low-attenuation plaque",
    "positive_remodeling": "positive remodeling",
    "spotty_calcification": "spotty calcification",
    "napkin_ring": "napkin-ring sign",
}
"""The candidates of high-risk plaque features in words."""


def cad_rads_words(patient: Patient) -> str:
    """Return the CAD-RADS 2.0 category with plaque burden and modifiers in the order of print, for example `3/P2/N`."""
    parts = (patient.cad_rads or UNKNOWN, patient.plaque_burden or "", *in_order_of_print(patient.modifiers))
    return "/".join(part for part in parts if part)


def grade_ranges() -> dict[str, str]:
    """Return the diameter stenosis of each grade as text, for example `25–49 %`."""
    ranges = {}
    for grade, following in zip(GRADES, (*GRADES[1:], None), strict=True):
        low = grade.lower_percent
        high = low if following is None else following.lower_percent - 1.0
        ranges[grade.name] = f"{low:.0f} %" if high <= low else f"{low:.0f}–{high:.0f} %"
    return ranges


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
        if grade_of(float(text)) == grade_of(value):
            break
    return text


def interval_percent(interval: tuple[float, float]) -> str:
    """Return an interval of percentages as `low–high`."""
    low, high = interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return UNKNOWN
    return f"{low:.0f}–{high:.0f}"


def stenosis_words(lesion: Lesion) -> str:
    """Return the diameter stenosis with its 90 % interval, for example `43 % (35–52)`; where calcium hides the lumen,
    the interval alone."""
    shown = as_shown(lesion)
    interval = interval_percent(shown.diameter_stenosis_interval_90)
    if not math.isfinite(shown.diameter_stenosis_percent):
        return f"{interval} %"
    return f"{stenosis_percent(shown.diameter_stenosis_percent)} % ({interval})"


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
    if flag.startswith("medina_"):
        return f"Medina class {','.join(flag.split('_')[1:])} (main before, main behind, branch; 1 is 50 % or more)"
    return FLAGS.get(flag, flag.replace("_", " "))


def borderline_words(lesion: Lesion) -> str:
    """Return in a sentence that the interval of a lesion spans several grades; empty where it does not."""
    low, high = lesion.diameter_stenosis_interval_90
    if not (math.isfinite(low) and math.isfinite(high)) or grade_of(low) == grade_of(high):
        return ""
    return f"Borderline: within its interval it could be {grade_of(low)} to {grade_of(high)}."


def feature_words(feature: str) -> str:
    """Return a high-risk plaque feature as words."""
    return FEATURES.get(feature, feature.replace("_", " "))


def decision_words(review: LesionReview) -> str:
    """Return a reader's decision as words; a lesion that the reader added is called so."""
    return "added" if review.decision == "edited" and review.before is None else review.decision


def study_notes(study: StudyResult) -> list[str]:
    """Return what limits the study or one of its vessels, a line each."""
    # That the aorta is missing is among the warnings of the image already.
    flags = [flag for flag in (*study.segmentation.flags, *study.tree.flags) if flag != "aorta_not_found"]
    notes = [flag_words(flag) for flag in flags]
    notes += [f"{vessel.name}: {flag_words(flag)}" for vessel in study.tree.vessels for flag in vessel.flags]
    return list(dict.fromkeys(notes))


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
        return ", ".join(plain_words(item) for item in value) or "none"
    return str(value)
