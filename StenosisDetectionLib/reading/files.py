"""Names, formats and completeness of image files, judged from their first bytes and their size.

ITK reads a truncated NIfTI file without complaint and fills the rest with zeros, and reports others in many lines,
so completeness is checked here before ITK sees the file. Formats: NIfTI-1 and -2, NRRD, MetaImage.
"""

import gzip
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from ..errors import InputError

IMAGE_FORMATS = {
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".nii": "NIfTI",
    ".nii.gz": "NIfTI",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
}
"""Format of each file name extension that is read."""

_META_BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "FLOAT": 4, "LONG": 4, "ULONG": 4}
_META_BYTES |= {"LONG_LONG": 8, "ULONG_LONG": 8, "DOUBLE": 8}
_CHUNK = 1 << 22


def shown_name(path: Path) -> str:
    """Return the base name for a message, with anything that looks like a DICOM UID replaced."""
    return re.sub(r"\d+(?:\.\d+){4,}", "<uid>", path.name) or "the folder"


def image_format(path: Path) -> str | None:
    """Return NRRD, NIfTI or MetaImage by the name's extension; None for any other name."""
    name = path.name.lower()
    return next((kind for extension, kind in IMAGE_FORMATS.items() if name.endswith(extension)), None)


def is_dicom(path: Path) -> bool:
    """Return whether a file begins like DICOM, with or without its preamble; OSError when it cannot be opened."""
    with path.open("rb") as file:
        head = file.read(132)
    return head[128:132] == b"DICM" or (len(head) == 132 and head[:2] == b"\x08\x00" and head[3] == 0)


def check_complete(path: Path) -> None:
    """Refuse an image file that is missing, empty, truncated or not what its name says.

    Raises
    ------
    InputError : one line with the base name.
    """
    name = shown_name(path)
    try:
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"{name} is empty: export or copy it again")
        {"NIfTI": _check_nifti, "NRRD": _check_nrrd, "MetaImage": _check_meta}[image_format(path) or "NRRD"](path, name)
    except FileNotFoundError:
        raise InputError(f"{name} does not exist: check the path") from None
    except (OSError, EOFError, zlib.error, struct.error) as error:
        if isinstance(error, PermissionError):
            raise InputError(f"{name} cannot be opened: its permissions forbid it") from None
        raise _damaged(name) from None


def _damaged(name: str) -> InputError:
    return InputError(f"{name} is truncated or damaged: export or copy it again")


def _truncated(name: str, held: int, expected: int) -> InputError:
    return InputError(f"{name} is truncated: it holds {held} of {expected} bytes; export or copy it again")


def _check_nifti(path: Path, name: str) -> None:
    """Check the header and that the voxels are all there; reads a compressed file to its end (and its checksum)."""
    compressed = path.name.lower().endswith(".gz")
    with gzip.open(path, "rb") if compressed else path.open("rb") as file:
        header = file.read(540)
        expected = _nifti_bytes(header, name)
        if compressed:
            held = len(header)
            while chunk := file.read(_CHUNK):
                held += len(chunk)
        else:
            held = path.stat().st_size
    if held < expected:
        raise _truncated(name, held, expected)


def _nifti_bytes(header: bytes, name: str) -> int:
    """Return how many bytes a NIfTI file must hold (nifti1.h, nifti2.h of the NIfTI data format working group)."""
    for order in "<>":
        size = struct.unpack_from(f"{order}i", header)[0] if len(header) >= 348 else 0
        if size == 348:
            dims = struct.unpack_from(f"{order}8h", header, 40)
            bits = struct.unpack_from(f"{order}h", header, 72)[0]
            offset = struct.unpack_from(f"{order}f", header, 108)[0]
            geometry = struct.unpack_from(f"{order}8f", header, 76) + struct.unpack_from(f"{order}18f", header, 256)
            break
        if size == 540 and len(header) >= 540:
            dims = struct.unpack_from(f"{order}8q", header, 16)
            bits = struct.unpack_from(f"{order}h", header, 14)[0]
            offset = struct.unpack_from(f"{order}q", header, 168)[0]
            geometry = struct.unpack_from(f"{order}8d", header, 104) + struct.unpack_from(f"{order}18d", header, 352)
            break
    else:
        if len(header) < 348:
            raise _damaged(name)
        raise InputError(f"{name} is not a NIfTI file: give it the right extension or export it again")
    if not np.isfinite(geometry).all():
        raise InputError(f"the position in {name} is not given by finite numbers: export it again from its source")
    extents = dims[1 : 1 + dims[0]]
    if not 1 <= dims[0] <= 7 or min(extents) < 1:
        raise _damaged(name)
    return int(offset) + int(np.prod(extents, dtype=object)) * bits // 8


def _check_nrrd(path: Path, name: str) -> None:
    """Check the magic and that a detached data file is there; ITK itself notices missing voxels."""
    lines = _text_header(path, b"\n\n", b"\r\n\r\n").splitlines()
    if not lines or not lines[0].startswith("NRRD"):
        raise InputError(f"{name} is not an NRRD file: give it the right extension or export it again")
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip().lower() not in ("data file", "datafile"):
            continue
        if not value.strip().upper().startswith("LIST") and "%" not in value:
            _require_data_file(path, value.strip(), name)


def _check_meta(path: Path, name: str) -> None:
    """Check the header and the size of the voxels, inside the file or beside it (itkMetaImageIO)."""
    raw = _text_header(path, b"ElementDataFile")
    fields = {
        key.strip(): value.strip() for key, mark, value in (line.partition("=") for line in raw.splitlines()) if mark
    }
    if not {"NDims", "DimSize", "ElementType"} <= fields.keys():
        raise InputError(f"{name} is not a MetaImage file: give it the right extension or export it again")
    data = fields.get("ElementDataFile", "")
    if not data:
        raise _damaged(name)
    if data.split()[0].upper() == "LIST" or "%" in data:
        raise InputError(f"{name} spreads its voxels over several files: save it as one .mha or .nrrd file")
    if data.upper() == "LOCAL":
        start = len(raw.encode("latin-1"))
        held = path.stat().st_size - start
    else:
        held = _require_data_file(path, data, name).stat().st_size
    try:
        if fields.get("BinaryData", "true").lower() == "false":
            return
        if fields.get("CompressedData", "").lower() == "true":
            expected = int(fields.get("CompressedDataSize", "0"))
        else:
            voxel = _META_BYTES[fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")]
            size = [int(n) for n in fields["DimSize"].split()]
            expected = int(np.prod(size, dtype=object)) * voxel * int(fields.get("ElementNumberOfChannels", "1"))
    except (KeyError, ValueError):
        raise _damaged(name) from None
    if held < expected:
        raise _truncated(name, held, expected)


def _text_header(path: Path, *ends: bytes) -> str:
    """Return the text at the start of a file up to one of its end marks and the line it stands in."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    for end in ends:
        place = head.find(end)
        if place >= 0:
            line_end = head.find(b"\n", place)
            return head[: line_end + 1 if line_end >= 0 else len(head)].decode("latin-1")
    return head.decode("latin-1")


def _require_data_file(path: Path, value: str, name: str) -> Path:
    """Return the path of the detached voxels of a header file."""
    data = path.parent / value
    if not data.is_file():
        raise InputError(f"the voxels of {name} are missing: keep its data file beside it")
    return data
