"""Set the coronary tree beside other skeletons and other ways to find paths, and print Markdown tables.

    python Testing/benchmark_skeletons.py [--hearts 1 2 3] [--rows speed growth paths]

- `speed`: the real tree `coronary_tree_ccta` and hearts of the verification set T4 with their true lumen, on voxels of
  0.4 x 0.4 x 0.5 mm in maps of 512 x 512 x 300, ours to the named tree beside kimimaro and scikit-image to a nameless
  skeleton. Every method runs in a process of its own, which gives it its own peak of memory.
- `growth`: the time on the real tree and on its right half, in maps of different size.
- `paths`: the minimal paths alone, from the ostia through the lumen of the real tree, in four libraries.

How near a skeleton is to the truth is the mean distance of its points to the known *lines*: the analytic centerlines
of a heart, or VMTK's polylines of the real tree, both read every 0.02 mm. The nearest of VMTK's *points*, given too, is
no measure of place: they lie 0.24 mm apart, with holes where the radius is below 0.75 mm, so that a path exactly on
the lines would be 0.07 mm away from them, and a near path loses more by that than a far one. VMTK's lines are not the
truth either, but the way of the largest spheres through a surface; the analytic lines are.

kimimaro and scikit-fmm are no dependencies of this product: without them their rows say so. User CPU seconds are what
counts on a machine that does something else as well.
"""

import argparse
import importlib.util
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from benchmark_centerline import MODEL, heart, machine, real_data, real_segmentation, true_labels
from scipy.spatial import cKDTree

from StenosisDetectionLib.centerline import extract_tree
from StenosisDetectionLib.centerline.grid import build_grid
from StenosisDetectionLib.centerline.ostia import find_ostia
from StenosisDetectionLib.centerline.paths import components, lumen_graph, reach
from StenosisDetectionLib.centerline.smoothing import resample
from StenosisDetectionLib.geometry import shifted, spacing_of, transform_points
from StenosisDetectionLib.phantom.truth import AORTA_LABEL, LUMEN_LABEL
from StenosisDetectionLib.study import LumenSegmentation

BIG_KJI = (300, 512, 512)
ROWS = ("speed", "growth", "paths")
PEERS = {"kimimaro": "kimimaro", "scikit-image skeletonize": "skimage"}


def big_map(number: int | None) -> tuple[LumenSegmentation, list[np.ndarray], np.ndarray]:
    """Return a segmentation in a map of 512 x 512 x 300 voxels, its known centerlines and points asked for.

    It is a heart of T4, or the real tree for None.
    """
    if number is None:
        segmentation, lines, points, _ = real_segmentation()
    else:
        plan = heart(number)
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


def compare_speed(maps: list[int | None]) -> None:
    """Print ours beside the peers on maps of 512 x 512 x 300: hearts of T4 by number, None for the real tree."""
    print("\n### Label map of 512 x 512 x 300 to the tree (ours: named; peers: nameless voxels)\n")
    print("| map | method | user s | wall s | mean distance of its points to the known lines mm | times ours | to the "
          "points of the lines mm | of the points of the lines to its points mm | points within 1.5 mm % "
          "| peak MB (with the map alone) |\n"
          "|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for number in maps:
        name = "real tree" if number is None else f"T4-{number:03d}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "map.pickle"
            path.write_bytes(pickle.dumps(big_map(number)))
            ours = _measured(path, "ours")
            for method in ("ours", *PEERS):
                row = ours if method == "ours" else _measured(path, method)
                print(f"| {name} | {method} | {row if isinstance(row, str) else _cells(row, ours)} |", flush=True)


def _measured(path: Path, method: str) -> dict[str, float] | str:
    """Return the numbers of one method on a map in a file, measured in a process of its own, or why there are none."""
    if method in PEERS and importlib.util.find_spec(PEERS[method]) is None:
        return "not installed | | | | | | |"
    command = [sys.executable, __file__, "--method", method, "--map", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1]} | | | | | | |"
    numbers: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return numbers


def _cells(row: dict[str, float], ours: dict[str, float] | str) -> str:
    times = "" if isinstance(ours, str) else f"{row['mean_mm'] / ours['mean_mm']:.1f}"
    places = f"{row['mean_mm']:.3f} | {times} | {row['points_mm']:.3f} | {row['known_mm']:.3f}"
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
    parser.add_argument("--hearts", type=int, nargs="*", default=[1, 2, 3], help="numbers of hearts of T4")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--method", choices=("ours", *PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--map", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method:
        run_method(options.map, options.method)
        return
    print(machine())
    real = real_data()
    if "speed" in options.rows:
        compare_speed([*options.hearts, *([None] if real else [])])
    if "growth" in options.rows and real:
        compare_growth()
    if "paths" in options.rows and real:
        compare_paths()


if __name__ == "__main__":
    main()
