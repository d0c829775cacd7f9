"""The task `coronary_arteries` of TotalSegmentator, when that package is installed.

Its weights come from its own makers under their own license (free for non-commercial use after registration at the
time of writing). Its usage statistics are switched off before it runs.
"""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np

from ..errors import ModelError
from ..study import CTVolume

NAME = "totalsegmentator"
TASK = "coronary_arteries"
DESCRIPTION = "TotalSegmentator's coronary_arteries, when that package is installed; voxels of 0.7 mm."
LICENSE = "weights: TotalSegmentator's own license, see its README; code: Apache-2.0"

_MISSING = (
    "the model 'totalsegmentator' needs the package TotalSegmentator: install it with 'pip install TotalSegmentator'"
)


def require_package() -> None:
    """Raise what to do when TotalSegmentator is not installed (ModelError)."""
    if importlib.util.find_spec("totalsegmentator") is None:
        raise ModelError(_MISSING)


def package_version() -> str:
    """Return the version of the installed package."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("TotalSegmentator")
    except PackageNotFoundError:
        return "unknown"


def lumen_mask(volume: CTVolume, device: str) -> np.ndarray:
    """Return the coronary arteries as float32 [k, j, i], 0 or 1, on the grid of the volume.

    Raises
    ------
    ModelError : the package or its license is missing, or it failed.
    """
    require_package()
    switch_statistics_off()
    import nibabel
    from totalsegmentator.python_api import totalsegmentator

    image = nibabel.Nifti1Image(volume.voxels.transpose(2, 1, 0), volume.ijk_to_ras)
    target = "gpu" if device.startswith("cuda") else device
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = totalsegmentator(
                image, Path(folder), ml=True, task=TASK, device=target, quiet=True, skip_saving=True
            )
    except SystemExit:  # how it ends without a license
        raise ModelError(
            "TotalSegmentator wants a license for coronary_arteries: get one from its makers (totalseg_set_license)"
        ) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"TotalSegmentator failed ({' '.join(str(error).split())[:160]})") from None
    return np.ascontiguousarray(np.asarray(result.dataobj).transpose(2, 1, 0) > 0, dtype=np.float32)


def switch_statistics_off() -> None:
    """Tell TotalSegmentator not to send usage statistics."""
    from totalsegmentator.config import set_config_key, setup_totalseg

    setup_totalseg()
    set_config_key("send_usage_stats", False)
