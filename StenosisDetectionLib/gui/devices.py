"""Which compute devices the panel offers.

PyTorch takes seconds to load, so the panel does not load it only to fill a list: until something else has loaded
it, `cuda` is offered on trust and refused with a reason when it is used.
"""

import importlib.util
import sys

from ..devices import available_devices


def device_choices() -> tuple[str, ...]:
    """Return the values of `AnalysisOptions.device` that make sense here, `auto` first."""
    if "torch" in sys.modules:
        return ("auto", *available_devices())
    if importlib.util.find_spec("torch") is not None:
        return ("auto", "cuda", "cpu")
    return ("auto", "cpu")
