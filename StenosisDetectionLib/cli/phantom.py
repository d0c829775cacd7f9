"""`stenosis-detection phantom`: renders synthetic CT angiography studies with their truth into folders."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..progress import StageReport, stage_report
from .display import ProgressDisplay
from .outcome import DONE, UNEXPECTED

if TYPE_CHECKING:
    from ..phantom import Phantom
    from ..phantom.verification import VerificationCase

KINDS = ("demo", "toy", "heart")
SPACING_RANGE_MM = (0.2, 3.0)
ALL_SETS = "all"


def add_parser(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the parser of the program."""
    parser = subcommands.add_parser(
        "phantom",
        help="render synthetic studies with known stenoses",
        description="Render synthetic CT angiography studies whose vessels and stenoses are known exactly.",
        epilog="""\
Examples:
  stenosis-detection phantom --output demo-study
  stenosis-detection phantom --output toy --kind toy --seed 7 --spacing 0.8,0.8,1.0
  stenosis-detection phantom --output heart-12 --kind heart --family boxy --seed 12
  stenosis-detection phantom --output t4-8 --verification T4 --case 8
  stenosis-detection phantom --output verification --verification all
  stenosis-detection phantom --verification T2 --check

Writes DIR/<kind>.nrrd (the volume), DIR/truth.seg.nrrd (true labels: coronary lumen, aorta, and in a heart cardiac
veins and small branches) and DIR/truth.json (vessels with their true diameters, lesions, and what the scan did; RAS,
mm). The path of the volume goes to standard output.

demo: a real coronary tree with five stenoses pressed into it, in a drawn heart and chest; about a minute.
toy: a small heart of simple shapes with two stenoses; seconds.
heart: a whole heart drawn from the seed (anatomy, disease, contrast, scanner, motion, noise); a minute or two. Its
family is one of the laws hearts are drawn from, or `training`; boxy and bent are held out from training.

--verification makes cases of the frozen verification set: T1 cylinders, T2 lesions, T3 bifurcations, T4 whole hearts,
T5 hearts without arteries or contrast, T6 DICOM series. With --case it writes that case into DIR, else every case of
the set into DIR/<case>, going on where an earlier run ended. --check compares checksums and writes nothing.
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--output", metavar="DIR", help="folder to write; it must be absent or empty")
    add("--kind", choices=KINDS, default="demo", help="which study (default: %(default)s)")
    add("--family", metavar="NAME", help="laws that a heart is drawn from (default: training)")
    add("--seed", type=_seed, default=0, metavar="N", help="seed of heart and noise (default: %(default)s)")
    add("--spacing", type=_spacing, metavar="x,y,z", help="voxel spacing in mm (default: that of the study)")
    add("--verification", metavar="SET", help=f"make cases of this set instead: T1 to T6, or {ALL_SETS}")
    add("--case", type=_seed, metavar="N", help="only this case of the set, from 0")
    add("--check", action="store_true", help="only compare the set with its frozen checksums")
    add("--overwrite", action="store_true", help="replace a phantom that is there already")
    add("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Render and write what is asked for, print the paths of the volumes and return the exit status."""
    _check_arguments(arguments)
    display = ProgressDisplay(arguments.quiet, verbose=False)
    cases = _cases(arguments)
    if arguments.check:
        return _check(cases, display)
    directory = Path(arguments.output).expanduser().resolve()
    if not directory.name:
        raise InputError("the output is the root of the file system: choose a folder")
    if arguments.verification and arguments.case is None:
        return _write_all(cases, directory, display)
    from ..phantom.verification import dicom_writer, make_case
    from ..phantom.writing import check_directory, write_phantom

    check_directory(directory, arguments.overwrite)
    display.start(cases[0].name if cases else arguments.kind)
    report = stage_report(display, "rendering", 0.0, 0.9)
    study = make_case(cases[0], report) if cases else _study(arguments, report)
    stage_report(display, "writing", 0.9, 1.0)(0.0, "compressing the volume")
    volume = write_phantom(study, directory, arguments.overwrite, dicom_writer(cases[0]) if cases else None)
    display.clear()
    print(volume, flush=True)
    return DONE


def _check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    if arguments.check and not arguments.verification:
        raise InputError("--check is for the verification set: add --verification with a set, or all")
    if not arguments.check and not arguments.output:
        raise InputError("there is no folder to write to: add --output DIR")
    if arguments.case is not None and arguments.verification in (None, ALL_SETS):
        raise InputError("--case is a number in one set: add --verification with T1 to T6")
    if arguments.family and arguments.kind != "heart":
        raise InputError("--family is for whole hearts: add --kind heart")
    if arguments.verification and (arguments.kind != "demo" or arguments.seed or arguments.spacing):
        raise InputError("a case of the verification set is frozen: leave out --kind, --seed and --spacing")


def _cases(arguments: argparse.Namespace) -> "list[VerificationCase]":
    """Return the verification cases asked for; none when none are."""
    if not arguments.verification:
        return []
    from ..phantom.verification import SETS, verification_cases

    names = SETS if arguments.verification == ALL_SETS else (arguments.verification,)
    cases = [case for name in names for case in verification_cases(name)]
    if arguments.case is None:
        return cases
    if arguments.case >= len(cases):
        raise InputError(f"{arguments.verification} has cases 0 to {len(cases) - 1}: there is no {arguments.case}")
    return [cases[arguments.case]]


def _check(cases: "list[VerificationCase]", display: ProgressDisplay) -> int:
    """Compare cases with the manifest; print what differs."""
    from ..phantom.manifest import differences, read_manifest

    entries = read_manifest()
    display.start("verification set")
    report = stage_report(display, "checking", 0.0, 1.0)
    wrong = 0
    for number, case in enumerate(cases):
        report(number / len(cases), case.name)
        found = differences(case, entries[case.name]) if case.name in entries else ["no checksum"]
        if found:
            wrong += 1
            display.clear()
            print(f"{case.name} differs: {', '.join(found)}", file=sys.stderr)
    display.clear()
    print(f"{len(cases) - wrong} of {len(cases)} cases are as they were frozen", flush=True)
    return UNEXPECTED if wrong else DONE


def _write_all(cases: "list[VerificationCase]", directory: Path, display: ProgressDisplay) -> int:
    """Write every case that is not there yet into its own folder."""
    from ..phantom.verification import make_cached

    display.start("verification set")
    for number, case in enumerate(cases):
        report = stage_report(display, case.name, number / len(cases), (number + 1) / len(cases))
        make_cached(case, directory, report)
    display.clear()
    print(directory, flush=True)
    return DONE


def _study(arguments: argparse.Namespace, report: StageReport) -> "Phantom":
    """Return the study that is no verification case."""
    if arguments.kind == "toy":
        from ..phantom.toy import TOY_PHYSICS, TOY_SPACING_MM, toy_study

        physics = replace(TOY_PHYSICS, seed=arguments.seed)
        return toy_study(arguments.spacing or TOY_SPACING_MM, physics=physics, report=report)
    if arguments.kind == "demo":
        from ..phantom.demo import SPACING_MM, demo_study

        return demo_study(arguments.seed, report, arguments.spacing or SPACING_MM)
    from ..phantom.acquisition import sample_acquisition, with_spacing
    from ..phantom.heart import HELD_OUT_FAMILIES, plan_heart
    from ..phantom.heart_study import render_heart

    plan = plan_heart(arguments.seed, arguments.family or "training")
    family = "held-out" if plan.family in HELD_OUT_FAMILIES else "training"
    acquisition = sample_acquisition(arguments.seed, family, plan)
    if arguments.spacing:
        acquisition = with_spacing(acquisition, arguments.spacing)
    return render_heart(plan, acquisition, report)


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
