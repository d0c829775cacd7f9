"""What a run shows of itself on standard error: the progress, and the log of the libraries when asked for."""

import argparse
import logging
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..progress import Progress

CLEAR_LINE = "\r\x1b[K"


def add_amount(parser: argparse.ArgumentParser, quiet: str = "show no progress") -> None:
    """Add the options --quiet and --verbose to the parser of a command; `quiet` is the help of the first."""
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--quiet", action="store_true", help=quiet)
    amount.add_argument("--verbose", action="store_true", help="show every step, and where an unexpected error arose")


class ProgressDisplay:
    """A progress callback: one line that updates itself on a terminal, elsewhere one line at each new stage.

    The reading of an input shows only on a terminal, so that a refused input leaves one line: why it was refused.
    """

    def __init__(self, quiet: bool, verbose: bool) -> None:
        self.title = ""
        self._quiet = quiet
        self._verbose = verbose
        self._updating = sys.stderr.isatty() and not verbose
        self._stage = "reading"

    def start(self, title: str) -> None:
        """Begin the next input, named by `title` in front of every line."""
        self.title = title
        self._stage = "reading"

    def __call__(self, progress: Progress) -> None:
        """Show a report of progress."""
        if self._quiet:
            return
        if self._updating:
            line = f"{self.title}: {progress}"[: shutil.get_terminal_size().columns - 1]
            print(f"{CLEAR_LINE}{line}", end="", file=sys.stderr, flush=True)
        elif self._verbose or progress.stage != self._stage:
            text = progress if self._verbose else f"{100 * progress.fraction:3.0f} % {progress.stage}"
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)
            self._stage = progress.stage

    def clear(self) -> None:
        """Remove the updating line, before anything else is printed."""
        if self._updating and not self._quiet:
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        """Print a line of its own, unless the run is quiet."""
        self.clear()
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)


@contextmanager
def library_messages(shown: bool) -> Iterator[None]:
    """Show or hide what libraries log and warn of while the context lasts; what matters of it is in the report."""
    handler = logging.StreamHandler(sys.stderr) if shown else logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default" if shown else "ignore")
            yield
    finally:
        root.removeHandler(handler)
