"""Beside calcium the label map of a reader counts, unless it holds the calcium or is that of a network."""

from dataclasses import replace

import numpy as np
import pytest
from test_lumen import SEEN_SIGMA
from test_lumen_calcium import ALONG, AXIS, LENGTH, POINTS, scene_volume

from StenosisDetectionLib.geometry import affine, transform_points
from StenosisDetectionLib.lumen import PointSpread, VolumeSampler, measure_lumen
from StenosisDetectionLib.phantom.render import Painted
from StenosisDetectionLib.phantom.solids import Tube
from StenosisDetectionLib.segmentation.given import MODEL
from StenosisDetectionLib.study import CTVolume, LumenProfile, LumenSegmentation, ModelInfo, Vessel, VesselTree

S = ALONG - LENGTH / 2
TRUE = 2.6 * (1 - 0.6 * np.where(np.abs(S) < 5, 0.5 * (1 + np.cos(2 * np.pi * S / 10)), 0))
INSIDE = np.abs(S) < 3.0
NEAR = np.abs(S) < 2.0
SIDE = np.cross(AXIS, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(AXIS, [0.0, 0.0, 1.0]))


def scan(calcium_hu: float) -> CTVolume:
    """A narrowed lumen with calcium on one side of it, nearly as wide as the healthy vessel."""
    other = np.cross(AXIS, SIDE)
    scene = [Painted(Tube(POINTS, np.full(len(ALONG), 1.8)), 75.0)]
    for degrees in (-60, -20, 20, 60):
        toward = np.cos(np.radians(degrees)) * SIDE + np.sin(np.radians(degrees)) * other
        scene.append(Painted(Tube(POINTS[INSIDE] + 1.0 * toward, np.full(INSIDE.sum(), 0.55)), calcium_hu))
    scene.append(Painted(Tube(POINTS, TRUE / 2), 450.0))
    return scene_volume(scene, 6)


@pytest.fixture(scope="module")
def volume() -> CTVolume:
    """The scan with calcium that the point spread dims to little more than the lumen."""
    return scan(700.0)


def segmentation(with_calcium: bool = False) -> LumenSegmentation:
    matrix = affine(np.full(3, 0.35), np.eye(3), np.full(3, -11.0))
    kji = np.indices((63, 63, 63)).reshape(3, -1).T
    points = transform_points(matrix, kji[:, ::-1].astype(float))
    along = points @ AXIS
    away = np.linalg.norm(points - along[:, None] * AXIS, axis=1)
    lumen = away < np.interp(along, S, TRUE / 2)
    if with_calcium:
        lumen |= (np.abs(along) < 3.0) & (away < 1.6) & ((points @ SIDE) > 0.0)
    mask = lumen.reshape(63, 63, 63)
    return LumenSegmentation(mask, np.zeros_like(mask), matrix, MODEL)


def measured(volume: CTVolume, given: LumenSegmentation | None) -> LumenProfile:
    tree = VesselTree((Vessel("LAD", None, None, POINTS, ALONG, np.full(len(ALONG), 1.3)),))
    spread = PointSpread(SEEN_SIGMA, True)
    sampler = VolumeSampler(volume, "cpu")
    return measure_lumen(volume, tree, 450.0, 25.0, spread, sampler, segmentation=given)[0]


def test_a_given_lumen_counts_beside_calcium_and_nowhere_else(volume: CTVolume) -> None:
    alone, joined = measured(volume, None), measured(volume, segmentation())
    assert alone.calcium_error_mm is not None and joined.calcium_error_mm is not None
    assert np.nanmax(alone.calcified_area_mm2[NEAR]) > 0.5
    before = np.hypot(alone.diameter_error_mm, alone.calcium_error_mm)[NEAR]
    after = np.hypot(joined.diameter_error_mm, joined.calcium_error_mm)[NEAR]
    known = np.isfinite(before) & np.isfinite(after)
    assert known.sum() > 8
    assert (after[known] <= before[known] + 1e-9).all()
    # A section or two of the true lumen is bright by blooming alone.
    assert (after[known] < 0.31).mean() > 0.8
    off = [np.nanmean(np.abs(one.diameter_mm - TRUE)[NEAR][known]) for one in (alone, joined)]
    assert off[1] < 0.3
    assert off[1] < 0.7 * off[0]
    far = np.abs(S) > 7.0
    assert np.array_equal(alone.diameter_mm[far], joined.diameter_mm[far], equal_nan=True)


def test_a_label_map_that_holds_the_calcium_does_not_count() -> None:
    volume = scan(1000.0)
    alone, joined = measured(volume, None), measured(volume, segmentation(with_calcium=True))
    throat = np.abs(S) < 1.5
    assert np.allclose(alone.diameter_mm[throat], joined.diameter_mm[throat], equal_nan=True)


def test_the_lumen_of_a_network_does_not_count_beside_calcium(volume: CTVolume) -> None:
    network = replace(segmentation(), model=ModelInfo("coronary", "1.1"))
    alone, joined = measured(volume, None), measured(volume, network)
    assert np.allclose(alone.diameter_mm[NEAR], joined.diameter_mm[NEAR], equal_nan=True)
