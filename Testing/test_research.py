"""Research options: fat of known attenuation around a tube, pressure drops against the closed formula; off at first."""

import math
from dataclasses import replace

import numpy as np
import pytest
from studies import small_study
from test_stenosis import ALONG, profile_of, vessel_of

from StenosisDetectionLib import AnalysisOptions
from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.geometry import affine, transform_points
from StenosisDetectionLib.options import FAT_ATTENUATION, PRESSURE_DROP
from StenosisDetectionLib.stenosis import apply_review, research_findings
from StenosisDetectionLib.stenosis.fat_attenuation import fat_attenuation
from StenosisDetectionLib.stenosis.pressure_drop import (
    AORTIC_MMHG,
    DENSITY_KG_M3,
    MMHG_PA,
    VELOCITY_M_S,
    VENOUS_MMHG,
    VISCOSITY_PA_S,
    modeled_flow,
    pressure_drops,
)
from StenosisDetectionLib.study import CTVolume, LesionReview, VesselTree


def young_tsai_mmhg(flow_m3_s: float, healthy_m: float, throat_m: float, length_m: float) -> float:
    """The formula of Young and Tsai as it is printed, in their own coefficients."""
    velocity = flow_m3_s / (math.pi * healthy_m**2 / 4)
    ratio = (healthy_m / throat_m) ** 2
    viscous = 32.0 * (0.83 * length_m + 1.64 * throat_m) / healthy_m * ratio**2
    drop = viscous * VISCOSITY_PA_S / healthy_m * velocity
    return (drop + 1.52 * DENSITY_KG_M3 / 2 * (ratio - 1) ** 2 * velocity**2) / MMHG_PA


def balanced_ratio(throat_mm: float) -> float:
    """Distal over aortic pressure of a lesion of 10 mm in a vessel of 3 mm, by bisection of the balance."""
    healthy_flow = VELOCITY_M_S * math.pi * 3e-3**2 / 4
    low, high = 0.0, healthy_flow
    for _ in range(60):
        middle = (low + high) / 2
        drop = young_tsai_mmhg(middle, 3e-3, throat_mm * 1e-3, 10e-3)
        bed = (AORTIC_MMHG - VENOUS_MMHG) * middle / healthy_flow
        low, high = (middle, high) if AORTIC_MMHG - drop - VENOUS_MMHG > bed else (low, middle)
    return 1 - young_tsai_mmhg(low, 3e-3, throat_mm * 1e-3, 10e-3) / AORTIC_MMHG


@pytest.mark.parametrize(("percent", "ratio"), [(50, 0.89), (60, 0.76), (70, 0.55), (80, 0.27)])
def test_a_cylinder_gives_the_published_formula_in_balance_with_its_bed(percent: float, ratio: float) -> None:
    """The ratios are check values from a separate computation for a vessel of 3 mm and a lesion of 10 mm."""
    throat = 3.0 * (1 - percent / 100)
    flow, drop = modeled_flow(10.0 / (math.pi * throat**2 / 4) ** 2, throat, 3.0)
    assert 1 - drop / MMHG_PA / AORTIC_MMHG == pytest.approx(ratio, abs=0.005)
    assert drop / MMHG_PA == pytest.approx(young_tsai_mmhg(flow, 3e-3, throat * 1e-3, 10e-3), rel=1e-9)
    healthy_flow = VELOCITY_M_S * math.pi * 3e-3**2 / 4
    bed_mmhg = (AORTIC_MMHG - VENOUS_MMHG) * flow / healthy_flow
    assert AORTIC_MMHG - drop / MMHG_PA - VENOUS_MMHG == pytest.approx(bed_mmhg, rel=1e-9)


def test_pressure_drop_of_a_measured_lesion_and_its_interval() -> None:
    """A narrowed stretch of constant diameter in a profile is the cylinder of the formula."""
    study = small_study()
    vessel = vessel_of("LAD", 80.0, 1.6, number=7)
    inside = (ALONG >= 30.0) & (ALONG <= 40.0)
    profile = profile_of(vessel, np.where(inside, 1.5, 3.0), noise=0.0)
    lesion = replace(
        study.lesions[0], start_mm=30.0, throat_mm=35.0, end_mm=40.0, minimal_lumen_diameter_mm=1.5,
        reference_diameter_mm=3.0, diameter_stenosis_percent=50.0, diameter_stenosis_interval_90=(40.0, 60.0),
    )  # fmt: skip
    tree = VesselTree((vessel,))
    (found,) = pressure_drops(tree, (profile,), (lesion,))
    assert found.pressure_ratio == pytest.approx(balanced_ratio(1.5), abs=1e-6)
    assert found.pressure_drop_mmhg == pytest.approx(
        young_tsai_mmhg(found.flow_ml_s * 1e-6, 3e-3, 1.5e-3, 10e-3), rel=1e-6
    )
    low, high = found.pressure_ratio_interval_90
    assert (low, high) == pytest.approx((balanced_ratio(1.2), balanced_ratio(1.8)), abs=1e-6)
    occluded = replace(lesion, diameter_stenosis_percent=100.0, minimal_lumen_diameter_mm=0.0)
    unmeasured = replace(profile, diameter_mm=np.where(inside, np.nan, 3.0))
    for none in (pressure_drops(tree, (profile,), (occluded,)), pressure_drops(tree, (unmeasured,), (lesion,))):
        assert none[0].pressure_ratio is None and none[0].pressure_ratio_interval_90 is None


def tube_in_fat(fat_hu: float, sigma_mm: float, outer_mm: float = 4.0) -> tuple[CTVolume, np.ndarray]:
    """A tube of 3 mm with its wall in fat, oblique to the grid, blurred, noise of 20 HU; 60 mm long from the origin.

    Before 10 mm the fat is 40 HU higher, and in front of it lies muscle, which no shell may count as fat.
    """
    from scipy import ndimage

    spacing = np.array([0.4, 0.4, 0.5])
    direction = np.array([0.3, 0.2, -1.0]) / math.sqrt(1.13)
    shape = (150, 90, 100)
    grid = affine(spacing, np.diag([-1.0, -1.0, 1.0]), np.array([26.0, 22.0, -66.0]))
    k, j, i = np.indices(shape)
    points = transform_points(grid, np.stack([i, j, k], axis=-1))
    along = points @ direction
    radius = np.linalg.norm(points - along[..., None] * direction, axis=-1)
    voxels = np.where(along < 10.0, fat_hu + 40.0, fat_hu)
    voxels = np.where(points[..., 1] > 5.5 + 0.2 * np.abs(along), 100.0, voxels)
    voxels = np.where(radius < outer_mm / 2, 60.0, voxels)
    voxels = np.where(radius < 1.5, 400.0, voxels)
    if sigma_mm:
        voxels = ndimage.gaussian_filter(voxels, sigma_mm / spacing[::-1])
    noise = np.random.default_rng(4).normal(0.0, 20.0, shape)
    return CTVolume((voxels + noise).astype(np.float32), grid), direction


@pytest.mark.parametrize(("fat_hu", "sigma_mm", "bias"), [(-90.0, 0.0, 0.5), (-90.0, 0.4, 3.0), (-75.0, 0.4, 3.0)])
def test_fat_of_known_attenuation(fat_hu: float, sigma_mm: float, bias: float) -> None:
    """Blurring brings a little of the wall into the innermost fat, which belongs to the published definition."""
    volume, direction = tube_in_fat(fat_hu, sigma_mm)
    vessels, profiles = [], []
    for name in ("LM", "RCA"):
        vessel = replace(vessel_of(name, 60.0, 1.5), points_ras=np.arange(241)[:, None] * 0.25 * direction)
        profile = profile_of(vessel, np.full(241, 3.0), noise=0.0)
        profiles.append(replace(profile, outer_diameter_mm=np.where(np.arange(241) % 4 == 0, np.nan, 4.0)))
        vessels.append(vessel)
    (found,) = fat_attenuation(volume, VesselTree(tuple(vessels)), tuple(profiles))
    assert (found.vessel, found.start_mm, found.end_mm) == ("RCA", 10.0, 50.0)
    assert found.thickness_mm == pytest.approx(4.0)
    assert found.wall_shown_percent == pytest.approx(75.0, abs=1.0)
    assert found.attenuation_hu == pytest.approx(fat_hu, abs=bias + 3 * found.error_hu)
    assert 0.0 < found.error_hu < 2.0
    shell_mm3 = math.pi * (6.0**2 - 2.0**2) * 40.0
    assert found.volume_mm3 == pytest.approx(shell_mm3 * found.fat_percent / 100.0, rel=0.02)
    assert found.fat_percent > 85.0


def test_a_vessel_that_is_too_short_and_one_without_fat() -> None:
    volume, direction = tube_in_fat(50.0, 0.0)
    points = np.arange(241)[:, None] * 0.25 * direction
    long = replace(vessel_of("LCX", 60.0, 1.5), points_ras=points)
    profile = profile_of(long, np.full(241, 3.0), noise=0.0)
    (found,) = fat_attenuation(volume, VesselTree((long,)), (profile,))
    assert found.attenuation_hu is None and found.error_hu is None and found.fat_percent < 0.1
    short = replace(vessel_of("RCA", 15.0, 1.5), points_ras=points[:61])
    assert fat_attenuation(volume, VesselTree((short,)), (profile_of(short, np.full(61, 3.0)),)) == ()


def test_nothing_is_computed_unless_asked_for_and_unknown_names_are_refused() -> None:
    study = small_study()
    parts = study.volume, study.tree, study.profiles, study.lesions
    assert AnalysisOptions().research == ()
    assert research_findings((), *parts) is None
    fat = research_findings((FAT_ATTENUATION,), *parts)
    assert fat.pressure is None and [one.vessel for one in fat.fat] == ["LAD"]
    with pytest.raises(InputError, match="unknown research option 'ffr'"):
        AnalysisOptions(research=("ffr",))


def test_pressure_drops_follow_the_lesions_that_stand() -> None:
    study = small_study()
    found = research_findings((PRESSURE_DROP,), study.volume, study.tree, study.profiles, study.lesions)
    assert found.fat is None and [one.lesion_id for one in found.pressure] == ["L1", "L2"]
    rejected = LesionReview("L1", "rejected", "reader 1", "2026-11-24T15:00:00+00:00")
    reviewed = apply_review(replace(study, research=found), (rejected,))
    assert [one.lesion_id for one in reviewed.research.pressure] == ["L2"]
