"""A network on boxes of a volume: attenuation and the boxes come in, blended outputs go out.

Overlapping boxes are blended with Gaussian weights on the raw outputs, as MONAI's sliding window does. Progress is
reported between passes, which is where a cancel takes effect; when memory runs out, the same boxes are run again in
the next smaller way (`execution`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..progress import StageReport
from .execution import Execution, batch_for, out_of_memory, smaller
from .tiles import Box, blending_weights, size_of

Prepare = Callable[[np.ndarray], Any]
"""Makes the input channels, a float32 tensor (C, k, j, i), of a network from a box [k, j, i] in HU."""

LoadNetwork = Callable[[str, str], Any]
"""Gives the network for a device and a precision: a callable from a batch of inputs to a batch of outputs."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The raw outputs of a network, not yet divided by the weights they were added with.

    Memory is only taken where boxes lie.

    Parameters
    ----------
    sums : float32 array [head, k, j, i], weighted sums; 0 where no box lay.
    weights : float32 array [k, j, i], sums of the weights.
    boxes : where the network has been.
    execution : how it was computed in the end.
    """

    sums: np.ndarray
    weights: np.ndarray
    boxes: tuple[Box, ...]
    execution: Execution

    @property
    def covered(self) -> np.ndarray:
        """Where a box lay, bool [k, j, i]."""
        return self.weights > 0.0

    def blended(self, box: Box) -> np.ndarray:
        """Return the outputs of all heads in a box, float32 [head, k, j, i]; 0 where no box lay."""
        weights = self.weights[box]
        return self.sums[(slice(None), *box)] / np.where(weights > 0.0, weights, 1.0)


def predict_tiles(
    load: LoadNetwork,
    execution: Execution,
    hu: np.ndarray,
    prepare: Prepare,
    boxes: Sequence[Box],
    report: StageReport,
    message: str,
    before: Prediction | None = None,
) -> Prediction:
    """Run a network on boxes of a volume and blend what it gives.

    Parameters
    ----------
    hu : float32 array [k, j, i].
    boxes : all inside the array; those of one size that follow each other may share a pass.
    before : outputs on the same array that these are added to, in place.

    Raises
    ------
    ModelError : the memory is too small for even one box on the CPU.
    """
    import torch

    sums, total = (None, None) if before is None else _on(execution, before.sums, before.weights)
    weights: dict[tuple[int, ...], Any] = {}
    done = 0
    measured = before is not None
    with torch.inference_mode():
        while done < len(boxes):
            report(done / len(boxes), message)
            size = size_of(boxes[done])
            where = [box for box in boxes[done : done + execution.batch] if size_of(box) == size]
            try:
                peak = _peak_memory(execution.device)
                result = _forward(load, execution, [prepare(hu[box]) for box in where])
                result = result.to(execution.sums_device, torch.float32)
                if sums is None:
                    # zeros of numpy take no memory before they are written to
                    shape = (result.shape[1], *hu.shape)
                    sums, total = _on(execution, np.zeros(shape, np.float32), np.zeros(hu.shape, np.float32))
                if size not in weights:
                    weights[size] = torch.from_numpy(blending_weights(size))
                weight = weights[size].to(execution.sums_device)
                result *= weight
                if not measured:
                    needed = _peak_memory(execution.device) - peak
                    execution = replace(execution, batch=batch_for(execution.device, needed))
                    measured = True
            except Exception as error:
                if not out_of_memory(error):
                    raise
                execution = smaller(execution)
            else:
                # in place: nothing is allocated from here on, so that no box is added twice
                for box, one in zip(where, result, strict=True):
                    sums[(slice(None), *box)] += one
                    total[box] += weight
                done += len(where)
                continue
            _forget_failed_pass()
            sums, total = (None if x is None else x.to(execution.sums_device) for x in (sums, total))
    report(1.0, message)
    earlier = () if before is None else before.boxes
    if sums is None:
        raise ValueError("there is no box to run the network on")
    return Prediction(sums.cpu().numpy(), total.cpu().numpy(), (*earlier, *boxes), execution)


def _on(execution: Execution, *arrays: np.ndarray) -> tuple[Any, ...]:
    """Return arrays as tensors where the sums are kept; on the CPU they are the same memory."""
    import torch

    return tuple(torch.from_numpy(array).to(execution.sums_device) for array in arrays)


def _forward(load: LoadNetwork, execution: Execution, inputs: list[Any]) -> Any:
    """Return the outputs [tile, head, k, j, i] of a batch."""
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[execution.precision]
    batch = torch.stack(inputs).to(execution.device, dtype)
    network = load(execution.device, execution.precision)
    return network(batch.contiguous(memory_format=torch.channels_last_3d))


def _peak_memory(device: str) -> int:
    """Return the most memory in bytes that a GPU has held since the last call; 0 on other devices."""
    import torch

    if not device.startswith("cuda"):
        return 0
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return int(peak)


def _forget_failed_pass() -> None:
    """Give back what a failed pass holds on to."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
