"""The folder of downloaded weights, which the user may open and empty, and checksums of files."""

import hashlib
import os
import shutil
import sys
from pathlib import Path

_CACHE_VARIABLE = "STENOSIS_DETECTION_CACHE"
_digests: dict[tuple[str, int, int], str] = {}


def cache_folder() -> Path:
    """Return the folder for downloaded weights; STENOSIS_DETECTION_CACHE names another one than the platform's."""
    chosen = os.environ.get(_CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "stenosis-detection" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "stenosis-detection"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "stenosis-detection"


def cache_size() -> int:
    """Return the bytes that the cache folder holds."""
    return sum(path.stat().st_size for path in cache_folder().rglob("*") if path.is_file())


def empty_cache() -> None:
    """Remove everything in the cache folder."""
    shutil.rmtree(cache_folder(), ignore_errors=True)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; it is computed again only when the file has changed."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_mtime_ns, stat.st_size)
    if key not in _digests:
        with path.open("rb") as file:
            _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[key]
