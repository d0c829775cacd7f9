"""The demo study: a synthetic CCTA of a real coronary tree with five stenoses of known degree pressed into it."""

import numpy as np

from ..geometry import transform_points
from ..progress import StageReport, no_report, part_of
from ..resources import resource_path
from .arteries import artery_solids
from .assembly import Physics, grid_around, render_study
from .chest import ATTENUATION_HU, LUNG, organs
from .coronary_model import CoronaryModel, load_coronary_model
from .curves import tangents
from .mesh import cut_sections
from .pressing import press_lesions
from .render import Painted
from .solids import Tube
from .truth import AORTA_LABEL, LUMEN_LABEL, LesionShape, Phantom, VesselTruth, complete_diameter

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
_LOW_RAS, _HIGH_RAS = np.array([-105.0, 122.0, 1645.0]), np.array([47.0, 274.0, 1776.0])

_CAP_MM = 4.0  # the closed top of the model, which the ascending aorta above it covers
_CORONARY_REACH = 1.4  # of its radius: voxels of the lumen label this near to a centerline are coronary
_CORONARY_MARGIN_MM = 0.4


def demo_study(
    seed: int = 0,
    report: StageReport = no_report,
    spacing_mm: tuple[float, float, float] = SPACING_MM,
    lesions: tuple[LesionShape, ...] = LESIONS,
    psf_sigma_mm: tuple[float, float, float] = PSF_SIGMA_MM,
    noise_hu: float = NOISE_HU,
) -> Phantom:
    """Return the demo study; the seed is that of the noise. Without lesions it is the real tree as it is.

    Raises
    ------
    InputError : `Resources/demo` is incomplete.
    """
    report(0.0, "reading the coronary tree")
    model = load_coronary_model(resource_path("demo"))
    report(0.08, "pressing the stenoses into it")
    lumen = press_lesions(model.mesh, model.vessels, lesions)
    scene = organs()
    scene.append(Painted(_ascending_aorta(model), ATTENUATION_HU["aorta"], AORTA_LABEL))
    scene += artery_solids(model.mesh, lumen, model.vessels, lesions)

    rendering = part_of(report, 0.1, 0.97)
    grid = grid_around(_LOW_RAS, _HIGH_RAS, spacing_mm)
    physics = Physics(psf_sigma_mm, noise_hu, seed)
    phantom = render_study("demo", scene, LUNG, model.vessels, lesions, grid, physics, ATTENUATION_HU, rendering)
    report(0.97, "separating aorta and coronary arteries")
    _label_aorta(phantom.lumen.labels, grid.ijk_to_ras, model.vessels)
    return phantom


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
