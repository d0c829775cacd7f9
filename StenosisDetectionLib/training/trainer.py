"""The training loop: AdamW, a cosine, an average of the weights, mixed precision, checkpoints, validation, curves.

In: a configuration, a store of studies, a folder. Out: in the folder `checkpoint.safetensors`, `curves.csv`,
`configuration.json` and at the end the weights. Resuming goes on bit for bit where the last checkpoint was made, as
long as the length is given in iterations; a length in minutes depends on the clock.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Cancelled, InputError
from ..models.network import build_network
from ..progress import StageReport, no_report
from .cases import TrainingCase, open_case
from .checkpoint import TrainingState, load_checkpoint, save_checkpoint
from .configuration import TrainingConfiguration
from .curves import Curves
from .losses import training_loss, validation_counts, validation_figures
from .patches import Batch, batches, moved, patch_batch

if TYPE_CHECKING:
    import torch

_SHOWN_EVERY = 10


@dataclass(frozen=True)
class TrainingRun:
    """How long and on what a training runs, and where it writes.

    Parameters
    ----------
    folder : of its outputs.
    device : a resolved torch device.
    precision : fp32 or bf16.
    minutes : length in minutes instead of the configuration's iterations.
    resume : go on from the checkpoint of the folder.
    """

    folder: Path
    device: str = "cpu"
    precision: str = "fp32"
    minutes: float | None = None
    resume: bool = False


def train(
    configuration: TrainingConfiguration,
    run: TrainingRun,
    find_cases: Callable[[], Sequence[Path]],
    validation_cases: Sequence[Path],
    start: torch.nn.Module | None = None,
    report: StageReport = no_report,
) -> torch.nn.Module:
    """Train a network and return the average of its weights.

    Parameters
    ----------
    find_cases : returns the folders of the training studies; asked at the start and after every checkpoint, because
        more may have been rendered in the meantime.
    validation_cases : folders of the studies to validate on; without any, nothing is validated.
    start : weights to begin from instead of random ones.
    report : progress; may raise `Cancelled`, after which a checkpoint is written.

    Raises
    ------
    InputError : there is no study to train on, or no checkpoint to resume.
    Cancelled : the user asked to stop; the checkpoint is there.
    """
    state = _initial_state(configuration, run, start)
    checkpoint = run.folder / "checkpoint.safetensors"
    if run.resume:
        load_checkpoint(checkpoint, state)
    (run.folder / "configuration.json").write_text(json.dumps(configuration.to_json(), indent=2), encoding="utf-8")
    validation = [open_case(folder) for folder in validation_cases]
    with Curves(run.folder, state.iteration) as curves:
        opened: dict[str, TrainingCase] = {}
        while _fraction(state, configuration, run) < 1:
            folders = {folder.name: folder for folder in find_cases()}
            names = state.cases if run.resume and state.cases and not opened else tuple(sorted(folders))
            if not names or not set(names) <= set(folders):
                raise InputError("there is no study to train on" if not names else "studies of the checkpoint are gone")
            state.cases = names
            opened = {name: opened.get(name) or open_case(folders[name]) for name in names}
            try:
                _train_until_checkpoint(state, configuration, run, [opened[name] for name in names], curves, report)
            except (Cancelled, KeyboardInterrupt):
                save_checkpoint(checkpoint, state, configuration.to_json())
                raise
            save_checkpoint(checkpoint, state, configuration.to_json())
            if validation:
                report(min(_fraction(state, configuration, run), 1.0), "validating")
                curves.write("validation", state.iteration, validate(state.average, validation, configuration, run))
    return state.average


def _initial_state(
    configuration: TrainingConfiguration, run: TrainingRun, start: torch.nn.Module | None
) -> TrainingState:
    import torch

    torch.manual_seed(configuration.seed)
    network = build_network(configuration.network)
    _begin_rare(network, configuration)
    if start is not None:
        network.load_state_dict({name: value.float() for name, value in start.state_dict().items()})
    network = network.to(run.device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=configuration.learning_rate, weight_decay=configuration.weight_decay
    )
    return TrainingState(network, average, optimizer, 0, 0.0, ())


def _begin_rare(network: torch.nn.Module, configuration: TrainingConfiguration) -> None:
    """Let the network begin with the belief that what its heads look for is rare: it need not unlearn the opposite."""
    import torch

    heads = configuration.network.heads
    last = [module for module in network.modules() if isinstance(module, torch.nn.Conv3d)][-1]
    assert last.bias is not None
    per_head = last.bias.view(len(heads), -1)
    with torch.no_grad():
        for index, head in enumerate(heads):
            per_head[index] = 2.0 if head == "centerline_distance" else -3.0


def _fraction(state: TrainingState, configuration: TrainingConfiguration, run: TrainingRun) -> float:
    """Return how much of the training is done, 0...1."""
    if run.minutes is not None:
        return state.elapsed_s / (60 * run.minutes)
    return state.iteration / configuration.iterations


def learning_rate(configuration: TrainingConfiguration, iteration: int, fraction: float) -> float:
    """Return the learning rate: a linear warm-up, then a cosine to zero."""
    warm = min(1.0, (iteration + 1) / max(configuration.warm_up_iterations, 1))
    return configuration.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))


def _train_until_checkpoint(
    state: TrainingState,
    configuration: TrainingConfiguration,
    run: TrainingRun,
    cases: Sequence[TrainingCase],
    curves: Curves,
    report: StageReport,
) -> None:
    """Train until the next checkpoint is due or the training is done."""
    state.network.train()
    recent: list[dict[str, float]] = []
    started = last = time.monotonic()
    stage = configuration.at(_fraction(state, configuration, run))
    source = batches(cases, stage, state.iteration)
    try:
        for batch in source:
            fraction = _fraction(state, configuration, run)
            rate = learning_rate(configuration, state.iteration, fraction)
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            terms = _step(state, configuration, run, batch)
            state.iteration += 1
            now = time.monotonic()
            state.elapsed_s += now - last
            last = now
            recent.append(terms)
            if state.iteration % _SHOWN_EVERY == 0:
                mean = {term: sum(values[term] for values in recent) / len(recent) for term in terms}
                recent = []
                loss = sum(mean.values())
                if not math.isfinite(loss):
                    raise InputError("the loss is not finite: lower the learning rate or train in fp32")
                curves.write("training", state.iteration, {"seconds": state.elapsed_s, "rate": rate, **mean})
                report(min(fraction, 1.0), f"iteration {state.iteration}, loss {loss:.3f}")
            else:
                report(min(fraction, 1.0), f"iteration {state.iteration}")
            fraction = _fraction(state, configuration, run)
            if (
                fraction >= 1
                or configuration.at(fraction) != stage
                or now - started > 60 * configuration.checkpoint_minutes
            ):
                return
    finally:
        source.close()  # type: ignore[attr-defined]


def _step(
    state: TrainingState, configuration: TrainingConfiguration, run: TrainingRun, batch: Batch
) -> dict[str, float]:
    import torch

    batch = moved(batch, run.device)
    with torch.autocast(run.device.partition(":")[0], torch.bfloat16, enabled=run.precision == "bf16"):
        output = state.network(batch.image)
    terms = training_loss(output, batch, configuration)
    state.optimizer.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()
    norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), configuration.gradient_norm)
    losses = {term: float(value.detach()) for term, value in terms.items()}
    if not torch.isfinite(norm):  # of the smallest convolutions in bf16, now and then, on some processors
        return losses
    state.optimizer.step()
    # Early on the average follows faster, so that it is not made of random weights.
    decay = min(configuration.averaging, (1 + state.iteration) / (10 + state.iteration))
    with torch.no_grad():
        for mean, value in zip(state.average.parameters(), state.network.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
        for average, current in zip(state.average.buffers(), state.network.buffers(), strict=True):
            average.lerp_(current, 1 - decay) if average.is_floating_point() else average.copy_(current)
    return losses


def validate(
    network: torch.nn.Module, cases: Sequence[TrainingCase], configuration: TrainingConfiguration, run: TrainingRun
) -> dict[str, float]:
    """Return the figures of a network on patches of studies it was not trained on, the same patches every time."""
    import torch

    network.eval()
    counts: dict[str, float] = {}
    with torch.no_grad(), torch.autocast(run.device.partition(":")[0], torch.bfloat16, enabled=run.precision == "bf16"):
        for number in range(max(1, configuration.validation_patches // configuration.batch)):
            batch = moved(patch_batch(cases, configuration, number, augment=False), run.device)
            for key, value in validation_counts(network(batch.image), batch, configuration.network.heads).items():
                counts[key] = counts.get(key, 0.0) + float(value)
    return validation_figures(counts)


def validate_folders(
    network: torch.nn.Module, folders: Sequence[Path], configuration: TrainingConfiguration, run: TrainingRun
) -> dict[str, float]:
    """Return the figures of a network on the studies of folders; none without any."""
    return validate(network, [open_case(folder) for folder in folders], configuration, run) if folders else {}


def training_precision(name: str, device: str) -> str:
    """Return fp32 or bf16; `auto` takes bf16 where the processor computes in it.

    Raises
    ------
    InputError : the device does not compute in bf16.
    """
    import torch

    if device.startswith("cuda"):
        able = torch.cuda.is_bf16_supported()
    else:
        able = device == "cpu" and torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    if name == "bf16" and not able:
        raise InputError(f"{device} does not compute in bf16: choose --precision fp32")
    return "bf16" if able and name != "fp32" else "fp32"
