"""Which part of what a network takes for coronary lumen is a coronary tree.

In: the lumen fraction, and where the model gives them the ostia and the veins, on a RAS grid with its aorta. Out: the
lumen of the trees that begin at the aorta. Pieces without a way to an ostium go, however large they are; gaps are
bridged and marked; veins, leaks and spurs are cut as whole branches. Source: engineering brief, section 3.1.
"""

from dataclasses import dataclass

import numpy as np

from ..progress import StageReport, part_of
from .branches import pruned
from .grow import grow_trees
from .outline import connected
from .tissue import chambers

LUMEN_LEVEL = 0.5
"""Voxels that are lumen by at least half belong to the mask."""

WEAK_LEVEL = 0.3
"""Voxels by which its parts may hang together ..."""

STRONG_LEVEL = 0.6
"""... and a level that a piece must reach somewhere."""

VEIN_LEVEL = 0.8
"""What the model takes for a vein with at least this chance goes voxel by voxel; whole branches are judged below it."""

VEIN_WEIGHT = 0.8
"""How much the model's belief counts beside brightness: a sure artery counts as 0.4 of the contrast brighter, a sure
vein as 0.4 darker. Small distal arteries are as dark as veins, and bright veins as bright as arteries."""


SMOOTHING_MM = 0.4

LARGEST_RADIUS_MM = 5.0
"""What holds a ball of this radius is no coronary artery."""

LARGEST_LUMEN_ML = 100.0
"""Ten times the lumen of the largest coronary trees: what a network gives beyond it is no segmentation."""


@dataclass(frozen=True, eq=False)
class Trees:
    """The selected lumen: bool arrays [k, j, i] of the lumen and of the voxels in it that only bridge a gap."""

    lumen: np.ndarray
    bridged: np.ndarray
    flags: tuple[str, ...] = ()


def select_trees(
    fraction: np.ndarray,
    intensity: np.ndarray,
    aorta: np.ndarray,
    seed_zone: np.ndarray,
    vein: np.ndarray | None,
    spacing_mm: float,
    report: StageReport,
) -> Trees:
    """Return the coronary trees within a predicted lumen.

    Parameters
    ----------
    fraction : array [k, j, i], the part of each voxel that is lumen, 0 to 1.
    intensity : normalized attenuation (0 = fat, 1 = aorta).
    aorta : bool array, never lumen.
    seed_zone : bool array, where coronary arteries begin.
    vein : array, probability of being a vein, or None.
    """
    from scipy import ndimage

    open_ = ~aorta if vein is None else ~aorta & (vein <= VEIN_LEVEL)
    # a chamber that the network takes for lumen must not swallow the arteries on it
    open_ &= ~chambers(np.asarray(fraction, dtype=np.float32), spacing_mm, LUMEN_LEVEL, LARGEST_RADIUS_MM)
    tubular = (fraction > WEAK_LEVEL) & open_
    nothing = Trees(np.zeros(aorta.shape, dtype=bool), np.zeros(aorta.shape, dtype=bool), ("no_coronary_artery",))
    volume_ml = np.count_nonzero(tubular) * spacing_mm**3 / 1000.0
    if volume_ml > LARGEST_LUMEN_ML:
        return Trees(nothing.lumen, nothing.bridged, ("lumen_too_large",))
    if volume_ml == 0.0:
        return nothing
    where = np.argwhere(tubular)
    box = tuple(slice(max(a - 2, 0), b + 3) for a, b in zip(where.min(axis=0), where.max(axis=0), strict=True))
    fraction, intensity, tubular, open_ = fraction[box], intensity[box], tubular[box], open_[box]
    intensity = ndimage.gaussian_filter(intensity, SMOOTHING_MM / spacing_mm)  # noise makes thin veins look bright
    seeds = seed_zone[box] & tubular
    strong = tubular & (fraction > STRONG_LEVEL)
    grown = grow_trees(tubular, strong, seeds, intensity, spacing_mm, part_of(report, 0.0, 0.5))
    grown &= ~aorta[box]
    report(0.5, "cutting veins and leaks")
    artery = intensity if vein is None else np.minimum(intensity, 1.2) + VEIN_WEIGHT * (0.5 - vein[box])
    grown = pruned(grown, seeds & grown, artery, spacing_mm)
    report(0.8, "joining the lumen")
    filled = grown & (fraction > LUMEN_LEVEL) & open_
    joined = grown & connected(grown, filled, np.asarray(fraction, dtype=np.float32), spacing_mm)
    # links are three voxels wide: thinner ones break when the mask is brought to another grid
    links, gaps = (ndimage.binary_dilation(line) & ~aorta[box] for line in (joined & ~filled, joined & ~tubular))
    lumen, bridged = nothing.lumen, nothing.bridged
    lumen[box] = joined | links
    bridged[box] = gaps & ~tubular
    report(1.0, "joining the lumen")
    return Trees(lumen, bridged) if lumen.any() else nothing
