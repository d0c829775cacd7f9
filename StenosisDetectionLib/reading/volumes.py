"""`read_volume`: any supported file or folder to a checked `CTVolume`."""

from pathlib import Path

import SimpleITK as sitk

from ..errors import InputError
from ..progress import StageReport, no_report
from ..study import CTVolume
from .checks import REFUSED_SLICE_SPACING_MM, check_volume
from .dicom import read_dicom
from .files import IMAGE_FORMATS, image_format, is_dicom, shown_name
from .images import affine_of, load_image, open_image, orientation_warnings, volumes_in


def read_volume(
    path: str | Path, report: StageReport = no_report, widest_mm: float = REFUSED_SLICE_SPACING_MM
) -> CTVolume:
    """Read a CT volume in HU and RAS.

    Parameters
    ----------
    path : a DICOM folder (searched with its subfolders), a DICOM file (stands for its whole series when the others are
        in the same folder), or a `.nrrd`, `.nhdr`, `.nii`, `.nii.gz`, `.mha` or `.mhd` file.
    report : progress of this stage; it may raise `Cancelled`.
    widest_mm : slices farther apart are refused; more than the default suits what needs no lumen (calcium scores).

    Raises
    ------
    InputError : one line that says what is wrong with the input and what to do.
    """
    path = Path(path).expanduser()
    name = shown_name(path)
    report(0.0, "reading")
    try:
        if not path.exists():
            raise InputError(f"{name} does not exist: check the path")
        if path.is_dir() or (image_format(path) is None and is_dicom(path)):
            volume = read_dicom(path, report, widest_mm)
        elif image_format(path) is not None:
            volume = _read_image(path, report)
        elif path.stat().st_size == 0:
            raise InputError(f"{name} is empty: export or copy it again")
        else:
            raise InputError(f"{name} has no known format: give a DICOM folder or one of {', '.join(IMAGE_FORMATS)}")
    except OSError:
        raise InputError(f"{name} cannot be opened: check its name and its permissions") from None
    report(0.95, "checking the volume")
    volume = check_volume(volume, widest_mm)
    report(1.0, "volume read")
    return volume


def _read_image(path: Path, report: StageReport) -> CTVolume:
    """Return the volume of an image file, unchecked."""
    reader = open_image(path)
    count, name = volumes_in(reader), shown_name(path)
    if reader.GetDimension() < 3:
        raise InputError(f"{name} is a single slice: choose the full series")
    if count > 1:
        raise InputError(f"{name} holds {count} volumes (4-D, phases or channels): save one phase as a file of its own")
    warnings = orientation_warnings(path, reader)
    report(0.3, "reading voxels")
    image = load_image(path, reader, sitk.sitkFloat32)
    report(0.8, "converting voxels")
    return CTVolume(
        voxels=sitk.GetArrayFromImage(image),
        ijk_to_ras=affine_of(image),
        source_format=image_format(path) or "",
        warnings=warnings,
    )
