"""Reads what `analyze` wrote: a folder with report.json and segmentation.seg.nrrd becomes a `ResultCase`."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..reading import read_label_map
from ..reading.images import affine_of, load_image, open_image
from ..study import LabelMap, Vessel, VesselSegment, VesselTree
from .cases import LabelReader, ResultCase, distance_on, place_at
from .lesions import LesionFinding
from .names import segment_number, territory_in, vessel_name

REPORT_FILE = "report.json"
SEGMENTATION_FILE = "segmentation.seg.nrrd"
_SCHEMA = "stenosis-detection/report/"


def result_folders(directory: Path) -> list[Path]:
    """Return the case folders in a folder of results, or the folder itself when it is one; sorted by name.

    Raises
    ------
    InputError : the folder does not exist or holds no result.
    """
    if not directory.is_dir():
        raise InputError(f"the folder of results '{directory.name}' does not exist: give the output folder of analyze")
    if (directory / REPORT_FILE).is_file():
        return [directory]
    folders = sorted(path.parent for path in directory.glob(f"*/{REPORT_FILE}") if not path.parent.name.startswith("."))
    if not folders:
        raise InputError(f"the folder '{directory.name}' holds no result (<case>/{REPORT_FILE}): run analyze first")
    return folders


def read_result(folder: Path) -> ResultCase:
    """Read the folder of a case.

    Raises
    ------
    InputError : its report.json cannot be read or is not one of this software.
    """
    report = read_json(folder / REPORT_FILE)
    try:
        if not str(report["schema"]).startswith(_SCHEMA):
            raise InputError(f"{folder.name}/{REPORT_FILE} is no report of this software: run analyze again")
        tree = _tree(report)
        segmentation = folder / SEGMENTATION_FILE
        labels: LabelReader | None = partial(read_labels, segmentation) if segmentation.is_file() else None
        return ResultCase(
            case_id=str(report["case"]["id"]),
            sha256=str(report["case"]["input"]["sha256"]),
            tree=tree,
            lesions=tuple(_lesion(item, tree) for item in report["lesions"]),
            category=report["patient"]["cad_rads"],
            software={
                "version": report["software"]["version"],
                "model": report["software"]["model"]["name"],
                "model_version": report["software"]["model"]["version"],
                "model_sha256": report["software"]["model"]["sha256"],
                "device": report["software"]["device"],
                "precision": report["software"]["precision"],
            },
            labels=labels,
            seconds=report["timing_s"].get("total"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder.name}/{REPORT_FILE} is incomplete ({error}): run analyze again") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises
    ------
    InputError : it cannot be read or is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.parent.name}/{path.name} cannot be read as JSON: write it again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path.parent.name}/{path.name} holds no JSON object: write it again")
    return value


def numbers(values: list[float | None]) -> np.ndarray:
    """Return a list of JSON numbers as an array, null as NaN."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def filled(values: np.ndarray, otherwise: float) -> np.ndarray:
    """Return values with the unknown ones interpolated along the vessel, or `otherwise` where all are unknown."""
    known = np.isfinite(values) & (values > 0)
    if not known.any():
        return np.full(len(values), otherwise)
    places = np.arange(len(values))
    return np.interp(places, places[known], values[known])


def vessel_from(
    item: dict[str, Any], diameter: list[float | None] | None, others: dict[str, Vessel], flags: tuple[str, ...] = ()
) -> Vessel:
    """Return a vessel of a report or of a truth; where it leaves its parent is found when the file does not say."""
    points = np.array(item["points_ras"], dtype=np.float64).reshape(-1, 3)
    distance = np.array(item["distance_mm"], dtype=np.float64)
    parent, at = item.get("parent"), item.get("parent_distance_mm")
    if parent in others and at is None:
        at = distance_on(others[parent], points[0])
    radius = filled(numbers(diameter) / 2.0, 1.0) if diameter else np.ones(len(points))
    segments = tuple(_segment(part) for part in item.get("segments") or ())
    return Vessel(str(item["name"]), parent, at, points, distance, radius, segments, flags)


def _segment(part: Any) -> VesselSegment:
    """Return a segment of a report (an object) or of a truth (an object, or number, start and end)."""
    if isinstance(part, dict):
        values = (part["number"], part["start_mm"], part["end_mm"])
    else:
        values = tuple(part)
    number, start, end = values
    return VesselSegment("SCCT", int(number), str(number), "", float(start), float(end), 1.0)


def _tree(report: dict[str, Any]) -> VesselTree:
    vessels: dict[str, Vessel] = {}
    for item in report["vessels"]:
        vessels[item["name"]] = vessel_from(item, item.get("lumen_diameter_mm"), vessels)
    return VesselTree(tuple(vessels.values()), str(report["patient"]["dominance"]))


def _lesion(item: dict[str, Any], tree: VesselTree) -> LesionFinding:
    vessel = tree.vessel(item["vessel"])
    interval = item["diameter_stenosis_interval_90"]
    percent = item["diameter_stenosis_percent"]
    if percent is None:  # an interval alone, behind calcium: its middle says whether 50 % is more likely than not
        percent = 0.0 if None in interval else 0.5 * (interval[0] + interval[1])
    x, y, z = item["position_ras"]
    return LesionFinding(
        vessel=vessel_name(item["vessel"]),
        segment=segment_number(item["segment"]),
        territory=territory_in(tree, item["vessel"]),
        diameter_stenosis_percent=float(percent),
        start_mm=item["start_mm"],
        throat_mm=item["throat_mm"],
        end_mm=item["end_mm"],
        start_ras=place_at(vessel, item["start_mm"]),
        throat_ras=(x, y, z),
        end_ras=place_at(vessel, item["end_mm"]),
        minimal_lumen_diameter_mm=item["minimal_lumen_diameter_mm"],
        reference_diameter_mm=item["reference_diameter_mm"],
        interval_90=None if None in interval else (interval[0], interval[1]),
        probability_50=item["probability_50"],
        probability_70=item["probability_70"],
        plaque=item["plaque"]["type"],
        flags=tuple(item["flags"]),
    )


def read_labels(path: Path) -> LabelMap:
    """Read a label map, which may be empty: a study without an artery has one, too.

    Raises
    ------
    InputError : it cannot be read or is no label map.
    """
    try:
        return read_label_map(path)
    except InputError:
        image = load_image(path, open_image(path))
        voxels = sitk.GetArrayFromImage(image)
        if voxels.any():
            raise
        return LabelMap(np.zeros(voxels.shape[:3], dtype=np.uint8), affine_of(image), {})
