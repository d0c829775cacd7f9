"""Which of the loaded volumes looks most like a coronary CT angiography; plain data without Qt and Slicer.

In: facts of each volume of the scene. Out: the best one and why. The words in the names of series are those that the
reader of DICOM folders looks for.
"""

from dataclasses import dataclass

from ..i18n import tr as _
from ..reading.dicom_choice import CARDIAC_WORDS, CONTRAST_WORDS, PLAIN_WORDS, TIMING_WORDS
from .vocabulary import word


@dataclass(frozen=True)
class VolumeFacts:
    """What the scene knows of a volume: node id, name, DICOM modality ("" when unknown), size and spacing in mm."""

    node_id: str
    name: str
    modality: str
    size_ijk: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Suggestion:
    """The volume that is suggested and the reasons, for people."""

    node_id: str
    name: str
    reasons: tuple[str, ...]

    @property
    def line(self) -> str:
        """The suggestion in one line."""
        return _("Suggested: {name} ({reasons})").format(name=self.name, reasons=", ".join(self.reasons))


_MINIMUM_SLICES, _MANY_SLICES = 16, 100
_HEART_MM = (150.0, 280.0)


def suggest_volume(volumes: tuple[VolumeFacts, ...]) -> Suggestion | None:
    """Return the volume with the most points, the first loaded of equals; None when none can be a CT angiography."""
    best: tuple[int, VolumeFacts, tuple[str, ...]] | None = None
    for volume in volumes:
        points, reasons = _judge(volume)
        if points > 0 and (best is None or points > best[0]):
            best = (points, volume, reasons)
    return None if best is None else Suggestion(best[1].node_id, best[1].name, best[2])


def _judge(volume: VolumeFacts) -> tuple[int, tuple[str, ...]]:
    name = volume.name.lower()
    if volume.modality not in ("", "CT") or min(volume.size_ijk) < _MINIMUM_SLICES:
        return 0, ()
    slices = volume.size_ijk[2]
    thickness = volume.spacing_mm[2]
    field = volume.size_ijk[0] * volume.spacing_mm[0]
    judged = (
        (2, "CT", volume.modality == "CT"),
        (4, word("contrast agent by its name"), _has(name, CONTRAST_WORDS)),
        (3, word("cardiac by its name"), _has(name, CARDIAC_WORDS)),
        (2, _("{count} slices").format(count=slices), slices >= _MANY_SLICES),
        (1, "", thickness <= 1.0),
        (1, _("{distance} mm apart").format(distance=f"{thickness:.2g}"), thickness <= 0.6),
        (2, word("cardiac field of view"), _HEART_MM[0] <= field <= _HEART_MM[1]),
        (-6, "", _has(name, PLAIN_WORDS)),
        (-6, "", _has(name, TIMING_WORDS)),
        (1, "", True),
    )
    met = [(points, reason) for points, reason, holds in judged if holds]
    return sum(points for points, _ in met), tuple(reason for _, reason in met if reason) or (
        word("the only candidate"),
    )


def _has(name: str, words: tuple[str, ...]) -> bool:
    return any(word in name for word in words)
