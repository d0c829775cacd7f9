"""The model `vesselness` and given label maps, on the toy study and on a real cardiac CT."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from test_segmentation_aorta import read

from StenosisDetectionLib.errors import Cancelled, InputError, ModelError
from StenosisDetectionLib.geometry import spacing_of, transform_points
from StenosisDetectionLib.options import AnalysisOptions
from StenosisDetectionLib.phantom import LesionShape, toy_study
from StenosisDetectionLib.progress import no_report
from StenosisDetectionLib.segmentation import find_aorta, segment, segmentation_from_labels
from StenosisDetectionLib.segmentation.grow import grow_trees
from StenosisDetectionLib.segmentation.tissue import chambers, distance_mm
from StenosisDetectionLib.study import CTVolume, LabelMap

OPTIONS = AnalysisOptions(model="vesselness")


@pytest.fixture(scope="module")
def toy():
    return toy_study()


@pytest.fixture(scope="module")
def aorta(toy):
    return find_aorta(toy.volume)


@pytest.fixture(scope="module")
def found(toy, aorta):
    return segment(toy.volume, aorta, OPTIONS, "cpu")


def distance_at(mask, ijk_to_ras, points_ras):
    """Return the distance in mm from each point to the mask; infinite outside the grid."""
    kji = np.rint(transform_points(np.linalg.inv(ijk_to_ras), points_ras)).astype(int)[:, ::-1]
    inside = ((kji >= 0) & (kji < mask.shape)).all(axis=1)
    far = ndimage.distance_transform_edt(~mask, sampling=spacing_of(ijk_to_ras)[::-1])
    result = np.full(len(points_ras), np.inf)
    result[inside] = far[tuple(kji[inside].T)]
    return result


def recall(segmentation, vessel):
    """Return the part of a true centerline that is found within 1 mm."""
    return float((distance_at(segmentation.lumen, segmentation.ijk_to_ras, vessel.points_ras) <= 1.0).mean())


def false_volume_mm3(segmentation, phantom):
    """Return the volume of the mask farther than 1.5 mm from the true lumen and aorta."""
    points = transform_points(segmentation.ijk_to_ras, np.argwhere(segmentation.lumen)[:, ::-1])
    distance = distance_at(phantom.lumen.labels > 0, phantom.lumen.ijk_to_ras, points)
    return float((distance > 1.5).sum() * abs(np.linalg.det(segmentation.ijk_to_ras[:3, :3])))


def test_every_vessel_is_found_and_nothing_else(toy, found):
    assert found.flags == ()
    for vessel in toy.truth.vessels:
        assert recall(found, vessel) > 0.97, vessel.name
    assert false_volume_mm3(found, toy) < 5.0


def test_the_outline_is_that_of_the_lumen(toy, found):
    truth = toy.lumen
    points = transform_points(truth.ijk_to_ras, np.argwhere(truth.labels == 1)[:, ::-1])
    kji = np.rint(transform_points(np.linalg.inv(found.ijk_to_ras), points)).astype(int)[:, ::-1]
    sensitivity = found.lumen[tuple(kji.T)].mean()
    voxels = transform_points(found.ijk_to_ras, np.argwhere(found.lumen)[:, ::-1])
    kji = np.rint(transform_points(np.linalg.inv(truth.ijk_to_ras), voxels)).astype(int)[:, ::-1]
    precision = (truth.labels[tuple(kji.T)] > 0).mean()
    assert 2.0 * sensitivity * precision / (sensitivity + precision) > 0.88


def test_lumen_and_aorta_are_apart_and_each_tree_is_connected_to_the_aorta(found):
    assert not (found.lumen & found.aorta).any()
    near_aorta = ndimage.binary_dilation(found.aorta, iterations=6)
    labels, count = ndimage.label(found.lumen, structure=np.ones((3, 3, 3)))
    assert 1 <= count <= 2  # the left and the right tree
    for label in range(1, count + 1):
        assert (near_aorta & (labels == label)).any()


def test_the_same_study_gives_the_same_mask(toy, aorta, found):
    again = segment(toy.volume, aorta, OPTIONS, "cpu")
    np.testing.assert_array_equal(again.lumen, found.lumen)
    np.testing.assert_array_equal(again.ijk_to_ras, found.ijk_to_ras)


def test_vessels_behind_a_near_occlusion_are_kept():
    toy = toy_study(lesions=(LesionShape("RCA", 40.0, 9.0, 92.0), LesionShape("LAD", 30.0, 8.0, 90.0)))
    result = segment(toy.volume, find_aorta(toy.volume), OPTIONS, "cpu")
    for vessel in toy.truth.vessels:
        assert recall(result, vessel) > 0.93, vessel.name


@pytest.mark.parametrize("aorta_hu", [250.0, 550.0])
def test_other_contrast(toy, aorta_hu):
    voxels = toy.volume.voxels
    scaled = np.where(voxels > 110.0, 110.0 + (voxels - 110.0) * (aorta_hu - 110.0) / 290.0, voxels)
    volume = replace(toy.volume, voxels=scaled)
    result = segment(volume, find_aorta(volume), OPTIONS, "cpu")
    assert min(recall(result, vessel) for vessel in toy.truth.vessels) > 0.9
    assert false_volume_mm3(result, toy) < 20.0


def test_a_region_limits_the_search(toy, aorta):
    low, high = (-62.0, -34.0, -62.0), (0.0, 56.0, 38.0)
    roi = tuple(float(n) for pair in zip(low, high, strict=True) for n in pair)
    result = segment(toy.volume, aorta, AnalysisOptions(model="vesselness", roi=roi), "cpu")
    by_name = {vessel.name: vessel for vessel in toy.truth.vessels}
    assert recall(result, by_name["LCX"]) > 0.9
    assert transform_points(result.ijk_to_ras, np.argwhere(result.lumen)[:, ::-1])[:, 0].max() <= 0.5


def test_without_an_aorta_there_is_no_lumen():
    volume = CTVolume(np.full((40, 40, 40), 40.0, dtype=np.float32), np.eye(4))
    result = segment(volume, find_aorta(volume), OPTIONS, "cpu")
    assert not result.lumen.any() and not result.aorta.any()
    assert "aorta_not_found" in result.flags


def test_an_aorta_without_arteries_is_flagged(toy, aorta):
    labels = toy.lumen.labels
    around = ndimage.binary_dilation(labels == 1, iterations=4) & (labels != 2)
    voxels = np.where(around, -90.0, toy.volume.voxels).astype(np.float32)
    result = segment(replace(toy.volume, voxels=voxels), aorta, OPTIONS, "cpu")
    assert not result.lumen.any() and result.aorta.any()
    assert "no_coronary_artery" in result.flags


def test_unknown_model_and_cancel(toy, aorta):
    with pytest.raises(ModelError):
        segment(toy.volume, aorta, AnalysisOptions(model="none such"), "cpu")

    def report(fraction: float, message: str) -> None:
        if fraction > 0.4:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        segment(toy.volume, aorta, OPTIONS, "cpu", report)


def test_proximal_arteries_of_a_real_heart(real_data):
    volume = read(real_data / "cardiac_ct_1p5mm" / "ct.nii.gz")
    result = segment(volume, find_aorta(volume), OPTIONS, "cpu")
    # read off the images: LAD behind the left main, LCX beside the left atrium, RCA in front of the right atrium
    for place in ((-41.0, 177.0, 681.0), (-33.0, 161.0, 672.0), (-4.0, 217.0, 672.0), (2.0, 226.0, 663.0)):
        assert distance_at(result.lumen, result.ijk_to_ras, np.array([place]))[0] < 2.0
    assert 300.0 < result.lumen.sum() * abs(np.linalg.det(result.ijk_to_ras[:3, :3])) < 2000.0


def test_a_gap_is_bridged_only_along_the_vessel():
    tubular = np.zeros((40, 40, 120), dtype=bool)
    tubular[19:22, 19:22, 5:50] = True
    tubular[19:22, 19:22, 62:110] = True  # goes on 6 mm further: the same vessel
    tubular[19:22, 26:29, 20:100] = True  # 2.5 mm beside it: a vein
    seeds = np.zeros_like(tubular)
    seeds[19:22, 19:22, 5] = True
    plaque = np.zeros(tubular.shape)
    plaque[18:23, 18:23, 50:62] = 0.3
    result = grow_trees(tubular, tubular, seeds, np.where(tubular, 0.95, plaque), 0.5, no_report)
    assert result[18:23, 18:23, 5:110].any(axis=(0, 1)).all()
    assert not result[:, 25:].any()
    only_fat_between = grow_trees(tubular, tubular, seeds, np.where(tubular, 0.95, 0.0), 0.5, no_report)
    assert not only_fat_between[:, :, 50:].any()


def test_chambers_are_thick():
    k, j, i = np.meshgrid(*(np.arange(n) * 0.5 for n in (90, 90, 90)), indexing="ij")
    ball = np.sqrt((k - 22) ** 2 + (j - 22) ** 2 + (i - 22) ** 2) < 10.0
    tube = np.hypot(k - 4, j - 4) < 2.5
    thick = chambers(np.where(ball | tube, 1.0, 0.0).astype(np.float32), 0.5, 0.7)
    assert thick[ball].mean() > 0.9
    assert not thick[tube].any()


def test_distance_is_that_of_scipy():
    mask = np.random.default_rng(0).random((20, 24, 28)) > 0.99
    np.testing.assert_allclose(
        distance_mm(mask, 0.7), ndimage.distance_transform_edt(~mask, sampling=0.7), rtol=1e-5, atol=1e-5
    )


# a label map of the user


def test_a_given_map_with_names(toy, aorta):
    names = {1: "LAD", 2: "Aorta"}
    result = segmentation_from_labels(LabelMap(toy.lumen.labels, toy.lumen.ijk_to_ras, names), toy.volume, aorta)
    cell = abs(np.linalg.det(result.ijk_to_ras[:3, :3]))
    assert result.lumen.sum() * cell == pytest.approx((toy.lumen.labels == 1).sum() * 0.6**3, rel=1e-6)
    assert result.aorta.sum() == (toy.lumen.labels == 2).sum()
    assert result.model.name == "given" and result.flags == ()
    for vessel in toy.truth.vessels:
        assert recall(result, vessel) > 0.97


def test_plaque_and_heart_are_no_lumen(toy):
    labels = toy.lumen.labels.copy()
    labels[:4, :4, :4] = 3
    labels[-4:, -4:, -4:] = 4
    names = {1: "RCA", 2: "AORTA", 3: "Calcified plaque", 4: "Left ventricle"}
    result = segmentation_from_labels(LabelMap(labels, toy.lumen.ijk_to_ras, names), toy.volume)
    assert result.lumen.sum() == (labels == 1).sum()


def test_a_map_without_names_is_split_by_thickness(toy):
    binary = (toy.lumen.labels > 0).astype(np.uint8)
    result = segmentation_from_labels(LabelMap(binary, toy.lumen.ijk_to_ras), toy.volume)
    assert result.aorta.sum() == pytest.approx((toy.lumen.labels == 2).sum(), rel=0.1)
    assert result.lumen.sum() == pytest.approx((toy.lumen.labels == 1).sum(), rel=0.3)
    assert false_volume_mm3(result, toy) < 5.0


def test_the_aorta_of_the_volume_fills_in(toy, aorta):
    lumen_only = (toy.lumen.labels == 1).astype(np.uint8)
    result = segmentation_from_labels(LabelMap(lumen_only, toy.lumen.ijk_to_ras), toy.volume, aorta)
    assert result.aorta.any() and not (result.aorta & result.lumen).any()
    without = segmentation_from_labels(LabelMap(lumen_only, toy.lumen.ijk_to_ras), toy.volume)
    assert not without.aorta.any() and without.flags == ("aorta_not_found",)


def test_a_map_on_another_grid_keeps_it(toy):
    coarse = toy.lumen.labels[:, ::2, ::2]
    matrix = toy.lumen.ijk_to_ras @ np.diag([2.0, 2.0, 1.0, 1.0])
    result = segmentation_from_labels(LabelMap(coarse, matrix, {1: "LM", 2: "Aorta"}), toy.volume)
    assert spacing_of(result.ijk_to_ras) == pytest.approx((1.2, 1.2, 0.6))
    assert min(recall(result, vessel) for vessel in toy.truth.vessels) > 0.9


def test_unusable_maps_are_refused(toy):
    labels, matrix = toy.lumen.labels, toy.lumen.ijk_to_ras
    with pytest.raises(InputError, match="the segmentation is empty"):
        segmentation_from_labels(LabelMap(np.zeros_like(labels), matrix), toy.volume)
    with pytest.raises(InputError, match="holds no coronary lumen"):
        segmentation_from_labels(LabelMap((labels == 2).astype(np.uint8), matrix, {1: "Aorta"}), toy.volume)
    moved = matrix.copy()
    moved[:3, 3] += 500.0
    with pytest.raises(InputError, match="does not overlap the volume"):
        segmentation_from_labels(LabelMap(labels, moved), toy.volume)
