"""The tables of a case against Python's own reader of RFC 4180 and the study they come from."""

import csv
import io
from dataclasses import replace

import pytest
from studies import small_study

from StenosisDetectionLib.rows import LESION_COLUMNS, PATIENT_COLUMNS, VESSEL_COLUMNS
from StenosisDetectionLib.writing.tables import lesions_csv, patient_csv, segments_csv, vessels_csv


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_lesions_have_a_line_each_with_the_values_of_the_study():
    study = small_study()
    text = lesions_csv(study)
    assert text.split("\r\n")[0] == ",".join(column.name for column in LESION_COLUMNS)
    assert text.count("\n") == text.count("\r\n") == 1 + len(study.lesions)
    for row, lesion in zip(rows(text), study.lesions, strict=True):
        assert row["id"] == lesion.id
        assert float(row["minimal_lumen_diameter_mm"]) == pytest.approx(lesion.minimal_lumen_diameter_mm, abs=0.001)
        assert float(row["position_r_mm"]) == pytest.approx(lesion.position_ras[0], abs=0.001)


def test_vessels_have_a_line_each():
    study = small_study()
    assert [row["vessel"] for row in rows(vessels_csv(study))] == ["LM", "LAD", "RCA"]
    assert list(rows(vessels_csv(study))[0]) == [column.name for column in VESSEL_COLUMNS]


def test_segments_and_the_patient():
    study = small_study()
    assert [row["segment"] for row in rows(segments_csv(study))] == ["pRCA", "LM", "pLAD"]
    (patient,) = rows(patient_csv(study))
    assert list(patient) == [column.name for column in PATIENT_COLUMNS]
    assert (patient["case"], patient["cad_rads"], patient["lm_grade"]) == ("case-1", "3", "")


def test_unknown_is_empty_and_text_is_quoted():
    study = small_study()
    lesion = replace(study.lesions[1], segment='a "b", c', area_stenosis_percent=float("nan"))
    text = lesions_csv(replace(study, lesions=(lesion,)))
    assert '"a ""b"", c"' in text
    (row,) = rows(text)
    assert row["segment"] == 'a "b", c'
    assert row["area_stenosis_percent"] == "" and row["plaque_volume_mm3"] == ""


def test_without_lesions_only_the_names_of_the_columns_remain():
    assert rows(lesions_csv(replace(small_study(), lesions=()))) == []
