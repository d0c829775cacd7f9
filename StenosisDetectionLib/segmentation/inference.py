"""A network on tiles of a volume: attenuation and the first voxels of the tiles come in, blended outputs go out.

Overlapping tiles are blended with Gaussian weights on the raw outputs, as MONAI's sliding window does. Progress is
reported between passes, which is where a cancel takes effect; when memory runs out, the same tiles are run again in
the next smaller way (`execution`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..progress import StageReport
from .execution import Execution, batch_for, out_of_memory, smaller
from .tiles import blending_weights

Prepare = Callable[[np.ndarray], Any]
"""Makes the input channels, a float32 tensor (C, k, j, i), of a network from a tile [k, j, i] in HU."""

LoadNetwork = Callable[[str, str], Any]
"""Gives the network for a device and a precision: a callable from a batch of inputs to a batch of outputs."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The raw outputs of a network.

    Parameters
    ----------
    outputs : float32 array [head, k, j, i]; 0 where no tile lay.
    covered : bool array [k, j, i], where a tile lay.
    execution : how it was computed in the end.
    """

    outputs: np.ndarray
    covered: np.ndarray
    execution: Execution


def predict_tiles(
    load: LoadNetwork,
    execution: Execution,
    hu: np.ndarray,
    prepare: Prepare,
    tiles: list[tuple[int, int, int]],
    tile: tuple[int, ...],
    report: StageReport,
    message: str,
) -> Prediction:
    """Run a network on tiles and blend what it gives.

    Parameters
    ----------
    hu : float32 array [k, j, i].
    tiles : first voxels (k, j, i) of each tile; all lie inside the array.
    tile : size of the tiles along k, j, i.

    Raises
    ------
    ModelError : the memory is too small for even one tile on the CPU.
    """
    import torch

    weights = torch.from_numpy(blending_weights(tile))
    sums: Any = None
    total: Any = None
    done = 0
    with torch.inference_mode():
        while done < len(tiles):
            report(done / len(tiles), message)
            where = [
                tuple(slice(a, a + n) for a, n in zip(t, tile, strict=True)) for t in tiles[done:][: execution.batch]
            ]
            try:
                before = _peak_memory(execution.device)
                result = _forward(load, execution, [prepare(hu[box]) for box in where])
                result = result.to(execution.sums_device, torch.float32)
                if sums is None:
                    sums = torch.zeros((result.shape[1], *hu.shape), device=execution.sums_device)
                    total = torch.zeros(hu.shape, device=execution.sums_device)
                result *= weights.to(result.device)
                if done == 0:
                    needed = _peak_memory(execution.device) - before
                    execution = replace(execution, batch=batch_for(execution.device, needed))
            except Exception as error:
                if not out_of_memory(error):
                    raise
                execution = smaller(execution)
            else:
                # in place: nothing is allocated from here on, so that no tile is added twice
                for box, one in zip(where, result, strict=True):
                    sums[(slice(None), *box)] += one
                    total[box] += weights.to(total.device)
                done += len(where)
                continue
            _forget_failed_pass(execution)
            sums, total = (None if x is None else x.to(execution.sums_device) for x in (sums, total))
        covered = total > 0
        sums /= torch.where(covered, total, 1.0)
    report(1.0, message)
    return Prediction(sums.cpu().numpy(), covered.cpu().numpy(), execution)


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


def _forget_failed_pass(execution: Execution) -> None:
    """Give back what a failed pass holds on to."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
