"""How a network runs on this computer: device, numbers, batch, and what gives way when memory runs out.

Comes in: what the user asked for. Goes out: an `Execution`, and after each failed allocation the next smaller one:
a smaller batch, then half precision, then sums on the CPU, then everything on the CPU. Each step is told in words for
the report.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from ..devices import cpu_emulates_bf16
from ..errors import ModelError

LARGEST_BATCH = 16
"""Larger batches gain nothing on any GPU with tiles of 64 voxels and more."""

_PART_OF_FREE_MEMORY = 0.7


@dataclass(frozen=True)
class Execution:
    """Where and how a network runs.

    Parameters
    ----------
    device : a resolved torch device.
    precision : fp32, bf16 or fp16.
    batch : tiles of one pass.
    sums_on_cpu : whether the blended results are kept in the memory of the CPU.
    steps : what had to give way, a line each.
    """

    device: str
    precision: str
    batch: int = 1
    sums_on_cpu: bool = False
    steps: tuple[str, ...] = ()

    @property
    def sums_device(self) -> str:
        """The device that keeps the blended results."""
        return "cpu" if self.sums_on_cpu else self.device


def half_precision(device: str) -> str | None:
    """Return the half precision that a device computes in, None when it only emulates one."""
    import torch

    if device.startswith("cuda"):
        # older GPUs only emulate bf16
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    if device == "mps":
        return "fp16"
    return None if cpu_emulates_bf16() else "bf16"


def planned_execution(device: str, precision: str, half: str | None) -> Execution:
    """Return how a network begins to run; half precision that the CPU would only emulate gives way to fp32.

    Parameters
    ----------
    precision : that was asked for or chosen.
    half : the half precision of the device, None when it has none.
    """
    if device == "cpu" and precision != "fp32" and half is None:
        step = f"this processor does not compute in {precision}, which would take many times as long: computed in fp32"
        return Execution(device, "fp32", steps=(step,))
    return Execution(device, precision)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on any device."""
    import torch

    kind = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)
    if isinstance(error, kind | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def smaller(execution: Execution) -> Execution:
    """Return the next smaller way to run, after memory ran out.

    Raises
    ------
    ModelError : nothing smaller is left.
    """
    half = half_precision(execution.device)
    if execution.batch > 1:
        batch = execution.batch // 2
        changed, step = replace(execution, batch=batch), f"{batch} tile{'s' if batch > 1 else ''} at a time"
    elif execution.precision == "fp32" and half is not None:
        changed, step = replace(execution, precision=half), f"half precision ({half})"
    elif not execution.sums_on_cpu and execution.device != "cpu":
        changed, step = replace(execution, sums_on_cpu=True), "sums in the memory of the CPU"
    elif execution.device != "cpu":
        changed, step = Execution("cpu", "fp32", steps=execution.steps), "computing on the CPU"
    else:
        raise ModelError(
            "there is not enough memory for the network: close other programs, or search a smaller region (roi)"
        )
    return replace(changed, steps=(*execution.steps, f"memory ran out on {execution.device}: went on with {step}"))


def free_memory(device: str) -> int | None:
    """Return the free memory of a device in bytes, None where it is not known."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    if device == "cpu" and sys.platform == "linux":
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def batch_for(device: str, bytes_of_one: int | None) -> int:
    """Return how many tiles fit into the free memory of a device, given what one needs.

    On the CPU it is one: a tile keeps all cores busy, and a second only costs memory.
    """
    free = free_memory(device)
    if device == "cpu" or free is None or not bytes_of_one:
        return 1
    return max(1, min(int(_PART_OF_FREE_MEMORY * free / bytes_of_one), LARGEST_BATCH))
