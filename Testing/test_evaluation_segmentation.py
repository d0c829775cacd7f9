"""Scores of masks: hand-computed cases, and MONAI and scikit-image as peers."""

import math

import numpy as np
import pytest
from scipy import ndimage
from skimage import measure, morphology

from StenosisDetectionLib.evaluation.segmentation import betti0, compare_masks, skeleton_of, surface_distances, topology

UNIT = (1.0, 1.0, 1.0)


def voxels(shape, *places):
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


def blobs(seed, shape=(24, 30, 36)):
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 2.0) > 0.08


def test_a_perfect_prediction_has_perfect_scores():
    mask = blobs(1)
    scores = compare_masks(mask, mask, (0.4, 0.4, 0.5))
    assert (scores.dice, scores.hd95_mm, scores.assd_mm, scores.cldice) == (1.0, 0.0, 0.0, 1.0)
    assert scores.betti0_error == 0 and scores.betti0 > 1
    assert scores.volume_mm3 == pytest.approx(mask.sum() * 0.08)


@pytest.mark.parametrize("empty", ["both", "prediction", "reference"])
def test_empty_masks_have_defined_scores(empty):
    nothing, something = np.zeros((6, 7, 8), dtype=bool), voxels((6, 7, 8), (2, 3, slice(1, 6)))
    prediction = nothing if empty in ("both", "prediction") else something
    reference = nothing if empty in ("both", "reference") else something
    scores = compare_masks(prediction, reference, UNIT)
    if empty == "both":
        assert (scores.dice, scores.cldice, scores.hd95_mm, scores.assd_mm) == (1.0, 1.0, 0.0, 0.0)
        assert scores.betti0_error == 0
    else:
        assert (scores.dice, scores.cldice, scores.hd95_mm, scores.assd_mm) == (0.0, 0.0, None, None)
        assert scores.betti0_error == 1


def test_distances_of_two_voxels_count_the_spacing():
    a, b = voxels((8, 8, 8), (1, 1, 1)), voxels((8, 8, 8), (1, 5, 4))
    assert compare_masks(a, b, UNIT).hd95_mm == pytest.approx(5.0)
    scores = compare_masks(a, b, (2.0, 1.0, 7.0))
    assert scores.hd95_mm == scores.assd_mm == pytest.approx(math.hypot(6.0, 4.0))
    assert scores.dice == 0.0


def test_shifted_cubes_by_hand():
    a = voxels((10, 10, 10), (slice(2, 6), slice(2, 6), slice(2, 6)))
    b = np.roll(a, 1, axis=2)
    scores = compare_masks(a, b, (0.5, 1.0, 1.0))
    assert scores.dice == pytest.approx(2 * 48 / 128)
    # 16 of the 56 surface voxels of each cube lie outside of the other, 0.5 mm away, and 4 inside of it, 0.5 mm from
    # the surface that shifted over them.
    forth, back = surface_distances(a, b, (0.5, 1.0, 1.0))
    assert len(forth) == len(back) == 56
    assert np.bincount(np.round(forth / 0.5).astype(int)).tolist() == [36, 20]
    assert scores.assd_mm == pytest.approx(20 * 0.5 / 56)
    assert scores.hd95_mm == pytest.approx(0.5)


def test_hd95_is_the_larger_of_the_directed_percentiles():
    long, short = voxels((3, 3, 100), (1, 1, slice(0, 100))), voxels((3, 3, 100), (1, 1, slice(0, 50)))
    # From the long line 50 voxels are 1 to 50 mm away, from the short one none is.
    _, back = surface_distances(long, short, UNIT)
    assert back.max() == 0
    expected = float(np.percentile(np.append(np.zeros(50), np.arange(1, 51)), 95))
    assert compare_masks(long, short, UNIT).hd95_mm == compare_masks(short, long, UNIT).hd95_mm == expected


def test_cldice_of_a_line_by_hand():
    line, part = voxels((3, 3, 13), (1, 1, slice(1, 12))), voxels((3, 3, 13), (1, 1, slice(1, 6)))
    precision, sensitivity = topology(part, line, UNIT)
    assert (precision, sensitivity) == (1.0, pytest.approx(5 / 11))
    assert compare_masks(part, line, UNIT).cldice == pytest.approx(2 * (5 / 11) / (1 + 5 / 11))


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_no_width_of_a_vessel_loses_its_skeleton(width):
    vessel = voxels((20, 20, 40), (slice(8, 8 + width), slice(8, 8 + width), slice(2, 38)))
    half = vessel & (np.arange(40) < 20)
    precision, sensitivity = topology(half, vessel, UNIT)
    assert precision == 1.0 and sensitivity == pytest.approx(0.5, abs=0.02)


def test_no_end_of_a_vessel_is_lost():
    """A vessel three voxels wide that goes on for 20 mm with two: the skeleton reaches its end."""
    vessel = voxels((12, 12, 60), (slice(4, 7), slice(4, 7), slice(30, 59)), (slice(4, 6), slice(4, 6), slice(10, 30)))
    lost = morphology.skeletonize(vessel).astype(bool)
    assert np.argwhere(lost)[:, 2].min() > 28
    skeleton = skeleton_of(vessel, UNIT)
    assert np.argwhere(skeleton)[:, 2].min() <= 12 and (skeleton <= vessel).all()
    assert (skeleton & lost).sum() == lost.sum()


def test_cldice_forgives_thickness_but_not_a_false_branch():
    vessel = voxels((20, 20, 40), (slice(8, 12), slice(8, 12), slice(2, 38)))
    thick = ndimage.binary_dilation(vessel)
    assert compare_masks(thick, vessel, UNIT).cldice > 0.95
    branch = vessel | voxels(vessel.shape, (slice(12, 20), slice(9, 11), slice(19, 21)))
    precision, sensitivity = topology(branch, vessel, UNIT)
    assert precision < 0.95 and sensitivity > 0.95


def test_betti0_has_26_neighbors():
    assert betti0(voxels((4, 4, 4), (0, 0, 0), (1, 1, 1))) == 1
    assert betti0(voxels((4, 4, 4), (0, 0, 0), (2, 2, 2))) == 2
    three = voxels((4, 4, 9), (0, 0, 0), (0, 0, 4), (0, 0, 8))
    assert compare_masks(three, voxels((4, 4, 9), (0, 0, 0)), UNIT).betti0_error == 2


def test_thick_slices_are_thinned_on_an_isotropic_grid():
    # A sheet-like vessel of 4 x 4 mm looks 8 x 2 voxels wide at 0.5 x 2 mm: its axis is one line all the same.
    spacing = (0.5, 0.5, 2.0)
    vessel = voxels((6, 16, 60), (slice(2, 4), slice(4, 12), slice(4, 56)))
    precision, sensitivity = topology(vessel, vessel, spacing)
    assert precision == sensitivity == 1.0
    shifted = np.roll(vessel, 1, axis=0)
    assert compare_masks(shifted, vessel, spacing).assd_mm > compare_masks(shifted, vessel, UNIT).assd_mm


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        compare_masks(np.zeros((2, 2, 2), dtype=bool), np.zeros((2, 2, 3), dtype=bool), UNIT)


@pytest.mark.parametrize("spacing", [UNIT, (0.35, 0.45, 0.9)])
def test_agrees_with_monai(spacing):
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    a, b = blobs(2), blobs(2) ^ (blobs(3) & blobs(4))
    b[-1], b[:, 0] = False, True  # a flat part at the border of the image
    scores = compare_masks(a, b, spacing)

    def peer(function, **options):
        y_pred, y = (torch.from_numpy(mask)[None, None].float() for mask in (a, b))
        return float(function(y_pred, y, **options))

    kji = spacing[::-1]
    assert scores.dice == pytest.approx(peer(metrics.compute_dice), abs=1e-6)
    hausdorff = peer(metrics.compute_hausdorff_distance, percentile=95, spacing=kji)
    assert scores.hd95_mm == pytest.approx(hausdorff, rel=1e-5)
    surface = peer(metrics.compute_average_surface_distance, symmetric=True, spacing=kji)
    assert scores.assd_mm == pytest.approx(surface, rel=1e-5)


def test_agrees_with_scikit_image():
    b = blobs(5) ^ blobs(6)
    assert betti0(b) == measure.label(b, connectivity=3).max()
    odd = voxels((20, 20, 40), (slice(8, 11), slice(8, 11), slice(2, 38)), (slice(9, 18), slice(8, 11), slice(19, 22)))
    skeleton = morphology.skeletonize(odd).astype(bool)
    part = odd & (np.arange(40) < 25)
    assert topology(odd, part, UNIT)[0] == pytest.approx(part[skeleton].mean())
    # A tree without loops and cavities has as many components as its Euler number says.
    tree = voxels((9, 9, 30), (4, 4, slice(1, 29)), (slice(4, 9), 4, 10), (4, slice(0, 4), 20))
    assert betti0(tree) == measure.euler_number(tree, connectivity=3) == 1
