"""What a review makes of a study: all lesions as they stand now, and the findings as they count.

In: the study as the software found it and the review. Out: studies of the same kind, for the tables, the report and
the scene.
"""

from dataclasses import replace

from ..stenosis import apply_review
from ..study import Lesion, LesionReview, StudyResult
from .review import ACCEPTED, NOBODY, REJECTED, Review


def shown_study(found: StudyResult, review: Review) -> StudyResult:
    """Return the study with every lesion, edited ones as edited, added ones along their vessel, rejected ones too."""
    known = {lesion.id for lesion in found.lesions}
    lesions = [review.opinion(lesion.id).after or lesion for lesion in found.lesions]
    lesions += [o.after for name, o in review.opinions.items() if o.after is not None and name not in known]
    return replace(found, lesions=_in_order(found, lesions))


def counted_study(found: StudyResult, review: Review) -> StudyResult:
    """Return the study without rejected lesions, its findings made from the others, signed when the review is."""
    decisions = decisions_of(found, review)
    counted = apply_review(found, decisions) if decisions else found
    return replace(counted, patient=replace(counted.patient, reviewed=review.signed))


def decisions_of(found: StudyResult, review: Review) -> tuple[LesionReview, ...]:
    """Return the decisions on lesions that a review holds, as the report tells them."""
    originals = {lesion.id: lesion for lesion in found.lesions}
    decisions = []
    for name, opinion in review.opinions.items():
        original = originals.get(name)
        by = opinion.by.strip() or NOBODY
        if opinion.state == REJECTED:
            if original is not None:  # a lesion that a reader added and then rejected never was
                decisions.append(LesionReview(name, "rejected", by, opinion.at, opinion.comment, original, None))
        elif opinion.after is not None:
            decisions.append(LesionReview(name, "edited", by, opinion.at, opinion.comment, original, opinion.after))
        elif opinion.state == ACCEPTED and original is not None:
            decisions.append(LesionReview(name, "accepted", by, opinion.at, opinion.comment, original, original))
        elif opinion.comment and original is not None:
            decisions.append(LesionReview(name, "commented", by, opinion.at, opinion.comment, original, original))
    return tuple(decisions)


def settled(found: StudyResult, review: Review) -> StudyResult:
    """Return the study with what readers measured as its own lesions, the ground for a change of the tree."""
    return replace(shown_study(found, review), reviews=())


def surviving(review: Review, found: StudyResult) -> Review:
    """Return the review of a study whose tree has changed: opinions on lesions that are still there."""
    known = {lesion.id for lesion in found.lesions}
    opinions = {n: replace(o, before=None, after=None) for n, o in review.opinions.items() if n in known}
    return replace(review, opinions=opinions)


def _in_order(study: StudyResult, lesions: list[Lesion]) -> tuple[Lesion, ...]:
    order = {vessel.name: index for index, vessel in enumerate(study.tree.vessels)}
    return tuple(sorted(lesions, key=lambda lesion: (order.get(lesion.vessel, len(order)), lesion.throat_mm)))
