"""What a synthetic heart is made of before anything is rendered: solids, vessels, lesions. RAS, mm, HU."""

from dataclasses import dataclass, replace

import numpy as np

from ..render import Field, Painted
from ..truth import LesionShape, LesionTruth, VesselTruth, lesion_truth
from .disease import Stent
from .plaque import PlaqueGeometry, plaque_volumes
from .vessels import Contents


@dataclass(frozen=True, eq=False)
class HeartPlan:
    """A heart with its chest, coronary tree and lesions, as solids and lines.

    Parameters
    ----------
    seed, family : what `plan_heart` made it from.
    scene : solids, back to front; `label` is one of `truth.HEART_LABELS`, `motion` the group that moves as one.
    background : attenuation where nothing is painted.
    vessels : every named vessel, healthy, parents before children, with its SCCT segments.
    side_branches : small unnamed branches, painted with `truth.SIDE_BRANCH_LABEL`; `parent` is a named vessel.
    lesions : stenoses to narrow the vessels by (`truth.narrowed`).
    ostia_ras : where the arteries leave the sinus wall, by the name of the vessel that begins there.
    dominance : right, left or balanced.
    anomalies : short words, most often none.
    attenuation_hu : what was painted, with `kvp`.
    heart_bounds_ras : (2, 3) box of the heart with its fat and the aortic root.
    plaques : the geometry of every lesion, in their order.
    stents : most often none.
    contents, vessel_part : what the vessels were painted with, and where in `scene` they begin and end.
    """

    seed: int
    family: str
    scene: tuple[Painted, ...]
    background: float | Field
    vessels: tuple[VesselTruth, ...]
    side_branches: tuple[VesselTruth, ...]
    lesions: tuple[LesionShape, ...]
    ostia_ras: dict[str, np.ndarray]
    dominance: str
    anomalies: tuple[str, ...]
    attenuation_hu: dict[str, float]
    heart_bounds_ras: np.ndarray
    plaques: tuple[PlaqueGeometry, ...] = ()
    stents: tuple[Stent, ...] = ()
    contents: Contents | None = None
    vessel_part: tuple[int, int] = (0, 0)

    def lesion_truths(self) -> tuple[LesionTruth, ...]:
        """Return the truth of every lesion, with the volumes of its plaque and calcium from the geometry."""
        by_name = {vessel.name: vessel for vessel in self.vessels}
        truths = []
        for plaque in self.plaques:
            volume, calcium = plaque_volumes(plaque)
            truth = lesion_truth(plaque.lesion, by_name[plaque.lesion.vessel])
            truths.append(replace(truth, plaque_volume_mm3=volume, calcium_volume_mm3=calcium))
        return tuple(truths)
