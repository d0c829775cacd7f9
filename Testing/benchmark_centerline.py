"""Measure the coronary tree against known centerlines, and print Markdown tables.

    python Testing/benchmark_centerline.py [--hearts 10] [--rows hearts real]

- `hearts`: hearts of the verification set T4 (held-out families), their true lumen on voxels of 0.4 x 0.4 x 0.5 mm,
  without and with the small unnamed side branches; scores as `evaluation.centerline` defines them.
- `real`: the real tree `coronary_tree_ccta` on the same voxels against the centerlines that VMTK made of its surface.

`benchmark_skeletons.py` sets the tree beside other skeletons. User CPU seconds are what counts on a machine that does
something else as well.
"""

import argparse
import os
import platform
import resource
from pathlib import Path

import numpy as np
from conftest import test_data_folder
from scipy.spatial import cKDTree

from StenosisDetectionLib.centerline import extract_tree
from StenosisDetectionLib.evaluation.centerline import TreeScores, compare_trees
from StenosisDetectionLib.geometry import affine
from StenosisDetectionLib.phantom.heart import HeartPlan, plan_heart
from StenosisDetectionLib.phantom.heart.families import HELD_OUT_FAMILIES
from StenosisDetectionLib.phantom.render import rendered
from StenosisDetectionLib.phantom.truth import (
    AORTA_LABEL,
    LUMEN_LABEL,
    SIDE_BRANCH_LABEL,
    complete_diameter,
    lumen_factor,
)
from StenosisDetectionLib.study import LumenSegmentation, ModelInfo, Vessel, VesselSegment, VesselTree

SPACING_MM = (0.4, 0.4, 0.5)
FIRST_SEED = 700_000
"""Seed of the first heart of T4."""

MODEL = ModelInfo("truth", "1")
ROWS = ("hearts", "real")


def machine() -> str:
    """Return the machine and its load in words."""
    return (f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}; 1-minute load "
            f"{os.getloadavg()[0]:.1f} at the start")  # fmt: skip


def real_data() -> bool:
    """Return whether the real tree is there; print what is missing if not."""
    if Path(test_data_folder() / "coronary_tree_ccta").is_dir():
        return True
    print("\nthe real tree is skipped: its data is absent (set STENOSIS_TEST_DATA)")
    return False


def heart(number: int) -> HeartPlan:
    """Return a heart of T4."""
    return plan_heart(FIRST_SEED + number, HELD_OUT_FAMILIES[number % len(HELD_OUT_FAMILIES)])


def true_labels(plan: HeartPlan) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels [k, j, i] of lumen, aorta and side branches of a heart, and their affine."""
    points = np.concatenate([vessel.points_ras for vessel in plan.vessels] + [[[-20, -20, 0], [20, 25, 40]]])
    low, high = points.min(axis=0) - 6.0, points.max(axis=0) + 6.0
    size = np.ceil((high - low) / SPACING_MM).astype(int)
    matrix = affine(np.array(SPACING_MM), np.diag([-1.0, -1.0, 1.0]), np.array([high[0], high[1], low[2]]))
    scene = [part for part in plan.scene if part.label in (LUMEN_LABEL, AORTA_LABEL, SIDE_BRANCH_LABEL)]
    result = rendered(scene, (int(size[0]), int(size[1]), int(size[2])), matrix, (0.3, 0.3, 0.35), 0.0)
    return result.labels, matrix


def true_tree(plan: HeartPlan) -> VesselTree:
    """Return the truth of a heart as a tree, its radii with the lesions."""
    vessels = []
    for v in plan.vessels:
        radius = 0.5 * complete_diameter(v) * lumen_factor(v, plan.lesions)
        segments = tuple(VesselSegment("SCCT", number, "", "", a, b, 1.0) for number, a, b in v.segments)
        vessels.append(Vessel(v.name, v.parent, v.parent_distance_mm, v.points_ras, v.distance_mm, radius, segments))
    return VesselTree(tuple(vessels), plan.dominance)


def score_hearts(count: int) -> None:
    """Print the scores of hearts with their true lumen."""
    print(f"\n### T4, true lumen, {count} hearts, 0.4 x 0.4 x 0.5 mm\n")
    print("| heart | dominance, true | OV % | OF % | OT % | AI mm | branches found | false | ostia mm | names % "
          "| segments % | user s |\n|---|---|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    totals: dict[str, list[TreeScores]] = {"without": [], "with": []}
    right = 0
    for number in range(count):
        plan = heart(number)
        labels, matrix = true_labels(plan)
        reference = true_tree(plan)
        for kind, side in (("without", False), ("with", True)):
            lumen = (labels == LUMEN_LABEL) | ((labels == SIDE_BRANCH_LABEL) if side else False)
            start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
            tree = extract_tree(LumenSegmentation(lumen, labels == AORTA_LABEL, matrix, MODEL))
            seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - start
            scores = compare_trees(tree, reference)
            totals[kind].append(scores)
            if side:
                continue
            right += tree.dominance == reference.dominance
            ostia = ", ".join("missed" if o.distance_mm is None else f"{o.distance_mm:.1f}" for o in scores.ostia)
            print(f"| T4-{number:03d} {plan.family} | {tree.dominance}, {plan.dominance} | {_scores([scores])} "
                  f"| {ostia} | {_names([scores])} | {seconds:.2f} |", flush=True)  # fmt: skip
    for kind, scores in totals.items():
        ostia = [o.distance_mm for s in scores for o in s.ostia if o.distance_mm is not None]
        known = f"{right} of {count} right" if kind == "without" else ""
        print(f"| all, {kind} small side branches | {known} | {_scores(scores)} | {np.mean(ostia):.2f} "
              f"| {_names(scores)} | |")  # fmt: skip


def _scores(scores: list[TreeScores]) -> str:
    """Return OV, OF, OT, AI, branches and false branches as cells: means over paths, sums over branches."""
    paths = [p.scores for s in scores for p in s.paths]
    overlap, first, accuracy = (
        np.nanmean([np.nan if x is None else x for x in (getattr(p, name) for p in paths)])
        for name in ("overlap", "overlap_first_error", "accuracy_inside_mm")
    )
    relevant = np.mean([p.overlap_relevant for p in paths if p.overlap_relevant is not None])
    found, asked = sum(s.branches_found for s in scores), sum(s.branches for s in scores)
    false = sum(s.false_branches for s in scores) / len(scores)
    return (f"{100 * overlap:.1f} | {100 * first:.1f} | {100 * relevant:.1f} | {accuracy:.3f} | {found} of {asked} "
            f"| {false:.2f}")  # fmt: skip


def _names(scores: list[TreeScores]) -> str:
    names = sum(s.named_mm for s in scores) / max(sum(s.main_mm for s in scores), 1e-9)
    segments = sum(s.segment_named_mm for s in scores) / max(sum(s.segment_mm for s in scores), 1e-9)
    return f"{100 * names:.1f} | {100 * segments:.1f}"


def real_segmentation() -> tuple[LumenSegmentation, list[np.ndarray], np.ndarray, np.ndarray]:
    """Return the real tree as a mask with its aorta, VMTK's lines outside of it in RAS, their points and radii.

    Points and radii are those above 0.75 mm.
    """
    from test_centerline_real import reference, segmentation

    masks = segmentation._get_wrapped_function()(test_data_folder())
    lines = reference._get_wrapped_function()(test_data_folder(), masks)
    points, radii = (np.concatenate([line[n] for line in lines]) for n in (1, 2))
    return masks, [line[1] for line in lines], points[radii > 0.75], radii[radii > 0.75]


def score_real() -> None:
    """Print the distances of the real tree to VMTK's centerlines."""
    segmentation, _, points, radii = real_segmentation()
    tree = extract_tree(segmentation)
    found = cKDTree(np.concatenate([v.points_ras for v in tree.vessels]))
    radius = np.concatenate([v.radius_mm for v in tree.vessels])
    distance, nearest = found.query(points)
    print("\n### coronary_tree_ccta, 0.4 x 0.4 x 0.5 mm, against VMTK where its radius is above 0.75 mm\n")
    print(f"Mean distance {distance.mean():.3f} mm, 95 % below {np.percentile(distance, 95):.3f} mm; radius error "
          f"{np.abs(radius[nearest] - radii).mean():.3f} mm mean absolute, {(radius[nearest] - radii).mean():+.3f} mm "
          f"bias; dominance {tree.dominance}; flags {', '.join(tree.flags) or 'none'}.\n")  # fmt: skip
    for v in tree.vessels:
        print(f"- {v.name} from {v.parent or 'the aorta'}, {v.length_mm:.0f} mm {' '.join(v.flags)}")


def main() -> None:
    """Run the chosen rows."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--hearts", type=int, default=10, help="number of hearts of T4 (of 100)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    options = parser.parse_args()
    print(machine())
    if "hearts" in options.rows:
        score_hearts(options.hearts)
    if "real" in options.rows and real_data():
        score_real()


if __name__ == "__main__":
    main()
