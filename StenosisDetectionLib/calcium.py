"""From a CT without contrast agent and regions drawn on it to a calcium score: what the command line and scripts call.

In: a `CTVolume` and a `LabelMap` in any grid, a label per artery. Out: a `CalciumScore`. Whether there is contrast
agent is asked of the header and of the blood of the aorta.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .geometry import spacing_of
from .progress import StageReport, no_report, part_of
from .stenosis.calcium_score import CalciumScore, calcium_score, refuse_contrast

if TYPE_CHECKING:
    from .study import CTVolume, LabelMap


def score_calcium(
    volume: CTVolume,
    regions: LabelMap,
    calibration_mg_per_hu_mm3: float | None = None,
    report: StageReport = no_report,
) -> CalciumScore:
    """Return the calcium score of the regions of a label map, with a part for each label.

    Labels named after the aorta are left out, since its calcium is none of the coronary arteries.

    Raises
    ------
    InputError : the volume was made with contrast agent or does not suit a calcium score, or no label lies in it.
    """
    from .segmentation import find_aorta

    names = {value: name for value, name in regions.names.items() if "aort" not in name.lower()}
    if not names:
        raise InputError("the label map of the calcium score holds no coronary artery: give a label per artery")
    refuse_contrast(volume)  # before the work
    aorta = find_aorta(volume, part_of(report, 0.0, 0.8))
    report(0.8, "scoring")
    labels = _on_grid_of(volume, regions)
    labels = np.where(np.isin(labels, list(names)), labels, 0)
    if not labels.any():
        raise InputError("the label map does not overlap the volume: give the one that was drawn on this study")
    blood_hu = aorta.attenuation_hu if np.isfinite(aorta.attenuation_hu) else None
    # The lumen of an angiogram, given as the regions, shows its contrast agent even without an aorta in the volume.
    refuse_contrast(volume, float(np.median(volume.voxels[labels > 0])))
    score = calcium_score(volume, labels, blood_hu, calibration_mg_per_hu_mm3, names)
    report(1.0, "scored")
    return score


def _on_grid_of(volume: CTVolume, regions: LabelMap) -> np.ndarray:
    """Return the labels [k, j, i] on the grid of the volume, each voxel that of the nearest."""
    if regions.labels.shape == volume.voxels.shape and np.allclose(regions.ijk_to_ras, volume.ijk_to_ras, atol=1e-3):
        return regions.labels
    from .segmentation.grid import as_image

    spacing = np.array(spacing_of(volume.ijk_to_ras))
    image = sitk.Resample(
        as_image(regions.labels, regions.ijk_to_ras),
        [int(n) for n in volume.size_ijk],
        sitk.Transform(),
        sitk.sitkNearestNeighbor,
        [float(x) for x in volume.ijk_to_ras[:3, 3]],
        [float(s) for s in spacing],
        [float(d) for d in (volume.ijk_to_ras[:3, :3] / spacing).ravel()],
        0,
    )
    return np.asarray(sitk.GetArrayFromImage(image))
