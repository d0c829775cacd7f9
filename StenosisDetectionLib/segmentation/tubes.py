"""Multi-scale Hessian filter for bright tubes, on torch, on any device.

In: an image in units of contrast (1 = the contrast of a vessel) and its spacing in mm. Out: the tube response in
the same units - 1 on the axis of a long straight tube of contrast 1 - and the radius it suggests in mm.

Source: Sato et al. 1998 (three-dimensional multi-scale line filter, Medical Image Analysis 2:143) with the
gamma-normalized derivatives of Lindeberg 1998; the eigenvalues follow Smith 1961 (symmetric 3 x 3 matrices).
"""

from typing import TYPE_CHECKING

import numpy as np

from ..progress import StageReport

if TYPE_CHECKING:
    import torch

SIGMAS_MM = (0.6, 0.85, 1.2, 1.7, 2.4)
"""Scales of the filter; the response of a tube of radius R is greatest near sigma = R / sqrt(2)."""

PEAK_RESPONSE = float(np.exp(-1.0))
"""Normalized second derivative on the axis of a tube of contrast 1 at its best scale: u exp(-u) at u = 1."""

_CHUNK = 1_000_000
_BLOB_EXPONENT = 0.5
_SADDLE_WEIGHT = 0.25


def tube_response(
    image: np.ndarray,
    spacing_kji_mm: tuple[float, float, float],
    candidates: np.ndarray,
    device: str,
    report: StageReport,
    sigmas_mm: tuple[float, ...] = SIGMAS_MM,
) -> tuple[np.ndarray, np.ndarray]:
    """Filter an image for bright tubes.

    Parameters
    ----------
    image : float32 array [k, j, i] in units of contrast.
    spacing_kji_mm : voxel spacing along k, j, i.
    candidates : bool array [k, j, i]: where the response is wanted; voxels of the outermost layer are left out.
    device : a torch device (see `devices.resolve_device`).

    Returns
    -------
    response : float32 array [k, j, i], 0 outside the candidates.
    radius_mm : float32 array [k, j, i], radius of the tube that fits best, 0 where there is no response.
    """
    import torch

    inner = np.zeros(image.shape, dtype=bool)
    inner[1:-1, 1:-1, 1:-1] = candidates[1:-1, 1:-1, 1:-1]
    flat = torch.from_numpy(np.flatnonzero(inner))
    best = torch.zeros(len(flat), dtype=torch.float32)
    scale = torch.zeros(len(flat), dtype=torch.float32)
    smooth = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).to(device)
    done = 0.0
    for number, sigma in enumerate(sigmas_mm):
        # scale space is a semigroup: only the difference to the last scale is smoothed
        smooth = _gaussian(smooth, float(np.sqrt(sigma**2 - done**2)), spacing_kji_mm, report, number / len(sigmas_mm))
        done = sigma
        values = smooth.reshape(-1)
        for first in range(0, len(flat), _CHUNK):
            report((number + 0.7 + 0.3 * first / len(flat)) / len(sigmas_mm), f"filtering tubes at {sigma:g} mm")
            index = flat[first : first + _CHUNK].to(device)
            response = _line_measure(_hessian(values, index, smooth.shape, spacing_kji_mm)) * (sigma**2 / PEAK_RESPONSE)
            response = response.cpu()
            part = best[first : first + _CHUNK]
            better = response > part
            part[better] = response[better]
            scale[first : first + _CHUNK][better] = sigma
    result = np.zeros(image.size, dtype=np.float32)
    radius = np.zeros(image.size, dtype=np.float32)
    result[flat.numpy()] = best.numpy()
    radius[flat.numpy()] = scale.numpy() * np.float32(np.sqrt(2.0))
    return result.reshape(image.shape), radius.reshape(image.shape)


def _gaussian(
    image: "torch.Tensor", sigma_mm: float, spacing: tuple[float, float, float], report: StageReport, fraction: float
) -> "torch.Tensor":
    """Return the image smoothed by a separable Gaussian with replicated borders."""
    import torch

    for axis in range(3):
        report(fraction, "filtering tubes")
        sigma = sigma_mm / spacing[axis]
        reach = max(int(np.ceil(3.5 * sigma)), 1)
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        weights /= weights.sum()
        size = image.shape[axis]
        out = torch.empty_like(image)
        # slabs across another axis keep the working set in the cache of a CPU
        slab_axis = 1 if axis == 0 else 0
        step = max(1, 2_000_000 // max(image.numel() // image.shape[slab_axis], 1))
        for low in range(0, image.shape[slab_axis], step):
            count = min(step, image.shape[slab_axis] - low)
            slab = image.narrow(slab_axis, low, count)
            head = slab.narrow(axis, 0, 1).expand([reach if a == axis else n for a, n in enumerate(slab.shape)])
            tail = slab.narrow(axis, size - 1, 1).expand(head.shape)
            padded = torch.cat([head, slab, tail], dim=axis)
            total = padded.narrow(axis, reach, size) * float(weights[reach])
            for offset in range(1, reach + 1):
                pair = padded.narrow(axis, reach - offset, size) + padded.narrow(axis, reach + offset, size)
                total.add_(pair, alpha=float(weights[reach + offset]))
            out.narrow(slab_axis, low, count).copy_(total)
        image = out
    return image


def _hessian(
    values: "torch.Tensor", index: "torch.Tensor", shape: tuple[int, ...], spacing: tuple[float, float, float]
) -> tuple["torch.Tensor", ...]:
    """Return the second derivatives kk, jj, ii, kj, ki, ji per mm2 at flat indices, by central differences."""
    strides = (shape[1] * shape[2], shape[2], 1)
    center = values[index]
    second = []
    for axis in range(3):
        outer = values[index + strides[axis]] + values[index - strides[axis]]
        second.append((outer - 2.0 * center) / spacing[axis] ** 2)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        plus, minus = strides[a] + strides[b], strides[a] - strides[b]
        mixed = values[index + plus] + values[index - plus] - values[index + minus] - values[index - minus]
        second.append(mixed / (4.0 * spacing[a] * spacing[b]))
    return tuple(second)


def _line_measure(hessian: tuple["torch.Tensor", ...]) -> "torch.Tensor":
    """Return Sato's line measure of Hessians: the middle eigenvalue, less for blobs and saddles."""
    import torch

    lowest, middle, highest = symmetric_eigenvalues(*hessian)
    del lowest
    strength = torch.clamp(-middle, min=0.0)
    ratio = highest / torch.clamp(strength, min=1e-9)
    blob = torch.clamp(1.0 + ratio, min=0.0, max=1.0) ** _BLOB_EXPONENT
    saddle = torch.clamp(1.0 - _SADDLE_WEIGHT * ratio, min=0.0, max=1.0)
    return strength * torch.where(highest < 0.0, blob, saddle)


def symmetric_eigenvalues(
    a: "torch.Tensor", b: "torch.Tensor", c: "torch.Tensor", ab: "torch.Tensor", ac: "torch.Tensor", bc: "torch.Tensor"
) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    """Return the eigenvalues of symmetric 3 x 3 matrices in ascending order (trigonometric solution, Smith 1961).

    `a`, `b`, `c` are the diagonal elements, `ab`, `ac`, `bc` the others; all of one shape.
    """
    import torch

    mean = (a + b + c) / 3.0
    a, b, c = a - mean, b - mean, c - mean
    spread = torch.sqrt((a * a + b * b + c * c + 2.0 * (ab * ab + ac * ac + bc * bc)) / 6.0)
    safe = torch.clamp(spread, min=1e-20)
    a, b, c, ab, ac, bc = a / safe, b / safe, c / safe, ab / safe, ac / safe, bc / safe
    half_determinant = 0.5 * (a * (b * c - bc * bc) - ab * (ab * c - bc * ac) + ac * (ab * bc - b * ac))
    angle = torch.arccos(torch.clamp(half_determinant, -1.0, 1.0)) / 3.0
    highest = mean + 2.0 * spread * torch.cos(angle)
    lowest = mean + 2.0 * spread * torch.cos(angle + 2.0 * np.pi / 3.0)
    return lowest, 3.0 * mean - highest - lowest, highest
