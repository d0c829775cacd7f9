"""Reads the truth of a phantom: a folder with truth.json and truth.seg.nrrd becomes a `ReferenceCase`.

Fields that later versions added (segments, dominance, ostia, small side branches) are used where they are there.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..phantom.writing import LABELS_FILE, TRUTH_FILE
from ..reading import read_volume
from ..study import Vessel, VesselTree
from .cases import ReferenceCase, place_at
from .centerline import SIDE_BRANCH
from .lesions import LesionFinding
from .names import segment_number, territory_in, vessel_name
from .results import read_json, read_labels, vessel_from


def truth_folders(directory: Path) -> list[Path]:
    """Return the phantom folders in a folder, or the folder itself when it is one; sorted by name, none if there are
    none.
    """
    if (directory / TRUTH_FILE).is_file():
        return [directory]
    return sorted(path.parent for path in directory.glob(f"*/{TRUTH_FILE}") if not path.parent.name.startswith("."))


def read_truth(folder: Path, case_id: str | None = None) -> ReferenceCase:
    """Read a phantom folder; without a case id, it is computed from the voxels of its volume, as analyze does.

    Raises
    ------
    InputError : the truth cannot be read, or the volume is needed and is not there.
    """
    truth = read_json(folder / TRUTH_FILE)
    if case_id is None:
        case_id = case_of_volume(volume_in(folder))
    labels = folder / LABELS_FILE
    reader = partial(read_labels, labels) if labels.is_file() else None
    return truth_case(truth, case_id, f"{folder.name}/{TRUTH_FILE}", labels=reader)


def truth_case(truth: dict[str, Any], case_id: str, source: str, **fields: Any) -> ReferenceCase:
    """Return the truth of a phantom as a reference; `fields` are those of `ReferenceCase` that truth.json lacks."""
    try:
        if truth.get("coordinate_system", "RAS") != "RAS":
            raise InputError(f"{source} is not in RAS: write it again")
        tree = _tree(truth)
        return ReferenceCase(
            case_id=case_id,
            tree=tree,
            lesions=tuple(_lesion(item, tree) for item in truth["lesions"]),
            dominance=truth.get("dominance"),
            group=str(truth.get("family") or truth.get("kind") or ""),
            unknown_vessels=_unknown_vessels(truth),
            **fields,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source} is incomplete ({error}): render the phantom again") from error


def _unknown_vessels(truth: dict[str, Any]) -> tuple[str, ...]:
    """Return the vessels that begin outside of the image: the truth leaves them out, the image may show them later."""
    told = {item["name"] for item in truth["vessels"]}
    return tuple(vessel_name(name) for name in truth.get("cropped") or () if name not in told)


def case_of_volume(path: Path) -> str:
    """Return the case id that analyze gives a volume."""
    from ..pipeline import case_id_of

    return case_id_of(read_volume(path))


def volume_in(folder: Path) -> Path:
    """Return the path of the one volume in a phantom folder; InputError if there is none or more than one."""
    volumes = [path for path in sorted(folder.glob("*.nrrd")) if path.name != LABELS_FILE]
    if len(volumes) != 1:
        raise InputError(f"the phantom folder '{folder.name}' needs its one volume to be matched to a result")
    return volumes[0]


def _tree(truth: dict[str, Any]) -> VesselTree:
    vessels: dict[str, Vessel] = {}
    ostia = truth.get("ostia_ras") or truth.get("ostia") or {}
    for item in truth["vessels"]:
        # The healthy diameter: a centerline may not be asked to stray less in a stenosis.
        vessel = vessel_from(item, item.get("healthy_diameter_mm") or item.get("diameter_mm"), vessels)
        if vessel.parent is None and isinstance(ostia, dict) and vessel.name in ostia:
            vessel = _from_ostium(vessel, np.array(_point(ostia[vessel.name])))
        vessels[vessel.name] = vessel
    for number, item in enumerate(truth.get("side_branches") or ()):
        name = str(item.get("name") or f"small {number + 1}")
        name = name if name not in vessels else f"{name} {number + 1}"
        diameter = item.get("healthy_diameter_mm") or item.get("diameter_mm")
        vessels[name] = vessel_from({**item, "name": name}, diameter, vessels, (SIDE_BRANCH,))
    return VesselTree(tuple(vessels.values()), str(truth.get("dominance") or "unknown"))


def _from_ostium(vessel: Vessel, ostium_ras: np.ndarray) -> Vessel:
    """Return a vessel without what lies before its ostium, if its line begins inside the aorta; distances stay."""
    first = int(np.argmin(np.linalg.norm(vessel.points_ras - ostium_ras, axis=1)))
    if first == 0:
        return vessel
    return replace(
        vessel,
        points_ras=vessel.points_ras[first:],
        distance_mm=vessel.distance_mm[first:],
        radius_mm=vessel.radius_mm[first:],
    )


def _point(value: Any) -> list[float]:
    """Return the coordinates of a point that is given plainly or in an object."""
    values = value["position_ras"] if isinstance(value, dict) else value
    return [float(x) for x in values]


def _lesion(item: dict[str, Any], tree: VesselTree) -> LesionFinding:
    vessel = tree.vessel(item["vessel"])
    throat = float(item["throat_mm"])
    number = next((s.number for s in vessel.segments if s.start_mm <= throat <= s.end_mm), None)
    if number is None and item.get("segment"):
        number = segment_number(str(item["segment"]))
    x, y, z = item["position_ras"]
    return LesionFinding(
        vessel=vessel_name(item["vessel"]),
        segment=number,
        territory=territory_in(tree, item["vessel"]),
        diameter_stenosis_percent=float(item["diameter_stenosis_percent"]),
        start_mm=float(item["start_mm"]),
        throat_mm=throat,
        end_mm=float(item["end_mm"]),
        start_ras=place_at(vessel, item["start_mm"]),
        throat_ras=(x, y, z),
        end_ras=place_at(vessel, item["end_mm"]),
        minimal_lumen_diameter_mm=item.get("minimal_lumen_diameter_mm"),
        reference_diameter_mm=item.get("reference_diameter_mm"),
        plaque=str(item.get("plaque") or "unknown"),
    )
