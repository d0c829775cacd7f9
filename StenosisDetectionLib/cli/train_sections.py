"""`stenosis-detection train --network sections`: trains the network that reads the lumen beside calcium."""

import argparse
from pathlib import Path

from ..errors import InputError
from ..progress import CancellableProgress, StageReport, stage_report


def train_section_network(arguments: argparse.Namespace, output: Path, progress: CancellableProgress) -> Path:
    """Render stacks into the output folder, train, and return the path of the weights.

    Raises
    ------
    InputError : an option that this network does not have.
    """
    from ..devices import resolve_device
    from ..training.section_training import SectionTraining, prepare_stacks, read_stacks, train_sections

    for option, given in (
        ("--data", arguments.data),
        ("--configuration", arguments.configuration),
        ("--from", arguments.start),
        ("--resume", arguments.resume),
    ):
        if given:
            raise InputError(f"the network of sections is trained on synthetic hearts alone: leave {option} out")
    usual = SectionTraining()
    training = SectionTraining(
        studies=usual.studies if arguments.studies is None else arguments.studies,
        iterations=usual.iterations if arguments.iterations is None else arguments.iterations,
        minutes=arguments.minutes,
    )
    device = resolve_device(arguments.device)
    preparing: StageReport = stage_report(progress, "preparing studies", 0.0, 0.5)
    fitting: StageReport = stage_report(progress, "training", 0.5, 0.99)
    files, held_out = prepare_stacks(output / "stacks", training.studies, preparing)
    return train_sections(read_stacks(files), read_stacks(held_out), training, output, device, fitting)
