"""Without the blur along the vessel a throat is as narrow as it is, and what is even or tapers stays as it is."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from test_lumen import SEEN_SIGMA, straight_vessel

from StenosisDetectionLib.lumen import PointSpread, VolumeSampler, measure_lumen
from StenosisDetectionLib.lumen.deblurring import DOUBT, LEAST_AREA, deblurred

ALONG = np.arange(-20.0, 20.0 + 1e-9, 0.25)


def cosine(percent: float, length: float = 8.0) -> np.ndarray:
    inside = np.abs(ALONG) < length / 2
    return 3.0 * (1.0 - percent / 100.0 * np.where(inside, 0.5 * (1.0 + np.cos(2 * np.pi * ALONG / length)), 0.0))


@pytest.mark.parametrize("sigma", [0.3, 0.6])
@pytest.mark.parametrize("percent", [40.0, 60.0, 80.0])
def test_a_blurred_throat_is_as_narrow_again(percent: float, sigma: float) -> None:
    true = cosine(percent)
    seen = np.sqrt(gaussian_filter1d(true**2, sigma / 0.25))
    sharp, doubt = deblurred(seen, np.full(len(seen), sigma))
    assert abs(sharp.min() - true.min()) < 0.35 * abs(seen.min() - true.min())
    np.testing.assert_allclose(doubt, DOUBT * np.abs(sharp - seen))
    far = np.abs(ALONG) > 8.0
    np.testing.assert_allclose(sharp[far], true[far], atol=1e-3)


def test_what_is_even_or_tapers_stays_and_what_is_unknown_tells_its_neighbors_nothing() -> None:
    sigma = np.full(len(ALONG), 0.6)
    tapered = np.sqrt(9.0 + 0.1 * ALONG)  # the area falls evenly
    np.testing.assert_allclose(deblurred(tapered, sigma)[0], tapered, atol=1e-9)
    gap = tapered.copy()
    gap[60:70] = np.nan
    sharp, doubt = deblurred(gap, sigma)
    assert np.isnan(sharp[60:70]).all() and np.isnan(doubt[60:70]).all()
    np.testing.assert_allclose(np.delete(sharp, slice(60, 70)), np.delete(tapered, slice(60, 70)), atol=1e-9)
    assert len(deblurred(tapered[:1], sigma[:1])[0]) == 1 and len(deblurred(tapered[:0], sigma[:0])[0]) == 0


def test_the_narrowest_throats_stay_positive() -> None:
    seen = np.where(np.abs(ALONG) < 0.2, 0.2, 3.0)
    sharp, _ = deblurred(seen, np.full(len(seen), 0.6))
    assert sharp.min() == pytest.approx(0.2 * np.sqrt(LEAST_AREA))


def short_stenosis(along: np.ndarray) -> np.ndarray:
    """A cosine of 7 mm and 60 % in a vessel of 3 mm."""
    place = along - along.mean()
    return 3.0 * (1.0 - 0.3 * np.where(np.abs(place) < 3.5, 1.0 + np.cos(2.0 * np.pi * place / 7.0), 0.0))


def test_the_minimal_diameter_of_a_short_stenosis_has_little_bias() -> None:
    least = []
    for seed in range(3):
        volume, tree, _ = straight_vessel(short_stenosis, np.eye(3), seed=seed)
        spread = PointSpread(SEEN_SIGMA, True)
        profile = measure_lumen(volume, tree, 400.0, 25.0, spread, VolumeSampler(volume, "cpu"))[0]
        least.append(np.nanmin(profile.diameter_mm[20:-20]))
    assert abs(np.mean(least) - 1.2) < 0.06
