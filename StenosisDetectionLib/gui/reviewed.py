"""What a review makes of a study: all lesions as they stand now, and the findings as they count.

In: the study as the software found it and the review. Out: studies of the same kind, for the tables, the report and
the scene.
"""

from dataclasses import replace

from ..options import AnalysisOptions
from ..stenosis.patient import assess_patient
from ..study import Lesion, StudyResult
from .review import Review


def shown_study(found: StudyResult, review: Review) -> StudyResult:
    """Return the study with every lesion, edited ones as edited, added ones along their vessel, rejected ones too."""
    known = {lesion.id for lesion in found.lesions}
    lesions = [review.opinion(lesion.id).after or lesion for lesion in found.lesions]
    lesions += [o.after for name, o in review.opinions.items() if o.after is not None and name not in known]
    return replace(found, lesions=_in_order(found, lesions))


def counted_study(found: StudyResult, review: Review) -> StudyResult:
    """Return the study without rejected lesions, its findings made from the others, signed when the review is."""
    shown = shown_study(found, review)
    if not review.opinions and review.signed is None:
        return shown
    lesions = tuple(lesion for lesion in shown.lesions if lesion.id not in review.rejected)
    patient = found.patient
    if review.opinions:
        smallest = found.parameters.get("minimum_reference_diameter_mm")
        if not isinstance(smallest, int | float):
            smallest = AnalysisOptions().minimum_reference_diameter_mm
        patient = assess_patient(found.tree, found.profiles, found.references, lesions, float(smallest))[0]
    return replace(shown, lesions=lesions, patient=replace(patient, reviewed=review.signed))


def _in_order(study: StudyResult, lesions: list[Lesion]) -> tuple[Lesion, ...]:
    order = {vessel.name: index for index, vessel in enumerate(study.tree.vessels)}
    return tuple(sorted(lesions, key=lambda lesion: (order.get(lesion.vessel, len(order)), lesion.throat_mm)))
