"""`stenosis-detection models`: lists the segmentation models, fetches and removes weights, shows the cache folder."""

import argparse
import json
import sys

from ..errors import InputError, ModelError
from .outcome import DONE

_FIELDS = ("name", "version", "weights", "sha256", "description", "kind", "license", "installed")


def add_parser(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the parser of the program."""
    parser = subcommands.add_parser(
        "models",
        help="list, download and remove segmentation models",
        description="List the segmentation models, download the weights of one into the cache folder, or remove them.",
        epilog="""\
Example: stenosis-detection models --json

  stenosis-detection models
  stenosis-detection models download NAME
  stenosis-detection models cache --empty

Models of your own are added to the registry whose path 'stenosis-detection models cache' prints: a JSON file
{"models": [{"name": ..., "kind": "network|monai_bundle|nnunet|torchscript", "files": {"weights": {"file": ...}}}]}
with "url" and "sha256" instead of "file" for what is to be downloaded ("fine" and "coarse" instead of "weights"
for kind network). Nothing in a file of weights is executed; TorchScript, which is code, runs only with
"settings": {"allow_code": true}.
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("action", nargs="?", choices=("list", "download", "remove", "cache"), default="list")
    parser.add_argument("name", nargs="?", metavar="NAME", help="model to download or remove")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    parser.add_argument("--empty", action="store_true", help="with cache: remove everything in the cache folder")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for and return the exit status."""
    action, name = arguments.action, arguments.name
    if (name is not None) != (action in ("download", "remove")):
        raise InputError("'models download' and 'models remove' need the name of a model, the others take none")
    if arguments.empty and action != "cache":
        raise InputError("--empty belongs to 'models cache'")
    if action == "list":
        _list(arguments.json)
    elif action == "cache":
        _cache(arguments.empty, arguments.json)
    else:
        _fetch_or_remove(action, name)
    return DONE


def _list(as_json: bool) -> None:
    """Print the models to standard output."""
    from ..segmentation.models import list_models

    rows = [{field: getattr(model, field) for field in _FIELDS} for model in list_models()]
    if as_json:
        text = json.dumps(rows, indent=2)
    else:
        columns = ("name", "version", "weights", "installed", "description")
        table = [columns, *(tuple(_cell(row[column]) for column in columns) for row in rows)]
        widths = [max(len(line[index]) for line in table) for index in range(len(columns))]
        text = "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
        )
    sys.stdout.write(text + "\n")


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value or "none")


def _cache(empty: bool, as_json: bool) -> None:
    """Print where weights are kept and where models are added; empty the folder first when asked to."""
    from ..models.cache import cache_folder, cache_size, empty_cache
    from ..models.registry import registry_file

    if empty:
        empty_cache()
    facts = {"cache": str(cache_folder()), "bytes": cache_size(), "registry": str(registry_file())}
    if as_json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        sys.stdout.write(f"{facts['cache']}  ({cache_size() / 2**20:.1f} MB)\nregistry: {facts['registry']}\n")


def _fetch_or_remove(action: str, name: str) -> None:
    from ..models.download import download_model, remove_model
    from ..models.registry import entries
    from ..progress import CancellableProgress, stage_report
    from .display import ProgressDisplay
    from .running import interrupts

    known = {entry.name: entry for entry in entries()}
    if name not in known:
        raise ModelError(f"'{name}' is no model of the registry: choose one of {', '.join(known) or 'none'}")
    if action == "remove":
        remove_model(known[name])
        sys.stdout.write(f"removed what was downloaded of {name}\n")
        return
    display = ProgressDisplay(False, False)
    display.start(name)
    progress = CancellableProgress(display)
    with interrupts(progress.cancel):
        folder = download_model(known[name], stage_report(progress, "download", 0.0, 1.0))
    display.clear()
    sys.stdout.write(f"{folder}\n")
