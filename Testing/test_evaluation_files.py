"""Evaluations from files: results and references of every kind, the three files written, and the command."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from evaluation_files import CASES, truth_of, write_folders
from evaluation_shapes import few_resamples
from studies import small_study

from StenosisDetectionLib.cli.main import main
from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.evaluation.cases import score_case
from StenosisDetectionLib.evaluation.references import read_references
from StenosisDetectionLib.evaluation.results import read_result, result_folders
from StenosisDetectionLib.evaluation.summary import summarize
from StenosisDetectionLib.evaluation.truths import truth_case
from StenosisDetectionLib.evaluation.writing import write_evaluation
from StenosisDetectionLib.phantom.truth import HEART_LABELS
from StenosisDetectionLib.study import LabelMap, VesselTree


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def results(folders):
    return [read_result(folder) for folder in result_folders(folders / "results")]


def test_a_result_is_read(folders, results):
    assert [result.case_id for result in results] == list(CASES)
    assert result_folders(folders / "results" / "case-1") == [folders / "results" / "case-1"]
    study = small_study()
    result = results[0]
    assert [vessel.name for vessel in result.tree.vessels] == ["LM", "LAD", "RCA"]
    lad = result.tree.vessel("LAD")
    assert lad.parent_distance_mm == pytest.approx(study.tree.vessel("LM").length_mm, abs=0.01)
    assert np.isfinite(lad.radius_mm).all() and lad.segments[0].number == 6
    lesion = result.lesions[0]
    assert (lesion.vessel, lesion.segment, lesion.territory) == ("LAD", 6, "LAD")
    assert lesion.throat_ras == pytest.approx(study.lesions[0].position_ras, abs=1e-3)
    assert lesion.interval_90 == pytest.approx(study.lesions[0].diameter_stenosis_interval_90, abs=1e-3)
    assert result.category == "3" and result.software["model"] == "vesselness"


def test_results_that_are_none(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        result_folders(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no result"):
        result_folders(tmp_path)
    folder = tmp_path / "case-1"
    folder.mkdir()
    for text, words in (("no json", "cannot be read"), ("[]", "no JSON object"), ('{"schema": "x"}', "no report"),
                        ('{"schema": "stenosis-detection/report/1"}', "incomplete")):  # fmt: skip
        (folder / "report.json").write_text(text)
        with pytest.raises(InputError, match=words):
            read_result(folder)


def test_phantoms_that_agree_give_perfect_scores(folders, results):
    references = read_references(folders / "phantoms", results)
    scores = [score_case(result, reference) for result, reference in zip(results, references, strict=True)]
    for score in scores:
        assert score.group == "toy" and score.dominance == ("right", "right")
        assert (score.segmentation.whole.dice, score.segmentation.whole.hd95_mm) == (1.0, 0.0)
        assert set(score.segmentation.sides) == {"left", "right"}
        assert all(side.dice == 1.0 and side.betti0_error == 0 for side in score.segmentation.sides.values())
        assert [v.name for v in score.segmentation.vessels if v.in_reference] == ["LM", "LAD", "RCA"]
        assert all(v.dice == 1.0 for v in score.segmentation.vessels if v.dice is not None)
        assert "aorta of the reference" in score.segmentation.left_out
        assert all(path.scores.overlap == 1.0 for path in score.tree.paths)
        assert score.tree.segment_named_mm == score.tree.segment_mm > 0
        assert score.lesions.pairs == ((0, 0), (1, 1))
        assert score.lesions.category == score.lesions.category_reference == "3"
    evaluation = summarize(scores, "copies", samples=20)
    assert evaluation.centerline.tree["dominance_accuracy"].value == 1.0


def test_the_aorta_and_the_ostium_do_not_raise_the_overlap(folders, results):
    """A result that is wrong but for the aorta has no overlap, whether the aorta is labeled the same or not."""
    study = small_study()
    aorta = next(value for value, name in study.labels.names.items() if name == "Aorta")
    only_aorta = np.where(study.labels.labels == aorta, aorta, 0).astype(np.uint8)
    nearby = only_aorta.copy()
    nearby[:, -2:, -2:] = 1
    wrong = LabelMap(nearby, study.labels.ijk_to_ras, {1: "LM", aorta: "Aorta"})
    reference = read_references(folders / "phantoms", results)[0]
    score = score_case(replace(results[0], labels=lambda: wrong), reference)
    assert score.segmentation.whole.dice < 0.02
    # The reference calls its first millimeters of aorta lumen: they are left out by the aorta of the result.
    merged = LabelMap(np.where(study.labels.labels > 0, 1, 0).astype(np.uint8), study.labels.ijk_to_ras, {1: "lumen"})
    score = score_case(results[0], replace(reference, labels=lambda: merged, tree=None))
    assert "aorta of the result" in score.segmentation.left_out
    assert score.segmentation.sides == {} and score.segmentation.vessels == ()


def test_a_result_on_another_grid(folders, results):
    """The same lumen on a coarser, unrotated grid differs by part of a voxel only."""
    from StenosisDetectionLib.segmentation.grid import resample_mask

    study = small_study()
    grid = np.diag([0.3, 0.3, 0.3, 1.0])
    points = np.concatenate([vessel.points_ras for vessel in study.tree.vessels])
    grid[:3, 3] = points.min(axis=0) - 4.0
    shape = tuple(int(n) for n in (np.ceil((np.ptp(points, axis=0) + 8.0) / 0.3)))[::-1]
    names = study.labels.names
    lumen = np.isin(study.labels.labels, [value for value, name in names.items() if name in ("LM", "LAD", "RCA")])
    moved = LabelMap(resample_mask(lumen, study.labels.ijk_to_ras, shape, grid).astype(np.uint8), grid, {1: "lumen"})
    reference = read_references(folders / "phantoms", results)[0]
    score = score_case(replace(results[0], labels=lambda: moved), reference)
    assert score.segmentation.whole.dice > 0.85 and score.segmentation.whole.assd_mm < 0.25


def test_small_branches_of_the_reference_are_left_out(folders, results):
    study = small_study()
    names = study.labels.names | {9: HEART_LABELS[4]}
    labels = study.labels.labels.copy()
    labels[2:5, 2:5, -6:-3] = 9
    found = study.labels.labels.copy()
    found[2:5, 2:5, -6:-3] = 1
    reference = read_references(folders / "phantoms", results)[0]
    with_branch = replace(reference, labels=lambda: LabelMap(labels, study.labels.ijk_to_ras, names))
    result = replace(results[0], labels=lambda: LabelMap(found, study.labels.ijk_to_ras, study.labels.names))
    assert score_case(result, with_branch).segmentation.whole.dice == 1.0
    assert score_case(result, reference).segmentation.whole.dice < 1.0


def test_later_fields_of_a_truth(results):
    study = small_study()
    truth = truth_of(study)
    lm = truth["vessels"][0]
    lm["segments"] = [{"number": 5, "start_mm": 0.0, "end_mm": 99.0}]
    start = np.array(lm["points_ras"][8])
    truth |= {
        "family": "dense",
        "ostia_ras": {"LM": {"position_ras": start.tolist()}},
        "side_branches": [{"name": "", "parent": "LAD", "points_ras": [[0, 0, 0], [0, 0, 9]], "distance_mm": [0, 9],
                           "diameter_mm": [1.8, 1.8]}],
    }  # fmt: skip
    reference = truth_case(truth, "case-1", "truth.json")
    assert reference.group == "dense" and reference.tree.vessel("LM").points_ras[0] == pytest.approx(start)
    assert reference.tree.vessel("LM").distance_mm[0] == pytest.approx(2.0)
    scores = score_case(results[0], reference)
    assert scores.tree.branches == 3 and len(scores.tree.paths) == 2
    assert {o.vessel: o.distance_mm for o in scores.tree.ostia}["LM"] == pytest.approx(2.0, abs=0.01)
    assert scores.lesions.pairs == ((0, 0), (1, 1))
    with pytest.raises(InputError, match="not in RAS"):
        truth_case(truth | {"coordinate_system": "LPS"}, "a", "truth.json")
    with pytest.raises(InputError, match="incomplete"):
        truth_case({"vessels": []}, "a", "truth.json")


def test_a_vessel_that_begins_outside_of_the_image_is_neither_right_nor_false(results):
    """The truth leaves such a vessel out; what the image shows of it cannot be scored."""
    study = small_study()
    full = truth_of(study)
    name = next(
        lesion.vessel
        for lesion in study.lesions
        if all(vessel.parent != lesion.vessel for vessel in study.tree.vessels)
    )
    truth = full | {
        "vessels": [vessel for vessel in full["vessels"] if vessel["name"] != name],
        "lesions": [lesion for lesion in full["lesions"] if lesion["vessel"] != name],
    }
    here = sum(lesion.vessel == name for lesion in study.lesions)
    left_out = score_case(results[0], truth_case(truth, "case-1", "truth.json")).lesions
    assert len(left_out.detections) - len(left_out.pairs) == here > 0
    cut = score_case(results[0], truth_case(truth | {"cropped": [name]}, "case-1", "truth.json")).lesions
    assert len(cut.detections) == len(cut.pairs) == len(study.lesions) - here
    assert left_out.category_reference is not None and cut.category_reference is None
    # A vessel that the image cuts farther on is known from its beginning.
    shown = score_case(results[0], truth_case(full | {"cropped": [name]}, "case-1", "truth.json")).lesions
    assert len(shown.detections) == len(study.lesions) and shown.category_reference is not None


def test_a_study_without_arteries(folders, results):
    """An empty result is scored, and so is a reference without arteries."""
    nothing = LabelMap(np.zeros((4, 4, 4), dtype=np.uint8), np.eye(4))
    reference = read_references(folders / "phantoms", results)[0]
    empty = replace(results[0], tree=VesselTree(()), lesions=(), labels=lambda: nothing, category=None)
    missed = score_case(empty, reference)
    assert missed.segmentation.whole.dice == 0.0 and missed.segmentation.whole.hd95_mm is None
    labels = small_study().labels
    veins = LabelMap((labels.labels == 1).astype(np.uint8), labels.ijk_to_ras, {1: "Cardiac veins"})
    negative = replace(reference, tree=VesselTree(()), lesions=(), labels=lambda: veins)
    false = score_case(results[1], replace(negative, case_id="case-2"))
    quiet = score_case(empty, negative)
    evaluation = summarize([missed, false, quiet], "negatives", samples=20)
    assert evaluation.segmentation.false_artery.value == 0.5 and evaluation.segmentation.false_artery.n == 2
    assert evaluation.segmentation.masks["whole"]["dice"].n == 1
    assert evaluation.segmentation.masks["whole"]["hd95"].value is None
    assert evaluation.stenosis.excluded["not_determined"] == 2


def test_what_is_written_follows_the_schema(folders, results, repository, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    references = read_references(folders / "phantoms", results)
    scores = [score_case(result, reference) for result, reference in zip(results, references, strict=True)]
    bare = [replace(score, segmentation=None, tree=None, lesions=None, dominance=None) for score in scores]
    schema = json.loads((repository / "Resources" / "schema" / "evaluation.schema.json").read_text())
    for number, cases in enumerate((scores, bare, scores[:1], [])):
        path = write_evaluation(summarize(cases, "two small studies", 1, samples=20), tmp_path / str(number), 20)
        text = path.read_text(encoding="utf-8")
        jsonschema.validate(json.loads(text), schema)
        assert "NaN" not in text and "Infinity" not in text
        page = (path.parent / "evaluation.html").read_text(encoding="utf-8")
        assert "two small studies" in page and "Research use only" in page
        assert not re.search(r"\bnan\b|<script|https?:", page, re.IGNORECASE)
        rows = list(csv.DictReader((path.parent / "evaluation.csv").open(encoding="utf-8", newline="")))
        assert [row["case"] for row in rows] == [case.case_id for case in cases]
        assert all(row["data_set"] == "two small studies" for row in rows)
        assert sorted(p.name for p in path.parent.iterdir()) == ["evaluation.csv", "evaluation.html", "evaluation.json"]


def test_every_figure_carries_the_name_of_its_data_set(folders, results, tmp_path):
    references = read_references(folders / "phantoms", results)
    scores = [score_case(result, reference) for result, reference in zip(results, references, strict=True)]
    document = json.loads(
        write_evaluation(summarize(scores, "phantom-x", samples=20), tmp_path / "out", 20).read_text()
    )

    def figures(value):
        if isinstance(value, dict):
            if "interval_95" in value:
                yield value
            for item in value.values():
                yield from figures(item)
        elif isinstance(value, list):
            for item in value:
                yield from figures(item)

    found = list(figures(document))
    assert len(found) > 100
    assert all(item["data_set"] == "phantom-x" and item["n"] >= 0 and item["of"] for item in found)


def test_the_command(folders, capsys, tmp_path, monkeypatch):
    few_resamples(monkeypatch)
    request = ["evaluate", "--results", str(folders / "results"), "--reference", str(folders / "phantoms")]
    out = tmp_path / "out"
    assert main([*request, "--output", str(out), "--data-set", "two studies"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out / 'evaluation.json'}\n"
    assert any("two studies: Dice 1.000" in line for line in captured.err.splitlines())
    document = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert document["cases"] == 2 and document["stenosis"]["thresholds"][1]["counts"]["true_positives"] == 2
    first = (out / "evaluation.json").read_bytes()
    assert main([*request, "--output", str(out)]) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert main([*request, "--output", str(out), "--data-set", "two studies", "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr().err == "" and (out / "evaluation.json").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give --results and --reference, or --verification"),
        (["--results", "R"], "give --results and --reference"),
        (["--results", "R", "--reference", "X"], "'R' does not exist"),
        (["--verification", "T4", "--results", "R"], "makes its own cases"),
        (["--results", "R", "--reference", "X", "--cases", "3"], "belongs to --verification"),
        (["--verification", "T4", "--cases", "0"], "no number of cases"),
        (["--results", "R", "--reference", "X", "--space", "IJK"], "invalid choice"),
        (["--results", "R", "--reference", "X", "--data-set", " "], "is empty"),
    ],
)
def test_an_unusable_request_is_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--output", "out", *arguments]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ") and words in line
    assert list(tmp_path.iterdir()) == []
