"""The frozen verification set: cases, checksums, whole studies, DICOM series and an artery from ultrasound."""

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.geometry import transform_points
from StenosisDetectionLib.phantom import verification
from StenosisDetectionLib.phantom.acquisition import MOTION_STRATA, NOISE_STRATA, with_spacing
from StenosisDetectionLib.phantom.heart import HELD_OUT_FAMILIES
from StenosisDetectionLib.phantom.heart_study import heart_truth, render_heart
from StenosisDetectionLib.phantom.ivus import ivus_study
from StenosisDetectionLib.phantom.manifest import differences, probe, read_manifest, truth_checksum
from StenosisDetectionLib.phantom.truth import AORTA_LABEL, LUMEN_LABEL, VEIN_LABEL, Phantom
from StenosisDetectionLib.phantom.verification import (
    SETS,
    dicom_writer,
    heart_of,
    make_cached,
    make_case,
    truth_of,
    verification_cases,
)
from StenosisDetectionLib.reading import read_volume


def test_the_sets_hold_what_they_should():
    counts = {name: len(verification_cases(name)) for name in SETS}
    assert counts == {"T1": 360, "T2": 60, "T3": 24, "T4": 100, "T5": 10, "T6": 6}
    names = [case.name for name in SETS for case in verification_cases(name)]
    assert len(set(names)) == len(names)
    hearts = verification_cases("T4")
    assert {case.get("family") for case in hearts} == set(HELD_OUT_FAMILIES)
    strata = {(case.get("noise"), case.get("motion")) for case in hearts}
    assert strata == {(noise, motion) for noise in NOISE_STRATA for motion in MOTION_STRATA}
    with pytest.raises(InputError, match="T7"):
        verification_cases("T7")


def test_the_manifest_names_every_case():
    assert set(read_manifest()) == {case.name for name in SETS for case in verification_cases(name)}


@pytest.mark.parametrize("name", ["T1-000", "T1-030", "T2-006", "T2-054", "T3-004", "T4-001", "T5-000", "T6-001"])
def test_a_case_is_as_it_was_frozen(name):
    case = next(case for case in verification_cases(name[:2]) if case.name == name)
    assert differences(case, read_manifest()[name]) == []


def test_a_changed_case_is_noticed():
    case = verification_cases("T1")[0]
    entry = read_manifest()[case.name]
    assert differences(replace(case, number=1), entry) != []
    assert differences(case, entry | {"truth_sha256": "0" * 64}) == ["truth"]
    shifted_probe = [value + 3 for value in probe(case)]
    assert differences(case, {"truth_sha256": truth_checksum(truth_of(case)), "probe_hu": shifted_probe}) == ["image"]


def test_truths_are_those_of_the_studies():
    for name, number in (("T1", 40), ("T2", 33), ("T3", 9)):
        case = verification_cases(name)[number]
        assert truth_checksum(truth_of(case)) == truth_checksum(make_case(case).truth)


def test_an_occlusion_has_no_lumen_at_its_throat_and_no_other_lesion_is_closed():
    closed = next(c for c in verification_cases("T2") if c.get("stenosis_percent") == 100.0)
    phantom = make_case(closed)
    lesion = phantom.truth.lesions[0]
    place = np.round(transform_points(np.linalg.inv(phantom.volume.ijk_to_ras), np.array(lesion.position_ras)))
    i, j, k = place.astype(int)
    around = np.s_[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2]
    assert not (phantom.lumen.labels[around] == LUMEN_LABEL).any()
    assert phantom.volume.voxels[around].mean() < 200
    assert lesion.diameter_stenosis_percent == 100 and lesion.minimal_lumen_diameter_mm == 0
    assert (phantom.lumen.labels == LUMEN_LABEL).sum() > 1000


def test_a_whole_heart_shows_its_truth_where_it_says():
    plan, acquisition = heart_of(verification_cases("T4")[4])
    coarse = with_spacing(acquisition, (1.1, 1.1, 1.1))
    phantom = render_heart(plan, coarse)
    truth, volume = phantom.truth, phantom.volume
    assert truth.family in HELD_OUT_FAMILIES and truth.dominance and set(truth.ostia_ras) >= {"RCA"}
    assert truth.acquisition["noise"]["noise_hu"] == acquisition.noise.noise_hu
    assert volume.voxels.min() >= -1024 and volume.voxels.max() <= 3071
    assert set(np.unique(phantom.lumen.labels)) >= {0, LUMEN_LABEL, AORTA_LABEL, VEIN_LABEL}
    to_ijk = np.linalg.inv(volume.ijk_to_ras)
    found = []
    for vessel in truth.vessels:
        wide = np.nan_to_num(vessel.diameter_mm) > 2.2
        i, j, k = np.round(transform_points(to_ijk, vessel.points_ras[wide])).astype(int).T
        found.append(phantom.lumen.labels[k, j, i])
    labels = np.concatenate(found)
    assert np.isin(labels, (LUMEN_LABEL, AORTA_LABEL)).mean() > 0.95
    # The right coronary artery begins on the patient's right of the left one, whatever the order of the slices.
    left = next(place for name, place in truth.ostia_ras.items() if name != "RCA")
    assert truth.vessel("RCA").points_ras[:, 0].max() > left[0]
    assert truth.vessel("RCA").points_ras[:, 0].max() > truth.vessel("LAD").points_ras[:, 0].max()


def test_vessels_outside_the_field_of_view_are_cut_and_named():
    plan, acquisition = heart_of(verification_cases("T4")[2])
    whole = heart_truth(plan, acquisition)
    assert whole.cropped == ()
    x, y, z = acquisition.center_ras
    cut = heart_truth(plan, replace(acquisition, center_ras=(x, y, z + 45.0)))
    assert cut.cropped
    shorter = {v.name: v.distance_mm[-1] for v in cut.vessels}
    assert any(v.name in shorter and shorter[v.name] < v.distance_mm[-1] for v in whole.vessels)
    ends = {v.name: v.distance_mm[-1] for v in cut.vessels}
    assert all(lesion.throat_mm <= ends[lesion.vessel] for lesion in cut.lesions)
    assert all(v.parent is None or v.parent in ends for v in cut.vessels)


def test_negatives_have_no_artery():
    veins, plain = (heart_of(verification_cases("T5")[n]) for n in (0, 5))
    for plan, _ in (veins, plain):
        assert plan.vessels == () and plan.lesions == () and plan.ostia_ras == {}
        assert not any(painted.label == LUMEN_LABEL for painted in plan.scene)
    assert any(painted.label == VEIN_LABEL for painted in veins[0].scene)
    contrast = [p.hu for p in plain[0].scene if p.label == 0 and not callable(p.hu) and 250 < p.hu < 450]
    assert len(contrast) <= 30  # ribs and the like at most


@pytest.mark.parametrize("number", range(6))
def test_dicom_series_are_read_back_or_refused(number, tmp_path):
    case = verification_cases("T6")[number]
    phantom = _toy(case.get("storage") == "oblique")
    dicom_writer(case)(phantom, tmp_path / "dicom")
    if case.is_refused:
        with pytest.raises(InputError):
            read_volume(tmp_path / "dicom")
        return
    volume = read_volume(tmp_path / "dicom")
    k, j, i = np.array(phantom.volume.voxels.shape) // 3
    point = transform_points(phantom.volume.ijk_to_ras, np.array([i, j, k]))
    there = np.round(transform_points(np.linalg.inv(volume.ijk_to_ras), point)).astype(int)
    np.testing.assert_allclose(transform_points(volume.ijk_to_ras, there), point, atol=1e-3)
    assert volume.voxels[there[2], there[1], there[0]] == pytest.approx(phantom.volume.voxels[k, j, i], abs=0.51)
    assert np.sort(volume.voxels.ravel())[::997] == pytest.approx(
        np.sort(phantom.volume.voxels.ravel())[::997], abs=0.51
    )


@lru_cache
def _toy(is_oblique: bool) -> Phantom:
    """Return what T6 stores: one study, but for its orientation."""
    return make_case(verification_cases("T6")[0 if is_oblique else 1])


def test_a_case_is_made_once(tmp_path, monkeypatch):
    case = verification_cases("T1")[12]
    folder = make_cached(case, tmp_path)
    truth = json.loads((folder / "truth.json").read_text())
    assert truth["kind"] == "cylinder"
    monkeypatch.setattr(verification, "make_case", None)
    assert make_cached(case, tmp_path) == folder


def test_a_case_that_another_run_has_written_meanwhile_is_taken(tmp_path, monkeypatch):
    case = verification_cases("T1")[12]
    made = make_case(case)

    def make(case, report):
        verification.make_case = lambda case, report: made  # the other run is faster
        make_cached(case, tmp_path)
        return made

    monkeypatch.setattr(verification, "make_case", make)
    assert (make_cached(case, tmp_path) / "truth.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [case.name]


def test_contours_become_a_vessel_of_their_areas(tmp_path):
    lines = []
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    for number, z in enumerate(np.linspace(0, 20, 41)):
        radius = 1.6 - 0.7 * np.exp(-(((z - 10) / 3) ** 2))
        x, y = 5 + radius * np.cos(angle), 4 + 0.8 * radius * np.sin(angle)
        lines += [f"{number}\t{a}\t{b}\t{z}" for a, b in zip(x, y, strict=True)]
    (tmp_path / "diastolic_contours.csv").write_text("\n".join(lines))
    phantom = ivus_study(tmp_path, noise_hu=0.0)
    vessel = phantom.truth.vessels[0]
    middle = int(np.argmin(np.abs(vessel.points_ras[:, 2] - 10)))
    assert vessel.diameter_mm[middle] == pytest.approx(2 * 0.9 * np.sqrt(0.8), abs=0.03)
    assert vessel.diameter_mm[2] == pytest.approx(2 * 1.6 * np.sqrt(0.8), abs=0.03)
    voxel = float(np.prod(phantom.volume.spacing_mm))
    area = np.pi / 4 * vessel.diameter_mm**2
    assert (phantom.lumen.labels == LUMEN_LABEL).sum() * voxel == pytest.approx(area.sum() * 0.25, rel=0.03)
    with pytest.raises(InputError, match="phase"):
        ivus_study(tmp_path, "resting")
    with pytest.raises(InputError, match="systolic"):
        ivus_study(tmp_path, "systolic")
