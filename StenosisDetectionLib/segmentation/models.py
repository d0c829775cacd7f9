"""The registered segmentation models: the one list that the options, the command line and the panel choose from."""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import ModelError
from ..options import AnalysisOptions
from ..progress import StageReport, no_report
from ..study import CTVolume, LumenSegmentation
from . import vesselness
from .aorta import Aorta


@dataclass(frozen=True)
class RegisteredModel:
    """A segmentation model.

    Parameters
    ----------
    name, version : as in the report.
    description : one sentence for people.
    segment : makes the segmentation from (volume, aorta, options, device, report).
    weights : base name of the file of its weights, None where it needs none.
    sha256 : checksum of that file.
    """

    name: str
    version: str
    description: str
    segment: Callable[[CTVolume, Aorta, AnalysisOptions, str, StageReport], LumenSegmentation]
    weights: str | None = None
    sha256: str | None = None


_MODELS = (
    RegisteredModel(
        vesselness.NAME,
        vesselness.VERSION,
        "Multi-scale tube filter with region growing from the aortic root; needs no weights and no GPU.",
        vesselness.segment_vesselness,
    ),
)


def list_models() -> tuple[RegisteredModel, ...]:
    """Return the registered models, the default first."""
    return _MODELS


def get_model(name: str) -> RegisteredModel:
    """Return a model by name.

    Raises
    ------
    ModelError : there is no such model; the message names those there are.
    """
    for model in _MODELS:
        if model.name == name:
            return model
    known = ", ".join(model.name for model in _MODELS)
    raise ModelError(f"unknown segmentation model '{name}': choose one of {known}")


def segment(
    volume: CTVolume, aorta: Aorta, options: AnalysisOptions, device: str, report: StageReport = no_report
) -> LumenSegmentation:
    """Segment the coronary lumen with the model of the options.

    Parameters
    ----------
    device : a resolved torch device (see `devices.resolve_device`).

    Raises
    ------
    ModelError : the model is unknown.
    """
    return get_model(options.model).segment(volume, aorta, options, device, report)
