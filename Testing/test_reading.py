"""The image formats: one geometry, one scale, and refusals in one line."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from bad_input import BAD_INPUTS, BadInput, chest, grid, image
from dicom_writer import PATIENT_WORDS, write_series

from StenosisDetectionLib.errors import Cancelled, InputError
from StenosisDetectionLib.geometry import affine, transform_points
from StenosisDetectionLib.reading import check_contrast, check_given_lumen, check_volume, read_volume
from StenosisDetectionLib.study import CTVolume

IMAGE_NAMES = (
    ("v.nrrd", "NRRD"),
    ("v.nhdr", "NRRD"),
    ("v.nii", "NIfTI"),
    ("v.nii.gz", "NIfTI"),
    ("v.mha", "MetaImage"),
    ("v.mhd", "MetaImage"),
)


def rotation(angles_deg: tuple[float, float, float]) -> np.ndarray:
    """Return the rotation about x, y and z, from an implementation that is not ours."""
    transform = sitk.Euler3DTransform()
    transform.SetRotation(*np.radians(angles_deg))
    return np.array(transform.GetMatrix()).reshape(3, 3)


def oblique(handedness: int = 1) -> np.ndarray:
    directions = rotation((20.0, -13.0, 37.0)) @ np.diag([1.0, 1.0, handedness])
    return affine(np.array([0.4, 0.45, 0.5]), directions, np.array([12.5, -81.25, 340.75]))


def sitk_image(voxels: np.ndarray, ijk_to_ras: np.ndarray) -> sitk.Image:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    result = sitk.GetImageFromArray(voxels)
    result.SetSpacing(spacing)
    result.SetDirection((lps[:3, :3] / spacing).ravel())
    result.SetOrigin(lps[:3, 3])
    return result


def assert_same_in_ras(volume: CTVolume, voxels: np.ndarray, ijk_to_ras: np.ndarray, hu_tolerance: float = 0.0) -> None:
    """Check that every voxel read lies on a voxel of the truth, to 0.01 mm, and has its value."""
    assert volume.voxels.dtype == np.float32
    assert volume.voxels.size == voxels.size
    k, j, i = np.meshgrid(*[np.arange(n) for n in volume.voxels.shape], indexing="ij")
    ras = transform_points(volume.ijk_to_ras, np.stack([i, j, k], axis=-1))
    ijk = transform_points(np.linalg.inv(ijk_to_ras), ras)
    nearest = np.round(ijk).astype(int)
    assert np.abs((ijk - nearest) * np.linalg.norm(ijk_to_ras[:3, :3], axis=0)).max() < 0.01
    expected = voxels[nearest[..., 2], nearest[..., 1], nearest[..., 0]]
    assert np.abs(volume.voxels - expected).max() <= hu_tolerance


@pytest.mark.parametrize("handedness", [1, -1])
@pytest.mark.parametrize(("name", "source_format"), IMAGE_NAMES)
def test_image_keeps_place_and_value_of_every_voxel(
    tmp_path: Path, name: str, source_format: str, handedness: int
) -> None:
    voxels, ijk_to_ras = chest(), oblique(handedness)
    sitk.WriteImage(sitk_image(voxels.astype(np.int16), ijk_to_ras), str(tmp_path / name))
    volume = read_volume(tmp_path / name)
    assert_same_in_ras(volume, voxels, ijk_to_ras)
    assert volume.source_format == source_format
    assert volume.warnings == ()


def test_fourth_axis_of_one_entry_is_dropped(tmp_path: Path) -> None:
    four = sitk.JoinSeries([sitk_image(chest(), grid())])
    sitk.WriteImage(four, str(tmp_path / "v.nrrd"))
    assert_same_in_ras(read_volume(tmp_path / "v.nrrd"), chest(), grid())


def test_nifti_scale_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "v.nii"
    sitk.WriteImage(sitk_image(((chest() + 1024) * 2).astype(np.int16), grid()), str(path))
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([0.5, -1024.0], dtype="<f4").tobytes()
    path.write_bytes(content)
    assert_same_in_ras(read_volume(path), chest(), grid())


def test_values_below_air_become_air(tmp_path: Path) -> None:
    voxels = chest()
    voxels[0, :4, :4] = -3024
    sitk.WriteImage(image(voxels), str(tmp_path / "v.nrrd"))
    volume = read_volume(tmp_path / "v.nrrd")
    assert volume.voxels.min() == -1024
    assert np.count_nonzero(volume.voxels == -1024) == 16


def test_unstated_orientation_is_said(tmp_path: Path) -> None:
    voxels = chest().astype("<i2")
    k, j, i = voxels.shape
    header = f"NRRD0004\ntype: short\ndimension: 3\nsizes: {i} {j} {k}\nspacings: 0.4 0.4 0.5\n"
    header += "endian: little\nencoding: raw\n\n"
    (tmp_path / "v.nrrd").write_bytes(header.encode() + voxels.tobytes())
    volume = read_volume(tmp_path / "v.nrrd")
    assert "does not state its orientation" in volume.warnings[0]
    assert volume.spacing_mm == pytest.approx((0.4, 0.4, 0.5))


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_bad_input_is_refused_in_one_line(
    tmp_path: Path, bad: BadInput, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = bad.make(tmp_path)
    capfd.readouterr()
    with pytest.raises(InputError) as refusal:
        read_volume(path)
    message = str(refusal.value)
    assert bad.words in message
    assert "\n" not in message
    assert 30 < len(message) < 300
    # A refusal says what to do.
    assert re.search(r"choose|check|export|copy|give|save|put|resample|import|keep|crop|load", message)
    said = message + caplog.text + "".join(capfd.readouterr())
    assert str(tmp_path) not in said
    assert said == message, "something was printed or logged"
    assert not any(word in said for word in PATIENT_WORDS)
    assert not re.search(r"\d+(\.\d+){4,}", said), "a UID is shown"
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(image(chest()), str(tmp_path / "v.nrrd"))
    (tmp_path / "v.nrrd").chmod(0)
    try:
        with (tmp_path / "v.nrrd").open("rb"):
            pytest.skip("this user may read every file")
    except PermissionError:
        pass
    with pytest.raises(InputError, match="permissions"):
        read_volume(tmp_path / "v.nrrd")


def test_uid_in_a_file_name_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "CT.1.3.12.2.1107.5.1.4.60064.nrrd").write_bytes(b"")
    with pytest.raises(InputError, match=r"CT\.<uid>\.nrrd is empty"):
        read_volume(tmp_path / "CT.1.3.12.2.1107.5.1.4.60064.nrrd")


def test_reading_can_be_cancelled(tmp_path: Path) -> None:
    write_series(tmp_path, chest(), grid())

    def cancel(fraction: float, _message: str) -> None:
        if fraction > 0.1:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        read_volume(tmp_path, cancel)


def test_progress_rises_to_one(tmp_path: Path) -> None:
    write_series(tmp_path, chest(), grid())
    fractions: list[float] = []
    read_volume(tmp_path, lambda fraction, _message: fractions.append(fraction))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


@pytest.mark.parametrize(
    ("spacing", "words"),
    [
        ((0.4, 0.4, 1.0), ()),
        ((0.5, 0.5, 0.5), ()),
        ((0.4, 0.4, 1.2), ("the slices stand 1.20 mm apart",)),
        ((0.6, 0.6, 0.5), ("the pixels are 0.60 mm wide",)),
        ((1.5, 1.5, 1.5), ("the slices stand 1.50 mm apart", "the pixels are 1.50 mm wide")),
    ],
)
def test_spacing_warnings(spacing: tuple[float, float, float], words: tuple[str, ...]) -> None:
    volume = check_volume(CTVolume(chest(), grid(spacing)))
    assert len(volume.warnings) == len(words)
    for warning, start in zip(volume.warnings, words, strict=True):
        assert warning.startswith(start)


def test_checking_twice_changes_nothing() -> None:
    voxels = chest()
    voxels[0, 0, 0] = -2000
    once = check_volume(CTVolume(voxels, grid((0.6, 0.6, 1.2))))
    twice = check_volume(once)
    assert twice.warnings == once.warnings
    assert twice.voxels is once.voxels
    assert voxels[0, 0, 0] == -2000, "the caller's array was changed"


def test_thick_and_gapped_slices_are_said() -> None:
    thick = check_volume(CTVolume(chest(), grid(), acquisition={"slice_thickness_mm": 3.0}))
    assert thick.warnings == ("the slices are 3.00 mm thick, above 1 mm: diameters are uncertain",)
    gapped = check_volume(CTVolume(chest(), grid((0.4, 0.4, 1.0)), acquisition={"slice_thickness_mm": 0.6}))
    assert gapped.warnings == ("slices 0.60 mm thick every 1.00 mm leave gaps between them",)


def test_volume_of_another_modality_or_shape_is_refused() -> None:
    with pytest.raises(InputError, match="is MR, not CT"):
        check_volume(CTVolume(chest(), grid(), modality="MR"))
    with pytest.raises(InputError, match="4 dimensions"):
        check_volume(CTVolume(chest()[None], grid()))


def test_contrast_limits() -> None:
    for value in (149.4, -20.0, float("nan")):
        with pytest.raises(InputError, match="no arterial contrast"):
            check_contrast(value)
    assert len(check_contrast(150.0)) == 1
    assert "200 HU" in check_contrast(200.0)[0]
    assert check_contrast(250.0) == ()


def test_a_lumen_that_lies_beside_the_vessels_is_not_called_a_scan_without_contrast() -> None:
    with pytest.raises(InputError, match="vessels of the segmentation have -83 HU where the aorta has 400 HU"):
        check_given_lumen(-83.0, 400.0)
    for aorta_hu in (None, 60.0, float("nan")):
        with pytest.raises(InputError, match="no arterial contrast"):
            check_given_lumen(60.0, aorta_hu)
    assert check_given_lumen(350.0, 60.0) == check_given_lumen(350.0, None) == ()


def test_real_cardiac_ct(real_data: Path) -> None:
    path = real_data / "cardiac_ct_1p5mm" / "ct.nii.gz"
    volume = read_volume(path)
    assert volume.size_ijk == (120, 126, 164)
    assert volume.spacing_mm == pytest.approx((1.5, 1.5, 1.5))
    assert len(volume.warnings) == 2
    truth = sitk.ReadImage(str(path))
    for index in ((0, 0, 0), (119, 0, 163), (60, 100, 20)):
        lps = np.array(truth.TransformIndexToPhysicalPoint(index))
        assert transform_points(volume.ijk_to_ras, np.array(index)) == pytest.approx(lps * [-1, -1, 1])
        assert volume.voxels[index[::-1]] == max(truth[index], -1024)
