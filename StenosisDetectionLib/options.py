"""The options of an analysis: one dataclass for the panel, the command line and the batch alike."""

from dataclasses import dataclass

from .errors import InputError

DEFAULT_MODEL = "coronary"
"""The segmentation model of an analysis that names none."""

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
"""Numeric precisions of the network; `auto` takes the half precision of the device where it agrees with fp32 and is
faster; models without weights always compute in fp32."""

FAT_ATTENUATION, PRESSURE_DROP = "fat-attenuation", "pressure-drop"
RESEARCH = (FAT_ATTENUATION, PRESSURE_DROP)
"""What can be computed for research beyond the findings, off unless asked for."""


@dataclass(frozen=True)
class AnalysisOptions:
    """How a study is analyzed.

    Parameters
    ----------
    model : name of a registered segmentation model (see `stenosis-detection models`), or the path of weights.
    device : `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes the first GPU or else the CPU.
    precision : one of `PRECISIONS`.
    roi : region to search, in mm of RAS: (x0, x1, y0, y1, z0, z1); None searches the whole volume.
    minimum_reference_diameter_mm : vessels with a smaller healthy diameter are not graded
        (CAD-RADS 2.0 grades vessels above 1.5 mm).
    research : names of `RESEARCH` to compute as well.

    Raises
    ------
    InputError : an option has no meaning; the message names it.
    """

    model: str = DEFAULT_MODEL
    device: str = "auto"
    precision: str = "auto"
    roi: tuple[float, float, float, float, float, float] | None = None
    minimum_reference_diameter_mm: float = 1.5
    research: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(f"unknown precision '{self.precision}': choose one of {', '.join(PRECISIONS)}")
        if self.roi is not None and not _is_region(self.roi):
            raise InputError("the region (roi) needs six numbers in mm of RAS, x0,x1,y0,y1,z0,z1, with each x0 < x1")
        if not 0.5 <= self.minimum_reference_diameter_mm <= 5.0:
            raise InputError("the smallest graded diameter must lie between 0.5 and 5 mm")
        for name in self.research:
            if name not in RESEARCH:
                raise InputError(f"unknown research option '{name}': choose from {', '.join(RESEARCH)}")


def _is_region(roi: tuple[float, ...]) -> bool:
    return len(roi) == 6 and all(low < high for low, high in zip(roi[0::2], roi[1::2], strict=True))
