"""Training studies from the generator of synthetic hearts, rendered at the spacing of the network into a store.

Only the generator's training families are used; the held-out families stay for verification.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..models.network import COARSE_HEADS
from ..progress import StageReport, no_report
from .cases import CaseInformation, stored_cases, write_case
from .configuration import TrainingConfiguration

FIRST_SEED = 100_000
"""Seeds of training studies begin here, those of validation studies at `FIRST_VALIDATION_SEED`."""

FIRST_VALIDATION_SEED = 900_000

_FAMILY = "training"

_ZONE_MARGIN_MM = 4.0
"""The zone that the coarse network learns is wider than the generator's by this: what it misses is lost, what it finds
too much costs a tile."""

_HEART_MARGIN_MM = 3.0


def study_seeds(configuration: TrainingConfiguration, validation: bool) -> range:
    """Return the seeds of the synthetic studies of a training or of its validation."""
    if validation:
        return range(FIRST_VALIDATION_SEED, FIRST_VALIDATION_SEED + configuration.validation_studies)
    first = FIRST_SEED + 1000 * configuration.seed
    return range(first, first + configuration.studies)


def study_name(seed: int) -> str:
    """Return the name of a synthetic study in the store."""
    return f"synthetic-{seed:06d}"


def render_studies(
    store: Path, configuration: TrainingConfiguration, seeds: range, report: StageReport = no_report
) -> None:
    """Render the studies of the seeds that the store lacks.

    Raises
    ------
    Cancelled : from `report`; the study in work is dropped, the others stay.
    """
    present = set(stored_cases(store))
    for number, seed in enumerate(seeds):
        report(number / len(seeds), f"rendering study {number + 1} of {len(seeds)}")
        if study_name(seed) not in present:
            render_study(store, configuration, seed)


def render_study(store: Path, configuration: TrainingConfiguration, seed: int) -> Path:
    """Render the synthetic study of a seed and return its folder in the store."""
    from ..phantom.acquisition import sample_acquisition
    from ..phantom.heart import plan_heart
    from ..phantom.patches import render_coarse, render_training_volume

    plan = plan_heart(seed, _FAMILY)
    acquisition = sample_acquisition(seed, _FAMILY, plan)
    spacing = configuration.network.spacing_mm
    ignore = None
    if set(configuration.network.heads) <= set(COARSE_HEADS):
        view = render_coarse(plan, acquisition, spacing, seed)
        image, matrix = view.image, view.ijk_to_ras
        targets = {head: getattr(view, head) for head in COARSE_HEADS}
        targets["coronary_zone"] = _widened(view.coronary_zone, _ZONE_MARGIN_MM / spacing)
    else:
        volume = render_training_volume(plan, acquisition, spacing, seed, _HEART_MARGIN_MM)
        image, matrix, ignore = volume.image, volume.ijk_to_ras, _toward_ras(volume.ignore, volume.ijk_to_ras)
        targets = {
            "lumen": volume.lumen_fraction,
            "centerline_distance": volume.centerline_distance_mm,
            "ostium": volume.ostium,
            "vein": volume.vein_fraction,
        }
    aorta_hu = float(acquisition.hu_scale(np.array(plan.attenuation_hu["aorta"])))
    folder = store / study_name(seed)
    write_case(
        folder,
        CaseInformation(study_name(seed), "synthetic", spacing, aorta_hu, tuple(targets)),
        _toward_ras(image, matrix),
        {head: _toward_ras(target, matrix) for head, target in targets.items()},
        ignore,
    )
    return folder


def render_in_background(store: str, configuration: TrainingConfiguration, seeds: range) -> None:
    """Render studies as the work of a process of its own, which gives way to the training."""
    if hasattr(os, "nice"):
        os.nice(10)
    import torch

    torch.set_num_threads(1)
    render_studies(Path(store), configuration, seeds)


def _widened(mask: np.ndarray, voxels: float) -> np.ndarray:
    """Return a mask with everything within a number of voxels of it."""
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~mask) <= voxels if mask.any() else mask


def _toward_ras(array: np.ndarray, ijk_to_ras: np.ndarray) -> np.ndarray:
    """Return an array flipped so that i, j, k grow toward R, A, S, as all grids of the networks do."""
    signs = np.sign(np.diag(np.asarray(ijk_to_ras)[:3, :3]))
    return array[tuple(slice(None, None, -1 if sign < 0 else 1) for sign in signs[::-1])]
