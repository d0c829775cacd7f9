"""DICOM headers of a folder: what geometry, choice and rescale need, and nothing of the patient.

In: a folder or file. Out: one `SliceHeader` per image and a count of what was left aside. Pixels are not touched.
"""

import hashlib
import os
import re
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..progress import StageReport
from .files import is_dicom

_TAGS = [
    "Modality",
    "ImageType",
    "PatientID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "ProtocolName",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "KVP",
    "ContrastBolusAgent",
    "ConvolutionKernel",
    "Manufacturer",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
]
_SAFE_TEXT = re.compile(r"[^A-Za-z0-9 .,+/_-]")


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """One DICOM image.

    Positions and directions are LPS in mm, NaN where the header states none. `patient_key` is a hash that tells
    patients apart, `description` is searched for words; neither is ever shown. `phase` holds what may tell
    images at the same position apart, in the order of preference.
    """

    path: Path
    series_uid: str
    patient_key: str
    series_number: int | None
    modality: str
    image_type: tuple[str, ...]
    description: str
    position: np.ndarray
    row_direction: np.ndarray
    column_direction: np.ndarray
    pixel_spacing: tuple[float, float]
    rows: int
    columns: int
    frames: int
    samples: int
    rescale_type: str
    slope: float
    intercept: float
    padding: tuple[float, float] | None
    phase: dict[str, float]
    acquisition: dict[str, str | float | bool]

    @property
    def placed(self) -> bool:
        """Whether the header states where the image lies in the patient."""
        geometry = (self.position, self.row_direction, self.column_direction, self.pixel_spacing)
        return all(np.isfinite(part).all() for part in geometry) and min(self.pixel_spacing) > 0


@dataclass
class Folder:
    """The DICOM files of a folder: images by header, and how many files were left aside and why."""

    headers: list[SliceHeader] = field(default_factory=list)
    other_objects: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    foreign: int = 0


def scan(paths: list[Path], report: StageReport) -> Folder:
    """Read the headers of all DICOM files among paths; files that are not DICOM or broken are counted."""
    folder = Folder()
    for number, path in enumerate(paths):
        if number % 50 == 0:
            report(0.3 * number / len(paths), "reading DICOM headers")
        try:
            if path.name.upper() == "DICOMDIR":
                continue
            if path.stat().st_size == 0:
                folder.unreadable += 1
            elif not is_dicom(path):
                folder.foreign += 1
            else:
                header = read_header(path)
                if header.rows and header.columns and header.modality not in ("SEG", "RTDOSE"):
                    folder.headers.append(header)
                else:
                    folder.other_objects[header.modality] += 1
        # pydicom raises many kinds of errors for damaged files, whose texts quote the values; they are counted.
        except Exception:
            folder.unreadable += 1
    return folder


def files_below(root: Path) -> list[Path]:
    """Return all files of a folder and its subfolders, in a fixed order."""
    return sorted(Path(where) / name for where, _, names in os.walk(root) for name in names)


def read_header(path: Path) -> SliceHeader:
    """Return the header of one DICOM file; any exception of pydicom, or ValueError, when it is damaged."""
    import pydicom

    with warnings.catch_warnings():
        # pydicom's warnings quote the values they complain about.
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS, force=True)
        if not dataset.get("Modality"):
            # pydicom reads garbage behind the DICOM mark as an empty dataset.
            raise ValueError("no modality")
        return _header(path, dataset)


def _header(path: Path, dataset: Any) -> SliceHeader:
    """Return the plain data of a pydicom dataset."""
    position = _numbers(dataset.get("ImagePositionPatient"), 3)
    orientation = _numbers(dataset.get("ImageOrientationPatient"), 6)
    spacing = _numbers(dataset.get("PixelSpacing"), 2)
    slope, intercept = _number(dataset.get("RescaleSlope")), _number(dataset.get("RescaleIntercept"))
    slope, intercept = (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)
    number = _number(dataset.get("SeriesNumber"))
    description = f"{dataset.get('SeriesDescription', '')} {dataset.get('ProtocolName', '')}".lower()
    return SliceHeader(
        path=path,
        series_uid=str(dataset.get("SeriesInstanceUID", "") or ""),
        patient_key=hashlib.sha256(str(dataset.get("PatientID", "") or "").encode()).hexdigest(),
        series_number=None if number is None else int(number),
        modality=_code(dataset.get("Modality")),
        image_type=tuple(str(word).upper() for word in _values(dataset.get("ImageType"))),
        description=description,
        position=position,
        row_direction=orientation[:3],
        column_direction=orientation[3:],
        pixel_spacing=(float(spacing[0]), float(spacing[1])),
        rows=int(dataset.get("Rows") or 0),
        columns=int(dataset.get("Columns") or 0),
        frames=int(dataset.get("NumberOfFrames") or 1),
        samples=int(dataset.get("SamplesPerPixel") or 1),
        rescale_type=str(dataset.get("RescaleType", "") or "").upper(),
        slope=slope,
        intercept=intercept,
        padding=_padding_hu(dataset, slope, intercept),
        phase=_phase(dataset),
        acquisition=_acquisition(dataset),
    )


def _padding_hu(dataset: Any, slope: float, intercept: float) -> tuple[float, float] | None:
    """Return the range of padding in HU (DICOM PS3.3 C.7.5.1.1.2), or None."""
    first = _number(dataset.get("PixelPaddingValue"))
    if first is None:
        return None
    last = _number(dataset.get("PixelPaddingRangeLimit"))
    signed = int(dataset.get("PixelRepresentation") or 0) == 1
    # Writers often give the two's complement of a negative value in the unsigned representation.
    stored = [
        value - 65536 if signed and value > 32767 else value for value in (first, first if last is None else last)
    ]
    ends = sorted(slope * value + intercept for value in stored)
    return ends[0], ends[1]


def _phase(dataset: Any) -> dict[str, float]:
    """Return what may tell phases apart, the most telling first."""
    sources = (
        ("percent", "NominalPercentageOfCardiacPhase"),
        ("ms", "TriggerTime"),
        ("time", "TemporalPositionIdentifier"),
        ("acquisition", "AcquisitionNumber"),
    )
    found = {name: _number(dataset.get(tag)) for name, tag in sources}
    return {name: value for name, value in found.items() if value is not None}


def _acquisition(dataset: Any) -> dict[str, str | float | bool]:
    """Return what the report may say of the scan."""
    facts: dict[str, str | float | bool] = {}
    for name, tag in (("kvp", "KVP"), ("slice_thickness_mm", "SliceThickness")):
        number = _number(dataset.get(tag))
        if number is not None and number > 0:
            facts[name] = number
    for name, tag in (("kernel", "ConvolutionKernel"), ("manufacturer", "Manufacturer")):
        text = _SAFE_TEXT.sub("", " ".join(str(word) for word in _values(dataset.get(tag)))).strip()[:32]
        if text:
            facts[name] = text
    percent = _phase(dataset).get("percent")
    if percent is not None:
        facts["cardiac_phase_percent"] = percent
    agent = str(dataset.get("ContrastBolusAgent", "") or "").strip().lower()
    if agent:
        facts["contrast_agent"] = agent not in ("no", "none", "n", "0", "without")
    return facts


def _values(value: Any) -> list[Any]:
    """Return a DICOM value of any multiplicity as a list."""
    if value is None or value == "":
        return []
    return [value] if isinstance(value, (str, int, float)) else list(value)


def _number(value: Any) -> float | None:
    """Return the first number of a DICOM value, None where there is none or it is not finite."""
    for item in _values(value)[:1]:
        try:
            number = float(item)
        except (TypeError, ValueError):
            return None
        return number if np.isfinite(number) else None
    return None


def _numbers(value: Any, count: int) -> np.ndarray:
    """Return a DICOM value as an array of that many numbers, NaN where it does not have them."""
    try:
        numbers = np.array([float(item) for item in _values(value)])
    except (TypeError, ValueError):
        numbers = np.array([])
    return numbers if numbers.shape == (count,) else np.full(count, np.nan)


def _code(value: Any) -> str:
    """Return a coded word such as a modality, cleaned for messages."""
    return re.sub(r"[^A-Z0-9]", "", str(value or "").upper())[:16] or "unknown"
