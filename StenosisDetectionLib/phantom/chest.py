"""The heart and chest around the real coronary tree of the demo study, as simple solids, back to front.

Positions are RAS mm in the frame of that tree. The left ventricle is the ellipsoid of revolution that fits the
left coronary arteries best (RMS 1.2 mm), its wall drawn 2 mm inside it; the other chambers, great vessels and organs
are placed by anatomy between and around the arteries.
"""

from collections.abc import Sequence

import numpy as np

from .curves import resampled
from .render import Painted
from .solids import Ellipsoid, HalfSpace, Texture, Tube

ATTENUATION_HU = {
    "aorta": 400.0,
    "coronary_distal": 360.0,
    "left_heart": 380.0,
    "right_heart": 185.0,
    "pulmonary_artery": 205.0,
    "myocardium": 110.0,
    "fat": -90.0,
    "lung": -850.0,
    "muscle": 55.0,
    "liver": 95.0,
    "spine": 280.0,
    "cardiac_vein": 170.0,
    "vessel_wall": 75.0,
    "plaque": 60.0,
    "calcium": 800.0,
}
"""Attenuations painted, before blur and noise."""

LUNG = Texture(ATTENUATION_HU["lung"], 30.0, 6.0, seed=1)

LEFT_VENTRICLE_RAS = np.array([-47.8, 217.5, 1692.9])
RIGHT_VENTRICLE_RAS = np.array([-20.0, 243.0, 1690.0])
LEFT_ATRIUM_RAS = np.array([-16.0, 165.0, 1728.0])
_LV_AXIS = np.array([0.05, 0.76, -0.64])


def _ellipsoid(
    center: Sequence[float] | np.ndarray, semi_axes: Sequence[float] | np.ndarray, grow: float = 0.0
) -> Ellipsoid:
    return Ellipsoid(np.array(center), np.array(semi_axes) + grow, np.eye(3))


def _left_ventricle(semi_axis: float, radius: float) -> Ellipsoid:
    along = _LV_AXIS / np.linalg.norm(_LV_AXIS)
    first = np.cross(along, [1.0, 0.0, 0.0])
    first /= np.linalg.norm(first)
    axes = np.stack([along, first, np.cross(along, first)], axis=1)
    return Ellipsoid(LEFT_VENTRICLE_RAS, np.array([semi_axis, radius, radius]), axes)


def _tube(*stations: tuple[float, float, float, float]) -> Tube:
    """Return a tube through stations (x, y, z, radius)."""
    table = np.array(stations)
    return Tube(table[:, :3], table[:, 3])


_RV = (RIGHT_VENTRICLE_RAS, (36.0, 24.0, 32.0))
_RA = ((28.0, 199.0, 1703.0), (21.0, 23.0, 30.0))
_LA = (LEFT_ATRIUM_RAS, (25.0, 17.0, 22.0))


def organs() -> list[Painted]:
    """Return lungs' vessels, chest wall, spine, liver, fat and heart: everything but aortic root and coronaries."""
    hu = ATTENUATION_HU
    muscle = Texture(hu["muscle"], 15.0, 5.0, seed=2)
    fat = Texture(hu["fat"], 8.0, 7.0, seed=3)
    myocardium = Texture(hu["myocardium"], 8.0, 6.0, seed=4)
    spine = Texture(hu["spine"], 90.0, 3.0, seed=5)
    left_heart = hu["left_heart"]
    right_heart = Texture(hu["right_heart"], 20.0, 12.0, seed=6)  # contrast mixes with unenhanced blood
    pulmonary = hu["pulmonary_artery"]
    ventricle = _left_ventricle(59.0, 37.5)
    scene = [Painted(tube, tube_hu) for tube, tube_hu in _lung_vessels()]
    scene += [
        # Chest wall in front, diaphragm with liver and spleen below.
        Painted(HalfSpace(np.array([0.0, 272.0, 1690.0]), np.array([0.0, -0.97, -0.2425])), fat),
        Painted(HalfSpace(np.array([0.0, 277.0, 1690.0]), np.array([0.0, -0.97, -0.2425])), muscle),
        Painted(_ellipsoid((45.0, 200.0, 1585.0), (110.0, 95.0, 71.0)), hu["liver"]),
        Painted(_ellipsoid((-95.0, 190.0, 1590.0), (75.0, 80.0, 58.0)), hu["muscle"]),
        # Fat of the mediastinum and around the heart.
        Painted(_tube((4.0, 118.0, 1600.0, 34.0), (4.0, 118.0, 1830.0, 34.0)), fat),
        Painted(_tube((0.0, 160.0, 1600.0, 26.0), (0.0, 160.0, 1830.0, 26.0)), fat),
        Painted(_tube((2.0, 205.0, 1725.0, 42.0), (2.0, 205.0, 1830.0, 38.0)), fat),
        Painted(_ellipsoid((-22.0, 213.0, 1704.0), (65.0, 57.0, 56.0)), fat),
        Painted(_left_ventricle(66.0, 45.0), fat),
        Painted(_ellipsoid(*_RV, grow=6.0), fat),
        Painted(_ellipsoid(*_RA, grow=5.0), fat),
        # Spine, muscle beside it, descending aorta and esophagus.
        Painted(_ellipsoid((10.0, 103.0, 1710.0), (56.0, 24.0, 400.0)), muscle),
        Painted(_tube((12.0, 110.0, 1600.0, 22.0), (12.0, 110.0, 1830.0, 22.0)), spine),
        Painted(_tube((-19.0, 134.0, 1600.0, 11.0), (-17.0, 133.0, 1830.0, 11.5)), hu["aorta"]),
        Painted(_tube((2.0, 140.0, 1600.0, 5.0), (4.0, 141.0, 1830.0, 5.0)), hu["muscle"]),
        # Right heart: atrium with the great veins, ventricle, outflow tract and pulmonary trunk.
        Painted(_ellipsoid(*_RV, grow=0.0), myocardium),
        Painted(_ellipsoid(*_RA, grow=0.0), myocardium),
        Painted(_tube((31.0, 187.0, 1720.0, 9.0), (31.0, 184.0, 1830.0, 9.0)), Texture(260.0, 30.0, 6.0, seed=7)),
        Painted(_tube((27.0, 190.0, 1690.0, 11.0), (24.0, 180.0, 1600.0, 11.0)), 120.0),
        Painted(_tube((-25.0, 238.0, 1712.0, 16.0), (-23.0, 229.0, 1742.0, 13.5)), myocardium),
        Painted(_ellipsoid(*_RV, grow=-3.5), right_heart),
        Painted(_ellipsoid(*_RA, grow=-2.0), right_heart),
        Painted(_tube((-25.0, 238.0, 1712.0, 13.0), (-23.0, 229.0, 1742.0, 11.5)), right_heart),
        Painted(
            _tube((-23.0, 229.0, 1742.0, 12.0), (-20.0, 219.0, 1768.0, 12.5), (-12.0, 196.0, 1800.0, 13.0)), pulmonary
        ),
        # Left atrium with the pulmonary veins.
        Painted(_ellipsoid(*_LA, grow=1.5), hu["muscle"]),
        Painted(_ellipsoid(*_LA), left_heart),
        Painted(
            _tube((-30.0, 158.0, 1736.0, 7.0), (-52.0, 148.0, 1744.0, 6.0), (-80.0, 142.0, 1752.0, 4.0)), left_heart
        ),
        Painted(
            _tube((-28.0, 156.0, 1720.0, 7.0), (-48.0, 140.0, 1714.0, 6.0), (-80.0, 126.0, 1700.0, 4.0)), left_heart
        ),
        Painted(_tube((0.0, 158.0, 1738.0, 7.0), (22.0, 152.0, 1746.0, 6.0), (60.0, 150.0, 1756.0, 4.0)), left_heart),
        Painted(_tube((0.0, 156.0, 1720.0, 7.0), (20.0, 148.0, 1716.0, 6.0), (60.0, 134.0, 1706.0, 4.0)), left_heart),
        # Left ventricle: wall, cavity, mitral valve and outflow tract.
        Painted(ventricle, myocardium),
        Painted(_left_ventricle(48.0, 26.5), left_heart),
        Painted(_tube((-22.0, 172.0, 1724.0, 12.0), (-42.0, 196.0, 1710.0, 13.0)), left_heart),
        Painted(_tube((-13.0, 198.0, 1727.0, 11.5), (-38.0, 212.0, 1703.0, 13.0)), left_heart),
    ]
    # Papillary muscles stand free in the cavity.
    for x, z in ((-62.0, 1690.0), (-40.0, 1678.0)):
        muscle_tube = _tube((x, 216.0, z, 4.0), (x - 4.0, 234.0, z - 14.0, 5.0))
        scene.append(Painted(muscle_tube, hu["myocardium"]))
    return scene


def _lung_vessels() -> list[tuple[Tube, float]]:
    """Return branching vessels of both lungs with their attenuation; always the same ones."""
    generator = np.random.default_rng(20)
    vessels = []
    for number in range(70):
        side = 1.0 if number % 2 else -1.0
        root = np.array([side * 38.0 - 5.0, 158.0, 1735.0]) + generator.normal(0, 6, 3)
        heading = np.array([side, generator.normal(0, 0.9), generator.normal(0, 0.9)])
        heading /= np.linalg.norm(heading)
        turns = np.cumsum(generator.normal(0, 0.25, (12, 3)), axis=0)
        steps = heading + turns
        steps *= 9.0 / np.linalg.norm(steps, axis=1, keepdims=True)
        points = resampled(root + np.cumsum(steps, axis=0), spacing_mm=3.0, smoothing_mm=3.0)
        radius = np.linspace(generator.uniform(1.5, 3.0), 0.6, len(points))
        attenuation = ATTENUATION_HU["left_heart"] if number % 3 else ATTENUATION_HU["pulmonary_artery"]
        vessels.append((Tube(points, radius), attenuation))
    return vessels
