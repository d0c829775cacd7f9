"""Find, measure and report coronary stenoses in CT angiography. Research use only, not a medical device.

    from StenosisDetectionLib import analyze, read_volume, AnalysisOptions
    study = analyze(read_volume("cta.nrrd"), AnalysisOptions(device="cpu"), progress=print)

Nothing heavy is imported here: a name is loaded when it is first used.
"""

from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .errors import Cancelled, InputError, StenosisDetectionError
    from .options import AnalysisOptions
    from .pipeline import analyze
    from .progress import CancellableProgress, Progress
    from .reading import read_label_map, read_volume
    from .study import CTVolume, LabelMap, StudyResult
    from .writing import write_case

_HOMES = {
    "analyze": "pipeline",
    "read_volume": "reading",
    "read_label_map": "reading",
    "AnalysisOptions": "options",
    "CTVolume": "study",
    "LabelMap": "study",
    "StudyResult": "study",
    "Progress": "progress",
    "CancellableProgress": "progress",
    "InputError": "errors",
    "StenosisDetectionError": "errors",
    "Cancelled": "errors",
    "write_case": "writing",
}

__all__ = [
    "AnalysisOptions",
    "CTVolume",
    "CancellableProgress",
    "Cancelled",
    "InputError",
    "LabelMap",
    "Progress",
    "StenosisDetectionError",
    "StudyResult",
    "__version__",
    "analyze",
    "read_label_map",
    "read_volume",
    "write_case",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its room on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
