"""Networks that follow a simple rule instead of learned weights, for tests of everything around the network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from StenosisDetectionLib.models.network import COARSE_HEADS, HEADS, NetworkConfiguration

WINDOWS = ((-0.5, 1.5), (0.0, 3.0))
FINE = NetworkConfiguration("segresnet", 4, 3, 0.8, WINDOWS, HEADS)
COARSE = NetworkConfiguration("segresnet", 4, 3, 2.4, WINDOWS, COARSE_HEADS)


def _largest(x: torch.Tensor, size: int) -> torch.Tensor:
    for axis in range(3):  # one axis at a time is faster
        window = [size if a == axis else 1 for a in range(3)]
        x = torch.nn.functional.max_pool3d(x, window, 1, [n // 2 for n in window])
    return x


def thin_and_bright(image: torch.Tensor, size: int) -> torch.Tensor:
    """1 in bright things that a cube of `size` voxels does not fit into, else 0."""
    bright = (image[:, :1] * 2.0 - 0.5 > 0.6).float()
    core = -_largest(-bright, size)
    return bright * (1.0 - _largest(core, size + 4))


def rule(configuration: NetworkConfiguration) -> Any:
    """Return a network that takes thin, bright things for arteries."""

    def network(image: torch.Tensor) -> torch.Tensor:
        size = 2 * round(0.5 * 7.0 / configuration.spacing_mm) + 1
        artery = thin_and_bright(image.float(), size)
        if configuration.heads == HEADS:
            heads = [artery, 1.0 - artery, torch.zeros_like(artery), torch.zeros_like(artery)]
        else:
            # at 2 mm arteries are seen wherever soft tissue is
            heads = [image[:, :1], torch.zeros_like(artery), (image[:, :1].float() > 0.2).float()]
        return (20.0 * (torch.cat([head.float() for head in heads], dim=1) - 0.5)).to(image.dtype)

    return network


@dataclass
class Loaded:
    """What stands in for a `LoadedNetwork`."""

    network: Any
    configuration: NetworkConfiguration
    sha256: str = "0" * 64


def install(monkeypatch: Any, fine: Any = None, coarse: Any = None) -> None:
    """Make the model `network` use the rule, or the networks given; the file named coarse stands for the coarse one."""
    from StenosisDetectionLib.segmentation import coarse as coarse_room
    from StenosisDetectionLib.segmentation import heads, network

    def configuration(path: Path) -> NetworkConfiguration:
        return COARSE if "coarse" in Path(path).name else FINE

    def loaded(path: Path, device: str, precision: str) -> Loaded:
        own = coarse if "coarse" in Path(path).name else fine
        return Loaded(own or rule(configuration(path)), configuration(path))

    for room in (network, coarse_room):
        monkeypatch.setattr(room, "read_header", lambda path: (configuration(path), {}))
    monkeypatch.setattr(heads, "loaded_network", loaded)
    monkeypatch.setattr(network, "choose_precision", lambda path, device, wanted, half: "fp32")
