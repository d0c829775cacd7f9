"""Where vessels are cut or touch: which of them goes on, from masks of known course."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from centerline_shapes import HEART, Tube, paint, segmentation_of
from scipy.spatial import cKDTree

from StenosisDetectionLib.centerline import extract_tree
from StenosisDetectionLib.centerline.crossings import uncrossed
from StenosisDetectionLib.centerline.filled_gaps import without_filled_gaps
from StenosisDetectionLib.centerline.paths import Section
from StenosisDetectionLib.centerline.segments import with_segments
from StenosisDetectionLib.study import LumenProfile, LumenSegmentation, ModelInfo, Vessel, VesselTree


def part_within(points: np.ndarray, line: np.ndarray, distance_mm: float = 1.0) -> float:
    """Return the part of points within a distance of a line."""
    return float((cKDTree(line).query(points)[0] <= distance_mm).mean())


@pytest.mark.parametrize("apart_mm", [3.3, 0.0], ids=["near", "touching"])
def test_a_twig_at_another_vessel_does_not_take_over_what_a_stenosis_cuts(apart_mm):
    # The circumflex artery is closed over 3 mm; behind that, a twig of it ends 1 mm from the LAD or runs into it.
    lcx, lad = HEART["LCX"].points(0.2), HEART["LAD"].points(0.2)[90]
    seg = segmentation_of([HEART[n] for n in ("LM", "LAD", "OM1", "RCA")])
    lumen = seg.lumen.copy()
    radii = np.full(len(lcx), 1.4)
    radii[40:70] = np.abs(np.linspace(-1.0, 1.0, 30)) * 1.4
    for part in (slice(0, 47), slice(63, None)):
        paint(lumen, seg.ijk_to_ras, lcx[part], radii[part])
    corner = np.array([-46.0, 5.0, -14.0])
    end = lad + apart_mm * (corner - lad) / np.linalg.norm(corner - lad)
    twig = Tube((tuple(lcx[110]), tuple(corner), tuple(end)), 0.5, 0.5).points()
    paint(lumen, seg.ijk_to_ras, twig, np.full(len(twig), 0.55))
    tree = extract_tree(LumenSegmentation(lumen & ~seg.aorta, seg.aorta, seg.ijk_to_ras, seg.model))
    circumflex = tree.vessel("LCX")
    assert circumflex.parent == "LM" and "bridged" in circumflex.flags
    assert part_within(lcx[20:-60], circumflex.points_ras) > 0.95
    assert tree.vessel("OM1").parent == "LCX"


def vessel(name: str, parent: str | None, at_mm: float | None, points: np.ndarray, radius_mm: float) -> Vessel:
    """Return a vessel with a constant radius."""
    distance = np.arange(len(points)) * 0.25
    return Vessel(name, parent, at_mm, points, distance, np.full(len(points), radius_mm))


def sections_of(lines: list[np.ndarray], parents: list[int | None]) -> tuple[SimpleNamespace, list[Section]]:
    """Return a grid that holds the points of lines, 0.8 mm deep in lumen, and their sections."""
    nodes = np.split(np.arange(sum(map(len, lines))), np.cumsum([len(line) for line in lines])[:-1])
    sections = [Section(n, parent) for n, parent in zip(nodes, parents, strict=True)]
    for number, parent in enumerate(parents):
        if parent is not None:
            sections[number].nodes = np.concatenate([nodes[parent][-1:], nodes[number]])
            sections[parent].children.append(number)
    ras = np.concatenate(lines)
    return SimpleNamespace(ras=ras, depth=np.full(len(ras), 0.8), voxel_mm=0.5), sections


def line(*corners: tuple[float, float]) -> np.ndarray:
    """Return points every 0.5 mm along straight lines between corners in a plane."""
    parts = []
    for (a, b), (c, d) in pairwise(corners):
        count = round(2 * np.hypot(c - a, d - b))
        parts.append(np.linspace((a, b, 0.0), (c, d, 0.0), count + 1)[1:])
    return np.concatenate(parts)


@pytest.mark.parametrize(("tip", "whole"), [((50, 3), True), ((22, 40), False)])
def test_a_ramus_that_touches_the_circumflex_artery_stays_whole(tip, whole):
    # The ramus runs 3 mm beside the circumflex artery, from which a short way leads to the rest of it.
    stem, ramus = line((0, -6), (0, 0)), line((0, 0), (3, 3), (22, 3))
    lcx, rest_of_lcx = line((0, 0), (22, 0)), line((22, 0), (50, -10))
    rest = line((22, 0), (22, 3), tip)
    grid, sections = sections_of([stem, ramus, lcx, rest_of_lcx, rest], [None, 0, 0, 2, 2])
    result, joined = uncrossed(grid, sections)
    if not whole:  # what branches off there leads elsewhere, and the vessel beside it ends
        assert len(result) == 5 and not joined
        return
    assert len(result) == 3 and len(joined) == 1
    ramus_of_tree = result[joined.pop()]
    assert ramus_of_tree.parent == 0
    np.testing.assert_allclose(grid.ras[ramus_of_tree.nodes[-1]], [50, 3, 0])
    other = next(s for s in result if s is not ramus_of_tree and s.parent == 0)
    np.testing.assert_allclose(grid.ras[other.nodes[-1]], [50, -10, 0])
    assert len(other.nodes) == len(sections[2].nodes) + len(sections[3].nodes) - 1


@pytest.mark.parametrize(("end", "whole"), [(18.0, True), (14.0, False)])
def test_a_ramus_with_a_gap_beside_the_circumflex_artery_stays_whole(end, whole):
    # As above, but the mask of the ramus ends 4 or 8 mm before its far part.
    stem, ramus = line((0, -6), (0, 0)), line((0, 0), (3, 3), (end, 3))
    lcx, rest_of_lcx = line((0, 0), (22, 0)), line((22, 0), (50, -10))
    rest = line((22, 0), (22, 3), (50, 3))
    grid, sections = sections_of([stem, ramus, lcx, rest_of_lcx, rest], [None, 0, 0, 2, 2])
    result, joined = uncrossed(grid, sections)
    assert len(joined) == whole
    if whole:
        rejoined = result[joined.pop()]
        assert rejoined.parent == 0 and rejoined.bridged
        np.testing.assert_allclose(grid.ras[rejoined.nodes[-1]], [50, 3, 0])
        assert sum(s.bridged for s in result) == 1


def test_a_branch_begins_where_its_axis_meets_that_of_its_parent():
    # D1 runs in the lumen of the LAD from 20 mm on and leaves it at 24 mm, where its line begins.
    along = np.arange(0.0, 60.1, 0.25)
    lad = vessel("LAD", None, None, np.stack([0 * along, along, 0 * along], axis=1), 2.0)
    slope = np.array([-np.sin(0.5), np.cos(0.5), 0.0])
    shared = [0.0, 24.0, 0.0]
    d1 = np.concatenate([[shared], np.array([0.0, 20.0, 0.0]) + np.arange(4.5, 40.0, 0.25)[:, None] * slope])
    first = vessel("D1", "LAD", 24.0, d1, 1.0)
    numbered = with_segments([lad, first])[0]
    assert [s.number for s in numbered.segments] == [6, 7, 8]
    assert numbered.segments[0].end_mm == pytest.approx(20.0, abs=0.3)
    # A branch that leaves at a right angle begins where its line does.
    across = np.stack([-along, 30.0 + 0 * along, 0 * along], axis=1)
    numbered = with_segments([lad, vessel("D1", "LAD", 30.0, across, 1.0)])[0]
    assert numbered.segments[0].end_mm == pytest.approx(30.0, abs=0.3)


@pytest.mark.parametrize(("stump_radius", "rooted"), [(1.6, True), (0.6, False)], ids=["stump", "rest of the wall"])
def test_a_vessel_closed_behind_its_ostium_begins_at_its_stump(stump_radius, rooted):
    seg = segmentation_of([HEART[n] for n in ("LM", "LAD", "LCX")] + [HEART["RCA"]])
    rca = HEART["RCA"].points(0.2)
    lumen = np.zeros_like(seg.lumen)
    for name in ("LM", "LAD", "LCX"):
        paint(lumen, seg.ijk_to_ras, HEART[name].points(), HEART[name].radii())
    paint(lumen, seg.ijk_to_ras, rca[:20], np.full(20, stump_radius))
    paint(lumen, seg.ijk_to_ras, rca[45:], np.full(len(rca) - 45, 1.6))
    tree = extract_tree(LumenSegmentation(lumen & ~seg.aorta, seg.aorta, seg.ijk_to_ras, seg.model))
    right = [v for v in tree.vessels if v.name == "RCA"]
    assert len(right) == rooted and (rooted or "pieces_without_ostium" in tree.flags)
    for vessel_found in right:
        assert "bridged" in vessel_found.flags and "ostium_estimated" not in vessel_found.flags
        assert np.linalg.norm(vessel_found.points_ras[0] - rca[0]) < 1.0


def measured(count: int, **changed: np.ndarray | tuple[str, ...]) -> LumenProfile:
    """Return a profile of a lumen of 3 mm and 400 HU with `changed` entries."""
    full = {"diameter_mm": np.full(count, 3.0), "lumen_hu": np.full(count, 400.0), "quality": ("ok",) * count}
    full |= changed
    others = ("area_mm2", "minimum_diameter_mm", "maximum_diameter_mm", "diameter_error_mm", "plaque_area_mm2")
    empty = np.full(count, np.nan)
    return LumenProfile(
        vessel="LAD", contour_radius_mm=np.full((count, 8), 1.5), frames=np.zeros((count, 3, 3)),
        contour_center_ras=np.zeros((count, 3)), calcified_area_mm2=empty, **dict.fromkeys(others, empty), **full,
    )  # fmt: skip


GAP = slice(72, 92)
"""The samples 18 to 23 mm along the vessel, in voxels of 0.5 mm without lumen."""


@pytest.mark.parametrize(
    ("entry", "value", "filled"),
    [
        (None, None, True),
        ("lumen_hu", 260.0, True),  # a narrowing that the point spread dims
        ("lumen_hu", 150.0, False),
        ("diameter_mm", np.nan, False),
        ("quality", "unreliable", False),
        ("quality", "segmentation", False),
        ("quality", "calcium", False),
    ],
)
@pytest.mark.parametrize("put_in", [False, True], ids=["no lumen", "only put in"])
def test_a_gap_in_which_the_lumen_was_measured_is_none(entry, value, filled, put_in):
    points = np.arange(161)[:, None] * np.array([0.0, 0.25, 0.0]) + [3.0, 1.0, 3.0]
    lumen = np.zeros((12, 90, 12), bool)
    lumen[4:9, :, 4:9] = True
    lumen[:, 38:48] = False
    bridged = None
    if put_in:
        bridged = np.zeros_like(lumen)
        bridged[5:8, 38:48, 5:8] = True
        lumen |= bridged
    seg = LumenSegmentation(
        lumen, np.zeros_like(lumen), np.diag([0.5, 0.5, 0.5, 1.0]), ModelInfo("x", "1"), bridged=bridged
    )
    profile = measured(161)
    if entry == "quality":
        words = ["ok"] * 161
        words[80] = value
        profile = replace(profile, quality=tuple(words))
    elif entry:
        values = getattr(profile, entry).copy()
        values[GAP] = value
        profile = replace(profile, **{entry: values})
    lad = replace(vessel("LAD", None, None, points, 1.5), flags=("bridged", "loop_cut"))
    other = replace(lad, name="RCA", flags=("ostium_gap",))
    result = without_filled_gaps(VesselTree((lad, other)), (profile, profile), seg)
    assert result.vessels[0].flags == (("loop_cut",) if filled else ("bridged", "loop_cut"))
    assert result.vessels[1] is other
    # what was not measured elsewhere, in the visible lumen, does not matter
    outside = profile.diameter_mm.copy()
    outside[:60] = np.nan
    again = without_filled_gaps(VesselTree((lad,)), (replace(profile, diameter_mm=outside),), seg)
    assert again.vessels[0].flags == result.vessels[0].flags
