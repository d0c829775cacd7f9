"""From a CT volume to findings: the order of the stages, their progress and their time.

The aorta gives contrast, noise and point spread; a model segments the coronary lumen, or the user gives it; its
centerlines are named; cross-sections on the original voxels measure the lumen; the healthy reference turns diameters
into stenoses, and these into CAD-RADS 2.0.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np

from .centerline import extract_tree
from .centerline.filled_gaps import without_filled_gaps
from .devices import resolve_device
from .labels import label_study
from .lumen import (
    VolumeSampler,
    coronary_attenuation,
    estimate_point_spread,
    measure_lumen,
    segment_quality,
    study_contrast_to_noise,
)
from .options import AnalysisOptions
from .progress import ProgressCallback, StageReport, stage_report
from .reading import check_contrast, check_given_lumen, check_volume
from .segmentation import Aorta, find_aorta, segment, segmentation_from_labels
from .stenosis import assess_patient, find_lesions, fit_references, research_findings
from .stenosis.cutoff import flag_abrupt_ends
from .stenosis.napkin_ring import with_napkin_rings
from .stenosis.plaque import believed_features, voltage_warnings
from .study import CTVolume, LabelMap, Quality, StudyResult
from .version import __version__

TYPICAL_NOISE_HU = 30.0
"""Stands in for the noise in HU where neither an aorta nor soft tissue was found to measure it in."""

_NO_AORTA = "the ascending aorta was not found: noise and contrast are estimated from other tissue"

_STAGES = {
    "aorta": (0.0, 0.12),
    "segmentation": (0.12, 0.55),
    "centerline": (0.55, 0.68),
    "lumen": (0.68, 0.95),
    "stenosis": (0.95, 1.0),
}


def analyze(
    volume: CTVolume,
    options: AnalysisOptions | None = None,
    progress: ProgressCallback | None = None,
    segmentation: LabelMap | None = None,
) -> StudyResult:
    """Analyze one study.

    Parameters
    ----------
    volume : the CT in HU.
    options : how; the defaults suit an ordinary CCTA.
    progress : called with a `Progress`; `print` will do. It may raise `Cancelled`.
    segmentation : label map of the coronary lumen in any grid; the model is then not run.

    Returns
    -------
    StudyResult; its tree has no vessels when no coronary artery was found.

    Raises
    ------
    InputError : the volume or the label map cannot be used.
    ModelError : the model cannot run here.
    Cancelled : the progress callback asked to stop.
    """
    options = options or AnalysisOptions()
    timing: dict[str, float] = {}
    begin = time.perf_counter()

    @contextmanager
    def stage(name: str) -> Iterator[StageReport]:
        started = time.perf_counter()
        report = stage_report(progress, name, *_STAGES[name])
        report(0.0, "")
        yield report
        timing[name] = time.perf_counter() - started

    volume = check_volume(volume)
    device = resolve_device(options.device)
    digest = voxels_sha256(volume)

    with stage("aorta") as report:
        aorta = find_aorta(volume, report)
        # A given lumen shows the contrast itself, even where the aorta lies outside of the volume.
        contrast_warnings = check_contrast(aorta.attenuation_hu) if segmentation is None else ()
        noise_hu = aorta.noise_hu if np.isfinite(aorta.noise_hu) else TYPICAL_NOISE_HU
    with stage("segmentation") as report:
        if segmentation is None:
            lumen = segment(volume, aorta, options, device, report)
        else:
            lumen = segmentation_from_labels(segmentation, volume, aorta)
    with stage("centerline") as report:
        tree = extract_tree(lumen, report, volume)
    with stage("lumen") as report:
        sampler = VolumeSampler(volume, device)
        point_spread = estimate_point_spread(volume, aorta.mask, aorta.ijk_to_ras, aorta.attenuation_hu, sampler)
        blood_hu, blood_warnings = _blood_attenuation(aorta, coronary_attenuation(tree, sampler))
        if segmentation is not None:
            contrast_warnings = check_given_lumen(blood_hu, aorta.attenuation_hu if aorta.found else None)
        profiles = measure_lumen(volume, tree, blood_hu, noise_hu, point_spread, sampler, report, None, lumen)
        tree = without_filled_gaps(flag_abrupt_ends(tree, profiles, lumen, sampler), profiles, lumen)
        seen = segment_quality(volume, tree, profiles, point_spread.sigma_mm, noise_hu)
    with stage("stenosis") as report:
        smallest = options.minimum_reference_diameter_mm
        references = fit_references(tree, profiles)
        found = with_napkin_rings(find_lesions(tree, profiles, references, smallest), tree, profiles, sampler)
        lesions = believed_features(found, volume.acquisition)
        patient, gaps = assess_patient(tree, profiles, references, lesions, smallest)
        research = research_findings(options.research, volume, tree, profiles, lesions)
        labels = label_study(volume, lumen, tree, profiles, sampler, blood_hu, noise_hu, report)
        report(1.0, "done")

    timing["total"] = time.perf_counter() - begin
    return StudyResult(
        case_id=case_id_of(volume, digest),
        volume=volume,
        voxels_sha256=digest,
        segmentation=lumen,
        labels=labels,
        tree=tree,
        profiles=profiles,
        references=references,
        lesions=lesions,
        patient=patient,
        quality=Quality(
            noise_hu=aorta.noise_hu,
            aorta_hu=aorta.attenuation_hu if aorta.found else None,
            psf_sigma_mm=point_spread.sigma_mm,
            warnings=(
                *volume.warnings,
                *lumen.warnings,
                *contrast_warnings,
                *(() if aorta.found else (_NO_AORTA,)),
                *blood_warnings,
                *point_spread.warnings,
                *voltage_warnings(volume.acquisition),
                *gaps,
            ),
            blood_hu=blood_hu,
            contrast_to_noise=study_contrast_to_noise(profiles),
        ),
        device=lumen.device or device,
        precision=lumen.precision,
        parameters=asdict(options) | {"segmentation_given": segmentation is not None},
        timing_s=timing,
        peak_memory_mb=_peak_memory_mb(),
        software_version=__version__,
        segment_quality=seen,
        research=research,
    )


def voxels_sha256(volume: CTVolume) -> str:
    """Return the SHA-256 of the voxels as little-endian float32."""
    return hashlib.sha256(np.ascontiguousarray(volume.voxels, dtype="<f4").data).hexdigest()


def case_id_of(volume: CTVolume, digest: str | None = None) -> str:
    """Return the pseudonymous name of a case: the same voxels have the same name."""
    return f"case-{(digest or voxels_sha256(volume))[:8]}"


def _blood_attenuation(aorta: Aorta, coronary_hu: float | None) -> tuple[float, tuple[str, ...]]:
    """Return the attenuation of arterial blood: that of the aorta unless the coronary arteries contradict it.

    Calcium and thin vessels move the coronary value by less than half.
    """
    if coronary_hu is None or 0.6 * aorta.attenuation_hu <= coronary_hu <= 1.5 * aorta.attenuation_hu:
        return aorta.attenuation_hu, ()
    warning = (
        f"the coronary arteries have {coronary_hu:.0f} HU, the aorta {aorta.attenuation_hu:.0f} HU: the aorta may be "
        "mistaken, and the coronary value is used"
    )
    return coronary_hu, (warning,) if aorta.found else ()


def _peak_memory_mb() -> float | None:
    """Return the largest memory this process has held, in MB; None on Windows, which has no such counter here."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
