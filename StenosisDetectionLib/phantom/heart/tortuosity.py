"""Winds a line on the surface of the heart: band-limited waves across it. RAS mm."""

from dataclasses import dataclass, replace

import numpy as np

from ..curves import tangents
from .courses import STEP_MM
from .implicit import Body, gradient


@dataclass(frozen=True)
class TortuosityLaw:
    """How a family winds its vessels.

    Parameters
    ----------
    kind : `waves` (few sine waves), `noise` (filtered noise) or `kinks` (smoothed random walk of the heading).
    amplitude_mm, wavelength_mm : ranges.
    out_of_plane : share of the amplitude normal to the surface.
    """

    kind: str = "waves"
    amplitude_mm: tuple[float, float] = (0.3, 2.5)
    wavelength_mm: tuple[float, float] = (15.0, 40.0)
    out_of_plane: float = 0.35

    def calmer(self, by: float) -> "TortuosityLaw":
        """Return the law with its largest amplitude reduced, all of it at `by` = 1."""
        return replace(self, amplitude_mm=(self.amplitude_mm[0] * (1 - by), self.amplitude_mm[1] * (1 - by)))


def wound(line: np.ndarray, surface: Body, law: TortuosityLaw, generator: np.random.Generator) -> np.ndarray:
    """Return a line (every `STEP_MM`) wound along and out of the surface; its ends stay nearly in place."""
    from scipy.ndimage import gaussian_filter1d

    count = len(line)
    if count < 6:
        return line
    s = STEP_MM * np.arange(count)
    amplitude = float(generator.uniform(*law.amplitude_mm))
    wavelength = float(generator.uniform(*law.wavelength_mm))

    def curve() -> np.ndarray:
        if law.kind == "waves":
            total = np.zeros(count)
            for _ in range(3):
                own = wavelength * float(generator.uniform(0.7, 1.4))
                total += float(generator.normal(0, 0.6)) * np.sin(2 * np.pi * (s / own + generator.random()))
            return total
        noise = generator.normal(size=count + 80)
        if law.kind == "kinks":
            noise = np.cumsum(np.where(generator.random(count + 80) < 0.25, noise * 2.5, 0.0))
            noise -= gaussian_filter1d(noise, wavelength / STEP_MM)
        noise = gaussian_filter1d(noise, 0.16 * wavelength / STEP_MM)[40:-40]
        return noise / max(float(noise.std()), 1e-9) * 0.7

    window = np.minimum(1, s / 14.0) * np.minimum(1, (s[-1] - s) / 8.0)
    along = tangents(line)
    out = gradient(surface, line)
    out -= (out * along).sum(axis=1, keepdims=True) * along
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    across = np.cross(along, out)
    amplitude = min(amplitude, 0.12 * wavelength)
    sideways, outward = curve(), np.abs(curve()) * law.out_of_plane
    return line + (amplitude * window)[:, None] * (sideways[:, None] * across + outward[:, None] * out)
