"""Small text files that are written together, each complete or absent."""

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError


def write_texts(directory: Path, texts: Mapping[str, str], what: str) -> None:
    """Write texts in UTF-8 into a folder, which is created, in their order.

    Parameters
    ----------
    texts : by the name of their file; one whose presence shows that the others are there comes last.
    what : they are, for the message.

    Raises
    ------
    InputError : the folder cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            partial = directory / f".{name}.partial-{os.getpid()}"
            try:
                partial.write_bytes(text.encode("utf-8"))
                partial.replace(directory / name)
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write {what} to '{directory.name}' ({error.strerror}): choose another folder"
        ) from error
