"""References of every kind: tables of lesions, label maps, centerlines."""

import csv
import io
from dataclasses import replace

import pytest
from evaluation_files import write_folders, write_image, write_labels
from studies import small_study

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.evaluation.cases import score_case
from StenosisDetectionLib.evaluation.lesion_table import read_lesion_table
from StenosisDetectionLib.evaluation.references import read_references
from StenosisDetectionLib.evaluation.results import read_result, result_folders
from StenosisDetectionLib.writing import write_vtp
from StenosisDetectionLib.writing.tables import lesions_csv


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def results(folders):
    return [read_result(folder) for folder in result_folders(folders / "results")]


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
