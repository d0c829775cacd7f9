"""A user's folder of images and label maps becomes training studies.

Layouts that are recognized, at any depth below the folder:

- ImageCAS: `<id>.img.nii.gz` beside `<id>.label.nii.gz`
- ImageCAS-X: `volumes/<id>.img.nii.gz` and `segmentations/<id>.coronary.nii.gz`; what its `filelist/exclude.txt` and
  `filelist/test.txt` name is left out, so that its test scans stay unseen
- ASOCA: `CTCA/<id>.nrrd` and `Annotations/<id>.nrrd`
- image and label folders side by side (nnU-Net and others): `images*/<id>.*` and `labels*/<id>.*`, where `_0000` at the
  end of an image's name is left out

Every label above 0 counts as lumen. Scans of ImageCAS and ImageCAS-X with one number are of one patient. What the
labels do not tell (ostia, veins) is not trained on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..geometry import transform_points
from ..models.network import DISTANCE_LIMIT_MM
from ..progress import StageReport, no_report, part_of
from ..reading import read_label_map, read_volume
from ..reading.files import IMAGE_FORMATS, shown_name
from ..segmentation.grid import RasGrid, as_image, resample_to_ras
from ..study import CTVolume, LabelMap
from .cases import CaseInformation, stored_cases, write_case
from .configuration import TrainingConfiguration

_MARGIN_MM = 40.0
_LARGEST_LUMEN_PART = 0.02
"""Coronary lumen fills less of a volume than this; more is a heart, an aorta or inverted labels."""


@dataclass(frozen=True)
class Pair:
    """An image with its label map; `patient` is equal for studies of one patient."""

    image: Path
    labels: Path
    layout: str
    patient: str

    @property
    def name(self) -> str:
        """Name of the study in the store: it does not depend on where the user's folder is."""
        stem = re.sub(r"[^A-Za-z0-9-]+", "-", _stem(self.image)).strip("-") or "study"
        digest = hashlib.sha256(f"{self.image.parent.name}/{self.image.name}/{self.layout}".encode()).hexdigest()[:6]
        return f"{self.layout}-{stem}-{digest}"


def find_pairs(folder: Path) -> list[Pair]:
    """Return the pairs below a folder, sorted by name.

    Raises
    ------
    InputError : the folder is absent, or there is no pair in a known layout.
    """
    if not folder.is_dir():
        raise InputError(f"the data folder {folder.name} does not exist or is a file: check the path")
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name.lower().endswith(tuple(IMAGE_FORMATS))
    )
    pairs = [
        pair
        for path in files
        for find in (_imagecas, _imagecas_x, _asoca, _folders)
        if (pair := find(path)) is not None
    ]
    if not pairs:
        raise InputError(
            f"no pair of an image and its label map was found in {folder.name}: name them <id>.img.nii.gz and "
            "<id>.label.nii.gz, or put them into the folders images and labels under one name"
        )
    return sorted({pair.name: pair for pair in pairs}.values(), key=lambda pair: pair.name)


def _imagecas(path: Path) -> Pair | None:
    match = re.fullmatch(r"(.+)\.img\.nii(\.gz)?", path.name)
    labels = path.with_name(f"{match[1]}.label.nii{match[2] or ''}") if match else path
    if match is None or not labels.exists():
        return None
    return Pair(path, labels, "imagecas", _patient("imagecas", match[1]))


def _imagecas_x(path: Path) -> Pair | None:
    match = re.fullmatch(r"(.+)\.img\.nii(\.gz)?", path.name)
    if match is None or path.parent.name != "volumes":
        return None
    root, name = path.parent.parent, match[1]
    labels = root / "segmentations" / f"{name}.coronary.nii{match[2] or ''}"
    if not labels.exists() or any(name in _listed(root / "filelist" / left) for left in ("exclude.txt", "test.txt")):
        return None
    return Pair(path, labels, "imagecas-x", _patient("imagecas", name))


def _listed(path: Path) -> list[str]:
    """Return the names in a list of scans, one a line; none where there is no such list."""
    return path.read_text(encoding="utf-8", errors="replace").split() if path.is_file() else []


def _asoca(path: Path) -> Pair | None:
    if path.parent.name.lower() != "ctca":
        return None
    labels = path.parent.parent / "Annotations" / path.name
    return Pair(path, labels, "asoca", f"asoca-{path.parent.parent.name}-{_stem(path)}") if labels.exists() else None


def _folders(path: Path) -> Pair | None:
    match = re.fullmatch(r"images(\w*)", path.parent.name, re.IGNORECASE)
    if match is None:
        return None
    stem = _stem(path).removesuffix("_0000").removesuffix(".img")
    for folder in path.parent.parent.iterdir():
        if folder.name.lower() == f"labels{match[1]}".lower():
            for ending in IMAGE_FORMATS:
                for middle in ("", ".label", "_label"):
                    labels = folder / f"{stem}{middle}{ending}"
                    if labels.exists():
                        return Pair(path, labels, "folders", _patient(path.parent.parent.name, stem))
    return None


def _patient(collection: str, stem: str) -> str:
    """Return the patient of a scan: the number alone for the collections that share their scans."""
    number = re.match(r"\d+", stem)
    if number and collection.lower().replace("-", "").replace("_", "").startswith("imagecas"):
        return f"imagecas-{int(number[0])}"
    return f"{collection}-{stem}"


def _stem(path: Path) -> str:
    name = path.name
    for ending in IMAGE_FORMATS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def split_patients(patients: Sequence[str], share: float, seed: int) -> set[str]:
    """Return the patients that are kept for validation: a share of them, at least one of two or more.

    The choice depends on each name alone, so that a patient stays on its side when others are added.
    """
    unique = sorted(set(patients), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).hexdigest())
    if len(unique) < 2 or share <= 0:
        return set()
    return set(unique[: min(max(1, round(share * len(unique))), len(unique) - 1)])


def store_pairs(
    store: Path,
    pairs: Sequence[Pair],
    configuration: TrainingConfiguration,
    report: StageReport = no_report,
    refused: Callable[[str], object] = lambda _line: None,
) -> list[Pair]:
    """Put the pairs that the store lacks into it, and return those that are in it.

    Parameters
    ----------
    refused : told in one line of every pair that cannot be used; the others go on.

    Raises
    ------
    InputError : no pair can be used.
    """
    present = set(stored_cases(store))
    kept = []
    for number, pair in enumerate(pairs):
        part = part_of(report, number / len(pairs), (number + 1) / len(pairs))
        part(0.0, f"reading study {number + 1} of {len(pairs)}")
        try:
            if pair.name not in present:
                _store_pair(store, pair, configuration, part)
            kept.append(pair)
        except InputError as error:
            refused(f"{shown_name(pair.image)} is left out: {error}")
    if not kept:
        raise InputError("none of the pairs of images and label maps can be used: correct them first")
    return kept


def _store_pair(store: Path, pair: Pair, configuration: TrainingConfiguration, report: StageReport) -> None:
    from ..segmentation.aorta import find_aorta

    volume, labels = read_volume(pair.image), read_label_map(pair.labels)
    _check_pair(volume, labels)
    aorta = find_aorta(volume, part_of(report, 0.3, 0.7))
    where = np.argwhere(labels.labels > 0)
    corners = transform_points(labels.ijk_to_ras, where[:, ::-1])
    spacing = configuration.network.spacing_mm
    low, high = corners.min(axis=0) - _MARGIN_MM, corners.max(axis=0) + _MARGIN_MM
    grid = resample_to_ras(volume, spacing, low, high)
    targets = label_targets(labels, grid, configuration.network.heads)
    if not targets:
        raise InputError("its labels tell nothing that this network learns: train the fine network on them")
    information = CaseInformation(
        pair.patient, pair.layout, spacing, aorta.attenuation_hu if aorta.found else None, tuple(targets)
    )
    write_case(store / pair.name, information, grid.voxels, targets)


def _check_pair(volume: CTVolume, labels: LabelMap) -> None:
    """Refuse labels that do not lie on their image or are no coronary lumen."""
    lumen = labels.labels > 0
    if not lumen.any():
        raise InputError("its label map is empty")
    if lumen.mean() > _LARGEST_LUMEN_PART:
        part = f"{100 * lumen.mean():.0f} %"
        raise InputError(f"its label map covers {part} of the volume: it is no map of the coronary lumen")
    where = np.argwhere(lumen)[:: max(1, int(lumen.sum()) // 2000)]
    ijk = transform_points(np.linalg.inv(volume.ijk_to_ras) @ labels.ijk_to_ras, where[:, ::-1])
    inside = ((ijk > -0.5) & (ijk < np.array(volume.size_ijk) - 0.5)).all(axis=1)
    if inside.mean() < 0.98:
        raise InputError("its label map does not lie on the image: check that they belong together and share a grid")
    nearest = np.rint(ijk[inside]).astype(int)
    hu = volume.voxels[nearest[:, 2], nearest[:, 1], nearest[:, 0]]
    if np.median(hu) < 100:
        raise InputError(
            f"the median attenuation under its labels is {np.median(hu):.0f} HU: it is no contrast-filled lumen, "
            "or the labels are mirrored or shifted"
        )


def label_targets(labels: LabelMap, grid: RasGrid, heads: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the targets that a label map of the lumen tells, on a grid.

    The lumen fraction is the mean of the label map at eight places in a voxel; the distance is that to the skeleton of
    its binary form.
    """
    lumen = as_image((labels.labels > 0).astype(np.float32), labels.ijk_to_ras)
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(as_image(grid.voxels, grid.ijk_to_ras))
    resampler.SetInterpolator(sitk.sitkLinear)
    fraction = np.zeros(grid.voxels.shape, dtype=np.float32)
    for place in np.ndindex(2, 2, 2):
        resampler.SetTransform(sitk.TranslationTransform(3, [(side - 0.5) / 2 * grid.spacing_mm for side in place]))
        fraction += sitk.GetArrayFromImage(resampler.Execute(lumen)) / 8
    targets: dict[str, np.ndarray] = {}
    if "lumen" in heads:
        targets["lumen"] = fraction
    if "centerline_distance" in heads:
        targets["centerline_distance"] = _skeleton_distance(fraction >= 0.5, grid.spacing_mm)
    return targets


def _skeleton_distance(mask: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return the distance in mm to the skeleton of a mask, at most `DISTANCE_LIMIT_MM`."""
    from scipy.ndimage import distance_transform_edt
    from skimage.morphology import skeletonize

    distance = np.full(mask.shape, DISTANCE_LIMIT_MM, dtype=np.float32)
    where = np.argwhere(mask)
    if not len(where):
        return distance
    margin = int(np.ceil(DISTANCE_LIMIT_MM / spacing_mm)) + 1
    low, high = np.maximum(where.min(axis=0) - margin, 0), where.max(axis=0) + margin + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    skeleton = skeletonize(mask[box])
    distance[box] = np.minimum(distance_transform_edt(~skeleton, sampling=spacing_mm), DISTANCE_LIMIT_MM)
    return distance
