"""Multi-scale Hessian filter for bright tubes, on torch, on any device.

In: an image in units of contrast (1 = the contrast of a vessel) and its spacing in mm. Out: the tube response in
the same units - 1 on the axis of a long straight tube of contrast 1 - and the radius it suggests in mm.

Source: Sato et al. 1998 (three-dimensional multi-scale line filter, Medical Image Analysis 2:143) with the
gamma-normalized derivatives of Lindeberg 1998; the eigenvalues follow Smith 1961 (symmetric 3 x 3 matrices).
"""

from collections.abc import Callable
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
_SLAB = 2_000_000
_COARSE_VOXELS = 2.3  # scales of at least so many voxels are filtered on a grid of every second voxel
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
    spacing = spacing_kji_mm
    stride = 1
    done = 0.0
    for number, sigma in enumerate(sigmas_mm):
        step = _step(report, number, len(sigmas_mm), f"filtering tubes at {sigma:g} mm")
        if sigma >= _COARSE_VOXELS * max(spacing) and min(smooth.shape) > 8:
            smooth = smooth[::2, ::2, ::2].contiguous()
            spacing = (2.0 * spacing[0], 2.0 * spacing[1], 2.0 * spacing[2])
            stride *= 2
        # scale space is a semigroup: only the difference to the last scale is smoothed
        smooth = gaussian(smooth, float(np.sqrt(sigma**2 - done**2)), spacing, step)
        done = sigma
        factor = sigma**2 / PEAK_RESPONSE
        coarse = None if stride == 1 else _coarse_response(smooth, flat, inner.shape, stride, spacing)
        for first in range(0, len(flat), _CHUNK):
            step(0.7 + 0.3 * first / len(flat))
            index = flat[first : first + _CHUNK]
            if coarse is None:
                response = _line_measure(_hessian(smooth.reshape(-1), index.to(device), smooth.shape, spacing))
            else:
                response = _interpolated(coarse, index.to(device), inner.shape, stride)
            response = response.cpu() * factor
            part = best[first : first + _CHUNK]
            better = response > part
            part[better] = response[better]
            scale[first : first + _CHUNK][better] = sigma
    result = np.zeros(image.size, dtype=np.float32)
    radius = np.zeros(image.size, dtype=np.float32)
    result[flat.numpy()] = best.numpy()
    radius[flat.numpy()] = scale.numpy() * np.float32(np.sqrt(2.0))
    return result.reshape(image.shape), radius.reshape(image.shape)


def gaussian(
    image: "torch.Tensor", sigma_mm: float, spacing: tuple[float, float, float], step: Callable[[float], None]
) -> "torch.Tensor":
    """Return an image [k, j, i] smoothed by a separable Gaussian with replicated borders.

    `step` is called with 0 to 0.7 while it works.
    """
    import torch

    for axis in range(3):
        sigma = sigma_mm / spacing[axis]
        reach = max(int(np.ceil(3.5 * sigma)), 1)
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        weights /= weights.sum()
        size = image.shape[axis]
        out = torch.empty_like(image)
        # slabs across another axis keep the working set in the cache of a CPU
        slab_axis = 1 if axis == 0 else 0
        slab_size = max(1, _SLAB // max(image.numel() // image.shape[slab_axis], 1))
        for low in range(0, image.shape[slab_axis], slab_size):
            step(0.7 * (axis + low / image.shape[slab_axis]) / 3.0)
            count = min(slab_size, image.shape[slab_axis] - low)
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


def _step(report: StageReport, number: int, count: int, message: str) -> Callable[[float], None]:
    return lambda fraction: report((number + fraction) / count, message)


def _coarse_response(
    smooth: "torch.Tensor",
    flat: "torch.Tensor",
    shape: tuple[int, ...],
    stride: int,
    spacing: tuple[float, float, float],
) -> "torch.Tensor":
    """Return the line measure on a grid of every `stride`-th voxel, where fine candidates `flat` need it."""
    import torch

    wanted = torch.zeros(smooth.shape, dtype=torch.bool)
    for first in range(0, len(flat), _CHUNK):
        k, j, i = _unravel(flat[first : first + _CHUNK], shape)
        for dk, dj, di in np.ndindex(2, 2, 2):
            at = [(x + d * (stride - 1)) // stride for x, d in ((k, dk), (j, dj), (i, di))]
            at = [x.clamp(1, max(n - 2, 1)) for x, n in zip(at, smooth.shape, strict=True)]
            wanted[at[0], at[1], at[2]] = True
    response = torch.zeros_like(smooth)
    index = torch.nonzero(wanted.reshape(-1))[:, 0]
    for first in range(0, len(index), _CHUNK):
        part = index[first : first + _CHUNK].to(smooth.device)
        response.view(-1)[part] = _line_measure(_hessian(smooth.view(-1), part, smooth.shape, spacing))
    return response


def _interpolated(coarse: "torch.Tensor", flat: "torch.Tensor", shape: tuple[int, ...], stride: int) -> "torch.Tensor":
    """Return a coarse image at fine voxels, trilinearly; its voxel (0, 0, 0) is that of the fine grid."""
    import torch

    position = _unravel(flat, shape)
    low = [x // stride for x in position]
    weight = [(x % stride).to(torch.float32) / stride for x in position]
    result = torch.zeros(len(flat), dtype=torch.float32, device=coarse.device)
    for corner in np.ndindex(2, 2, 2):
        at = [(x + d).clamp(1, max(n - 2, 1)) for x, d, n in zip(low, corner, coarse.shape, strict=True)]
        part = [w if d else 1.0 - w for w, d in zip(weight, corner, strict=True)]
        result += part[0] * part[1] * part[2] * coarse[at[0], at[1], at[2]]
    return result


def _unravel(flat: "torch.Tensor", shape: tuple[int, ...]) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    return flat // (shape[1] * shape[2]), flat // shape[2] % shape[1], flat % shape[2]


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
