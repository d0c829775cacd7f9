"""Checksums of the verification set, and whether what is made here is what was frozen.

A case is frozen by the SHA-256 of its truth with numbers rounded to 0.01 (mm, HU, %), and, where the manifest has
one, by a probe: HU at the nodes of a coarse grid in the noise-free image, compared with a tolerance. Processors and
versions of the numerical libraries differ in the last bits of a sum; neither the rounding nor the tolerance notices.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from ..geometry import shifted
from ..resources import resource_path
from .assembly import Grid
from .scanning import noise_free, scene_of
from .truth import PhantomTruth
from .verification import VERSION, VerificationCase, heart_of, make_case, truth_of
from .writing import truth_as_dict

PROBE_TOLERANCE_HU = 2

_PROBE_VOXELS = 24  # edge of the part of a heart that is rendered for its probe
_PROBE_NODES = 4  # along each axis


def manifest_path() -> Path:
    """Return where the manifest lies."""
    return resource_path("verification") / "manifest.json"


def read_manifest() -> dict[str, dict[str, object]]:
    """Return the checksums by the name of the case."""
    content = json.loads(manifest_path().read_text(encoding="utf-8"))
    return dict(content["cases"])


def write_manifest(entries: dict[str, dict[str, object]], path: Path) -> None:
    """Write checksums by the name of the case."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(entries.items()))
    path.write_text(f'{{"version": {VERSION}, "cases": {{\n{lines}\n}}}}\n', encoding="utf-8")


def entry_of(case: VerificationCase, with_probe: bool) -> dict[str, object]:
    """Return the checksum of a case, and its probe where it is wanted."""
    entry: dict[str, object] = {"truth_sha256": truth_checksum(truth_of(case))}
    return entry | {"probe_hu": probe(case)} if with_probe else entry


def differences(case: VerificationCase, entry: dict[str, object]) -> list[str]:
    """Return what differs between a case as made here and its entry in the manifest; empty when nothing does."""
    found = []
    if truth_checksum(truth_of(case)) != entry["truth_sha256"]:
        found.append("truth")
    if "probe_hu" in entry:
        here, frozen = np.array(probe(case)), np.array(entry["probe_hu"])
        if here.shape != frozen.shape or np.abs(here - frozen).max() > PROBE_TOLERANCE_HU:
            found.append("image")
    return found


def truth_checksum(truth: PhantomTruth) -> str:
    """Return the SHA-256 of a truth with its numbers rounded to 0.01."""
    text = json.dumps(_rounded(truth_as_dict(truth)), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def probe(case: VerificationCase) -> list[int]:
    """Return HU at 4 x 4 x 4 places of the noise-free image of a heart, or of the image of a small phantom."""
    if case.set_name not in ("T4", "T5"):
        return _nodes(make_case(case).volume.voxels)
    plan, acquisition = heart_of(case)
    grid = acquisition.grid
    first = [(n - _PROBE_VOXELS) // 2 for n in grid.size_ijk]
    part = Grid((_PROBE_VOXELS,) * 3, shifted(grid.ijk_to_ras, (first[0], first[1], first[2])))
    scene = scene_of(plan.scene, plan.background, plan.vessels, acquisition)
    return _nodes(noise_free(scene, acquisition, part).image)


def _nodes(image: np.ndarray) -> list[int]:
    index = [np.linspace(0, n - 1, _PROBE_NODES + 2).round().astype(int)[1:-1] for n in image.shape]
    return [int(value) for value in np.round(image[np.ix_(*index)]).ravel()]


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 2) + 0.0  # no negative zero
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value
