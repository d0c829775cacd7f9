"""Networks kept loaded between studies, and the precision that each computes in on a device.

In: the file of the weights, a resolved torch device. Out: a `LoadedNetwork`, read once; and fp32, bf16 or fp16, chosen
once for a device by running a fixed probe in both: half precision must agree with fp32 and be faster.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from .cache import cache_folder, file_sha256
from .inputs import network_input
from .network import activate
from .weights import LoadedNetwork, load_weights

if TYPE_CHECKING:
    pass

LARGEST_MEAN_DIFFERENCE = 0.005
"""Half precision agrees with fp32 when its outputs (0 to 1) differ by no more than this on average ..."""

LARGEST_CHANGED_PART = 0.001
"""... and no more than this part of the probe changes sides of 0.5."""

LEAST_GAIN = 1.15
"""Half precision is worth its smaller range when it is this much faster."""

_PROBE_VOXELS = 64
_KEPT = 4
_networks: dict[tuple[str, str, str], LoadedNetwork] = {}
_lock = threading.Lock()


def loaded_network(path: Path, device: str, precision: str) -> LoadedNetwork:
    """Return the network of a file of weights; it stays loaded, in one precision on each device.

    Raises
    ------
    ModelError : the file is absent, damaged or not one of ours.
    """
    if not path.is_file():
        raise ModelError(f"the weights {path.name} do not exist: check the path")
    key = (file_sha256(path), device, precision)
    with _lock:
        if key not in _networks:
            for other in [one for one in _networks if one[:2] == key[:2]]:
                del _networks[other]
            while len(_networks) >= _KEPT:
                del _networks[next(iter(_networks))]
            _networks[key] = load_weights(path, device, precision)
        return _networks[key]


def release_models() -> None:
    """Give back the memory of all loaded networks."""
    import torch

    with _lock:
        _networks.clear()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def choose_precision(path: Path, device: str, wanted: str, half: str | None) -> str:
    """Return the precision to compute in.

    Parameters
    ----------
    path : of the weights.
    wanted : what the user asked for; `auto` takes `half` where it agrees with fp32 on this device and gains by it.
    half : the half precision of the device, None when it has none.

    The answer is kept in the cache folder, so that a study is computed alike each time.
    """
    if wanted != "auto":
        return wanted
    if half is None:
        return "fp32"
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{device} {torch.get_num_threads()}"
    key = f"{file_sha256(path)[:16]} {half} on {name}, torch {torch.__version__}"
    known = _known_choices()
    if key not in known:
        known[key] = half if _half_gains(path, device, half) else "fp32"
        _keep_choices(known)
    return known[key]


def _half_gains(path: Path, device: str, half: str) -> bool:
    """Return whether half precision gives the same outputs on the probe and takes less time."""
    exact, exact_seconds = _run_probe(loaded_network(path, device, "fp32"))
    try:
        fast, fast_seconds = _run_probe(loaded_network(path, device, half))
    except RuntimeError:  # an operator that this device does not have in half precision
        return False
    return agree(exact, fast) and LEAST_GAIN * fast_seconds <= exact_seconds


def agree(exact: np.ndarray, fast: np.ndarray) -> bool:
    """Return whether two outputs (0 to 1) of a network are the same for all purposes here."""
    if not np.isfinite(fast).all():
        return False
    changed = float(((exact > 0.5) != (fast > 0.5)).mean())
    return float(np.abs(exact - fast).mean()) <= LARGEST_MEAN_DIFFERENCE and changed <= LARGEST_CHANGED_PART


def _run_probe(loaded: LoadedNetwork) -> tuple[np.ndarray, float]:
    """Return the outputs of a network for the probe, 0 to 1, and the seconds it took: the best of three."""
    import torch

    image = network_input(
        probe_hu(loaded.configuration.spacing_mm, loaded.configuration.divisor), 400.0, loaded.configuration
    )
    kind = next(loaded.network.parameters()).dtype
    batch = image[None].to(loaded.device, kind).contiguous(memory_format=torch.channels_last_3d)
    seconds = []
    with torch.inference_mode():
        for _ in range(4):
            started = time.perf_counter()
            output = loaded.network(batch)
            if loaded.device.startswith("cuda"):
                torch.cuda.synchronize(loaded.device)
            seconds.append(time.perf_counter() - started)
        values = activate(output, loaded.configuration)
    largest = values.amax(dim=(0, 2, 3, 4), keepdim=True).clamp_min(1.0)  # distances are in mm
    return (values / largest).cpu().numpy(), min(seconds[1:])


def probe_hu(spacing_mm: float, divisor: int) -> np.ndarray:
    """Return the probe, float32 [k, j, i] in HU: a chamber, a winding artery beside it and fat, always the same."""
    size = max(_PROBE_VOXELS, divisor)
    size -= size % divisor
    k, j, i = (np.arange(size) - 0.5 * size for _ in range(3))
    z, y, x = np.meshgrid(k * spacing_mm, j * spacing_mm, i * spacing_mm, indexing="ij")
    reach = 0.5 * size * spacing_mm
    hu = np.full((size,) * 3, -90.0, dtype=np.float32)
    hu[x**2 + (y + reach) ** 2 + z**2 < (0.9 * reach) ** 2] = 380.0
    artery = (x - 0.3 * reach * np.sin(4.0 * z / reach)) ** 2 + (y - 0.4 * reach) ** 2
    hu[artery < (3.0 * spacing_mm) ** 2] = 400.0
    return hu


def _choices_file() -> Path:
    return cache_folder() / "precision.json"


def _known_choices() -> dict[str, str]:
    try:
        known: Any = json.loads(_choices_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in known.items() if v in ("fp32", "bf16", "fp16")} if isinstance(known, dict) else {}


def _keep_choices(known: dict[str, str]) -> None:
    """Write the choices for the next time; a folder that cannot be written to only costs the next check."""
    path = _choices_file()
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
        partial.replace(path)
    except OSError:
        return
