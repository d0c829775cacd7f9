"""Packages that Slicer lacks: checks for them and offers to install them, never without asking."""

import importlib.util
import subprocess
from pathlib import Path

from ..errors import InputError
from ..i18n import tr as _
from .environment import TORCH_REQUIREMENT, missing_requirements


def require_torch() -> None:
    """Raise InputError, which says what to do, when PyTorch is not installed; installs nothing."""
    if importlib.util.find_spec("torch") is None:
        raise _torch_missing()


def require_packages(requirements: Path) -> None:
    """Raise InputError, which says what to do, when PyTorch or a package of a requirements file is not installed."""
    require_torch()
    missing = missing_packages(requirements)
    if missing:
        raise InputError(
            _("Python packages are missing ({names}): press Install packages under Model and device").format(
                names=", ".join(missing)
            )
        )


def install_torch() -> None:
    """Install PyTorch through the PyTorch extension, which asks the user first; nothing to do when it is there.

    Raises
    ------
    InputError : there is no PyTorch extension, the user did not agree, or pip failed.
    """
    import slicer

    if importlib.util.find_spec("torch") is not None:
        return
    if importlib.util.find_spec("PyTorchUtils") is None or slicer.app.testingEnabled():
        raise _torch_missing()
    from PyTorchUtils import PyTorchUtilsLogic

    try:
        torch = PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=TORCH_REQUIREMENT)
    except subprocess.CalledProcessError as error:
        raise _pip_failed() from error
    if torch is None:
        raise InputError(
            _("PyTorch was not installed: press Install PyTorch and accept, or use the module PyTorch Utils")
        )


def missing_packages(requirements: Path) -> tuple[str, ...]:
    """Return the packages of a requirements file that are not installed; PyTorch is none of them."""
    import slicer.packaging

    wanted = slicer.packaging.load_requirements(requirements)  # objects of packaging.requirements, no texts
    return missing_requirements([str(each) for each in wanted], lambda each: bool(slicer.packaging.pip_check(each)))


def install_packages(requirements: Path) -> None:
    """Install the packages of a requirements file that are missing, after the user agreed.

    Raises
    ------
    InputError : the user did not agree, or pip failed.
    """
    import slicer.packaging

    try:
        slicer.packaging.pip_ensure(slicer.packaging.load_requirements(requirements), requester="StenosisDetection")
    except RuntimeError as error:  # this is how Slicer says that the user declined
        raise InputError(_("the packages were not installed: press Install packages and accept")) from error
    except subprocess.CalledProcessError as error:
        raise _pip_failed() from error


def _pip_failed() -> InputError:
    return InputError(
        _("pip could not install the packages: connect this computer to the internet, and look into the log")
    )


def _torch_missing() -> InputError:
    if importlib.util.find_spec("PyTorchUtils") is not None:
        return InputError(_("PyTorch is missing: press Install PyTorch under Model and device"))
    return InputError(
        _("PyTorch is missing: install the PyTorch extension in the Extensions Manager, restart Slicer and try again")
    )
