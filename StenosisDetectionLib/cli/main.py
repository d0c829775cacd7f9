"""`stenosis-detection`: parses the command line and runs a subcommand.

Comes in: the arguments. Goes out: the exit status (see `outcome.py`).

A subcommand is a module of this package with `add_parser(subcommands)`, which sets `run=` to a function that takes
the parsed arguments and returns the exit status. Modules import what computes inside `run`, so that help is fast.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..errors import InputError
from ..version import RESEARCH_USE, __version__
from . import analyze, calcium, evaluate, models, phantom, train
from .outcome import failure

_SUBCOMMANDS = (analyze, calcium, evaluate, models, phantom, train)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are `InputError`s: one line that says where to look, without the usage text."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see '{self.prog} --help'")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    arguments : the arguments after the name of the program; None takes those of this process.
    """
    verbose = False
    try:
        parsed = _parser().parse_args(_joined(sys.argv[1:] if arguments is None else arguments))
        verbose = getattr(parsed, "verbose", False)
        return parsed.run(parsed)
    except SystemExit as end:  # of --help and --version
        return int(end.code or 0)
    except (Exception, KeyboardInterrupt) as error:
        return failure(error, verbose)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="stenosis-detection",
        description="Find, measure and report coronary stenoses in CT angiography.",
        epilog=f"Example: stenosis-detection analyze cta.nrrd --output results\n\n{RESEARCH_USE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"stenosis-detection {__version__}. {RESEARCH_USE}")
    subcommands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for module in _SUBCOMMANDS:
        module.add_parser(subcommands)
    return parser


def _joined(arguments: Sequence[str]) -> list[str]:
    """Join `--option -1,2,...` to `--option=-1,2,...`: argparse takes a list that begins with a minus for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and re.match(r"-[\d.]+,", argument) and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined
