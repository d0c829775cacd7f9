"""The demo study: a synthetic CCTA of a real coronary tree with five stenoses of known degree pressed into it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..geometry import transform_points
from ..progress import StageReport, no_report
from ..study import CTVolume, LabelMap
from .arteries import artery_solids, complete_diameter
from .chest import ATTENUATION_HU, LUNG, organs
from .coronary_model import CoronaryModel, load_coronary_model
from .curves import tangents
from .mesh import cut_sections
from .noise import correlated_noise
from .pressing import press_lesions
from .render import Painted, render
from .solids import Tube
from .truth import AORTA_LABEL, LUMEN_LABEL, LesionShape, Phantom, PhantomTruth, VesselTruth, lesion_truth

DEMO_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "demo"

LESIONS = (
    LesionShape("LAD", 17.0, 10.0, 60.0, "noncalcified", eccentricity=0.5),
    LesionShape("LAD", 60.0, 12.0, 35.0, "noncalcified"),
    LesionShape("LCX", 30.0, 12.0, 50.0, "mixed"),
    LesionShape("RCA", 83.0, 10.0, 75.0, "noncalcified"),
    LesionShape("RCA", 110.0, 12.0, 25.0, "calcified", shape="plateau"),
)
"""The stenoses of the demo study, all at sites above 2.2 mm and 5 mm away from bifurcations."""

PSF_SIGMA_MM = (0.35, 0.35, 0.45)
NOISE_HU = 25.0
SPACING_MM = (0.4, 0.4, 0.5)
_FIELD_OF_VIEW_RAS = ((-105.0, 47.0), (122.0, 274.0), (1645.0, 1776.0))

_CAP_MM = 4.0  # the closed top of the model, which the ascending aorta above it covers
_CORONARY_REACH = 1.4  # of its radius: voxels of the lumen label this near to a centerline are coronary
_CORONARY_MARGIN_MM = 0.4


def demo_study(
    seed: int = 0, report: StageReport = no_report, spacing_mm: tuple[float, float, float] = SPACING_MM
) -> Phantom:
    """Return the demo study; the seed is that of the noise.

    Raises
    ------
    InputError : `Resources/demo` is incomplete.
    """
    report(0.0, "reading the coronary tree")
    model = load_coronary_model(DEMO_FOLDER)
    report(0.08, "pressing the stenoses into it")
    lumen = press_lesions(model.mesh, model.vessels, LESIONS)
    vessels = tuple(_narrowed(vessel) for vessel in model.vessels)

    low = np.array([bounds[0] for bounds in _FIELD_OF_VIEW_RAS])
    high = np.array([bounds[1] for bounds in _FIELD_OF_VIEW_RAS])
    # i runs to the patient's left and j to the back, as in DICOM: the first voxel is right, anterior and inferior.
    ijk_to_ras = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    ijk_to_ras[:3, 3] = [high[0], high[1], low[2]]
    size = tuple(int(n) for n in np.round((high - low) / np.array(spacing_mm)))
    scene = organs()
    scene.append(Painted(_ascending_aorta(model), ATTENUATION_HU["aorta"], AORTA_LABEL))
    scene += artery_solids(model.mesh, lumen, model.vessels, LESIONS)

    def rendering(fraction: float, message: str) -> None:
        report(0.1 + 0.75 * fraction, message)

    voxels, labels = render(scene, (size[0], size[1], size[2]), ijk_to_ras, PSF_SIGMA_MM, LUNG, rendering)
    report(0.85, "adding noise")
    voxels += correlated_noise(voxels.shape, spacing_mm, NOISE_HU, seed)
    np.round(voxels, out=voxels)
    report(0.97, "separating aorta and coronary arteries")
    _label_aorta(labels, ijk_to_ras, vessels)
    truth = PhantomTruth(
        kind="demo",
        vessels=vessels,
        lesions=tuple(
            lesion_truth(shape, vessel) for shape in LESIONS for vessel in vessels if vessel.name == shape.vessel
        ),
        psf_sigma_mm=PSF_SIGMA_MM,
        noise_hu=NOISE_HU,
        seed=seed,
        attenuation_hu=dict(ATTENUATION_HU),
    )
    acquisition: dict[str, str | float | bool] = {"kvp": 120.0, "contrast_agent": True, "manufacturer": "phantom"}
    volume = CTVolume(voxels, ijk_to_ras, acquisition=acquisition)
    names = {LUMEN_LABEL: "Coronary lumen", AORTA_LABEL: "Aorta"}
    return Phantom(volume, truth, LabelMap(labels, ijk_to_ras, names))


def _narrowed(vessel: VesselTruth) -> VesselTruth:
    """Return a vessel with the lumen diameter that its lesions leave."""
    factor = np.ones_like(vessel.distance_mm)
    for lesion in LESIONS:
        if lesion.vessel == vessel.name:
            factor *= lesion.factor(vessel.distance_mm)
    return replace(vessel, diameter_mm=vessel.healthy_diameter_mm * factor)


def _ascending_aorta(model: CoronaryModel) -> Tube:
    """Return the aorta above the model, as wide as the model's top and in its direction."""
    top = int(np.argmin(np.abs(model.aorta_ras[:, 2] - (model.aorta_ras[:, 2].max() - _CAP_MM))))
    along = tangents(model.aorta_ras)[top]
    along *= np.sign(along[2])
    radius = cut_sections(model.mesh, model.aorta_ras[top : top + 1], along[None]).diameter_mm[0] / 2
    end = model.aorta_ras[top] + 40.0 * along
    return Tube(np.stack([model.aorta_ras[top], end]), np.array([radius, radius]))


def _label_aorta(labels: np.ndarray, ijk_to_ras: np.ndarray, vessels: tuple[VesselTruth, ...]) -> None:
    """Relabel as aorta the voxels of the closed surface that are not near a coronary centerline, in place.

    The surface holds root and coronaries in one; an ostium is where the centerline leaves the aorta.
    """
    from scipy.spatial import cKDTree

    reach = np.concatenate([_CORONARY_REACH * complete_diameter(v) / 2 + _CORONARY_MARGIN_MM for v in vessels])
    tree = cKDTree(np.concatenate([v.points_ras for v in vessels]))
    kji = np.argwhere(labels == LUMEN_LABEL)
    distance, nearest = tree.query(transform_points(ijk_to_ras, kji[:, ::-1]))
    labels[tuple(kji[distance > reach[nearest]].T)] = AORTA_LABEL
