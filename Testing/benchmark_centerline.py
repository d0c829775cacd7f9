"""Measure the coronary tree against known centerlines and beside other skeletons, and print Markdown tables.

    python Testing/benchmark_centerline.py [--hearts 10] [--rows hearts real speed growth paths]

- `hearts`: hearts of the verification set T4 (held-out families), their true lumen on voxels of 0.4 x 0.4 x 0.5 mm,
  without and with the small unnamed side branches; scores as `evaluation.centerline` defines them.
- `real`: the real tree `coronary_tree_ccta` on the same voxels against the centerlines that VMTK made of its surface.
- `speed`: the real tree and one heart in maps of 512 x 512 x 300 voxels, ours to the named tree beside kimimaro and
  scikit-image to a nameless skeleton; mean distance of the points of each to the known centerlines, and of the points
  of those lines (VMTK's where its radius is above 0.75 mm) to the points of each. Every method runs in a process of its
  own, which gives it its own peak of memory. The distance to the nearest *point* of the known lines is given as well,
  as it was before: VMTK's points lie 0.24 mm apart, with holes where the radius is below 0.75 mm, so that even a path
  exactly on the lines would have about 0.07 mm, which hides part of the difference.
- `growth`: the time on the real tree and on its right half, in maps of different size.
- `paths`: the minimal paths alone, from the ostia through the lumen of the real tree, in four libraries.

kimimaro and scikit-fmm are no dependencies of this product: without them their rows say so. User CPU seconds are what
counts on a machine that does something else as well.
"""

import argparse
import importlib.util
import json
import os
import pickle
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from conftest import test_data_folder
from scipy.spatial import cKDTree

from StenosisDetectionLib.centerline import extract_tree
from StenosisDetectionLib.centerline.grid import build_grid
from StenosisDetectionLib.centerline.ostia import find_ostia
from StenosisDetectionLib.centerline.paths import components, lumen_graph, reach
from StenosisDetectionLib.centerline.smoothing import resample
from StenosisDetectionLib.evaluation.centerline import TreeScores, compare_trees
from StenosisDetectionLib.geometry import affine, shifted, spacing_of, transform_points
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
BIG_KJI = (300, 512, 512)
FIRST_SEED = 700_000
"""Seed of the first heart of T4."""

MODEL = ModelInfo("truth", "1")
ROWS = ("hearts", "real", "speed", "growth", "paths")
PEERS = {"kimimaro": "kimimaro", "scikit-image skeletonize": "skimage"}


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


def big_map(name: str) -> tuple[LumenSegmentation, list[np.ndarray], np.ndarray]:
    """Return a segmentation in a map of 512 x 512 x 300 voxels, its known centerlines and points asked for."""
    if name == "real tree":
        segmentation, lines, points, _ = real_segmentation()
    else:
        plan = heart(1)
        labels, matrix = true_labels(plan)
        segmentation = LumenSegmentation(labels == LUMEN_LABEL, labels == AORTA_LABEL, matrix, MODEL)
        lines = [v.points_ras for v in plan.vessels]
        points = np.concatenate(lines)
    return _in_map(segmentation, BIG_KJI), lines, points


def _in_map(segmentation: LumenSegmentation, size_kji: tuple[int, ...]) -> LumenSegmentation:
    """Return a segmentation in the middle of a larger map."""
    shape = segmentation.lumen.shape
    first = [(n - m) // 2 for n, m in zip(size_kji, shape, strict=True)]
    place = tuple(slice(a, a + m) for a, m in zip(first, shape, strict=True))
    lumen, aorta = np.zeros(size_kji, bool), np.zeros(size_kji, bool)
    lumen[place], aorta[place] = segmentation.lumen, segmentation.aorta
    matrix = shifted(segmentation.ijk_to_ras, (-first[2], -first[1], -first[0]))
    return LumenSegmentation(lumen, aorta, matrix, MODEL)


def skeleton_of(segmentation: LumenSegmentation, method: str) -> tuple[Callable[[], object], Callable[..., np.ndarray]]:
    """Return what computes a skeleton, and what gives its points in RAS."""
    if method == "ours":
        return lambda: extract_tree(segmentation), lambda tree: np.concatenate([v.points_ras for v in tree.vessels])
    if method == "kimimaro":
        import kimimaro

        spacing = spacing_of(segmentation.ijk_to_ras)[::-1]
        labels = segmentation.lumen.astype(np.uint8)
        options = {"scale": 1.5, "const": 1.5, "pdrf_scale": 100000, "pdrf_exponent": 4}
        options |= {"soma_detection_threshold": 1e9, "soma_acceptance_threshold": 1e9}
        settings = {"anisotropy": spacing, "dust_threshold": 200, "parallel": 1, "progress": False}
        offset = segmentation.ijk_to_ras[:3, :3] / np.array(spacing[::-1])
        return (
            lambda: kimimaro.skeletonize(labels, options, **settings),
            lambda found: (
                np.concatenate([s.vertices for s in found.values()])[:, ::-1] @ offset.T
                + segmentation.ijk_to_ras[:3, 3]
            ),
        )
    from skimage.morphology import skeletonize

    return (
        lambda: skeletonize(segmentation.lumen),
        lambda found: transform_points(segmentation.ijk_to_ras, np.argwhere(found)[:, ::-1]),
    )


def run_method(path: Path, method: str) -> None:
    """Measure one method on a map that was put into a file, in this process, and print its numbers as JSON."""
    segmentation, lines, points = pickle.loads(path.read_bytes())
    small = tuple(slice(n // 2, n // 2 + 64) for n in BIG_KJI)
    part = LumenSegmentation(segmentation.lumen[small], segmentation.aorta[small], np.eye(4), MODEL)
    skeleton_of(part, method)[0]()  # imports and compiles
    compute, points_of = skeleton_of(segmentation, method)
    before = _peak_mb()
    best: dict[str, float] = {}
    for _ in range(3):
        wall, user = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
        result = compute()
        user = resource.getrusage(resource.RUSAGE_SELF).ru_utime - user
        if not best or user < best["user"]:
            best = {"user": user, "wall": time.perf_counter() - wall}
    memory = _peak_mb()
    found = points_of(result)
    aorta = cKDTree(transform_points(segmentation.ijk_to_ras, np.argwhere(segmentation.aorta)[::7, ::-1]))
    found = found[aorta.query(found)[0] > 2.0]
    to_lines = cKDTree(np.concatenate([resample(line, 0.02) for line in lines])).query(found)[0]
    to_points = cKDTree(points).query(found)[0]
    # Twigs and thin ends, which the known lines lack, are no errors of place.
    inside = to_lines < 1.5
    best |= {
        "mean_mm": float(to_lines[inside].mean()),
        "points_mm": float(to_points[to_points < 1.5].mean()),
        "known_mm": float(cKDTree(found).query(points)[0].mean()),
        "matched": float(inside.mean()),
        "memory_mb": memory,
        "before_mb": before,
    }
    print(json.dumps(best))


def _peak_mb() -> float:
    """Return the peak of memory of this process: ru_maxrss would count that of the process that started it, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return float(line.split()[1]) / 1024


def compare_speed() -> None:
    """Print ours beside the peers on maps of 512 x 512 x 300."""
    print("\n### Label map of 512 x 512 x 300 to the tree (ours: named; peers: nameless voxels)\n")
    print("| map | method | user s | wall s | mean distance of its points to the known lines mm | to the points of the "
          "lines mm | of the points of the lines to its points mm | points within 1.5 mm % "
          "| peak MB (with the map alone) |\n"
          "|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for name in ("real tree", "T4-001"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "map.pickle"
            path.write_bytes(pickle.dumps(big_map(name)))
            for method in ("ours", *PEERS):
                print(f"| {name} | {method} | {_speed_row(path, method)} |", flush=True)


def _speed_row(path: Path, method: str) -> str:
    """Return the numbers of one method on a map in a file as cells, measured in a process of its own."""
    if method in PEERS and importlib.util.find_spec(PEERS[method]) is None:
        return "not installed | | | | | |"
    command = [sys.executable, __file__, "--method", method, "--map", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1]} | | | | | |"
    row = json.loads(done.stdout.strip().splitlines()[-1])
    places = " | ".join(f"{row[key]:.3f}" for key in ("mean_mm", "points_mm", "known_mm"))
    memory = f"{row['memory_mb']:.0f} ({row['before_mb']:.0f})"
    return f"{row['user']:.2f} | {row['wall']:.2f} | {places} | {100 * row['matched']:.1f} | {memory}"


def compare_growth() -> None:
    """Print how the time grows with the volume of the map, and with the vessels in it."""
    segmentation = real_segmentation()[0]
    tree = extract_tree(segmentation)
    right = [v for v in tree.vessels if v.name == "RCA" or v.parent == "RCA"]
    away = cKDTree(np.concatenate([v.points_ras for v in right]))
    voxels = np.argwhere(segmentation.lumen)
    near = away.query(transform_points(segmentation.ijk_to_ras, voxels[:, ::-1]))[0] < 4.0
    half = np.zeros_like(segmentation.lumen)
    half[tuple(voxels[near].T)] = True
    print("\n### Growth: the real tree and its right half in maps of different size\n")
    print("| map | voxels, million | vessels mm | user s |\n|---|---|---|---|")
    for name, lumen, size in (
        ("whole tree, cropped", segmentation.lumen, segmentation.lumen.shape),
        ("whole tree", segmentation.lumen, BIG_KJI),
        ("whole tree", segmentation.lumen, (2 * BIG_KJI[0], *BIG_KJI[1:])),
        ("right coronary artery alone", half, BIG_KJI),
    ):
        padded = _in_map(replace(segmentation, lumen=lumen), size)
        times = []
        for _ in range(3):
            user = resource.getrusage(resource.RUSAGE_SELF).ru_utime
            tree = extract_tree(padded)
            times.append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - user)
        length = sum(v.length_mm for v in tree.vessels)
        print(f"| {name} | {padded.lumen.size / 1e6:.0f} | {length:.0f} | {min(times):.2f} |", flush=True)


def compare_paths() -> None:
    """Print the time of the minimal paths from the ostia in four libraries, on the cropped map of the real tree."""
    segmentation = real_segmentation()[0]
    grid = build_grid(segmentation)
    graph = lumen_graph(grid)
    ostia = find_ostia(grid, graph, components(grid, graph), np.zeros((0, 3)))
    sources = np.array([o.node for o in ostia])
    spacing = spacing_of(grid.ijk_to_ras)[::-1]
    inside = grid.index >= 0
    cost = np.where(inside, 1.0 / (grid.depth_map + 0.1) ** 2, 1e6)
    start = [tuple(int(n) for n in grid.ijk[node][::-1]) for node in sources]

    def fast_marching() -> None:
        import skfmm

        zero = np.ones(inside.shape)
        for place in start:
            zero[place] = -1.0
        skfmm.travel_time(np.ma.MaskedArray(zero, ~inside), 1.0 / cost, dx=spacing)

    def minimal_cost_path() -> None:
        from skimage.graph import MCP_Geometric

        MCP_Geometric(np.where(inside, cost, -1.0), fully_connected=True, sampling=spacing).find_costs(start)

    def torch_sweeps() -> None:
        import torch

        size = len(grid.ras)
        first = torch.from_numpy(np.concatenate([graph.first, graph.second]))
        second = torch.from_numpy(np.concatenate([graph.second, graph.first]))
        weight = torch.from_numpy(np.concatenate([graph.cost, graph.cost]))
        value = torch.full((size,), torch.inf, dtype=torch.float64)
        value[torch.from_numpy(sources)] = 0.0
        while True:
            better = value.scatter_reduce(0, second, value[first] + weight, "amin")
            if torch.equal(better, value):
                break
            value = better

    print(f"\n### Minimal paths from the ostia, real tree, {len(grid.ras)} lumen voxels in a box of {inside.size}\n")
    print("| library | user s |\n|---|---|")
    for name, module, run in (
        ("scipy.sparse.csgraph.dijkstra, lumen voxels only", "scipy", lambda: reach(grid, graph, sources)),
        ("scikit-image MCP_Geometric, box", "skimage", minimal_cost_path),
        ("scikit-fmm travel_time, box", "skfmm", fast_marching),
        ("torch, Bellman-Ford sweeps, lumen voxels only", "torch", torch_sweeps),
    ):
        if importlib.util.find_spec(module) is None:
            print(f"| {name} | not installed |")
            continue
        times: list[float] = []
        while len(times) < 3 and sum(times) < 5.0:
            user = resource.getrusage(resource.RUSAGE_SELF).ru_utime
            run()
            times.append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - user)
        print(f"| {name} | {min(times):.3f} |", flush=True)


def main() -> None:
    """Run the chosen rows."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--hearts", type=int, default=10, help="number of hearts of T4 (of 100)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--method", choices=("ours", *PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--map", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method:
        run_method(options.map, options.method)
        return
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}; 1-minute load "
          f"{os.getloadavg()[0]:.1f} at the start")  # fmt: skip
    real = Path(test_data_folder() / "coronary_tree_ccta").is_dir()
    if "hearts" in options.rows:
        score_hearts(options.hearts)
    for row, run in (
        ("real", score_real),
        ("speed", compare_speed),
        ("growth", compare_growth),
        ("paths", compare_paths),
    ):
        if row not in options.rows:
            continue
        if real:
            run()
        else:
            print(f"\n{row}: skipped, the real data is absent (set STENOSIS_TEST_DATA)")


if __name__ == "__main__":
    main()
