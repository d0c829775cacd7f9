"""A reader's changes: lesions measured again or added from the profiles, decisions applied to the findings."""

from dataclasses import replace

import numpy as np
import pytest
from studies import small_study

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.stenosis import add_lesion, apply_review, remeasure_lesion
from StenosisDetectionLib.study import LesionReview, StudyResult

WHO, WHEN = "reader 1", "2026-11-24T15:00:00+00:00"


@pytest.fixture(name="study")
def fixture_study() -> StudyResult:
    return small_study()


def test_measuring_again_without_a_change_gives_the_profile_at_the_throat(study: StudyResult) -> None:
    lesion = study.lesions[0]
    again = remeasure_lesion(study, lesion.id)
    number = next(n for n, v in enumerate(study.tree.vessels) if v.name == lesion.vessel)
    at = int(np.argmin(np.abs(study.tree.vessels[number].distance_mm - lesion.throat_mm)))
    diameter = study.profiles[number].diameter_mm[at]
    healthy = study.references[number].diameter_mm[at]
    assert again.id == lesion.id
    assert again.minimal_lumen_diameter_mm == pytest.approx(diameter)
    assert again.diameter_stenosis_percent == pytest.approx(100 * (1 - diameter / healthy))
    assert again.flags[-1] == "edited"


def test_moved_reference_markers_set_the_healthy_diameter(study: StudyResult) -> None:
    lesion = study.lesions[0]
    number = next(n for n, v in enumerate(study.tree.vessels) if v.name == lesion.vessel)
    vessel, profile = study.tree.vessels[number], study.profiles[number]
    markers = (lesion.start_mm - 1.5, lesion.end_mm + 1.5)
    again = remeasure_lesion(study, lesion.id, reference_mm=markers)
    windows = [np.abs(vessel.distance_mm - marker) <= 1.01 for marker in markers]
    means = [float(np.nanmean(profile.diameter_mm[window])) for window in windows]
    share = (lesion.throat_mm - markers[0]) / (markers[1] - markers[0])
    assert again.reference_method == "marked_interp"
    assert again.reference_diameter_mm == pytest.approx((1 - share) * means[0] + share * means[1], abs=0.05)


def test_a_moved_end_searches_the_throat_again(study: StudyResult) -> None:
    lesion = study.lesions[0]
    again = remeasure_lesion(study, lesion.id, end_mm=lesion.throat_mm - 1.0)
    assert again.end_mm == pytest.approx(lesion.throat_mm - 1.0, abs=0.13)
    assert again.throat_mm <= again.end_mm
    assert again.diameter_stenosis_percent < lesion.diameter_stenosis_percent


def test_an_added_lesion_gets_a_name_of_its_own_and_its_flag(study: StudyResult) -> None:
    vessel = study.tree.vessel("RCA")
    added = add_lesion(study, "RCA", 2.0, 3.0, 4.0)
    assert added.id == "A1"
    assert added.vessel == vessel.name
    assert "added" in added.flags
    assert add_lesion(replace(study, lesions=(*study.lesions, added)), "RCA", 2.0, 3.0, 4.0).id == "A2"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"throat_mm": 0.0, "start_mm": 3.0}, "start before its throat"),
        ({"reference_mm": (9.0, 2.0)}, "proximal reference marker"),
    ],
)
def test_impossible_changes_are_refused_in_one_line(study: StudyResult, change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        remeasure_lesion(study, study.lesions[0].id, **change)


def test_unknown_lesions_and_vessels_are_refused(study: StudyResult) -> None:
    with pytest.raises(InputError, match="no lesion 'L9'"):
        remeasure_lesion(study, "L9")
    with pytest.raises(InputError, match="no vessel 'LCX7'"):
        add_lesion(study, "LCX7", 1.0, 2.0, 3.0)


def test_rejected_lesions_do_not_count_and_undecided_ones_do(study: StudyResult) -> None:
    first, second = study.lesions
    plain = apply_review(study, ())
    assert [lesion.id for lesion in plain.lesions] == [first.id, second.id]
    reviewed = apply_review(study, (LesionReview(first.id, "rejected", WHO, WHEN, "artefact", before=first),))
    assert reviewed.lesions == (second,)
    assert reviewed.patient.segment_involvement_score <= plain.patient.segment_involvement_score
    assert reviewed.reviews[0].comment == "artefact"
    assert reviewed.patient.reviewed is None
    none = apply_review(study, tuple(LesionReview(one.id, "rejected", WHO, WHEN, before=one) for one in study.lesions))
    assert none.lesions == ()


def test_the_last_decision_on_a_lesion_counts(study: StudyResult) -> None:
    first = study.lesions[0]
    decisions = (LesionReview(first.id, "rejected", WHO, WHEN), LesionReview(first.id, "accepted", WHO, WHEN))
    assert apply_review(study, decisions).lesions == study.lesions


def test_an_edited_lesion_replaces_the_first_and_an_added_one_takes_its_place_along_the_vessel(
    study: StudyResult,
) -> None:
    first = study.lesions[0]
    worse = replace(first, diameter_stenosis_percent=75.0, grade="severe")
    added = add_lesion(study, first.vessel, 1.0, 1.5, 2.0)
    reviewed = apply_review(
        study,
        (
            LesionReview(first.id, "edited", WHO, WHEN, before=first, after=worse),
            LesionReview(added.id, "edited", WHO, WHEN, after=added),
        ),
    )
    assert [one.id for one in reviewed.lesions[:2]] == [added.id, first.id]
    assert reviewed.lesions[1].diameter_stenosis_percent == 75.0
    assert reviewed.patient.cad_rads == "4A"


def test_what_only_a_reader_knows_is_kept(study: StudyResult) -> None:
    signed = replace(study, patient=replace(study.patient, modifiers=("N", "G"), reviewed=(WHO, WHEN)))
    patient = apply_review(signed, ()).patient
    assert "G" in patient.modifiers
    assert patient.reviewed == (WHO, WHEN)


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (LesionReview("L1", "maybe", WHO, WHEN), "unknown decision"),
        (LesionReview("L1", "accepted", " ", WHEN), "name of its reader"),
        (LesionReview("L1", "accepted", WHO, "yesterday"), "ISO 8601"),
        (LesionReview("L1", "edited", WHO, WHEN), "no edited lesion"),
        (LesionReview("L7", "accepted", WHO, WHEN), "no lesion 'L7'"),
    ],
)
def test_incomplete_decisions_are_refused(study: StudyResult, decision: LesionReview, words: str) -> None:
    with pytest.raises(InputError, match=words):
        apply_review(study, (decision,))


def test_a_comment_alone_decides_nothing_and_is_kept(study: StudyResult) -> None:
    first = study.lesions[0]
    decisions = (
        LesionReview(first.id, "rejected", WHO, WHEN, before=first),
        LesionReview(first.id, "commented", WHO, WHEN, "see the other phase", first, first),
    )
    reviewed = apply_review(study, decisions)
    assert first.id not in {one.id for one in reviewed.lesions}
    assert reviewed.reviews[-1].comment == "see the other phase"


def test_modifiers_of_a_reader_take_their_place_in_the_order_of_print(study: StudyResult) -> None:
    signed = replace(study, patient=replace(study.patient, modifiers=("E", "S", "HRP")))
    modifiers = apply_review(signed, ()).patient.modifiers
    assert [word for word in modifiers if word != "N"] == ["HRP", "S", "E"]
