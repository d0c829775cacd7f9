"""Noise of segments, plaque volumes, pericoronary fat and severity of whole hearts against their truth, as Markdown.

    python Testing/benchmark_quality.py FOLDER [NUMBER ...]

Cases of the verification set T4 (0, 7 and 14 unless numbers are given) are rendered below FOLDER as far as they are not
there, and measured in their true lumen, so that the figures say nothing of the segmentation. A minute or two a case.
"""

import json
import sys
from pathlib import Path

import numpy as np

from StenosisDetectionLib import AnalysisOptions, analyze, read_volume
from StenosisDetectionLib.options import FAT_ATTENUATION
from StenosisDetectionLib.phantom.verification import make_cached, verification_cases
from StenosisDetectionLib.reading import read_label_map
from StenosisDetectionLib.stenosis import cad_rads, territory_of
from StenosisDetectionLib.study import StudyResult

SET, NUMBERS = "T4", (0, 7, 14)


def measured(folder: Path) -> tuple[dict, StudyResult]:
    """Return the truth of a case and its analysis in the true lumen."""
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    lumen = read_label_map(folder / "truth.seg.nrrd")
    options = AnalysisOptions(device="cpu", research=(FAT_ATTENUATION,))
    return truth, analyze(read_volume(folder / "heart.nrrd"), options, segmentation=lumen)


def true_category(truth: dict, study: StudyResult) -> str:
    """Return the CAD-RADS category of the lesions of the truth."""
    worst: dict[str, float] = {}
    for lesion in truth["lesions"]:
        known = any(vessel.name == lesion["vessel"] for vessel in study.tree.vessels)
        territory = (territory_of(study.tree, lesion["vessel"]) if known else "") or "LAD"
        worst[territory] = max(worst.get(territory, 0.0), lesion["diameter_stenosis_percent"])
    occluded = any(lesion["diameter_stenosis_percent"] >= 100 for lesion in truth["lesions"])
    return cad_rads(worst, plaque=bool(truth["lesions"]), occluded=occluded).category


def main(root: Path, numbers: tuple[int, ...]) -> None:
    """Print a line a case, and how the noise of segments lies to its standard error."""
    cases = verification_cases(SET)
    scores: list[float] = []
    print("| case | plaque, true | mm3 | calcium, true | mm3 | fat HU, true | LAD, LCX, RCA | category, true, found |")
    print("|---|---|---|---|---|---|---|---|")
    for number in numbers:
        truth, study = measured(make_cached(cases[number], root))
        plaque = sum(lesion["plaque_volume_mm3"] for lesion in truth["lesions"])
        calcium = sum(lesion["calcium_volume_mm3"] for lesion in truth["lesions"])
        fat = {one.vessel: one.attenuation_hu for one in study.research.fat} if study.research else {}
        shown = ", ".join("-" if fat.get(name) is None else f"{fat[name]:.0f}" for name in ("LAD", "LCX", "RCA"))
        patient = study.patient
        print(
            f"| {cases[number].name} | {plaque:.0f} | {patient.plaque_volume_mm3 or 0.0:.0f} | {calcium:.0f} "
            f"| {patient.calcified_volume_mm3 or 0.0:.0f} | {truth['attenuation_hu']['fat']:.0f} | {shown} "
            f"| {true_category(truth, study)}, {patient.cad_rads} |",
            flush=True,
        )
        scores += [
            (one.noise_hu - truth["noise_hu"]) / one.noise_error_hu
            for one in study.segment_quality
            if one.noise_hu is not None and one.noise_error_hu
        ]
    z = np.array(scores)
    if len(z):
        print(
            f"\nNoise of {len(z)} segments: (measured - true) / standard error, mean {z.mean():.2f}, SD {z.std():.2f}, "
            f"largest {np.abs(z).max():.2f}"
        )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), tuple(int(word) for word in sys.argv[2:]) or NUMBERS)
