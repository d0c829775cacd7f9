"""Cross-sections of the lumen on the original voxels: CT and vessel tree in, profiles in mm and mm2 out."""

from .attenuation import coronary_attenuation
from .measure import measure_lumen
from .point_spread import PointSpread, assumed_point_spread, estimate_point_spread
from .remeasure import measure_correction
from .sampling import VolumeSampler
from .segment_quality import segment_quality, study_contrast_to_noise

__all__ = [
    "PointSpread",
    "VolumeSampler",
    "assumed_point_spread",
    "coronary_attenuation",
    "estimate_point_spread",
    "measure_correction",
    "measure_lumen",
    "segment_quality",
    "study_contrast_to_noise",
]
