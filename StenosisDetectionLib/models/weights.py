"""Weights on disk: a safetensors file that carries the network's configuration and what is known of its training.

Nothing in such a file is executed when it is read. Matrices are stored in half precision, vectors (biases and
normalization, of which a few are large or tiny) in single precision.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .network import NetworkConfiguration, build_network

if TYPE_CHECKING:
    import torch

FORMAT = "stenosis-detection/network/1"


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network ready to run.

    Parameters
    ----------
    network : in evaluation mode, on its device, in its precision.
    configuration : how it was built and what it must be fed.
    sha256 : checksum of the file of its weights.
    metadata : what the file tells of its training, plain JSON values.
    device : torch device.
    precision : fp32, bf16 or fp16.
    """

    network: torch.nn.Module
    configuration: NetworkConfiguration
    sha256: str
    metadata: dict[str, Any]
    device: str
    precision: str


def save_weights(
    path: Path, network: torch.nn.Module, configuration: NetworkConfiguration, metadata: dict[str, Any]
) -> str:
    """Write the weights of a network and return the SHA-256 of the file, which is complete or absent.

    Parameters
    ----------
    path : of the `.safetensors` file.
    metadata : plain JSON values: name, version, training data, figures.
    """
    header = {"format": FORMAT, "configuration": json.dumps(configuration.to_json()), "metadata": json.dumps(metadata)}
    return write_tensors(path, network, header)


def write_tensors(path: Path, network: torch.nn.Module, header: dict[str, str]) -> str:
    """Write the state of a network, matrices in half precision, to a safetensors file and return its SHA-256.

    The file is complete or absent; `header` is what it tells of itself.
    """
    from safetensors.torch import save

    tensors = {
        name: (value.half() if value.is_floating_point() and value.ndim > 1 else value).detach().cpu().contiguous()
        for name, value in unique_tensors(network).items()
    }
    data = save(tensors, header)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
    return hashlib.sha256(data).hexdigest()


def unique_tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the state of a network by name, each tensor once: some networks know a layer by two names."""
    tensors: dict[str, torch.Tensor] = {}
    seen = set()
    for name, value in network.state_dict().items():
        if value.data_ptr() not in seen:
            tensors[name] = value
        seen.add(value.data_ptr())
    return tensors


def fill(network: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Set the state of a network from its `unique_tensors`; RuntimeError when they are those of another network."""
    if set(tensors) != set(unique_tensors(network)):
        raise RuntimeError("the tensors have other names")
    network.load_state_dict(tensors, strict=False)


def read_header(path: Path) -> tuple[NetworkConfiguration, dict[str, Any]]:
    """Return the configuration and the metadata of a file of weights without reading the weights.

    Raises
    ------
    ModelError : no such file, or not one of ours.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ModelError(
            "weights need the package safetensors: press Install packages in Slicer, or 'pip install safetensors'"
        ) from None

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except FileNotFoundError:
        raise ModelError(f"the weights {path.name} do not exist: check the path") from None
    except (OSError, SafetensorError):
        raise ModelError(f"{path.name} is no complete safetensors file: download or copy it again") from None
    if header.get("format") != FORMAT:
        raise ModelError(f"{path.name} holds no network of this program (format {FORMAT}): choose another file")
    try:
        configuration, metadata = json.loads(header["configuration"]), json.loads(header["metadata"])
    except (KeyError, ValueError):
        raise ModelError(f"the description inside {path.name} is damaged: download or copy it again") from None
    if not isinstance(configuration, dict) or not isinstance(metadata, dict):
        raise ModelError(f"the description inside {path.name} is damaged: download or copy it again")
    return NetworkConfiguration.from_json(configuration), metadata


def load_weights(path: Path, device: str = "cpu", precision: str = "fp32") -> LoadedNetwork:
    """Return the network of a file of weights, ready to run.

    Parameters
    ----------
    device : a resolved torch device (see `devices.resolve_device`).
    precision : fp32, bf16 or fp16: what its weights are held and computed in.

    Raises
    ------
    ModelError : the file is absent, damaged, not one of ours, or does not fit its own configuration.
    """
    import torch

    configuration, metadata = read_header(path)
    from safetensors.torch import load

    data = path.read_bytes()
    network = build_network(configuration)
    try:
        fill(network, load(data))
    except RuntimeError:
        raise ModelError(f"the weights in {path.name} do not fit their configuration: copy them again") from None
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    network = network.eval().requires_grad_(False).to(device=device, dtype=kind)
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return LoadedNetwork(network, configuration, hashlib.sha256(data).hexdigest(), metadata, device, precision)
