"""Corrections by hand: a study and a change come in, the study with only what changed measured again goes out.

Every function is pure: the study given stays as it is. Measured numbers of other vessels are carried over unchanged;
what depends on the whole tree (segments, findings of the patient, label map) is made anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .anatomy import AORTA, CALCIFIED_PLAQUE
from .centerline import drawn_vessel, extract_tree, rename_vessel, with_branch, without_branch
from .centerline.branch_editing import corrected_vessel
from .centerline.corrected_course import CorrectedCourse, corrected_course
from .errors import InputError
from .geometry import transform_points
from .labels import label_study, relabeled
from .progress import no_report, part_of
from .stenosis import assess_patient, find_lesions, fit_references, research_findings, smallest_graded_mm
from .stenosis.cutoff import flag_abrupt_ends
from .stenosis.napkin_ring import with_napkin_rings
from .stenosis.plaque import believed_features
from .stenosis.stretch import segment_at
from .study import (
    LabelMap,
    Lesion,
    LumenProfile,
    LumenSegmentation,
    ReferenceProfile,
    SegmentQuality,
    StudyResult,
    Vessel,
    VesselTree,
)

if TYPE_CHECKING:
    from .lumen import PointSpread, VolumeSampler
    from .progress import StageReport

TYPICAL_BLOOD_HU, TYPICAL_NOISE_HU = 400.0, 30.0
"""Stand in for what a study does not know, which happens only without aorta and without vessels."""

SAME_MM = 0.01
"""Paths and radii that differ by less are the same."""

SAME_PLACE_MM, SAME_PERCENT = 0.5, 1.0
"""A lesion whose throat and diameter stenosis moved by less, after its vessel was measured again, is the same."""

_ERASED_MM = 2.0  # farther from a lumen that was drawn, nothing of it is left


def rename_branch(study: StudyResult, name: str, new_name: str) -> StudyResult:
    """Return the study with one vessel renamed and everything below it following; no measured number changes.

    See `centerline.rename_vessel`. Lesions keep their ids; their vessel and segment follow.

    Raises
    ------
    InputError : there is no vessel of that name, or the new name cannot name a vessel.
    """
    tree = rename_vessel(study.tree, name, new_name)
    names = {old.name: new.name for old, new in zip(study.tree.vessels, tree.vessels, strict=True)}
    profiles = tuple(replace(p, vessel=names[p.vessel]) for p in study.profiles)
    references = tuple(replace(r, vessel=names[r.vessel]) for r in study.references)
    lesions = tuple(_renamed_lesion(lesion, names, tree) for lesion in study.lesions)
    labels = replace(study.labels, names={n: names.get(text, text) for n, text in study.labels.names.items()})
    return _assessed(study, tree, profiles, references, lesions, labels)


def replace_branch(
    study: StudyResult, vessel_name: str, points_ras: np.ndarray, report: StageReport = no_report
) -> StudyResult:
    """Return the study with the path of one vessel replaced and only what changed of that vessel measured again.

    Parameters
    ----------
    vessel_name : a vessel of the study; its name, parent and branches stay.
    points_ras : (N, 3) control points in RAS mm from its start to its tip, at least two. Points up to 1 mm apart are
        smoothed as a traced path; a spline goes through points farther apart. Between points that lie on the path as
        it is, the path stays.

    Raises
    ------
    InputError : there is no such vessel, or the points are no path of at least 2 mm.
    """
    vessel = _vessel(study, vessel_name)
    course = corrected_course(vessel.points_ras, points_ras)
    if course is None:
        new = drawn_vessel(study.tree, study.segmentation, vessel.name, vessel.parent, points_ras, vessel.flags)
    else:
        new = corrected_vessel(study.segmentation, vessel, course)
    return _with_paths(study, with_branch(study.tree, new), frozenset({vessel.name}), course=course, report=report)


def add_branch(study: StudyResult, name: str, parent: str | None, points_ras: np.ndarray) -> StudyResult:
    """Return the study with one more vessel, measured; `parent` None means that it begins at the aorta.

    Raises
    ------
    InputError : the name is taken, there is no such parent, or the points are no path of at least 2 mm.
    """
    if any(v.name == name for v in study.tree.vessels):
        raise InputError(f"there is already a vessel '{name}': choose another name or edit that vessel")
    if parent is not None:
        _vessel(study, parent)
    new = drawn_vessel(study.tree, study.segmentation, name, parent, points_ras)
    return _with_paths(study, with_branch(study.tree, new), frozenset({name}))


def remove_branch(study: StudyResult, name: str) -> StudyResult:
    """Return the study without a vessel and everything that leaves it.

    Raises
    ------
    InputError : there is no such vessel.
    """
    _vessel(study, name)
    return _with_paths(study, without_branch(study.tree, name), frozenset())


def replace_segmentation(
    study: StudyResult, segmentation: LumenSegmentation, report: StageReport = no_report
) -> StudyResult:
    """Return the study with a corrected lumen: the tree is traced again, and what is as before keeps its measurement.

    A vessel is measured again when its path or radius changed, or when it leaves, or gives off, one that changed.
    `corrected_segmentation` makes the segmentation of a label map that was drawn on the study's own.
    """
    tree = extract_tree(segmentation, part_of(report, 0.0, 0.4), study.volume)
    before = {v.name: v for v in study.tree.vessels}
    changed = {v.name for v in tree.vessels if v.name not in before or not _same_path(v, before[v.name])}
    gone = {v.name for v in study.tree.vessels if all(w.name != v.name for w in tree.vessels)}
    parents = {v.name: v.parent for v in (*study.tree.vessels, *tree.vessels)}
    near = {n for n, p in parents.items() if p in changed | gone} | {
        p for n, p in parents.items() if n in changed | gone
    }
    again = frozenset(v.name for v in tree.vessels if v.name in changed | near)
    study = replace(study, segmentation=segmentation)
    return _with_paths(study, tree, again, relabel_all=True, report=part_of(report, 0.4, 1.0))


def corrected_segmentation(study: StudyResult, label_map: LabelMap) -> LumenSegmentation:
    """Return the segmentation of a study as a label map corrects it, which began as the labels of the study.

    Only voxels that are lumen, or aorta, in one of both label maps and not in the other are changed: what else the
    segmentation knows (lumen below plaque, probability, ostia, bridges) stays, so that the tree is traced as before
    where nothing was drawn. A lumen that reaches beyond the grid of the segmentation stands alone.

    Raises
    ------
    InputError : the label map is empty, holds no lumen or does not overlap the volume.
    """
    from .segmentation import segmentation_from_labels
    from .segmentation.grid import resample_mask

    known, given = study.segmentation, segmentation_from_labels(label_map, study.volume)
    own_aorta = bool(given.aorta.any())
    if not _within(given, known):
        kept = resample_mask(known.aorta, known.ijk_to_ras, given.lumen.shape, given.ijk_to_ras)
        return given if own_aorta else replace(given, aorta=kept & ~given.lumen)
    vessels = [n for n, name in study.labels.names.items() if name not in (AORTA.name, CALCIFIED_PLAQUE.name)]
    aorta_label = [n for n, name in study.labels.names.items() if name == AORTA.name]

    def corrected(mask: np.ndarray, drawn: np.ndarray, labels: list[int]) -> np.ndarray:
        before = np.isin(study.labels.labels, labels)
        before = resample_mask(before, study.labels.ijk_to_ras, drawn.shape, given.ijk_to_ras)
        added = resample_mask(drawn & ~before, given.ijk_to_ras, mask.shape, known.ijk_to_ras)
        kept, erased = (
            transform_points(given.ijk_to_ras, np.argwhere(part)[:, ::-1]) for part in (before & drawn, before & ~drawn)
        )
        return (mask & ~_nearer(mask, known.ijk_to_ras, erased, kept)) | added

    lumen = corrected(known.lumen, given.lumen, vessels)
    aorta = corrected(known.aorta, given.aorta, aorta_label) if own_aorta else known.aorta
    probability = known.probability
    if probability is not None:
        probability = np.where(lumen == known.lumen, probability, lumen).astype(probability.dtype)
    bridged = None if known.bridged is None else known.bridged & lumen
    return replace(known, lumen=lumen, aorta=aorta & ~lumen, probability=probability, bridged=bridged)


def _nearer(mask: np.ndarray, ijk_to_ras: np.ndarray, points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask within `_ERASED_MM` of points (N, 3) in RAS that are nearer to them than to others.

    The mask that a network gives is wider or narrower than the lumen that was measured, drawn and then erased.
    """
    from scipy.spatial import cKDTree

    result = np.zeros_like(mask)
    if len(points):
        kji = np.argwhere(mask)
        ras = transform_points(ijk_to_ras, kji[:, ::-1])
        distance = cKDTree(points).query(ras, distance_upper_bound=_ERASED_MM)[0]
        near = np.isfinite(distance)
        other = cKDTree(others).query(ras[near])[0] if len(others) else np.inf
        result[tuple(kji[near][distance[near] < other].T)] = True
    return result


def _within(inner: LumenSegmentation, outer: LumenSegmentation) -> bool:
    """Whether every voxel center of a lumen lies on the grid of another segmentation."""
    ijk = transform_points(
        np.linalg.inv(outer.ijk_to_ras), transform_points(inner.ijk_to_ras, np.argwhere(inner.lumen)[:, ::-1])
    )
    return bool(((ijk >= -0.5) & (ijk <= np.array(outer.lumen.shape[::-1]) - 0.5)).all())


def _vessel(study: StudyResult, name: str) -> Vessel:
    try:
        return study.tree.vessel(name)
    except KeyError:
        known = ", ".join(v.name for v in study.tree.vessels) or "none"
        raise InputError(f"there is no vessel '{name}' in this study: choose one of {known}") from None


def _same_path(first: Vessel, second: Vessel) -> bool:
    """Whether two vessels are the same but for rounding: another crop of the grid moves the last digits."""
    return (
        first.parent == second.parent
        and first.points_ras.shape == second.points_ras.shape
        and np.allclose(first.points_ras, second.points_ras, rtol=0.0, atol=SAME_MM)
        and np.allclose(first.radius_mm, second.radius_mm, rtol=0.0, atol=SAME_MM)
    )


def _renamed_lesion(lesion: Lesion, names: dict[str, str], tree: VesselTree) -> Lesion:
    name = names[lesion.vessel]
    return replace(lesion, vessel=name, segment=segment_at(tree.vessel(name), lesion.throat_mm))


def _with_paths(
    study: StudyResult,
    tree: VesselTree,
    again: frozenset[str],
    relabel_all: bool = False,
    course: CorrectedCourse | None = None,
    report: StageReport = no_report,
) -> StudyResult:
    """Return the study with another tree, of which the vessels `again` are measured and the others carried over.

    With a `course` only what it changed of the one vessel is measured.
    """
    from .lumen import VolumeSampler, measure_correction, measure_lumen

    sampler = VolumeSampler(study.volume, study.device)
    blood_hu, noise_hu = _blood_hu(study), _noise_hu(study)
    point_spread = _point_spread(study)
    profiles = {p.vessel: p for p in study.profiles}
    measuring = part_of(report, 0.0, 0.8)
    if course is not None:
        (name,) = again
        profiles[name] = measure_correction(
            study.volume,
            tree,
            blood_hu,
            noise_hu,
            point_spread,
            sampler,
            profiles[name],
            course,
            measuring,
            study.segmentation,
        )
    else:
        for profile in measure_lumen(
            study.volume, tree, blood_hu, noise_hu, point_spread, sampler, measuring, again, study.segmentation
        ):
            profiles[profile.vessel] = profile
    ordered = tuple(profiles[v.name] for v in tree.vessels)
    tree = flag_abrupt_ends(tree, ordered, study.segmentation, sampler)
    references = {r.vessel: r for r in study.references}
    for reference in fit_references(tree, ordered, again):
        references[reference.vessel] = reference
    fitted = tuple(references[v.name] for v in tree.vessels)
    lesions = _merged_lesions(study, tree, ordered, fitted, again, sampler)
    if relabel_all:
        labels = None
    else:
        labels = relabeled(study.labels, study.segmentation, tree, ordered)
    if labels is None:
        labels = label_study(
            study.volume,
            study.segmentation,
            tree,
            ordered,
            sampler,
            blood_hu,
            noise_hu,
            part_of(report, 0.8, 1.0),
        )
    return _assessed(study, tree, ordered, fitted, lesions, labels)


def _merged_lesions(
    study: StudyResult,
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    references: tuple[ReferenceProfile, ...],
    again: frozenset[str],
    sampler: VolumeSampler,
) -> tuple[Lesion, ...]:
    """Return the lesions in the order of the tree: those that stayed with their ids, the others with unused ones."""
    found = find_lesions(tree, profiles, references, smallest_graded_mm(study))
    found = believed_features(with_napkin_rings(found, tree, profiles, sampler), study.volume.acquisition)
    taken = [int(lesion.id[1:]) for lesion in study.lesions if lesion.id[1:].isdigit()]
    number = max(taken, default=0)
    merged: list[Lesion] = []
    for vessel in tree.vessels:
        if vessel.name not in again:
            kept = [lesion for lesion in study.lesions if lesion.vessel == vessel.name]
            merged += [replace(lesion, segment=segment_at(vessel, lesion.throat_mm)) for lesion in kept]
            continue
        own = [lesion for lesion in found if lesion.vessel == vessel.name]
        before = [lesion for lesion in study.lesions if lesion.vessel == vessel.name]
        for lesion in own:
            same = next((old for old in before if _same_lesion(old, lesion)), None)
            if same is None:
                number += 1
                merged.append(replace(lesion, id=f"L{number}"))
            else:
                before.remove(same)
                merged.append(replace(lesion, id=same.id))
    return tuple(merged)


def _same_lesion(first: Lesion, second: Lesion) -> bool:
    """Whether two findings on a vessel are one and the same, which keeps its id and what a reader said of it."""
    apart = np.linalg.norm(np.subtract(first.position_ras, second.position_ras))
    change = abs(first.diameter_stenosis_percent - second.diameter_stenosis_percent)
    return bool(apart < SAME_PLACE_MM and change < SAME_PERCENT)


def _assessed(
    study: StudyResult,
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    references: tuple[ReferenceProfile, ...],
    lesions: tuple[Lesion, ...],
    labels: LabelMap,
) -> StudyResult:
    """Return the study with these parts and the findings of the patient that follow from them; no review stands."""
    from .lumen import study_contrast_to_noise

    smallest = smallest_graded_mm(study)
    old_gaps = assess_patient(study.tree, study.profiles, study.references, study.lesions, smallest)[1]
    patient, gaps = assess_patient(tree, profiles, references, lesions, smallest)
    warnings = [w for w in study.quality.warnings if w not in old_gaps]
    research = study.parameters.get("research")
    names = research if isinstance(research, list | tuple) else ()
    return replace(
        study,
        tree=tree,
        profiles=profiles,
        references=references,
        lesions=lesions,
        patient=patient,
        labels=labels,
        quality=replace(
            study.quality,
            warnings=(*warnings, *gaps),
            contrast_to_noise=study_contrast_to_noise(profiles),
        ),
        segment_quality=_qualities(study, tree, profiles),
        research=research_findings(names, study.volume, tree, profiles, lesions),
    )


def _qualities(study: StudyResult, tree: VesselTree, profiles: tuple[LumenProfile, ...]) -> tuple[SegmentQuality, ...]:
    """Return the image quality of all segments, carried over where neither vessel nor profile changed."""
    from .lumen import segment_quality

    before = {p.vessel: (v, p) for v, p in zip(study.tree.vessels, study.profiles, strict=True)}
    carried = {q.vessel for q in study.segment_quality} & {
        v.name
        for v, p in zip(tree.vessels, profiles, strict=True)
        if v.name in before and p is before[v.name][1] and v.segments == before[v.name][0].segments
    }
    pairs = [(v, p) for v, p in zip(tree.vessels, profiles, strict=True) if v.name not in carried]
    part = replace(tree, vessels=tuple(v for v, _ in pairs))
    sigma_mm, noise_hu = _point_spread(study).sigma_mm, _noise_hu(study)
    new = segment_quality(study.volume, part, tuple(p for _, p in pairs), sigma_mm, noise_hu)
    known = [q for q in study.segment_quality if q.vessel in carried] + list(new)
    return tuple(q for v in tree.vessels for q in known if q.vessel == v.name)


def _point_spread(study: StudyResult) -> PointSpread:
    from .lumen import PointSpread, assumed_point_spread

    sigma = study.quality.psf_sigma_mm
    return assumed_point_spread(study.volume) if sigma is None else PointSpread(sigma, True)


def _blood_hu(study: StudyResult) -> float:
    quality = study.quality
    return float(quality.blood_hu or quality.aorta_hu or TYPICAL_BLOOD_HU)


def _noise_hu(study: StudyResult) -> float:
    noise = study.quality.noise_hu
    return TYPICAL_NOISE_HU if noise is None or not np.isfinite(noise) else float(noise)
