"""The segmentation models: the one list that the options, the command line and the panel choose from.

In: a name of the registry, or the path of weights. Out: a `RegisteredModel`, which makes the segmentation.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..errors import ModelError
from ..models import foreign, nnunet, totalsegmentator
from ..models.cache import file_sha256
from ..models.registry import ModelEntry, entries, find_entry, is_installed, shipped_entries, weight_path
from ..options import DEFAULT_MODEL, AnalysisOptions
from ..progress import StageReport, no_report, part_of
from ..study import CTVolume, LumenSegmentation, ModelInfo
from . import vesselness
from .aorta import Aorta

Segment = Callable[[CTVolume, Aorta, AnalysisOptions, str, StageReport], LumenSegmentation]

FINE_FILE, COARSE_FILE = "fine.safetensors", "coarse.safetensors"
"""Names of the networks of this program in a folder."""


@dataclass(frozen=True)
class RegisteredModel:
    """A segmentation model.

    Parameters
    ----------
    name, version : as in the report.
    description : one sentence for people.
    segment : makes the segmentation from (volume, aorta, options, device, report).
    weights : base name of the file of its weights, None where it needs none.
    sha256 : checksum of that file.
    kind : vesselness, or what its files are (`models.registry.KINDS`, totalsegmentator).
    license : under which its weights may be used; empty without weights.
    installed : whether everything it needs is on this computer.
    """

    name: str
    version: str
    description: str
    segment: Segment
    weights: str | None = None
    sha256: str | None = None
    kind: str = "vesselness"
    license: str = ""
    installed: bool = True


def list_models() -> tuple[RegisteredModel, ...]:
    """Return the registered models, the default first.

    Raises
    ------
    ModelError : the registry of the user cannot be understood.
    """
    return _sorted(entries())


def shipped_models() -> tuple[RegisteredModel, ...]:
    """Return the models that come with this program, the default first, whatever the user's registry holds."""
    return _sorted(shipped_entries())


def _sorted(found: tuple[ModelEntry, ...]) -> tuple[RegisteredModel, ...]:
    models = [*(_registered(entry) for entry in found), _VESSELNESS, _totalsegmentator()]
    return tuple(sorted(models, key=lambda model: model.name != DEFAULT_MODEL))


def get_model(name: str) -> RegisteredModel:
    """Return a model by name, or the model at a path, ready to be used.

    Raises
    ------
    ModelError : there is no such model, its weights or the package it needs are missing, or the file is not
        understood; the message says what to do.
    """
    if name == vesselness.NAME:
        return _VESSELNESS
    if name == totalsegmentator.NAME:
        totalsegmentator.require_package()
        return _totalsegmentator()
    entry = find_entry(name)
    if entry is not None:
        for role in entry.files:
            weight_path(entry, role)
        if entry.kind != "network":  # a configuration that cannot be used is told before a study is read
            _check_foreign(entry.kind, weight_path(entry, "weights"), entry.settings)
        return _registered(entry)
    path = Path(name).expanduser()
    if path.exists():
        return _at_path(path)
    known = ", ".join(model.name for model in list_models())
    raise ModelError(f"unknown segmentation model '{path.name}': choose one of {known}, or give a path")


def segment(
    volume: CTVolume, aorta: Aorta, options: AnalysisOptions, device: str, report: StageReport = no_report
) -> LumenSegmentation:
    """Segment the coronary lumen with the model of the options.

    Where the default model finds no artery in voxels coarser than any it was trained on, `vesselness` takes its place,
    and a warning says so.

    Parameters
    ----------
    device : a resolved torch device (see `devices.resolve_device`).

    Raises
    ------
    ModelError : the model is unknown or cannot run here.
    """
    untrained = options.model == AnalysisOptions.model and max(volume.spacing_mm) > COARSEST_TRAINED_MM
    replaceable = untrained and aorta.found
    first = part_of(report, 0.0, 0.6) if replaceable else report
    result = get_model(options.model).segment(volume, aorta, options, device, first)
    if result.lumen.any() or not replaceable:
        return result
    instead = vesselness.segment_vesselness(volume, aorta, options, device, part_of(report, 0.6, 1.0))
    if not instead.lumen.any():
        return result
    warning = (
        f"the model {options.model} found no artery in voxels coarser than the {COARSEST_TRAINED_MM:g} mm it was "
        f"trained on: {vesselness.NAME} was used instead"
    )
    return replace(instead, warnings=(*instead.warnings, warning))


COARSEST_TRAINED_MM = 1.0
"""The largest voxel spacing in the training of the shipped networks (`phantom.acquisition`)."""

_VESSELNESS = RegisteredModel(
    vesselness.NAME,
    vesselness.VERSION,
    "Multi-scale tube filter with region growing from the aortic root; needs no weights and no GPU.",
    vesselness.segment_vesselness,
)


def _totalsegmentator() -> RegisteredModel:
    import importlib.util

    installed = importlib.util.find_spec("totalsegmentator") is not None
    version = totalsegmentator.package_version() if installed else "-"
    info = ModelInfo(totalsegmentator.NAME, version)
    return RegisteredModel(
        totalsegmentator.NAME,
        version,
        totalsegmentator.DESCRIPTION,
        _foreign_volume(totalsegmentator.lumen_mask, info),
        kind="totalsegmentator",
        license=totalsegmentator.LICENSE,
        installed=installed,
    )


def _registered(entry: ModelEntry) -> RegisteredModel:
    role = "fine" if entry.kind == "network" else "weights"
    file = entry.files[role]
    return RegisteredModel(
        entry.name,
        entry.version,
        entry.description,
        _segment_of(entry),
        weights=file.name,
        sha256=file.sha256,
        kind=entry.kind,
        license=entry.license,
        installed=is_installed(entry),
    )


def _segment_of(entry: ModelEntry) -> Segment:
    def run(
        volume: CTVolume, aorta: Aorta, options: AnalysisOptions, device: str, report: StageReport
    ) -> LumenSegmentation:
        role = "fine" if entry.kind == "network" else "weights"
        path = weight_path(entry, role)
        info = ModelInfo(entry.name, entry.version, _sha256(path, entry.files[role].sha256))
        if entry.kind == "network":
            coarse = weight_path(entry, "coarse") if "coarse" in entry.files else _default_coarse()
            return _networks(path, coarse, info)(volume, aorta, options, device, report)
        return _foreign(entry.kind, path, info, entry.settings)(volume, aorta, options, device, report)

    return run


def _at_path(path: Path) -> RegisteredModel:
    """Return the model in a file or folder that the user names."""
    if path.is_dir():
        if (path / FINE_FILE).is_file():
            coarse = path / COARSE_FILE
            return _own(path / FINE_FILE, coarse if coarse.is_file() else _default_coarse(), path.name)
        for kind, belongs in (("monai_bundle", foreign.is_bundle), ("nnunet", nnunet.is_nnunet)):
            if belongs(path):
                _check_foreign(kind, path, {})
                return _other(kind, path)
        raise ModelError(
            f"the folder {path.name} holds no model: it needs {FINE_FILE}, or must be a MONAI bundle or the results "
            "folder of an nnU-Net v2 training (with dataset.json and plans.json)"
        )
    if path.suffix == ".safetensors":
        coarse = path.with_name(COARSE_FILE)
        return _own(path, coarse if coarse.is_file() and coarse != path else _default_coarse(), path.name)
    if foreign.is_torchscript(path):
        raise ModelError(foreign.TORCHSCRIPT_REFUSED.format(name=path.name))
    raise ModelError(
        f"{path.name} is no model that can be used: give a .safetensors file of this program, a MONAI bundle or an "
        "nnU-Net v2 folder (a checkpoint alone does not say which network it belongs to)"
    )


def _own(fine: Path, coarse: Path | None, name: str) -> RegisteredModel:
    from ..models.weights import read_header

    _, metadata = read_header(fine)
    info = ModelInfo(name, str(metadata.get("version", "1")), file_sha256(fine))
    return RegisteredModel(
        name,
        info.version,
        str(metadata.get("description", "")),
        _networks(fine, coarse, info),
        weights=fine.name,
        sha256=info.sha256,
        kind="network",
    )


def _other(kind: str, path: Path) -> RegisteredModel:
    info = ModelInfo(path.name, "1", _sha256(path, None))
    run = _foreign(kind, path, info, {})
    return RegisteredModel(path.name, info.version, "", run, weights=path.name, sha256=info.sha256, kind=kind)


def _networks(fine: Path, coarse: Path | None, info: ModelInfo) -> Segment:
    from .network import NetworkFiles, segment_with_networks

    return partial(segment_with_networks, NetworkFiles(fine, coarse), info)


def _foreign(kind: str, path: Path, info: ModelInfo, settings: dict[str, object]) -> Segment:
    from .foreign import network_fraction, segment_with_foreign

    if kind == "nnunet":
        return _foreign_volume(partial(nnunet.lumen_fraction, path), info)
    read = foreign.read_bundle(path) if kind == "monai_bundle" else foreign.read_torchscript(path, settings)
    return partial(segment_with_foreign, partial(network_fraction, read), info)


def _check_foreign(kind: str, path: Path, settings: dict[str, object]) -> None:
    """Raise what is wrong with a model of another program (ModelError), before it is used."""
    if kind == "nnunet":
        nnunet.check_folder(path)
        nnunet.require_package()
    elif kind == "monai_bundle":
        foreign.read_bundle(path)
    else:
        foreign.read_torchscript(path, settings)


def _foreign_volume(maker: Callable, info: ModelInfo) -> Segment:
    from .foreign import segment_with_foreign, whole_volume

    return partial(segment_with_foreign, whole_volume(maker), info)


def _default_coarse() -> Path | None:
    """Return the coarse network that is shipped: it tells any fine network where to look; None without one."""
    for entry in entries():
        if entry.kind == "network" and "coarse" in entry.files and is_installed(entry):
            return weight_path(entry, "coarse")
    return None


def _sha256(path: Path, known: str | None) -> str | None:
    """Return the checksum of the weights: that of the file, or of the largest checkpoint in a folder."""
    if path.is_file():
        return file_sha256(path)
    checkpoints = [p for pattern in ("models/model.pt", "fold_*/checkpoint_*.pth") for p in sorted(path.glob(pattern))]
    return file_sha256(checkpoints[0]) if checkpoints else known
