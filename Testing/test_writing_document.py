"""report.json: every field of the public interface, its schema, and what a schema cannot say."""

import json
import re
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from studies import full_study, small_study

from StenosisDetectionLib.stenosis.grades import GRADES
from StenosisDetectionLib.study import VesselTree
from StenosisDetectionLib.writing.document import document_text, report_document

VESSEL_KEYS = [
    "name",
    "parent",
    "ostium_ras",
    "length_mm",
    "segments",
    "points_ras",
    "distance_mm",
    "lumen_area_mm2",
    "lumen_diameter_mm",
    "minimum_diameter_mm",
    "maximum_diameter_mm",
    "reference_diameter_mm",
    "quality",
]
LESION_KEYS = [
    "id",
    "vessel",
    "segment",
    "position_ras",
    "start_mm",
    "throat_mm",
    "end_mm",
    "length_mm",
    "minimal_lumen_diameter_mm",
    "minimal_lumen_area_mm2",
    "reference_diameter_mm",
    "reference_method",
    "diameter_stenosis_percent",
    "diameter_stenosis_interval_90",
    "area_stenosis_percent",
    "probability_50",
    "probability_70",
    "grade",
    "plaque",
    "flags",
]
PATIENT_KEYS = [
    "cad_rads",
    "cad_rads_text",
    "plaque_burden",
    "segment_involvement_score",
    "dominance",
    "modifiers",
    "reviewed",
]
SEGMENT_KEYS = ["scheme", "number", "name", "snomed", "start_mm", "end_mm", "confidence"]
PLAQUE_KEYS = ["type", "volume_mm3", "calcified_volume_mm3"]
QUALITY_KEYS = ["noise_hu", "aorta_hu", "psf_sigma_mm", "warnings"]


@pytest.fixture(scope="module")
def schema(repository):
    schema = json.loads((repository / "Resources" / "schema" / "report.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def parsed(study):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(document_text(report_document(study)), parse_constant=refuse)


def valid(document, schema):
    return jsonschema.Draft202012Validator(schema).is_valid(document)


def extended(document):
    """Return the objects that hold more than the interface asks for, each with the keys that it asks for."""
    return [
        (document["vessels"][0], VESSEL_KEYS),
        (document["vessels"][0]["segments"][0], SEGMENT_KEYS),
        (document["lesions"][0], LESION_KEYS),
        (document["lesions"][0]["plaque"], PLAQUE_KEYS),
        (document["patient"], PATIENT_KEYS),
        (document["quality"], QUALITY_KEYS),
    ]


def test_has_the_keys_of_the_interface_in_their_order():
    document = parsed(small_study())
    assert list(document) == [
        "schema", "case", "coordinate_system", "software", "vessels", "lesions", "patient", "quality", "timing_s",
    ]  # fmt: skip
    assert document["schema"] == "stenosis-detection/report/1"
    assert document["coordinate_system"] == "RAS"
    assert list(document["case"]) == ["id", "input"]
    assert list(document["case"]["input"]) == ["format", "sha256", "size", "spacing_mm", "modality"]
    assert list(document["software"]) == ["version", "model", "device", "precision", "parameters"]
    assert list(document["software"]["model"]) == ["name", "version", "sha256"]
    # What is known beyond the interface comes behind it.
    for part, keys in extended(document):
        assert list(part)[: len(keys)] == keys
    assert document["timing_s"] == {"segmentation": 0.5, "total": 1.0, "peak_memory_mb": 123.0}


def test_follows_the_schema(schema):
    jsonschema.Draft202012Validator(schema).validate(parsed(small_study()))


def test_what_analysis_and_readers_add_follows_the_schema(schema):
    document = parsed(full_study())
    jsonschema.Draft202012Validator(schema).validate(document)
    assert list(document)[-2:] == ["reviews", "research"]
    assert document["patient"]["segment_stenosis_score"] == 3
    assert [one["territory"] for one in document["patient"]["territories"]] == ["LAD", "RCA"]
    assert (document["patient"]["probability_50"], document["patient"]["probability_70"]) == (0.85, 0.1)
    assert document["patient"]["plaque"]["fibrofatty_volume_mm3"] == 19.0
    assert document["quality"]["contrast_to_noise"] == 21.5
    left_main, lad = (document["vessels"][n]["segments"][0] for n in (0, 1))
    assert (left_main["noise_hu"], left_main["noise_error_hu"]) == (19.0, 2.4)
    assert lad["noise_hu"] is None and lad["contrast_to_noise"] == 20.9
    first, second, third = document["reviews"]
    assert (first["by"], first["at"], first["decision"]) == ("A. Reader", "2026-01-02T03:04:05Z", "edited")
    assert first["before"]["id"] == first["after"]["id"] == "L1"
    assert second["after"] is None and second["comment"] == "motion" and third["before"] is None
    assert document["research"]["pressure_drop"][0]["pressure_ratio_interval_90"] == [0.77, 0.91]
    assert document["research"]["fat_attenuation"][0]["attenuation_hu"] == -81.3
    assert "ffr" not in json.dumps(document).lower()


def test_research_and_reviews_are_absent_unless_there_are_any():
    assert not {"reviews", "research"} & set(parsed(small_study()))


def test_a_study_without_vessels_follows_the_schema(schema):
    study = small_study()
    patient = replace(study.patient, cad_rads=None, plaque_burden=None, segment_involvement_score=None)
    quality = replace(study.quality, noise_hu=None, aorta_hu=float("nan"), psf_sigma_mm=None)
    empty = replace(
        study, tree=VesselTree(()), profiles=(), references=(), lesions=(), patient=patient, quality=quality,
        peak_memory_mb=None,
    )  # fmt: skip
    document = parsed(empty)
    jsonschema.Draft202012Validator(schema).validate(document)
    assert document["vessels"] == [] and document["lesions"] == []
    assert document["quality"]["aorta_hu"] is None
    assert document["timing_s"]["peak_memory_mb"] is None


def _change(document, path, value):
    *parents, last = path
    for key in parents:
        document = document[key]
    document[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["extra"], 1),
        (["coordinate_system"], "LPS"),
        (["case", "patient_name"], "x"),
        (["case", "id"], "../x"),
        (["vessels", 0, "radius_mm"], []),
        (["vessels", 0, "quality", 0], "good"),
        (["vessels", 0, "lumen_diameter_mm", 0], -1),
        (["vessels", 0, "segments", 0, "number"], 19),
        (["lesions", 0, "grade"], "bad"),
        (["lesions", 0, "diameter_stenosis_percent"], 101),
        (["lesions", 0, "diameter_stenosis_interval_90"], [1]),
        (["lesions", 0, "probability_50"], 1.5),
        (["lesions", 0, "plaque", "type"], "soft"),
        (["patient", "reviewed"], True),
        (["patient", "cad_rads"], "6"),
        (["quality", "noise_hu"], "20"),
    ],
)
def test_schema_refuses_what_the_interface_does_not_have(schema, path, value):
    document = parsed(small_study())
    _change(document, path, value)
    assert not valid(document, schema)


def test_schema_requires_every_key(schema):
    document = parsed(small_study())
    whole = [
        document, document["case"], document["case"]["input"], document["software"], document["software"]["model"],
    ]  # fmt: skip
    for part, keys in [*((one, list(one)) for one in whole), *extended(document)]:
        for key in keys:
            kept = dict(part)
            del part[key]
            assert not valid(document, schema), key
            part.clear()
            part.update(kept)


def test_schema_and_code_share_the_grades(schema):
    assert schema["$defs"]["lesion"]["properties"]["grade"]["enum"] == [grade.name for grade in GRADES]


def test_arrays_of_a_vessel_have_one_length_and_the_values_of_the_study():
    study = small_study()
    for vessel, profile, written in zip(study.tree.vessels, study.profiles, parsed(study)["vessels"], strict=True):
        arrays = [
            key for key in VESSEL_KEYS if isinstance(written[key], list) and key not in ("ostium_ras", "segments")
        ]
        assert {len(written[key]) for key in arrays} == {len(vessel.points_ras)}
        np.testing.assert_allclose(written["points_ras"], vessel.points_ras, atol=0.0006)
        np.testing.assert_allclose(np.diff(written["distance_mm"]), 0.25)
        assert written["ostium_ras"] == written["points_ras"][0]
        diameter = np.array(written["lumen_diameter_mm"], dtype=float)  # None becomes NaN
        np.testing.assert_allclose(diameter, profile.diameter_mm, atol=0.0006)
        area = np.array(written["lumen_area_mm2"], dtype=float)
        np.testing.assert_allclose(np.sqrt(4.0 * area / np.pi), diameter, atol=0.002)


def test_unknown_numbers_are_null():
    study = small_study()
    written = parsed(study)
    assert written["vessels"][1]["lumen_diameter_mm"][:3] != [None] * 3
    assert written["vessels"][1]["lumen_diameter_mm"][:2] == [None, None]
    plaque = written["lesions"][1]["plaque"]
    assert plaque.pop("type") == "unknown" and set(plaque.values()) == {None}
    lesion = replace(study.lesions[0], diameter_stenosis_interval_90=(float("nan"), float("inf")))
    assert parsed(replace(study, lesions=(lesion,)))["lesions"][0]["diameter_stenosis_interval_90"] == [None, None]


def test_review_is_false_until_a_reader_signs(schema):
    study = small_study()
    assert parsed(study)["patient"]["reviewed"] is False
    signed = replace(study, patient=replace(study.patient, reviewed=("A. Reader", "2026-01-02T03:04:05+00:00")))
    document = parsed(signed)
    assert document["patient"]["reviewed"] == {"by": "A. Reader", "at": "2026-01-02T03:04:05+00:00"}
    jsonschema.Draft202012Validator(schema).validate(document)


def test_a_model_given_as_a_path_leaves_only_its_base_name():
    study = small_study()
    model = replace(study.segmentation.model, name="/home/someone/weights.pt")
    study = replace(
        study,
        segmentation=replace(study.segmentation, model=model),
        parameters={"model": "/home/someone/weights.pt", "roi": (np.float32(1.5), 2), "given": np.bool_(True)},
    )
    software = parsed(study)["software"]
    assert software["model"]["name"] == "weights.pt"
    assert software["parameters"] == {"model": "weights.pt", "roi": [1.5, 2], "given": True}


def test_text_is_the_same_each_time_and_readable():
    text = document_text(report_document(small_study()))
    assert text == document_text(report_document(small_study()))
    assert "-0.0," not in text
    assert max(len(number) for number in re.findall(r"\d+\.(\d+)", text)) <= 6
    assert text.endswith("}\n") and text.count("\n") < 300


def test_what_limits_tree_and_vessels_is_among_the_warnings(schema):
    study = small_study()
    first = replace(study.tree.vessels[0], flags=("bridged",))
    tree = replace(study.tree, vessels=(first, *study.tree.vessels[1:]), flags=("right_not_found",))
    document = report_document(replace(study, tree=tree))
    warnings = document["quality"]["warnings"]
    assert any(w.startswith("no right coronary artery") for w in warnings)
    assert any(w.startswith(f"{first.name}: a gap") for w in warnings)
    jsonschema.validate(document, schema)
