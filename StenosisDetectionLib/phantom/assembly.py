"""From solids and true vessels to a phantom: grid, rendering, noise, truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry import affine
from ..progress import StageReport, no_report, part_of
from ..study import CTVolume, LabelMap
from .noise import correlated_noise
from .render import Field, Painted, render
from .truth import (
    AORTA_LABEL,
    LUMEN_LABEL,
    LesionShape,
    Phantom,
    PhantomTruth,
    VesselTruth,
    lesion_truth,
    narrowed,
)

AXIAL = np.diag([-1.0, -1.0, 1.0])
"""Directions of an axial scan as in DICOM: i to the patient's left, j to the back, k to the head (columns, in RAS)."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid: size and affine to RAS."""

    size_ijk: tuple[int, int, int]
    ijk_to_ras: np.ndarray


@dataclass(frozen=True)
class Physics:
    """Point spread (sigma along the voxel axes, mm), standard deviation of the noise (HU) and its seed."""

    psf_sigma_mm: tuple[float, float, float]
    noise_hu: float
    seed: int = 0


def grid_around(
    low_ras: np.ndarray, high_ras: np.ndarray, spacing_mm: tuple[float, float, float], directions: np.ndarray = AXIAL
) -> Grid:
    """Return the grid of given spacing and directions (columns: i, j, k in RAS) that holds a box of RAS."""
    spacing = np.asarray(spacing_mm)
    corners = np.array(np.meshgrid(*zip(low_ras, high_ras, strict=True))).reshape(3, -1).T @ directions
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.round((high - low) / spacing).astype(int)
    middle = (low + high) / 2
    first = directions @ (middle - (size - 1) / 2 * spacing)
    return Grid((int(size[0]), int(size[1]), int(size[2])), affine(spacing, directions, first))


def render_study(
    kind: str,
    scene: Sequence[Painted],
    background_hu: float | Field,
    vessels: Sequence[VesselTruth],
    lesions: Sequence[LesionShape],
    grid: Grid,
    physics: Physics,
    attenuation_hu: dict[str, float],
    report: StageReport = no_report,
) -> Phantom:
    """Return the phantom of a scene whose true vessels, healthy as given, and lesions are known.

    The scene must hold the lesions already (`tree.tree_solids`, `arteries.artery_solids`) and label the lumen and the
    aorta. Voxels are whole HU, as scanners store them.
    """

    rendering = part_of(report, 0.0, 0.85)
    voxels, labels = render(scene, grid.size_ijk, grid.ijk_to_ras, physics.psf_sigma_mm, background_hu, rendering)
    report(0.85, "adding noise")
    volume = CTVolume(voxels, grid.ijk_to_ras, acquisition={"kvp": 120.0, "contrast_agent": True})
    voxels += correlated_noise(voxels.shape, volume.spacing_mm, physics.noise_hu, physics.seed)
    np.round(voxels, out=voxels)
    truth = study_truth(kind, vessels, lesions, physics, attenuation_hu)
    names = {LUMEN_LABEL: "Coronary lumen", AORTA_LABEL: "Aorta"}
    return Phantom(volume, truth, LabelMap(labels, grid.ijk_to_ras, names))


def study_truth(
    kind: str,
    vessels: Sequence[VesselTruth],
    lesions: Sequence[LesionShape],
    physics: Physics,
    attenuation_hu: dict[str, float],
) -> PhantomTruth:
    """Return the truth of the phantom that `render_study` makes."""
    by_name = {vessel.name: vessel for vessel in vessels}
    return PhantomTruth(
        kind=kind,
        vessels=tuple(narrowed(vessel, lesions) for vessel in vessels),
        lesions=tuple(lesion_truth(shape, by_name[shape.vessel]) for shape in lesions),
        psf_sigma_mm=physics.psf_sigma_mm,
        noise_hu=physics.noise_hu,
        seed=physics.seed,
        attenuation_hu=dict(attenuation_hu),
    )
