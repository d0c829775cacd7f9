"""`read_label_map`: a label map in any image format, Slicer's `.seg.nrrd` included, to a `LabelMap`.

Segment names, values and layers come from the header fields of Slicer's segmentation storage
(`SegmentN_Name`, `SegmentN_LabelValue`, `SegmentN_Layer`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..study import LabelMap
from .checks import MAXIMUM_LABELS, SHEAR_TOLERANCE, label_values, looks_like_labels, shear_of
from .files import IMAGE_FORMATS, image_format, shown_name
from .images import affine_of, load_image, open_image, volumes_in


@dataclass(frozen=True)
class _Segment:
    """A segment as the header of a `.seg.nrrd` file states it."""

    name: str
    value: int
    layer: int


def read_label_map(path: str | Path) -> LabelMap:
    """Read labeled voxels; values are kept, and several layers are merged into one with values 1, 2, 3 ...

    Where segments of several layers overlap, the later segment of the file wins. Labels without a name in the header
    are called `label N`.

    Raises
    ------
    InputError : the file is not a label map, holds no label or cannot be read; the message is one line.
    """
    path = Path(path).expanduser()
    name = shown_name(path)
    if not path.exists():
        raise InputError(f"{name} does not exist: check the path of the segmentation")
    if path.is_dir() or image_format(path) is None:
        raise InputError(f"{name} is no label map file: give one of {', '.join(IMAGE_FORMATS)}")
    reader = open_image(path)
    if reader.GetDimension() < 3:
        raise InputError(f"{name} is a single slice: save the segmentation as a volume")
    if reader.GetDimension() > 3 and volumes_in(reader) != reader.GetNumberOfComponents():
        raise InputError(f"{name} holds {volumes_in(reader)} volumes (4-D): save one label map as a file of its own")
    segments = _segments(reader)
    image = load_image(path, reader)
    array = sitk.GetArrayFromImage(image)
    layers = [array] if array.ndim == 3 else [array[..., n] for n in range(array.shape[-1])]
    for layer in layers:
        _check_labels(layer, name)
    if len(layers) == 1:
        labels = _smallest_type(layers[0])
        names = {segment.value: segment.name for segment in segments}
    else:
        labels, names = _merged(layers, segments)
    values = label_values(labels)
    present = [] if values is None else [int(value) for value in values if value]
    if not present:
        raise InputError(f"{name} is an empty label map: every voxel is 0; choose a segmentation that holds the lumen")
    ijk_to_ras = affine_of(image)
    if shear_of(ijk_to_ras[:3, :3]) > SHEAR_TOLERANCE:
        raise InputError(f"the grid of {name} is sheared: resample it to right angles first, for example in Slicer")
    return LabelMap(labels, ijk_to_ras, {value: names.get(value, f"label {value}") for value in present})


def _segments(reader: sitk.ImageFileReader) -> list[_Segment]:
    """Return the segments named in the header, in the order of their numbers."""
    keys = set(reader.GetMetaDataKeys())
    segments = []
    number = 0
    while f"Segment{number}_Name" in keys or f"Segment{number}_ID" in keys:
        fields = {
            field: reader.GetMetaData(f"Segment{number}_{field}") if f"Segment{number}_{field}" in keys else ""
            for field in ("Name", "LabelValue", "Layer")
        }
        value, layer = fields["LabelValue"].strip(), fields["Layer"].strip()
        segments.append(
            _Segment(
                name=fields["Name"].strip() or f"segment {number + 1}",
                value=int(value) if value.isdigit() else 1,
                # Files of older versions of Slicer hold one layer per segment and do not say so.
                layer=int(layer) if layer.isdigit() else number,
            )
        )
        number += 1
    return segments


def _check_labels(layer: np.ndarray, name: str) -> None:
    """Refuse values that cannot be labels."""
    if np.issubdtype(layer.dtype, np.floating) and not np.isfinite(layer).all():
        raise InputError(f"{name} holds voxels that are not finite numbers: save the segmentation again")
    if np.issubdtype(layer.dtype, np.complexfloating):
        raise InputError(f"{name} holds complex numbers: give a label map of the lumen")
    lowest, highest = float(layer.min()), float(layer.max())
    if lowest == highest == 0:
        return
    if lowest == highest and lowest > 0 and lowest == int(lowest) and lowest <= 65535:
        raise InputError(f"{name} labels every voxel with {highest:.0f}: give a label map with 0 as the background")
    if not looks_like_labels(layer):
        raise InputError(
            f"{name} is a grey image or a probability map, not a label map (values from {lowest:g} to {highest:g}): "
            f"give whole numbers from 0 up, with at most {MAXIMUM_LABELS} different ones"
        )


def _merged(layers: list[np.ndarray], segments: list[_Segment]) -> tuple[np.ndarray, dict[int, str]]:
    """Return one array of labels 1, 2, 3 ... and their names from several layers."""
    if not segments:
        segments = [
            _Segment(f"layer {number + 1} label {int(value)}", int(value), number)
            for number, layer in enumerate(layers)
            for value in np.unique(layer)
            if value
        ]
    merged = np.zeros(layers[0].shape, dtype=np.uint16)
    names = {}
    for label, segment in enumerate(segments, start=1):
        if segment.layer < len(layers):
            merged[layers[segment.layer] == segment.value] = label
            names[label] = segment.name
    return _smallest_type(merged), names


def _smallest_type(labels: np.ndarray) -> np.ndarray:
    """Return labels as 8-bit or 16-bit unsigned integers."""
    return np.ascontiguousarray(labels, dtype=np.uint8 if labels.max() <= 255 else np.uint16)
