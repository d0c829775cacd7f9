"""Evaluations from files: results and references of every kind, the three files written, and the command."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from evaluation_shapes import few_resamples
from studies import small_study

from StenosisDetectionLib.cli.main import main
from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.evaluation.cases import score_case
from StenosisDetectionLib.evaluation.lesion_table import read_lesion_table
from StenosisDetectionLib.evaluation.references import read_references
from StenosisDetectionLib.evaluation.results import read_result, result_folders
from StenosisDetectionLib.evaluation.summary import summarize
from StenosisDetectionLib.evaluation.truths import truth_case
from StenosisDetectionLib.evaluation.writing import write_evaluation
from StenosisDetectionLib.geometry import LPS_TO_RAS, spacing_of
from StenosisDetectionLib.phantom.truth import HEART_LABELS
from StenosisDetectionLib.study import LabelMap, VesselTree
from StenosisDetectionLib.writing import write_vtp
from StenosisDetectionLib.writing.document import document_text, report_document
from StenosisDetectionLib.writing.tables import lesions_csv

CASES = {"case-1": 1, "case-2": 2}


def write_image(path, voxels, ijk_to_ras, names=None):
    matrix, spacing = LPS_TO_RAS @ ijk_to_ras, spacing_of(ijk_to_ras)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    image.SetDirection((matrix[:3, :3] / np.array(spacing)).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    for number, (value, name) in enumerate((names or {}).items()):
        for key, text in {"Name": name, "LabelValue": str(value), "Layer": "0", "ID": f"s{value}"}.items():
            image.SetMetaData(f"Segment{number}_{key}", text)
    sitk.WriteImage(image, str(path), useCompression=True)


def write_labels(path, labels):
    write_image(path, labels.labels, labels.ijk_to_ras, labels.names)


def truth_of(study):
    """Return the truth.json that the result of a study is right about."""
    return {
        "coordinate_system": "RAS",
        "kind": "toy",
        "dominance": study.tree.dominance,
        "vessels": [
            {
                "name": vessel.name,
                "parent": vessel.parent,
                "parent_distance_mm": vessel.parent_distance_mm,
                "points_ras": vessel.points_ras.tolist(),
                "distance_mm": vessel.distance_mm.tolist(),
                "healthy_diameter_mm": [None, *reference.diameter_mm[1:].tolist()],
                "segments": [[s.number, s.start_mm, s.end_mm] for s in vessel.segments],
            }
            for vessel, reference in zip(study.tree.vessels, study.references, strict=True)
        ],
        "lesions": [
            {
                "vessel": lesion.vessel,
                "start_mm": lesion.start_mm,
                "throat_mm": lesion.throat_mm,
                "end_mm": lesion.end_mm,
                "position_ras": lesion.position_ras,
                "diameter_stenosis_percent": lesion.diameter_stenosis_percent,
                "minimal_lumen_diameter_mm": lesion.minimal_lumen_diameter_mm,
                "reference_diameter_mm": lesion.reference_diameter_mm,
                "plaque": "mixed",
            }
            for lesion in study.lesions
        ],
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Results of two studies, and phantoms that say the results are right."""
    root = tmp_path_factory.mktemp("evaluation")
    for case, seed in CASES.items():
        study = small_study(case, seed)
        result, truth = root / "results" / case, root / "phantoms" / case
        result.mkdir(parents=True)
        truth.mkdir(parents=True)
        (result / "report.json").write_text(document_text(report_document(study)), encoding="utf-8")
        write_labels(result / "segmentation.seg.nrrd", study.labels)
        write_labels(truth / "truth.seg.nrrd", study.labels)
        (truth / "truth.json").write_text(json.dumps(truth_of(study)), encoding="utf-8")
    (root / "results" / ".case-3.partial-1").mkdir()
    return root


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


def table_of(study, **columns):
    """Return lesions.csv of a study with a column `case`, and others changed."""
    rows = list(csv.DictReader(io.StringIO(lesions_csv(study))))
    text = io.StringIO()
    writer = csv.DictWriter(text, ["case", *rows[0]])
    writer.writeheader()
    for row in rows:
        writer.writerow({"case": study.case_id} | row | columns)
    return text.getvalue()


def test_a_copy_of_lesions_csv_is_a_reference(tmp_path, results):
    path = tmp_path / "lesions.csv"
    path.write_text(table_of(small_study()) + "case-2,,,,,,\n")
    references = read_references(path, results)
    assert [len(reference.lesions) for reference in references] == [2, 0]
    first, second = (score_case(r, reference) for r, reference in zip(results, references, strict=True))
    assert first.lesions.pairs == ((0, 0), (1, 1)) and first.segmentation is None and first.tree is None
    assert second.lesions.category_reference == "0"


def test_a_table_in_other_words(tmp_path, results):
    lps = small_study().lesions[1].position_ras
    path = tmp_path / "readings.csv"
    path.write_text(
        "Case,Vessel,Segment,Diameter_stenosis_percent,position_x_mm,position_y_mm,position_z_mm,cad_rads\n"
        f"case-1,RCA,pRCA,40,{-lps[0]},{-lps[1]},{lps[2]},3/N\n\n"
        "case-1,,pLAD,60,,,,\n"
        "elsewhere,LCx,11,60,,,,\n"
    )
    (reference,) = read_references(path, results, space="LPS")
    assert reference.category == "3/N"
    assert [(lesion.vessel, lesion.segment) for lesion in reference.lesions] == [("RCA", 1), ("LAD", 6)]
    assert reference.lesions[0].throat_ras == pytest.approx(lps)
    assert score_case(results[0], reference).lesions.pairs == ((0, 1), (1, 0))
    with pytest.raises(InputError, match="line 2: say with --space"):
        read_references(path, results)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vessel,diameter_stenosis_percent\nLAD,50\n", "lacks the column 'case'"),
        ("case,vessel\na,LAD\n", "lacks the column 'diameter_stenosis_percent'"),
        ("case,vessel,diameter_stenosis_percent\na,LAD,half\n", "line 2: 'half' .* is no number"),
        ("case,vessel,diameter_stenosis_percent\na,LAD,nan\n", "is no number"),
        ("case,vessel,diameter_stenosis_percent\na,LAD,50\na,RCA,120\n", "line 3: .* from 0 to 100"),
        ("case,vessel,diameter_stenosis_percent\na,LAD,\n", "line 2: .* from 0 to 100"),
        ("case,vessel,diameter_stenosis_percent\n,LAD,50\n", "line 2 names no case"),
        ("case,vessel,diameter_stenosis_percent\na,,50\n", "neither vessel nor segment"),
        ("case,segment,diameter_stenosis_percent\na,44,50\n", "'44' is no SCCT segment"),
        (
            "case,vessel,diameter_stenosis_percent,position_r_mm,position_a_mm,position_s_mm\na,LAD,5,1,2,\n",
            "a part of a position",
        ),
        ("", "lacks the column"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(tmp_path, text, words):
    path = tmp_path / "lesions.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_lesion_table(path)


def test_label_maps_by_name_and_by_the_voxels_of_their_image(tmp_path, results):
    from StenosisDetectionLib.pipeline import case_id_of
    from StenosisDetectionLib.reading import read_volume

    study = small_study()
    folder = tmp_path / "labels"
    folder.mkdir()
    write_labels(folder / "case-1.seg.nrrd", study.labels)
    for name, voxels, matrix in (
        ("img", study.volume.voxels, study.volume.ijk_to_ras),
        ("label", study.labels.labels, study.labels.ijk_to_ras),
    ):
        write_image(tmp_path / f"{name}.nii.gz", voxels, matrix)
        (tmp_path / f"{name}.nii.gz").rename(folder / f"7.{name}.nii.gz")
    by_image = replace(results[1], case_id=case_id_of(read_volume(folder / "7.img.nii.gz")))
    references = read_references(folder, [results[0], by_image])
    assert [reference.case_id for reference in references] == ["case-1", by_image.case_id]
    assert score_case(results[0], references[0]).segmentation.whole.dice == 1.0
    single = tmp_path / "annotation.nrrd"
    write_labels(single, study.labels)
    assert read_references(single, results[:1])[0].case_id == "case-1"
    with pytest.raises(InputError, match="any of 2 results"):
        read_references(single, results)


def test_centerlines_of_others(tmp_path, results):
    """VTK that states LPS, and CAT08 text that states nothing; neither is asked for names it does not have."""
    study = small_study()
    folder = tmp_path / "lines"
    (folder / "case-2" / "vessel0").mkdir(parents=True)
    write_vtp(study.tree, folder / "case-1.vtp", "LPS")
    rca = study.tree.vessel("RCA")
    rows = [f"{-x} {-y} {z} 1.5 1" for x, y, z in rca.points_ras]
    (folder / "case-2" / "vessel0" / "reference.txt").write_text("\n".join(rows))
    (folder / "case-2" / "vessel0" / "pointS.txt").write_text("1 2 3")
    with pytest.raises(InputError, match="LPS or RAS"):
        read_references(folder, results)
    first, second = read_references(folder, results, space="LPS")
    scores = score_case(results[0], first).tree
    assert all(path.scores.overlap > 0.99 for path in scores.paths) and scores.named_mm == scores.main_mm > 0
    assert scores.segment_mm == 0.0
    scores = score_case(results[1], second).tree
    assert len(scores.paths) == 1 and scores.paths[0].scores.overlap > 0.99
    assert scores.main_mm == 0.0


def test_references_that_belong_to_nothing(tmp_path, results):
    with pytest.raises(InputError, match="does not exist"):
        read_references(tmp_path / "absent", results)
    with pytest.raises(InputError, match="belongs to a result"):
        read_references(tmp_path, results)
    other = tmp_path / "other.doc"
    other.write_text("x")
    with pytest.raises(InputError, match="is no reference"):
        read_references(other, results)


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
