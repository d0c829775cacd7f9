"""Writes a phantom: the volume, the true labels (both NRRD) and the truth (JSON) in one folder."""

import json
import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..geometry import LPS_TO_RAS, spacing_of
from ..study import LabelMap
from .truth import Phantom, PhantomTruth, VesselTruth

TRUTH_SCHEMA = "stenosis-detection/phantom-truth/1"
TRUTH_FILE = "truth.json"
LABELS_FILE = "truth.seg.nrrd"
DICOM_FOLDER = "dicom"
_LABEL_KEYS = {"coronary_lumen": 1, "aorta": 2, "cardiac_veins": 3, "small_coronary_branches": 4}
_COLORS = {1: "0.9 0.2 0.2", 2: "0.9 0.6 0.5", 3: "0.3 0.4 0.9", 4: "0.9 0.5 0.2"}


def check_directory(directory: Path, overwrite: bool) -> None:
    """Refuse a folder that `write_phantom` would have to refuse, before the phantom is rendered.

    Raises
    ------
    InputError : the folder exists, and is neither empty nor a phantom that may be overwritten.
    """
    if not directory.exists():
        return
    if not directory.is_dir():
        raise InputError(f"the output '{directory.name}' is a file: choose a folder")
    names = {path.name for path in directory.iterdir()}
    if not names:
        return
    if not overwrite:
        raise InputError(f"the folder '{directory.name}' exists already: choose another one or add --overwrite")
    # The whole folder is replaced, so it must hold nothing else.
    names -= {DICOM_FOLDER}
    volumes = [name for name in names - {TRUTH_FILE, LABELS_FILE} if name.endswith(".nrrd")]
    if not {TRUTH_FILE, LABELS_FILE} <= names or len(names) != 3 or len(volumes) != 1:
        raise InputError(f"the folder '{directory.name}' holds more than a phantom: choose another folder")


def write_phantom(
    study: Phantom,
    directory: Path,
    overwrite: bool = False,
    write_dicom: Callable[[Phantom, Path], object] | None = None,
) -> Path:
    """Write `<kind>.nrrd`, `truth.seg.nrrd` and `truth.json` into a folder, which is then complete or absent.

    `write_dicom` is given the phantom and the folder `dicom` inside, to write the volume there, too.

    Returns
    -------
    Path of the volume.

    Raises
    ------
    InputError : the folder exists and may not be replaced, or it cannot be written.
    """
    directory = Path(directory)
    check_directory(directory, overwrite)
    beside: Path | None = None
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        name = f"{study.truth.kind}.nrrd"
        write_image(study.volume.voxels.astype(np.int16), study.volume.ijk_to_ras, beside / name, {})
        write_image(study.lumen.labels, study.lumen.ijk_to_ras, beside / LABELS_FILE, _segment_fields(study.lumen))
        (beside / TRUTH_FILE).write_text(json.dumps(truth_as_dict(study.truth), allow_nan=False) + "\n")
        if write_dicom is not None:
            write_dicom(study, beside / DICOM_FOLDER)
        beside.chmod(0o755)
        if directory.exists():
            shutil.rmtree(directory)
        beside.replace(directory)
    except OSError as error:
        raise InputError(
            f"cannot write the folder '{directory.name}' ({error.strerror}): choose another folder"
        ) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
    return directory / name


def truth_as_dict(truth: PhantomTruth) -> dict[str, object]:
    """Return the truth as JSON values; unknown numbers are None."""
    return {
        "schema": TRUTH_SCHEMA,
        "kind": truth.kind,
        "coordinate_system": truth.coordinate_system,
        "units": {"length": "mm", "intensity": "HU"},
        "seed": truth.seed,
        "psf_sigma_mm": list(truth.psf_sigma_mm),
        "noise_hu": truth.noise_hu,
        "attenuation_hu": truth.attenuation_hu,
        "labels": _LABEL_KEYS,
        "lesions": [vars(lesion) | {"position_ras": list(lesion.position_ras)} for lesion in truth.lesions],
        "vessels": [_vessel_as_dict(vessel) for vessel in truth.vessels],
    } | (_heart_as_dict(truth) if truth.family else {})


def _heart_as_dict(truth: PhantomTruth) -> dict[str, object]:
    return {
        "family": truth.family,
        "dominance": truth.dominance,
        "anomalies": list(truth.anomalies),
        "ostia_ras": {name: np.round(place, 4).tolist() for name, place in truth.ostia_ras.items()},
        "side_branches": [_vessel_as_dict(vessel) for vessel in truth.side_branches],
        "cropped": list(truth.cropped),
        "acquisition": truth.acquisition,
    }


def _vessel_as_dict(vessel: VesselTruth) -> dict[str, object]:
    return {
        "name": vessel.name,
        "parent": vessel.parent,
        "parent_distance_mm": vessel.parent_distance_mm,
        "length_mm": round(float(vessel.distance_mm[-1]), 4),
        "points_ras": np.round(vessel.points_ras, 4).tolist(),
        "distance_mm": np.round(vessel.distance_mm, 4).tolist(),
        "diameter_mm": _numbers(vessel.diameter_mm),
        "healthy_diameter_mm": _numbers(vessel.healthy_diameter_mm),
        "segments": [
            {"scheme": "SCCT", "number": number, "start_mm": round(start, 4), "end_mm": round(end, 4)}
            for number, start, end in vessel.segments
        ],
    }


def _numbers(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else round(float(value), 4) for value in values]


def _segment_fields(labels: LabelMap) -> dict[str, str]:
    """Return the fields by which Slicer reads a label map as a segmentation."""
    k, j, i = labels.labels.shape
    fields = {"Segmentation_MasterRepresentation": "Binary labelmap"}
    for number, (value, name) in enumerate(sorted(labels.names.items())):
        prefix = f"Segment{number}_"
        fields |= {
            prefix + "ID": f"Segment_{value}",
            prefix + "Name": name,
            prefix + "LabelValue": str(value),
            prefix + "Layer": "0",
            prefix + "Color": _COLORS[value],
            prefix + "Extent": f"0 {i - 1} 0 {j - 1} 0 {k - 1}",
        }
    return fields


def write_image(voxels: np.ndarray, ijk_to_ras: np.ndarray, path: Path, fields: dict[str, str]) -> None:
    """Write an image [k, j, i] as compressed NRRD with fields of its own in the header."""
    import SimpleITK as sitk

    matrix = LPS_TO_RAS @ ijk_to_ras
    spacing = spacing_of(ijk_to_ras)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    image.SetDirection((matrix[:3, :3] / np.array(spacing)).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    for key, value in fields.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path), useCompression=True)
