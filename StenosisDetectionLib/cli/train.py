"""`stenosis-detection train`: trains a network on synthetic studies, on a user's own data, or on both."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, ModelError
from ..progress import CancellableProgress, StageReport, stage_report
from .display import ProgressDisplay, add_amount, library_messages
from .outcome import DONE
from .running import interrupts, output_folder
from .train_sections import train_section_network
from .values import positive_number

if TYPE_CHECKING:
    from ..models.weights import LoadedNetwork
    from ..training.configuration import TrainingConfiguration

NETWORKS = ("fine", "coarse", "sections")
PRECISIONS = ("auto", "fp32", "bf16")


def add_parser(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand to the parser of the program."""
    parser = subcommands.add_parser(
        "train",
        help="train a network on synthetic studies or your own",
        description="Train a segmentation network on synthetic studies, on your own images and label maps, or on both.",
        epilog="""\
Examples:
  stenosis-detection train --output training --data ImageCAS --from coronary
  stenosis-detection train --output training --data ASOCA/Normal --data ASOCA/Diseased --studies 0 --iterations 20000
  stenosis-detection train --output training --minutes 60
  stenosis-detection train --output training --resume
  stenosis-detection train --output training --network sections --studies 60 --minutes 60

Writes DIR/<network>.safetensors (weights, configuration inside), configuration.json, curves.csv and
checkpoint.safetensors; DIR/studies holds the prepared studies and can be deleted afterwards. The path of the
weights goes to standard output; 'analyze --model DIR' uses them.

Layouts of --data, at any depth: <id>.img.nii.gz beside <id>.label.nii.gz (ImageCAS); volumes/<id>.img.nii.gz and
segmentations/<id>.coronary.nii.gz (ImageCAS-X, without the scans in its filelist/test.txt and exclude.txt);
CTCA/<id>.nrrd and Annotations/<id>.nrrd (ASOCA); folders images* and labels* side by side (nnU-Net). Every label above
0 counts as coronary lumen. Patients, not studies, are split between training and validation.

The network 'sections' reads the lumen beside calcium; it learns from synthetic hearts alone, renders them into
DIR/stacks (those that are there are kept) and begins anew each time.

Ctrl-C ends with exit status 130; it keeps a checkpoint of fine and coarse, from which --resume goes on.
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--output", required=True, metavar="DIR", help="folder to write; created when absent")
    add("--data", action="append", default=[], metavar="DIR", help="folder of images and label maps; may be repeated")
    add(
        "--network",
        choices=NETWORKS,
        default="fine",
        help="fine and coarse see arteries, sections the lumen beside calcium (default: %(default)s)",
    )
    add("--configuration", metavar="FILE", help="JSON file with fields to change; see configuration.json of a training")
    add("--from", dest="start", metavar="NAME|FILE", help="begin from the weights of a shipped model or of a file")
    add("--studies", type=_count, metavar="N", help="synthetic studies to draw; 0 trains on --data alone")
    add("--resume", action="store_true", help="go on from the checkpoint of the output folder")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: %(default)s)")
    add("--precision", choices=PRECISIONS, default="auto", help="of the computation (default: %(default)s)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes", type=positive_number, metavar="N", help="length in minutes, preparing studies aside"
    )
    length.add_argument("--iterations", type=_count, metavar="N", help="length in iterations")
    add_amount(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train, print the path of the weights and return the exit status."""
    display = ProgressDisplay(arguments.quiet, arguments.verbose)
    display.start("training")
    progress = CancellableProgress(display)
    with (
        library_messages(arguments.verbose),
        interrupts(progress.cancel),
        output_folder(Path(arguments.output).expanduser()) as output,
    ):
        weights = _trained(arguments, output, display, progress)
    display.clear()
    print(weights, flush=True)
    return DONE


def _trained(
    arguments: argparse.Namespace, output: Path, display: ProgressDisplay, progress: CancellableProgress
) -> Path:
    """Train into the output folder and return the path of the weights."""
    if arguments.network == "sections":
        return train_section_network(arguments, output, progress)
    from ..devices import resolve_device
    from ..training.sources import describe, training_sources
    from ..training.trainer import TrainingRun, train, training_precision, validate_folders

    start = _start(arguments)
    configuration = _configuration(arguments, output, start)
    device = resolve_device(arguments.device)
    run = TrainingRun(
        output, device, training_precision(arguments.precision, device), arguments.minutes, arguments.resume
    )
    folders = [Path(folder).expanduser() for folder in arguments.data]
    preparing = stage_report(progress, "preparing studies", 0.0, 0.1)
    training: StageReport = stage_report(progress, "training", 0.1, 0.99)
    with training_sources(output / "studies", folders, configuration, preparing, display.line) as sources:
        network = train(
            configuration,
            run,
            sources.find_training,
            sources.validation,
            None if start is None or arguments.resume else start.network,
            training,
        )
        figures = validate_folders(network, sources.validation, configuration, run)
        metadata = {
            "name": configuration.name,
            "version": configuration.version,
            "training_studies": describe(sources.find_training()),
            "validation_studies": describe(sources.validation),
            "validation": {name: round(value, 4) for name, value in figures.items()},
            "training": configuration.to_json(),
            "started_from": None if start is None else start.sha256,
        }
    return _saved(output, arguments.network, network, configuration, metadata)


def _saved(
    output: Path, name: str, network: Any, configuration: "TrainingConfiguration", metadata: dict[str, Any]
) -> Path:
    from ..models.weights import save_weights

    path = output / f"{name}.safetensors"
    save_weights(path, network, configuration.network, metadata)
    return path


def _start(arguments: argparse.Namespace) -> "LoadedNetwork | None":
    """Return the network to begin from, None without `--from`."""
    from ..models.weights import load_weights
    from ..resources import resource_path

    if arguments.start is None:
        return None
    path = Path(arguments.start).expanduser()
    if path.suffix != ".safetensors":
        if not arguments.start.replace("-", "").replace("_", "").isalnum():
            raise ModelError("--from takes the name of a shipped model or a .safetensors file")
        try:
            path = resource_path("models", arguments.start, f"{arguments.network}.safetensors")
        except FileNotFoundError:
            raise ModelError(
                f"there is no shipped model '{arguments.start}' with a {arguments.network} network: "
                "see 'stenosis-detection models', or give a .safetensors file"
            ) from None
    return load_weights(path)


def _configuration(
    arguments: argparse.Namespace, output: Path, start: "LoadedNetwork | None"
) -> "TrainingConfiguration":
    """Return the configuration of the request, after checking that it fits what is in the output folder."""
    from ..training.configuration import configuration_from_json, read_configuration

    checkpoint = output / "checkpoint.safetensors"
    if arguments.resume:
        if not checkpoint.exists():
            raise InputError("there is no checkpoint in the output folder: train without --resume")
        if arguments.configuration is not None or start is not None:
            raise InputError("--resume takes the configuration of its training: leave --configuration and --from out")
        configuration = read_configuration(output / "configuration.json")
    elif checkpoint.exists():
        raise InputError("the output folder holds a training already: add --resume, or choose another folder")
    elif arguments.configuration is not None:
        configuration = read_configuration(Path(arguments.configuration).expanduser(), arguments.network)
    else:
        configuration = configuration_from_json({}, preset=arguments.network)
    if start is not None:
        configuration = replace(configuration, network=start.configuration)
    if arguments.studies is not None:
        configuration = replace(configuration, studies=arguments.studies)
    if arguments.iterations is not None:
        configuration = replace(configuration, iterations=arguments.iterations)
    return configuration


def _count(text: str) -> int:
    """Return a whole number of at least 0."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number of at least 0")
    return int(text)
