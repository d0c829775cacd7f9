"""A study as text and back, so that a saved scene holds all that the panel needs to go on with the review.

In: a `StudyResult`. Out: one line of JSON, which a text node of the scene keeps, and from it the same study, bit by
bit, given the voxels of its volume again. Only the data types of this package are read back, so that a scene from
elsewhere can do no harm. Arrays are compressed with zlib; masks are cropped to what they hold first.
"""

import base64
import dataclasses
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import study as study_types
from ..errors import InputError
from ..study import CTVolume, StudyResult

FORMAT = "stenosis-detection/study/1"

_TYPES = {
    name: kind for name, kind in vars(study_types).items() if dataclasses.is_dataclass(kind) and isinstance(kind, type)
}
_CROPPED_DIMENSIONS = 3
_Packed = dict[int, tuple[np.ndarray, dict[str, Any]]]


class StudyRecorder:
    """Turns studies into text; arrays that one study shares with the one before it are compressed only once."""

    def __init__(self) -> None:
        self._packed: _Packed = {}

    def text_of(self, study: StudyResult) -> str:
        """Return a study as one line of JSON without the voxels of its volume."""
        kept: _Packed = {}
        bare = dataclasses.replace(study, volume=dataclasses.replace(study.volume, voxels=np.zeros((0, 0, 0), "f4")))
        content = {
            "format": FORMAT,
            "shape": list(study.volume.voxels.shape),
            "study": _plain(bare, kept, self._packed),
        }
        self._packed = kept
        return json.dumps(content, separators=(",", ":"), allow_nan=True)


def study_of_text(text: str, volume: CTVolume) -> StudyResult:
    """Return the study of a text of `StudyRecorder`, with the voxels of `volume`.

    Raises
    ------
    InputError : the text is none of a study, or of a volume of another size or place.
    """
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise KeyError("format")
        study = restored(content["study"])
        shape = tuple(content["shape"])
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise InputError("the result in this scene cannot be read: press Apply to make it again") from error
    if not isinstance(study, StudyResult):
        raise InputError("the result in this scene cannot be read: press Apply to make it again")
    same_place = np.allclose(study.volume.ijk_to_ras, volume.ijk_to_ras, atol=1e-3)
    if shape != volume.voxels.shape or not same_place:
        raise InputError("the volume has changed since its result was made: press Apply to make it again")
    return dataclasses.replace(study, volume=dataclasses.replace(study.volume, voxels=volume.voxels))


def plain(value: Any) -> Any:
    """Return dataclasses, tuples, dicts, arrays and plain values as what JSON can hold; see `restored`."""
    return _plain(value, {}, {})


def restored(value: Any, types: Mapping[str, type] = _TYPES) -> Any:
    """Return what `plain` was given; dataclasses only of `types`, by their names.

    Raises
    ------
    KeyError, TypeError, ValueError or zlib.error : it is none of `plain`.
    """
    if isinstance(value, list):
        return [restored(item, types) for item in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return _unpack(value["array"])
    if "tuple" in value:
        return tuple(restored(item, types) for item in value["tuple"])
    if "dict" in value:
        return {key: restored(item, types) for key, item in value["dict"]}
    kind = types[value["type"]]
    return kind(**{name: restored(item, types) for name, item in value["fields"].items()})


def _plain(value: Any, kept: _Packed, packed: _Packed) -> Any:
    if isinstance(value, np.ndarray):
        known = packed.get(id(value))
        entry = known if known is not None and known[0] is value else (value, _pack(value))
        kept[id(value)] = entry
        return {"array": entry[1]}
    if isinstance(value, np.generic):
        return value.item()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name), kept, packed) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, "fields": fields}
    if isinstance(value, tuple):
        return {"tuple": [_plain(item, kept, packed) for item in value]}
    if isinstance(value, list):
        return [_plain(item, kept, packed) for item in value]
    if isinstance(value, dict):
        return {"dict": [[key, _plain(item, kept, packed)] for key, item in value.items()]}
    return value


def _pack(array: np.ndarray) -> dict[str, Any]:
    packed: dict[str, Any] = {"type": array.dtype.str, "shape": list(array.shape)}
    inside = array
    if array.ndim == _CROPPED_DIMENSIONS and array.dtype.kind in "bu" and array.size:
        box = _bounding_box(array)
        packed["box"] = [[part.start, part.stop] for part in box]
        inside = array[box]
    data = np.packbits(inside) if array.dtype.kind == "b" else np.ascontiguousarray(inside)
    packed["data"] = base64.b64encode(zlib.compress(data.tobytes(), 1)).decode("ascii")
    return packed


def _unpack(packed: dict[str, Any]) -> np.ndarray:
    kind, shape = np.dtype(packed["type"]), tuple(packed["shape"])
    if kind.hasobject:
        raise ValueError("arrays of objects are not read")
    box = tuple(slice(low, high) for low, high in packed["box"]) if "box" in packed else None
    inside_shape = tuple(part.stop - part.start for part in box) if box else shape
    data = zlib.decompress(base64.b64decode(packed["data"]))
    if kind.kind == "b":
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=int(np.prod(inside_shape)))
        inside = bits.astype(bool).reshape(inside_shape)
    else:
        inside = np.frombuffer(data, kind).reshape(inside_shape).copy()
    if box is None:
        return inside
    array = np.zeros(shape, kind)
    array[box] = inside
    return array


def _bounding_box(array: np.ndarray) -> tuple[slice, ...]:
    box = []
    for axis in range(array.ndim):
        others = tuple(other for other in range(array.ndim) if other != axis)
        filled = np.flatnonzero(array.any(axis=others))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 0))
    return tuple(box)
