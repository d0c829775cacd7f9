"""Writes the volume of a phantom as a DICOM CT series, as scanners store it or as they should not.

The files hold no patient: name, identifier and dates are empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..geometry import LPS_TO_RAS
from .truth import Phantom


@dataclass(frozen=True)
class Storage:
    """How a series is stored.

    Parameters
    ----------
    slope, intercept : rescale from stored values to HU.
    signed : whether stored values are signed.
    reversed_files : number the files against the order of the slices.
    shear : shift of each slice along j per mm along k, as a tilted gantry without correction makes it.
    """

    slope: float = 1.0
    intercept: float = -1024.0
    signed: bool = True
    reversed_files: bool = False
    shear: float = 0.0


def write_series(study: Phantom, folder: Path, storage: Storage = Storage()) -> None:
    """Write one file a slice into a new folder."""
    from pydicom.uid import generate_uid

    folder.mkdir(parents=True)
    matrix = LPS_TO_RAS @ study.volume.ijk_to_ras
    directions = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    series = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    dtype = np.int16 if storage.signed else np.uint16
    for k, plane in enumerate(study.volume.voxels):
        away = storage.shear * k * study.volume.spacing_mm[2] * directions[:, 1]
        position = matrix[:3, 3] + matrix[:3, 2] * k + away
        number = len(study.volume.voxels) - k if storage.reversed_files else k + 1
        values = np.round((plane - storage.intercept) / storage.slope).astype(dtype)
        _write_slice(folder / f"slice{number:04d}.dcm", values, position, directions, study, storage, number, series)


def _write_slice(
    path: Path,
    values: np.ndarray,
    position: np.ndarray,
    directions: np.ndarray,
    study: Phantom,
    storage: Storage,
    number: int,
    series: Mapping[str, str],
) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    for name, uid in series.items():
        setattr(dataset, name, uid)
    dataset.PatientName = dataset.PatientID = dataset.PatientBirthDate = dataset.AccessionNumber = ""
    dataset.StudyDate = dataset.StudyTime = ""
    dataset.Modality, dataset.Manufacturer, dataset.ConvolutionKernel = "CT", "SYNTHETIC", "PHANTOM"
    dataset.SeriesDescription, dataset.SeriesNumber, dataset.InstanceNumber = "coronary CTA phantom", 1, number
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    x, y, z = study.volume.spacing_mm
    dataset.ImagePositionPatient = [f"{value:.8g}" for value in position]
    dataset.ImageOrientationPatient = [f"{value:.9g}" for value in directions[:, :2].T.ravel()]
    dataset.PixelSpacing = [f"{y:.9g}", f"{x:.9g}"]
    dataset.SliceThickness = f"{z:.9g}"
    dataset.KVP = str(study.volume.acquisition.get("kvp", 120))
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{storage.slope:.12g}", f"{storage.intercept:.12g}"
    dataset.RescaleType = "HU"
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(storage.signed)
    dataset.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    dataset.save_as(path, enforce_file_format=True)
