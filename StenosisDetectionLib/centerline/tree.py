"""The vessel tree: a lumen segmentation comes in, named vessels sampled every 0.25 mm go out, in RAS and mm."""

import numpy as np

from ..geometry import spacing_of
from ..progress import StageReport, no_report
from ..study import CENTERLINE_SPACING_MM, CTVolume, LumenSegmentation, Vessel, VesselTree
from .courses import Course, SectionTree, joined_nodes
from .crossings import uncrossed
from .crux import end_at_crux
from .gaps import bridge_gaps
from .grid import LumenGrid, build_grid, wall_radius
from .hearts import SEVERAL, holds_another_tree, of_one_heart
from .loops import looped_sections
from .naming import name_courses
from .orientation import orientation_doubtful
from .ostia import Ostium, estimate_ostia, find_ostia, ostium_marks
from .paths import Section, components, lumen_graph, reach, trace_sections
from .segments import dominance_of, with_segments
from .smoothing import (
    LARGEST_MOVE,
    START_WEIGHT,
    TRACED_WAVE_MM,
    center_path,
    fork_weights,
    path_radius,
    smooth_path,
    straighten_tip,
)
from .surroundings import with_surroundings
from .veins import without_way_back

LARGEST_LUMEN_ML = 150.0
"""Coronary lumen is 2 to 15 ml; a mask this large holds heart chambers or the aorta."""

THICK_MM, THICK_PART = 4.0, 0.25
"""Where more than this part of the mask lies this deep, it is mostly a chamber: arteries are at most 4 mm in radius."""

ESTIMATED_OSTIUM_GAP_MM = 15.0
"""Where an aorta is known, an ostium is estimated only this close to it."""


def extract_tree(
    segmentation: LumenSegmentation, report: StageReport = no_report, volume: CTVolume | None = None
) -> VesselTree:
    """Return the named coronary tree of a lumen segmentation on any grid.

    Minimal paths under a centering cost from the ostia on the aorta (TEASAR), centered, smoothed and resampled. Where
    the segmentation tells lumen fraction and ostia as a network sees them, they guide the paths. `volume` is the CT,
    whose grid tells what lies outside of the field of view.

    Flags of the tree: `no_lumen`, `lumen_too_large`, `no_vessel` and `several_hearts_undecided` come with an empty
    tree; `ostium_estimated` (no aorta), `pieces_without_ostium` (lumen that is connected to no ostium and left out),
    `several_hearts` (the tree of another heart was left out), `left_not_found`, `right_not_found` or, outside of the
    field of view, `left_not_imaged`, `right_not_imaged`; `no_left_main`, `separate_left_ostia`, `common_ostium` (of
    left and right), `one_sinus` (both ostia), `trees_touch`, `orientation_doubtful` (the anatomy looks mirrored or
    turned), `dominance_inferred`, `balanced_inferred`, `touching_vein` (left out).
    Flags of a vessel: `bridged` (crosses a gap of the mask), `loop_cut` (beside it a loop of the lumen was broken),
    `ostium_gap`, `ostium_estimated`, `trees_touch`, `leaves_field_of_view`.
    """
    report(0.0, "reading the lumen mask")
    volume_mm3 = np.count_nonzero(segmentation.lumen) * float(np.prod(spacing_of(segmentation.ijk_to_ras)))
    if volume_mm3 == 0.0:
        return VesselTree((), flags=("no_lumen",))
    if volume_mm3 > 1000.0 * LARGEST_LUMEN_ML:
        return VesselTree((), flags=("lumen_too_large",))
    grid = build_grid(segmentation)
    if len(grid.ras) == 0:
        return VesselTree((), flags=("no_lumen",))
    # What lies deep in the aorta is not thick by itself.
    if float((grid.depth > THICK_MM).mean()) > THICK_PART and volume_mm3 > 4.0 / 3.0 * np.pi * THICK_MM**3:
        return VesselTree((), flags=("lumen_too_large",))
    report(0.2, "connecting the lumen")
    graph = lumen_graph(grid)
    component = components(grid, graph)
    report(0.3, "finding the ostia")
    ostia, hearts = of_one_heart(
        grid, component, find_ostia(grid, graph, component, ostium_marks(segmentation)), volume
    )
    rooted = {int(component[o.node]) for o in ostia}
    graph, rooted = bridge_gaps(grid, graph, component, rooted)
    lost = np.setdiff1d(np.unique(component), list(rooted))
    estimated = _near_aorta(grid, estimate_ostia(grid, graph, component, lost))
    if hearts:  # what lies beside the aorta of the other heart stays out
        estimated = []
    if estimated and not ostia:
        estimated, hearts = of_one_heart(grid, component, estimated, volume)
        if not estimated:
            return VesselTree((), flags=hearts)
    if estimated:
        ostia += estimated
        graph, rooted = bridge_gaps(grid, graph, component, rooted | {int(component[o.node]) for o in estimated})
    if not ostia:
        return VesselTree((), flags=("no_vessel",))
    report(0.5, "tracing vessels")
    paths = reach(grid, graph, np.array([o.node for o in ostia]))
    sections = trace_sections(grid, graph, paths, lambda f, m: report(0.5 + 0.2 * f, m))
    if not sections:
        return VesselTree((), flags=("no_vessel",))
    sections, whole = uncrossed(grid, sections)
    section_tree = SectionTree(grid.ras, grid.depth, sections, lambda nodes: wall_radius(grid, grid.ras[nodes]))
    doubtful = orientation_doubtful(section_tree)
    naming = name_courses(section_tree)
    if not naming.courses:
        return VesselTree((), flags=("no_vessel",))
    if doubtful:
        naming.flags.append("orientation_doubtful")
    looped = looped_sections(grid, graph, sections) | whole
    for course in naming.courses:
        if looped.intersection(course.sections):
            course.flags.append("loop_cut")
    vessels: dict[str, Vessel] = {}
    for number, course in enumerate(naming.courses):
        report(0.7 + 0.3 * number / len(naming.courses), f"smoothing {course.name}")
        vessels[course.name] = _vessel(grid, sections, course, vessels, {o.node: o for o in ostia})
    flags = list(dict.fromkeys(naming.flags))
    flags += sorted({f for o in ostia for f in o.flags if f != "ostium_gap"})
    complete = not {"left_not_found", "right_not_found", "no_left_main"} & set(flags)
    if hearts or holds_another_tree(grid, component, rooted, complete):
        flags.append(SEVERAL)
    elif _large_pieces_lost(component, rooted, len(grid.ras)):
        flags.append("pieces_without_ostium")
    arteries = without_way_back(list(vessels.values()))
    if sum(len(v.points_ras) for v in arteries) < sum(len(v.points_ras) for v in vessels.values()):
        flags.append("touching_vein")
    finished, crux_flags = end_at_crux(arteries)
    flags = list(dict.fromkeys([*flags, *crux_flags]))
    tree = VesselTree(with_segments(finished, flags), dominance_of(finished, flags), tuple(flags))
    return with_surroundings(tree, grid.aorta, volume)


def _near_aorta(grid: LumenGrid, ostia: list[Ostium]) -> list[Ostium]:
    """Keep the estimated ostia that lie near the aorta, where one is known."""
    if grid.aorta is None:
        return ostia
    return [o for o in ostia if grid.aorta.query(o.point_ras)[0] <= ESTIMATED_OSTIUM_GAP_MM]


def _large_pieces_lost(component: np.ndarray, rooted: set[int], count: int) -> bool:
    """Whether more than a hundredth of the lumen is connected to no ostium."""
    return int(np.isin(component, list(rooted), invert=True).sum()) > 0.01 * count


def _vessel(
    grid: LumenGrid, sections: list[Section], course: Course, vessels: dict[str, Vessel], ostia: dict[int, Ostium]
) -> Vessel:
    """Return the vessel of a course, whose parent is already among the vessels."""
    nodes = joined_nodes(sections, course.sections)
    points = grid.ras[nodes]
    flags = [*course.flags]
    if any(sections[s].bridged for s in course.sections) or grid.bridged[nodes].any():
        flags.append("bridged")
    parent_name, parent_distance = None, None
    if course.parent is None:
        ostium = ostia[int(nodes[0])]
        start, fixed = ostium.point_ras, 0.0
        flags += ostium.flags
    else:
        parent = vessels[course.parent.name]
        parent_name = parent.name
        joint = int(np.argmin(np.linalg.norm(parent.points_ras - points[0], axis=1)))
        parent_distance = float(parent.distance_mm[joint])
        start, fixed = parent.points_ras[joint], float(parent.radius_mm[joint])
    points = np.concatenate([start[None], points[1:]])
    if not sections[course.sections[-1]].children:
        points = straighten_tip(grid, points)
    points = center_path(grid, points, fixed)
    forks = np.array([sections[s].nodes[-1] for s in course.sections if sections[s].children], dtype=np.int64)
    weights = fork_weights(points, grid.ras[forks], grid.depth[forks])
    if course.parent is not None:
        weights = np.minimum(weights, fork_weights(points, points[:1], np.array([fixed])))
        weights[0] = START_WEIGHT
    points = smooth_path(points, TRACED_WAVE_MM, weights, LARGEST_MOVE * grid.wall.query(points)[0])
    return Vessel(
        name=course.name,
        parent=parent_name,
        parent_distance_mm=parent_distance,
        points_ras=points,
        distance_mm=np.arange(len(points)) * CENTERLINE_SPACING_MM,
        radius_mm=path_radius(grid, points),
        flags=tuple(flags),
    )
