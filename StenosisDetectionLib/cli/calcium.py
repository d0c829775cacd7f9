"""`stenosis-detection calcium`: the calcium score of a CT without contrast agent in regions that the user gives."""

import argparse
from pathlib import Path

from ..progress import CancellableProgress, stage_report
from .display import ProgressDisplay, add_amount, library_messages
from .outcome import DONE
from .running import interrupts, output_folder
from .values import positive_number


def add_parser(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the parser of the program."""
    parser = subcommands.add_parser(
        "calcium",
        help="calcium score of a CT without contrast agent",
        description="Compute the coronary calcium score (Agatston, volume, mass) of a CT without contrast agent.",
        epilog="""\
Example:
  stenosis-detection calcium calcium-scan/ --regions arteries.seg.nrrd --output results

--regions is a label map with a label for each artery, drawn generously around where its calcium may lie (for example in
Slicer's Segment Editor); it may have another grid. Calcium outside of it does not count, nor does a label named after
the aorta. A CT angiogram is refused, since blood with contrast agent itself exceeds 130 HU.

Writes results/<case>/calcium.json and calcium.csv, with a line for each region; the path of calcium.json goes to
standard output. The mass needs the calibration factor of the scanner, in mg for each HU and mm3.
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("input", metavar="INPUT", help="DICOM folder or file, .nrrd, .nii, .nii.gz, .mha or .mhd file")
    add("--regions", required=True, metavar="FILE", help="label map of the coronary arteries, a label each")
    add("--output", required=True, metavar="DIR", help="folder to write <case>/ into; created when absent")
    add("--calibration", type=positive_number, metavar="MG", help="mg of calcium for each HU and mm3, for the mass")
    add("--overwrite", action="store_true", help="replace a calcium score that exists in the output folder")
    add_amount(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Score the input, print the path of calcium.json and return the exit status."""
    from ..reading import read_label_map, read_volume
    from ..reading.files import shown_name
    from ..stenosis.calcium_score import THICKEST_MM

    display = ProgressDisplay(arguments.quiet, arguments.verbose)
    display.start(shown_name(Path(arguments.input)))
    progress = CancellableProgress(display)
    with (
        library_messages(arguments.verbose),
        interrupts(progress.cancel),
        output_folder(Path(arguments.output).expanduser()) as output,
    ):
        regions = read_label_map(arguments.regions)
        volume = read_volume(arguments.input, stage_report(progress, "reading", 0.0, 0.3), THICKEST_MM)
        from ..calcium import score_calcium
        from ..pipeline import case_id_of, voxels_sha256
        from ..writing.calcium import check_output, write_calcium

        digest = voxels_sha256(volume)
        directory = output / case_id_of(volume, digest)
        check_output(directory, arguments.overwrite)
        score = score_calcium(volume, regions, arguments.calibration, stage_report(progress, "scoring", 0.3, 0.95))
        written = write_calcium(score, volume, digest, directory)
    display.clear()
    mass = "mass unknown without --calibration" if score.mass_mg is None else f"mass {score.mass_mg:.1f} mg"
    display.line(
        f"{display.title}: Agatston {score.agatston:.0f}, volume {score.volume_mm3:.0f} mm3, {mass}, "
        f"{score.lesions} lesion{'' if score.lesions == 1 else 's'}"
    )
    for warning in score.warnings:
        display.line(f"{display.title}: {warning}")
    print(written, flush=True)
    return DONE
