"""Writes CT series as DICOM files, for tests: the other side of the reader, made with pydicom alone.

Every file carries an unmistakable patient (`PATIENT_WORDS`), so a test can look for it in whatever the product says.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

PATIENT_WORDS = ("Zyxwvut", "QRS-4711", "19310203", "ACC987654")
"""Name, identifier, birth date and accession number of every patient written here."""


def write_series(
    folder: Path,
    voxels: np.ndarray,
    ijk_to_ras: np.ndarray,
    *,
    slope: float | Sequence[float] = 1.0,
    intercept: float | Sequence[float] = -1024.0,
    stored: np.ndarray | None = None,
    tags: dict[str, Any] | None = None,
    slice_tags: Callable[[int], dict[str, Any]] | None = None,
    prefix: str = "image",
    order: Sequence[int] | None = None,
) -> list[Path]:
    """Write one slice per k of `voxels` [k, j, i] in HU and return the files in the order of k.

    Parameters
    ----------
    slope, intercept : the rescale, of all slices or of each.
    stored : stored values (int16 or uint16) to write instead of those of `voxels`.
    tags, slice_tags : DICOM keywords to set in all slices, or by k; None removes the keyword.
    order : instance number and file name of each k; by default those of k itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    series_uid, frame_uid, study_uid = generate_uid(), generate_uid(), generate_uid()
    paths = []
    for k in range(len(voxels)):
        a, b = (float(np.broadcast_to(value, len(voxels))[k]) for value in (slope, intercept))
        values = stored[k] if stored is not None else np.round((voxels[k] - b) / a).astype(np.int16)
        number = k if order is None else order[k]
        dataset = _dataset(folder / f"{prefix}{number:04d}.dcm", study_uid)
        dataset.SeriesInstanceUID = series_uid
        dataset.FrameOfReferenceUID = frame_uid
        dataset.SeriesNumber = 4
        dataset.InstanceNumber = number + 1
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.ImagePositionPatient = [f"{x:.8g}" for x in lps[:3, :3] @ [0, 0, k] + lps[:3, 3]]
        dataset.ImageOrientationPatient = [f"{x:.9g}" for x in (lps[:3, :2] / spacing[:2]).T.ravel()]
        dataset.PixelSpacing = [f"{spacing[1]:.9g}", f"{spacing[0]:.9g}"]
        dataset.SliceThickness = f"{spacing[2]:.9g}"
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{a:.12g}", f"{b:.12g}"
        dataset.KVP = 120
        dataset.ConvolutionKernel = "Bv40"
        dataset.Manufacturer = "SYNTHETIC"
        _set_pixels(dataset, values)
        for keyword, value in {**(tags or {}), **(slice_tags(k) if slice_tags else {})}.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)
        path = Path(dataset.filename)
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def write_other(path: Path, modality: str, sop_class: str) -> Path:
    """Write a DICOM object without pixels, for example a structured report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = _dataset(path, generate_uid())
    dataset.Modality, dataset.SOPClassUID = modality, sop_class
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SeriesInstanceUID = generate_uid()
    dataset.save_as(path, enforce_file_format=True)
    return path


def _dataset(path: Path, study_uid: str) -> Dataset:
    """Return a dataset with the patient, the study and the file meta information."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    name, identifier, birth, accession = PATIENT_WORDS
    dataset.PatientName, dataset.PatientID = f"{name}^Jane", identifier
    dataset.PatientBirthDate, dataset.AccessionNumber = birth, accession
    dataset.SeriesDescription = f"coronary CTA of {name}"
    dataset.StudyInstanceUID = study_uid
    dataset.Modality = "CT"
    return dataset


def _set_pixels(dataset: Dataset, values: np.ndarray) -> None:
    """Store a slice of 16-bit values."""
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(np.issubdtype(values.dtype, np.signedinteger))
    dataset.PixelData = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
