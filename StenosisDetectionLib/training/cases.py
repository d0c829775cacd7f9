"""Training studies on disk: attenuation and targets on an isotropic grid, as plain arrays that are cropped in place.

A study is a folder: `hu.npy` (int16 HU), one `<head>.npy` (uint8) for every target that is known of it, `ignore.npy`
where some voxels have no truth, `centers.npy` with voxels to center patches on, and `case.json`. A target of 255 means
1, or `DISTANCE_LIMIT_MM` for a distance. The folder is complete or absent.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..models.network import DISTANCE_LIMIT_MM

FORMAT = "stenosis-detection/training-case/1"
_MOST_CENTERS = 20000

SITES = ("artery", "vein", "ostium")
"""Kinds of places to center patches on."""


@dataclass(frozen=True)
class CaseInformation:
    """What is known of a training study besides its arrays.

    Parameters
    ----------
    patient : studies of one patient are never split between training and validation.
    source : `synthetic`, or the layout of the user's folder.
    spacing_mm : isotropic voxel spacing.
    aorta_hu : attenuation of the aorta, None when unknown.
    heads : targets that are known.
    """

    patient: str
    source: str
    spacing_mm: float
    aorta_hu: float | None
    heads: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class TrainingCase:
    """A study in the store, its arrays mapped into memory and read where they are cropped.

    `centers` holds voxels (N, 3), k, j, i, of every kind of `SITES`; none where nothing is known of them.
    """

    name: str
    information: CaseInformation
    hu: np.ndarray
    targets: dict[str, np.ndarray]
    ignore: np.ndarray | None
    centers: dict[str, np.ndarray]


def write_case(
    folder: Path,
    information: CaseInformation,
    hu: np.ndarray,
    targets: dict[str, np.ndarray],
    ignore: np.ndarray | None = None,
) -> None:
    """Write a study.

    Parameters
    ----------
    folder : of this study; it is replaced when it exists.
    hu : attenuation (k, j, i) in HU.
    targets : by head, on the same grid: probabilities 0...1 or distances in mm.
    ignore : True where there is no truth.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.save(partial / "hu.npy", np.clip(np.rint(hu), -1024, 4000).astype(np.int16))
    for head, target in targets.items():
        limit = DISTANCE_LIMIT_MM if head == "centerline_distance" else 1.0
        np.save(partial / f"{head}.npy", np.rint(np.clip(target, 0, limit) * (255 / limit)).astype(np.uint8))
    if ignore is not None and ignore.any():
        np.save(partial / "ignore.npy", ignore.astype(np.uint8))
    vein, ostium = _centers(targets.get("vein")), _centers(targets.get("ostium"))
    np.savez(partial / "centers.npz", artery=_artery_centers(targets), vein=vein, ostium=ostium)
    text = json.dumps({"format": FORMAT, **asdict(information)}, indent=2)
    (partial / "case.json").write_text(text, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _artery_centers(targets: dict[str, np.ndarray]) -> np.ndarray:
    """Return voxels (N, 3) spread over the length of the arteries, so that thin ones count as much as thick ones."""
    distance, zone = targets.get("centerline_distance"), targets.get("coronary_zone")
    if distance is not None:
        return _centers(distance < 0.5)
    return _centers(zone if zone is not None else targets.get("lumen"))


def _centers(target: np.ndarray | None) -> np.ndarray:
    if target is None:
        return np.zeros((0, 3), dtype=np.int16)
    where = np.argwhere(np.asarray(target) > 0.5).astype(np.int16)
    return where[:: max(1, len(where) // _MOST_CENTERS)]


def open_case(folder: Path) -> TrainingCase:
    """Return a study of the store.

    Raises
    ------
    InputError : it is damaged.
    """
    try:
        values = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise ValueError("format")
        information = CaseInformation(**{**values, "heads": tuple(values["heads"])})
        targets = {head: np.load(folder / f"{head}.npy", mmap_mode="r") for head in information.heads}
        ignore = folder / "ignore.npy"
        with np.load(folder / "centers.npz") as file:
            centers = {site: file[site] for site in SITES}
        return TrainingCase(
            folder.name,
            information,
            np.load(folder / "hu.npy", mmap_mode="r"),
            targets,
            np.load(ignore, mmap_mode="r") if ignore.exists() else None,
            centers,
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"the stored training study {folder.name} is damaged: delete its folder") from None


def stored_cases(store: Path) -> list[str]:
    """Return the names of the complete studies of a store, sorted."""
    return sorted(path.parent.name for path in store.glob("*/case.json") if not path.parent.name.endswith(".partial"))
