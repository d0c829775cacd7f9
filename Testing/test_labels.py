"""The label map of a study: the lumen as it was measured on the voxels of the CT, and one that was given as it is."""

from dataclasses import replace

import numpy as np
import pytest
from benchmark_shapes import rotation, straight_line, tree_of, true_point_spread
from scipy import ndimage

from StenosisDetectionLib.evaluation.segmentation import dice
from StenosisDetectionLib.geometry import spacing_of, transform_points
from StenosisDetectionLib.labels import LARGEST_SPACING_MM, label_study, relabeled
from StenosisDetectionLib.lumen import VolumeSampler, measure_lumen
from StenosisDetectionLib.lumen.drawing import contour_distance
from StenosisDetectionLib.phantom import LesionShape, Physics, tree_study, tree_vessel, y_bifurcation
from StenosisDetectionLib.phantom.truth import LUMEN_LABEL
from StenosisDetectionLib.segmentation.given import MODEL as GIVEN
from StenosisDetectionLib.study import LumenSegmentation, ModelInfo

NETWORK = ModelInfo("network", "1")
BLOOD_HU, NOISE_HU = 400.0, 20.0


def study(phantom, mask, model=NETWORK, matrix=None):
    """Measure a phantom along its true centerlines; return what `label_study` takes."""
    tree = tree_of(phantom)
    sampler = VolumeSampler(phantom.volume, "cpu")
    profiles = measure_lumen(phantom.volume, tree, BLOOD_HU, NOISE_HU, true_point_spread(phantom), sampler)
    matrix = phantom.volume.ijk_to_ras if matrix is None else matrix
    segmentation = LumenSegmentation(mask, np.zeros_like(mask), matrix, model)
    return phantom.volume, segmentation, tree, profiles, sampler, BLOOD_HU, NOISE_HU


def on_grid_of(labels, phantom):
    """Return the labels at the voxel centers of a phantom's volume, 0 outside."""
    kji = np.argwhere(np.ones(phantom.volume.voxels.shape, dtype=bool))
    ras = transform_points(phantom.volume.ijk_to_ras, kji[:, ::-1])
    place = np.rint(transform_points(np.linalg.inv(labels.ijk_to_ras), ras)).astype(int)[:, ::-1]
    inside = ((place >= 0) & (place < labels.labels.shape)).all(axis=1)
    result = np.zeros(phantom.volume.voxels.shape, dtype=int)
    result[tuple(kji[inside].T)] = labels.labels[tuple(place[inside].T)]
    return result


def straight(diameter_mm, spacing=(0.4, 0.4, 0.5), lesions=(), seed=0):
    vessel = tree_vessel("LAD", straight_line(24.0, seed), (diameter_mm, diameter_mm))
    return tree_study((vessel,), lesions, spacing, Physics((0.35, 0.35, 0.4), NOISE_HU, seed), rotation(seed))


@pytest.mark.parametrize(("diameter_mm", "least"), [(1.5, 0.88), (2.5, 0.92), (3.5, 0.94)])
def test_the_lumen_is_drawn_as_measured_and_not_as_segmented(diameter_mm, least):
    phantom = straight(diameter_mm)
    truth = phantom.lumen.labels == LUMEN_LABEL
    wide = ndimage.binary_dilation(truth)
    labels = label_study(*study(phantom, wide))
    drawn = on_grid_of(labels, phantom) == 1
    assert dice(drawn, truth) > least
    assert dice(drawn, truth) > dice(wide, truth) + 0.05
    assert labels.names == {1: "LAD", 2: "Calcified plaque", 3: "Aorta"}


def test_voxels_of_the_ct_are_divided_where_they_are_large():
    phantom = straight(3.0, (0.4, 0.4, 1.5))
    labels = label_study(*study(phantom, phantom.lumen.labels == LUMEN_LABEL))
    np.testing.assert_allclose(spacing_of(labels.ijk_to_ras), (0.4, 0.4, 0.5))
    assert max(spacing_of(labels.ijk_to_ras)) <= LARGEST_SPACING_MM
    # the middle one of three parts of a voxel lies at its center
    ijk = transform_points(np.linalg.inv(phantom.volume.ijk_to_ras), transform_points(labels.ijk_to_ras, [0, 0, 1]))
    np.testing.assert_allclose(ijk, np.rint(ijk), atol=1e-6)
    volume_mm3 = (labels.labels == 1).sum() * np.prod(spacing_of(labels.ijk_to_ras))
    assert volume_mm3 == pytest.approx(np.pi * 1.5**2 * 24.0, rel=0.08)


def test_a_lumen_narrower_than_a_voxel_stays_in_one_piece():
    phantom = straight(2.5, lesions=(LesionShape("LAD", 12.0, 8.0, 90.0, "noncalcified"),))
    labels = label_study(*study(phantom, phantom.lumen.labels == LUMEN_LABEL)).labels
    assert ndimage.label(labels == 1, np.ones((3, 3, 3)))[1] == 1


def test_a_given_lumen_stays_as_it_is():
    phantom = straight(2.5)
    wide = ndimage.binary_dilation(phantom.lumen.labels == LUMEN_LABEL)
    labels = label_study(*study(phantom, wide, GIVEN))
    np.testing.assert_array_equal(labels.labels == 1, wide)
    np.testing.assert_array_equal(labels.ijk_to_ras, phantom.volume.ijk_to_ras)


def test_where_nothing_could_be_measured_the_mask_stands():
    phantom = straight(2.5)
    wide = ndimage.binary_dilation(phantom.lumen.labels == LUMEN_LABEL)
    volume, segmentation, tree, (profile,), *rest = study(phantom, wide)
    hidden = (tree.vessels[0].distance_mm > 8.0) & (tree.vessels[0].distance_mm < 14.0)
    blind = replace(
        profile,
        diameter_mm=np.where(hidden, np.nan, profile.diameter_mm),
        contour_radius_mm=np.where(hidden[:, None], np.nan, profile.contour_radius_mm),
    )
    drawn = on_grid_of(label_study(volume, segmentation, tree, (blind,), *rest), phantom) == 1
    seen = on_grid_of(label_study(volume, segmentation, tree, (profile,), *rest), phantom) == 1
    ras = transform_points(volume.ijk_to_ras, np.argwhere(wide)[:, ::-1])
    along = (ras - tree.vessels[0].points_ras[0]) @ [0.0, 0.0, 1.0]
    middle = tuple(np.argwhere(wide)[(along > 8.5) & (along < 13.5)].T)
    rest_of_it = tuple(np.argwhere(wide)[(along < 7.5) | (along > 14.5)].T)
    assert drawn[middle].mean() > 0.95 > 0.8 > seen[middle].mean()
    np.testing.assert_array_equal(drawn[rest_of_it], seen[rest_of_it])


def test_each_branch_has_its_own_lumen_and_calcium_beside_it_is_plaque():
    vessels = y_bifurcation(70.0, (3.5, 3.0, 2.5))
    phantom = tree_study(
        vessels,
        (LesionShape("LAD", 9.0, 8.0, 40.0, "calcified"),),
        (0.4, 0.4, 0.4),
        Physics((0.3, 0.3, 0.3), NOISE_HU, 1),
        rotation(1),
    )
    labels = label_study(*study(phantom, phantom.lumen.labels == LUMEN_LABEL))
    tree = tree_of(phantom)
    for number, vessel in enumerate(tree.vessels, start=1):
        tip = vessel.points_ras[-20:-4]
        ijk = np.rint(transform_points(np.linalg.inv(labels.ijk_to_ras), tip)).astype(int)
        assert (labels.labels[tuple(ijk[:, ::-1].T)] == number).all()
    assert (labels.labels == len(tree.vessels) + 1).any()


def test_relabeling_draws_the_same_and_says_when_a_vessel_leaves_the_grid():
    phantom = straight(2.5)
    volume, segmentation, tree, profiles, *rest = study(phantom, phantom.lumen.labels == LUMEN_LABEL)
    labels = label_study(volume, segmentation, tree, profiles, *rest)
    again = relabeled(labels, segmentation, tree, profiles)
    np.testing.assert_array_equal(again.labels, labels.labels)
    assert again.names == labels.names
    away = replace(tree, vessels=(replace(tree.vessels[0], points_ras=tree.vessels[0].points_ras + 40.0),))
    assert relabeled(labels, segmentation, away, profiles) is None


def test_the_distance_from_a_contour_is_that_from_the_wall_of_a_cylinder():
    phantom = straight(3.0)
    _, segmentation, tree, profiles, *_ = study(phantom, phantom.lumen.labels == LUMEN_LABEL)
    vessel = tree.vessels[0]
    across = np.array([[0.5, 0.0, 0.0], [0.0, 2.5, 0.0], [0.0, -1.5, 0.0]])
    distance, _ = contour_distance(vessel.points_ras[48] + across, vessel, profiles[0], segmentation)
    np.testing.assert_allclose(distance, [-1.0, 1.0, 0.0], atol=0.12)
    beyond = vessel.points_ras[-1:] + np.array([[0.0, 0.0, 2.0]])
    assert np.isinf(contour_distance(beyond, vessel, profiles[0], segmentation)[0]).all()
