"""A results folder of nnU-Net v2 as a model: read without executing anything in it, run by the package nnunetv2.

nnU-Net itself unpickles checkpoints and imports whatever class its plans name. Here the checkpoint is read with
`torch.load(weights_only=True)`, and the plans may name nothing but the networks and layers of nnU-Net.
"""

import importlib.util
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError
from ..study import CTVolume

_NETWORKS = "dynamic_network_architectures.architectures."
_LAYERS = "torch.nn."
_LUMEN_WORDS = ("coron", "lumen", "arter", "vessel")


def is_nnunet(path: Path) -> bool:
    """Return whether a folder looks like the results of an nnU-Net v2 training."""
    return (path / "dataset.json").is_file() and (path / "plans.json").is_file()


def lumen_fraction(path: Path, volume: CTVolume, device: str) -> np.ndarray:
    """Return the chance of coronary lumen, float32 [k, j, i] on the grid of the volume, by an nnU-Net results folder.

    Raises
    ------
    ModelError : nnunetv2 is not installed, the folder is incomplete, or it names or holds anything that could run code.
    """
    dataset, plans, checkpoint, fold = check_folder(path)
    require_package()
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    configuration = manager.get_configuration(checkpoint["init_args"]["configuration"])
    labels = manager.get_label_manager(dataset)
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        determine_num_input_channels(manager, configuration, dataset),
        labels.num_segmentation_heads,
        deep_supervision=False,
    )
    network.load_state_dict(checkpoint["network_weights"])
    predictor = nnUNetPredictor(
        use_mirroring=False,
        perform_everything_on_device=device.startswith("cuda"),
        device=torch.device(device),
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        network, manager, configuration, [checkpoint["network_weights"]], dataset, str(fold), None
    )
    image = np.ascontiguousarray(volume.voxels[None], dtype=np.float32)
    spacing = [float(s) for s in volume.spacing_mm[::-1]]
    _, chances = predictor.predict_single_npy_array(image, {"spacing": spacing}, None, None, True)
    return np.asarray(chances[lumen_label(dataset, path)], dtype=np.float32)


def require_package() -> None:
    """Raise what to do when nnU-Net is not installed (ModelError)."""
    if importlib.util.find_spec("nnunetv2") is None:
        raise ModelError("an nnU-Net folder needs the package nnunetv2: install it with 'pip install nnunetv2'")


def check_folder(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]:
    """Return dataset, plans, checkpoint and name of the fold, after making sure that none of them can run code.

    Raises
    ------
    ModelError : something is missing, damaged or not allowed.
    """
    dataset, plans = (_json(path / name, path) for name in ("dataset.json", "plans.json"))
    for name, configuration in plans.get("configurations", {}).items():
        _check_architecture(configuration.get("architecture"), f"{path.name}, configuration {name}")
    folds = sorted(path.glob("fold_*/checkpoint_final.pth")) or sorted(path.glob("fold_*/checkpoint_best.pth"))
    if not folds:
        raise ModelError(f"the nnU-Net folder {path.name} has no fold_*/checkpoint_final.pth: copy it there")
    checkpoint = _checkpoint(folds[0], path)
    lumen_label(dataset, path)
    return dataset, plans, checkpoint, folds[0].parent.name


def lumen_label(dataset: dict[str, Any], path: Path) -> int:
    """Return the label of the coronary lumen: the one so named, or the only one."""
    labels = {str(n).lower(): v for n, v in dataset.get("labels", {}).items() if str(n).lower() != "background"}
    named = [v for n, v in labels.items() if any(word in n for word in _LUMEN_WORDS) and "aort" not in n]
    candidates = named if len(named) == 1 else list(labels.values())
    if len(candidates) != 1 or not isinstance(candidates[0], int):
        raise ModelError(f"the nnU-Net folder {path.name} does not say which label is the coronary lumen")
    return candidates[0]


def _json(file: Path, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise ModelError(f"{file.name} of the nnU-Net folder {path.name} is damaged: copy it again")
    return content


def _check_architecture(architecture: Any, where: str) -> None:
    """Refuse an architecture that names a class that is no network or layer: nnU-Net would import and call it."""
    if architecture is None:
        return  # an older or derived configuration, which nnU-Net completes from its own names
    if not str(architecture.get("network_class_name", "")).startswith(_NETWORKS):
        raise ModelError(f"{where}: its network '{architecture.get('network_class_name')}' is not one of nnU-Net's")
    arguments = architecture.get("arch_kwargs", {})
    for name in architecture.get("_kw_requires_import", []):
        if arguments.get(name) is not None and not str(arguments[name]).startswith(_LAYERS):
            raise ModelError(f"{where}: '{name}' is '{arguments[name]}', which is no layer of PyTorch")


def _checkpoint(file: Path, path: Path) -> dict[str, Any]:
    import torch

    # harmless numbers that nnU-Net stores beside the weights
    numbers = [np._core.multiarray.scalar, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType]  # type: ignore[attr-defined]
    try:
        with torch.serialization.safe_globals(numbers):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{file.name} of {path.name} holds more than weights, which could execute code: it was not opened"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError):
        raise ModelError(f"{file.name} of {path.name} is no complete checkpoint: copy it again") from None
    if not (isinstance(content, dict) and isinstance(content.get("network_weights"), dict) and "init_args" in content):
        raise ModelError(f"{file.name} of {path.name} is no checkpoint of nnU-Net v2")
    return content
