"""DICOM: geometry from positions alone, rescale of each slice, padding, copies, and the choice of the series."""

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from bad_input import chest, grid
from dicom_writer import PATIENT_WORDS, write_other, write_series
from pydicom.uid import ComprehensiveSRStorage
from test_reading import assert_same_in_ras, oblique

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.geometry import transform_points
from StenosisDetectionLib.reading import read_volume

SHUFFLED = [int(n) for n in np.random.default_rng(2).permutation(20)]
REVERSED = list(range(20))[::-1]


@pytest.mark.parametrize("handedness", [1, -1])
@pytest.mark.parametrize("order", [None, REVERSED, SHUFFLED], ids=["in order", "reversed", "shuffled"])
def test_place_and_value_of_every_voxel(tmp_path: Path, order: list[int] | None, handedness: int) -> None:
    write_series(tmp_path, chest(), oblique(handedness), order=order)
    volume = read_volume(tmp_path)
    assert_same_in_ras(volume, chest(), oblique(handedness))
    assert volume.source_format == "DICOM"
    assert volume.warnings == ()


@pytest.mark.parametrize(
    ("slope", "intercept"),
    [
        (2.0, -1024.0),
        (0.37, -1000.5),
        (1.0, np.linspace(-1024, -900, 20)),
        (np.linspace(0.25, 1.75, 20), np.linspace(-1024, 0, 20)),
        # A first slice of whole numbers must not force whole numbers on the others.
        ([1.0] + [0.1] * 19, [0.0] * 20),
    ],
    ids=["slope", "fractions", "intercept per slice", "both per slice", "whole first"],
)
def test_rescale_of_each_slice(tmp_path: Path, slope: Any, intercept: Any) -> None:
    write_series(tmp_path, chest(), grid(), slope=slope, intercept=intercept)
    assert_same_in_ras(read_volume(tmp_path), chest(), grid(), hu_tolerance=0.51 * float(np.max(slope)) + 1e-3)


def test_fractions_of_hu_are_kept(tmp_path: Path) -> None:
    voxels = np.round(chest() * 1.1, 1)
    write_series(tmp_path, voxels, grid(), slope=[1.0] + [0.1] * 19, intercept=0.0)
    volume = read_volume(tmp_path)
    assert np.abs(volume.voxels[1:] - voxels[1:]).max() < 1e-3


def padded_chest(padding_hu: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the chest with a corner of padding, and as it must be read, with air there."""
    written, expected = chest(), chest()
    written[:, :3, :3], expected[:, :3, :3] = padding_hu, -1024
    return written, expected


@pytest.mark.parametrize(
    ("padding_hu", "tags"),
    [
        (-3024, {"PixelPaddingValue": -2000}),
        (-3024, {}),
        (3071, {"PixelPaddingValue": 4095}),
        (-1000, {"PixelPaddingValue": 20, "PixelPaddingRangeLimit": 30}),
    ],
    ids=["negative", "undeclared", "positive", "range"],
)
def test_padding_becomes_air(tmp_path: Path, padding_hu: float, tags: dict[str, Any]) -> None:
    written, expected = padded_chest(padding_hu)
    write_series(tmp_path, written, grid(), tags=tags)
    assert_same_in_ras(read_volume(tmp_path), expected, grid())


def test_padding_given_without_its_sign_becomes_air(tmp_path: Path) -> None:
    import pydicom

    written, expected = padded_chest(-1000)
    for path in write_series(tmp_path, written, grid(), intercept=800.0):
        dataset = pydicom.dcmread(path)
        dataset.add_new("PixelPaddingValue", "US", 65536 - 1800)
        dataset.save_as(path)
    assert_same_in_ras(read_volume(tmp_path), expected, grid())


def test_padding_among_tissue_is_not_applied(tmp_path: Path) -> None:
    assert np.count_nonzero(chest() == 0) > 0
    write_series(tmp_path, chest(), grid(), tags={"PixelPaddingValue": 1024})
    volume = read_volume(tmp_path)
    assert_same_in_ras(volume, chest(), grid())
    assert "padding value of the header lies among tissue" in volume.warnings[0]


def test_unsigned_values(tmp_path: Path) -> None:
    stored = (chest() + 1024).astype(np.uint16)
    write_series(tmp_path, chest(), grid(), stored=stored)
    assert_same_in_ras(read_volume(tmp_path), chest(), grid())


def test_same_geometry_as_simpleitk(tmp_path: Path) -> None:
    write_series(tmp_path, chest(), oblique(), order=SHUFFLED)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    truth = sitk.ReadImage(names)
    volume = read_volume(tmp_path)
    index = (3, 17, 11)
    lps = np.array(truth.TransformIndexToPhysicalPoint(index))
    # Our k may run the other way, so the value is looked up by place.
    ijk = np.round(transform_points(np.linalg.inv(volume.ijk_to_ras), lps * [-1, -1, 1])).astype(int)
    assert volume.voxels[tuple(ijk[::-1])] == truth[index]


def test_one_file_stands_for_its_series(tmp_path: Path) -> None:
    paths = write_series(tmp_path, chest(), grid(), prefix="a")
    write_series(tmp_path, chest() + 100, grid(), prefix="b", tags={"SeriesNumber": 9})
    volume = read_volume(paths[7])
    assert_same_in_ras(volume, chest(), grid())
    assert volume.warnings == ()


def test_file_without_preamble_or_extension(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", chest(), grid())
    for path in paths:
        content = path.read_bytes()[132:]
        length = 12 + int.from_bytes(content[8:12], "little")
        (tmp_path / path.stem).write_bytes(content[length:])
    shutil.rmtree(tmp_path / "a")
    assert_same_in_ras(read_volume(tmp_path), chest(), grid())


def test_copies_are_left_aside(tmp_path: Path) -> None:
    paths = write_series(tmp_path, chest(), grid())
    (tmp_path / "again").mkdir()
    for path in paths[4:9]:
        shutil.copy(path, tmp_path / "again" / path.name)
    volume = read_volume(tmp_path)
    assert_same_in_ras(volume, chest(), grid())
    assert volume.warnings == ("5 identical copies of slices were left aside",)


def test_rounded_positions_are_even(tmp_path: Path) -> None:
    spacing = grid((0.4, 0.45, 0.625))

    def rounded(k: int) -> dict[str, Any]:
        return {"ImagePositionPatient": ["-31", "42", f"{107 + 0.625 * k:.1f}"]}

    write_series(tmp_path, chest(), spacing, slice_tags=rounded)
    assert read_volume(tmp_path).spacing_mm[2] == pytest.approx(0.625, abs=0.006)


def test_facts_of_the_scan(tmp_path: Path) -> None:
    tags = {
        "ContrastBolusAgent": "Iomeprol",
        "NominalPercentageOfCardiacPhase": 75,
        "ConvolutionKernel": ["Br38f", "3"],
    }
    write_series(tmp_path, chest(), grid(), tags=tags)
    assert read_volume(tmp_path).acquisition == {
        "kvp": 120.0,
        "slice_thickness_mm": 0.5,
        "kernel": "Br38f 3",
        "manufacturer": "SYNTHETIC",
        "contrast_agent": True,
        "cardiac_phase_percent": 75.0,
    }


def mixed_folder(root: Path) -> None:
    """Write a study as it comes from an archive: localizer, plain scan, two reconstructions, thick copy, report."""
    coronary = {"ContrastBolusAgent": "APPLIED", "NominalPercentageOfCardiacPhase": 75}
    write_series(
        root / "1", chest(), grid(), tags={"SeriesNumber": 1, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    )
    write_series(
        root / "2", chest() + 1, grid((0.4, 0.4, 1.5)), tags={"SeriesNumber": 2, "SeriesDescription": "calcium score"}
    )
    write_series(root / "3", chest() + 2, grid(), tags={**coronary, "SeriesNumber": 3}, order=REVERSED)
    write_series(
        root / "4",
        chest() + 3,
        grid(),
        tags={**coronary, "SeriesNumber": 4, "ImageType": ["DERIVED", "SECONDARY", "MPR"]},
    )
    write_series(root / "5", chest() + 4, grid((0.4, 0.4, 3.0)), tags={**coronary, "SeriesNumber": 5})
    write_series(root / "6", chest()[:5], grid(), tags={**coronary, "SeriesNumber": 6})
    write_other(root / "sr.dcm", "SR", ComprehensiveSRStorage)
    (root / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 50)
    (root / "readme.txt").write_text("not an image")
    (root / "cut.dcm").write_bytes(b"")


def test_right_series_of_a_mixed_folder_and_why(tmp_path: Path) -> None:
    mixed_folder(tmp_path)
    volume = read_volume(tmp_path)
    assert_same_in_ras(volume, chest() + 2, grid())
    choice, unreadable = volume.warnings
    assert choice.startswith("series 3 (20 slices, 0.50 mm apart, kernel Bv40, ")
    assert "was chosen because it is original, primary, axial, contrast agent, cardiac" in choice
    for part in ("series 2 (20 slices, 1.50 mm", "series 4 (20 slices", "series 5 (the slices stand 3.00 mm apart"):
        assert part in choice
    assert "series 6 (5 slices)" in choice
    assert "20 localizers" in choice
    assert unreadable == "1 file could not be read as DICOM (empty or damaged)"


def test_phases_in_the_best_series_are_for_the_user_to_choose(tmp_path: Path) -> None:
    write_series(tmp_path / "plain", chest(), grid(), tags={"SeriesDescription": "calcium score", "SeriesNumber": 2})
    for percent in (40, 75):
        tags = {"SeriesNumber": 8, "SeriesInstanceUID": "1.2.3.4.5.6", "NominalPercentageOfCardiacPhase": percent}
        write_series(tmp_path / "cine", chest() + percent, grid(), tags=tags, prefix=f"p{percent}_")
    with pytest.raises(InputError, match=r"^series 8: the series is 4-D, with 2 cardiac phases \(40 %, 75 %\)"):
        read_volume(tmp_path)


def test_diastole_is_chosen_among_equal_series(tmp_path: Path) -> None:
    for number, percent in enumerate((40, 75, 90), start=1):
        tags = {"SeriesNumber": number, "NominalPercentageOfCardiacPhase": percent}
        write_series(tmp_path / str(number), chest() + percent, grid(), tags=tags)
    assert read_volume(tmp_path).acquisition["cardiac_phase_percent"] == 75


def test_nothing_of_the_patient_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    mixed_folder(tmp_path)
    volume = read_volume(tmp_path)
    captured = capfd.readouterr()
    said = f"{volume!r} {volume.warnings} {volume.acquisition} {caplog.text} {captured.out} {captured.err}"
    assert "series 3" in caplog.text
    assert "series 3" in said
    for word in (*PATIENT_WORDS, str(tmp_path), "1.2.826.0"):
        assert word not in said


def test_real_neck_series(real_data: Path) -> None:
    folder = real_data / "dicom_neck_cta"
    volume = read_volume(folder)
    assert volume.size_ijk == (512, 512, 295)
    assert volume.spacing_mm == pytest.approx((0.541015625, 0.541015625, 1.0))
    assert volume.acquisition["kernel"] == "B31s"
    assert not np.any(["SMITH" in text or "JANE" in text for text in (repr(volume), *volume.warnings)])
    path = sorted(folder.iterdir())[50]
    truth = sitk.ReadImage(str(path))
    for i, j in ((256, 300), (100, 400), (301, 222)):
        lps = np.array(truth.TransformIndexToPhysicalPoint((i, j, 0)))
        ijk = transform_points(np.linalg.inv(volume.ijk_to_ras), lps * [-1, -1, 1])
        assert ijk == pytest.approx(np.round(ijk), abs=1e-3)
        k = round(ijk[2])
        assert ijk[:2] == pytest.approx((i, j), abs=1e-3)
        assert volume.voxels[k, j, i] == truth[i, j, 0]


@pytest.mark.parametrize(
    ("name", "words"),
    [("dicom_ct_abdomen", "the slices stand 2.00 mm apart"), ("dicom_seg_sr", "the series has only 3 slices")],
)
def test_real_series_that_cannot_be_measured(real_data: Path, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_volume(real_data / name)
