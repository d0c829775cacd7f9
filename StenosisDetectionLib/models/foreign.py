"""Networks of other programs, and how they must be fed: a MONAI bundle or a TorchScript file.

In: a folder or file. Out: a `ForeignNetwork`, which says on which grid, in which directions and units the network
takes a CT, and which of its outputs is coronary lumen. Nothing in such a file is executed: weights are read with
`torch.load(weights_only=True)`; a bundle's configuration is read as data, its expressions (`$...`) are never evaluated,
and its network must be one of `MONAI_NETWORKS`. TorchScript is code by design and runs only where the user's registry
says so.
"""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError

MONAI_NETWORKS = frozenset(
    {
        "AttentionUnet",
        "BasicUNet",
        "BasicUNetPlusPlus",
        "DynUNet",
        "SegResNet",
        "SegResNetDS",
        "SegResNetVAE",
        "SwinUNETR",
        "UNETR",
        "UNet",
        "VNet",
    }
)
"""The networks of MONAI that a bundle may name: they segment volumes and do nothing else."""

_HARMLESS = frozenset(
    {"LoadImaged", "EnsureChannelFirstd", "EnsureTyped", "CastToTyped", "ToTensord", "CropForegroundd", "ToDeviced"}
)
_LUMEN_WORDS = ("coron", "lumen", "arter", "vessel")
_DEFAULT_TILE = 96


@dataclass(frozen=True, eq=False)
class ForeignNetwork:
    """A network of another program.

    Parameters
    ----------
    load : gives the network on a device, in evaluation mode.
    spacing_mm : isotropic grid it takes, None for that of the CT.
    axes : what its axes point to, such as RAS: the first is the first axis of its arrays.
    scale : (from, to, low, high): attenuation in HU from...to becomes low...high.
    clip : whether values outside are clipped.
    tile : voxels along each axis of what it takes at once.
    channel : of its outputs, the coronary lumen.
    softmax : whether its outputs exclude each other.
    """

    load: Callable[[str], Any]
    spacing_mm: float | None
    axes: str
    scale: tuple[float, float, float, float]
    clip: bool
    tile: tuple[int, int, int]
    channel: int
    softmax: bool


def is_bundle(path: Path) -> bool:
    """Return whether a folder looks like a MONAI bundle."""
    return (path / "configs" / "metadata.json").is_file()


def read_bundle(path: Path) -> ForeignNetwork:
    """Return the network of a MONAI bundle.

    Raises
    ------
    ModelError : MONAI or a file is missing, or the bundle does something that this program does not understand.
    """
    try:
        from monai.networks import nets
    except ImportError:
        raise ModelError("a MONAI bundle needs the package monai: install it with 'pip install monai'") from None
    config, metadata = _bundle_config(path), _json(path / "configs" / "metadata.json")
    definition = config.get("network_def")
    if not isinstance(definition, dict):
        raise ModelError(f"the bundle {path.name} has no 'network_def' in its configuration: choose another bundle")
    module, _, name = str(definition.get("_target_", "")).rpartition(".")
    if name not in MONAI_NETWORKS or not (module == "" or module.startswith("monai.networks.nets")):
        raise ModelError(
            f"the bundle {path.name} is built from '{definition.get('_target_')}': only these networks of MONAI are "
            f"accepted: {', '.join(sorted(MONAI_NETWORKS))}"
        )
    arguments = {key: _literal(value, config, path) for key, value in definition.items() if not key.startswith("_")}
    weights = path / "models" / "model.pt"
    state = load_state(weights)

    def load(device: str) -> Any:
        try:
            network = getattr(nets, name)(**arguments)
            network.load_state_dict(state)
        except (TypeError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"the weights of the bundle {path.name} do not fit its network ({' '.join(str(error).split())[:120]}): "
                "use the versions that belong together"
            ) from None
        return network.eval().requires_grad_(False).to(device)

    feeding = _feeding(config, path)
    channel, softmax = _lumen_channel(metadata, arguments, path)
    return ForeignNetwork(load, channel=channel, softmax=softmax, **feeding)


def load_state(path: Path) -> dict[str, Any]:
    """Return the weights of a checkpoint, a dict of tensors by name; nothing in the file is executed.

    Raises
    ------
    ModelError : it is missing, no checkpoint, or holds more than weights.
    """
    import pickle

    import torch

    if not path.is_file():
        raise ModelError(f"the weights {path.name} of {path.parent.parent.name} are missing: copy them there")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{path.name} holds more than weights, which could execute code: it was not opened; "
            "save its state_dict alone"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError):
        raise ModelError(f"{path.name} is no complete checkpoint of PyTorch: download or copy it again") from None
    for key in ("state_dict", "model", "network", "network_weights"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise ModelError(f"{path.name} holds no weights by name: save the state_dict of the network")
    return state


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def read_torchscript(path: Path, settings: dict[str, Any]) -> ForeignNetwork:
    """Return the network of a TorchScript file that the user's registry allows to run.

    Parameters
    ----------
    settings : of the registry: `allow_code` true, and where they differ from the defaults `spacing_mm` (0.5), `axes`
        ("RAS"), `window_hu` ([-200, 800], mapped to 0...1), `tile` (96), `lumen_channel` (0), `softmax` (false).

    Raises
    ------
    ModelError : it is not allowed to run, or cannot be read.
    """
    if settings.get("allow_code") is not True:
        raise ModelError(TORCHSCRIPT_REFUSED.format(name=path.name))
    try:
        low, high = (float(value) for value in settings.get("window_hu", (-200.0, 800.0)))
        tile = int(settings.get("tile", _DEFAULT_TILE))
        feeding = ForeignNetwork(
            lambda device: _script(path, device),
            spacing_mm=float(settings.get("spacing_mm", 0.5)),
            axes=_axes(settings.get("axes", "RAS"), path),
            scale=(low, high, 0.0, 1.0),
            clip=True,
            tile=(tile, tile, tile),
            channel=int(settings.get("lumen_channel", 0)),
            softmax=bool(settings.get("softmax", False)),
        )
    except (TypeError, ValueError):
        raise ModelError(f"the settings of {path.name} in the registry cannot be understood: see the README") from None
    return feeding


TORCHSCRIPT_REFUSED = (
    "{name} is TorchScript, which is code that would run on this computer: convert it to a MONAI bundle, "
    'or, if you trust it, add it to your registry with its sha256 and "settings": {{"allow_code": true}}'
)
"""Why a TorchScript file is not simply run."""


def _script(path: Path, device: str) -> Any:
    import torch

    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError, OSError):
        raise ModelError(f"{path.name} is no complete TorchScript file: copy it again") from None


def _bundle_config(path: Path) -> dict[str, Any]:
    folder = path / "configs"
    for name in ("inference.json", "inference.yaml", "inference.yml"):
        if (folder / name).is_file():
            if name.endswith(".json"):
                return _json(folder / name)
            try:
                import yaml
            except ImportError:
                raise ModelError(
                    f"the bundle {path.name} is configured in YAML: install it with 'pip install pyyaml'"
                ) from None
            try:
                content = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
            except yaml.YAMLError:
                content = None
            if not isinstance(content, dict):
                raise ModelError(f"{name} of the bundle {path.name} is damaged: download the bundle again")
            return content
    raise ModelError(f"the bundle {path.name} has no configs/inference.json: choose a bundle for inference")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise ModelError(f"{path.name} of {path.parent.parent.name} is damaged: download or copy it again")
    return content


def _literal(value: Any, config: dict[str, Any], path: Path, depth: int = 0) -> Any:
    """Return a value of a bundle's configuration as data; `@name` stands for another value at its top."""
    if isinstance(value, str) and value.startswith("$"):
        raise ModelError(f"the bundle {path.name} computes '{value[:60]}', which is not evaluated: put the value there")
    if isinstance(value, str) and value.startswith("@"):
        if depth > 5 or value[1:] not in config:
            raise ModelError(f"the bundle {path.name} refers to '{value}', which is not there: put the value there")
        return _literal(config[value[1:]], config, path, depth + 1)
    if isinstance(value, list):
        return [_literal(item, config, path, depth) for item in value]
    if isinstance(value, dict):
        if "_target_" in value:
            raise ModelError(f"the bundle {path.name} builds '{value['_target_']}' inside its network: not accepted")
        return {key: _literal(item, config, path, depth) for key, item in value.items()}
    return value


def _feeding(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return how a bundle prepares a CT: of its transforms only known ones are accepted."""
    spacing: float | None = None
    axes, scale, clip = "RAS", (0.0, 1.0, 0.0, 1.0), False
    preprocessing = config.get("preprocessing", {})
    transforms = preprocessing.get("transforms", []) if isinstance(preprocessing, dict) else []
    for transform in transforms:
        if not isinstance(transform, dict):
            raise ModelError(f"the bundle {path.name} has transforms that are not data: not evaluated")
        name = str(transform.get("_target_", "")).rpartition(".")[2]
        values = {k: v for k, v in transform.items() if k not in ("_target_", "keys")}
        if name in _HARMLESS:
            continue
        values = {key: _literal(value, config, path) for key, value in values.items()}
        if name == "Orientationd":
            axes = _axes(values.get("axcodes", "RAS"), path)
        elif name == "Spacingd":
            pixdim = [float(x) for x in values.get("pixdim", [])]
            if len(pixdim) != 3 or max(pixdim) - min(pixdim) > 1e-6:
                raise ModelError(f"the bundle {path.name} wants voxels of {pixdim} mm: only cubes are supported")
            spacing = pixdim[0]
        elif name == "ScaleIntensityRanged":
            low, high = values.get("b_min"), values.get("b_max")
            to = (0.0 if low is None else float(low), 1.0 if high is None else float(high))
            scale = (float(values["a_min"]), float(values["a_max"]), *to)
            clip = bool(values.get("clip", False))
        elif name == "NormalizeIntensityd" and "subtrahend" in values and "divisor" in values:
            center, width = float(values["subtrahend"]), float(values["divisor"])
            scale = (center, center + width, 0.0, 1.0)
        else:
            raise ModelError(f"the bundle {path.name} prepares images with {name}, which is not supported here")
    inferer = config.get("inferer", {})
    size = inferer.get("roi_size", _DEFAULT_TILE) if isinstance(inferer, dict) else _DEFAULT_TILE
    size = _literal(size, config, path)
    sizes = [int(size)] * 3 if isinstance(size, int) else [int(x) for x in size]
    order = ["RLAPSI".index(a) // 2 for a in axes]  # sizes are along the axes of the bundle, tiles along k, j, i
    by_axis = dict(zip(order, sizes, strict=True))
    return {
        "spacing_mm": spacing,
        "axes": axes,
        "scale": scale,
        "clip": clip,
        "tile": (by_axis[2], by_axis[1], by_axis[0]),
    }


def _axes(codes: Any, path: Path) -> str:
    axes = "".join(str(c) for c in codes).upper()
    if len(axes) != 3 or {"RLAPSI".find(a) // 2 for a in axes} != {0, 1, 2}:
        raise ModelError(f"{path.name}: '{axes}' names no directions of the body, such as RAS")
    return axes


def _lumen_channel(metadata: dict[str, Any], arguments: dict[str, Any], path: Path) -> tuple[int, bool]:
    """Return the output that is coronary lumen, and whether the outputs exclude each other."""
    try:
        definition = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
        channels = {int(index): str(name).lower() for index, name in definition.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        channels = {}
    count = int(arguments.get("out_channels", len(channels) or 1))
    named = [i for i, name in channels.items() if any(w in name for w in _LUMEN_WORDS) and "aort" not in name]
    if len(named) == 1 and named[0] < count:
        return named[0], count > 1
    if count <= 2:
        return count - 1, count > 1
    raise ModelError(f"the bundle {path.name} does not say which of its {count} outputs is the coronary lumen")
