"""A user's images and label maps as training studies, and the command that trains."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from StenosisDetectionLib.cli.main import main
from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.models.network import COARSE_HEADS, DISTANCE_LIMIT_MM, HEADS
from StenosisDetectionLib.models.weights import load_weights
from StenosisDetectionLib.segmentation.grid import RasGrid
from StenosisDetectionLib.study import LabelMap
from StenosisDetectionLib.training.cases import open_case
from StenosisDetectionLib.training.configuration import FINE
from StenosisDetectionLib.training.user_data import find_pairs, label_targets, split_patients, store_pairs


def write_pair(image, labels, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), offset=(0.0, 0.0, 0.0), hu=400.0):
    """An oblique bright tube in fat with its label map, 0.6 x 0.6 x 0.8 mm, as a file in the order of ITK."""
    shape = (40, 60, 64)
    k, j, i = np.indices(shape).astype(float)
    tube = np.hypot(j - 28 - 0.2 * k, i - 20 - 0.1 * k) * 0.6 < 1.8
    voxels = np.where(tube, hu, -90.0) + np.random.default_rng(0).normal(0, 10, shape)
    voxels[:, :3], voxels[:, -3:] = -1000.0, 250.0  # air and a chamber
    for path, array, shift in ((image, voxels.astype(np.int16), (0, 0, 0)), (labels, tube.astype(np.uint8), offset)):
        out = sitk.GetImageFromArray(array)
        out.SetSpacing((0.6, 0.6, 0.8))
        out.SetDirection(direction)
        out.SetOrigin([10.0 + shift[0], -20.0 + shift[1], 5.0 + shift[2]])
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = path.with_name("plain.nii.gz")  # ITK writes no <id>.img.nii.gz: it takes it for the older pair of files
        sitk.WriteImage(out, str(plain))
        plain.replace(path)


@pytest.mark.parametrize(
    ("image", "labels", "layout", "patient"),
    [
        ("1-200/12.img.nii.gz", "1-200/12.label.nii.gz", "imagecas", "imagecas-12"),
        ("ASOCA/Normal/CTCA/Normal_1.nrrd", "ASOCA/Normal/Annotations/Normal_1.nrrd", "asoca", "asoca-Normal-Normal_1"),
        ("X/volumes/12.img.nii.gz", "X/segmentations/12.coronary.nii.gz", "imagecas-x", "imagecas-12"),
        ("ImageCAS-X/images/12.nii.gz", "ImageCAS-X/labels/12.nii.gz", "folders", "imagecas-12"),
        ("Dataset5/imagesTr/c_001_0000.nii.gz", "Dataset5/labelsTr/c_001.nii.gz", "folders", "Dataset5-c_001"),
    ],
)
def test_the_layouts_are_recognized(tmp_path, image, labels, layout, patient):
    for path in (tmp_path / image, tmp_path / labels, tmp_path / "notes.txt", tmp_path / "alone.nii.gz"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (pair,) = find_pairs(tmp_path)
    assert (pair.image, pair.labels) == (tmp_path / image, tmp_path / labels)
    assert (pair.layout, pair.patient) == (layout, patient)
    assert "/" not in pair.name


def test_the_test_scans_and_the_excluded_ones_of_imagecas_x_are_left_out(tmp_path):
    for number in range(1, 6):
        for name in (f"volumes/{number}.img.nii.gz", f"segmentations/{number}.coronary.nii.gz"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
    (tmp_path / "filelist").mkdir()
    for name, scans in (("train", "1\n2\n"), ("val", "3\n"), ("test", "4\n"), ("exclude", "5\n")):
        (tmp_path / "filelist" / f"{name}.txt").write_text(scans, encoding="utf-8")
    assert [pair.patient for pair in find_pairs(tmp_path)] == ["imagecas-1", "imagecas-2", "imagecas-3"]


def test_a_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(InputError, match="no pair of an image and its label map"):
        find_pairs(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        find_pairs(tmp_path / "absent")


def test_patients_are_split_and_not_studies():
    patients = [f"p{number // 2}" for number in range(40)]
    held = split_patients(patients, 0.25, 0)
    assert len(held) == 5
    assert held == split_patients(list(reversed(patients)), 0.25, 0)
    assert held != split_patients(patients, 0.25, 1)
    assert split_patients(["one"], 0.25, 0) == set()
    assert len(split_patients(["one", "two"], 0.9, 0)) == 1


def test_targets_of_labels_lie_where_the_labels_lie():
    """A ball of 3 mm and a rod on a 0.25 mm grid, told on a 0.5 mm grid: volume and axis are kept."""
    k, j, i = np.indices((80, 80, 120)) * 0.25
    rod = (np.hypot(k - 10, j - 10) < 1.5) & (i > 5) & (i < 25)
    matrix = np.diag([0.25, 0.25, 0.25, 1.0])
    grid = RasGrid(np.zeros((40, 40, 60), dtype=np.float32), 0.5, np.zeros(3))
    targets = label_targets(LabelMap((3 * rod).astype(np.uint8), matrix), grid, HEADS)
    assert set(targets) == {"lumen", "centerline_distance"}
    assert targets["lumen"].sum() * 0.5**3 == pytest.approx(rod.sum() * 0.25**3, rel=0.03)
    k, j, i = np.indices((40, 40, 60)) * 0.5
    inside = (i > 8) & (i < 22)
    true = np.minimum(np.hypot(k - 10, j - 10), DISTANCE_LIMIT_MM)
    assert np.abs(targets["centerline_distance"] - true)[inside].max() < 0.6
    assert label_targets(LabelMap(rod.astype(np.uint8), matrix), grid, COARSE_HEADS) == {}


def test_a_pair_becomes_a_study_in_ras(tmp_path):
    """Files in the usual order of ITK (i to the left, j to the back) and turned ones give the same study."""
    studies = []
    for name, direction in (("a", (1, 0, 0, 0, 1, 0, 0, 0, 1)), ("b", (0, 1, 0, 1, 0, 0, 0, 0, -1))):
        write_pair(tmp_path / name / "1.img.nii.gz", tmp_path / name / "1.label.nii.gz", direction)
        (pair,) = store_pairs(tmp_path / f"{name}-store", find_pairs(tmp_path / name), FINE)
        studies.append(open_case(tmp_path / f"{name}-store" / pair.name))
    for case in studies:
        assert case.information.heads == ("lumen", "centerline_distance")
        assert case.information.source == "imagecas"
        assert case.hu[case.targets["lumen"] > 200].mean() == pytest.approx(400, abs=15)
        assert case.hu[case.targets["lumen"] == 0].mean() < 0
    first, second = (np.argwhere(case.targets["lumen"] > 127).mean(axis=0) for case in studies)
    shape = np.array(studies[0].hu.shape)
    # In the first file the tube runs to the patient's left and back with k.
    mask = studies[0].targets["lumen"] > 127
    ends = [np.argwhere(mask[k]).mean(axis=0) for k in (2, shape[0] - 3)]
    assert ends[1][0] < ends[0][0] - 2
    assert ends[1][1] < ends[0][1] - 1
    assert first.shape == second.shape


def test_wrong_pairs_are_left_out_in_one_line_each(tmp_path):
    data = tmp_path / "data"
    write_pair(data / "1.img.nii.gz", data / "1.label.nii.gz")
    write_pair(data / "2.img.nii.gz", data / "2.label.nii.gz", offset=(500.0, 0.0, 0.0))
    write_pair(data / "3.img.nii.gz", data / "3.label.nii.gz", hu=-60.0)
    write_pair(data / "4.img.nii.gz", data / "4.label.nii.gz")
    image = sitk.ReadImage(str(data / "4.img.nii.gz"))
    sitk.WriteImage(sitk.Cast(image > -90, sitk.sitkUInt8), str(data / "plain.nii.gz"))
    (data / "plain.nii.gz").replace(data / "4.label.nii.gz")
    write_pair(data / "5.img.nii.gz", data / "5.label.nii.gz")
    (data / "5.img.nii.gz").write_bytes(gzip.compress(b"nothing"))
    write_pair(data / "6.img.nii.gz", data / "6.label.nii.gz")
    shutil.copy(data / "6.img.nii.gz", data / "6.label.nii.gz")
    lines = []
    kept = store_pairs(tmp_path / "store", find_pairs(data), FINE, refused=lines.append)
    assert [pair.image.name for pair in kept] == ["1.img.nii.gz"]
    words = {
        "2": "does not lie on the image",
        "3": "no contrast-filled lumen",
        "4": "no map of the coronary lumen",
        "5": "",
        "6": "",
    }
    assert len(lines) == len(words)
    for line, (number, word) in zip(lines, words.items(), strict=True):
        assert line.startswith(f"{number}.img.nii.gz is left out: ")
        assert word in line
        assert "\n" not in line
        assert str(tmp_path) not in line
    with pytest.raises(InputError, match="none of the pairs"):
        store_pairs(tmp_path / "other", find_pairs(data)[1:], FINE)


TINY = {
    "network": {"architecture": "segresnet", "channels": 8, "levels": 2},
    "patch": [16, 16, 16],
    "first_patch": None,
    "batch": 1,
    "validation_patches": 2,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for number in (1, 2):
        write_pair(folder / f"{number}.img.nii.gz", folder / f"{number}.label.nii.gz")
    (folder / "tiny.json").write_text(json.dumps(TINY))
    return folder


def command(data, output, *more):
    start = [] if "--resume" in more else ["--configuration", str(data / "tiny.json")]
    return ["train", "--output", str(output), "--data", str(data), "--studies", "0", *start, *more]


def test_the_command_trains_on_a_folder_alone_and_from_its_result(tmp_path, data, capsys):
    assert main(command(data, tmp_path / "first", "--iterations", "3")) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == tmp_path / "first" / "fine.safetensors"
    loaded = load_weights(path)
    assert loaded.configuration.channels == 8
    assert loaded.metadata["training_studies"] == {"imagecas": 1}
    assert loaded.metadata["validation_studies"] == {"imagecas": 1}
    assert loaded.metadata["training"]["iterations"] == 3
    assert str(tmp_path) not in json.dumps(loaded.metadata)
    assert {file.name for file in path.parent.iterdir()} >= {"curves.csv", "configuration.json", "studies"}
    # A second training starts from it, and takes its architecture.
    again = ["train", "--output", str(tmp_path / "second"), "--data", str(data), "--studies", "0"]
    small = tmp_path / "small.json"
    small.write_text(json.dumps({key: value for key, value in TINY.items() if key != "network"}))
    assert main([*again, "--from", str(path), "--configuration", str(small), "--iterations", "1"]) == 0
    second = load_weights(tmp_path / "second" / "fine.safetensors")
    assert second.configuration == loaded.configuration
    assert second.metadata["started_from"] == loaded.sha256


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_keeps_a_checkpoint_that_resume_goes_on_from(tmp_path, data, capsys):
    output = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "StenosisDetectionLib", *command(data, output, "--iterations", "100000", "--verbose")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "iteration 3" in line:
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "cancelled"
    assert (output / "checkpoint.safetensors").exists()
    assert not (output / "fine.safetensors").exists()
    assert main(command(data, output, "--resume", "--iterations", "1")) == 0
    capsys.readouterr()


def test_unusable_requests_are_refused_in_one_line(tmp_path, data, capsys):
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "checkpoint.safetensors").write_bytes(b"")
    for arguments, words in (
        (command(data, tmp_path / "trained"), "holds a training already"),
        (command(data, tmp_path / "new", "--resume"), "no checkpoint in the output folder"),
        (["train", "--output", str(tmp_path / "a"), "--studies", "0"], "nothing to train on"),
        (["train", "--output", str(tmp_path / "a"), "--data", str(tmp_path / "absent")], "does not exist"),
        (command(data, tmp_path / "a", "--from", "unet3000"), "no shipped model 'unet3000'"),
        (command(data, tmp_path / "a", "--from", "../x"), "name of a shipped model"),
        (command(data, tmp_path / "a", "--minutes", "0"), "no number above 0"),
        (command(data, tmp_path / "a", "--iterations", "x"), "no whole number"),
        (command(data, tmp_path / "a", "--minutes", "1", "--iterations", "1"), "not allowed with"),
    ):
        assert main(arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert words in lines[0]
    assert not (tmp_path / "a").exists()


def test_help_has_examples(capsys):
    assert main(["train", "--help"]) == 0
    assert "stenosis-detection train --output training --data ImageCAS --from coronary" in capsys.readouterr().out
