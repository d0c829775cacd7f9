"""Which compute devices the panel offers.

PyTorch takes seconds to load, so the panel does not load it only to fill a list: until something else has loaded
it, `cuda` is offered on trust and refused with a reason when it is used.
"""

import importlib.util
import sys


def device_choices() -> tuple[str, ...]:
    """Return the values of `AnalysisOptions.device` that make sense here, `auto` first."""
    choices = ["auto", "cpu"]
    torch = sys.modules.get("torch")
    if torch is None:
        if importlib.util.find_spec("torch") is not None:
            choices.append("cuda")
        return tuple(choices)
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        choices += ["cuda"] if count == 1 else [f"cuda:{index}" for index in range(count)]
    if torch.backends.mps.is_available():
        choices.append("mps")
    return tuple(choices)
