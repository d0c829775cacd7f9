"""What is computed for research alone, where an option asks for it; nothing of it enters grades or categories."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from ..findings import ResearchFindings
from ..options import FAT_ATTENUATION, PRESSURE_DROP
from .fat_attenuation import fat_attenuation
from .pressure_drop import pressure_drops

if TYPE_CHECKING:
    from ..study import CTVolume, Lesion, LumenProfile, StudyResult, VesselTree


def research_findings(
    names: Collection[str],
    volume: CTVolume,
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    lesions: tuple[Lesion, ...],
) -> ResearchFindings | None:
    """Return the research findings of these names (`options.RESEARCH`); None where none is asked for."""
    if not names:
        return None
    return ResearchFindings(
        fat=fat_attenuation(volume, tree, profiles) if FAT_ATTENUATION in names else None,
        pressure=pressure_drops(tree, profiles, lesions) if PRESSURE_DROP in names else None,
    )


def with_lesions(study: StudyResult, lesions: tuple[Lesion, ...]) -> ResearchFindings | None:
    """Return the research findings of a study whose lesions have changed: no voxel is read again."""
    if study.research is None or study.research.pressure is None:
        return study.research
    return replace(study.research, pressure=pressure_drops(study.tree, study.profiles, lesions))
