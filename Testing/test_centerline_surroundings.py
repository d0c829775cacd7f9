"""What guides and marks a tree beside its lumen: network marks, field of view, orientation, sinuses, loops, crux."""

from dataclasses import replace

import numpy as np
import pytest
from centerline_shapes import AORTA, HEART, Tube, paint, segmentation_of
from scipy.spatial.transform import Rotation

from StenosisDetectionLib.centerline import extract_tree, rename_vessel
from StenosisDetectionLib.centerline.courses import SectionTree
from StenosisDetectionLib.centerline.crux import end_at_crux
from StenosisDetectionLib.centerline.grid import build_grid
from StenosisDetectionLib.centerline.orientation import ORIENTATIONS, orientation_doubtful
from StenosisDetectionLib.centerline.ostia import find_ostia
from StenosisDetectionLib.centerline.paths import components, lumen_graph, reach, trace_sections
from StenosisDetectionLib.centerline.smoothing import resample
from StenosisDetectionLib.centerline.veins import without_way_back
from StenosisDetectionLib.geometry import transform_points
from StenosisDetectionLib.study import CTVolume, LumenSegmentation, Vessel

MAIN = {"LM", "LAD", "LCX", "RCA"}


def without_aorta(seg: LumenSegmentation) -> LumenSegmentation:
    return replace(seg, aorta=np.zeros_like(seg.aorta))


def coarse(tubes: list[Tube], spacing: tuple[float, float, float] = (0.6, 0.6, 0.6)) -> LumenSegmentation:
    return segmentation_of(tubes, spacing)


def vessel_of(name: str, parent: str, at_mm: float, corners: list[tuple[float, float, float]]) -> Vessel:
    points = resample(np.array(corners, dtype=float), 0.25)
    return Vessel(name, parent, at_mm, points, 0.25 * np.arange(len(points)), np.ones(len(points)))


@pytest.fixture(scope="module")
def heart() -> LumenSegmentation:
    return coarse([HEART[n] for n in ("LM", "LAD", "LCX", "D1", "OM1", "RCA", "AM1", "PDA", "PLB")])


def test_marks_of_a_network_are_ostia_where_there_is_no_aorta(heart):
    marks = np.array([[30.0, 30.0, 30.0], [8.5, 10.5, 0.0], [-12.5, 4.0, 0.5], [-12.0, 5.0, 1.0]])
    seg = replace(without_aorta(heart), ostia_ras=marks, ostia_scores=np.array([0.9, 0.8, 0.7, 0.6]))
    tree = extract_tree(seg)
    assert {v.name for v in tree.vessels if v.parent is None} == {"LM", "RCA"}
    assert "ostium_estimated" not in tree.flags
    for name, mark in (("LM", marks[2]), ("RCA", marks[1])):
        assert np.linalg.norm(tree.vessel(name).points_ras[0] - mark) < 0.1


def test_faint_marks_are_none(heart):
    marks = np.array([[8.5, 10.5, 0.0], [-12.5, 4.0, 0.5]])
    seg = replace(without_aorta(heart), ostia_ras=marks, ostia_scores=np.array([0.1, 0.05]))
    assert "ostium_estimated" in extract_tree(seg).flags


def test_a_vessel_that_begins_along_the_aorta_begins_at_its_end():
    along = Tube(((3, 13.2, 0), (9.5, 12.5, -1), (15.2, 8, -2), (17, 1, -3), (28, -5, -20), (38, -5, -55)), 1.7, 1.3)
    tree = extract_tree(coarse([along]))
    assert [v.name for v in tree.vessels] == ["RCA"]
    # The tube begins in the wall of the aorta, at the angle of its first point.
    x, y, _ = tree.vessels[0].points_ras[0]
    assert np.degrees(abs(np.arctan2(y, x) - np.arctan2(13.2, 3.0))) < 20


def test_paths_keep_to_where_the_network_sees_lumen():
    # A short cut through a bright neighbor that the network hardly believes in.
    u_turn = Tube(((10, 10, 0), (30, 20, -10), (40, 20, -40), (30, 20, -70), (10, 10, -80)), 1.5, 1.5)
    cut = Tube(((30, 20, -10), (28, 19, -40), (30, 20, -70)), 1.5, 1.5)
    seg = coarse([u_turn, cut])
    sure = coarse([u_turn]).lumen
    probability = np.where(sure, 1.0, np.where(seg.lumen, 0.15, 0.0)).astype(np.float16)
    for guided, expected in ((seg, 28.0), (replace(seg, probability=probability), 40.0)):
        vessel = extract_tree(guided).vessel("RCA")
        middle = vessel.points_ras[np.argmin(np.abs(vessel.points_ras[:, 2] + 40))]
        assert middle[0] == pytest.approx(expected, abs=1.5)


def test_voxels_that_only_join_parts_mark_the_vessel(heart):
    bridged = np.zeros_like(heart.lumen)
    ijk = np.rint(transform_points(np.linalg.inv(heart.ijk_to_ras), HEART["LAD"].points()[200:215])).astype(int)
    bridged[ijk[:, 2], ijk[:, 1], ijk[:, 0]] = True
    tree = extract_tree(replace(heart, bridged=bridged))
    assert [v.name for v in tree.vessels if "bridged" in v.flags] == ["LAD"]


def volume_over(low: tuple[float, float, float], high: tuple[float, float, float]) -> CTVolume:
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = low
    size = (np.subtract(high, low) / 2.0).astype(int) + 1
    return CTVolume(np.zeros(size[::-1], np.float32), matrix)


def test_what_lies_outside_of_the_image_is_not_imaged():
    seg = coarse([HEART[n] for n in ("LM", "LAD", "LCX")])
    whole = volume_over((-90, -80, -130), (90, 90, 60))
    assert "right_not_found" in extract_tree(seg, volume=whole).flags
    cut = extract_tree(seg, volume=volume_over((-90, -80, -90), (4, 90, 60)))
    assert "right_not_imaged" in cut.flags and "right_not_found" not in cut.flags
    assert "right_not_found" in extract_tree(seg).flags


def test_a_vessel_cut_off_by_the_border_says_so():
    border = -60.0
    seg = coarse([HEART["RCA"]])
    below = np.arange(seg.lumen.shape[0]) * seg.ijk_to_ras[2, 2] + seg.ijk_to_ras[2, 3] < border
    lumen = seg.lumen.copy()
    lumen[below] = False
    seg = replace(seg, lumen=lumen)
    assert (
        "leaves_field_of_view"
        in extract_tree(seg, volume=volume_over((-90, -80, border), (90, 90, 60))).vessels[0].flags
    )
    assert extract_tree(seg, volume=volume_over((-90, -80, -100), (90, 90, 60))).vessels[0].flags == ()


def sections_of(seg: LumenSegmentation) -> SectionTree:
    grid = build_grid(seg)
    graph = lumen_graph(grid)
    ostia = find_ostia(grid, graph, components(grid, graph), np.zeros((0, 3)))
    paths = reach(grid, graph, np.array([o.node for o in ostia]))
    sections = trace_sections(grid, graph, paths, lambda _f, _m: None)
    return SectionTree(grid.ras, grid.depth, sections, lambda nodes: grid.depth[nodes])


def turned_about(tree: SectionTree, matrix: np.ndarray) -> SectionTree:
    return SectionTree(tree.ras @ matrix.T, tree.depth, tree.sections, tree.radius_of)


def tilt(axis: int, degrees: float) -> np.ndarray:
    return Rotation.from_euler("xyz"[axis], degrees, degrees=True).as_matrix()


SEPARATE_LCX = Tube(((-11, -7, -1), (-26, -8, -3), (-40, -12, -8), (-50, -30, -25), (-45, -48, -45)), 1.7, 1.0)
SEPARATE_LAD = Tube(((-12, 4, 0), (-24, 10, -2), (-38, 25, -10), (-50, 45, -40), (-58, 55, -75), (-55, 50, -95)), 1.9)


@pytest.mark.parametrize(("ostia", "pose_deg"), [(2, 20.0), (3, 10.0)])
def test_a_heart_is_doubted_in_every_orientation_but_its_own(heart, ostia, pose_deg):
    separate = [SEPARATE_LAD, SEPARATE_LCX] + [HEART[n] for n in ("D1", "OM1", "RCA", "PDA", "PLB")]
    tree = sections_of(heart if ostia == 2 else coarse(separate))
    assert len(tree.roots()) == ostia
    doubts = [orientation_doubtful(turned_about(tree, matrix)) for matrix in ORIENTATIONS]
    assert len(doubts) == 48 and not doubts[0] and all(doubts[1:])
    # Hearts lie differently in the chest: a pose is no wrong axis.
    for axis in range(3):
        for degrees in (-pose_deg, pose_deg):
            pose = tilt(axis, degrees)
            assert not orientation_doubtful(turned_about(tree, pose))
            assert all(orientation_doubtful(turned_about(tree, matrix @ pose)) for matrix in ORIENTATIONS[1:8])


@pytest.mark.parametrize("tubes", [["LM", "LAD", "LCX", "D1"], ["RCA", "PDA", "PLB"]])
def test_one_tree_alone_is_doubted_where_it_leads_up(tubes):
    tree = sections_of(coarse([HEART[n] for n in tubes]))
    assert not orientation_doubtful(tree)
    assert orientation_doubtful(turned_about(tree, np.diag([1.0, 1.0, -1.0])))


def test_names_in_a_mirrored_heart_are_guesses_until_a_person_gives_them(heart):
    mirrored = extract_tree(replace(heart, ijk_to_ras=np.diag([-1.0, 1.0, 1.0, 1.0]) @ heart.ijk_to_ras))
    assert "orientation_doubtful" in mirrored.flags
    assert {s.confidence for v in mirrored.vessels for s in v.segments} == {0.3}
    named = rename_vessel(mirrored, "RCA", "LM")
    assert named.vessel("LM").segments[0].confidence > 0.3
    assert all(s.confidence == 0.3 for v in named.vessels if "renamed" not in v.flags for s in v.segments)


def test_the_heart_as_it_is_is_not_doubted(heart):
    tree = extract_tree(heart)
    assert tree.flags == () and tree.vessel("LM").segments[0].confidence == 0.9


def test_both_ostia_in_one_sinus_are_told():
    rca = Tube(
        ((-8, 10.5, 0), (-6, 17, 0), (8, 20, -3), (20, 28, -8), (36, 30, -35), (38, 12, -65), (5, -35, -75)), 2, 1
    )
    tree = extract_tree(coarse([HEART[n] for n in ("LM", "LAD", "LCX")] + [rca]))
    assert "one_sinus" in tree.flags and {v.name for v in tree.vessels} == MAIN


def test_a_cut_loop_is_marked(heart):
    # A bridge from the middle of OM1 back to the LCX closes a loop; nothing else does.
    loop = Tube(((-68, -12, -55), (-60, -35, -50), (-45, -48, -45)), 1.0, 1.0)
    lumen = heart.lumen.copy()
    paint(lumen, heart.ijk_to_ras, loop.points()[::2], np.full(len(loop.points()[::2]), 1.0))
    tree = extract_tree(replace(heart, lumen=lumen & ~heart.aorta))
    assert {"LCX", "OM1"} & {v.name for v in tree.vessels if "loop_cut" in v.flags}
    assert not {"LM", "RCA", "PDA", "LAD"} & {v.name for v in tree.vessels if "loop_cut" in v.flags}
    assert not any("loop_cut" in v.flags for v in extract_tree(heart).vessels)


def test_a_right_artery_without_posterolateral_branch_ends_at_the_crux():
    whole = Tube((*HEART["RCA"].control, (-10, -10, -88), (-30, 20, -97)), 2.0, 1.0)
    tree = extract_tree(coarse([HEART[n] for n in ("LM", "LAD", "LCX")] + [whole]))
    assert {v.name: v.parent for v in tree.vessels} == {
        "LM": None, "LAD": "LM", "LCX": "LM", "RCA": None, "PDA": "RCA",
    }  # fmt: skip
    assert tree.dominance == "right" and [s.number for s in tree.vessel("PDA").segments] == [4]
    crux = tree.vessel("PDA").points_ras[0]
    assert np.linalg.norm(crux - np.array([5, -35, -75])) < 8
    np.testing.assert_array_equal(crux, tree.vessel("RCA").points_ras[-1])


def test_a_circumflex_artery_ends_where_it_turns_at_the_crux_not_where_its_posterolateral_branch_leaves():
    # The branch to the back wall leaves 22 mm before the crux; there the artery itself turns down to the apex.
    lcx = vessel_of("LCX", "LM", 0.0, [(-20, -10, 0), (-60, -40, -30), (-30, -55, -60)])
    pda = vessel_of("PDA", "LCX", lcx.length_mm, [(-30, -55, -60), (-10, -48, -66), (-35, -15, -90)])
    plb = vessel_of("PLB", "LCX", lcx.length_mm, [(-30, -55, -60), (-55, -35, -80)])
    twigs = [vessel_of(n, "PDA", at, [(0, 0, 0), (9, 9, 9)]) for n, at in (("PDAa", 10.0), ("PDAb", 40.0))]
    found, flags = end_at_crux([lcx, pda, plb, *twigs])
    by_name = {v.name: v for v in found}
    assert flags == () and [v.name for v in found] == ["LCX", "PDA", "PLB", "PDAa", "PDAb"]
    np.testing.assert_allclose(by_name["LCX"].points_ras[-1], [-10, -48, -66], atol=0.3)
    np.testing.assert_array_equal(by_name["LCX"].points_ras[-1], by_name["PDA"].points_ras[0])
    assert by_name["PDA"].parent_distance_mm == by_name["LCX"].length_mm == pytest.approx(lcx.length_mm + 22, abs=0.5)
    assert by_name["LCX"].length_mm + by_name["PDA"].length_mm == pytest.approx(lcx.length_mm + pda.length_mm)
    assert by_name["PLB"].parent_distance_mm == lcx.length_mm
    assert (by_name["PDAa"].parent, by_name["PDAb"].parent) == ("LCX", "PDA")
    steps = np.linalg.norm(np.diff(by_name["LCX"].points_ras, axis=0), axis=1)
    assert steps.max() < 0.5
    # At the fork itself nothing changes.
    short = vessel_of("PDA", "LCX", lcx.length_mm, [(-30, -55, -60), (-28, -53, -62), (-35, -15, -90)])
    assert end_at_crux([lcx, short, plb])[0] == [lcx, short, plb]


def test_a_circumflex_artery_that_alone_comes_to_the_crux_gives_the_descending_artery_at_its_turn():
    corners = [(-20, -10, 0), (-60, -40, -30), (-30, -55, -60), (-10, -48, -66), (-35, -15, -90)]
    lcx = vessel_of("LCX", "LM", 10.0, corners)
    turn = int(np.argmin(np.linalg.norm(lcx.points_ras - np.array(corners[3]), axis=1)))
    rca = vessel_of("RCA", "", 0.0, [(8, 10, 0), (25, 28, -10), (36, 30, -35)])
    rca = replace(rca, parent=None, parent_distance_mm=None)
    marginal = vessel_of("OM1", "LCX", 40.0, [(-52, -34, -24), (-70, -20, -50)])
    posterior = vessel_of("OM2", "LCX", lcx.distance_mm[turn] - 20.0, [(-28, -54, -61), (-55, -35, -80)])
    twig = vessel_of("OM2a", "OM2", 10.0, [(-40, -45, -70), (-40, -30, -80)])
    septal = vessel_of("LCXa", "LCX", lcx.distance_mm[turn] + 15.0, [(-20, -35, -75), (-15, -20, -75)])
    found, flags = end_at_crux([lcx, rca, marginal, posterior, twig, septal])
    assert flags == () and {v.name: v.parent for v in found} == {
        "LCX": "LM", "PDA": "LCX", "RCA": None, "OM1": "LCX", "PLB": "LCX", "PLBa": "PLB", "LCXa": "PDA",
    }  # fmt: skip
    by_name = {v.name: v for v in found}
    np.testing.assert_allclose(by_name["PDA"].points_ras[0], corners[3], atol=0.3)
    assert by_name["LCXa"].parent_distance_mm == pytest.approx(15.0)
    # An artery that ends on the side wall, and one beside a right artery at the crux, keep all of their length.
    short = vessel_of("LCX", "LM", 10.0, corners[:3])
    assert end_at_crux([short, rca, marginal])[0] == [short, rca, marginal]
    whole = vessel_of("RCA", "", 0.0, [tuple(p) for p in HEART["RCA"].control])
    assert "PDA" not in {v.name for v in end_at_crux([lcx, replace(whole, parent=None)])[0]}


def test_dominance_is_inferred_where_the_right_artery_only_reaches_the_crux():
    tree = extract_tree(coarse([HEART[n] for n in ("LM", "LAD", "LCX", "RCA")]))
    assert tree.dominance == "right" and "dominance_inferred" in tree.flags


def test_a_circumflex_artery_from_the_right_sinus_is_found_behind_the_aorta():
    left = Tube(((-12, 4, 0), (-24, 6, -2), (-38, 25, -10), (-50, 45, -40), (-58, 55, -75), (-55, 50, -95)), 1.9, 0.9)
    behind = ((11, 7, 0), (17, 4, 0), (21, -5, 0), (21, -16, -1), (12, -25, -2), (-6, -27, -4), (-46, -34, -20))
    lcx = Tube((*behind, (-48, -48, -45)), 1.7, 1.0)
    tree = extract_tree(coarse([left, lcx] + [HEART[n] for n in ("D1", "RCA", "PDA", "PLB")]))
    assert {v.name: v.parent for v in tree.vessels if v.name in MAIN} == {"LAD": None, "LCX": None, "RCA": None}
    assert tree.vessel("LCX").length_mm > 90 and "branch" not in "".join(v.name for v in tree.vessels)


def test_a_marginal_branch_is_no_lad_where_lad_and_circumflex_artery_have_ostia_of_their_own():
    marginal = Tube(((-30, -8, -4), (-52, 0, -22), (-66, 12, -50), (-62, 18, -75)), 1.1, 0.8)
    tubes = [SEPARATE_LAD, SEPARATE_LCX, marginal] + [HEART[n] for n in ("D1", "RCA", "PDA", "PLB")]
    tree = extract_tree(coarse(tubes))
    assert {"no_left_main", "separate_left_ostia"} <= set(tree.flags)
    assert {v.name: v.parent for v in tree.vessels} == {
        "LAD": None, "LCX": None, "RCA": None, "D1": "LAD", "OM1": "LCX", "PDA": "RCA", "PLB": "RCA",
    }  # fmt: skip


def test_dominance_that_is_inferred_stays_when_a_branch_is_renamed():
    tree = extract_tree(coarse([HEART[n] for n in ("LM", "LAD", "LCX", "RCA", "D1")]))
    assert rename_vessel(tree, "D1", "RI").dominance == tree.dominance == "right"


@pytest.mark.parametrize(("right", "dominance"), [((), "balanced"), (("PLB",), "right")])
def test_a_circumflex_artery_that_supplies_the_back_wall_beside_a_right_pda_is_balanced(right, dominance):
    lcx = Tube((*HEART["LCX"].control, (-28, -52, -60), (-42, -36, -82), (-52, -8, -97)), 1.7, 1.0)
    rca = Tube((*HEART["RCA"].control, (-10, -10, -88), (-30, 20, -97)), 2.0, 1.0)
    tree = extract_tree(coarse([HEART["LM"], HEART["LAD"], lcx, rca, *(HEART[n] for n in right)]))
    assert tree.dominance == dominance and tree.vessel("PDA").parent == "RCA"
    assert ("balanced_inferred" in tree.flags) == (not right)
    branch = tree.vessel("PLB")
    assert branch.parent == ("RCA" if right else "LCX") and [s.number for s in branch.segments] == [16 if right else 18]
    if not right:
        assert np.linalg.norm(branch.points_ras[0] - np.array([-28, -52, -60])) < 8
        np.testing.assert_array_equal(branch.points_ras[0], tree.vessel("LCX").points_ras[-1])
        assert [s.number for s in tree.vessel("LCX").segments][-1] == 13


def test_a_circumflex_artery_that_ends_on_the_side_wall_gives_no_posterolateral_branch():
    lcx = Tube(((-24, 6, -2), (-40, -8, -8), (-50, -22, -18), (-62, -20, -45), (-66, -5, -75)), 1.7, 1.0)
    rca = Tube((*HEART["RCA"].control, (-10, -10, -88), (-30, 20, -97)), 2.0, 1.0)
    tree = extract_tree(coarse([HEART["LM"], HEART["LAD"], lcx, rca]))
    assert tree.dominance == "right" and {v.name for v in tree.vessels} == {*MAIN, "PDA"}


def test_branches_of_branches_are_called_after_them():
    twig = Tube(((-60, 25, -30), (-75, 15, -40), (-80, 5, -50)), 1.0, 0.9)
    tree = extract_tree(coarse([HEART[n] for n in ("LM", "LAD", "LCX", "D1", "RCA")] + [twig]))
    assert tree.vessel("D1a").parent == "D1" or tree.vessel("D1").parent == "LAD"
    assert {v.name for v in tree.vessels} == MAIN | {"D1", "D1a"}


def test_a_vein_that_touches_the_lad_is_left_out():
    lad = HEART["LAD"].points(2.0)
    beside = lad[8:38] + np.array([3.4, -0.5, 1.2])
    vein = Tube(tuple(map(tuple, beside)), 1.5, 1.6)
    touching = Tube((tuple(lad[22]), tuple(beside[14])), 1.0, 1.0)
    tree = extract_tree(
        coarse([HEART[n] for n in ("LM", "LAD", "LCX", "D1", "RCA")] + [vein, touching], (0.5, 0.5, 0.5))
    )
    assert {v.name for v in tree.vessels} == MAIN | {"D1"}
    assert "touching_vein" in tree.flags


def hairpin(apart: float, back: float) -> list[tuple[float, float, float]]:
    """A way of 30 mm forward, across and back beside itself; its corners are round enough for a tangent."""
    return [(0, 0, 0), (0, 30, 0), (0.3 * apart, 32, 0), (0.7 * apart, 32, 0), (apart, 30, 0), (apart, 30 - back, 0)]


@pytest.mark.parametrize(
    ("apart", "back", "cut"), [(3.0, 16.0, True), (3.0, 5.0, False), (8.0, 16.0, False), (0.0, 0.0, False)]
)
def test_a_vessel_ends_where_it_turns_into_a_vein_beside_itself(apart, back, cut):
    lcx = vessel_of("LCX", "LM", 10.0, hairpin(apart, back) if apart else [(0, 0, 0), (0, 60, 0)])
    before = vessel_of("OM1", "LCX", 12.0, [(0, 12, 0), (-20, 20, 0)])
    behind = vessel_of("OM2", "LCX", lcx.length_mm - 2.0, [(apart, 20, 0), (20, 30, 0)])
    twig = vessel_of("OM2a", "OM2", 5.0, [(10, 22, 0), (20, 10, 0)])
    found = without_way_back([lcx, before, behind, twig])
    if not cut:
        assert found == [lcx, before, behind, twig]
        return
    assert [v.name for v in found] == ["LCX", "OM1"]
    assert found[0].points_ras[-1] == pytest.approx([1.5, 32.0, 0.0], abs=2.0)
    assert len(found[0].points_ras) == len(found[0].distance_mm) == len(found[0].radius_mm)


def test_a_vein_that_an_artery_runs_on_into_is_cut_off_and_told():
    lcx = HEART["LCX"].points()
    end = lcx[-1] + np.array([3.0, -1.0, -2.0])
    beside = lcx[::-1][10:120:5] + np.array([1.0, 3.6, -1.0])
    vein = Tube(tuple(map(tuple, [lcx[-1], end, *beside])), 1.2, 1.4)
    seg = coarse([HEART[n] for n in ("LM", "LAD", "LCX", "RCA")] + [vein], (0.5, 0.5, 0.5))
    tree = extract_tree(seg)
    assert "touching_vein" in tree.flags and {v.name for v in tree.vessels} == MAIN
    assert tree.vessel("LCX").length_mm == pytest.approx(0.2 * len(lcx), abs=6.0)


def test_slices_six_times_as_thick_as_pixels_still_give_the_main_vessels():
    tree = extract_tree(coarse([HEART[n] for n in ("LM", "LAD", "LCX", "RCA")], (0.35, 0.35, 2.1)))
    assert {v.name for v in tree.vessels} >= MAIN
    assert AORTA[1] - 1.5 < np.hypot(*tree.vessel("RCA").points_ras[0][:2]) < AORTA[1] + 1.5
