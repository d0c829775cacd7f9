"""Where the files of `Resources/` are: in a checkout and in Slicer beside the package, in a wheel inside it."""

from pathlib import Path


def resource_path(*parts: str) -> Path:
    """Return the path of a file or folder of `Resources/`, for example `resource_path("schema", "report.schema.json")`.

    Raises
    ------
    FileNotFoundError : the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "Resources", package.parent / "Resources"):
        path = folder.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"Resources/{'/'.join(parts)} is missing: install StenosisDetection again")
