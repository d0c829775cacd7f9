"""Paints the solids of a scene on a block of cells: attenuation, and the part of each cell that a label fills."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .cells import Box, Cells, Field, Painted

Layers = dict[int, np.ndarray]
"""By label the part of each cell that it fills (float32, 0 to 1); `BEHIND` is the part that is not painted over."""

BEHIND = 0


class Slab:
    """A slab of cells with what is left of a scene in it, found once for all its tiles."""

    def __init__(self, scene: Sequence[Painted], cells: Cells, background_hu: float | Field) -> None:
        self.cells = cells
        self._background = background_hu
        self._present: list[Painted] = []
        borders: list[list[int]] = []
        for painted in scene:
            part = painted.solid.within(cells)
            if part is not None:
                self._present.append(replace(painted, solid=part[0]))
                borders.append([s.start for s in part[1]] + [s.stop for s in part[1]])
        self._borders = np.array(borders).reshape(-1, 6)

    def present(self, box: Box) -> list[Painted]:
        """Return the solids whose boxes meet a box."""
        starts, stops = [s.start for s in box], [s.stop for s in box]
        meets = (self._borders[:, :3] < stops).all(axis=1) & (self._borders[:, 3:] > starts).all(axis=1)
        return [self._present[n] for n in np.flatnonzero(meets)]

    def paint(self, box: Box) -> tuple[np.ndarray, Layers]:
        """Return the attenuation (float32, HU) and the layers of the cells of a box."""
        tile, scene, bottom = self.cells.tile(box), self.present(box), self._background
        layers: Layers = {}
        for number in range(len(scene) - 1, -1, -1):
            if scene[number].solid.covers(tile):
                bottom = scene[number].hu
                if scene[number].label:
                    layers[scene[number].label] = np.ones(tile.shape, dtype=np.float32)
                scene = scene[number + 1 :]
                break
        image = (
            tile.sampled(bottom, tile.whole()) if callable(bottom) else np.full(tile.shape, bottom, dtype=np.float32)
        )
        paint_over(scene, tile, image, layers)
        return image, layers


def paint_over(scene: Sequence[Painted], tile: Cells, image: np.ndarray, layers: Layers) -> None:
    """Paint solids back to front on a tile, in place: each takes its part of the cells from what lies behind it."""
    for painted in scene:
        filled = painted.solid.fraction(tile)
        if filled is None:
            continue
        box, fraction = filled
        hu = tile.sampled(painted.hu, box) if callable(painted.hu) else np.float32(painted.hu)
        part = image[box]
        part += fraction * (hu - part)
        for layer in layers.values():
            layer[box] *= 1 - fraction
        if painted.label:
            if painted.label not in layers:
                layers[painted.label] = np.zeros(tile.shape, dtype=np.float32)
            layers[painted.label][box] += fraction


def voxel_means(layer: np.ndarray, factors_ijk: tuple[int, int, int]) -> np.ndarray:
    """Return the mean over the cells of each voxel."""
    fi, fj, fk = factors_ijk
    total = np.zeros([n // f for n, f in zip(layer.shape, (fk, fj, fi), strict=True)], dtype=np.float32)
    for k, j, i in np.ndindex(fk, fj, fi):
        total += layer[k::fk, j::fj, i::fi]
    return total / np.float32(fi * fj * fk)
