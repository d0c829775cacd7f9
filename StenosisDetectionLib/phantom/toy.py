"""The toy study: a small, complete, asymmetric heart of simple shapes that renders in seconds.

For tests of geometry and formats: the right coronary artery runs on the patient's right (RAS x > 0), the left
anterior descending artery to the front (y > 0) and the apex points left, front and down.
"""

import numpy as np

from ..progress import StageReport, no_report
from .assembly import AXIAL, Physics, grid_around, render_study
from .curves import curve_through
from .render import Painted
from .solids import Ellipsoid, Tube
from .tree import ATTENUATION_HU, mark_bifurcations, tree_solids, tree_vessel
from .truth import AORTA_LABEL, LesionShape, Phantom, VesselTruth
from .walls import around

TOY_LESIONS = (
    LesionShape("LAD", 25.0, 10.0, 60.0, "noncalcified"),
    LesionShape("RCA", 40.0, 12.0, 50.0, "mixed"),
)

TOY_PHYSICS = Physics((0.4, 0.4, 0.45), 20.0)
TOY_SPACING_MM = (0.6, 0.6, 0.6)

_LEFT_VENTRICLE_RAS = np.array([-20.0, 14.0, -24.0])
_FAT_MM = 2.5
_LOW_RAS, _HIGH_RAS = np.array([-62.0, -34.0, -62.0]), np.array([40.0, 56.0, 38.0])


def toy_vessels() -> tuple[VesselTruth, ...]:
    """Return the healthy vessels of the toy study."""
    lm = tree_vessel("LM", curve_through((-11.5, -3.0, 8.0), (-16.0, -4.5, 9.0), (-22.0, -4.0, 8.0)), (4.4, 4.2))
    start = tuple(lm.points_ras[-1])
    lad_line = curve_through(
        start, (-30.0, 6.0, 6.0), (-36.0, 20.0, 1.0), (-39.0, 34.0, -10.0), (-40.0, 43.0, -26.0), (-40.0, 44.0, -42.0)
    )
    lcx_line = curve_through(
        start, (-28.0, -13.0, 2.0), (-36.0, -19.0, -10.0), (-44.0, -16.0, -24.0), (-49.0, -6.0, -36.0)
    )
    lad = tree_vessel("LAD", lad_line, (3.7, 2.0), parent=lm)
    lcx = tree_vessel("LCX", lcx_line, (3.4, 2.0), parent=lm)
    at = tuple(lad.points_ras[60])
    d1 = tree_vessel(
        "D1", curve_through(at, (-43.0, 13.0, -1.0), (-51.0, 17.0, -10.0), (-55.0, 20.0, -22.0)), (2.2, 1.6), lad
    )
    rca_line = curve_through(
        (7.0, 9.5, 7.0),
        (13.0, 16.0, 6.0),
        (22.0, 22.0, -4.0),
        (28.0, 22.0, -18.0),
        (28.0, 14.0, -34.0),
        (19.0, 2.0, -44.0),
        (6.0, -9.0, -46.0),
    )
    rca = tree_vessel("RCA", rca_line, (3.9, 2.6))
    return lm, lad, lcx, d1, rca


def toy_study(
    spacing_mm: tuple[float, float, float] = TOY_SPACING_MM,
    directions: np.ndarray = AXIAL,
    lesions: tuple[LesionShape, ...] = TOY_LESIONS,
    physics: Physics = TOY_PHYSICS,
    report: StageReport = no_report,
) -> Phantom:
    """Return the toy study on a grid of any spacing and direction (columns: i, j, k in RAS)."""
    vessels = toy_vessels()
    hu = ATTENUATION_HU | {"left_heart": 380.0, "right_heart": 180.0, "myocardium": 110.0, "lung": -850.0}
    aorta = Tube(np.array([[0.0, 0.0, -4.0], [1.0, 0.0, 12.0], [6.0, 1.0, 60.0]]), np.array([11.0, 12.0, 12.5]))
    scene = [
        Painted(_ellipsoid((-12.0, 8.0, -14.0), (52.0, 44.0, 50.0)), hu["fat"]),
        Painted(Tube(np.array([[2.0, 0.0, 0.0], [4.0, 0.0, 70.0]]), np.array([26.0, 26.0])), hu["fat"]),
        Painted(_ellipsoid((8.0, 24.0, -26.0), (18.0, 15.0, 20.0)), hu["right_heart"]),
        Painted(_ellipsoid((20.0, -6.0, -22.0), (14.0, 15.0, 17.0)), hu["right_heart"]),
        Painted(_ellipsoid((-10.0, -22.0, -6.0), (17.0, 12.0, 13.0)), hu["left_heart"]),
        Painted(_ellipsoid(tuple(_LEFT_VENTRICLE_RAS), (25.0, 28.0, 30.0)), hu["myocardium"]),
        Painted(_ellipsoid(tuple(_LEFT_VENTRICLE_RAS), (16.0, 19.0, 21.0)), hu["left_heart"]),
        Painted(Tube(np.array([[0.0, 0.0, -2.0], [-14.0, 9.0, -14.0]]), np.array([10.0, 9.0])), hu["left_heart"]),
    ]
    scene += [Painted(around(vessel, _FAT_MM, spacing_mm=1.0), hu["fat"]) for vessel in vessels]
    scene += tree_solids(vessels, lesions, away_from_ras=_LEFT_VENTRICLE_RAS)
    # The aorta comes last: a coronary artery begins at its border.
    scene.append(Painted(aorta, hu["aorta"], AORTA_LABEL))
    grid = grid_around(_LOW_RAS, _HIGH_RAS, spacing_mm, directions)
    return render_study("toy", scene, hu["lung"], mark_bifurcations(vessels), lesions, grid, physics, hu, report)


def _ellipsoid(center: tuple[float, ...], semi_axes: tuple[float, ...]) -> Ellipsoid:
    return Ellipsoid(np.array(center), np.array(semi_axes), np.eye(3))
