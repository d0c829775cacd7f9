"""Correlated CT noise of an exact standard deviation."""

import numpy as np

FINE_SIGMA_MM = 0.35
"""Correlation length: sigma of the Gaussian that smooths the white noise in all directions."""

COARSE_SIGMA_MM = 1.0
COARSE_PART = 0.7
"""In the slice plane this part of a coarser Gaussian is taken off, as filtered back projection has little power at
low frequencies: the noise power then peaks near 0.25 line pairs per mm."""


def correlated_noise(
    shape_kji: tuple[int, ...], spacing_ijk: tuple[float, float, float], noise_hu: float, seed: int
) -> np.ndarray:
    """Return float32 noise [k, j, i] with zero mean and a standard deviation of exactly `noise_hu`.

    The same seed gives the same noise.
    """
    from scipy.ndimage import gaussian_filter

    if noise_hu == 0:
        return np.zeros(shape_kji, dtype=np.float32)
    white = np.random.default_rng(seed).standard_normal(shape_kji, dtype=np.float32)
    spacing = np.array(spacing_ijk[::-1])
    noise = gaussian_filter(white, FINE_SIGMA_MM / spacing, mode="wrap", truncate=3)
    in_plane = np.sqrt(COARSE_SIGMA_MM**2 - FINE_SIGMA_MM**2) / spacing
    in_plane[0] = 0
    noise -= COARSE_PART * gaussian_filter(noise, in_plane, mode="wrap", truncate=3)
    noise -= noise.mean(dtype=np.float64).astype(np.float32)
    return noise * np.float32(noise_hu / noise.std(dtype=np.float64))
