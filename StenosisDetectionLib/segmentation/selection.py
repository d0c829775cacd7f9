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
from .linking import missing_vessels
from .outline import connected
from .tissue import chambers, widened
from .tubes import gaussian

LUMEN_LEVEL = 0.5
"""Voxels that are lumen by at least half belong to the mask."""

WEAK_LEVEL = 0.3
"""Voxels by which its parts may hang together ..."""

STRONG_LEVEL = 0.6
"""... and a level that a piece must reach somewhere."""

VEIN_LEVEL = 0.8
"""What the model takes for a vein rather than an artery by this share goes voxel by voxel; whole branches are judged
below it."""

BRIGHTEST_VEIN, DARKEST_ARTERY = 0.87, 0.95
"""While the coronary arteries are imaged, cardiac veins hold at most 0.8 of the attenuation of the aorta: about the
first of these numbers, counted from fat. What is brighter than the second, smoothed, is no vein, whatever the model
believes; between the two its belief counts in part."""

VEIN_WEIGHT = 0.8
"""How much the model's belief counts beside brightness: a sure artery counts as 0.4 of the contrast brighter, a sure
vein as 0.4 darker. Small distal arteries are as dark as veins, and bright veins as bright as arteries."""


SMOOTHING_MM = 0.4

LARGEST_RADIUS_MM = 5.0
"""What holds a ball of this radius is no coronary artery."""

MISSED_REACH_MM = 8.0
"""Vessels that a network misses lie no farther than this out of the box of what it sees."""

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
    myocardium: float,
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
    myocardium : normalized intensity of the myocardium.
    """
    report(0.0, "telling vessels from chambers")
    nothing = Trees(np.zeros(aorta.shape, dtype=bool), np.zeros(aorta.shape, dtype=bool), ("no_coronary_artery",))
    box = _box(fraction > WEAK_LEVEL, seed_zone, spacing_mm)
    if box is None:
        return nothing
    # NumPy computes in half precision voxel by voxel: only what is needed, and in single precision
    fraction, intensity, aorta, seed_zone = fraction[box].astype(np.float32), intensity[box], aorta[box], seed_zone[box]
    if vein is not None:
        vein = vein[box].astype(np.float32)
        # The heads are trained apart, and both may be sure: then what counts is which of the two is surer.
        np.divide(vein, np.maximum(vein + fraction, STRONG_LEVEL), out=vein, where=fraction > STRONG_LEVEL)
    # a chamber that the network takes for lumen must not swallow the arteries on it
    open_ = ~aorta & ~chambers(fraction, spacing_mm, LUMEN_LEVEL, LARGEST_RADIUS_MM)
    tubular = (fraction > WEAK_LEVEL) & open_
    volume_ml = np.count_nonzero(tubular) * spacing_mm**3 / 1000.0
    if volume_ml > LARGEST_LUMEN_ML:
        return Trees(nothing.lumen, nothing.bridged, ("lumen_too_large",))
    if volume_ml == 0.0:
        return nothing
    smooth = _smoothed(intensity, spacing_mm)  # noise makes thin veins look bright
    if vein is not None:
        vein = _without_bright(vein, smooth)
        open_ &= vein <= VEIN_LEVEL
        tubular &= open_
    roots = seed_zone & ~aorta
    strong = tubular & (fraction > STRONG_LEVEL)
    report(0.0, "telling vessels from chambers")
    thick = chambers(intensity, spacing_mm, 0.5 * (1.0 + myocardium)) | aorta
    report(0.1, "looking for vessels between the pieces")
    ways, blood = missing_vessels(tubular, strong, roots, smooth, thick, vein, myocardium, spacing_mm)
    visible = tubular | blood
    tubular, strong = visible | ways, strong | ways
    grown = grow_trees(tubular, strong, roots & tubular, smooth, spacing_mm, part_of(report, 0.3, 0.5))
    grown &= ~aorta
    report(0.5, "cutting veins and leaks")
    artery = smooth
    if vein is not None:
        artery = np.zeros_like(smooth)  # only the trees count
        artery[grown] = np.minimum(smooth[grown], 1.2) + VEIN_WEIGHT * (0.5 - vein[grown])
    grown = pruned(grown, roots & grown, artery, spacing_mm)
    report(0.8, "joining the lumen")
    filled = grown & ((fraction > LUMEN_LEVEL) | blood) & open_
    joined = grown & connected(grown, filled, fraction, spacing_mm)
    # links are three voxels wide: thinner ones break when the mask is brought to another grid
    links, gaps = (widened(line) & ~aorta for line in (joined & ~filled, joined & ~visible))
    lumen, bridged = nothing.lumen, nothing.bridged
    lumen[box] = joined | links
    bridged[box] = gaps & ~visible
    report(1.0, "joining the lumen")
    return Trees(lumen, bridged) if lumen.any() else nothing


def _without_bright(vein: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """Return the belief in a vein without that in what is too bright for one, its edge of a voxel included."""
    brightest = smooth
    for axis in range(3):  # scipy's maximum_filter of three voxels, in half of its time
        before, brightest = brightest, brightest.copy()
        ahead, behind = [slice(None)] * 3, [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        for here, there in ((tuple(ahead), tuple(behind)), (tuple(behind), tuple(ahead))):
            np.maximum(brightest[here], before[there], out=brightest[here])
    return np.asarray(vein * np.clip((DARKEST_ARTERY - brightest) / (DARKEST_ARTERY - BRIGHTEST_VEIN), 0.0, 1.0))


def _box(tubular: np.ndarray, seed_zone: np.ndarray, spacing_mm: float) -> tuple[slice, ...] | None:
    """Return the box of what may be a tree, where trees begin, and the vessels that may be missed between them.

    None without any tube.
    """
    if not tubular.any():
        return None
    box = []
    margin = int(np.ceil(MISSED_REACH_MM / spacing_mm))
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        where = np.flatnonzero(tubular.any(axis=others) | seed_zone.any(axis=others))
        box.append(slice(max(int(where[0]) - margin, 0), int(where[-1]) + margin + 1))
    return tuple(box)


def _smoothed(intensity: np.ndarray, spacing_mm: float) -> np.ndarray:
    import torch

    image = torch.from_numpy(np.ascontiguousarray(intensity, dtype=np.float32))
    return np.asarray(gaussian(image, SMOOTHING_MM, (spacing_mm,) * 3, lambda _fraction: None).numpy())
