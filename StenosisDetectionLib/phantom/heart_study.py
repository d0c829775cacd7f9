"""A whole synthetic study: a planned heart scanned by an acquisition, with its truth where the scan shows it."""

from dataclasses import replace

import numpy as np

from ..geometry import transform_points
from ..progress import StageReport, no_report, part_of
from ..study import CTVolume, LabelMap
from .acquisition import Acquisition
from .assembly import Grid
from .heart import HeartPlan
from .scanning import noise_free, scan, scene_of
from .tree import mark_bifurcations
from .truth import HEART_LABELS, LesionTruth, Phantom, PhantomTruth, VesselTruth, narrowed

_SHORTEST_MM = 5.0  # of a vessel in the field of view
_LOWEST_HU, _HIGHEST_HU = -1024, 3071


def render_heart(plan: HeartPlan, acquisition: Acquisition, report: StageReport = no_report) -> Phantom:
    """Return the study of a heart.

    The label map holds `truth.HEART_LABELS`. The truth is where the scan shows it (steps between slabs; motion at the
    middle of its time); what lies outside the field of view is left out and named in `cropped`. Voxels are whole HU
    from -1024 to 3071, as scanners store them.
    """
    grid = acquisition.grid
    scene = scene_of(plan.scene, plan.background, plan.vessels, acquisition)
    result = noise_free(scene, acquisition, grid, part_of(report, 0.0, 0.75))
    report(0.75, "motion, streaks and noise")
    scan(result.image, scene, acquisition, grid, plan.attenuation_hu["aorta"], acquisition.seed)
    report(0.98, "collecting the truth")
    np.round(result.image, out=result.image)
    np.clip(result.image, _LOWEST_HU, _HIGHEST_HU, out=result.image)
    scanner: dict[str, str | float | bool] = {
        "kvp": acquisition.kvp,
        "contrast_agent": True,
        "slice_thickness_mm": acquisition.spacing_mm[2],
    }
    volume = CTVolume(result.image, grid.ijk_to_ras, acquisition=scanner)
    return Phantom(volume, heart_truth(plan, acquisition), LabelMap(result.labels, grid.ijk_to_ras, dict(HEART_LABELS)))


def heart_truth(plan: HeartPlan, acquisition: Acquisition) -> PhantomTruth:
    """Return the truth of the study of a heart, without rendering it."""
    grid = acquisition.grid
    marked = tuple(narrowed(vessel, plan.lesions) for vessel in mark_bifurcations(plan.vessels))
    shown = acquisition.displaced(marked)
    vessels, cropped = _in_view(shown, grid)
    branches, _ = _in_view(acquisition.displaced(plan.side_branches), grid)
    kept = {vessel.name for vessel in vessels} | {vessel.name for vessel in branches}
    ends = {vessel.name: float(vessel.distance_mm[-1]) for vessel in vessels}
    lesions = [lesion for lesion in plan.lesion_truths() if lesion.throat_mm <= ends.get(lesion.vessel, -1.0)]
    ostia = {
        name: place + acquisition.offsets(place[None])[0] for name, place in plan.ostia_ras.items() if name in kept
    }
    return PhantomTruth(
        kind="heart",
        vessels=tuple(_without_lost_parent(vessel, kept) for vessel in vessels),
        lesions=tuple(_displaced_lesion(lesion, acquisition) for lesion in lesions),
        psf_sigma_mm=acquisition.psf_sigma_mm,
        noise_hu=acquisition.noise.noise_hu,
        seed=plan.seed,
        attenuation_hu={
            name: value
            if name in ("kvp", "distal_share", "right_mixing")
            else float(acquisition.hu_scale(np.array(value)))
            for name, value in plan.attenuation_hu.items()
        },
        family=plan.family,
        dominance=plan.dominance,
        anomalies=plan.anomalies,
        ostia_ras=ostia,
        side_branches=tuple(_without_lost_parent(vessel, kept) for vessel in branches),
        cropped=cropped,
        acquisition=acquisition.as_dict(),
    )


def _in_view(vessels: tuple[VesselTruth, ...], grid: Grid) -> tuple[tuple[VesselTruth, ...], tuple[str, ...]]:
    """Return the vessels as far as the field of view shows them from their start, and the names of those it cuts."""
    inside, cropped = [], []
    to_ijk = np.linalg.inv(grid.ijk_to_ras)
    for vessel in vessels:
        indices = transform_points(to_ijk, vessel.points_ras)
        shown = ((indices >= 0) & (indices <= np.array(grid.size_ijk) - 1)).all(axis=1)
        if shown.all():
            inside.append(vessel)
            continue
        cropped.append(vessel.name)
        count = int(np.argmin(shown))
        if count > 1 and vessel.distance_mm[count - 1] >= _SHORTEST_MM:
            inside.append(_shortened(vessel, count))
    return tuple(inside), tuple(cropped)


def _shortened(vessel: VesselTruth, count: int) -> VesselTruth:
    end = float(vessel.distance_mm[count - 1])
    return replace(
        vessel,
        points_ras=vessel.points_ras[:count],
        distance_mm=vessel.distance_mm[:count],
        diameter_mm=vessel.diameter_mm[:count],
        healthy_diameter_mm=vessel.healthy_diameter_mm[:count],
        segments=tuple((number, start, min(stop, end)) for number, start, stop in vessel.segments if start < end),
    )


def _without_lost_parent(vessel: VesselTruth, kept: set[str]) -> VesselTruth:
    if vessel.parent is None or vessel.parent in kept:
        return vessel
    return replace(vessel, parent=None, parent_distance_mm=None)


def _displaced_lesion(lesion: LesionTruth, acquisition: Acquisition) -> LesionTruth:
    place = np.array(lesion.position_ras)
    x, y, z = (float(value) for value in place + acquisition.offsets(place[None])[0])
    return replace(lesion, position_ras=(x, y, z))
