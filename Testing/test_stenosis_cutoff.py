"""Vessels that end abruptly: candidates of an occlusion without refill, and all that ends a vessel otherwise."""

from dataclasses import replace

import numpy as np
import pytest
from test_stenosis import profile_of, vessel_of

from StenosisDetectionLib.lumen import VolumeSampler
from StenosisDetectionLib.stenosis.cutoff import ABRUPT_END, flag_abrupt_ends
from StenosisDetectionLib.study import CTVolume, LumenProfile, LumenSegmentation, ModelInfo, Vessel, VesselTree

SIZE, SPACING_MM = 80, 1.0
FAT_HU, LUMEN_HU = -90.0, 400.0
IJK_TO_RAS = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
IJK_TO_RAS[:3, 3] = -39.5, -39.5, -70.0


class Scan:
    """Fat with some lumen in it, and what a segmentation holds of it; vessels run from S 0 down along the S axis."""

    def __init__(self) -> None:
        self.voxels = np.full((SIZE,) * 3, FAT_HU, np.float32)
        self.lumen = np.zeros((SIZE,) * 3, bool)

    def fill(self, r_mm: float, from_s_mm: float, to_s_mm: float, found: bool = True) -> None:
        k, j, i = np.indices(self.voxels.shape)
        r, a, s = i + IJK_TO_RAS[0, 3], j + IJK_TO_RAS[1, 3], k + IJK_TO_RAS[2, 3]
        inside = (np.hypot(r - r_mm, a) < 1.6) & (s <= from_s_mm) & (s >= to_s_mm)
        self.voxels[inside] = LUMEN_HU
        self.lumen |= inside & found

    @property
    def sampler(self) -> VolumeSampler:
        return VolumeSampler(CTVolume(self.voxels, IJK_TO_RAS), "cpu")

    @property
    def segmentation(self) -> LumenSegmentation:
        return LumenSegmentation(self.lumen, np.zeros_like(self.lumen), IJK_TO_RAS, ModelInfo("given", "1"))


def _tree(end_mm: float = 2.8, others_mm: float = 1.1, length_mm: float = 40.0) -> tuple[Vessel, ...]:
    """LAD that ends with a diameter after a length, and two vessels 20 mm beside it that taper."""
    vessels = [vessel_of("LAD", length_mm, end_mm / 2)]
    for name, right in (("LCX", 20.0), ("RCA", -20.0)):
        other = vessel_of(name, 50.0, others_mm / 2)
        vessels.append(replace(other, points_ras=other.points_ras + np.array([right, 0.0, 0.0])))
    return tuple(vessels)


def _profiles(vessels: tuple[Vessel, ...]) -> tuple[LumenProfile, ...]:
    return tuple(profile_of(vessel, 2.0 * vessel.radius_mm) for vessel in vessels)


def _flagged(scan: Scan, vessels: tuple[Vessel, ...], profiles: tuple[LumenProfile, ...] | None = None) -> list[str]:
    measured = _profiles(vessels) if profiles is None else profiles
    tree = flag_abrupt_ends(VesselTree(vessels), measured, scan.segmentation, scan.sampler)
    return [vessel.name for vessel in tree.vessels if ABRUPT_END in vessel.flags]


@pytest.fixture
def scan() -> Scan:
    scan = Scan()
    scan.fill(0.0, 0.0, -40.0)
    return scan


def test_a_wide_end_in_tissue_is_a_candidate(scan: Scan) -> None:
    assert _flagged(scan, _tree()) == ["LAD"]


def test_a_tapering_end_is_none_and_neither_is_one_like_all_others(scan: Scan) -> None:
    assert _flagged(scan, _tree(end_mm=1.7)) == []
    assert _flagged(scan, _tree(end_mm=2.4, others_mm=1.9)) == []


def test_a_circumflex_artery_may_end_at_two_millimeters(scan: Scan) -> None:
    lad, lcx, rca = _tree(end_mm=2.2)
    named = (replace(lad, name="LCX"), replace(lcx, name="LAD"), rca)
    assert _flagged(scan, _tree(end_mm=2.2)) == ["LAD"]
    assert _flagged(scan, named) == []


def test_lumen_that_refills_ahead_is_a_gap_in_the_vessel(scan: Scan) -> None:
    scan.fill(0.0, -52.0, -62.0)
    assert _flagged(scan, _tree()) == []


def test_contrast_that_goes_on_is_a_vessel_that_was_lost(scan: Scan) -> None:
    scan.fill(1.0, -40.0, -60.0, found=False)
    assert _flagged(scan, _tree()) == []


def test_the_border_of_the_image_ends_no_vessel(scan: Scan) -> None:
    scan.fill(0.0, 0.0, -67.0)
    assert _flagged(scan, _tree(length_mm=67.0)) == []
    lad, *others = _tree()
    assert _flagged(scan, (replace(lad, flags=("leaves_field_of_view",)), *others)) == []


def test_a_vessel_that_runs_into_another_does_not_end(scan: Scan) -> None:
    lad, lcx, rca = _tree()
    beside = replace(lcx, points_ras=lcx.points_ras - np.array([17.0, 0.0, 0.0]))
    assert _flagged(scan, (lad, beside, rca)) == []


def test_a_vessel_that_divides_at_its_end_does_not_end(scan: Scan) -> None:
    lad, lcx, rca = _tree()
    child = vessel_of("D1", 20.0, 1.0, parent="LAD", at=40.0)
    assert _flagged(scan, (lad, child, lcx, rca)) == []


def test_an_end_in_a_stent_or_without_measurement_says_nothing(scan: Scan) -> None:
    vessels = _tree()
    lad, *others = _profiles(vessels)
    count = len(lad.quality)
    stented = replace(lad, quality=("ok",) * (count - 10) + ("stent",) * 10)
    assert _flagged(scan, vessels, (stented, *others)) == []
    unknown = replace(lad, diameter_mm=np.where(np.arange(count) > count - 40, np.nan, lad.diameter_mm))
    assert _flagged(scan, vessels, (unknown, *others)) == []


def test_the_flag_goes_when_the_end_is_corrected(scan: Scan) -> None:
    vessels = _tree(end_mm=1.4)
    marked = (replace(vessels[0], flags=(ABRUPT_END, "edited")), *vessels[1:])
    tree = flag_abrupt_ends(VesselTree(marked), _profiles(marked), scan.segmentation, scan.sampler)
    assert tree.vessels[0].flags == ("edited",)
