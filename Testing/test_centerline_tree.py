"""The coronary tree from masks of known course, on grids of every kind."""

import numpy as np
import pytest
from centerline_shapes import AORTA, HEART, Tube, paint, segmentation_of
from scipy.spatial import cKDTree

from StenosisDetectionLib.centerline import extract_tree, label_vessels
from StenosisDetectionLib.geometry import shifted, transform_points
from StenosisDetectionLib.study import LumenSegmentation, ModelInfo, VesselTree

NAMES = {"LM", "LAD", "LCX", "D1", "S1", "OM1", "RCA", "AM1", "PDA", "PLB"}
ROTATION = np.linalg.qr(np.array([[1.0, 0.3, -0.2], [-0.25, 1.0, 0.35], [0.1, -0.4, 1.0]]))[0]
ROTATION = ROTATION * np.sign(np.diag(ROTATION))


@pytest.fixture(scope="module")
def heart() -> LumenSegmentation:
    return segmentation_of(list(HEART.values()), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def heart_tree(heart) -> VesselTree:
    return extract_tree(heart)


def distance_to(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    return cKDTree(line).query(points)[0]


def assert_follows_heart(tree: VesselTree, names: set[str], mean_mm: float = 0.25) -> None:
    truth = np.concatenate([tube.points(0.1) for tube in HEART.values()])
    assert {v.name for v in tree.vessels} == names
    for vessel in tree.vessels:
        assert distance_to(vessel.points_ras, truth).mean() < mean_mm
        # The forks of the schematic heart are points inside the lumen of the parent; the traced ones stand where the
        # lumens part.
        own = HEART[vessel.name].points()
        assert np.percentile(distance_to(own[15:-15], vessel.points_ras), 90) < 3 * mean_mm


def as_tree_invariants(tree: VesselTree) -> None:
    seen: set[str] = set()
    for vessel in tree.vessels:
        assert vessel.name not in seen
        count = len(vessel.points_ras)
        assert len(vessel.distance_mm) == len(vessel.radius_mm) == count
        np.testing.assert_allclose(vessel.distance_mm, 0.25 * np.arange(count))
        steps = np.linalg.norm(np.diff(vessel.points_ras, axis=0), axis=1)
        assert np.all(steps <= 0.25 + 1e-6)
        assert np.percentile(steps, 5) > 0.24
        assert np.all(np.isfinite(vessel.radius_mm)) and np.all(vessel.radius_mm > 0)
        assert (vessel.parent is None) == (vessel.parent_distance_mm is None)
        if vessel.parent is not None:
            assert vessel.parent in seen
            parent = tree.vessel(vessel.parent)
            joint = parent.points_ras[round(vessel.parent_distance_mm / 0.25)]
            np.testing.assert_allclose(vessel.points_ras[0], joint, atol=1e-9)
        ends = [0.0, *(s.end_mm for s in vessel.segments)]
        assert [s.start_mm for s in vessel.segments] == ends[:-1]
        if vessel.segments:
            assert ends[-1] == vessel.length_mm
        assert all(0 < s.confidence <= 1 for s in vessel.segments)
        seen.add(vessel.name)


def test_a_whole_heart_is_named_and_followed(heart_tree):
    as_tree_invariants(heart_tree)
    assert_follows_heart(heart_tree, NAMES, mean_mm=0.15)
    assert heart_tree.dominance == "right"
    assert heart_tree.flags == ()
    parents = {v.name: v.parent for v in heart_tree.vessels}
    assert parents == {
        "LM": None, "LAD": "LM", "LCX": "LM", "D1": "LAD", "S1": "LAD", "OM1": "LCX",
        "RCA": None, "AM1": "RCA", "PDA": "RCA", "PLB": "RCA",
    }  # fmt: skip


def test_first_generation_begins_on_the_aortic_surface(heart_tree):
    for name in ("LM", "RCA"):
        x, y, _ = heart_tree.vessel(name).points_ras[0]
        assert np.hypot(x, y) == pytest.approx(AORTA[1], abs=0.6)


def test_radius_is_that_of_the_tubes(heart_tree):
    for name in ("LAD", "LCX", "RCA"):
        tube, vessel = HEART[name], heart_tree.vessel(name)
        nearest = cKDTree(tube.points()).query(vessel.points_ras)[1]
        middle = slice(len(nearest) // 10, -20)
        error = vessel.radius_mm[middle] - tube.radii()[nearest][middle]
        assert abs(np.median(error)) < 0.1


def test_segments_follow_the_landmarks(heart_tree):
    lad, lcx, rca = (heart_tree.vessel(n) for n in ("LAD", "LCX", "RCA"))
    assert [s.number for s in lad.segments] == [6, 7, 8]
    # Where the axes of branch and parent meet, which lies within a radius of where their paths part.
    assert lad.segments[0].end_mm == pytest.approx(heart_tree.vessel("D1").parent_distance_mm, abs=1.0)
    assert [s.number for s in lcx.segments] == [11, 13]
    assert lcx.segments[0].end_mm == pytest.approx(heart_tree.vessel("OM1").parent_distance_mm, abs=1.0)
    assert [s.number for s in rca.segments] == [1, 2, 3]
    margin = rca.points_ras[round(rca.segments[1].end_mm / 0.25)]
    assert np.linalg.norm(margin - np.array([38, 12, -65])) < 12  # the control point at the acute margin
    assert [s.number for s in heart_tree.vessel("PDA").segments] == [4]
    assert [s.number for s in heart_tree.vessel("PLB").segments] == [16]


@pytest.mark.parametrize(
    ("spacing", "directions"),
    [
        ((0.5, 0.5, 0.5), np.diag([-1.0, -1.0, 1.0])),
        ((0.6, 0.5, 0.4), np.array([[0, 0, -1.0], [1, 0, 0], [0, 1, 0]])),
        ((0.5, 0.6, 0.5), ROTATION),
        ((0.45, 0.45, 1.35), np.diag([-1.0, -1.0, -1.0])),
    ],
    ids=["LPS", "mirrored and permuted", "oblique", "thick slices"],
)
def test_names_and_places_do_not_depend_on_the_grid(spacing, directions):
    tree = extract_tree(segmentation_of(list(HEART.values()), spacing, directions))
    as_tree_invariants(tree)
    assert_follows_heart(tree, NAMES)
    assert tree.dominance == "right"


def test_a_mirrored_array_with_its_affine_gives_the_same_tree(heart, heart_tree):
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = heart.lumen.shape[2] - 1
    mirrored = LumenSegmentation(heart.lumen[..., ::-1], heart.aorta[..., ::-1], heart.ijk_to_ras @ flip, heart.model)
    tree = extract_tree(mirrored)
    assert [v.name for v in tree.vessels] == [v.name for v in heart_tree.vessels]
    for vessel in tree.vessels:
        assert distance_to(vessel.points_ras, heart_tree.vessel(vessel.name).points_ras).max() < 1.0


def test_equal_input_gives_equal_bytes(heart, heart_tree):
    again = extract_tree(heart)
    for first, second in zip(heart_tree.vessels, again.vessels, strict=True):
        assert first.name == second.name
        assert first.points_ras.tobytes() == second.points_ras.tobytes()
        assert first.radius_mm.tobytes() == second.radius_mm.tobytes()


def test_separate_left_ostia_have_no_left_main():
    lad = Tube(((-11, 7, 0), *HEART["LAD"].control), 1.9, 0.9)
    lcx = Tube(((-12, -4, 0), (-22, -5, -3), (-40, -8, -8), (-50, -30, -25), (-45, -48, -45)), 1.7, 1.0)
    tree = extract_tree(segmentation_of([lad, lcx, HEART["RCA"], HEART["D1"], HEART["OM1"]]))
    assert {"LAD", "LCX", "RCA", "D1", "OM1"} == {v.name for v in tree.vessels}
    assert {"no_left_main", "separate_left_ostia"} <= set(tree.flags)
    assert tree.vessel("LAD").parent is None and tree.vessel("LCX").parent is None


def test_a_third_daughter_of_the_left_main_is_the_ramus():
    ramus = Tube(((-24, 6, -2), (-45, 8, -15), (-65, 12, -45)), 1.4, 0.9)
    tree = extract_tree(segmentation_of([HEART[n] for n in ("LM", "LAD", "LCX", "RCA")] + [ramus]))
    assert {v.name for v in tree.vessels} == {"LM", "LAD", "LCX", "RCA", "RI"}
    assert distance_to(ramus.points()[20:-10], tree.vessel("RI").points_ras).mean() < 0.3
    assert tree.vessel("RI").segments[0].number == 17


def test_a_circumflex_artery_that_gives_the_pda_is_left_dominance():
    around = Tube((*HEART["LCX"].control, (-22, -52, -68), (5, -35, -75)), 1.9, 1.4)
    short = Tube(((8, 10, 0), (20, 28, -8), (36, 30, -35), (38, 20, -55)), 1.4, 0.9)
    backward = Tube(((5, -35, -75), (18, -45, -72), (28, -42, -62)), 1.1, 0.9)
    tree = extract_tree(
        segmentation_of([HEART[n] for n in ("LM", "LAD", "D1", "OM1", "PDA")] + [around, short, backward])
    )
    assert {v.name: v.parent for v in tree.vessels} == {
        "LM": None, "LAD": "LM", "LCX": "LM", "D1": "LAD", "OM1": "LCX", "PDA": "LCX", "PLB": "LCX", "RCA": None,
    }  # fmt: skip
    assert tree.dominance == "left"
    assert [s.number for s in tree.vessel("PDA").segments] == [15]
    assert [s.number for s in tree.vessel("PLB").segments] == [18]


def test_a_tree_near_the_aorta_begins_at_its_thick_end_there():
    begun = Tube(HEART["LM"].control[1:], 2.3, 2.1)
    tree = extract_tree(segmentation_of([begun, *(HEART[n] for n in ("LAD", "LCX", "RCA"))]))
    assert {v.name for v in tree.vessels} == {"LM", "LAD", "LCX", "RCA"}
    assert "ostium_estimated" in tree.vessel("LM").flags
    assert np.linalg.norm(tree.vessel("LM").points_ras[0] - begun.points()[0]) < 3


def test_a_right_artery_from_the_left_main_keeps_its_name():
    rca = Tube(((-17, 5, -1), (-14, 20, 0), (8, 22, -3), (20, 28, -8), (36, 30, -35), (38, 12, -65)), 1.6, 1.2)
    tree = extract_tree(segmentation_of([HEART[n] for n in ("LM", "LAD", "LCX")] + [rca]))
    assert {v.name: v.parent for v in tree.vessels} == {"LM": None, "LAD": "LM", "LCX": "LM", "RCA": "LM"}
    assert "common_ostium" in tree.flags


def test_a_right_artery_from_the_left_sinus_keeps_its_name():
    rca = Tube(
        ((-8, 10.5, 0), (-6, 17, 0), (8, 20, -3), (20, 28, -8), (36, 30, -35), (38, 12, -65), (5, -35, -75)), 2, 1
    )
    tree = extract_tree(segmentation_of([HEART[n] for n in ("LM", "LAD", "LCX")] + [rca]))
    assert {v.name for v in tree.vessels} == {"LM", "LAD", "LCX", "RCA"}
    assert distance_to(rca.points(), tree.vessel("RCA").points_ras).mean() < 0.3


def test_trees_that_meet_far_from_the_aorta_keep_their_ostia():
    meeting = Tube(((-45, -48, -45), (-35, -47, -60), (-32, -45, -65)), 1.0, 1.0)
    tree = extract_tree(segmentation_of([*HEART.values(), meeting]))
    assert {v.name for v in tree.vessels if v.parent is None} == {"LM", "RCA"}
    assert "trees_touch" in tree.flags
    assert distance_to(HEART["LCX"].points()[20:-60], tree.vessel("LCX").points_ras).mean() < 0.3


def test_a_vessel_that_touches_the_aorta_again_is_one_vessel():
    around = Tube(((9, 9, 0), (17, 8, -2), (14.5, 0, -4), (17, -8, -6), (30, -12, -20), (38, 12, -65)), 1.7, 1.2)
    tree = extract_tree(segmentation_of([around]))
    assert [v.name for v in tree.vessels] == ["RCA"]
    assert tree.vessels[0].length_mm == pytest.approx(len(around.points()) * 0.2, abs=5)


@pytest.mark.parametrize(
    ("gap_mm", "sideways_mm", "whole"),
    [(2.0, 0.0, True), (6.0, 0.0, True), (12.0, 0.0, True), (2.0, 5.0, True), (2.0, 13.0, False), (18.0, 0.0, False)],
)
def test_gaps_are_bridged_when_short_or_straight(gap_mm, sideways_mm, whole):
    near = Tube(((10, 10, 0), (20, 20, -20), (20, 20, -50)), 1.5, 1.5)
    y = 20 + sideways_mm
    # The balls at both ends reach 1.5 mm into the gap.
    far = Tube(((20, y, -53 - gap_mm), (20, y, -90)), 1.5, 1.5)
    tree = extract_tree(segmentation_of([near, far]))
    assert [v.name for v in tree.vessels] == ["RCA"]
    vessel = tree.vessels[0]
    assert ("bridged" in vessel.flags) == whole
    assert (vessel.points_ras[:, 2].min() < -85) == whole
    assert ("pieces_without_ostium" in tree.flags) != whole
    if whole:
        assert (
            distance_to(vessel.points_ras[40:], np.concatenate([near.points(), far.points()])).max()
            < 0.5 * (gap_mm + sideways_mm) + 2.0
        )


def test_a_branch_with_a_closed_origin_is_joined_at_the_side_of_its_parent():
    # The first 6 mm of the diagonal branch are missing: its tip points at the side of the LAD, not along it.
    d1 = HEART["D1"].points(0.2)
    seg = segmentation_of([HEART[n] for n in ("LM", "LAD", "LCX", "RCA")])
    lumen = seg.lumen.copy()
    paint(lumen, seg.ijk_to_ras, d1[30::2], np.full(len(d1[30::2]), 1.1))
    tree = extract_tree(LumenSegmentation(lumen & ~seg.aorta, seg.aorta, seg.ijk_to_ras, seg.model))
    assert {v.name for v in tree.vessels} == {"LM", "LAD", "LCX", "RCA", "D1"}
    assert "bridged" in tree.vessel("D1").flags and tree.vessel("D1").parent == "LAD"


def test_without_an_aorta_trees_begin_at_their_thickest_end():
    tree = extract_tree(segmentation_of(list(HEART.values()), aorta=False))
    assert {v.name for v in tree.vessels} == NAMES
    assert "ostium_estimated" in tree.flags
    for name in ("LM", "RCA"):
        assert np.linalg.norm(tree.vessel(name).points_ras[0] - HEART[name].points()[0]) < 3
        assert "ostium_estimated" in tree.vessel(name).flags


def test_short_and_thin_side_branches_are_left_out():
    twig = Tube(((20, 28, -8), (24, 34, -6)), 1.2, 1.2)
    thread = Tube(((36, 30, -35), (45, 40, -45), (45, 45, -60)), 0.4, 0.4)
    tree = extract_tree(segmentation_of([HEART["RCA"], twig, thread], (0.35, 0.35, 0.35)))
    assert [v.name for v in tree.vessels] == ["RCA"]


def test_a_straight_tube_is_straight():
    tube = Tube(((10, 0, 0), (60, 0, 0)), 1.5, 1.5)
    vessel = extract_tree(segmentation_of([tube])).vessels[0]
    assert np.abs(vessel.points_ras[:, 1:]).max() < 0.2
    assert vessel.length_mm == pytest.approx(60 + 1.5 - AORTA[1], abs=1.0)
    assert vessel.radius_mm[10:-15] == pytest.approx(1.5, abs=0.15)


def test_rests_of_the_aortic_wall_are_no_vessels():
    seg = segmentation_of([HEART["RCA"]])
    shell = seg.lumen.copy()
    rim = [Tube(((13.2 * np.cos(a), 13.2 * np.sin(a), -10), (13.2 * np.cos(a), 13.2 * np.sin(a), 25))) for a in (2, 3)]
    for tube in rim:
        paint(shell, seg.ijk_to_ras, tube.points(), np.full(len(tube.points()), 0.9))
    tree = extract_tree(LumenSegmentation(shell & ~seg.aorta, seg.aorta, seg.ijk_to_ras, seg.model))
    assert [v.name for v in tree.vessels] == ["RCA"]


def masks(lumen: np.ndarray, spacing: float = 0.5) -> LumenSegmentation:
    return LumenSegmentation(
        lumen, np.zeros_like(lumen), np.diag([spacing, spacing, spacing, 1.0]), ModelInfo("x", "1")
    )


def ball(radius: int, size: int) -> np.ndarray:
    z, y, x = np.ogrid[:size, :size, :size]
    middle = size // 2
    return (z - middle) ** 2 + (y - middle) ** 2 + (x - middle) ** 2 <= radius**2


@pytest.mark.parametrize(
    ("lumen", "flag"),
    [
        (np.zeros((5, 6, 7), bool), "no_lumen"),
        (np.ones((1, 1, 1), bool), "no_vessel"),
        (np.ones((1, 40, 200), bool), None),
        (ball(12, 31), "no_vessel"),
        (np.ones((160, 160, 160), bool), "lumen_too_large"),
    ],
    ids=["empty", "one voxel", "a sheet", "ball", "block"],
)
def test_masks_without_vessels_have_named_outcomes(lumen, flag):
    tree = extract_tree(masks(lumen))
    if flag is not None:
        assert tree.vessels == ()
        assert flag in tree.flags
    labels = label_vessels(masks(lumen), tree)
    assert labels.labels.shape == lumen.shape
    assert labels.labels.max() == len(tree.vessels) == len(labels.names)


def test_one_voxel_on_the_aorta_is_no_vessel():
    lumen, aorta = np.zeros((2, 20, 20, 20), bool)
    aorta[5:15, 5:15, 5:15] = True
    lumen[10, 10, 15] = True
    seg = LumenSegmentation(lumen, aorta, np.eye(4), ModelInfo("x", "1"))
    assert extract_tree(seg).flags == ("no_vessel",)


def test_a_ring_is_cut_open():
    angle = np.linspace(0, 2 * np.pi, 400)
    ring = np.stack([30 + 15 * np.cos(angle), 15 * np.sin(angle), np.zeros_like(angle)], axis=1)
    seg = segmentation_of([Tube(((11, 0, 0), (16, 0, 0)), 1.5, 1.5), Tube(((45, 20, 0), (45, 21, 0)), 0.1, 0.1)])
    lumen = seg.lumen.copy()
    grown = np.pad(lumen, ((20, 20), (60, 60), (20, 60)))
    matrix = shifted(seg.ijk_to_ras, (-20, -60, -20))
    paint(grown, matrix, ring, np.full(len(ring), 1.5))
    aorta = np.pad(seg.aorta, ((20, 20), (60, 60), (20, 60)))
    tree = extract_tree(LumenSegmentation(grown & ~aorta, aorta, matrix, seg.model))
    as_tree_invariants(tree)
    assert tree.vessels
    everything = np.concatenate([v.points_ras for v in tree.vessels])
    assert distance_to(ring, everything).max() < 4.0
    assert distance_to(everything[everything[:, 0] > 18], ring).max() < 1.5


def test_every_lumen_voxel_gets_its_vessel(heart, heart_tree):
    labels = label_vessels(heart, heart_tree)
    assert labels.names == {n: v.name for n, v in enumerate(heart_tree.vessels, start=1)}
    assert not labels.labels[~heart.lumen].any()
    assert (labels.labels[heart.lumen] == 0).mean() < 0.001
    for number, name in labels.names.items():
        tube = HEART[name].points()
        ijk = np.rint(transform_points(np.linalg.inv(heart.ijk_to_ras), tube[len(tube) // 4 : -10])).astype(int)
        assert (labels.labels[ijk[:, 2], ijk[:, 1], ijk[:, 0]] == number).mean() > 0.97


def test_far_voxels_belong_to_no_vessel(heart, heart_tree):
    lumen = heart.lumen.copy()
    lumen[2:8, 2:8, 2:8] = True
    seg = LumenSegmentation(lumen, heart.aorta, heart.ijk_to_ras, heart.model)
    assert not label_vessels(seg, heart_tree).labels[2:8, 2:8, 2:8].any()


def test_cancel_is_not_swallowed(heart):
    def stop(fraction: float, message: str) -> None:
        if fraction > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_tree(heart, stop)
