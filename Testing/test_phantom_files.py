"""The files of a phantom and the phantom command."""

import argparse
import json

import numpy as np
import pytest
from test_phantom_render import oblique_directions

from StenosisDetectionLib.cli import phantom as command
from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.geometry import LPS_TO_RAS, transform_points
from StenosisDetectionLib.phantom import LesionShape, tree_study, write_phantom, y_bifurcation


@pytest.fixture(scope="module")
def study():
    vessels = y_bifurcation(80.0, (4.0, 3.2, 2.6), length_mm=10.0)
    return tree_study(vessels, [LesionShape("LAD", 5.0, 4.0, 50.0, "mixed")], directions=oblique_directions())


def run(*arguments):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["phantom", *map(str, arguments)])
    return parsed.run(parsed)


def test_the_files_hold_the_study_where_it_is(study, tmp_path):
    import SimpleITK as sitk

    path = write_phantom(study, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["tree.nrrd", "truth.json", "truth.seg.nrrd"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), study.volume.voxels)
    for ijk in ((0, 0, 0), (7, 3, 11)):
        lps = np.array(image.TransformIndexToPhysicalPoint(ijk))
        ras = transform_points(study.volume.ijk_to_ras, np.array(ijk))
        np.testing.assert_allclose(transform_points(LPS_TO_RAS, lps), ras, atol=1e-6)
    labels = sitk.ReadImage(str(tmp_path / "out" / "truth.seg.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), study.lumen.labels)
    assert labels.GetMetaData("Segment0_Name") == "Coronary lumen"
    assert labels.GetMetaData("Segment0_LabelValue") == "1"


def test_the_truth_file_says_everything_and_nothing_impossible(study, tmp_path):
    write_phantom(study, tmp_path / "out")
    text = (tmp_path / "out" / "truth.json").read_text()
    assert "NaN" not in text
    truth = json.loads(text)
    assert truth["coordinate_system"] == "RAS"
    assert truth["psf_sigma_mm"] == [0.35, 0.35, 0.35]
    main, branch = truth["vessels"]
    for vessel, known in zip((main, branch), study.truth.vessels, strict=True):
        assert (
            len({len(vessel[key]) for key in ("points_ras", "distance_mm", "diameter_mm", "healthy_diameter_mm")}) == 1
        )
        np.testing.assert_allclose(vessel["points_ras"], known.points_ras, atol=1e-4)
    assert branch["parent"] == "LAD"
    assert branch["diameter_mm"][0] is None
    (lesion,) = truth["lesions"]
    assert lesion["diameter_stenosis_percent"] == 50.0
    assert lesion["minimal_lumen_diameter_mm"] == pytest.approx(2.0)
    at = int(np.argmin(np.abs(np.array(main["distance_mm"]) - lesion["throat_mm"])))
    assert main["diameter_mm"][at] == pytest.approx(2.0, abs=0.01)
    assert main["healthy_diameter_mm"][at] == 4.0


def test_a_folder_is_replaced_only_when_it_is_a_phantom_and_the_user_says_so(study, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write_phantom(study, out)
    with pytest.raises(InputError, match="--overwrite"):
        write_phantom(study, out)
    write_phantom(study, out, overwrite=True)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="more than a phantom"):
        write_phantom(study, out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="is a file"):
        write_phantom(study, file)


def test_a_failed_write_leaves_nothing(study, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("StenosisDetectionLib.phantom.writing.truth_as_dict", fail)
    with pytest.raises(InputError, match="No space left"):
        write_phantom(study, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_toy_study(tmp_path, capsys):
    out = tmp_path / "toy study"
    assert run("--output", out, "--kind", "toy", "--seed", 5, "--spacing", "1.5,1.5,2", "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(out / "toy.nrrd")
    assert captured.err == ""
    truth = json.loads((out / "truth.json").read_text())
    assert (truth["kind"], truth["seed"]) == ("toy", 5)
    with pytest.raises(InputError, match="exists already"):
        run("--output", out, "--kind", "toy")


@pytest.mark.parametrize("wrong", [("--spacing", "1,1"), ("--spacing", "0,1,1"), ("--seed", "-1"), ("--kind", "other")])
def test_the_command_refuses_what_it_cannot_do(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("--output", tmp_path / "out", *wrong)
    assert wrong[1] in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    assert "stenosis-detection phantom --output" in capsys.readouterr().out
