"""The compute device of an analysis: names as the user writes them, resolved through torch."""

import os
import time
from functools import cache

from .errors import InputError

EMULATED_RATIO = 4.0
"""Half precision this much slower than fp32 is emulated: without AVX-512, bf16 is 10 to 150 times slower."""


def resolve_device(name: str) -> str:
    """Return the torch device that a name means here.

    Parameters
    ----------
    name : `auto` (the first GPU, or else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises
    ------
    InputError : the name is unknown or this computer has no such device; the message names those it has.
    """
    _let_waiting_threads_sleep()
    wanted = name.strip().lower()
    if wanted == "cpu":
        return "cpu"
    available = available_devices()
    if wanted == "auto":
        return available[0]
    if wanted == "cuda" and "cuda:0" in available:
        return "cuda:0"
    if wanted in available:
        return wanted
    known = wanted in ("cuda", "mps") or (wanted.startswith("cuda:") and wanted[5:].isdigit())
    problem = f"device '{name}' is not available here" if known else f"unknown device '{name}'"
    raise InputError(f"{problem}: choose auto or one of {', '.join(available)}")


def _let_waiting_threads_sleep() -> None:
    """Ask OpenMP, before torch loads it, not to spin while it waits.

    On a computer that does something else as well, spinning made the cross-sections eight times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def available_devices() -> tuple[str, ...]:
    """Return the devices of this computer, the fastest first and `cpu` last."""
    import torch

    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return (*devices, "cpu")


def device_description(device: str) -> str:
    """Return what a resolved device is, for people: the name of the GPU with its memory, or the threads of the CPU."""
    import torch

    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        return f"{device} ({properties.name}, {properties.total_memory / 2**30:.0f} GB)"
    if device == "mps":
        return "mps (Apple GPU)"
    threads = torch.get_num_threads()
    return f"{device} ({threads} thread{'' if threads == 1 else 's'})"


@cache
def cpu_emulates_bf16() -> bool:
    """Return whether the CPU only emulates bf16, measured once on one small convolution (0.1 to 0.5 s)."""
    import torch

    def seconds(kind: torch.dtype) -> float:
        image = torch.ones((1, 32, 12, 12, 12), dtype=kind)
        kernel = torch.ones((32, 32, 3, 3, 3), dtype=kind)
        taken = []
        with torch.inference_mode():
            for _ in range(3):
                started = time.perf_counter()
                torch.nn.functional.conv3d(image, kernel, padding=1)
                taken.append(time.perf_counter() - started)
        return min(taken)

    return seconds(torch.bfloat16) > EMULATED_RATIO * seconds(torch.float32)
