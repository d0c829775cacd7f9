"""A path that steps sideways out of its lumen is no stenosis; a stenosis in a straight or bent vessel is no step."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_lumen import LENGTH, SEEN_SIGMA, straight_vessel

from StenosisDetectionLib.geometry import arc_length
from StenosisDetectionLib.lumen import PointSpread, VolumeSampler, measure_lumen
from StenosisDetectionLib.lumen.sidesteps import sidesteps
from StenosisDetectionLib.stenosis import find_lesions, fit_references
from StenosisDetectionLib.study import CTVolume, LumenProfile, Vessel, VesselTree

ALONG = np.arange(0.0, 40.0 + 1e-9, 0.25)
STEP_MM = 2.2


def narrowed(center: float) -> np.ndarray:
    return 3.0 - 2.5 * np.exp(-0.5 * ((ALONG - center) / 1.2) ** 2)


def resampled(points: np.ndarray) -> np.ndarray:
    length = arc_length(points)
    even = np.arange(0.0, length[-1], 0.25)
    return np.stack([np.interp(even, length, axis) for axis in points.T], axis=1)


def test_a_step_across_the_vessel_is_found_and_only_there() -> None:
    corners = np.array([[0, 0, 0], [0, 0, 20], [STEP_MM, 0, 21], [STEP_MM, 0, 41]], dtype=float)
    points = resampled(corners)
    middle = 20.0 + 0.5 * np.hypot(STEP_MM, 1.0)
    along = np.arange(len(points)) * 0.25
    lumen = 3.0 - 2.5 * np.exp(-0.5 * ((along - middle) / 1.2) ** 2)
    found = sidesteps(points, lumen)
    assert found[np.abs(along - middle) < 1.0].all()
    assert not found[np.abs(along - middle) > 4.0].any()
    # A lumen that stays wide on the way across was followed well, whatever its course.
    assert not sidesteps(points, np.full(len(points), 3.0)).any()
    assert not sidesteps(points, np.full(len(points), np.nan)).any()
    assert not sidesteps(points[:20], lumen[:20]).any()


def test_a_branch_that_is_joined_across_a_gap_begins_behind_it_and_a_narrow_orifice_stays() -> None:
    across = resampled(np.array([[0, 0, 0], [3.0, 0, 0.8], [3.0, 0, 30.0]], dtype=float))
    along = np.arange(len(across)) * 0.25
    lumen = np.where(along < 1.0, 3.0, np.where(along < 3.0, 0.4, 2.0))
    found = sidesteps(across, lumen)
    assert found[(along > 1.0) & (along < 2.75)].all()
    assert not found[along > 5.0].any()
    # The branch leaves its parent at a right angle and is narrow at its origin.
    straight = np.stack([ALONG, 0 * ALONG, 0 * ALONG], axis=1)
    assert not sidesteps(straight, np.where(ALONG < 1.0, 3.0, np.where(ALONG < 4.0, 0.6, 2.0))).any()


@pytest.mark.parametrize("radius", [4.0, 8.0, np.inf])
def test_a_stenosis_in_a_straight_or_bent_vessel_is_no_step(radius: float) -> None:
    if np.isinf(radius):
        points = np.stack([0 * ALONG, 0 * ALONG, ALONG], axis=1)
    else:
        # A quarter of a circle between two straight parts.
        turn = np.clip((ALONG - 20.0) / radius + np.pi / 4, 0.0, np.pi / 2)
        heading = np.stack([np.sin(turn), 0 * turn, np.cos(turn)], axis=1)
        points = np.cumsum(0.25 * heading, axis=0)
    assert not sidesteps(points, narrowed(20.0)).any()


def test_a_stenosis_behind_a_bend_of_the_path_is_no_step() -> None:
    """A path that bridged a gap enters its vessel askew: it goes across what lies before, but on in its vessel."""
    angle = np.radians(np.select([ALONG < 17.0, ALONG < 21.0], [38.0, -15.0], 0.0))
    points = np.cumsum(0.25 * np.stack([np.sin(angle), 0.0 * angle, np.cos(angle)], axis=1), axis=0)
    assert not sidesteps(points, narrowed(20.0)).any()


def stepped_scan() -> tuple[CTVolume, VesselTree]:
    """Two slabs of the scan of one vessel, the second moved across it, and the path that joins both lumens."""
    volume, tree, _ = straight_vessel(lambda s: np.full(len(s), 2.6), np.eye(3))
    vessel = tree.vessels[0]
    axis = vessel.points_ras[-1] / np.linalg.norm(vessel.points_ras[-1])
    aside = np.cross(axis, [0.0, 0.0, 1.0])
    aside *= STEP_MM / np.linalg.norm(aside)
    matrix = volume.ijk_to_ras
    k, j, i = np.indices(volume.voxels.shape)
    centers = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    moved = matrix.copy()
    moved[:3, 3] += aside
    values, inside = VolumeSampler(CTVolume(volume.voxels, moved), "cpu")(torch.from_numpy(centers))
    second = np.where(inside.numpy(), values.numpy(), -90.0).astype(np.float32)
    voxels = np.where(centers @ axis > 0.0, second, volume.voxels)
    first, last = vessel.points_ras[0], vessel.points_ras[-1] + aside
    path = resampled(np.stack([first, -0.5 * axis, aside + 0.5 * axis, last]))
    stepped = Vessel("LAD", None, None, path, np.arange(len(path)) * 0.25, np.full(len(path), 1.3))
    return CTVolume(voxels, matrix), VesselTree((stepped,))


def measured(volume: CTVolume, tree: VesselTree) -> LumenProfile:
    return measure_lumen(volume, tree, 400.0, 25.0, PointSpread(SEEN_SIGMA, True), VolumeSampler(volume, "cpu"))[0]


def test_the_step_between_two_slabs_of_a_scan_makes_no_lesion() -> None:
    volume, tree = stepped_scan()
    profile = measured(volume, tree)
    middle = tree.vessels[0].length_mm / 2
    near = np.abs(tree.vessels[0].distance_mm - middle) < 0.75
    assert np.isnan(profile.diameter_mm[near]).all()
    assert {profile.quality[n] for n in np.flatnonzero(near)} == {"unreliable"}
    beyond = np.abs(tree.vessels[0].distance_mm - middle) > 4.0
    inner = beyond & (tree.vessels[0].distance_mm > 4.0) & (tree.vessels[0].distance_mm < LENGTH - 5.0)
    assert np.nanmean(profile.diameter_mm[inner]) == pytest.approx(2.6, abs=0.15)
    assert find_lesions(tree, (profile,), fit_references(tree, (profile,)), 1.5) == ()


def test_a_tight_stenosis_on_a_straight_path_stays_a_lesion() -> None:
    def lumen(s: np.ndarray) -> np.ndarray:
        return 2.6 * (1.0 - 0.7 * np.exp(-0.5 * ((s - LENGTH / 2) / 2.0) ** 2))

    volume, tree, true = straight_vessel(lumen, np.eye(3))
    profile = measured(volume, tree)
    (lesion,) = find_lesions(tree, (profile,), fit_references(tree, (profile,)), 1.5)
    assert lesion.throat_mm == pytest.approx(LENGTH / 2, abs=1.0)
    assert lesion.diameter_stenosis_percent == pytest.approx(100 * (1 - true.min() / 2.6), abs=10)


def test_a_narrowing_at_the_orifice_or_where_the_image_ends_is_a_lesion_only_where_it_is_seen() -> None:
    from test_stenosis import profile_of, vessel_of

    vessel = vessel_of("RCA", 80.0, 1.6, number=1)
    along = vessel.distance_mm

    def lesions(diameter: np.ndarray, word: str, until: float) -> int:
        quality = tuple(word if s <= until else "ok" for s in along)
        profile = replace(profile_of(vessel, diameter, noise=0.0), quality=quality)
        tree = VesselTree((vessel,))
        return len(find_lesions(tree, (profile,), fit_references(tree, (profile,)), 1.5))

    # A path that begins in the wall of the aorta, and an orifice that is narrowed over 4 mm.
    assert lesions(np.where(along < 1.5, 0.8, 3.2), "ostium", 2.5) == 0
    assert lesions(np.where(along < 4.0, 1.4, 3.2), "ostium", 2.5) == 1
    # The image ends 20 mm along the vessel; the same narrowing farther off is one.
    assert lesions(np.where((along > 20.0) & (along < 26.0), 1.2, 3.2), "outside", 20.0) == 0
    assert lesions(np.where((along > 30.0) & (along < 36.0), 1.2, 3.2), "outside", 20.0) == 1


def test_a_path_that_comes_from_a_thinner_vessel_has_a_reference_of_its_own_there() -> None:
    """Without a step sideways the same widening is the end of a long narrowing: healthy vessels do not widen."""
    from test_stenosis import profile_of, vessel_of

    vessel = vessel_of("LCX", 80.0, 1.2, number=11)
    along = vessel.distance_mm
    tree = VesselTree((vessel,))
    diameter = np.where(along < 30.0, 2.0, 3.0)
    narrowed_all_along = profile_of(vessel, diameter, noise=0.0)
    (reference,) = fit_references(tree, (narrowed_all_along,))
    assert reference.diameter_mm[80] > 2.8
    gone = (along > 29.0) & (along < 31.5)
    other = replace(
        narrowed_all_along,
        diameter_mm=np.where(gone, np.nan, diameter),
        quality=tuple("unreliable" if out else "ok" for out in gone),
    )
    (apart,) = fit_references(tree, (other,))
    assert apart.diameter_mm[along < 29.0] == pytest.approx(2.0, abs=0.2)
    assert apart.diameter_mm[along > 32.0] == pytest.approx(3.0, abs=0.1)
    assert find_lesions(tree, (other,), (apart,), 1.5) == ()


def test_beside_calcium_less_evidence_is_enough_only_in_vessels_that_are_wide_enough_to_see_it() -> None:
    from test_stenosis import bump, profile_of, vessel_of

    def lesions(healthy: float) -> int:
        vessel = vessel_of("LAD", 80.0, healthy / 2.0, number=7)
        tree = VesselTree((vessel,))
        diameter = healthy * bump(vessel.distance_mm, 40.0, 8.0, 50.0)
        near = np.abs(vessel.distance_mm - 40.0) < 4.0
        # The narrowing of half of the diameter is 2.2 times its error.
        profile = replace(
            profile_of(vessel, diameter, noise=0.0, error=0.05),
            calcified_area_mm2=np.where(near, 1.0, 0.0),
            diameter_error_mm=np.where(near, 0.5 * healthy / 2.25, 0.05),
        )
        return len(find_lesions(tree, (profile,), fit_references(tree, (profile,)), 1.5))

    assert lesions(3.0) == 1
    assert lesions(1.7) == 0
