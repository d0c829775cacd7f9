"""NRRD, NIfTI and MetaImage files through SimpleITK: one 3-D image, with its errors in one line.

In: a path. Out: a SimpleITK image of one component in three dimensions, and its affine in RAS.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..geometry import LPS_TO_RAS
from .files import check_complete, image_format, shown_name


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK's warnings, which carry full paths, off standard error."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def open_image(path: Path) -> sitk.ImageFileReader:
    """Return a reader whose header has been read, after the file was found complete.

    Raises
    ------
    InputError : the file is missing, empty, truncated, damaged or sheared.
    """
    check_complete(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet_itk():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise _one_line(path, str(error)) from None
    return reader


def load_image(path: Path, reader: sitk.ImageFileReader, pixel_type: int = sitk.sitkUnknown) -> sitk.Image:
    """Return the image of an opened file; a fourth axis of one entry is dropped.

    Raises
    ------
    InputError : the voxels cannot be read.
    """
    reader.SetOutputPixelType(pixel_type)
    if reader.GetDimension() > 3:
        reader.SetExtractSize([*reader.GetSize()[:3], *[0] * (reader.GetDimension() - 3)])
    try:
        with quiet_itk():
            return reader.Execute()
    except RuntimeError as error:
        raise _one_line(path, str(error)) from None


def volumes_in(reader: sitk.ImageFileReader) -> int:
    """Return how many volumes (phases, layers or components) an opened file holds."""
    return int(np.prod(reader.GetSize()[3:], dtype=np.int64)) * reader.GetNumberOfComponents()


def affine_of(image: sitk.Image) -> np.ndarray:
    """Return the 4 x 4 matrix from voxel indices to RAS of a 3-D SimpleITK image, which is in LPS."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ matrix


def orientation_warnings(path: Path, reader: sitk.ImageFileReader) -> tuple[str, ...]:
    """Return a warning when the file does not say how its axes lie in the patient."""
    kind, keys = image_format(path), set(reader.GetMetaDataKeys())
    if kind == "NIfTI":
        stated = any(reader.GetMetaData(key) != "0" for key in ("qform_code", "sform_code") if key in keys)
    elif kind == "NRRD":
        stated = "NRRD_space" in keys
    else:
        stated = True
    if stated:
        return ()
    return ("the file does not state its orientation: left, posterior, superior was assumed, so sides may be swapped",)


def _one_line(path: Path, text: str) -> InputError:
    """Return ITK's message of many lines, with paths and addresses, as one line of ours."""
    name = shown_name(path)
    if "orthonormal" in text or "determinant" in text:
        return InputError(
            f"the grid of {name} is sheared or its axes coincide: resample it to right angles "
            "first, for example in Slicer"
        )
    if "got only" in text or "but received" in text:
        return InputError(f"{name} is truncated: export or copy it again")
    if "allocat" in text.lower():
        return InputError(f"{name} does not fit into memory: crop it to the heart first")
    return InputError(f"{name} cannot be read as {image_format(path)}: export it again")
