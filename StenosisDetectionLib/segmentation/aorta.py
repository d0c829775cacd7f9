"""Where the ascending aorta and its root are, how dense its blood is and how noisy the image is there.

In: a CT volume in HU. Out: an `Aorta` in RAS, mm and HU. The aorta is the round, persistent disc of the axial
slices that lies where the ascending aorta must lie among the great vessels (`discs`); it is then followed along
its own axis down to the annulus (`sweep`).
"""

from dataclasses import dataclass, replace

import numpy as np

from ..geometry import arc_length, spacing_of, transform_points
from ..progress import StageReport, no_report, part_of
from ..study import CTVolume
from .discs import DiscTrack, find_tracks
from .grid import RasGrid, resample_to_ras
from .sweep import AorticSections, follow_aorta, sweep_mask

SEARCH_SPACING_MM = 1.5
MASK_SPACING_MM = 0.8
CONTRAST_HU = 150.0
"""Blood below this attenuation carries no useful contrast."""

_BELOW_ROOT_MM = 4.0
_SHORTEST_AORTA_MM = 15.0
_LEAST_SCORE = 0.25
_MARGIN_LOW_MM = np.array([55.0, 55.0, 75.0])
_MARGIN_HIGH_MM = np.array([55.0, 55.0, 40.0])


@dataclass(frozen=True, eq=False)
class Aorta:
    """The ascending aorta from the annulus to the arch or to the end of the volume.

    Parameters
    ----------
    found : whether there is one; otherwise the mask is all False and the arrays are empty.
    mask : bool array [k, j, i] on a grid of its own, without left ventricle and coronary arteries.
    ijk_to_ras : 4 x 4 matrix of that grid.
    centerline_ras : (N, 3) axis from the annulus upwards.
    directions : (N, 3) unit vectors along the axis, upwards.
    radius_mm : (N,) equivalent radius of the cross-sections.
    attenuation_hu : median attenuation of its blood; without an aorta an estimate of the blood's, NaN when
        the volume shows no soft tissue.
    noise_hu : standard deviation of the original voxels in it, slow gradients removed; without an aorta that
        of soft tissue, NaN when unknown.
    flags : `aorta_not_found`, `no_contrast`, `aortic_root_incomplete`.
    """

    found: bool
    mask: np.ndarray
    ijk_to_ras: np.ndarray
    centerline_ras: np.ndarray
    directions: np.ndarray
    radius_mm: np.ndarray
    attenuation_hu: float
    noise_hu: float
    flags: tuple[str, ...] = ()

    @property
    def root_ras(self) -> np.ndarray | None:
        """A point (3,) on the axis 12 mm above the annulus, at the level of the sinuses; None without an aorta."""
        if not self.found:
            return None
        distance = arc_length(self.centerline_ras)
        return np.asarray(self.centerline_ras[np.searchsorted(distance, min(12.0, distance[-1]))])


def find_aorta(volume: CTVolume, report: StageReport = no_report) -> Aorta:
    """Find the ascending aorta with its root.

    A volume without contrast, or without an ascending aorta, gives an `Aorta` with `found` False; its attenuation
    is then the best estimate of that of the blood.
    """
    report(0.0, "looking for the aorta")
    grid = resample_to_ras(volume, SEARCH_SPACING_MM)
    tracks = find_tracks(grid, part_of(report, 0.05, 0.55))
    track = ascending_track(tracks, grid)
    if track is None:
        return _not_found(volume, grid, tracks)
    report(0.6, "following the aorta to its root")
    low = track.centers_ras.min(axis=0) - _MARGIN_LOW_MM
    high = track.centers_ras.max(axis=0) + _MARGIN_HIGH_MM
    fine = resample_to_ras(volume, MASK_SPACING_MM, low, high)
    sections = follow_aorta(fine, track, part_of(report, 0.6, 0.85))
    if len(sections.centers_ras) < 5:
        return _not_found(volume, grid, tracks)
    report(0.85, "measuring the aorta")
    return _measured(volume, fine, sections)


def trimmed(aorta: Aorta, seen: np.ndarray, ijk_to_ras: np.ndarray) -> Aorta:
    """Return the aorta without what lies below the root in another view of it.

    Where the valve is wide open, the axis may be followed into the left ventricle, and what is sought around the root
    is then sought in the wrong place.

    Parameters
    ----------
    seen : bool array [k, j, i], the aorta as a network sees it.
    ijk_to_ras : 4 x 4 matrix of that grid.
    """
    from scipy import ndimage
    from scipy.spatial import cKDTree

    if not aorta.found or not seen.any():
        return aorta
    far = ndimage.distance_transform_edt(~seen, sampling=spacing_of(ijk_to_ras)[::-1])
    kji = transform_points(np.linalg.inv(ijk_to_ras), aorta.centerline_ras)[:, ::-1]
    inside = ndimage.map_coordinates(far, kji.T, order=1, mode="nearest") <= _BELOW_ROOT_MM
    first = int(np.argmax(inside))
    kept = aorta.centerline_ras[first:]
    if first == 0 or inside[first:].mean() < 0.5 or arc_length(kept)[-1] < _SHORTEST_AORTA_MM:
        return aorta
    where = np.argwhere(aorta.mask)
    points = transform_points(aorta.ijk_to_ras, where[:, ::-1])
    _, nearest = cKDTree(aorta.centerline_ras).query(points)
    mask = aorta.mask.copy()
    mask[tuple(where[nearest < first].T)] = False
    return replace(
        aorta,
        mask=mask,
        centerline_ras=kept,
        directions=aorta.directions[first:],
        radius_mm=aorta.radius_mm[first:],
    )


def ascending_track(tracks: list[DiscTrack], grid: RasGrid) -> DiscTrack | None:
    """Return the track of the ascending aorta, None when no track can be it.

    It is long, round, of constant width and attenuation, 9 to 23 mm in radius. Against a track speak: that it leaves
    the volume through its bottom, or has a similar vessel in front of it (descending aorta); that a vessel of at
    least its brightness and width lies to its right (pulmonary trunk); that a wider one lies to its left (superior
    vena cava); that it ends well below the other great vessels (a chamber).
    """
    vessels = [track for track in tracks if _shape_score(track) > 0.5]
    best, best_score = None, _LEAST_SCORE
    for track in tracks:
        score = _shape_score(track)
        if score <= best_score:
            continue
        others = [_relation(track, other) for other in vessels if other is not track]
        if track.centers_ras[-1, 2] - float(grid.origin_ras[2]) < 12.0 or any(o.in_front for o in others):
            score *= 0.3
        if any(o.is_aorta_of_this_trunk for o in others) or any(o.makes_this_a_vein for o in others):
            score *= 0.6
        if any(other.centers_ras[0, 2] > track.centers_ras[0, 2] + 40.0 for other in vessels):
            score *= 0.5
        if score > best_score:
            best, best_score = track, score
    return best


def _shape_score(track: DiscTrack) -> float:
    """Return 0 to 1: how much a track on its own looks like a great artery."""
    radius = float(np.median(track.radius_mm))
    if track.length_mm < 12.0 or float(np.median(track.attenuation_hu)) < CONTRAST_HU:
        return 0.0
    width = np.clip((radius - 8.5) / 2.0, 0.0, 1.0) * np.clip((26.5 - radius) / 6.0, 0.0, 1.0)
    steady = np.exp(-((float(track.radius_mm.std()) / radius / 0.18) ** 2))
    even = np.exp(-((float(track.attenuation_hu.std() / track.attenuation_hu.mean()) / 0.1) ** 2))
    length = min(track.length_mm / 35.0, 1.0) ** 0.5
    round_ = np.clip((float(track.roundness.mean()) - 0.55) / 0.3, 0.0, 1.0)
    return float(width * steady * even * length * round_)


@dataclass(frozen=True)
class _Relation:
    in_front: bool
    is_aorta_of_this_trunk: bool
    makes_this_a_vein: bool


def _relation(track: DiscTrack, other: DiscTrack) -> _Relation:
    """Return where another great vessel lies, seen from a track, in the slices that both cross."""
    shared = np.intersect1d(track.slices, other.slices)
    if len(shared):
        own = track.centers_ras[np.isin(track.slices, shared)].mean(axis=0)
        theirs = other.centers_ras[np.isin(other.slices, shared)].mean(axis=0)
    else:
        own, theirs = track.centers_ras.mean(axis=0), other.centers_ras.mean(axis=0)
    right, front = (theirs - own)[:2]
    brightness = float(np.median(other.attenuation_hu) / np.median(track.attenuation_hu))
    width = float(np.median(other.radius_mm) / np.median(track.radius_mm))
    beside = abs(front) < 35.0
    return _Relation(
        in_front=bool(front > 30.0 and abs(brightness - 1.0) < 0.15),
        is_aorta_of_this_trunk=bool(beside and right > 12.0 and width > 0.75 and brightness > 0.9),
        makes_this_a_vein=bool(beside and right < -12.0 and width > 1.35),
    )


def _measured(volume: CTVolume, fine: RasGrid, sections: AorticSections) -> Aorta:
    """Return the aorta swept by its sections, its attenuation and noise taken from the original voxels."""
    from scipy import ndimage

    mask = sweep_mask(sections, fine)
    where = np.argwhere(mask)
    low, high = np.maximum(where.min(axis=0) - 4, 0), where.max(axis=0) + 5
    mask = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    grid = RasGrid(mask, fine.spacing_mm, fine.to_ras(low))
    depth = ndimage.distance_transform_edt(mask) * fine.spacing_mm
    core = depth > min(3.0, 0.6 * float(depth.max()))
    hu, points = _original_voxels(volume, RasGrid(core, grid.spacing_mm, grid.origin_ras))
    attenuation = float(np.median(hu))
    flags = () if sections.complete else ("aortic_root_incomplete",)
    return Aorta(
        found=True,
        mask=mask,
        ijk_to_ras=grid.ijk_to_ras,
        centerline_ras=sections.centers_ras,
        directions=sections.directions,
        radius_mm=np.sqrt(sections.area_mm2 / np.pi),
        attenuation_hu=attenuation,
        noise_hu=_noise(hu, points),
        flags=flags,
    )


def _original_voxels(volume: CTVolume, core: RasGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return attenuation (N,) and RAS points (N, 3) of the voxels of the volume that lie in a mask, at most 200 000."""
    where = np.argwhere(core.voxels)
    if not len(where):
        return np.zeros(0), np.zeros((0, 3))
    corners = np.array(np.meshgrid(*np.stack([where.min(axis=0), where.max(axis=0)]).T, indexing="ij")).reshape(3, -1).T
    ijk = transform_points(np.linalg.inv(volume.ijk_to_ras), core.to_ras(corners))
    size = np.array(volume.voxels.shape[::-1])
    first = np.clip(np.floor(ijk.min(axis=0)).astype(int), 0, size - 1)
    last = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + 1, 1, size)
    shape = np.array(core.voxels.shape)
    values, points = [], []
    for k in range(first[2], last[2]):
        j, i = np.meshgrid(np.arange(first[1], last[1]), np.arange(first[0], last[0]), indexing="ij")
        ras = transform_points(volume.ijk_to_ras, np.stack([i, j, np.full_like(i, k)], axis=-1))
        kji = np.rint(core.to_kji(ras)).astype(int)
        valid = ((kji >= 0) & (kji < shape)).all(axis=-1)
        valid[valid] = core.voxels[tuple(kji[valid].T)]
        values.append(volume.voxels[k, first[1] : last[1], first[0] : last[0]][valid])
        points.append(ras[valid])
    hu, ras = np.concatenate(values).astype(np.float64), np.concatenate(points)
    step = 1 + len(hu) // 200_000
    return hu[::step], ras[::step]


def _noise(hu: np.ndarray, points: np.ndarray) -> float:
    """Return the robust standard deviation around a quadratic trend in space; NaN with too few voxels."""
    if len(hu) < 50:
        return float("nan")
    x, y, z = ((points - points.mean(axis=0)) / 10.0).T
    basis = np.column_stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z])
    middle = np.median(hu)
    use = np.abs(hu - middle) < 6.0 * np.median(np.abs(hu - middle)) + 1.0
    trend = basis @ np.linalg.lstsq(basis[use], hu[use], rcond=None)[0]
    return float(1.4826 * np.median(np.abs(hu - trend - np.median(hu - trend))))


def _not_found(volume: CTVolume, grid: RasGrid, tracks: list[DiscTrack]) -> Aorta:
    """Return an `Aorta` that was not found, with the best estimates of attenuation and noise of the blood."""
    vessels = [track for track in tracks if _shape_score(track) > 0.1]
    if vessels:
        attenuation = float(np.median(max(vessels, key=_shape_score).attenuation_hu))
        flags: tuple[str, ...] = ("aorta_not_found",)
    else:
        # without contrast the blood is part of the peak of soft tissue
        soft = grid.voxels[(grid.voxels > 0.0) & (grid.voxels < CONTRAST_HU)]
        counts, edges = np.histogram(soft, bins=75, range=(0.0, CONTRAST_HU))
        attenuation = float(edges[np.argmax(counts)] + 1.0) if len(soft) else float("nan")
        flags = ("aorta_not_found", "no_contrast")
    return Aorta(
        found=False,
        mask=np.zeros((1, 1, 1), dtype=bool),
        ijk_to_ras=grid.ijk_to_ras,
        centerline_ras=np.zeros((0, 3)),
        directions=np.zeros((0, 3)),
        radius_mm=np.zeros(0),
        attenuation_hu=attenuation,
        noise_hu=_soft_tissue_noise(volume),
        flags=flags,
    )


def _soft_tissue_noise(volume: CTVolume) -> float:
    """Return the median, over blocks of 5 x 5 pixels that hold only soft tissue, of their standard deviation."""
    slices = volume.voxels[:: max(len(volume.voxels) // 20, 1)]
    j, i = (n // 5 * 5 for n in slices.shape[1:])
    blocks = slices[:, :j, :i].reshape(len(slices), j // 5, 5, i // 5, 5).swapaxes(2, 3).reshape(-1, 25)
    middle = blocks.mean(axis=1)
    deviation = blocks.std(axis=1)
    soft = (middle > 0.0) & (middle < 200.0) & (deviation < 80.0)
    return float(np.median(deviation[soft])) if soft.any() else float("nan")
