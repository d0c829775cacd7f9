"""The registry of learned models: what is shipped, what the user has added, and the files that belong to each.

In: Resources/models/registry.json and a file of the same form of the user. Out: a `ModelEntry` for each model, and the
paths of its files, whose checksums are verified before they are used. Larger weights have an address instead of a file
and are fetched into the cache folder (`download`).
"""

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..resources import resource_path
from .cache import cache_folder, file_sha256

KINDS = ("network", "monai_bundle", "nnunet", "torchscript")
"""What the files of a model are: networks of this program, or what other programs write."""

_REGISTRY_VARIABLE = "STENOSIS_DETECTION_REGISTRY"
_ARCHIVED_KINDS = ("monai_bundle", "nnunet")


@dataclass(frozen=True)
class WeightFile:
    """A file of a model: its base name and checksum, and where it lies (`path`) or comes from (`url`)."""

    name: str
    sha256: str | None = None
    path: Path | None = None
    url: str | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A model of the registry.

    Parameters
    ----------
    name, version : as in the report.
    kind : one of `KINDS`.
    description : one sentence for people.
    license : under which its weights may be used.
    files : by their role: `fine` and `coarse` of a network, `weights` of all other kinds.
    card : what it was trained on, its figures and limits; None without.
    settings : how a network of another program must be fed (see `foreign`).
    """

    name: str
    version: str
    kind: str
    description: str
    license: str
    files: dict[str, WeightFile]
    card: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def registry_file() -> Path:
    """Return the registry of the user; STENOSIS_DETECTION_REGISTRY names another one than the platform's."""
    chosen = os.environ.get(_REGISTRY_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA", Path.home() / "AppData" / "Roaming"))
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config"))
    return folder / "stenosis-detection" / "models.json"


def shipped_entries() -> tuple[ModelEntry, ...]:
    """Return the models that come with this program."""
    try:
        path = resource_path("models", "registry.json")
    except FileNotFoundError:
        return ()
    return _read(path)


def user_entries() -> tuple[ModelEntry, ...]:
    """Return the models that the user has added.

    Raises
    ------
    ModelError : the registry of the user cannot be understood; the message says where.
    """
    path = registry_file()
    return _read(path) if path.is_file() else ()


def entries() -> tuple[ModelEntry, ...]:
    """Return all models of the registry, those that are shipped first.

    Raises
    ------
    ModelError : the registry of the user cannot be understood, or names a model that there is already.
    """
    result = list(shipped_entries())
    for entry in user_entries():
        if any(entry.name == other.name for other in result):
            raise ModelError(f"{registry_file().name}: there is a model '{entry.name}' already: choose another name")
        result.append(entry)
    return tuple(result)


def find_entry(name: str) -> ModelEntry | None:
    """Return the model of a name, None when there is none."""
    return next((entry for entry in entries() if entry.name == name), None)


def model_folder(entry: ModelEntry) -> Path:
    """Return the folder of the cache that holds what is downloaded of a model."""
    return cache_folder() / "models" / f"{entry.name}-{entry.version}"


def expected_path(entry: ModelEntry, role: str) -> Path:
    """Return where a file of a model lies, or will lie once it is downloaded: a folder where it is an archive."""
    file = entry.files[role]
    if file.path is not None:
        return file.path
    if entry.kind in _ARCHIVED_KINDS and file.name.endswith(".zip"):
        return model_folder(entry) / Path(file.name).stem
    return model_folder(entry) / file.name


def is_installed(entry: ModelEntry) -> bool:
    """Return whether all files of a model are on this computer."""
    return all(expected_path(entry, role).exists() for role in entry.files)


def weight_path(entry: ModelEntry, role: str) -> Path:
    """Return the path of a file of a model, its checksum verified.

    Raises
    ------
    ModelError : it is missing, not downloaded yet, or not the file that the registry means.
    """
    path = expected_path(entry, role)
    if not path.exists():
        if entry.files[role].url:
            raise ModelError(
                f"the weights of '{entry.name}' are not on this computer: run 'stenosis-detection models download "
                f"{entry.name}'"
            )
        raise ModelError(f"the weights of '{entry.name}' ({path.name}) are missing: install or register them again")
    expected = entry.files[role].sha256
    if path.is_file() and expected is not None and file_sha256(path) != expected:
        raise ModelError(
            f"the weights of '{entry.name}' ({path.name}) are not those of the registry (their SHA-256 differs): "
            "download or install them again"
        )
    return path


def _read(path: Path) -> tuple[ModelEntry, ...]:
    """Return the models of a registry file, whose own files lie relative to it."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["models"]
        if not isinstance(rows, list):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{path.name} is no registry of models: it needs a JSON object with a list 'models'") from None
    return tuple(_entry(row, path, f"{path.name}, model {number}") for number, row in enumerate(rows, start=1))


def _entry(row: Any, path: Path, where: str) -> ModelEntry:
    if not isinstance(row, dict):
        raise ModelError(f"{where}: it is no JSON object")
    for key in ("name", "kind", "files"):
        if not row.get(key):
            raise ModelError(f"{where}: '{key}' is missing")
    name, kind = str(row["name"]), str(row["kind"])
    if kind not in KINDS:
        raise ModelError(f"{where}: unknown kind '{kind}': choose one of {', '.join(KINDS)}")
    if name != Path(name).name or name.startswith("."):
        raise ModelError(f"{where}: the name '{name}' cannot be the name of a folder")
    role = "fine" if kind == "network" else "weights"
    if not isinstance(row["files"], dict) or role not in row["files"]:
        raise ModelError(f"{where}: 'files' needs the file '{role}'")
    files = {role: _file(value, path, f"{where}, file '{role}'") for role, value in row["files"].items()}
    if kind == "torchscript" and files[role].sha256 is None:
        raise ModelError(f"{where}: TorchScript is code, so the exact file must be named by its 'sha256'")
    card = row.get("card")
    return ModelEntry(
        name=name,
        version=Path(str(row.get("version", "1"))).name,
        kind=kind,
        description=str(row.get("description", "")),
        license=str(row.get("license", "unknown")),
        files=files,
        card=None if card is None else path.parent / str(card),
        settings=dict(row.get("settings", {})),
    )


def _file(row: Any, path: Path, where: str) -> WeightFile:
    if not isinstance(row, dict) or not (row.get("file") or row.get("url")):
        raise ModelError(f"{where}: it needs 'file', or 'url' and 'sha256'")
    sha256 = row.get("sha256")
    if row.get("file"):
        local = path.parent / Path(str(row["file"])).expanduser()
        return WeightFile(local.name, sha256, path=local)
    url = str(row["url"])
    if not url.startswith(("https://", "http://")):
        raise ModelError(f"{where}: 'url' must begin with https:// or http://")
    if not (isinstance(sha256, str) and len(sha256) == 64):
        raise ModelError(f"{where}: what is downloaded needs its SHA-256 ('sha256', 64 digits)")
    return WeightFile(Path(url.split("?")[0]).name or "weights", sha256.lower(), url=url)
