"""A reader's decisions on lesions, and what they make of the findings.

In: the study as the software found it and the decisions of its readers in the order they were made. Out: the study
with the lesions that stand, and the patient's findings (CAD-RADS 2.0, scores) computed from these alone. A decision
never signs the report: `Patient.reviewed` is set where a named reader does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import InputError
from .cad_rads import in_order_of_print
from .patient import COMPUTED_MODIFIERS, assess_patient, smallest_graded_mm
from .research import with_lesions

if TYPE_CHECKING:
    from ..study import Lesion, LesionReview, StudyResult

DECISIONS = ("accepted", "rejected", "edited", "commented")
"""What a reader can decide; a lesion that the reader added is `edited` and has no `before`. A comment alone decides
nothing."""


def apply_review(study: StudyResult, decisions: Sequence[LesionReview]) -> StudyResult:
    """Return the study with the reader's decisions applied.

    Of several decisions on one lesion the last counts. Rejected lesions are left out, edited ones replaced, added ones
    inserted along their vessel. A lesion without a decision stays: only a reader's word removes a finding. What only a
    reader can know (modifiers I, G and E, the signature) is kept.

    Raises
    ------
    InputError : a decision names no lesion of the study, or lacks what it needs.
    """
    known = {lesion.id for lesion in study.lesions}
    for decision in decisions:
        _check(decision, known)
    last = {decision.lesion_id: decision for decision in decisions if decision.decision != "commented"}
    standing: list[Lesion] = []
    for lesion in study.lesions:
        change = last.get(lesion.id)
        if change is None or change.decision == "accepted":
            standing.append(lesion)
        elif change.decision == "edited" and change.after is not None:
            standing.append(change.after)
    standing += [d.after for d in last.values() if d.lesion_id not in known and d.after is not None]
    order = {vessel.name: n for n, vessel in enumerate(study.tree.vessels)}
    lesions = tuple(sorted(standing, key=lambda one: (order.get(one.vessel, len(order)), one.throat_mm)))
    patient, _ = assess_patient(study.tree, study.profiles, study.references, lesions, smallest_graded_mm(study))
    kept = tuple(word for word in study.patient.modifiers if word not in COMPUTED_MODIFIERS)
    modifiers = in_order_of_print((*patient.modifiers, *kept))
    patient = replace(patient, modifiers=modifiers, reviewed=study.patient.reviewed)
    research = with_lesions(study, lesions)
    return replace(study, lesions=lesions, patient=patient, reviews=tuple(decisions), research=research)


def _check(decision: LesionReview, known: set[str]) -> None:
    if decision.decision not in DECISIONS:
        raise InputError(f"unknown decision '{decision.decision}': choose one of {', '.join(DECISIONS)}")
    if not decision.by.strip():
        raise InputError(f"the decision on {decision.lesion_id} needs the name of its reader")
    try:
        datetime.fromisoformat(decision.at)
    except ValueError:
        raise InputError(f"the decision on {decision.lesion_id} needs its time in ISO 8601") from None
    if decision.decision == "edited" and decision.after is None:
        raise InputError(f"the decision on {decision.lesion_id} says edited and holds no edited lesion")
    if decision.lesion_id not in known and (decision.after is None or decision.before is not None):
        raise InputError(f"there is no lesion '{decision.lesion_id}' in this study")
