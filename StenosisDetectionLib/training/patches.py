"""Training patches: cropped from stored studies, augmented, and put into batches, each a function of its number.

Patch `n` of a training depends on the seed, on `n` and on the list of studies alone, so that a training that goes on
from a checkpoint sees what it would have seen. Nothing is mirrored: left and right coronary artery differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..models.inputs import network_input
from .cases import TrainingCase
from .configuration import TrainingConfiguration

if TYPE_CHECKING:
    import torch

_OUTSIDE_HU = -1000
_JITTER = 0.35  # of the patch's size: how far a center on a vessel may lie from the center of the patch
_ZOOM_SHARE = 0.25  # of the patches
_COARSE_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of patches.

    Parameters
    ----------
    image : (B, C, k, j, i) input channels.
    targets : (B, H, k, j, i) in the order of the network's heads, 0...1; a distance in units of `DISTANCE_LIMIT_MM`.
    weight : (B, H, k, j, i) 1 where a target counts, 0 where there is no truth.
    """

    image: torch.Tensor
    targets: torch.Tensor
    weight: torch.Tensor


def patch_batch(
    cases: Sequence[TrainingCase], configuration: TrainingConfiguration, number: int, augment: bool = True
) -> Batch:
    """Return batch `number` of a training, or of its validation when `augment` is False."""
    import torch

    patches = []
    for item in range(configuration.batch):
        rng = np.random.default_rng([configuration.seed, int(augment), number, item])
        patches.append(_patch(_choose(cases, configuration, rng, number, item, augment), configuration, rng, augment))
    return Batch(*(torch.stack(parts) for parts in zip(*patches, strict=True)))


def _choose(
    cases: Sequence[TrainingCase],
    configuration: TrainingConfiguration,
    rng: np.random.Generator,
    number: int,
    item: int,
    augment: bool,
) -> TrainingCase:
    if not augment:  # validation goes through all studies in turn
        return cases[(number * configuration.batch + item) % len(cases)]
    synthetic = [case for case in cases if case.information.source == "synthetic"]
    real = [case for case in cases if case.information.source != "synthetic"]
    if synthetic and real:
        cases = synthetic if rng.random() < configuration.synthetic_share else real
    return cases[int(rng.integers(len(cases)))]


def _patch(
    case: TrainingCase, configuration: TrainingConfiguration, rng: np.random.Generator, augment: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    import torch

    zoom = _zoom(configuration, rng) if augment else 1.0
    size = np.rint(np.array(configuration.patch) * zoom).astype(int)
    low = _corner(case, configuration, size, rng)
    aorta = case.information.aorta_hu if configuration.use_aorta else None
    image = _fitted(torch.from_numpy(_crop(case.hu, low, size, _OUTSIDE_HU).astype(np.float32)), configuration.patch)
    if augment:
        image = _augmented(image, configuration, rng)
        if aorta is not None:
            aorta *= 1 + configuration.aorta_error * rng.uniform(-1, 1)
    heads = configuration.network.heads
    targets = torch.zeros((len(heads), *configuration.patch), dtype=torch.float32)
    weight = torch.zeros_like(targets)
    known = torch.ones(configuration.patch)
    if case.ignore is not None:
        ignored = torch.from_numpy(_crop(case.ignore, low, size, 0)).float()
        known = (_fitted(ignored, configuration.patch) < 0.5).float()
    for index, head in enumerate(heads):
        if head in case.targets:
            distance = head == "centerline_distance"
            cropped = torch.from_numpy(_crop(case.targets[head], low, size, 255 if distance else 0)).float() / 255
            target = _fitted(cropped, configuration.patch)
            if distance and zoom != 1.0:  # what lay at the limit or beyond still does, as far as one can know
                target = torch.where(target < 1, (target / zoom).clamp(max=1), target)
            targets[index] = target
            weight[index] = known
    return network_input(image, aorta, configuration.network), targets, weight


def _zoom(configuration: TrainingConfiguration, rng: np.random.Generator) -> float:
    """Return how much more of a study a patch shows than its size: above 1 for vessels that become smaller."""
    if rng.random() >= _ZOOM_SHARE or not configuration.zoom:
        return 1.0
    return float(np.exp(rng.uniform(-1, 1) * np.log1p(configuration.zoom)))


def _fitted(values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Return a volume brought to another number of voxels."""
    from torch.nn.functional import interpolate

    if tuple(values.shape) == tuple(shape):
        return values
    return interpolate(values[None, None], shape, mode="trilinear", align_corners=False)[0, 0]


def _corner(
    case: TrainingCase, configuration: TrainingConfiguration, size: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the voxel at which a patch begins; it may reach beyond the study by up to a quarter of its size."""
    draw = rng.random()
    centers = np.zeros((0, 3), dtype=np.int16)
    for site, share in configuration.sites.items():
        if 0 <= draw < share:
            centers = case.centers[site]
        draw -= share
    shape = np.array(case.hu.shape)
    if len(centers):
        jitter = rng.uniform(-_JITTER, _JITTER, 3) * size
        low = centers[int(rng.integers(len(centers)))] + jitter - size / 2
    else:
        low = rng.uniform(-size / 4, np.maximum(shape - 0.75 * size, 1 - size / 4))
    return np.clip(np.rint(low), -size // 4, np.maximum(shape - size + size // 4, -size // 4)).astype(int)


def _crop(array: np.ndarray, low: np.ndarray, size: np.ndarray, outside: int) -> np.ndarray:
    """Return a box of an array, filled with `outside` where it reaches beyond."""
    high = low + size
    inner_low, inner_high = np.clip(low, 0, array.shape), np.clip(high, 0, array.shape)
    box = np.array(array[tuple(slice(a, b) for a, b in zip(inner_low, inner_high, strict=True))])
    if box.shape == tuple(size):
        return box
    return np.pad(box, list(zip(inner_low - low, high - inner_high, strict=True)), constant_values=outside)


def _augmented(image: torch.Tensor, configuration: TrainingConfiguration, rng: np.random.Generator) -> torch.Tensor:
    """Return a patch in HU with another offset and gain, larger voxels, blur or sharpening, and noise."""
    import torch
    from torch.nn.functional import interpolate

    image = image * float(rng.uniform(0.95, 1.05)) + float(rng.normal(0, 10))
    if rng.random() < _COARSE_SHARE and configuration.coarsening > 1:  # as if it had been scanned in such voxels
        factors = np.broadcast_to(rng.uniform(1, configuration.coarsening, 3 if rng.random() < 0.5 else 1), 3)
        shape = [max(1, round(n / factor)) for n, factor in zip(image.shape, factors, strict=True)]
        image = _fitted(interpolate(image[None, None], shape, mode="area")[0, 0], tuple(image.shape))
    if rng.random() < 0.4 and configuration.blur_voxels > 0:
        blurred = _blurred(image, float(rng.uniform(0.25, 1)) * configuration.blur_voxels)
        # Sharpening adds what blurring takes away, as a sharp reconstruction kernel does.
        image = blurred if rng.random() < 0.6 else image + float(rng.uniform(0.1, 0.6)) * (image - blurred)
    if rng.random() < 0.5 and configuration.noise_hu > 0:
        noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
        if rng.random() < 0.5:
            width = float(rng.uniform(0.4, 0.8))
            noise = _blurred(noise, width)
            noise /= noise.std()
        image = image + noise * float(rng.uniform(0, configuration.noise_hu))
    return image


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return a volume convolved with a Gaussian of `sigma` voxels, of five taps along each axis."""
    import torch
    from torch.nn.functional import conv3d, pad

    taps = torch.exp(-0.5 * (torch.arange(-2, 3, dtype=torch.float32) / sigma) ** 2)
    taps /= taps.sum()
    volume = pad(image[None, None], (2, 2, 2, 2, 2, 2), mode="replicate")
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = 5
        volume = conv3d(volume, taps.view(shape))
    return volume[0, 0]


def batches(
    cases: Sequence[TrainingCase], configuration: TrainingConfiguration, start: int, ahead: int = 3
) -> Iterator[Batch]:
    """Yield the batches of a training from number `start` on, prepared by one thread while the network computes."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: list[Future[Batch]] = []
        number = start
        try:
            while True:
                while len(waiting) < ahead:
                    waiting.append(pool.submit(patch_batch, cases, configuration, number))
                    number += 1
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def moved(batch: Batch, device: str) -> Batch:
    """Return a batch on a device, its image laid out as the network's convolutions are fastest with."""
    import torch

    image = batch.image.to(device).contiguous(memory_format=torch.channels_last_3d)
    return Batch(image, batch.targets.to(device), batch.weight.to(device))
