"""`stenosis-detection evaluate`: scores results against references, or analyzes and scores the verification set.

Writes evaluation.json, evaluation.html and evaluation.csv. A line for each main figure goes to standard error, the path
of evaluation.json to standard output.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..geometry import SPACES
from ..options import PRECISIONS, AnalysisOptions
from ..progress import CancellableProgress, stage_report
from .display import ProgressDisplay, add_amount, library_messages
from .outcome import DONE
from .running import interrupts, output_folder

if TYPE_CHECKING:
    from ..evaluation.statistics import Figure
    from ..evaluation.summary import Evaluation

DEFAULTS = AnalysisOptions()

MAIN_FIGURES = (
    ("Dice", "masks", "dice"),
    ("clDice", "masks", "cldice"),
    ("HD95", "masks", "hd95"),
    ("Betti-0 error", "masks", "betti0_error"),
    ("OV", "paths", "overlap"),
    ("AI", "paths", "accuracy_inside"),
    ("ostium error", "tree", "ostium_error"),
)


def add_parser(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the parser of the program."""
    parser = subcommands.add_parser(
        "evaluate",
        help="score results against references",
        description="Score results of analyze against references: segmentation, centerlines, stenoses.",
        epilog="""\
Examples:
  stenosis-detection evaluate --results results --reference phantoms --output evaluation
  stenosis-detection evaluate --results results --reference lesions.csv --data-set "2026 readings" --output evaluation
  stenosis-detection evaluate --verification T4 --cases 10 --output t4

Writes evaluation.json, evaluation.html and evaluation.csv; every figure has its n, a 95 % interval (patients drawn
again) and the name of the data set.

References, each alone or several in one folder:
  phantoms     folders written by 'stenosis-detection phantom' (truth.json, truth.seg.nrrd)
  label maps   <case>.nii.gz, <case>.seg.nrrd ... or <n>.label.nii.gz beside its <n>.img.nii.gz
  centerlines  <case>.vtp, .vtk, .dat, .txt, .mrk.json, or a folder <case>/ of them (CAT08: vessel*/reference.txt);
               say with --space what coordinates have that do not state it
  lesions      a CSV file with a line a lesion and the columns case, vessel or segment, diameter_stenosis_percent and,
               as far as known, throat_mm, start_mm, end_mm (from the beginning of the vessel) and position_r_mm,
               position_a_mm, position_s_mm (RAS) or position_x_mm ... (--space), reference_diameter_mm,
               minimal_lumen_diameter_mm, plaque_type, cad_rads; a line with the case alone: no lesion.
               A corrected copy of lesions.csv with a column case is one.
<case> is the name of the folder of the result (case-...).

--verification renders the cases of the frozen set, a minute or more each, analyzes and scores them. What is rendered
and analyzed is kept: after a cancel, the same command goes on; another --model takes the same --studies.
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--results", metavar="DIR", help="output folder of analyze or batch, or the folder of one case")
    add("--reference", metavar="DIR|FILE", help="what the results are scored against")
    add("--verification", metavar="SET", help="analyze and score this set of the verification set instead (T1 to T6)")
    add("--cases", type=_count, metavar="N", help="only N cases, spread over the verification set")
    add("--studies", metavar="DIR", help="folder that keeps the rendered cases (default: OUTPUT/studies)")
    add("--model", default=DEFAULTS.model, metavar="NAME|PATH", help="for the verification (default: %(default)s)")
    add("--segmentation", choices=("model", "truth"), default="model", help="for the verification: what is measured in")
    add("--device", default=DEFAULTS.device, help="for the verification (default: %(default)s)")
    add("--precision", choices=PRECISIONS, default=DEFAULTS.precision, help="for the verification")
    add("--data-set", metavar="NAME", help="name that every figure carries (default: that of the reference)")
    add("--space", choices=SPACES, help="coordinates of centerlines and positions that do not state their own")
    add("--output", required=True, metavar="DIR", help="folder to write; cases of the verification are kept in it, too")
    add("--overwrite", action="store_true", help="replace an evaluation, and analyze verification cases again")
    add_amount(parser, "show no progress and no figures")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Score what the request names, print the path of evaluation.json and return the exit status."""
    _check(arguments)
    display = ProgressDisplay(arguments.quiet, arguments.verbose)
    progress = CancellableProgress(display)
    with (
        library_messages(arguments.verbose),
        interrupts(progress.cancel),
        output_folder(Path(arguments.output).expanduser()) as output,
    ):
        from ..evaluation.writing import check_output, write_evaluation

        if arguments.verification is None:
            check_output(output, arguments.overwrite)
            evaluation = _scored(arguments, display, progress)
        else:
            evaluation = _verified(arguments, output, display, progress)
        stage_report(progress, "writing", 0.99, 1.0)(0.0, "writing the evaluation")
        written = write_evaluation(evaluation, output)
    display.clear()
    for line in figure_lines(evaluation):
        display.line(line)
    print(written, flush=True)
    return DONE


def figure_lines(evaluation: "Evaluation") -> Iterable[str]:
    """Yield the main figures in words, a line each with the name of the data set."""
    from ..evaluation.page import figure_words, interval_words

    def line(title: str, figure: "Figure") -> str:
        return f"{evaluation.data_set}: {title} {figure_words(figure)} [{interval_words(figure)}], n {figure.n}"

    segmentation, centerline, stenosis = evaluation.segmentation, evaluation.centerline, evaluation.stenosis
    for title, group, name in MAIN_FIGURES:
        if group == "masks" and segmentation is not None:
            yield line(title, segmentation.masks["whole"][name])
        if group == "paths" and centerline is not None:
            yield line(title, centerline.paths["all"][name])
        if group == "tree" and centerline is not None:
            yield line(title, centerline.tree[name])
    if segmentation is not None and segmentation.false_artery.n:
        yield line("studies without artery in which one was found", segmentation.false_artery)
    if stenosis is not None:
        half = next(item for item in stenosis.thresholds if item.percent == 50.0)
        yield line("sensitivity at 50 %", half.lesions["sensitivity"])
        yield line("false positives per patient at 50 %", half.lesions["false_positives_per_patient"])
        yield line("mean absolute error of the stenosis", stenosis.measurement["mae"])
        yield line("coverage of the 90 % interval", stenosis.measurement["interval_90_coverage"])
        yield line("kappa of CAD-RADS, linear", stenosis.agreement["kappa_linear"])


def _check(arguments: argparse.Namespace) -> None:
    """Refuse a request whose parts do not belong together."""
    if arguments.verification is not None:
        if arguments.results or arguments.reference:
            raise InputError("--verification makes its own cases: leave out --results and --reference")
        return
    if not arguments.results or not arguments.reference:
        raise InputError("give --results and --reference, or --verification; see 'stenosis-detection evaluate --help'")
    if arguments.cases is not None:
        raise InputError("--cases belongs to --verification: leave it out")
    if arguments.data_set is not None and not arguments.data_set.strip():
        raise InputError("the name of the data set is empty: give one that says what was scored")


def _scored(arguments: argparse.Namespace, display: ProgressDisplay, progress: CancellableProgress) -> "Evaluation":
    """Return the evaluation of results against references."""
    from ..evaluation.cases import score_case
    from ..evaluation.references import read_references
    from ..evaluation.results import read_result, result_folders
    from ..evaluation.summary import summarize
    from ..reading.files import shown_name

    reference_path = Path(arguments.reference).expanduser()
    name = arguments.data_set or shown_name(reference_path.resolve())
    display.start(name)
    report = stage_report(progress, "scoring", 0.02, 0.9)
    results = [read_result(folder) for folder in result_folders(Path(arguments.results).expanduser())]
    report(0.0, "reading the references")
    references = read_references(reference_path, results, arguments.space)
    by_case = {result.case_id: result for result in results}
    scores = []
    for number, reference in enumerate(references):
        report(number / len(references), f"case {number + 1} of {len(references)}")
        scores.append(score_case(by_case[reference.case_id], reference))
    stage_report(progress, "scoring", 0.9, 0.99)(0.0, "drawing patients again for the intervals")
    return summarize(scores, name, len(results) - len(references))


def _verified(
    arguments: argparse.Namespace, output: Path, display: ProgressDisplay, progress: CancellableProgress
) -> "Evaluation":
    """Return the evaluation of a part of the verification set, whose cases are analyzed as far as they are not yet."""
    from ..evaluation.summary import summarize
    from ..evaluation.verification import data_set_name, score_verification

    options = AnalysisOptions(model=arguments.model, device=arguments.device, precision=arguments.precision)
    truth = arguments.segmentation == "truth"
    name = arguments.data_set or data_set_name(arguments.verification, truth)
    display.start(name)
    scores = score_verification(
        arguments.verification,
        output,
        options,
        count=arguments.cases,
        use_truth=truth,
        studies=None if arguments.studies is None else Path(arguments.studies).expanduser(),
        overwrite=arguments.overwrite,
        progress=progress,
    )
    return summarize(scores, name)


def _count(text: str) -> int:
    """Return a number of cases: a whole number of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of cases: give a whole number of at least 1")
    return int(text)
