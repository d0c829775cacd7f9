"""Corrections by hand: rename, draw, remove and segment again, each without touching the rest."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.spatial import cKDTree
from studies import small_study

from StenosisDetectionLib import AnalysisOptions, analyze
from StenosisDetectionLib.centerline import rename_vessel
from StenosisDetectionLib.editing import (
    _blood_hu,
    _noise_hu,
    _point_spread,
    add_branch,
    corrected_segmentation,
    remove_branch,
    rename_branch,
    replace_branch,
    replace_segmentation,
)
from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.geometry import shifted
from StenosisDetectionLib.lumen import VolumeSampler, measure
from StenosisDetectionLib.phantom import toy_study
from StenosisDetectionLib.study import LabelMap, LumenProfile, StudyResult, Vessel, VesselTree


@pytest.fixture(scope="module")
def toy():
    return toy_study()


@pytest.fixture(scope="module")
def study(toy) -> StudyResult:
    return analyze(toy.volume, AnalysisOptions(device="cpu"), segmentation=toy.lumen)


def line(name: str, parent: str | None, at: float | None, start: tuple[float, float, float], step: tuple) -> Vessel:
    points = np.array(start) + np.arange(121)[:, None] * np.array(step) * 0.25
    return Vessel(name, parent, at, points, np.arange(121) * 0.25, np.full(121, 1.5))


def left_tree() -> VesselTree:
    """LM, LAD with D1, D2 and S1, LCX with OM1, and a branch of D1."""
    return VesselTree(
        (
            line("LM", None, None, (0, 0, 0), (-1, 0, 0)),
            line("LAD", "LM", 30.0, (-30, 0, 0), (0, 1, 0)),
            line("LCX", "LM", 30.0, (-30, 0, 0), (0, -1, 0)),
            line("D2", "LAD", 20.0, (-30, 20, 0), (-1, 0, 0)),
            line("D1", "LAD", 10.0, (-30, 10, 0), (-1, 0, 0)),
            line("S1", "LAD", 15.0, (-30, 15, 0), (0, 0, -1)),
            line("OM1", "LCX", 12.0, (-30, -12, 0), (-1, 0, 0)),
            line("D1a", "D1", 5.0, (-35, 10, 0), (0, 0, -1)),
        )
    )


def test_a_renamed_branch_takes_everything_below_with_it():
    tree = rename_vessel(left_tree(), "LAD", "LCX")
    assert {v.name: v.parent for v in tree.vessels} == {
        "LM": None, "LCX": "LM", "LAD": "LM", "OM2": "LCX", "OM1": "LCX", "OM3": "LCX", "D1": "LAD", "OM1a": "OM1",
    }  # fmt: skip
    # numbered along the vessel, not in the order of the tuple
    assert tree.vessel("OM1").parent_distance_mm == 10.0 and tree.vessel("OM3").parent_distance_mm == 20.0
    assert [s.number for s in tree.vessel("LCX").segments] == [11, 13]
    assert tree.vessel("LCX").segments[0].end_mm == 10.0
    assert [s.number for s in tree.vessel("LAD").segments] == [6, 7, 8]
    assert tree.vessel("LAD").segments[0].end_mm == 12.0
    assert "renamed" in tree.vessel("LCX").flags and "renamed" not in tree.vessel("LM").flags


def test_renaming_back_gives_the_tree_again():
    tree = left_tree()
    there = rename_vessel(tree, "D1", "RI")
    assert [s.number for s in there.vessel("RI").segments] == [17]
    assert there.vessel("RIa").parent == "RI"
    back = rename_vessel(there, "RI", "D1")
    assert [(v.name, v.parent) for v in back.vessels] == [(v.name, v.parent) for v in tree.vessels]


def test_the_giver_of_the_pda_decides_dominance():
    tree = VesselTree((line("RCA", None, None, (0, 0, 0), (1, 0, 0)), line("AM1", "RCA", 30.0, (30, 0, 0), (0, 1, 0))))
    right = rename_vessel(tree, "AM1", "PDA")
    assert right.dominance == "right"
    assert [s.number for s in right.vessel("PDA").segments] == [4]
    left = rename_vessel(right, "RCA", "LCX")
    assert left.dominance == "left"
    assert [s.number for s in left.vessel("PDA").segments] == [15]


@pytest.mark.parametrize(
    ("name", "new", "words"),
    [("D9", "D1", "no vessel 'D9'"), ("D1", "", "cannot name"), ("D1", "../x", "cannot name"), ("D1", "a b", "cannot")],
)
def test_impossible_names_are_refused_in_one_line(name, new, words):
    with pytest.raises(InputError, match=words) as refusal:
        rename_vessel(left_tree(), name, new)
    assert "\n" not in str(refusal.value)


def test_renaming_changes_no_number_of_the_study():
    study = small_study()
    renamed = rename_branch(study, "LAD", "RI")
    assert [v.name for v in renamed.tree.vessels] == ["LM", "RI", "RCA"]
    assert [p.vessel for p in renamed.profiles] == [r.vessel for r in renamed.references] == ["LM", "RI", "RCA"]
    assert renamed.labels.names[2] == "RI"
    assert renamed.labels.labels is study.labels.labels
    for old, new in zip(study.profiles, renamed.profiles, strict=True):
        assert new.diameter_mm is old.diameter_mm
    assert [(x.id, x.vessel) for x in renamed.lesions] == [("L1", "RI"), ("L2", "RCA")]
    assert renamed.lesions[0].segment == "RI"
    assert renamed.lesions[0].diameter_stenosis_percent == study.lesions[0].diameter_stenosis_percent


def assert_only_changed(old: StudyResult, new: StudyResult, name: str) -> None:
    before = {p.vessel: p for p in old.profiles}
    healthy = {r.vessel: r for r in old.references}
    assert [p.vessel for p in new.profiles] == [r.vessel for r in new.references] == [v.name for v in new.tree.vessels]
    for vessel, profile, reference in zip(new.tree.vessels, new.profiles, new.references, strict=True):
        assert len(profile.diameter_mm) == len(reference.diameter_mm) == len(vessel.points_ras)
        if vessel.name != name:
            assert profile is before[vessel.name] and reference is healthy[vessel.name]
            assert vessel.points_ras is old.tree.vessel(vessel.name).points_ras
    others = [x for x in new.lesions if x.vessel != name]
    assert [x.id for x in others] == [x.id for x in old.lesions if x.vessel != name]
    assert len({x.id for x in new.lesions}) == len(new.lesions)


def test_a_redrawn_branch_is_measured_again_and_nothing_else(toy, study):
    truth = next(v for v in toy.truth.vessels if v.name == "D1")
    sparse = truth.points_ras[:: len(truth.points_ras) // 8]
    edited = replace_branch(study, "D1", sparse)
    assert_only_changed(study, edited, "D1")
    vessel, profile = edited.tree.vessel("D1"), edited.profiles[[v.name for v in edited.tree.vessels].index("D1")]
    assert "edited" in vessel.flags and vessel.parent == "LAD"
    away, nearest = cKDTree(truth.points_ras).query(vessel.points_ras)
    assert away[8:].max() < 0.2
    good = np.array(profile.quality) == "ok"
    assert good.sum() > 20
    assert abs(np.median(profile.diameter_mm[good] - truth.diameter_mm[nearest][good])) < 0.12
    assert edited.labels.names == study.labels.names
    assert (edited.labels.labels != study.labels.labels).mean() < 0.001


def test_only_what_changed_is_measured_again(study, monkeypatch):
    fitted = []

    def fit_contours(*arguments):
        fitted.append(len(arguments[5]))
        return measured(*arguments)

    measured = measure.fit_contours
    monkeypatch.setattr(measure, "fit_contours", fit_contours)
    vessel, profile = study.tree.vessel("RCA"), profile_of(study, "RCA")
    control = vessel.points_ras[np.round(np.linspace(0, len(vessel.points_ras) - 1, 18)).astype(int)].copy()
    control[12] += np.array([0.8, 0.3, -0.5])
    edited = replace_branch(study, "RCA", control)
    new, after = edited.tree.vessel("RCA"), profile_of(edited, "RCA")
    (count,) = fitted
    assert count < 0.6 * len(vessel.points_ras)
    assert "edited" in new.flags and new.parent == vessel.parent
    whole = measure_whole(edited, "RCA")
    away = cKDTree(vessel.points_ras).query(new.points_ras)[0]
    changed = np.flatnonzero(away > 1e-9)
    assert 20 < len(changed) < 100 and away.max() > 0.3
    for field in fields(LumenProfile):
        if field.name in ("vessel", "psf_error_mm", "quality"):
            continue
        value, expected = getattr(after, field.name), getattr(whole, field.name)
        assert value.shape == expected.shape, field.name
    np.testing.assert_allclose(after.frames, whole.frames, atol=1e-9)
    known = np.isfinite(after.diameter_mm) & np.isfinite(whole.diameter_mm)
    assert known.sum() > 0.9 * len(known)
    known[-4:] = False  # the section network reads every other section, and the last it reads stands for the end
    np.testing.assert_allclose(after.diameter_mm[known], whole.diameter_mm[known], atol=0.02)
    # The directions of the contours behind turned with the path before them.
    np.testing.assert_allclose(after.contour_radius_mm[known], whole.contour_radius_mm[known], atol=0.06)
    far = [
        lesion
        for lesion in study.lesions
        if lesion.vessel == "RCA" and not changed[0] - 40 < 4 * lesion.throat_mm < changed[-1] + 40
    ]
    assert far
    for lesion in far:
        (same,) = [one for one in edited.lesions if one.id == lesion.id]
        assert same.diameter_stenosis_percent == pytest.approx(lesion.diameter_stenosis_percent, abs=1.0)
    before = slice(0, changed[0] - 20)
    np.testing.assert_array_equal(after.diameter_mm[before], profile.diameter_mm[before])


def profile_of(study: StudyResult, name: str) -> LumenProfile:
    return next(p for p in study.profiles if p.vessel == name)


def measure_whole(study: StudyResult, name: str) -> LumenProfile:
    """Return the profile of a vessel as `measure_lumen` gives it for the whole of it."""
    (profile,) = measure.measure_lumen(
        study.volume,
        study.tree,
        _blood_hu(study),
        _noise_hu(study),
        _point_spread(study),
        VolumeSampler(study.volume, "cpu"),
        only=frozenset({name}),
        segmentation=study.segmentation,
    )
    return profile


def test_a_removed_branch_can_be_drawn_again(study):
    smaller = remove_branch(study, "D1")
    assert "D1" not in {v.name for v in smaller.tree.vessels}
    assert_only_changed(study, smaller, "D1")
    assert "D1" not in smaller.labels.names.values()
    aorta = next(n for n, text in smaller.labels.names.items() if text == "Aorta")
    before = next(n for n, text in study.labels.names.items() if text == "Aorta")
    np.testing.assert_array_equal(smaller.labels.labels == aorta, study.labels.labels == before)
    whole = add_branch(smaller, "D1", "LAD", study.tree.vessel("D1").points_ras)
    assert_only_changed(smaller, whole, "D1")
    number = {text: n for n, text in whole.labels.names.items()}
    old = {text: n for n, text in study.labels.names.items()}
    same = (whole.labels.labels == number["D1"]) == (study.labels.labels == old["D1"])
    assert (~same).sum() < 0.1 * (study.labels.labels == old["D1"]).sum()


def test_a_removed_vessel_takes_its_branches_with_it(study):
    assert {v.name for v in remove_branch(study, "LM").tree.vessels} == {"RCA"}


def test_a_branch_drawn_far_from_its_parent_is_marked(study):
    vessel = study.tree.vessel("D1")
    edited = replace_branch(study, "D1", vessel.points_ras[40:])
    assert {"edited", "bridged"} <= set(edited.tree.vessel("D1").flags)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.zeros((5, 3)), "shorter than 2 mm"),
        (np.zeros((0, 3)), "shorter than 2 mm"),
        (np.full((5, 3), np.nan), "three numbers"),
        (np.zeros((5, 2)), "three numbers"),
    ],
)
def test_paths_that_are_none_are_refused(study, points, words):
    with pytest.raises(InputError, match=words):
        replace_branch(study, "D1", points)


def test_unknown_and_taken_names_are_refused(study):
    points = study.tree.vessel("D1").points_ras
    with pytest.raises(InputError, match="no vessel 'D7'"):
        replace_branch(study, "D7", points)
    with pytest.raises(InputError, match="no vessel 'D7'"):
        remove_branch(study, "D7")
    with pytest.raises(InputError, match="already a vessel 'D1'"):
        add_branch(study, "D1", "LAD", points)
    with pytest.raises(InputError, match="no vessel 'D7'"):
        add_branch(study, "D2", "D7", points)


def test_a_corrected_segmentation_measures_only_what_changed(study):
    rca = cKDTree(study.tree.vessel("RCA").points_ras[-100:])
    lumen = study.segmentation.lumen.copy()
    kji = np.argwhere(lumen)
    ras = kji[:, ::-1] @ study.segmentation.ijk_to_ras[:3, :3].T + study.segmentation.ijk_to_ras[:3, 3]
    cut = kji[rca.query(ras)[0] < 3.0]
    lumen[tuple(cut.T)] = False
    edited = replace_segmentation(study, replace(study.segmentation, lumen=lumen))
    assert edited.tree.vessel("RCA").length_mm < study.tree.vessel("RCA").length_mm - 15.0
    before = {p.vessel: p for p in study.profiles}
    for profile in edited.profiles:
        assert (profile is before[profile.vessel]) == (profile.vessel != "RCA")


def test_labels_that_nobody_changed_change_nothing(study):
    """Not even where calcified plaque is drawn over lumen, and however the label map is cut."""
    labels = study.labels.labels.copy()
    number = {name: n for n, name in study.labels.names.items()}
    below = np.argwhere(labels == number["LAD"])[:40]
    labels[tuple(below.T)] = number["Calcified plaque"]
    with_plaque = replace(study, labels=replace(study.labels, labels=labels))
    low = np.argwhere(labels > 0).min(axis=0)
    cut = LabelMap(
        labels[low[0] :, low[1] :, low[2] :], shifted(study.labels.ijk_to_ras, low[::-1]), study.labels.names
    )
    same = corrected_segmentation(with_plaque, cut)
    np.testing.assert_array_equal(same.lumen, study.segmentation.lumen)
    np.testing.assert_array_equal(same.aorta, study.segmentation.aorta)
    edited = replace_segmentation(study, same)
    before = {p.vessel: p for p in study.profiles}
    assert all(profile is before[profile.vessel] for profile in edited.profiles)
    assert edited.lesions == study.lesions


def test_an_erased_part_of_a_segment_is_measured_again_and_nothing_else(study):
    labels = study.labels.labels.copy()
    number = {name: n for n, name in study.labels.names.items()}
    rca = cKDTree(study.tree.vessel("RCA").points_ras[-60:])
    kji = np.argwhere(labels == number["RCA"])
    ras = kji[:, ::-1] @ study.labels.ijk_to_ras[:3, :3].T + study.labels.ijk_to_ras[:3, 3]
    labels[tuple(kji[rca.query(ras)[0] < 3.0].T)] = 0
    given = replace(study.labels, labels=labels)
    reports = []
    segmentation = corrected_segmentation(study, given)
    edited = replace_segmentation(study, segmentation, lambda fraction, message: reports.append(fraction))
    assert edited.tree.vessel("RCA").length_mm < study.tree.vessel("RCA").length_mm - 10.0
    before = {p.vessel: p for p in study.profiles}
    assert {p.vessel for p in edited.profiles if p is not before[p.vessel]} == {"RCA"}
    assert reports == sorted(reports) and reports[-1] > 0.8


def test_a_lumen_beyond_the_known_grid_stands_alone(study):
    far = replace(
        study.segmentation, lumen=study.segmentation.lumen[:, :, :4], aorta=study.segmentation.aorta[:, :, :4],
    )  # fmt: skip
    small = replace(study, segmentation=far, labels=replace(study.labels, labels=study.labels.labels[:, :, :4]))
    given = corrected_segmentation(small, study.labels)
    assert given.lumen.sum() > far.lumen.sum()
    assert given.aorta.any()
