"""`stenosis-detection models`: lists the registered segmentation models."""

import argparse
import json
import sys

from .outcome import DONE


def add_parser(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the parser of the program."""
    parser = subcommands.add_parser(
        "models",
        help="list the segmentation models",
        description="List the registered segmentation models: name, version, weights and what they do.",
        epilog="Example: stenosis-detection models --json",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the models to standard output and return the exit status."""
    from ..segmentation.models import list_models

    fields = ("name", "version", "weights", "sha256", "description")
    rows = [{field: getattr(model, field) for field in fields} for model in list_models()]
    if arguments.json:
        text = json.dumps(rows, indent=2)
    else:
        columns = ("name", "version", "weights", "description")
        table = [columns, *(tuple(str(row[column] or "none") for column in columns) for row in rows)]
        widths = [max(len(line[index]) for line in table) for index in range(len(columns))]
        text = "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
        )
    sys.stdout.write(text + "\n")
    return DONE
