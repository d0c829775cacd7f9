"""What is found in a study: lesions, a reader's decisions, the patient, image quality and research findings.

Frozen dataclasses, in RAS, mm and HU. They are imported from `study`, where the rest of the data is.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plaque:
    """Plaque of a lesion: type calcified, noncalcified, mixed or unknown; volumes in mm3, None where unknown.

    `low_attenuation_volume_mm3`, `fibrofatty_volume_mm3` and `fibrous_volume_mm3` are the parts of the noncalcified
    plaque by attenuation.
    """

    type: str
    volume_mm3: float | None
    calcified_volume_mm3: float | None
    low_attenuation_volume_mm3: float | None = None
    fibrofatty_volume_mm3: float | None = None
    fibrous_volume_mm3: float | None = None


@dataclass(frozen=True)
class Lesion:
    """One narrowing; fields as in report.json. Percentages are 0 to 100, None where unknown.

    Parameters
    ----------
    local_reference_diameter_mm, local_reference_method : the healthy diameter beside the lesion, as quantitative
        coronary angiography takes it (interp, prox, dist); None where neither side could be measured.
    model_reference_diameter_mm : the healthy diameter of the taper model at the throat.
    diameter_stenosis_error : standard error of the diameter stenosis in percentage points, before it is clipped.
    eccentricity : smallest over largest diameter at the throat.
    remodeling_index : outer diameter at the throat over that of the healthy vessel beside the lesion; None where the
        outer wall does not show.
    features : candidates of high-risk plaque features (low_attenuation, positive_remodeling, spotty_calcification,
        napkin_ring).
    """

    id: str
    vessel: str
    segment: str
    position_ras: tuple[float, float, float]
    start_mm: float
    throat_mm: float
    end_mm: float
    length_mm: float
    minimal_lumen_diameter_mm: float
    minimal_lumen_area_mm2: float
    reference_diameter_mm: float
    reference_method: str
    diameter_stenosis_percent: float
    diameter_stenosis_interval_90: tuple[float, float]
    area_stenosis_percent: float
    probability_50: float
    probability_70: float
    grade: str
    plaque: Plaque
    flags: tuple[str, ...] = ()
    local_reference_diameter_mm: float | None = None
    local_reference_method: str | None = None
    model_reference_diameter_mm: float | None = None
    diameter_stenosis_error: float | None = None
    eccentricity: float | None = None
    remodeling_index: float | None = None
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class LesionReview:
    """A reader's decision on one lesion.

    Parameters
    ----------
    lesion_id : of the lesion in the study as the software found it, or of one the reader added.
    decision : accepted, rejected, edited or commented.
    by, at : who decided, and when (ISO 8601).
    comment : the reader's words.
    before, after : the lesion before and after the decision; `before` is None where the reader added it, `after` None
        where it was rejected.
    """

    lesion_id: str
    decision: str
    by: str
    at: str
    comment: str = ""
    before: Lesion | None = None
    after: Lesion | None = None


@dataclass(frozen=True)
class VesselSeverity:
    """How narrow a territory (LM, LAD, LCX, RCA) is: worst grade and stenosis, with ordinal probabilities.

    `probability_25`, `probability_50` and `probability_70` are those that its worst diameter stenosis reaches these
    percentages; `assessed` is False where a part of it that should be graded could not be.
    """

    territory: str
    grade: str
    diameter_stenosis_percent: float
    probability_25: float
    probability_50: float
    probability_70: float
    assessed: bool


@dataclass(frozen=True)
class Patient:
    """The findings of the whole study; `reviewed` is None until a named reader signs (who, ISO 8601 time).

    `segment_stenosis_score` adds for each segment 0 (no plaque), 1 (plaque, stenosis below 50 %), 2 (50 to 69 %) or 3
    (70 % and more); `severity` has one entry per territory that was found. The plaque volumes are sums over the part of
    the whole tree in which the outer wall can be measured, `wall_shown_percent` of its length, and calcium everywhere;
    `percent_atheroma_volume` is their part of the vessel within the outer wall there. None where it never shows.
    """

    cad_rads: str | None
    cad_rads_text: str
    plaque_burden: str | None
    segment_involvement_score: int | None
    dominance: str
    modifiers: tuple[str, ...] = ()
    reviewed: tuple[str, str] | None = None
    segment_stenosis_score: int | None = None
    severity: tuple[VesselSeverity, ...] = ()
    plaque_volume_mm3: float | None = None
    percent_atheroma_volume: float | None = None
    calcified_volume_mm3: float | None = None
    low_attenuation_volume_mm3: float | None = None
    fibrofatty_volume_mm3: float | None = None
    fibrous_volume_mm3: float | None = None
    wall_shown_percent: float | None = None

    @property
    def probability_50(self) -> float | None:
        """The largest probability of a diameter stenosis of 50 % among the territories; None without any."""
        return max((one.probability_50 for one in self.severity), default=None)

    @property
    def probability_70(self) -> float | None:
        """The largest probability of a diameter stenosis of 70 % among the territories; None without any."""
        return max((one.probability_70 for one in self.severity), default=None)


@dataclass(frozen=True)
class Quality:
    """Image quality: noise and aortic attenuation in HU, point spread sigma along i, j, k in mm; None where unknown.

    `blood_hu` is the attenuation of arterial blood that the lumen was measured with; `contrast_to_noise` is the median
    along the main vessels of (lumen - surroundings) / `noise_hu`.
    """

    noise_hu: float | None
    aorta_hu: float | None
    psf_sigma_mm: tuple[float, float, float] | None
    warnings: tuple[str, ...] = ()
    blood_hu: float | None = None
    contrast_to_noise: float | None = None


@dataclass(frozen=True)
class SegmentQuality:
    """Image quality along one segment; numbers are None where they cannot be measured.

    Parameters
    ----------
    vessel, number : the vessel and the number of the SCCT segment on it.
    lumen_hu : median attenuation at the center of the lumen, as the point spread leaves it.
    noise_hu, noise_error_hu : SD of the voxels in the core of the lumen around a trend along the vessel, and its
        standard error; None where the vessel is too narrow to have a core that the edge does not reach.
    contrast_to_noise : median of (lumen - surroundings) over the noise of the segment, or that of the study where it is
        None.
    measured_percent : share of the length in which the lumen was measured.
    """

    vessel: str
    number: int
    lumen_hu: float | None
    noise_hu: float | None
    noise_error_hu: float | None
    contrast_to_noise: float | None
    measured_percent: float


@dataclass(frozen=True)
class FatAttenuation:
    """Pericoronary fat along a vessel from `start_mm` to `end_mm`: mean attenuation in HU and its standard error.

    `volume_mm3` is the volume of fat in the shell and `fat_percent` its part of the shell; the shell reaches from the
    outer wall outwards by `thickness_mm`. `wall_shown_percent` is the part of the stretch in which the outer wall was
    measured; elsewhere it is assumed. `attenuation_hu` is None where there is hardly any fat.
    """

    vessel: str
    start_mm: float
    end_mm: float
    thickness_mm: float
    attenuation_hu: float | None
    error_hu: float | None
    volume_mm3: float
    fat_percent: float
    wall_shown_percent: float


@dataclass(frozen=True)
class PressureDrop:
    """The modeled pressure drop of one lesion in mmHg at the modeled flow in ml/s, and distal over aortic pressure.

    `pressure_ratio_interval_90` follows from the 90 % interval of the diameter stenosis alone; it does not hold the
    error of the model. Numbers are None where the lesion cannot be modeled, for example an occlusion.
    """

    lesion_id: str
    flow_ml_s: float | None
    pressure_drop_mmhg: float | None
    pressure_ratio: float | None
    pressure_ratio_interval_90: tuple[float, float] | None


@dataclass(frozen=True)
class ResearchFindings:
    """What only research asks for; each part is None unless it was switched on (`AnalysisOptions.research`)."""

    fat: tuple[FatAttenuation, ...] | None = None
    pressure: tuple[PressureDrop, ...] | None = None
