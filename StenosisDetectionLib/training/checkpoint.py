"""Checkpoints of a training: everything needed to go on exactly where it stopped, as a safetensors file.

Tensors: weights, their average, the state of the optimizer and of the random numbers. Header: a JSON object with the
configuration, the number of the next batch, the elapsed time and the list of studies that batches are drawn from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..models.weights import fill, unique_tensors

if TYPE_CHECKING:
    import torch

FORMAT = "stenosis-detection/checkpoint/1"


@dataclass(eq=False)
class TrainingState:
    """What changes while a network is trained.

    Parameters
    ----------
    network : being trained.
    average : of its weights; what is validated and released.
    optimizer : AdamW over the parameters of `network`.
    iteration : number of the next batch.
    elapsed_s : time trained so far.
    cases : names of the studies that batches are drawn from.
    """

    network: torch.nn.Module
    average: torch.nn.Module
    optimizer: torch.optim.AdamW
    iteration: int
    elapsed_s: float
    cases: tuple[str, ...]


def save_checkpoint(path: Path, state: TrainingState, configuration: dict[str, Any]) -> None:
    """Write a checkpoint, which is complete or absent."""
    import torch
    from safetensors.torch import save_file

    tensors = {"random": torch.get_rng_state()}
    for part, module in (("network", state.network), ("average", state.average)):
        tensors |= {f"{part}.{name}": value.detach().contiguous() for name, value in unique_tensors(module).items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value.detach().contiguous() for name, value in values.items()}
    header = {
        "configuration": configuration,
        "iteration": state.iteration,
        "elapsed_s": state.elapsed_s,
        "cases": list(state.cases),
    }
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, {"format": FORMAT, "state": json.dumps(header)})
    partial.replace(path)


def load_checkpoint(path: Path, state: TrainingState) -> dict[str, Any]:
    """Fill a state from a checkpoint and return the configuration that it was trained with.

    Raises
    ------
    InputError : there is no usable checkpoint, or it belongs to another network.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = file.metadata() or {}
            if text.get("format") != FORMAT:
                raise InputError(f"{path.name} is no checkpoint of this program: train without --resume")
            header = json.loads(text["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, KeyError):
        raise InputError(f"the checkpoint {path.name} is absent or damaged: train without --resume") from None
    try:
        for part, module in (("network", state.network), ("average", state.average)):
            fill(module, _part(tensors, part))
        optimizer = state.optimizer.state_dict()
        optimizer["state"] = {}
        for name, value in _part(tensors, "optimizer").items():
            index, _, entry = name.partition(".")
            optimizer["state"].setdefault(int(index), {})[entry] = value
        state.optimizer.load_state_dict(optimizer)
    except (RuntimeError, ValueError):
        raise InputError(f"{path.name} belongs to another network: train without --resume") from None
    torch.set_rng_state(tensors["random"])
    state.iteration = int(header["iteration"])
    state.elapsed_s = float(header["elapsed_s"])
    state.cases = tuple(header["cases"])
    return header["configuration"]


def _part(tensors: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(f"{part}.")}
