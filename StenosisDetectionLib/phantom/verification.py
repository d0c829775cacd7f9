"""The frozen verification set: synthetic studies of known truth that are made on demand and always the same.

T1 straight vessels; T2 single lesions; T3 bifurcations without lesion; T4 whole hearts of families that no training
study has, in strata of noise and motion; T5 hearts without arteries or without contrast; T6 DICOM series. What a case
is follows from its number alone. `Resources/verification/manifest.json` holds the checksums (`manifest`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..progress import StageReport, no_report
from .acquisition import MOTION_STRATA, NOISE_STRATA, Acquisition, sample_acquisition
from .assembly import AXIAL, Physics, grid_around, render_study, study_truth
from .cells import Painted
from .dicom_series import Storage, write_series
from .heart import HELD_OUT_FAMILIES, HeartPlan, plan_heart
from .heart_study import heart_truth, render_heart
from .negatives import without_arteries, without_contrast
from .solids import Tube
from .toy import TOY_LESIONS, TOY_PHYSICS, toy_study
from .tree import ATTENUATION_HU, mark_bifurcations, tree_solids, tree_vessel, y_bifurcation
from .truth import LesionShape, Phantom, PhantomTruth, VesselTruth

VERSION = 1
"""Version of the set: it changes whenever a case does."""

SETS = ("T1", "T2", "T3", "T4", "T5", "T6")

_NOISE_HU = 25.0
_HEART_SEED = 700_000  # far from the seeds of training
_T5 = ("veins only", "no contrast")

_STORAGES: dict[str, Storage] = {
    "oblique": Storage(),
    "reversed": Storage(reversed_files=True),
    "slope": Storage(slope=0.5, intercept=-1000.0),
    "unsigned with an offset of 1024": Storage(intercept=-1024.0, signed=False),
    "signed without offset": Storage(intercept=0.0),
    "sheared": Storage(shear=0.2),
}
"""How the series of T6 are stored, by name; the last is to be refused."""


@dataclass(frozen=True)
class VerificationCase:
    """A case: its set, its number from 0, and what it is made of, by name."""

    set_name: str
    number: int
    parameters: tuple[tuple[str, object], ...]

    @property
    def name(self) -> str:
        """Its name, for example `T1-007`."""
        return f"{self.set_name}-{self.number:03d}"

    @property
    def is_refused(self) -> bool:
        """Whether a reader must refuse it (as DICOM)."""
        return self.get("storage") == "sheared"

    def get(self, name: str) -> object:
        """Return a parameter; None where it has none of that name."""
        return dict(self.parameters).get(name)


def verification_cases(set_name: str) -> tuple[VerificationCase, ...]:
    """Return the cases of a set, in their order; nothing is rendered.

    Raises
    ------
    InputError : there is no such set.
    """
    if set_name not in SETS:
        raise InputError(f"there is no verification set '{set_name}': choose one of {', '.join(SETS)}")
    rows: Iterable[tuple[object, ...]]
    if set_name == "T1":
        rows = product((1.0, 1.5, 2.0, 3.0, 4.0), range(12), (0.3, 0.5), ((0.3,) * 3, (0.4,) * 3, (0.5, 0.5, 0.6)))
        names: tuple[str, ...] = ("diameter_mm", "orientation", "psf_sigma_mm", "spacing_mm")
    elif set_name == "T2":
        stenoses = (0.0, 10.0, 25.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0)
        rows = product(stenoses, ("noncalcified", "calcified", "mixed"), (0.0, 0.6))
        names = ("stenosis_percent", "plaque", "eccentricity")
    elif set_name == "T3":
        rows = product((50.0, 80.0, 110.0), ((2.0, 1.6, 1.3), (1.5, 1.3, 0.8)), range(4))
        names = ("angle_degrees", "radii_mm", "orientation")
    elif set_name == "T4":
        noise, motion = list(NOISE_STRATA), list(MOTION_STRATA)
        rows = [(HELD_OUT_FAMILIES[n % 2], noise[n // 2 % 3], motion[n // 6 % 3], _HEART_SEED + n) for n in range(100)]
        names = ("family", "noise", "motion", "seed")
    elif set_name == "T5":
        rows = [(_T5[n // 5], HELD_OUT_FAMILIES[n % 2], _HEART_SEED + 1000 + n) for n in range(10)]
        names = ("without", "family", "seed")
    else:
        rows = [(name,) for name in _STORAGES]
        names = ("storage",)
    return tuple(
        VerificationCase(set_name, number, tuple(zip(names, row, strict=True))) for number, row in enumerate(rows)
    )


def make_case(case: VerificationCase, report: StageReport = no_report) -> Phantom:
    """Return the study of a case."""
    if case.set_name in ("T4", "T5"):
        plan, acquisition = heart_of(case)
        return render_heart(plan, acquisition, report)
    if case.set_name == "T6":
        directions = rotation(61) if case.get("storage") == "oblique" else AXIAL
        return toy_study((0.8, 0.8, 0.9), directions, TOY_LESIONS, TOY_PHYSICS, report)
    vessels, lesions, physics, spacing = _tree_of(case)
    directions = rotation(case.number)
    points = np.concatenate([vessel.points_ras for vessel in vessels])
    grid = grid_around(points.min(axis=0) - 6.0, points.max(axis=0) + 6.0, spacing, directions)
    scene = tree_solids(vessels, lesions) + [plug for lesion in lesions for plug in _plugs(lesion, vessels[0])]
    fat = ATTENUATION_HU["fat"]
    known = mark_bifurcations(vessels)
    return render_study(_kind(case), scene, fat, known, lesions, grid, physics, ATTENUATION_HU, report)


def truth_of(case: VerificationCase) -> PhantomTruth:
    """Return the truth of a case; nothing is rendered but the small phantom of T6."""
    if case.set_name in ("T4", "T5"):
        plan, acquisition = heart_of(case)
        return heart_truth(plan, acquisition)
    if case.set_name == "T6":
        return make_case(case).truth
    vessels, lesions, physics, _ = _tree_of(case)
    return study_truth(_kind(case), mark_bifurcations(vessels), lesions, physics, ATTENUATION_HU)


def dicom_writer(case: VerificationCase) -> "partial[None] | None":
    """Return what writes the DICOM series of a case (`writing.write_phantom`); None where it has none."""
    storage = case.get("storage")
    return None if storage is None else partial(write_series, storage=_STORAGES[str(storage)])


def make_cached(case: VerificationCase, folder: Path, report: StageReport = no_report) -> Path:
    """Write a case below a folder unless it is there, and return the folder of the case.

    Several runs may share the folder: what another one has written meanwhile is the same.
    """
    from .writing import TRUTH_FILE, write_phantom

    target = folder / case.name
    if not (target / TRUTH_FILE).is_file():
        try:
            write_phantom(make_case(case, report), target, write_dicom=dicom_writer(case))
        except InputError:
            if not (target / TRUTH_FILE).is_file():
                raise
    return target


def heart_of(case: VerificationCase) -> tuple[HeartPlan, Acquisition]:
    """Return the heart and the scan of a case of T4 or T5."""
    seed, family = int(str(case.get("seed"))), str(case.get("family"))
    plan = plan_heart(seed, family)
    noise, motion = case.get("noise"), case.get("motion")
    acquisition = sample_acquisition(
        seed, "held-out", plan, None if noise is None else str(noise), None if motion is None else str(motion)
    )
    if case.get("without") == _T5[0]:
        plan = without_arteries(plan)
    elif case.get("without") == _T5[1]:
        plan = without_contrast(plan)
    return plan, _around_the_heart(acquisition, plan)


def _around_the_heart(acquisition: Acquisition, plan: HeartPlan) -> Acquisition:
    """Return a scan whose field of view holds the whole heart and little else, with common voxels."""
    draw = np.random.default_rng([acquisition.seed, 8])
    across, between = float(draw.choice([0.36, 0.4, 0.44])), float(draw.choice([0.4, 0.5, 0.6]))
    spacing = (across, across, between)
    low, high = plan.heart_bounds_ras
    extent = np.abs(acquisition.directions.T) @ (high - low) + 4.0
    size = np.ceil(extent / spacing).astype(int)
    x, y, z = (float(value) for value in (low + high) / 2)
    return replace(
        acquisition,
        center_ras=(x, y, z),
        spacing_mm=spacing,
        size_ijk=(int(size[0]), int(size[1]), int(size[2])),
    )


def _tree_of(
    case: VerificationCase,
) -> tuple[tuple[VesselTruth, ...], tuple[LesionShape, ...], Physics, tuple[float, float, float]]:
    """Return vessels, lesions, physics and voxels of a case of T1 to T3."""
    values = dict(case.parameters)
    lesions: tuple[LesionShape, ...] = ()
    if case.set_name == "T1":
        sigma, spacing = float(values["psf_sigma_mm"]), values["spacing_mm"]  # type: ignore[arg-type]
        diameter = float(values["diameter_mm"])  # type: ignore[arg-type]
        line = _straight_line(20.0, int(values["orientation"]))  # type: ignore[call-overload]
        vessels = (tree_vessel("LAD", line, (diameter, diameter)),)
        return vessels, lesions, Physics((sigma,) * 3, _NOISE_HU, case.number), spacing  # type: ignore[return-value]
    physics = Physics((0.35, 0.35, 0.45), _NOISE_HU, case.number)
    if case.set_name == "T2":
        percent = float(values["stenosis_percent"])  # type: ignore[arg-type]
        vessels = (tree_vessel("LAD", _straight_line(44.0, case.number), (3.0, 3.0)),)
        shape = "occlusion" if percent == 100 else "cosine"
        plaque, eccentricity = str(values["plaque"]), float(values["eccentricity"])  # type: ignore[arg-type]
        lesions = (LesionShape("LAD", 22.0, 10.0, percent, plaque, shape, 0.0 if percent == 100 else eccentricity),)
        return vessels, lesions, physics, (0.4, 0.4, 0.5)
    mother, main, side = (2 * float(radius) for radius in values["radii_mm"])  # type: ignore[attr-defined]
    pair = y_bifurcation(float(values["angle_degrees"]), (mother, main, side))  # type: ignore[arg-type]
    turn = rotation(100 + int(values["orientation"]))  # type: ignore[call-overload]
    turned = tuple(replace(vessel, points_ras=vessel.points_ras @ turn.T) for vessel in pair)
    return turned, lesions, physics, (0.4, 0.4, 0.5)


def _kind(case: VerificationCase) -> str:
    return {"T1": "cylinder", "T2": "lesion", "T3": "bifurcation"}[case.set_name]


def _plugs(lesion: LesionShape, vessel: VesselTruth) -> list[Painted]:
    """Return the plaque that closes the lumen where a lesion is an occlusion."""
    if lesion.diameter_stenosis_percent < 100:
        return []
    closed = lesion.factor(vessel.distance_mm) < 0.02
    radius = np.full(int(closed.sum()), 0.5)
    return [Painted(Tube(vessel.points_ras[closed], radius, True, True), ATTENUATION_HU["plaque"])]


def rotation(seed: int) -> np.ndarray:
    """Return a random rotation of axial directions."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_quat(np.random.default_rng([seed, 2]).normal(size=4)).as_matrix() @ AXIAL


def _straight_line(length_mm: float, seed: int) -> np.ndarray:
    """Return the ends of a line of random direction."""
    direction = np.random.default_rng([seed, 3]).normal(size=3)
    direction /= np.linalg.norm(direction)
    return np.stack([-length_mm / 2 * direction, length_mm / 2 * direction])
