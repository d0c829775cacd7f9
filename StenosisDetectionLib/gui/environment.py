"""What this computer has of what an analysis needs, in words; plain data without Qt and Slicer.

In: the installed packages and, once PyTorch is loaded, its devices. Out: lines for the panel, and what can be
installed. Loading PyTorch takes seconds, so looking alone does not load it: `load` does, when the user asks.
"""

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..i18n import tr as _

TORCH_REQUIREMENT = ">=2.4"
_LOW_GPU_MEMORY_GB, _LOW_MEMORY_GB = 4.0, 4.0


@dataclass(frozen=True)
class Environment:
    """What was found.

    Parameters
    ----------
    torch_version : None when PyTorch is not installed.
    devices : what PyTorch can compute on, in words; None while it is not loaded.
    gpu_free_gb, memory_free_gb : free memory in GB; None when unknown.
    missing_packages : requirements that are not met, as they are written.
    """

    torch_version: str | None
    devices: tuple[str, ...] | None
    gpu_free_gb: float | None
    memory_free_gb: float | None
    missing_packages: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether nothing has to be installed."""
        return self.torch_version is not None and not self.missing_packages


def look(missing_packages: tuple[str, ...] = (), load: bool = False) -> Environment:
    """Return what this computer has; with `load`, PyTorch is loaded to ask it for its devices."""
    version = torch_version()
    loaded = "torch" in sys.modules or (load and version is not None)
    devices, gpu_free = _torch_devices() if loaded else (None, None)
    return Environment(version, devices, gpu_free, free_memory_gb(), missing_packages)


def environment_lines(environment: Environment) -> tuple[str, ...]:
    """Return the state of this computer, one line per fact, with what to do where something is missing."""
    lines = []
    if environment.torch_version is None:
        lines.append(_("PyTorch: missing – press Install PyTorch"))
    else:
        lines.append(_("PyTorch: {version}").format(version=environment.torch_version))
    if environment.devices is not None:
        gpus = [device for device in environment.devices if not device.startswith("cpu")]
        if not gpus:
            lines.append(_("GPU: none, the processor computes"))
        elif environment.gpu_free_gb is None:
            lines.append(_("GPU: {names}").format(names="; ".join(gpus)))
        else:
            free = f"{environment.gpu_free_gb:.1f}"
            lines.append(_("GPU: {names}, {free} GB free").format(names="; ".join(gpus), free=free))
        if environment.gpu_free_gb is not None and environment.gpu_free_gb < _LOW_GPU_MEMORY_GB:
            lines.append(_("Little GPU memory is free: the analysis will work in smaller pieces, or choose cpu"))
    elif environment.torch_version is not None:
        lines.append(_("GPU: not looked for yet – press Check this computer"))
    if environment.memory_free_gb is not None:
        low = environment.memory_free_gb < _LOW_MEMORY_GB
        text = _("Memory: {free} GB free: close other programs") if low else _("Memory: {free} GB free")
        lines.append(text.format(free=f"{environment.memory_free_gb:.1f}"))
    if environment.missing_packages:
        missing = ", ".join(environment.missing_packages)
        lines.append(_("Packages: {names} missing – press Install packages").format(names=missing))
    else:
        lines.append(_("Packages: complete"))
    return tuple(lines)


def torch_version() -> str | None:
    """Return the version of the installed PyTorch without loading it; None when there is none."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return _("of unknown version")


def missing_requirements(requirements: list[str], check: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the requirements that `check`, for example `slicer.packaging.pip_check`, says are not met."""
    return tuple(requirement for requirement in requirements if not check(requirement))


def free_memory_gb() -> float | None:
    """Return the memory that programs can still take, in GB; None where the system does not tell."""
    try:
        if sys.platform == "linux":
            for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) / 2**20
        if sys.platform == "win32":
            return _free_memory_windows_gb()
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (OSError, ValueError, AttributeError):
        return None


def _free_memory_windows_gb() -> float | None:
    import ctypes

    class MemoryStatus(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *[(f"value{index}", ctypes.c_ulonglong) for index in range(7)],
        )

    status = MemoryStatus()
    status.length = ctypes.sizeof(status)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - the name exists on Windows only
    return float(status.value1) / 2**30 if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None


def _torch_devices() -> tuple[tuple[str, ...], float | None]:
    import torch

    from ..devices import available_devices, device_description

    devices = available_devices()
    free = torch.cuda.mem_get_info()[0] / 2**30 if devices[0].startswith("cuda") else None
    return tuple(device_description(device) for device in devices), free
