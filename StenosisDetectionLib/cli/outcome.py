"""How a run of the command line ends: its exit status, and one line on standard error for every failure.

Exit status: 0 done, 2 the request or the input is unusable, 3 no coronary artery was found, 130 cancelled, 1 anything
else. The full account of an unexpected error goes to a log, without the message of the error, which could hold the
name of a file.
"""

import datetime
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from ..errors import Cancelled, InputError, ModelError, StenosisDetectionError
from ..version import __version__

DONE = 0
UNEXPECTED = 1
UNUSABLE = 2
NO_CORONARY = 3
CANCELLED = 130

_BEST_TO_WORST = (DONE, NO_CORONARY, UNUSABLE, UNEXPECTED, CANCELLED)


def worst(statuses: Iterable[int]) -> int:
    """Return the worst exit status of several inputs; from best to worst: 0, 3, 2, 1, 130."""
    return max(statuses, key=_BEST_TO_WORST.index, default=DONE)


def failure(error: BaseException, verbose: bool = False, where: str = "") -> int:
    """Tell the user in one line what ended the work, and return the exit status that belongs to it.

    Parameters
    ----------
    verbose : also print the traceback of an unexpected error.
    where : base name of the input, for a run over several.
    """
    prefix = f"{where}: " if where and where not in str(error) else ""
    if isinstance(error, Cancelled | KeyboardInterrupt):
        print("cancelled", file=sys.stderr)
        return CANCELLED
    if isinstance(error, StenosisDetectionError):
        print(f"error: {prefix}{_one_line(error)}", file=sys.stderr)
        return UNUSABLE if isinstance(error, InputError | ModelError) else UNEXPECTED
    if verbose:
        traceback.print_exception(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} in {_short(last.filename)} line {last.lineno}"
    print(f"error: {prefix}unexpected {place}; {_log(error)}", file=sys.stderr)
    return UNEXPECTED


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _log(error: BaseException) -> str:
    """Add the account of an unexpected error to the log and return the words that say where it is."""
    path = _log_path()
    lines = [f"{datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')} version {__version__}"]
    cause: BaseException | None = error
    while cause is not None:
        lines.append(f"  {type(cause).__name__}")
        for frame in traceback.extract_tb(cause.__traceback__):
            lines.append(f"    {_short(frame.filename)} line {frame.lineno} in {frame.name}: {frame.line}")
        cause = cause.__cause__ or cause.__context__
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write("\n".join(lines) + "\n")
    except OSError:
        return "the log could not be written, run again with --verbose to see more"
    home = str(Path.home())
    shown = str(path).replace(home, "~", 1) if str(path).startswith(home) else str(path)
    return f"details are in the log {shown}"


def _log_path() -> Path:
    """Return the log file in the place that the platform has for the state of programs."""
    if os.name == "nt":
        folder = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        folder = Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local" / "state"))
    return folder / "stenosis-detection" / "errors.log"


def _short(filename: str) -> str:
    """Return the last two parts of the path of a source file."""
    return "/".join(Path(filename).parts[-2:])
