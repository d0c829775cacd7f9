"""Trains the section network on synthetic stacks of cross-sections.

In: stacks of `section_stacks.py`. Out: weights with the factor that calibrates their intervals. The three quantiles are
learned by their pinball loss (Koenker and Bassett 1978); sections with calcium count three times. Nothing is drawn
that depends on what was drawn before but the number of the batch, so that a seed gives one training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..lumen.section_network import (
    PIXEL_MM,
    QUANTILES,
    build_section_network,
    decoded,
    save_section_network,
    section_input,
)
from ..progress import StageReport, no_report
from .curves import Curves
from .section_stacks import SectionStack, load_stacks, render_stacks, save_stacks

if TYPE_CHECKING:
    import torch

FIRST_SEED = 40_000
"""Seeds of hearts that nothing else is trained or tested on."""

VALIDATION_SHARE = 0.1

LENGTH, BATCH = 32, 16
"""Sections of a training example, examples of a batch."""

CALCIUM_MM2 = 0.1
"""A section with this area of calcium has calcium."""

LEARNING_RATE, WEIGHT_DECAY, AVERAGED = 2e-3, 1e-3, 0.99
_WARM_UP, _REPORT_EVERY, _CALCIUM_WEIGHT = 50, 200, 2.0
_CONTRAST_ERROR = 0.02
_MOST_SHIFT = 1  # pixels


@dataclass(frozen=True)
class SectionTraining:
    """How long to train and with what: `studies` hearts, up to `iterations` batches or `minutes`, from a `seed`."""

    studies: int = 60
    iterations: int = 5000
    minutes: float | None = None
    seed: int = 0


def prepare_stacks(folder: Path, studies: int, report: StageReport = no_report) -> tuple[list[Path], list[Path]]:
    """Render the stacks of hearts that are not in a folder yet; return files for training and for validation."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(studies):
        report(number / studies, f"rendering heart {number + 1} of {studies}")
        path = folder / f"{FIRST_SEED + number}.npz"
        if not path.exists():
            save_stacks(path, render_stacks(FIRST_SEED + number))
        files.append(path)
    count = max(1, round(VALIDATION_SHARE * studies))
    if studies <= count:
        raise InputError("training needs at least two studies: raise --studies")
    return files[:-count], files[-count:]


def train_sections(
    stacks: Sequence[SectionStack],
    validation: Sequence[SectionStack],
    training: SectionTraining,
    output: Path,
    device: str = "cpu",
    report: StageReport = no_report,
    start: torch.nn.Module | None = None,
) -> Path:
    """Train into a folder and return the path of the weights.

    Parameters
    ----------
    start : network to go on from; by default random weights.

    Raises
    ------
    InputError : no stack is long enough.
    Cancelled : from `report`; nothing is written then.
    """
    import torch

    long = [one for one in stacks if len(one.diameter_mm) >= LENGTH]
    if not long or not validation:
        raise InputError("the stacks are too short to train on: render more studies")
    torch.manual_seed(training.seed)
    network = (start or build_section_network()).requires_grad_(True).to(device).train()
    average = torch.optim.swa_utils.AveragedModel(network, avg_fn=_moving_average, use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    share = _share_of(training)
    losses: list[float] = []
    iteration = 0
    with Curves(output, 0) as curves:
        while (done := share(iteration)) < 1.0:
            rate = LEARNING_RATE * min(1.0, (iteration + 1) / _WARM_UP) * 0.5 * (1.0 + np.cos(np.pi * done))
            for group in optimizer.param_groups:
                group["lr"] = rate
            image, truth = training_batch(long, np.random.default_rng([training.seed, iteration]))
            loss = section_loss(network(image.to(device)), truth.to(device))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(network)
            losses.append(float(loss.detach()))
            iteration += 1
            report(done, f"iteration {iteration}, loss {np.mean(losses[-50:]):.3f}")
            if iteration % _REPORT_EVERY == 0:
                figures, _ = validate_sections(average.module, validation, device)
                curves.write("training", iteration, {"loss": float(np.mean(losses[-_REPORT_EVERY:]))})
                curves.write("validation", iteration, figures)
    figures, factor = validate_sections(average.module, validation, device)
    metadata: dict[str, Any] = {
        "interval_factor": round(factor, 3),
        "iterations": iteration,
        "training_stacks": len(long),
        "validation_stacks": len(validation),
        "validation": {name: round(value, 4) for name, value in figures.items()},
    }
    path = output / "sections.safetensors"
    save_section_network(path, average.module, metadata)
    return path


def training_batch(
    stacks: Sequence[SectionStack], draw: np.random.Generator, count: int = BATCH
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return input (B, C, L, PIXELS, PIXELS) and truth (B, L, 4): diameter, offset and calcium, mm and mm2.

    Sections are turned by right angles, mirrored, shifted, and stacks reversed: all of it keeps a lumen a lumen.
    """
    import torch

    images, truths = [], []
    for _ in range(count):
        stack = stacks[int(draw.integers(len(stacks)))]
        first = int(draw.integers(len(stack.diameter_mm) - LENGTH + 1))
        part = slice(first, first + LENGTH)
        values, offset = stack.values[part].astype(np.float32), stack.offset_mm[part].copy()
        for _ in range(int(draw.integers(4))):
            values = np.rot90(values, 1, (1, 2))
            offset = np.stack([-offset[:, 1], offset[:, 0]], axis=1)
        if draw.random() < 0.5:
            values, offset = values[:, ::-1], offset * np.array([-1.0, 1.0])
        shift = draw.integers(-_MOST_SHIFT, _MOST_SHIFT + 1, 2)
        values = np.roll(values, tuple(int(n) for n in shift), (1, 2))
        offset = offset + shift * PIXEL_MM
        way = slice(None, None, 1 if draw.random() < 0.5 else -1)
        level = stack.lumen_hu[part] * (1.0 + _CONTRAST_ERROR * draw.normal())
        images.append(section_input(values[way], level[way], float(stack.noise_hu[0]), stack.sigma_mm[part][way]))
        truth = [stack.diameter_mm[part], offset[:, 0], offset[:, 1], stack.calcium_mm2[part]]
        truths.append(np.stack(truth, axis=1)[way])
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(truths).astype(np.float32))


def section_loss(output: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the loss of a batch: quantiles of the diameter, center, presence and area of calcium.

    Sections without a diameter of their own (NaN) do not count.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    quantiles, center, logit, area = decoded(output)
    diameter, calcium = truth[..., 0], truth[..., 3]
    known = torch.isfinite(diameter)
    has = (calcium > CALCIUM_MM2).float()
    miss = torch.nan_to_num(diameter)[..., None] - quantiles
    level = torch.tensor(QUANTILES, device=miss.device)
    loss = 2.0 * torch.maximum(level * miss, (level - 1.0) * miss).sum(-1)
    loss = loss + 0.3 * (center - truth[..., 1:3]).abs().sum(-1).clamp(max=2.0)
    loss = loss + 0.2 * binary_cross_entropy_with_logits(logit, has, reduction="none")
    loss = loss + 0.1 * (area - calcium).abs().clamp(max=3.0)
    weight = known * (1.0 + _CALCIUM_WEIGHT * has)
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)


def validate_sections(
    network: torch.nn.Module, stacks: Sequence[SectionStack], device: str
) -> tuple[dict[str, float], float]:
    """Return figures over the sections of stacks and the factor that gives 90 % intervals beside calcium.

    `mae_calcium_mm`, `mae_mm` mean absolute error of the median; `coverage_calcium` of the intervals as they are.
    """
    import torch

    training = network.training
    network.eval()
    parts = []
    with torch.inference_mode():
        for one in stacks:
            image = section_input(one.values.astype(np.float32), one.lumen_hu, float(one.noise_hu[0]), one.sigma_mm)
            quantiles, _, logit, _ = decoded(network(torch.from_numpy(image)[None].to(device)))
            read = torch.cat([quantiles[0], torch.sigmoid(logit[0])[:, None]], dim=1).cpu().numpy()
            parts.append(np.concatenate([read, one.diameter_mm[:, None], one.calcium_mm2[:, None]], axis=1))
    network.train(training)
    low, middle, high, believed, true, calcium = np.concatenate(parts).T.astype(np.float64)
    known, has = np.isfinite(true), calcium > CALCIUM_MM2
    beside = known & has
    if not beside.any():
        raise InputError("no validation stack holds calcium: render more studies")
    reach = np.where(true > middle, (true - middle) / (high - middle), (middle - true) / (middle - low))
    figures = {
        "mae_mm": float(np.abs(middle - true)[known].mean()),
        "mae_calcium_mm": float(np.abs(middle - true)[beside].mean()),
        "bias_calcium_mm": float((middle - true)[beside].mean()),
        "coverage_calcium": float((reach <= 1.0)[beside].mean()),
        "calcium_found": float((believed >= 0.5)[beside].mean()),
        "calcium_false": float((believed >= 0.5)[known & (calcium == 0.0)].mean()),
    }
    return figures, max(1.0, float(np.quantile(reach[beside], 0.9)))


def _moving_average(average: torch.Tensor, value: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    """Return the exponential moving average, at first the plain mean: the first weights are random."""
    return average + (value - average) * max(1.0 - AVERAGED, 1.0 / (float(count) + 1.0))


def _share_of(training: SectionTraining) -> Callable[[int], float]:
    """Return what tells the share of a training that is done after an iteration."""
    begin = time.monotonic()
    if training.minutes is None:
        return lambda iteration: iteration / max(training.iterations, 1)
    minutes = training.minutes
    return lambda _: (time.monotonic() - begin) / (60.0 * minutes)


def read_stacks(files: Sequence[Path]) -> list[SectionStack]:
    """Return the stacks of files."""
    return [stack for path in files for stack in load_stacks(path)]
