"""A small study built by hand, for the tests of the rooms that only read a `StudyResult`.

The grid is oblique and anisotropic and nothing in it is symmetric, so that a swapped axis or a lost sign shows. The
lumen of each vessel is a tube around its centerline, rasterized here from the distance to the points, and the numbers
of the lesions are those of the profiles.
"""

import hashlib
from dataclasses import replace

import numpy as np

from StenosisDetectionLib.anatomy import segment_definition
from StenosisDetectionLib.geometry import affine, shifted, transform_points
from StenosisDetectionLib.study import (
    CTVolume,
    FatAttenuation,
    LabelMap,
    Lesion,
    LesionReview,
    LumenProfile,
    LumenSegmentation,
    ModelInfo,
    Patient,
    Plaque,
    PressureDrop,
    Quality,
    ReferenceProfile,
    ResearchFindings,
    SegmentQuality,
    StudyResult,
    Vessel,
    VesselSegment,
    VesselSeverity,
    VesselTree,
)

STEP = 0.25
CROP_IJK = (6, 4, 3)
"""Offset of the segmentation's grid in the volume's."""


def oblique_affine() -> np.ndarray:
    """Return an affine turned about two axes, with three different spacings."""
    a, b = np.radians(25.0), np.radians(-15.0)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    directions = about_z @ about_x @ np.diag([-1.0, -1.0, 1.0])
    return affine(np.array([0.4, 0.5, 0.7]), directions, np.array([12.5, -140.25, 1203.75]))


def small_study(case_id: str = "case-1", seed: int = 1) -> StudyResult:
    """Return a study of 48 x 44 x 40 voxels with LM, LAD and RCA, two lesions, unknown values and warnings."""
    ijk_to_ras = oblique_affine()
    shape = (40, 44, 48)
    lm = _vessel("LM", None, None, (9, 9, 9), (17, 12, 12), ijk_to_ras, (5, "Left main coronary artery", "3227004"))
    lad = _vessel(
        "LAD", "LM", lm.length_mm, (17, 12, 12), (38, 20, 30), ijk_to_ras,
        (6, "Proximal left anterior descending artery", "68787002"),
    )  # fmt: skip
    rca = _vessel(
        "RCA", None, None, (10, 30, 10), (36, 36, 25), ijk_to_ras,
        (1, "Proximal right coronary artery", "91083009"),
    )  # fmt: skip
    tree = VesselTree((lm, lad, rca), "right")
    profiles, references = [], []
    for vessel, healthy, depth in ((lm, 4.0, 0.0), (lad, 3.2, 0.6), (rca, 3.6, 0.3)):
        profile, reference = _measured(vessel, healthy, depth)
        profiles.append(profile)
        references.append(reference)
    lesions = (
        _lesion("L1", lad, profiles[1], references[1], "moderate", ("calcium",)),
        _lesion("L2", rca, profiles[2], references[2], "mild", ()),
    )
    labels, segmentation = _segmentation(shape, ijk_to_ras, tree, profiles)
    voxels = np.random.default_rng(seed).normal(40.0, 20.0, shape).round().astype(np.float32)
    i, j, k = CROP_IJK
    inside = voxels[k : k + labels.labels.shape[0], j : j + labels.labels.shape[1], i : i + labels.labels.shape[2]]
    inside[labels.labels > 0] += 360.0
    volume = CTVolume(voxels, ijk_to_ras, acquisition={"kvp": 120.0}, warnings=("small test volume",))
    return StudyResult(
        case_id=case_id,
        volume=volume,
        voxels_sha256=hashlib.sha256(voxels.tobytes()).hexdigest(),
        segmentation=segmentation,
        labels=labels,
        tree=tree,
        profiles=tuple(profiles),
        references=tuple(references),
        lesions=lesions,
        patient=Patient("3", "Moderate stenosis (50-69 %)", "P2", 2, "right", ("N",)),
        quality=Quality(20.0, 400.0, (0.45, 0.45, 0.5), ("small test volume",)),
        device="cpu",
        precision="fp32",
        parameters={"model": "vesselness", "device": "auto"},
        timing_s={"segmentation": 0.5, "total": 1.0},
        peak_memory_mb=123.0,
        software_version="0.1.0",
    )


def full_study() -> StudyResult:
    """Return the small study with everything that an analysis and its readers can add to it."""
    study = small_study()
    first, second = study.lesions
    plaque = Plaque("mixed", 12.5, 4.25, 1.5, 4.25, 2.5)
    edited = replace(
        first, plaque=plaque, flags=("uncertain_reference", "borderline_50", "edited"), eccentricity=0.81,
        remodeling_index=1.16, features=("low_attenuation", "positive_remodeling"), model_reference_diameter_mm=3.2,
        local_reference_diameter_mm=2.6, local_reference_method="interp", diameter_stenosis_interval_90=(47.0, 71.0),
    )  # fmt: skip
    reviews = (
        LesionReview("L1", "edited", "A. Reader", "2026-01-02T03:04:05Z", "the end was <too> far", first, edited),
        LesionReview("L2", "rejected", "B. Reader", "2026-01-02T03:05:05Z", "motion", second, None),
        LesionReview("A1", "edited", "A. Reader", "2026-01-02T03:06:05Z", "", None, replace(second, id="A1")),
    )
    patient = replace(
        study.patient, segment_stenosis_score=3, severity=(
            VesselSeverity("LAD", "moderate", 60.0, 0.99, 0.85, 0.1, True),
            VesselSeverity("RCA", "mild", 30.0, 0.7, 0.05, 0.0, False),
        ), plaque_volume_mm3=40.0, percent_atheroma_volume=6.25, calcified_volume_mm3=8.0,
        low_attenuation_volume_mm3=2.0, fibrofatty_volume_mm3=19.0, fibrous_volume_mm3=11.0, wall_shown_percent=73.0,
    )  # fmt: skip
    research = ResearchFindings(
        (FatAttenuation("LAD", 0.0, 40.0, 4.1, -81.3, 0.7, 1234.0, 61.0, 88.0),),
        (PressureDrop("L1", 2.1, 14.2, 0.842, (0.77, 0.91)), PressureDrop("A1", None, None, None, None)),
    )
    return replace(
        study, lesions=(edited, replace(second, id="A1")), reviews=reviews, patient=patient, research=research,
        quality=replace(study.quality, blood_hu=395.0, contrast_to_noise=21.5),
        segment_quality=(
            SegmentQuality("LM", 5, 401.0, 19.0, 2.4, 22.1, 100.0),
            SegmentQuality("LAD", 6, 390.0, None, None, 20.9, 97.5),
            SegmentQuality("RCA", 1, None, None, None, None, 0.0),
        ),
    )  # fmt: skip


def _vessel(
    name: str,
    parent: str | None,
    parent_distance: float | None,
    start_ijk: tuple[int, int, int],
    end_ijk: tuple[int, int, int],
    ijk_to_ras: np.ndarray,
    segment: tuple[int, str, str],
) -> Vessel:
    start, end = transform_points(ijk_to_ras, np.array([start_ijk, end_ijk], dtype=float))
    length = float(np.linalg.norm(end - start))
    distance = np.arange(int(length / STEP) + 1) * STEP
    points = start + distance[:, None] * (end - start) / length
    number, full_name, snomed = segment
    segments = (VesselSegment("SCCT", number, full_name, snomed, 0.0, float(distance[-1]), 0.9),)
    radius = np.full(len(distance), 1.5)
    return Vessel(name, parent, parent_distance, points, distance, radius, segments)


def _measured(vessel: Vessel, healthy: float, depth: float) -> tuple[LumenProfile, ReferenceProfile]:
    """A cosine dip of the diameter in the middle; the first two points of a branch and the last point are unknown."""
    s, middle, half = vessel.distance_mm, vessel.distance_mm[-1] / 2.0, 2.5
    dip = np.where(np.abs(s - middle) < half, 0.5 * (1.0 + np.cos(np.pi * (s - middle) / half)), 0.0)
    diameter = healthy * (1.0 - depth * dip)
    quality = ["ok"] * len(s)
    quality[-1] = "end"
    diameter[-1] = np.nan
    if vessel.parent is not None:
        diameter[:2] = np.nan
        quality[:2] = ["bifurcation"] * 2
    area = np.pi / 4.0 * diameter**2
    tangent = (vessel.points_ras[1] - vessel.points_ras[0]) / STEP
    across = np.cross(tangent, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    frame = np.stack([tangent, across, np.cross(tangent, across)])
    known = np.isfinite(diameter)
    profile = LumenProfile(
        vessel=vessel.name,
        area_mm2=area,
        diameter_mm=diameter,
        minimum_diameter_mm=0.95 * diameter,
        maximum_diameter_mm=1.05 * diameter,
        diameter_error_mm=np.where(known, 0.12, np.nan),
        contour_radius_mm=np.repeat(diameter[:, None] / 2.0, 32, axis=1),
        frames=np.repeat(frame[None], len(s), axis=0),
        contour_center_ras=vessel.points_ras.copy(),
        lumen_hu=np.where(known, 400.0, np.nan),
        plaque_area_mm2=np.where(known, 0.8 * dip, np.nan),
        calcified_area_mm2=np.where(known, 0.3 * dip, np.nan),
        quality=tuple(quality),
    )
    reference = ReferenceProfile(vessel.name, np.full(len(s), healthy), np.full(len(s), 0.1), "regression")
    return profile, reference


def _lesion(
    name: str,
    vessel: Vessel,
    profile: LumenProfile,
    reference: ReferenceProfile,
    grade: str,
    flags: tuple[str, ...],
) -> Lesion:
    throat = int(np.nanargmin(profile.diameter_mm))
    diameter, healthy = float(profile.diameter_mm[throat]), float(reference.diameter_mm[throat])
    percent = 100.0 * (1.0 - diameter / healthy)
    middle = float(vessel.distance_mm[throat])
    right, anterior, superior = (float(x) for x in vessel.points_ras[throat])
    return Lesion(
        id=name,
        vessel=vessel.name,
        segment=segment_definition(vessel.segments[0].number).abbreviation,
        position_ras=(right, anterior, superior),
        start_mm=middle - 2.0,
        throat_mm=middle,
        end_mm=middle + 2.0,
        length_mm=4.0,
        minimal_lumen_diameter_mm=diameter,
        minimal_lumen_area_mm2=float(profile.area_mm2[throat]),
        reference_diameter_mm=healthy,
        reference_method=reference.method,
        diameter_stenosis_percent=percent,
        diameter_stenosis_interval_90=(percent - 8.0, percent + 7.0),
        area_stenosis_percent=100.0 * (1.0 - (diameter / healthy) ** 2),
        probability_50=0.85 if percent > 50 else 0.05,
        probability_70=0.1 if percent > 50 else 0.0,
        grade=grade,
        plaque=Plaque("mixed", 12.5, 4.25) if flags else Plaque("unknown", None, None),
        flags=flags,
    )


def _segmentation(
    shape: tuple[int, int, int], ijk_to_ras: np.ndarray, tree: VesselTree, profiles: list[LumenProfile]
) -> tuple[LabelMap, LumenSegmentation]:
    """Tubes around the vessels, a plate of plaque beside the LAD and a box of aorta, on a crop of the volume's grid."""
    k, j, i = shape
    grid = shifted(ijk_to_ras, CROP_IJK)
    size = (i - CROP_IJK[0] - 2, j - CROP_IJK[1] - 3, k - CROP_IJK[2] - 1)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in size], indexing="ij"), axis=-1)
    positions = transform_points(grid, index)
    labels = np.zeros(size, dtype=np.uint8)
    names = {}
    for value, (vessel, profile) in enumerate(zip(tree.vessels, profiles, strict=True), start=1):
        names[value] = vessel.name
        for point, diameter in zip(vessel.points_ras, profile.diameter_mm, strict=True):
            radius = diameter / 2.0 if np.isfinite(diameter) else 1.5
            labels[(np.linalg.norm(positions - point, axis=-1) <= radius) & (labels == 0)] = value
    lumen = labels > 0
    names[4], names[5] = "Calcified plaque", "Aorta"
    throat = tree.vessel("LAD").points_ras[len(tree.vessel("LAD").points_ras) // 2]
    labels[(np.linalg.norm(positions - throat, axis=-1) <= 1.6) & ~lumen] = 4
    aorta = np.zeros(size, dtype=bool)
    aorta[1:4, 10:20, 1:9] = True
    labels[aorta & (labels == 0)] = 5
    kji = np.ascontiguousarray(labels.transpose(2, 1, 0))
    segmentation = LumenSegmentation(
        np.ascontiguousarray(lumen.transpose(2, 1, 0)), kji == 5, grid, ModelInfo("vesselness", "1.0")
    )
    return LabelMap(kji, grid, names), segmentation
