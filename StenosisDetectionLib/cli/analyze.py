"""`stenosis-detection analyze`: finds and measures stenoses in one or more studies and writes a folder for each.

Every value of the request is checked before the work starts. Several inputs are analyzed in turn; one that fails does
not stop the others, and the exit status is that of the worst. Standard output holds one line for each study written:
the path of its report.json.
"""

import argparse
import importlib.util
import math
import sys
from dataclasses import replace
from pathlib import Path

from ..errors import Cancelled, InputError
from ..options import PRECISIONS, RESEARCH, AnalysisOptions
from ..progress import CancellableProgress, Progress, ProgressCallback, stage_report
from .display import ProgressDisplay, add_amount, library_messages
from .outcome import CANCELLED, DONE, NO_CORONARY, failure, worst
from .running import interrupts, output_folder

DEFAULTS = AnalysisOptions()

READING = (0.0, 0.05)
ANALYSIS = (0.05, 0.95)
WRITING = (0.95, 1.0)


def add_parser(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the parser of the program."""
    parser = subcommands.add_parser(
        "analyze",
        help="find and measure coronary stenoses in CT angiography",
        description="Find and measure coronary stenoses in CT angiography and write a report for each study.",
        epilog="""\
Examples:
  stenosis-detection analyze cta.nrrd --output results
  stenosis-detection analyze study1/ study2.nii.gz --output results --device cuda
  stenosis-detection analyze cta.nrrd --output results --segmentation lumen.nrrd
  stenosis-detection analyze cta.nrrd --output results --research fat-attenuation --research pressure-drop

Writes results/<case>/ with report.json, report.html, tables and files for 3D Slicer; the path of each
report.json goes to standard output.

Exit status: 0 done; 2 the request or an input is unusable; 3 no coronary artery was found; 130 cancelled;
1 anything else. Of several inputs the worst counts, from best to worst 0, 3, 2, 1; 130 ends the run.
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("input", nargs="+", metavar="INPUT", help="DICOM folder or file, .nrrd, .nii, .nii.gz, .mha or .mhd file")
    add("--output", required=True, metavar="DIR", help="folder to write <case>/ into; created when absent")
    add("--segmentation", metavar="FILE", help="label map of the coronary lumen to measure instead of finding it")
    add("--model", default=DEFAULTS.model, metavar="NAME|PATH", help="segmentation model (default: %(default)s)")
    add("--device", default=DEFAULTS.device, help="auto, cpu, cuda, cuda:N or mps (default: %(default)s)")
    add("--precision", choices=PRECISIONS, default=DEFAULTS.precision, help="of the network (default: %(default)s)")
    add("--roi", type=_roi, metavar="x0,x1,y0,y1,z0,z1", help="region to search, in mm of RAS (default: everything)")
    add(
        "--research",
        action="append",
        choices=RESEARCH,
        default=[],
        help="compute this as well, for research only; may be repeated (default: nothing)",
    )
    add("--overwrite", action="store_true", help="replace a case that exists in the output folder")
    add_amount(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Analyze the inputs of the request and return the exit status."""
    options = _checked_options(arguments)
    display = ProgressDisplay(arguments.quiet, arguments.verbose)
    progress = CancellableProgress(display)
    with (
        library_messages(arguments.verbose),
        interrupts(progress.cancel),
        output_folder(Path(arguments.output).expanduser()) as output,
    ):
        return _run_all(arguments, options, output, display, progress)


def _checked_options(arguments: argparse.Namespace) -> AnalysisOptions:
    """Return the options of the request, after checking all that can be checked before the work starts."""
    from ..devices import resolve_device
    from ..scene.application import slicer_package
    from ..segmentation.models import get_model

    options = AnalysisOptions(
        model=arguments.model,
        device=arguments.device,
        precision=arguments.precision,
        roi=arguments.roi,
        research=tuple(dict.fromkeys(arguments.research)),
    )
    if arguments.segmentation is not None and len(arguments.input) > 1:
        raise InputError("--segmentation belongs to one study: give one input, or analyze the others without it")
    get_model(options.model)
    if importlib.util.find_spec("slicer") is None:
        slicer_package()  # raises what to do: better before the work than after it
    if options.device != "auto":  # which always finds one, but takes seconds to load torch
        resolve_device(options.device)
    return options


def _run_all(
    arguments: argparse.Namespace,
    options: AnalysisOptions,
    output: Path,
    display: ProgressDisplay,
    progress: CancellableProgress,
) -> int:
    from ..reading.files import shown_name

    statuses: list[int] = []
    written: set[str] = set()
    several = len(arguments.input) > 1
    for number, path in enumerate(arguments.input, start=1):
        name = shown_name(Path(path))
        display.start(f"{number}/{len(arguments.input)} {name}" if several else name)
        try:
            statuses.append(_run_one(path, arguments, options, output, display, progress, written))
        except (Exception, KeyboardInterrupt) as error:
            display.clear()
            statuses.append(failure(error, arguments.verbose, name if several else ""))
        if statuses[-1] == CANCELLED:
            break
    return worst(statuses)


def _run_one(
    path: str,
    arguments: argparse.Namespace,
    options: AnalysisOptions,
    output: Path,
    display: ProgressDisplay,
    progress: CancellableProgress,
    written: set[str],
) -> int:
    """Analyze one input, write its case and return its exit status; `written` collects the cases of this run."""
    from ..reading import read_label_map, read_volume

    if progress.cancelled:
        raise Cancelled("cancelled")
    labels = None if arguments.segmentation is None else read_label_map(arguments.segmentation)
    volume = read_volume(path, stage_report(progress, "reading", *READING))
    # Only now, so that a bad input is refused without waiting for what computes to load.
    from ..pipeline import analyze, case_id_of
    from ..writing import write_case
    from ..writing.case import case_directory

    # An existing case is refused before the work.
    case = case_id_of(volume)
    if case in written:
        raise InputError(f"the input gives the same case as another input of this run, '{case}': give it once")
    case_directory(case, output, arguments.overwrite)
    study = analyze(volume, options, _part(progress, *ANALYSIS), segmentation=labels)
    report = write_case(study, output, arguments.overwrite, stage_report(progress, "writing", *WRITING))
    written.add(case)
    display.clear()
    print(report, flush=True)
    if not study.tree.vessels:
        print(f"no coronary artery was found in {display.title}; the report says so", file=sys.stderr)
        return NO_CORONARY
    category = study.patient.cad_rads or "not determined"
    count = len(study.lesions)
    display.line(
        f"{display.title}: {count} lesion{'' if count == 1 else 's'}, "
        f"CAD-RADS candidate {category} (software-suggested, unreviewed)"
    )
    return DONE


def _part(progress: ProgressCallback, start: float, end: float) -> ProgressCallback:
    """Return a callback that reports work as the part `start` to `end` of the whole."""

    def callback(part: Progress) -> None:
        progress(replace(part, fraction=start + (end - start) * part.fraction))

    return callback


def _roi(text: str) -> tuple[float, float, float, float, float, float]:
    """Return the six numbers of a region; the order of each pair is checked with the options."""
    try:
        x0, x1, y0, y1, z0, z1 = (float(part) for part in text.split(","))
        if not all(math.isfinite(value) for value in (x0, x1, y0, y1, z0, z1)):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no region: give six numbers in mm of RAS, x0,x1,y0,y1,z0,z1"
        ) from None
    return x0, x1, y0, y1, z0, z1
