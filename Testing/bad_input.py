"""A corpus of inputs that must be refused, made on the fly: each with the words its one-line refusal must contain.

`make` writes the input into an empty folder and returns the path to give to the product.
"""

import gzip
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from dicom_writer import write_other, write_series
from pydicom.uid import ComprehensiveSRStorage

from StenosisDetectionLib.geometry import affine


@dataclass(frozen=True)
class BadInput:
    """One bad input: its name, how to make it, and words of the refusal."""

    name: str
    make: Callable[[Path], Path]
    words: str


def chest(size_ijk: tuple[int, int, int] = (24, 22, 20)) -> np.ndarray:
    """Return a small volume [k, j, i] of whole HU with lung, fat, muscle, blood and nothing symmetric."""
    i, j, k = np.meshgrid(*[np.arange(n) for n in size_ijk], indexing="ij")
    values = -850 + 41 * i + 7 * j + 3 * k + 20 * ((i * j + k) % 5)
    return np.ascontiguousarray(values.T).astype(np.float32)


def grid(spacing: tuple[float, float, float] = (0.4, 0.45, 0.5)) -> np.ndarray:
    """Return an axial affine in RAS: i to the left, j to the back, k up."""
    return affine(np.array(spacing), np.diag([-1.0, -1.0, 1.0]), np.array([31.0, -42.0, 107.0]))


def image(voxels: np.ndarray, spacing: tuple[float, float, float] = (0.4, 0.45, 0.5)) -> sitk.Image:
    """Return voxels [k, j, i] as a SimpleITK image."""
    result = sitk.GetImageFromArray(voxels)
    result.SetSpacing([*spacing, 1.0][: result.GetDimension()])
    return result


def _file(
    name: str, voxels: np.ndarray, spacing: tuple[float, float, float] = (0.4, 0.45, 0.5)
) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        sitk.WriteImage(image(voxels, spacing), str(folder / name))
        return folder / name

    return make


def _bytes(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _cut(name: str, part: float, compress: bool = False) -> Callable[[Path], Path]:
    """Return the maker of an image file of which only the first part is there."""

    def make(folder: Path) -> Path:
        path = folder / name
        sitk.WriteImage(image(chest().astype(np.int16)), str(path), compress)
        data = path.with_suffix(".raw") if path.suffix == ".mhd" else path
        os.truncate(data, int(part * data.stat().st_size))
        return path

    return make


def _with_value(value: float) -> np.ndarray:
    voxels = chest()
    voxels[3, 4, 5] = value
    return voxels


def _sheared_nrrd(folder: Path) -> Path:
    voxels = chest().astype("<i2")
    k, j, i = voxels.shape
    header = (
        f"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: {i} {j} {k}\n"
        "space directions: (0.5,0,0) (0,0.5,0) (0.1,0,0.5)\nspace origin: (1,2,3)\nkinds: domain domain domain\n"
        "endian: little\nencoding: raw\n\n"
    )
    return _bytes("sheared.nrrd", header.encode() + voxels.tobytes())(folder)


def _nifti_with(name: str, sform: tuple[float, ...]) -> Callable[[Path], Path]:
    """Return the maker of a NIfTI file whose position is given by the twelve numbers of its sform alone."""

    def make(folder: Path) -> Path:
        path = _file(name, chest().astype(np.int16))(folder)
        content = bytearray(path.read_bytes())
        struct.pack_into("<2h", content, 252, 0, 1)
        struct.pack_into("<12f", content, 280, *sform)
        path.write_bytes(content)
        return path

    return make


def _four_dimensional(folder: Path) -> Path:
    sitk.WriteImage(sitk.JoinSeries([image(chest() + n) for n in range(3)]), str(folder / "v.nii.gz"))
    return folder / "v.nii.gz"


def _missing_voxels(folder: Path) -> Path:
    path = _file("volume.mhd", chest().astype(np.int16))(folder)
    path.with_suffix(".raw").unlink()
    return path


def _series(**arguments: object) -> Callable[[Path], Path]:
    """Return the maker of a DICOM series of the chest; `drop` leaves out some k."""
    drop = arguments.pop("drop", ())
    spacing = arguments.pop("spacing", (0.4, 0.45, 0.5))

    def make(folder: Path) -> Path:
        for k, path in enumerate(write_series(folder / "series", chest(), grid(spacing), **arguments)):
            if k in drop:
                path.unlink()
        return folder / "series"

    return make


def _uneven(k: int) -> dict[str, object]:
    return {"ImagePositionPatient": ["-31", "42", str(107 + 0.5 * k + (0.2 if k == 7 else 0.0))]}


def _tilted(k: int) -> dict[str, object]:
    return {"ImagePositionPatient": ["-31", str(42 + 0.1 * k), str(107 + 0.5 * k)]}


def _shifted_sideways(k: int) -> dict[str, object]:
    return {"ImagePositionPatient": [str(-31 + (3.0 if k == 9 else 0.0)), "42", str(107 + 0.5 * k)]}


def _phases(folder: Path, tag: str | None, numbers: tuple[float, ...]) -> Path:
    uid = {"SeriesInstanceUID": "1.2.3.4.5.6.7"}
    for number in numbers:
        tags = {**uid, tag: number} if tag else uid
        write_series(folder / "series", chest() + number, grid(), tags=tags, prefix=f"phase{number:.0f}_")
    return folder / "series"


def _truncated_slice(folder: Path) -> Path:
    paths = write_series(folder / "series", chest(), grid())
    os.truncate(paths[5], paths[5].stat().st_size - 300)
    return folder / "series"


def _two_patients(folder: Path) -> Path:
    write_series(folder / "both", chest(), grid(), prefix="a")
    write_series(folder / "both", chest(), grid(), prefix="b", tags={"PatientID": "another"})
    return folder / "both"


def _report_only(folder: Path) -> Path:
    write_other(folder / "study" / "sr.dcm", "SR", ComprehensiveSRStorage)
    return folder / "study"


def _damaged_dicom(folder: Path) -> Path:
    return _bytes("broken.dcm", b"\0" * 128 + b"DICM" + bytes(range(256)) * 4)(folder)


def _empty_folder(folder: Path) -> Path:
    (folder / "nothing").mkdir()
    return folder / "nothing"


_LABELS = (chest() > 0).astype(np.uint8)
_GZIPPED_NOISE = gzip.compress(np.random.default_rng(1).bytes(2000))
_MULTIFRAME = {"NumberOfFrames": 20, "ImagePositionPatient": None}

BAD_INPUTS = (
    BadInput("absent", lambda folder: folder / "absent.nrrd", "does not exist"),
    BadInput("unknown extension", _bytes("volume.docx", b"PK" + b"x" * 300), "no known format"),
    BadInput("empty without extension", _bytes("volume", b""), "is empty"),
    *(
        BadInput(f"empty {name}", _bytes(name, b""), f"{name} is empty")
        for name in ("v.nrrd", "v.nii", "v.nii.gz", "v.mha", "v.mhd")
    ),
    *(
        BadInput(f"garbage {name}", _bytes(name, np.random.default_rng(0).bytes(5000)), words)
        for name, words in (
            ("v.nrrd", "not an NRRD file"),
            ("v.nii", "not a NIfTI file"),
            ("v.nii.gz", "damaged"),
            ("v.mha", "not a MetaImage file"),
            ("v.mhd", "not a MetaImage file"),
        )
    ),
    BadInput("gzipped garbage", _bytes("v.nii.gz", _GZIPPED_NOISE), "not a NIfTI file"),
    *(
        BadInput(f"cut {name} at {part} {compress}", _cut(name, part, compress), words)
        for name, compress, words in (
            ("v.nrrd", False, "truncated"),
            ("v.nrrd", True, "truncated"),
            ("v.nii", False, "truncated"),
            ("v.nii.gz", True, "truncated or damaged"),
            ("v.mha", False, "truncated"),
            ("v.mha", True, "truncated"),
            ("v.mhd", False, "truncated"),
        )
        for part in (0.3, 0.97)
    ),
    BadInput("MetaImage without voxels", _missing_voxels, "voxels of volume.mhd are missing"),
    BadInput("two-dimensional", _file("v.nrrd", chest()[0]), "single slice"),
    BadInput("four-dimensional", _four_dimensional, "holds 3 volumes"),
    BadInput("vector image", _file("v.nrrd", np.stack([chest(), chest()], axis=-1)), "holds 2 volumes"),
    BadInput("few slices", _file("v.nrrd", chest((24, 22, 12))), "only 12 slices"),
    BadInput("slices too far apart", _file("v.nrrd", chest(), (0.4, 0.4, 2.0)), "2.00 mm apart, at most 1.5 mm"),
    BadInput("spacing in meters", _file("v.nrrd", chest(), (0.0004, 0.0004, 0.0005)), "not plausible"),
    BadInput("not a number", _file("v.nrrd", _with_value(np.nan)), "1 voxels are not finite"),
    BadInput("infinite", _file("v.mha", _with_value(-np.inf)), "1 voxels are not finite"),
    BadInput("label map", _file("v.nii.gz", _LABELS), "is a label map"),
    BadInput("label map as float", _file("v.nrrd", 7 * _LABELS.astype(np.float32)), "is a label map"),
    BadInput("normalized", _file("v.nrrd", (chest() + 900) / 2000), "not a CT in HU"),
    BadInput("constant", _file("v.nrrd", np.full((20, 20, 20), -1000.0, np.float32)), "not a CT in HU"),
    BadInput("stored values", _file("v.nrrd", (chest() + 1024).astype(np.uint16)), "are not HU"),
    BadInput(
        "stored values with padding", _file("v.nrrd", np.where(chest() < -700, -2000, chest() + 1024)), "are not HU"
    ),
    BadInput("sign lost", _file("v.nrrd", chest().astype(np.int16).view(np.uint16)), "without their sign"),
    BadInput("sheared NRRD", _sheared_nrrd, "sheared by 11.3 degrees"),
    BadInput("sheared NIfTI", _nifti_with("v.nii", (0.5, 0, 0.1, 0, 0, 0.5, 0, 0, 0, 0, 0.5, 0)), "sheared"),
    BadInput("position not a number", _nifti_with("v.nii", (np.nan, *[0.0] * 11)), "not given by finite numbers"),
    BadInput("empty folder", _empty_folder, "no DICOM files in the folder (0 other files)"),
    BadInput("report only", _report_only, "no CT volume in the input (it holds 1 SR objects)"),
    BadInput("magnetic resonance", _series(tags={"Modality": "MR"}), "it holds 20 MR images"),
    BadInput("localizer", _series(tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}), "20 localizers"),
    BadInput("spectral map", _series(tags={"RescaleType": "Z_EFF"}), "20 spectral maps"),
    BadInput("without position", _series(tags={"ImagePositionPatient": None}), "20 images without position"),
    BadInput("multi-frame", _series(tags=_MULTIFRAME), "enhanced multi-frame CT is not read directly"),
    BadInput("short series", _series(drop=range(10, 20)), "only 10 slices"),
    BadInput("missing slice", _series(drop=(6,)), "1 slice is missing, between 109.5 and 110.5 mm"),
    BadInput("missing slices", _series(drop=(3, 11, 12)), "3 slices are missing"),
    BadInput("uneven slices", _series(slice_tags=_uneven), "unevenly spaced, 0.30 to 0.70 mm"),
    BadInput("gantry tilt", _series(slice_tags=_tilted), "11.3 degrees to their normal (gantry tilt)"),
    BadInput("sideways", _series(slice_tags=_shifted_sideways), "shifted sideways by up to 3.0 mm"),
    BadInput("thick series", _series(spacing=(0.4, 0.45, 2.0)), "2.00 mm apart, at most 1.5 mm"),
    BadInput(
        "phases by percentage",
        lambda folder: _phases(folder, "NominalPercentageOfCardiacPhase", (35, 75)),
        "4-D, with 2 cardiac phases (35 %, 75 %)",
    ),
    BadInput(
        "phases by trigger",
        lambda folder: _phases(folder, "TriggerTime", (100, 350, 600)),
        "4-D, with 3 trigger times (100 ms, 350 ms, 600 ms)",
    ),
    BadInput("phases without a name", lambda folder: _phases(folder, None, (10, 20)), "2 different images at each"),
    BadInput("truncated slice", _truncated_slice, "slice 6 of series 4 is truncated or damaged"),
    BadInput("two patients", _two_patients, "CT series of 2 patients"),
    BadInput("damaged DICOM file", _damaged_dicom, "truncated or damaged"),
    BadInput("no rescale", _series(tags={"RescaleSlope": None, "RescaleIntercept": None}), "are not HU"),
)
