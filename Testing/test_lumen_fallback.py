"""The lumen by the segmentation where the fit of a section is of no use: a vessel that touches a bright neighbor."""

from dataclasses import replace

import numpy as np
import pytest
from test_stenosis import bump, study

from StenosisDetectionLib.geometry import affine
from StenosisDetectionLib.lumen import PointSpread, VolumeSampler, measure_lumen
from StenosisDetectionLib.lumen.fallback import segmented_lumen
from StenosisDetectionLib.lumen.sections import sections_of
from StenosisDetectionLib.phantom.noise import correlated_noise
from StenosisDetectionLib.phantom.render import Painted, render
from StenosisDetectionLib.phantom.solids import Tube
from StenosisDetectionLib.stenosis import fit_references
from StenosisDetectionLib.stenosis.measurement import measure_lesion
from StenosisDetectionLib.stenosis.stretch import Stretch
from StenosisDetectionLib.study import CTVolume, LumenProfile, LumenSegmentation, ModelInfo, Vessel, VesselTree

SPACING, SIGMA, NOISE_HU = (0.4, 0.4, 0.5), (0.35, 0.35, 0.45), 25.0
SIZE = (50, 50, 60)
DIAMETER_MM, LENGTH_MM = 1.6, 26.0
BESIDE = slice(40, 64)
"""Points of the vessel beside which a vein lies, 6 mm."""

Scene = tuple[CTVolume, VesselTree, LumenSegmentation]


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A thin vessel in fat that touches a thick vein of the same attenuation for 6 mm, and its true lumen."""
    along = np.arange(0.0, LENGTH_MM + 1e-6, 0.25)
    axis = np.array([0.1, 0.15, 1.0]) / np.linalg.norm([0.1, 0.15, 1.0])
    points = (along - LENGTH_MM / 2)[:, None] * axis + 0.13
    radius = np.full(len(along), DIAMETER_MM / 2)
    beside = np.array([2.2, 0.0, 0.0])
    solids = [
        Painted(Tube(points, radius + 0.5), 75.0),
        Painted(Tube(points[BESIDE] + beside, np.full(24, 2.0), flat_start=True, flat_end=True), 400.0),
        Painted(Tube(points, radius), 400.0, 1),
    ]
    matrix = affine(np.array(SPACING), np.diag([-1.0, -1.0, 1.0]), np.zeros(3))
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array(SIZE) - 1) / 2
    voxels, labels = render(solids, SIZE, matrix, SIGMA, -90.0)
    voxels = (voxels + correlated_noise(voxels.shape, SPACING, NOISE_HU, 3)).astype(np.float32)
    tree = VesselTree((Vessel("D1", None, None, points, along, radius),))
    lumen = labels == 1
    segmentation = LumenSegmentation(lumen, np.zeros_like(lumen), matrix, ModelInfo("given", "1"))
    return CTVolume(voxels, matrix), tree, segmentation


def _measured(scene: Scene, segmentation: LumenSegmentation | None) -> LumenProfile:
    volume, tree, _ = scene
    seen = tuple(float(np.hypot(s, v / np.sqrt(6))) for s, v in zip(SIGMA, SPACING, strict=True))
    sampler = VolumeSampler(volume, "cpu")
    return measure_lumen(
        volume,
        tree,
        400.0,
        NOISE_HU,
        PointSpread(seen, True),
        sampler,
        segmentation=segmentation,  # type: ignore[arg-type]
    )[0]


def test_where_the_fit_swells_over_a_neighbor_the_segmentation_is_nearer_to_the_truth(scene: Scene) -> None:
    before, after = _measured(scene, None), _measured(scene, scene[2])
    taken = np.array(after.quality) == "segmentation"
    assert taken[BESIDE].mean() > 0.6
    assert not taken[:34].any() and not taken[70:].any()
    error = [np.abs(one.diameter_mm[taken] - DIAMETER_MM) for one in (before, after)]
    # The fit alone reads 4.0 mm, but the section network, which reads along, less than the vessel has.
    assert error[0].mean() > 0.4
    assert error[1].mean() < 0.25
    np.testing.assert_allclose(after.contour_center_ras[taken], scene[1].vessels[0].points_ras[taken])
    assert np.isnan(after.plaque_area_mm2[taken]).all()
    assert (np.abs(after.diameter_mm - DIAMETER_MM)[taken] < 2.0 * after.diameter_error_mm[taken]).all()


def test_the_lumen_fraction_of_a_network_counts_before_its_mask(scene: Scene) -> None:
    wider = replace(scene[2], probability=scene[2].lumen.astype(np.float16) * np.float16(0.5))
    taken = np.array(_measured(scene, wider).quality) == "segmentation"
    half = _measured(scene, wider).diameter_mm[taken]
    assert taken.any()
    assert half.mean() == pytest.approx(DIAMETER_MM * np.sqrt(0.5), abs=0.2)


def test_a_network_that_loses_the_vessel_leaves_a_good_fit_alone(scene: Scene) -> None:
    """Half of the lumen is lost over 5 mm of free vessel, where the fit is right."""
    lost = np.ones(SIZE[::-1], np.float16)
    lost[12:22] = 0.2
    weak = replace(scene[2], probability=scene[2].lumen.astype(np.float16) * lost)
    before, after = _measured(scene, scene[2]), _measured(scene, weak)
    free = slice(70, 90)
    assert "segmentation" not in after.quality[free]
    np.testing.assert_allclose(after.diameter_mm[free], before.diameter_mm[free])


def test_where_neither_knows_the_lumen_nothing_is_known(scene: Scene) -> None:
    empty = replace(scene[2], probability=np.zeros(SIZE[::-1], np.float16))
    after = _measured(scene, empty)
    swollen = np.array(after.quality) == "unreliable"
    assert swollen[BESIDE].mean() > 0.6
    assert np.isnan(after.diameter_mm[swollen]).all() and np.isnan(after.diameter_error_mm[swollen]).all()
    assert "segmentation" not in after.quality


def test_a_large_misfit_or_error_or_a_fit_beside_the_path_is_a_failure(scene: Scene) -> None:
    _, tree, segmentation = scene
    sections = sections_of(tree)
    count = len(sections.centers)
    misfit, error, centers = np.ones(count), np.full(count, 0.1), sections.centers.copy()
    misfit[20], error[22] = 9.0, 3.0
    centers[24] += 2.0 * sections.frames[24, 1]
    clear = np.ones(count, dtype=bool)
    misfit[26], clear[26] = 9.0, False  # at a bifurcation or behind calcium
    diameter = np.full(count, DIAMETER_MM)
    found = segmented_lumen(segmentation, sections, np.arange(count), diameter, error, misfit, centers, clear)
    assert np.flatnonzero(found.failed).tolist() == [20, 22, 24]
    assert found.diameter_mm[found.failed] == pytest.approx(DIAMETER_MM, abs=0.2)
    assert found.error_mm[20] == found.error_mm[22] > found.error_mm[24]
    assert not found.lost.any()
    nowhere = segmented_lumen(None, sections, np.arange(count), diameter, error, misfit, centers, clear)
    assert not nowhere.failed.any()


def test_the_lumen_of_another_vessel_is_left_out(scene: Scene) -> None:
    """Two parallel lumens that touch: each has its own half of the mask."""
    _, tree, segmentation = scene
    (vessel,) = tree.vessels
    beside = replace(vessel, name="D2", points_ras=vessel.points_ras + np.array([1.6, 0.0, 0.0]))
    both = segmentation.lumen | np.roll(segmentation.lumen, -4, axis=2)  # i runs to the left
    sections = sections_of(VesselTree((vessel, beside)))
    own = np.arange(50, 60)
    misfit = np.full(10, 9.0)
    diameter, error, clear = np.full(10, 1.6), np.full(10, 0.1), np.ones(10, dtype=bool)
    fit = (diameter, error, misfit, sections.centers[own], clear)
    found = segmented_lumen(replace(segmentation, lumen=both), sections, own, *fit)
    assert found.diameter_mm == pytest.approx(DIAMETER_MM, abs=0.25)


def test_a_throat_that_a_reader_puts_where_the_segmentation_measured_says_so() -> None:
    along = np.arange(0.0, 80.0 + 1e-9, 0.25)
    tree, (profile,) = study(3.2 * bump(along, 40.0, 12.0, 60.0))
    (vessel,) = tree.vessels
    (reference,) = fit_references(tree, (profile,))
    stretch, nowhere = Stretch(140, 160, 180), np.zeros(len(along), dtype=bool)
    words = np.array(profile.quality, dtype=object)
    words[160] = "segmentation"
    for quality, flagged in ((profile.quality, False), (tuple(words), True)):
        lesion = measure_lesion("A1", vessel, replace(profile, quality=quality), reference, nowhere, stretch)
        assert ("from_segmentation" in lesion.flags) == flagged
