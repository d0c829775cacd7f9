"""Reads references of every kind and brings each to its result.

A reference is a folder or a file:

- phantom folders (`truth.json`, `truth.seg.nrrd`), matched to results by the voxels of their volume;
- label maps named after the case id: `<case>.nii.gz`, `<case>.seg.nrrd`, `<case>.nrrd` ...; or, as in ImageCAS,
  `<n>.label.nii.gz` beside `<n>.img.nii.gz`, matched by the voxels of the image;
- centerlines named after the case id: `<case>.vtp`, `.vtk`, `.dat`, `.txt`, `.mrk.json`, or a folder `<case>/` of them
  (CAT08: `<case>/vessel*/reference.txt`);
- a CSV file of lesions (see `lesion_table`).

Label maps, centerlines and lesions of one case are put together.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from ..anatomy import VESSELS
from ..centerline.lines import tree_from_lines
from ..errors import InputError
from ..phantom.writing import TRUTH_FILE
from ..reading import read_centerlines
from ..reading.files import IMAGE_FORMATS
from ..study import VesselTree
from .cases import ReferenceCase, ResultCase
from .centerline import UNNAMED
from .lesion_table import read_lesion_table
from .names import vessel_name
from .results import read_labels
from .truths import case_of_volume, read_truth, truth_folders

CENTERLINE_FORMATS = (".vtp", ".vtk", ".dat", ".txt", ".mrk.json")

_LABEL_WORDS = (".label", "_label", ".seg", "_seg", ".mask", "_mask", ".gt", "_gt")
_IMAGE_WORDS = (".img", "_img", ".image", "_image")


def read_references(path: Path, results: list[ResultCase], space: str | None = None) -> list[ReferenceCase]:
    """Return the references in a folder or file that belong to results, in the order of the results.

    Parameters
    ----------
    space : LPS or RAS, of centerlines that do not state their own and of `position_x_mm` ... of a table.

    Raises
    ------
    InputError : nothing can be read there, or nothing belongs to a result.
    """
    if path.is_dir():
        known = {result.case_id for result in results}
        references = _in_folder(path, known, space)
    elif path.is_file():
        references = _in_file(path, results, space)
    else:
        raise InputError(f"the reference '{path.name}' does not exist: give a folder or a file")
    merged: dict[str, ReferenceCase] = {}
    for reference in references:
        before = merged.get(reference.case_id)
        merged[reference.case_id] = reference if before is None else _together(before, reference)
    matched = [merged[result.case_id] for result in results if result.case_id in merged]
    if not matched:
        raise InputError(
            f"no reference in '{path.name}' belongs to a result: name it after the case id (case-...), the folder of "
            "the result, or see 'stenosis-detection evaluate --help'"
        )
    return matched


def _in_folder(path: Path, known: set[str], space: str | None) -> list[ReferenceCase]:
    references = []
    truths = truth_folders(path)
    for folder in truths:
        case = folder.name if folder.name in known else None
        references.append(read_truth(folder, case))
    for file in sorted(path.iterdir()):
        if file.name.startswith(".") or file in truths or file == path / TRUTH_FILE or path in truths:
            continue
        if file.is_dir():
            if file.name in known and not (file / TRUTH_FILE).exists():
                references.append(ReferenceCase(file.name, tree=_centerlines(file, space)))
        elif file.suffix.lower() == ".csv":
            references += read_lesion_table(file, space)
        elif _centerline_stem(file) in known:
            references.append(ReferenceCase(str(_centerline_stem(file)), tree=_centerlines(file, space)))
        elif _is_image(file):
            case = _case_of_label_map(file, known)
            if case is not None:
                references.append(ReferenceCase(case, labels=partial(read_labels, file)))
    return references


def _in_file(path: Path, results: list[ResultCase], space: str | None) -> list[ReferenceCase]:
    """Return the references of a file: a table of lesions, or one label map or centerline for a single result."""
    if path.suffix.lower() == ".csv":
        return read_lesion_table(path, space)
    if path.name == TRUTH_FILE:
        return [read_truth(path.parent)]
    known = {result.case_id for result in results}
    if _is_image(path):
        case = _case_of_label_map(path, known) or _single(path, results)
        return [ReferenceCase(case, labels=partial(read_labels, path))]
    stem = _centerline_stem(path)
    if stem is not None:
        return [ReferenceCase(stem if stem in known else _single(path, results), tree=_centerlines(path, space))]
    raise InputError(f"{path.name} is no reference: give a label map, centerlines, a CSV of lesions or a truth.json")


def _single(path: Path, results: list[ResultCase]) -> str:
    if len(results) != 1:
        raise InputError(f"{path.name} could belong to any of {len(results)} results: name it after its case id")
    return results[0].case_id


def _centerline_stem(path: Path) -> str | None:
    """Return the name of a centerline file without its extension, None for any other file."""
    extension = next((e for e in CENTERLINE_FORMATS if path.name.lower().endswith(e)), None)
    return None if extension is None else path.name[: -len(extension)]


def _centerlines(path: Path, space: str | None) -> VesselTree:
    """Return reference centerlines; what this software named or divided by its own rules is no reference for names."""
    # CAT08 keeps single points beside the lines, in files of the same kind.
    files = sorted(path.glob("vessel*/reference.txt")) or [path]
    lines = tuple(line for file in files for line in read_centerlines(file, space))
    tree = tree_from_lines(lines)
    told = any(line.name is not None and vessel_name(line.name) in VESSELS for line in lines)
    vessels = tuple(replace(vessel, name=vessel_name(vessel.name), segments=()) for vessel in tree.vessels)
    return VesselTree(vessels, "unknown", () if told else (UNNAMED,))


def _is_image(path: Path) -> bool:
    return any(path.name.lower().endswith(extension) for extension in IMAGE_FORMATS)


def _case_of_label_map(path: Path, known: set[str]) -> str | None:
    """Return the case of a label map: by its name, else by the voxels of the image beside it; None if neither."""
    extension = next(e for e in sorted(IMAGE_FORMATS, key=len, reverse=True) if path.name.lower().endswith(e))
    stem = path.name[: -len(extension)]
    for word in ("", *_LABEL_WORDS):
        if stem.endswith(word) and stem.removesuffix(word) in known:
            return stem.removesuffix(word)
    for word in _LABEL_WORDS:
        if stem.endswith(word):
            base = stem.removesuffix(word)
            for image in (base, *(base + other for other in _IMAGE_WORDS)):
                for other in IMAGE_FORMATS:
                    candidate = path.with_name(image + other)
                    if candidate.is_file():
                        return case_of_volume(candidate)
    return None


def _together(first: ReferenceCase, second: ReferenceCase) -> ReferenceCase:
    """Return two references of one case as one; what the first has stays."""
    return replace(
        first,
        tree=first.tree or second.tree,
        lesions=first.lesions if first.lesions is not None else second.lesions,
        category=first.category or second.category,
        labels=first.labels or second.labels,
        dominance=first.dominance or second.dominance,
        group=first.group or second.group,
    )
