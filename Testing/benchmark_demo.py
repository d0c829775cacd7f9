"""Measure the demo study and print truth beside measurement, as Markdown.

    python Testing/benchmark_demo.py

Truth are the stenoses pressed into the real tree, relative to that tree's own diameter at the place. The tree has
narrowings of its own, which are not in the list of truth: what is found beside the list is printed as "not pressed",
with the diameter of the real tree there.
"""

import numpy as np
from scipy.spatial import cKDTree

from StenosisDetectionLib import AnalysisOptions, analyze
from StenosisDetectionLib.phantom import Phantom, demo_study
from StenosisDetectionLib.study import Lesion, StudyResult

MATCH_MM = 5.0
"""A lesion is that of the truth when their throats are this near."""


def compare(title: str, phantom: Phantom, study: StudyResult) -> None:
    """Print one table."""
    print(f"\n### {title}\n")
    print("| vessel | plaque | true DS % | measured DS % [90 %] | true MLD mm | measured MLD mm |")
    print("|---|---|---|---|---|---|")
    rest: list[Lesion] = list(study.lesions)
    for truth in phantom.truth.lesions:
        found = min(rest, key=lambda one: distance(one, truth.position_ras), default=None)
        if found is None or distance(found, truth.position_ras) > MATCH_MM:
            measured = ("missed", "")
        else:
            rest.remove(found)
            low, high = found.diameter_stenosis_interval_90
            measured = (
                f"{found.diameter_stenosis_percent:.0f} [{low:.0f}-{high:.0f}]",
                f"{found.minimal_lumen_diameter_mm:.2f}",
            )
        print(
            f"| {truth.vessel} at {truth.throat_mm:.0f} mm | {truth.plaque} | {truth.diameter_stenosis_percent:.0f} "
            f"| {measured[0]} | {truth.minimal_lumen_diameter_mm:.2f} | {measured[1]} |"
        )
    points = np.concatenate([vessel.points_ras for vessel in phantom.truth.vessels])
    diameters = np.concatenate([vessel.diameter_mm for vessel in phantom.truth.vessels])
    true_tree = cKDTree(points)
    for lesion in rest:
        at = true_tree.query(lesion.position_ras)[1]
        print(
            f"| {lesion.segment}, not pressed | {lesion.plaque.type} | | {lesion.diameter_stenosis_percent:.0f} "
            f"| {diameters[at]:.2f} | {lesion.minimal_lumen_diameter_mm:.2f} |"
        )
    print("\n| vessel | points | bias mm | SD mm | mean distance to the true centerline mm |\n|---|---|---|---|---|")
    for vessel, profile in zip(study.tree.vessels, study.profiles, strict=True):
        away, at = true_tree.query(vessel.points_ras)
        good = (np.array(profile.quality) == "ok") & (away < 1.0) & np.isfinite(diameters[at])
        error = profile.diameter_mm[good] - diameters[at][good]
        if good.any():
            print(f"| {vessel.name} | {good.sum()} | {error.mean():+.2f} | {error.std():.2f} | {away.mean():.2f} |")
    times = ", ".join(f"{name} {seconds:.1f}" for name, seconds in study.timing_s.items())
    print(f"\nSeconds: {times}. Peak memory: {study.peak_memory_mb:.0f} MB.")


def distance(lesion: Lesion, position_ras: tuple[float, float, float]) -> float:
    """Return the distance of a lesion's throat to a position in mm."""
    return float(np.linalg.norm(np.subtract(lesion.position_ras, position_ras)))


def main() -> None:
    """Render the demo study, measure it with and without the true lumen, and print both."""
    phantom = demo_study()
    options = AnalysisOptions(device="cpu")
    compare("Everything found by the software", phantom, analyze(phantom.volume, options))
    compare("In the true lumen", phantom, analyze(phantom.volume, options, segmentation=phantom.lumen))


if __name__ == "__main__":
    main()
