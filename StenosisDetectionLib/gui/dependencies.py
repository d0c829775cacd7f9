"""Packages that Slicer lacks: checks for them and offers to install them, never without asking."""

import importlib.util
from pathlib import Path

from ..errors import InputError

TORCH_MISSING = (
    "PyTorch is missing: install the PyTorch extension in the Extensions Manager, restart Slicer and try again"
)


def require_torch() -> None:
    """Raise InputError, which says what to do, when PyTorch is not installed; installs nothing."""
    if importlib.util.find_spec("torch") is None:
        raise InputError(TORCH_MISSING)


def ensure_torch() -> None:
    """Make PyTorch available through the PyTorch extension, which asks the user before it installs anything."""
    import slicer

    if importlib.util.find_spec("torch") is not None:
        return
    if importlib.util.find_spec("PyTorchUtils") is None or slicer.app.testingEnabled():
        raise InputError(TORCH_MISSING)
    from PyTorchUtils import PyTorchUtilsLogic

    if PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=">=2.4") is None:
        raise InputError("PyTorch was not installed: press Apply again and accept, or install it in PyTorch Utils")


def ensure_packages(requirements: Path) -> None:
    """Install the packages of a requirements file that are missing, after the user agreed."""
    import slicer.packaging

    slicer.packaging.pip_ensure(slicer.packaging.load_requirements(requirements), requester="StenosisDetection")
