"""The rows of the lesion and vessel tables, against the study they come from."""

import dataclasses
import math

import numpy as np
import pytest
from studies import small_study

from StenosisDetectionLib.rows import LESION_COLUMNS, VESSEL_COLUMNS, lesion_rows, vessel_rows


@pytest.mark.parametrize(("columns", "rows"), [(LESION_COLUMNS, lesion_rows), (VESSEL_COLUMNS, vessel_rows)])
def test_rows_have_exactly_the_columns_and_their_types(columns, rows):
    for row in rows(small_study()):
        assert list(row) == [column.name for column in columns]
        for column in columns:
            value = row[column.name]
            assert value is None or type(value) is column.type
            assert not (isinstance(value, float) and math.isnan(value))


def test_columns_are_unique_and_explained():
    for columns in (LESION_COLUMNS, VESSEL_COLUMNS):
        assert len({column.name for column in columns}) == len(columns)
        assert all(column.title and column.description for column in columns)
        # A name that ends in a unit must have that unit.
        for column in columns:
            ending = column.name.rsplit("_", 1)[-1]
            assert {"mm": "mm", "mm2": "mm2", "mm3": "mm3", "percent": "%"}.get(ending, "") == column.unit


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
