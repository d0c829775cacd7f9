"""From a planned heart and an acquisition to voxels: rendering in slabs, motion, streaks, sharpening, rings, noise."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry import shifted, spacing_of, transform_points
from ..progress import StageReport, no_report, part_of
from .acquisition import Acquisition
from .assembly import Grid
from .cells import Field, Painted
from .detail import Detail, detail_of
from .motion import moved
from .render import MAXIMUM_CELL_MM, Rendering, rendered
from .scan_noise import add_noise
from .streaks import add_rings, add_streaks
from .truth import VesselTruth


@dataclass(frozen=True, eq=False)
class Scene:
    """What is scanned: solids with the scanner's attenuations, the fine structure in them, and the arteries' lines."""

    painted: Sequence[Painted]
    background: float | Field
    detail: Detail | None
    vessels: Sequence[VesselTruth]


def scene_of(
    painted: Sequence[Painted], background: float | Field, vessels: Sequence[VesselTruth], acquisition: Acquisition
) -> Scene:
    """Return the scene as an acquisition shows it; made once, it serves any number of patches."""
    scale = acquisition.hu_scale
    return Scene(scale.scene(painted), scale.paint(background), detail_of(painted), vessels)


def noise_free(
    scene: Scene,
    acquisition: Acquisition,
    grid: Grid,
    report: StageReport = no_report,
    cell_mm: float = MAXIMUM_CELL_MM,
    cells_per_sigma: float = 1.5,
    fraction_labels: Sequence[int] = (),
) -> Rendering:
    """Return the image of a grid with the slabs of other heartbeats at their place, and nothing else of the scan.

    The k of the grid must be along or against that of the acquisition.
    """
    bounds = _slab_borders(acquisition, grid)
    parts = []
    for number, (first, last) in enumerate(itertools.pairwise(bounds)):
        middle = transform_points(grid.ijk_to_ras, np.array([0, 0, (first + last - 1) / 2]))
        matrix = shifted(grid.ijk_to_ras, (0, 0, first))
        matrix[:3, 3] -= acquisition.offsets(middle[None])[0]
        size = (grid.size_ijk[0], grid.size_ijk[1], last - first)
        parts.append(
            rendered(
                scene.painted,
                size,
                matrix,
                acquisition.psf_sigma_mm,
                scene.background,
                part_of(report, number / (len(bounds) - 1), (number + 1) / (len(bounds) - 1)),
                detail=scene.detail,
                cell_mm=cell_mm,
                cells_per_sigma=cells_per_sigma,
                fraction_labels=fraction_labels,
            )
        )
    if len(parts) == 1:
        return parts[0]
    return Rendering(
        np.concatenate([part.image for part in parts]),
        np.concatenate([part.labels for part in parts]),
        {label: np.concatenate([part.fractions[label] for part in parts]) for label in fraction_labels},
    )


def scan(image: np.ndarray, scene: Scene, acquisition: Acquisition, grid: Grid, aorta_hu: float, seed: int) -> None:
    """Add what the scan does to a noise-free image, in place: motion, streaks, sharpening, rings and noise."""
    from scipy.ndimage import gaussian_filter

    moved(image, grid, acquisition.displaced(scene.vessels), acquisition.motions)
    add_streaks(image, grid, acquisition, aorta_hu)
    if acquisition.overshoot > 0:
        amount, sigma = sharpening(acquisition.overshoot, acquisition.psf_sigma_mm[0])
        spacing = spacing_of(grid.ijk_to_ras)
        for plane in image:
            plane += amount * (plane - gaussian_filter(plane, (sigma / spacing[1], sigma / spacing[0]), mode="nearest"))
    if acquisition.ring_hu > 0:
        add_rings(image, grid, acquisition, seed)
    add_noise(image, grid, acquisition, seed)


def sharpening(overshoot: float, psf_sigma_mm: float) -> tuple[float, float]:
    """Return amount and sigma (mm) of an unsharp mask that gives an edge of the point spread this overshoot."""
    from scipy.special import erf

    sigma = 1.5 * psf_sigma_mm
    x = np.linspace(0, 6 * sigma, 400)
    edge = 0.5 * (1 + erf(x / (np.sqrt(2) * psf_sigma_mm)))
    softer = 0.5 * (1 + erf(x / np.sqrt(2 * (psf_sigma_mm**2 + sigma**2))))
    low, high = 0.0, 20.0
    for _ in range(40):
        amount = (low + high) / 2
        low, high = (low, amount) if (edge + amount * (edge - softer)).max() - 1 > overshoot else (amount, high)
    return amount, sigma


def _slab_borders(acquisition: Acquisition, grid: Grid) -> list[int]:
    """Return the first slices of the slabs of a grid, and its number of slices."""
    count = grid.size_ijk[2]
    if not acquisition.steps:
        return [0, count]
    slices = np.stack([np.zeros(count), np.zeros(count), np.arange(count)], axis=1)
    # Along k alone: the other axes lie in the plane.
    offsets = acquisition.offsets(transform_points(grid.ijk_to_ras, slices))
    changes = np.flatnonzero(np.abs(np.diff(offsets, axis=0)).max(axis=1) > 0) + 1
    return [0, *(int(n) for n in changes), count]
