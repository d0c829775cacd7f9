"""What commands that work for a while share: their output folder, and a Ctrl-C that ends the work in order."""

import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Create the output folder and make sure it can be written to; what was created and stayed empty is removed."""
    created: list[Path] = []
    try:
        try:
            created = [folder for folder in (path, *path.parents) if not folder.exists()]
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except (FileExistsError, NotADirectoryError):
            raise InputError(f"the output '{path.name}' is a file or lies in one: choose a folder") from None
        except OSError as error:
            raise InputError(
                f"cannot write to the output folder '{path.name}' ({error.strerror}): choose another folder"
            ) from None
        yield path
    finally:
        _remove_empty(created)


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders, deepest first, up to the first that holds something."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


@contextmanager
def interrupts(cancel: Callable[[], None]) -> Iterator[None]:
    """Make the first Ctrl-C (or a request to terminate) end the work at its next report, a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: object) -> None:
        cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler or signal.SIG_DFL)
