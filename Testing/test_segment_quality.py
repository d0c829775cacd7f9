"""Image quality along segments: a tube with known attenuation and noise."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from test_stenosis import profile_of, vessel_of

from StenosisDetectionLib.geometry import affine, transform_points
from StenosisDetectionLib.lumen import segment_quality, study_contrast_to_noise
from StenosisDetectionLib.study import CTVolume, LumenProfile, Vessel, VesselTree

SIGMA_MM, COUNT = 0.4, 161


def tube(
    diameter_mm: float, noise_hu: float, correlation_mm: float, seed: int
) -> tuple[CTVolume, Vessel, LumenProfile]:
    """A tube in fat, oblique to the grid, 40 mm long; its lumen fades from 420 to 380 HU, its noise is correlated."""
    spacing = np.array([0.35, 0.35, 0.45])
    direction = np.array([0.5, -0.3, -1.0]) / np.linalg.norm([0.5, -0.3, -1.0])
    grid = affine(spacing, np.diag([-1.0, -1.0, 1.0]), np.array([24.0, 8.0, -42.0]))
    shape = (105, 80, 90)
    k, j, i = np.indices(shape)
    points = transform_points(grid, np.stack([i, j, k], axis=-1))
    along = points @ direction
    radius = np.linalg.norm(points - along[..., None] * direction, axis=-1)
    sharp = np.where(radius < diameter_mm / 2, 420.0 - along, -90.0)
    noise = np.random.default_rng(seed).normal(size=shape)
    if correlation_mm:
        noise = ndimage.gaussian_filter(noise, correlation_mm / spacing[::-1])
    voxels = ndimage.gaussian_filter(sharp, SIGMA_MM / spacing[::-1]) + noise_hu * noise / noise.std()
    vessel = replace(
        vessel_of("LAD", 40.0, diameter_mm / 2, number=6), points_ras=np.arange(COUNT)[:, None] * 0.25 * direction
    )
    profile = profile_of(vessel, np.full(COUNT, diameter_mm), noise=0.0)
    contrast = (420.0 - vessel.distance_mm + 90.0) / 30.0
    return CTVolume(voxels.astype(np.float32), grid), vessel, replace(profile, contrast_to_noise=contrast)


@pytest.mark.parametrize("correlation_mm", [0.0, 0.4])
@pytest.mark.parametrize(("diameter_mm", "noise_hu"), [(4.0, 25.0), (3.0, 15.0), (3.0, 40.0)])
def test_noise_of_a_segment_is_that_of_its_voxels(diameter_mm: float, noise_hu: float, correlation_mm: float) -> None:
    scores = []
    for seed in range(3):
        volume, vessel, profile = tube(diameter_mm, noise_hu, correlation_mm, seed)
        (found,) = segment_quality(volume, VesselTree((vessel,)), (profile,), (SIGMA_MM,) * 3, 30.0)
        scores.append((found.noise_hu - noise_hu) / found.noise_error_hu)
        # The contrast was divided by the noise of the study, 30 HU; that of the segment takes its place.
        assert found.contrast_to_noise == pytest.approx((420.0 - 20.0 + 90.0) / found.noise_hu, rel=1e-6)
    assert (found.vessel, found.number, found.measured_percent) == ("LAD", 6, 100.0)
    assert found.lumen_hu == pytest.approx(400.0)
    assert np.abs(scores).max() < 3.0


def test_a_narrow_vessel_has_no_core_and_takes_the_noise_of_the_study() -> None:
    volume, vessel, profile = tube(1.6, 25.0, 0.0, 0)
    (found,) = segment_quality(volume, VesselTree((vessel,)), (profile,), (SIGMA_MM,) * 3, 30.0)
    assert found.noise_hu is None and found.noise_error_hu is None
    assert found.contrast_to_noise == pytest.approx((420.0 - 20.0 + 90.0) / 30.0, rel=1e-6)


def test_what_was_not_measured_does_not_count() -> None:
    volume, vessel, profile = tube(4.0, 25.0, 0.0, 0)
    along = vessel.distance_mm
    quality = tuple("calcium" if s > 30.0 else "ok" for s in along)
    half = replace(profile, quality=quality, diameter_mm=np.where(along > 30.0, np.nan, 4.0))
    (found,) = segment_quality(volume, VesselTree((vessel,)), (half,), (SIGMA_MM,) * 3, 30.0)
    assert found.measured_percent == pytest.approx(75.0, abs=0.5)
    assert found.contrast_to_noise * found.noise_hu == pytest.approx(420.0 - 15.0 + 90.0, abs=0.5)
    nothing = replace(profile, quality=("outside",) * COUNT, diameter_mm=np.full(COUNT, np.nan))
    (none,) = segment_quality(volume, VesselTree((vessel,)), (nothing,), (SIGMA_MM,) * 3, 30.0)
    assert (none.lumen_hu, none.noise_hu, none.contrast_to_noise, none.measured_percent) == (None, None, None, 0.0)
    assert study_contrast_to_noise((nothing,)) is None
    assert study_contrast_to_noise((profile,)) == pytest.approx(490.0 / 30.0, rel=1e-6)
