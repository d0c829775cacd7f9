"""`read_dicom`: a DICOM folder or file to a `CTVolume`, headers through pydicom and pixels through SimpleITK (GDCM).

Each slice is decoded on its own, so GDCM applies the rescale slope and intercept of that slice.
"""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..progress import StageReport
from ..study import CTVolume
from .checks import AIR_HU, REFUSED_SLICE_SPACING_MM
from .dicom_choice import choose_series
from .dicom_geometry import Grid
from .dicom_headers import Folder, SliceHeader, files_below, read_header, scan
from .images import quiet_itk

TISSUE_HU = (-900.0, 3000.0)
"""A padding value between these would be tissue: headers copied from another image say so, and it is not applied."""

_log = logging.getLogger(__name__)


def read_dicom(path: Path, report: StageReport, widest_mm: float = REFUSED_SLICE_SPACING_MM) -> CTVolume:
    """Return the CT volume of a DICOM folder (searched with its subfolders) or of the series of one file, unchecked.

    Series whose slices stand farther apart than `widest_mm` are left out.

    Raises
    ------
    InputError : no usable CT series; the message is one line.
    """
    folder = scan(files_below(path), report) if path.is_dir() else _series_of(path, report)
    chosen, notes = choose_series(folder, widest_mm)
    assert chosen.grid is not None
    for note in notes:
        _log.info(note)
    if folder.unreadable:
        count = folder.unreadable
        notes += (f"{count} {'file' if count == 1 else 'files'} could not be read as DICOM (empty or damaged)",)
    voxels, padding_notes = _pixels(chosen.grid, report)
    return CTVolume(
        voxels=voxels,
        ijk_to_ras=chosen.grid.ijk_to_ras,
        modality="CT",
        source_format="DICOM",
        acquisition=chosen.grid.slices[0].acquisition,
        warnings=notes + chosen.grid.warnings + padding_notes,
    )


def _series_of(path: Path, report: StageReport) -> Folder:
    """Return the slices that stand in the same folder and series as one file."""
    try:
        header = read_header(path)
    # pydicom raises many kinds of errors for damaged files, whose texts quote the values.
    except Exception:
        raise InputError("the DICOM file is truncated or damaged: copy it again") from None
    folder = scan(sorted(item for item in path.parent.iterdir() if item.is_file()), report)
    folder.headers = [other for other in folder.headers if other.series_uid == header.series_uid]
    if not folder.headers:
        folder.other_objects = Counter([header.modality])
    return folder


def _pixels(grid: Grid, report: StageReport) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the HU of all slices [k, j, i] with padding set to air, and warnings."""
    first = grid.slices[0]
    voxels = np.empty((len(grid.slices), first.rows, first.columns), dtype=np.float32)
    doubtful = False
    for k, header in enumerate(grid.slices):
        if k % 20 == 0:
            report(0.3 + 0.6 * k / len(grid.slices), f"reading slice {k + 1} of {len(grid.slices)}")
        voxels[k] = _slice(header, k)
        if header.padding is None:
            continue
        low, high = header.padding
        if high < TISSUE_HU[0] or low > TISSUE_HU[1]:
            half_step = 0.25 * abs(header.slope)
            voxels[k][(voxels[k] >= low - half_step) & (voxels[k] <= high + half_step)] = AIR_HU
        else:
            doubtful = True
    if doubtful:
        return voxels, ("the padding value of the header lies among tissue values and was not applied",)
    return voxels, ()


def _slice(header: SliceHeader, k: int) -> np.ndarray:
    """Return the HU of one slice [j, i]."""
    try:
        with quiet_itk():
            array = sitk.GetArrayFromImage(sitk.ReadImage(str(header.path), sitk.sitkFloat32, imageIO="GDCMImageIO"))
    except RuntimeError:
        array = None
    if array is None or array.reshape(-1).size != header.rows * header.columns:
        number = "" if header.series_number is None else f" of series {header.series_number}"
        raise InputError(f"slice {k + 1}{number} is truncated or damaged: copy or export the series again")
    return array.reshape(header.rows, header.columns)
