"""Where the studies of a training come from: the generator, a user's folders, or both, in one store on disk."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..progress import StageReport, no_report, part_of
from .cases import open_case, stored_cases
from .configuration import TrainingConfiguration
from .generator import render_in_background, render_studies, study_name, study_seeds
from .user_data import find_pairs, split_patients, store_pairs

_FIRST_STUDIES = 4
"""Training begins when so many synthetic studies are there; the others are rendered beside it."""

_PATIENCE_S = 0.5


@dataclass(frozen=True)
class Sources:
    """The studies of a training.

    Parameters
    ----------
    find_training : returns the folders of the studies to train on that are complete by now.
    validation : folders of the studies to validate on.
    """

    find_training: Callable[[], list[Path]]
    validation: Sequence[Path]


@contextmanager
def training_sources(
    store: Path,
    data: Sequence[Path],
    configuration: TrainingConfiguration,
    report: StageReport = no_report,
    refused: Callable[[str], object] = lambda _line: None,
) -> Iterator[Sources]:
    """Prepare the studies of a training; synthetic ones are rendered by another process while the context lasts.

    Parameters
    ----------
    store : folder that holds the prepared studies; those that are there already are used again.
    data : folders of a user's pairs of images and label maps.
    refused : told in one line of every pair that cannot be used.

    Raises
    ------
    InputError : there is nothing to train on.
    """
    pairs = [pair for folder in data for pair in find_pairs(folder)]
    if not pairs and not configuration.studies:
        raise InputError("there is nothing to train on: give a folder with --data, or studies from the generator")
    store.mkdir(parents=True, exist_ok=True)
    user_end = 0.7 if pairs else 0.0
    kept = store_pairs(store, pairs, configuration, part_of(report, 0.0, user_end), refused) if pairs else []
    held = split_patients([pair.patient for pair in kept], configuration.validation_share, configuration.seed)
    training = {pair.name for pair in kept if pair.patient not in held}
    validation = [pair.name for pair in kept if pair.patient in held]
    seeds = study_seeds(configuration, validation=False)
    if seeds:
        checks = study_seeds(configuration, validation=True)
        render_studies(store, configuration, checks, part_of(report, user_end, 0.5 + user_end / 2))
        validation += [study_name(seed) for seed in checks]
        training |= {study_name(seed) for seed in seeds}

    def find_training() -> list[Path]:
        return [store / name for name in stored_cases(store) if name in training]

    with _rendering(store, configuration, seeds) as alive:
        _wait_for_first(find_training, len(seeds), len(kept), alive, part_of(report, 0.5 + user_end / 2, 1.0))
        yield Sources(find_training, [store / name for name in validation])


@contextmanager
def _rendering(store: Path, configuration: TrainingConfiguration, seeds: range) -> Iterator[Callable[[], bool]]:
    """Render the studies that the store lacks in another process, and end it with the context."""
    missing = {study_name(seed) for seed in seeds} - set(stored_cases(store))
    if not missing:
        yield lambda: False
        return
    process = multiprocessing.get_context("spawn").Process(
        target=render_in_background, args=(str(store), configuration, seeds), daemon=True
    )
    process.start()
    try:
        yield process.is_alive
    finally:
        process.terminate()
        process.join()


def _wait_for_first(
    find: Callable[[], list[Path]], synthetic: int, real: int, alive: Callable[[], bool], report: StageReport
) -> None:
    """Wait until there is enough to begin with."""
    import time

    wanted = min(synthetic, _FIRST_STUDIES)
    while True:
        present = len([path for path in find() if path.name.startswith("synthetic-")])
        report(present / max(wanted, 1), f"rendering studies, {present} of the first {wanted}")
        if present >= wanted:
            return
        if not alive():
            if present or real:
                return
            raise InputError("the synthetic studies could not be rendered: run again with --verbose to see more")
        time.sleep(_PATIENCE_S)


def describe(folders: Sequence[Path]) -> dict[str, int]:
    """Return how many studies of every source are among folders, for the description of the weights."""
    counts: dict[str, int] = {}
    for folder in folders:
        source = open_case(folder).information.source
        counts[source] = counts.get(source, 0) + 1
    return counts
