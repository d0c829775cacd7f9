"""Weights from the network into the cache folder: complete and verified, or absent.

In: a `ModelEntry`. Out: its files in its folder of the cache; archives of folders are unpacked. An interrupted or
wrong download leaves nothing behind.
"""

import hashlib
import http.client
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import ModelError
from ..progress import StageReport, no_report
from .registry import ModelEntry, WeightFile, expected_path, model_folder

_CHUNK = 1 << 18
_TIMEOUT_S = 30.0


def download_model(entry: ModelEntry, report: StageReport = no_report) -> Path:
    """Fetch the files of a model that are not on this computer and return their folder.

    Parameters
    ----------
    report : told of the progress; it may raise `Cancelled`.

    Raises
    ------
    ModelError : there is nothing to download, no connection, or what came is not what the registry means.
    """
    missing = {r: f for r, f in entry.files.items() if f.url is not None and not expected_path(entry, r).exists()}
    if not missing and not any(file.url for file in entry.files.values()):
        raise ModelError(f"'{entry.name}' needs no download: its weights are on this computer")
    folder = model_folder(entry)
    folder.mkdir(parents=True, exist_ok=True)
    for number, (role, file) in enumerate(missing.items()):

        def part(fraction: float, message: str, number: int = number) -> None:
            report((number + fraction) / len(missing), message)

        with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as temporary:
            fetched = Path(temporary) / file.name
            _fetch(entry, file, fetched, part)
            target = expected_path(entry, role)
            if target.name == file.name:
                fetched.replace(target)
            else:
                _unpack(entry, fetched, target, Path(temporary) / "content")
    report(1.0, "done")
    return folder


def remove_model(entry: ModelEntry) -> None:
    """Remove what was downloaded of a model.

    Raises
    ------
    ModelError : nothing of it was downloaded.
    """
    folder = model_folder(entry)
    if not folder.exists():
        raise ModelError(f"nothing of '{entry.name}' was downloaded: there is nothing to remove")
    shutil.rmtree(folder)


def _fetch(entry: ModelEntry, file: WeightFile, path: Path, report: StageReport) -> None:
    assert file.url is not None
    host = urlsplit(file.url).hostname
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(file.url, timeout=_TIMEOUT_S) as answer, path.open("wb") as target:
            size = int(answer.headers.get("Content-Length") or 0)
            done = 0
            while chunk := answer.read(_CHUNK):
                target.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                report(min(done / size, 1.0) if size else 0.0, f"downloading {file.name}, {done / 2**20:.1f} MB")
    except urllib.error.HTTPError as error:
        raise ModelError(
            f"{host} does not give out {file.name} (HTTP status {error.code}): check the address in the registry"
        ) from None
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(
            f"the weights of '{entry.name}' could not be downloaded from {host} ({reason}): connect this computer to "
            f"the internet, or put {file.name} into the cache folder (see 'stenosis-detection models cache')"
        ) from None
    if digest.hexdigest() != file.sha256:
        raise ModelError(
            f"what {host} gave for '{entry.name}' is not what the registry means (its SHA-256 differs): it was thrown "
            "away; try again, or correct the registry"
        )


def _unpack(entry: ModelEntry, archive: Path, target: Path, temporary: Path) -> None:
    """Unpack an archive; where all of it lies in one folder, that folder becomes the target."""
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(temporary)  # names that lead outside are made harmless by zipfile
    except zipfile.BadZipFile:
        raise ModelError(f"what was downloaded for '{entry.name}' is no zip archive: correct the registry") from None
    inner = list(temporary.iterdir())
    (inner[0] if len(inner) == 1 and inner[0].is_dir() else temporary).replace(target)
