"""`stenosis-detection phantom`: renders a synthetic CT angiography study with its truth into a folder."""

import argparse
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..progress import stage_report
from .display import ProgressDisplay
from .outcome import DONE

KINDS = ("demo", "toy")
SPACING_RANGE_MM = (0.2, 3.0)


def add_parser(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the parser of the program."""
    parser = subcommands.add_parser(
        "phantom",
        help="render a synthetic study with known stenoses",
        description="Render a synthetic CT angiography study whose vessels and stenoses are known exactly.",
        epilog="""\
Examples:
  stenosis-detection phantom --output demo-study
  stenosis-detection phantom --output toy --kind toy --seed 7 --spacing 0.8,0.8,1.0

Writes DIR/<kind>.nrrd (the volume), DIR/truth.seg.nrrd (true coronary lumen and aorta) and DIR/truth.json (vessels
with their true diameters, and lesions; RAS, mm). The path of the volume goes to standard output.

demo: a real coronary tree with five stenoses pressed into it, in a drawn heart and chest; about a minute.
toy: a small heart of simple shapes with two stenoses; seconds.
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--output", required=True, metavar="DIR", help="folder to write; it must be absent or empty")
    add("--kind", choices=KINDS, default="demo", help="which study (default: %(default)s)")
    add("--seed", type=_seed, default=0, metavar="N", help="seed of the noise (default: %(default)s)")
    add("--spacing", type=_spacing, metavar="x,y,z", help="voxel spacing in mm (default: that of the study)")
    add("--overwrite", action="store_true", help="replace a phantom that is there already")
    add("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Render and write the study, print the path of the volume and return the exit status."""
    from ..phantom.demo import SPACING_MM, demo_study
    from ..phantom.toy import TOY_PHYSICS, TOY_SPACING_MM, toy_study
    from ..phantom.writing import check_directory, write_phantom

    directory = Path(arguments.output).expanduser().resolve()
    if not directory.name:
        raise InputError("the output is the root of the file system: choose a folder")
    check_directory(directory, arguments.overwrite)
    display = ProgressDisplay(arguments.quiet, verbose=False)
    display.start(arguments.kind)
    report = stage_report(display, "rendering", 0.0, 0.9)
    if arguments.kind == "demo":
        study = demo_study(arguments.seed, report, arguments.spacing or SPACING_MM)
    else:
        physics = replace(TOY_PHYSICS, seed=arguments.seed)
        study = toy_study(arguments.spacing or TOY_SPACING_MM, physics=physics, report=report)
    stage_report(display, "writing", 0.9, 1.0)(0.0, "compressing the volume")
    volume = write_phantom(study, directory, arguments.overwrite)
    display.clear()
    print(volume, flush=True)
    return DONE


def _seed(text: str) -> int:
    """Return a seed: a whole number of at least 0."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is no seed: give a whole number of at least 0")
    return int(text)


def _spacing(text: str) -> tuple[float, float, float]:
    """Return three voxel spacings in mm."""
    low, high = SPACING_RANGE_MM
    try:
        x, y, z = (float(part) for part in text.split(","))
        if not all(low <= value <= high for value in (x, y, z)):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no spacing: give three numbers from {low:g} to {high:g} mm, x,y,z"
        ) from None
    return x, y, z
