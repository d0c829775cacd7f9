"""The rows of the lesion and vessel tables, against the study they come from."""

import dataclasses
import math

import numpy as np
import pytest
from studies import full_study, small_study

from StenosisDetectionLib.rows import (
    LESION_COLUMNS,
    PATIENT_COLUMNS,
    SEGMENT_COLUMNS,
    VESSEL_COLUMNS,
    lesion_rows,
    patient_row,
    segment_rows,
    vessel_rows,
)
from StenosisDetectionLib.stenosis.hidden import UNMEASURED
from StenosisDetectionLib.writing.document import report_document

TABLES = [
    (LESION_COLUMNS, lesion_rows),
    (VESSEL_COLUMNS, vessel_rows),
    (SEGMENT_COLUMNS, segment_rows),
    (PATIENT_COLUMNS, lambda study: [patient_row(study)]),
]


@pytest.mark.parametrize("make", [small_study, full_study])
@pytest.mark.parametrize(("columns", "rows"), TABLES)
def test_rows_have_exactly_the_columns_and_their_types(columns, rows, make):
    for row in rows(make()):
        assert list(row) == [column.name for column in columns]
        for column in columns:
            value = row[column.name]
            assert value is None or type(value) is column.type
            assert not (isinstance(value, float) and math.isnan(value))


def test_columns_are_unique_and_explained():
    for columns, _ in TABLES:
        assert len({column.name for column in columns}) == len(columns)
        assert all(column.title and column.description for column in columns)
        # A name that ends in a unit must have that unit.
        for column in columns:
            ending = column.name.rsplit("_", 1)[-1]
            assert {"mm": "mm", "mm2": "mm2", "mm3": "mm3", "percent": "%", "hu": "[hnsf'U]"}.get(
                ending, ""
            ) == column.unit


def test_lesion_row_holds_the_numbers_of_the_lesion():
    study = small_study()
    for row, lesion in zip(lesion_rows(study), study.lesions, strict=True):
        assert (row["id"], row["vessel"], row["grade"]) == (lesion.id, lesion.vessel, lesion.grade)
        assert row["diameter_stenosis_percent"] == pytest.approx(lesion.diameter_stenosis_percent, abs=0.05)
        position = [row["position_r_mm"], row["position_a_mm"], row["position_s_mm"]]
        assert position == pytest.approx(lesion.position_ras, abs=5e-4)
        assert row["diameter_stenosis_low_percent"] == pytest.approx(lesion.diameter_stenosis_interval_90[0], abs=0.05)
        assert row["diameter_stenosis_high_percent"] == pytest.approx(lesion.diameter_stenosis_interval_90[1], abs=0.05)
    assert lesion_rows(study)[1]["plaque_volume_mm3"] is None


def test_a_lesion_behind_calcium_has_an_interval_and_no_number():
    study = full_study()
    lesion = dataclasses.replace(study.lesions[0], flags=("interval_only",), diameter_stenosis_interval_90=(20.0, 80.0))
    study = dataclasses.replace(study, lesions=(lesion,))
    row = lesion_rows(study)[0]
    report = report_document(study)["lesions"][0]
    assert (row["diameter_stenosis_low_percent"], row["diameter_stenosis_high_percent"]) == (20.0, 80.0)
    assert report["diameter_stenosis_interval_90"] == [20.0, 80.0]
    for name in UNMEASURED:
        assert row.get(name) is None
        assert report[name] is None
    assert vessel_rows(study)[1]["diameter_stenosis_percent"] is None


def test_vessel_row_summarizes_the_vessel():
    study = small_study()
    lm, lad, _ = vessel_rows(study)
    assert lm["grade"] == "none" and lm["lesions"] == 0 and lm["diameter_stenosis_percent"] is None
    assert lad["grade"] == "moderate" and lad["lesions"] == 1 and lad["probability_50"] == 0.85
    # LM is a straight tube of 4 mm: its volume is known.
    measured_mm = 0.25 * np.isfinite(study.profiles[0].diameter_mm).sum()
    assert lm["lumen_volume_mm3"] == pytest.approx(math.pi * 4.0 * measured_mm, abs=0.1)
    assert lm["mean_lumen_diameter_mm"] == 4.0
    assert lad["minimal_lumen_diameter_mm"] == pytest.approx(3.2 * 0.4, abs=2e-3)


def test_vessel_without_measurements_has_no_numbers_and_no_grade():
    study = small_study()
    unknown = np.full_like(study.profiles[0].diameter_mm, np.nan)
    profile = dataclasses.replace(study.profiles[0], diameter_mm=unknown, area_mm2=unknown)
    row = vessel_rows(dataclasses.replace(study, profiles=(profile, *study.profiles[1:])))[0]
    assert row["grade"] == "" and row["measured_percent"] == 0.0
    assert row["mean_lumen_diameter_mm"] is None and row["lumen_volume_mm3"] is None


def test_segment_rows_hold_quality_and_score():
    study = full_study()
    rca, lm, lad = segment_rows(study)
    assert [row["segment"] for row in (rca, lm, lad)] == ["pRCA", "LM", "pLAD"]
    assert (lm["lumen_hu"], lm["noise_hu"], lm["noise_error_hu"], lm["stenosis_score"]) == (401.0, 19.0, 2.4, 0)
    assert lad["noise_hu"] is None and lad["contrast_to_noise"] == 20.9
    # 60 % and 30 % diameter stenosis
    assert (lad["stenosis_score"], rca["stenosis_score"]) == (2, 1)
    assert (lm["grade"], lad["grade"], rca["measured_percent"]) == ("none", "moderate", 0.0)


def test_patient_row_has_every_territory_whether_found_or_not():
    row = patient_row(full_study())
    assert (row["cad_rads"], row["plaque_burden"], row["segment_stenosis_score"]) == ("3", "P2", 3)
    assert (row["lad_grade"], row["lad_probability_50"], row["lad_assessed"]) == ("moderate", 0.85, "yes")
    assert (row["rca_assessed"], row["lcx_grade"], row["lcx_assessed"]) == ("no", None, "no")
    assert (row["plaque_volume_mm3"], row["atheroma_volume_percent"], row["aorta_hu"]) == (40.0, 6.25, 400.0)
    assert row["reviewed_by"] == ""
