"""The data that walks through the house: frozen dataclasses, in RAS, mm, HU and arrays [k, j, i].

None of them has behavior beyond its own geometry. A per-point array of a vessel has one entry per centerline
point, every `CENTERLINE_SPACING_MM` from the vessel's start.
"""

from dataclasses import dataclass, field

import numpy as np

from .findings import (
    FatAttenuation,
    Lesion,
    LesionReview,
    Patient,
    Plaque,
    PressureDrop,
    Quality,
    ResearchFindings,
    SegmentQuality,
    VesselSeverity,
)
from .geometry import spacing_of

__all__ = [
    "CENTERLINE_SPACING_MM",
    "CTVolume",
    "FatAttenuation",
    "LabelMap",
    "Lesion",
    "LesionReview",
    "LumenProfile",
    "LumenSegmentation",
    "ModelInfo",
    "Patient",
    "Plaque",
    "PressureDrop",
    "Quality",
    "ReferenceProfile",
    "ResearchFindings",
    "SegmentQuality",
    "StudyResult",
    "Vessel",
    "VesselSegment",
    "VesselSeverity",
    "VesselTree",
]

CENTERLINE_SPACING_MM = 0.25
"""Distance between centerline points in mm."""


@dataclass(frozen=True, eq=False)
class CTVolume:
    """A CT volume.

    Parameters
    ----------
    voxels : float32 array [k, j, i] in HU.
    ijk_to_ras : 4 x 4 matrix from voxel indices (i, j, k) to RAS in mm.
    modality : DICOM modality.
    source_format : DICOM, NRRD, NIfTI, MetaImage, Slicer or array.
    acquisition : what the file says of the scan (`kvp`, `contrast_agent`, `kernel`, `manufacturer`,
        `slice_thickness_mm`, `cardiac_phase_percent`), never anything of the patient.
    warnings : one line each, for the report.
    """

    voxels: np.ndarray
    ijk_to_ras: np.ndarray
    modality: str = "CT"
    source_format: str = "array"
    acquisition: dict[str, str | float | bool] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def size_ijk(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        k, j, i = self.voxels.shape
        return i, j, k

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing along i, j, k in mm."""
        return spacing_of(self.ijk_to_ras)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labeled voxels on a grid of their own.

    `labels` is an unsigned integer array [k, j, i], 0 is background; `names` maps each value to its name.
    """

    labels: np.ndarray
    ijk_to_ras: np.ndarray
    names: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelInfo:
    """The segmentation model that was used: `sha256` is that of its weights, None where it has none."""

    name: str
    version: str
    sha256: str | None = None


@dataclass(frozen=True, eq=False)
class LumenSegmentation:
    """The coronary lumen and the aorta as masks on one grid, and what a network knows beyond the masks.

    Parameters
    ----------
    lumen : bool array [k, j, i], the contrast-filled coronary lumen without the aorta.
    aorta : bool array [k, j, i], the contrast-filled aorta with its root; all False when it was not found.
    ijk_to_ras : 4 x 4 matrix of the grid, which need not be that of the CT volume.
    model : what made it.
    flags : short lower-case words, for example `aorta_not_found`.
    probability : float16 array [k, j, i] of the same grid, the fraction of each voxel that is lumen (0 to 1) before
        anything was cut or bridged; None when the model gives none.
    centerline_distance_mm : float16 array [k, j, i], distance to the nearest centerline, clipped where the model clips
        it (about 3 mm); None when the model gives none.
    ostia_ras, ostia_scores : (N, 3) positions and (N,) scores (0 to 1, best first) where the model sees the origin of a
        coronary artery: candidates, so several may belong to one artery; None when the model gives none.
    bridged : bool array [k, j, i], the voxels of `lumen` that only join its parts over gaps (occlusions, motion) and
        were not seen as lumen; None when the model does not bridge or does not tell.
    device, precision : where and in which numbers it was computed in the end; None and fp32 without a network.
    warnings : one line each, for the report.
    """

    lumen: np.ndarray
    aorta: np.ndarray
    ijk_to_ras: np.ndarray
    model: ModelInfo
    flags: tuple[str, ...] = ()
    probability: np.ndarray | None = None
    centerline_distance_mm: np.ndarray | None = None
    ostia_ras: np.ndarray | None = None
    ostia_scores: np.ndarray | None = None
    bridged: np.ndarray | None = None
    device: str | None = None
    precision: str = "fp32"
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class VesselSegment:
    """A segment of the SCCT 18-segment model on a vessel, from `start_mm` to `end_mm` along it.

    `scheme` and `number` belong together: other schemes use other numbers for the same place.
    """

    scheme: str
    number: int
    name: str
    snomed: str
    start_mm: float
    end_mm: float
    confidence: float


@dataclass(frozen=True, eq=False)
class Vessel:
    """A named vessel as a path.

    Parameters
    ----------
    name : LM, LAD, LCX, RCA, D1 ... (see `anatomy.VESSELS`).
    parent : name of the vessel it branches from; None when it begins at the aorta.
    parent_distance_mm : distance along the parent at which it branches off; None without parent.
    points_ras : (N, 3) centerline, every 0.25 mm.
    distance_mm : (N,) distance along the vessel from its first point.
    radius_mm : (N,) radius of the segmentation around the path; the lumen stage measures better.
    segments : its SCCT segments in order.
    flags : short lower-case words.
    """

    name: str
    parent: str | None
    parent_distance_mm: float | None
    points_ras: np.ndarray
    distance_mm: np.ndarray
    radius_mm: np.ndarray
    segments: tuple[VesselSegment, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def length_mm(self) -> float:
        """Length of the path in mm."""
        return float(self.distance_mm[-1]) if len(self.distance_mm) else 0.0


@dataclass(frozen=True, eq=False)
class VesselTree:
    """All named vessels, parents before children; dominance is right, left, balanced or unknown."""

    vessels: tuple[Vessel, ...]
    dominance: str = "unknown"
    flags: tuple[str, ...] = ()

    def vessel(self, name: str) -> Vessel:
        """Return the vessel of that name; KeyError when there is none."""
        for vessel in self.vessels:
            if vessel.name == name:
                return vessel
        raise KeyError(name)

    def ends_free(self, vessel: Vessel, within_mm: float = 1.0) -> bool:
        """Return whether a vessel ends in tissue, not in a branching as the left main coronary artery does."""
        return not any(
            child.parent == vessel.name
            and child.parent_distance_mm is not None
            and child.parent_distance_mm >= vessel.length_mm - within_mm
            for child in self.vessels
        )


@dataclass(frozen=True, eq=False)
class LumenProfile:
    """The lumen measured along one vessel; arrays have one entry per centerline point, NaN where unknown.

    Parameters
    ----------
    vessel : name of the vessel.
    area_mm2, diameter_mm : lumen area A and equivalent diameter 2 sqrt(A / pi).
    minimum_diameter_mm, maximum_diameter_mm : smallest and largest caliper diameter of the contour.
    diameter_error_mm : standard error of `diameter_mm`.
    contour_radius_mm : (N, R) radius of the lumen contour in R equally spaced directions of the frame.
    frames : (N, 3, 3), rows: tangent and the two in-plane unit vectors in RAS (rotation minimizing).
    contour_center_ras : (N, 3) center from which the contour radii are counted.
    lumen_hu : (N,) attenuation at the center of the lumen, as the point spread leaves it.
    plaque_area_mm2, calcified_area_mm2 : wall plaque beside the lumen, where it can be seen.
    quality : one word a point: ok, bifurcation, ostium, end, segmentation (the lumen fraction of the
        segmentation stands in for a fit that failed), calcium, stent, low_contrast, unreliable, outside.
    diameter_by_psf, psf_error_mm : (N,) mm that the diameter grows for each mm of a wider point spread, and the
        standard error of the point spread; None where not known.
    outer_diameter_mm : (N,) equivalent diameter of the outer wall, NaN where it does not show against its surroundings.
    plaque_hu : (N,) attenuation of wall and noncalcified plaque, the point spread taken off.
    contrast_to_noise : (N,) lumen minus surroundings over the SD of the noise.
    hidden_diameter_mm : (N, 2) smallest and largest diameter that the fit allows where calcium hides the lumen, NaN
        elsewhere; None where not known.
    calcium_error_mm : (N,) standard error of `diameter_mm`, beside that of the fit, from calcium that may be lumen and
        lumen that may be calcium; None where not known.
    """

    vessel: str
    area_mm2: np.ndarray
    diameter_mm: np.ndarray
    minimum_diameter_mm: np.ndarray
    maximum_diameter_mm: np.ndarray
    diameter_error_mm: np.ndarray
    contour_radius_mm: np.ndarray
    frames: np.ndarray
    contour_center_ras: np.ndarray
    lumen_hu: np.ndarray
    plaque_area_mm2: np.ndarray
    calcified_area_mm2: np.ndarray
    quality: tuple[str, ...]
    diameter_by_psf: np.ndarray | None = None
    psf_error_mm: float = 0.0
    outer_diameter_mm: np.ndarray | None = None
    plaque_hu: np.ndarray | None = None
    contrast_to_noise: np.ndarray | None = None
    hidden_diameter_mm: np.ndarray | None = None
    calcium_error_mm: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class ReferenceProfile:
    """The healthy diameter along one vessel, with its standard error and how it was found at each point."""

    vessel: str
    diameter_mm: np.ndarray
    error_mm: np.ndarray
    method: str


@dataclass(frozen=True, eq=False)
class StudyResult:
    """Everything an analysis gives.

    Parameters
    ----------
    case_id : pseudonymous name of the case.
    volume : the CT that was analyzed, voxels included.
    voxels_sha256 : SHA-256 of the float32 voxels.
    segmentation : the masks the tree was made from.
    labels : one label per vessel as it was measured, then calcified plaque and aorta, named, on a grid of their own.
    tree, profiles, references : vessels and, in the same order, their measurements.
    lesions : in the order of the tree, proximal first.
    timing_s : seconds per stage and `total`.
    device, precision : what was used in the end.
    parameters : the options by name.
    reviews : the decisions of readers that `lesions` and `patient` take into account, in the order they were made.
    segment_quality : image quality of every SCCT segment, in the order of the tree.
    research : None unless a research option was switched on.
    """

    case_id: str
    volume: CTVolume
    voxels_sha256: str
    segmentation: LumenSegmentation
    labels: LabelMap
    tree: VesselTree
    profiles: tuple[LumenProfile, ...]
    references: tuple[ReferenceProfile, ...]
    lesions: tuple[Lesion, ...]
    patient: Patient
    quality: Quality
    device: str
    precision: str
    parameters: dict[str, object]
    timing_s: dict[str, float]
    peak_memory_mb: float | None
    software_version: str
    reviews: tuple[LesionReview, ...] = ()
    segment_quality: tuple[SegmentQuality, ...] = ()
    research: ResearchFindings | None = None
