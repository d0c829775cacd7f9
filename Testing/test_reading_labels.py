"""Label maps: values, names and layers as the file has them; anything else is refused in one line."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from bad_input import chest, image
from test_reading import oblique, sitk_image

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.geometry import transform_points
from StenosisDetectionLib.reading import read_label_map


def two_labels() -> np.ndarray:
    labels = np.zeros((20, 22, 24), np.uint8)
    labels[2:5, 3:9, 4:6] = 1
    labels[10:12, 3:9, 14:20] = 3
    return labels


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("name", ["v.nrrd", "v.seg.nrrd", "v.nii.gz", "v.mha"])
def test_labels_keep_value_and_place(tmp_path: Path, name: str, dtype: type) -> None:
    sitk.WriteImage(sitk_image(two_labels().astype(dtype), oblique()), str(tmp_path / name))
    result = read_label_map(tmp_path / name)
    assert result.labels.dtype == np.uint8
    assert np.array_equal(result.labels, two_labels())
    assert result.names == {1: "label 1", 3: "label 3"}
    corners = np.array([[0, 0, 0], [23, 0, 0], [0, 21, 0], [0, 0, 19]])
    assert transform_points(result.ijk_to_ras, corners) == pytest.approx(transform_points(oblique(), corners), abs=1e-3)


def test_large_values_keep_their_value(tmp_path: Path) -> None:
    sitk.WriteImage(image(two_labels().astype(np.uint16) * 300), str(tmp_path / "v.nrrd"))
    result = read_label_map(tmp_path / "v.nrrd")
    assert result.labels.dtype == np.uint16
    assert set(result.names) == {300, 900}


def segmentation(voxels: np.ndarray, segments: list[dict[str, str]]) -> sitk.Image:
    """Return voxels with the header fields of Slicer's segmentation storage."""
    result = image(voxels)
    for number, fields in enumerate(segments):
        for field, value in fields.items():
            result.SetMetaData(f"Segment{number}_{field}", value)
    return result


def test_names_of_a_segmentation_of_one_layer(tmp_path: Path) -> None:
    segments = [
        {"ID": "s1", "Name": "Coronary lumen", "LabelValue": "3", "Layer": "0"},
        {"ID": "s2", "Name": "Aorta", "LabelValue": "1", "Layer": "0"},
        {"ID": "s3", "Name": "Empty one", "LabelValue": "4", "Layer": "0"},
    ]
    sitk.WriteImage(segmentation(two_labels(), segments), str(tmp_path / "v.seg.nrrd"))
    assert read_label_map(tmp_path / "v.seg.nrrd").names == {1: "Aorta", 3: "Coronary lumen"}


@pytest.mark.parametrize("with_layer_field", [True, False], ids=["layers", "older file"])
def test_layers_are_merged(tmp_path: Path, with_layer_field: bool) -> None:
    first = (two_labels() == 1).astype(np.uint8)
    second = (two_labels() == 3).astype(np.uint8)
    second[2, 3, 4] = 1
    segments = [
        {"Name": "Aorta", "LabelValue": "1", **({"Layer": "0"} if with_layer_field else {})},
        {"Name": "Lumen", "LabelValue": "1", **({"Layer": "1"} if with_layer_field else {})},
    ]
    sitk.WriteImage(segmentation(np.stack([first, second], axis=-1), segments), str(tmp_path / "v.seg.nrrd"))
    result = read_label_map(tmp_path / "v.seg.nrrd")
    assert result.names == {1: "Aorta", 2: "Lumen"}
    assert np.array_equal(result.labels == 2, second == 1)
    assert np.array_equal(result.labels == 1, (first == 1) & (second == 0))


def test_segmentation_written_by_slicer(tmp_path: Path) -> None:
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    scene = slicer.vtkMRMLScene()
    node = slicer.vtkMRMLSegmentationNode()
    scene.AddNode(node)
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    for number, (name, value) in enumerate((("Aorta", 1), ("Lumen", 3))):
        part = slicer.vtkOrientedImageData()
        part.SetDimensions(24, 22, 20)
        part.SetSpacing(0.4, 0.45, 0.5)
        part.SetOrigin(7.0, -8.0, 9.0)
        mask = (two_labels() == value).astype(np.uint8)
        # The two segments overlap in one voxel, so Slicer must write two layers.
        mask[2, 3, 4] = 1
        part.GetPointData().SetScalars(numpy_to_vtk(mask.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR))
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Binary labelmap", part)
        node.GetSegmentation().AddSegment(segment, f"s{number}")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(tmp_path / "s.seg.nrrd"))
    assert storage.WriteData(node)
    result = read_label_map(tmp_path / "s.seg.nrrd")
    assert sorted(result.names.values()) == ["Aorta", "Lumen"]
    value = {name: number for number, name in result.names.items()}
    expected = np.zeros((20, 22, 24), bool)
    expected[10:12, 3:9, 14:20] = True
    expected[2, 3, 4] = True
    kji = np.argwhere(result.labels == value["Lumen"])
    ras = transform_points(result.ijk_to_ras, kji[:, ::-1])
    truth = np.argwhere(expected)[:, ::-1] * [0.4, 0.45, 0.5] + [7.0, -8.0, 9.0]
    assert sorted(map(tuple, np.round(ras, 3))) == sorted(map(tuple, np.round(truth, 3)))


@pytest.mark.parametrize(
    ("voxels", "words"),
    [
        (chest(), "grey image or a probability map"),
        (chest() + 1024, "grey image or a probability map"),
        (two_labels() / 7.0, "grey image or a probability map"),
        (two_labels().astype(np.int16) - 1, "grey image or a probability map"),
        (two_labels() * 0, "empty label map"),
        (two_labels() * 0 + 2, "labels every voxel with 2"),
        (np.where(two_labels() == 1, np.nan, 0), "not finite"),
        (np.where(two_labels() == 1, np.inf, 0).astype(np.float32), "not finite"),
        (two_labels()[0], "single slice"),
    ],
)
def test_what_is_no_label_map_is_refused(tmp_path: Path, voxels: np.ndarray, words: str) -> None:
    sitk.WriteImage(image(voxels), str(tmp_path / "v.nrrd"))
    with pytest.raises(InputError, match=words) as refusal:
        read_label_map(tmp_path / "v.nrrd")
    assert "\n" not in str(refusal.value)


def test_four_dimensional_labels_are_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.JoinSeries([image(two_labels())] * 3), str(tmp_path / "v.nii.gz"))
    with pytest.raises(InputError, match="holds 3 volumes"):
        read_label_map(tmp_path / "v.nii.gz")


def test_absent_or_unknown_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_label_map(tmp_path / "absent.nrrd")
    with pytest.raises(InputError, match="no label map file"):
        read_label_map(tmp_path)
    (tmp_path / "v.nrrd").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_label_map(tmp_path / "v.nrrd")


def test_real_label_maps(real_data: Path) -> None:
    path = real_data / "cardiac_ct_1p5mm" / "labels" / "aorta.nii.gz"
    result = read_label_map(path)
    assert result.labels.shape == (164, 126, 120)
    assert np.array_equal(result.labels, sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
    with pytest.raises(InputError, match="grey image"):
        read_label_map(real_data / "cardiac_ct_1p5mm" / "ct.nii.gz")
