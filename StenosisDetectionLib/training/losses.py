"""The loss of a training and the figures of its validation.

Every probability head: cross-entropy against the soft target, whose positive half of the voxels weighs as much as the
other, plus Dice. The lumen in addition: recall on the tubed centerline (the idea of skeleton recall, Kirchhoff 2024),
which keeps thin branches connected without a skeleton of the prediction. The distance: absolute error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..models.network import DISTANCE_LIMIT_MM
from .configuration import TrainingConfiguration
from .patches import Batch

if TYPE_CHECKING:
    import torch

_TUBE_MM = 0.75
"""The tubed centerline reaches this far from the line."""

_NEAR_SHARE = 0.5
"""Weight, in the cross-entropy, of all voxels around targets together against all voxels together."""

_LUMEN = 0.5
"""Lumen fraction from which a voxel counts as lumen."""


def training_loss(output: torch.Tensor, batch: Batch, configuration: TrainingConfiguration) -> dict[str, torch.Tensor]:
    """Return the loss of every term, weighted; their sum is to be minimized.

    Parameters
    ----------
    output : raw values (B, H, k, j, i) of the network.
    """
    import torch

    heads = configuration.network.heads
    terms: dict[str, torch.Tensor] = {}
    tube = centerline_tube(batch, heads)
    distance, vein = _head(batch.targets, heads, "centerline_distance"), _head(batch.targets, heads, "vein")
    for index, head in enumerate(heads):
        raw, target, known = output[:, index].float(), batch.targets[:, index], batch.weight[:, index]
        if head == "centerline_distance":
            error = (torch.sigmoid(raw) - target).abs()
            near = known * (target < 1)
            terms[head] = _mean(error, known) + _mean(error, near)
            continue
        near = known * (target > 0)
        if head == "lumen":  # its neighborhood, and the veins that it must not be
            near = near if distance is None else torch.maximum(near, known * (distance < 1))
            near = near if vein is None else torch.maximum(near, known * (vein > 0))
        terms[head] = _cross_entropy(raw, target, known, near) + dice_loss(torch.sigmoid(raw), target, known)
        if head == "lumen" and tube is not None:
            probability = torch.sigmoid(raw)
            missed = 1 - (probability * tube).sum() / tube.sum().clamp(min=1)
            terms["skeleton_recall"] = missed * (tube.sum() > 0)
    return {term: value * configuration.weight(term) for term, value in terms.items()}


def centerline_tube(batch: Batch, heads: tuple[str, ...]) -> torch.Tensor | None:
    """Return 1 within `_TUBE_MM` of a centerline and inside the lumen, (B, k, j, i); None when it is not known."""
    distance, lumen = _head(batch.targets, heads, "centerline_distance"), _head(batch.targets, heads, "lumen")
    if distance is None or lumen is None:
        return None
    known = batch.weight[:, heads.index("centerline_distance")]
    return known * (distance < _TUBE_MM / DISTANCE_LIMIT_MM) * (lumen > _LUMEN)


def validation_counts(output: torch.Tensor, batch: Batch, heads: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Return sums from which `validation_figures` makes figures, so that batches can be added up."""
    import torch

    counts: dict[str, torch.Tensor] = {}
    for index, head in enumerate(heads):
        raw, target, known = output[:, index].float(), batch.targets[:, index], batch.weight[:, index]
        if head == "centerline_distance":
            error = (torch.sigmoid(raw) - target).abs() * DISTANCE_LIMIT_MM
            near = known * (target < 1)
            counts[f"{head}.error"], counts[f"{head}.number"] = (error * near).sum(), near.sum()
            continue
        found, true = (raw > 0) * known, (target > _LUMEN) * known
        counts[f"{head}.both"] = (found * true).sum()
        counts[f"{head}.found"], counts[f"{head}.true"] = found.sum(), true.sum()
    tube = centerline_tube(batch, heads)
    if tube is not None:
        found = output[:, heads.index("lumen")] > 0
        counts["tube.found"], counts["tube.number"] = (tube * found).sum(), tube.sum()
        vein = _head(batch.targets, heads, "vein")
        if vein is not None:
            vein = (vein > _LUMEN) * batch.weight[:, heads.index("vein")]
            counts["lumen.in_vein"] = (found * vein).sum()
    return counts


def validation_figures(counts: dict[str, float]) -> dict[str, float]:
    """Return Dice of every probability head, recall of the centerline, and the mean distance error in mm."""
    figures: dict[str, float] = {}
    for key in counts:
        head, _, what = key.partition(".")
        if what == "both":
            figures[f"{head}_dice"] = 2 * counts[key] / max(counts[f"{head}.found"] + counts[f"{head}.true"], 1.0)
    if "lumen.both" in counts:
        figures["lumen_precision"] = counts["lumen.both"] / max(counts["lumen.found"], 1.0)
        figures["lumen_recall"] = counts["lumen.both"] / max(counts["lumen.true"], 1.0)
    if "tube.number" in counts:
        figures["centerline_recall"] = counts["tube.found"] / max(counts["tube.number"], 1.0)
    if "lumen.in_vein" in counts:
        figures["lumen_in_vein"] = counts["lumen.in_vein"] / max(counts["lumen.found"], 1.0)
    if "centerline_distance.number" in counts:
        number = max(counts["centerline_distance.number"], 1.0)
        figures["centerline_distance_error_mm"] = counts["centerline_distance.error"] / number
    return figures


def dice_loss(probability: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return 1 - Dice of soft values over the whole batch; 0 when nothing is known."""
    both = 2 * (known * probability * target).sum()
    total = (known * (probability + target)).sum()
    return (1 - (both + 1) / (total + 1)) * (known.sum() > 0)


def _cross_entropy(raw: torch.Tensor, target: torch.Tensor, known: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import binary_cross_entropy_with_logits

    error = binary_cross_entropy_with_logits(raw, target, reduction="none")
    return _NEAR_SHARE * _mean(error, near) + (1 - _NEAR_SHARE) * _mean(error, known)


def _mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1)


def _head(targets: torch.Tensor, heads: tuple[str, ...], head: str) -> torch.Tensor | None:
    return targets[:, heads.index(head)] if head in heads else None
