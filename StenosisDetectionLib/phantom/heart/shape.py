"""The shape of a heart: great vessels and chambers as smooth bodies, in a frame that follows the left ventricle.

The origin is the aortic annulus. Pose of ventricle, root and aorta are those of real patients (see `Resources/heart`);
the other chambers are placed by anatomy around them.
"""

from dataclasses import dataclass

import numpy as np

from .implicit import Body, Cut, Joined, Limb, Lobe, grown
from .measured import draw_pose


@dataclass(frozen=True, eq=False)
class ShapeLaw:
    """How a family shapes its bodies: exponents, size of the waves, and how round the edges between them are."""

    exponent: tuple[float, float] = (2.0, 2.0)
    waves: float = 0.0
    blend_mm: tuple[float, float] = (6.0, 10.0)
    limbs: bool = False


@dataclass(frozen=True, eq=False)
class HeartShape:
    """Bodies of one heart, outer surfaces (`*_wall`) and blood pools; RAS mm.

    `long`, `right` and `down` are the axes of the ventricles: from base to apex, from the left to the right
    ventricle, and from the anterior to the inferior side.
    """

    scale: float
    long: np.ndarray
    right: np.ndarray
    down: np.ndarray
    left_ventricle: Lobe
    left_wall_mm: float
    right_ventricle: Lobe
    mitral: np.ndarray
    tricuspid: np.ndarray
    root_axis: np.ndarray
    root_center: np.ndarray
    root_radius: float
    pools: dict[str, Body]
    walls: dict[str, Body]
    sinuses: dict[str, np.ndarray]
    aorta: Joined
    descending: Limb
    blend_mm: float

    @property
    def ventricles(self) -> Joined:
        """The outer surface of both ventricles with the groove between them filled."""
        return Joined((self.walls["lv"], self.walls["rv"]), self.blend_mm)

    @property
    def atria(self) -> Joined:
        """The outer surface of both atria."""
        return Joined((self.walls["la"], self.walls["ra"]), self.blend_mm)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _from(start: np.ndarray, *offsets: list[float]) -> np.ndarray:
    """Return points at offsets from a point."""
    return start + np.array(offsets, dtype=np.float64)


def _of_limbs(form: Lobe) -> Joined:
    """Return a body about as large as a lobe, but made of rows of spheres: blunter, with flat sides."""
    order = np.argsort(form.semi_axes_mm)
    thin, middle, long = (form.semi_axes_mm[n] for n in order)
    across, along = form.axes[:, order[1]], form.axes[:, order[2]]
    place = np.linspace(-1, 1, 7)
    radius = thin * (0.62 + 0.38 * (1 - place**2))
    rows = []
    for side in (-1, 1) if middle < 1.35 * thin else (-1, 0, 1):
        shift = side * max(middle - thin, 0.0) * (1 - 0.35 * place**2)
        reach = (long - radius[0]) * place * (1 - 0.12 * abs(side))
        rows.append(Limb(form.center_ras + reach[:, None] * along + shift[:, None] * across, radius))
    return Joined(rows, 0.35 * thin)


def draw_shape(generator: np.random.Generator, law: ShapeLaw, scale: float) -> HeartShape:
    """Return the shape of a heart; `scale` is its size against that of a large man."""
    draw = generator.normal
    pose = draw_pose(generator)
    # Hearts of the patients measured lie flat; many stand steeper, with their base in place.
    long = _unit(pose["long_axis"] + [0.04, 0.0, -0.10] + draw(0, [0.06, 0.05, 0.10]))
    offset = pose["ventricle_center"] + 48.0 * (long - _unit(pose["long_axis"]))
    right = np.array([0.72, 0.62, -0.24]) + draw(0, [0.06, 0.06, 0.10])
    right = _unit(right - (right @ long) * long)
    down = np.cross(long, right)
    axes = np.stack([long, right, down], axis=1)

    def built(form: Lobe) -> Body:
        return _of_limbs(form) if law.limbs else form

    def lobe(center: np.ndarray, semi: np.ndarray, own_axes: np.ndarray = axes) -> Lobe:
        exponent = float(generator.uniform(*law.exponent))
        waves = draw(0, law.waves, 7) if law.waves else np.zeros(0)
        shrink = 2 ** (0.5 - 1 / exponent) if exponent > 2 else 1.0
        return Lobe(center * scale, semi * scale / shrink, own_axes, exponent, waves)

    length, wide, thin = np.clip(pose["semi_axes"] * [0.97, 0.86, 0.92], [41, 21, 20.5], [53, 29, 28])
    pool = lobe(offset, np.array([length, wide, thin] if generator.random() < 0.5 else [length, thin, wide]))
    wall_mm = generator.uniform(8.0, 11.5) * scale
    right_center = offset + 38.0 * right - (4.0 + draw(0, 3)) * long + (5.0 + draw(0, 3)) * down
    rv = lobe(right_center, np.array([47.0, 24.0, 37.0]) * generator.uniform(0.92, 1.08, 3))
    mitral = (offset - 0.72 * length * long + np.array([-2.0, -4.0, 0.0])) * scale
    tricuspid = (right_center - 32.0 * long) * scale

    # Aorta: annulus at the origin, sinuses, tube; then the arch and the way down.
    rise, steps = pose["ascending"][:, :3], generator.uniform(0.72, 0.98)
    root_axis = _unit(_unit(rise[0]) + _unit(rise[1] - rise[0]))
    width = float(generator.uniform(0.88, 1.12))
    stations = [8.0 * root_axis * t for t in (-0.5, 0.7, 1.4, 2.3)]
    arch = rise[2] + np.array([[-9.0, -12.0, 22.0], [-30.0, -48.0, 34.0]])
    fall = pose["descending"][::-1]
    fall[1:, 1] = np.minimum(fall[1:, 1], [-84.0, -72.0])  # behind the left atrium
    last = fall[0, :3] + [1.0, 6.0, 22.0]
    tubular = 0.5 * steps * pose["ascending"][:, 3]
    radius = np.array([11.5 * width, *[13.5 * width] * 3, *tubular[1:], tubular[2], 0.95 * tubular[2], 14.0])
    toward_right = np.array([0.18, 0.96, 0.0]) + draw(0, 0.12, 3)
    toward_right = _unit(toward_right - (toward_right @ root_axis) * root_axis)
    sinuses = {}
    for name, turn in (("right", 0.0), ("left", 2 * np.pi / 3), ("none", -2 * np.pi / 3)):
        sinuses[name] = np.cos(turn) * toward_right + np.sin(turn) * np.cross(root_axis, toward_right)
    bulge = float(generator.uniform(6.0, 8.0)) * width
    bulb = [
        Lobe((8.5 * root_axis + bulge * way) * scale, np.full(3, 9.8) * width * scale, np.eye(3))
        for way in sinuses.values()
    ]
    tube = Limb(np.array([*stations, *rise[1:], *arch, last]) * scale, radius * scale)
    aorta = Joined((tube, *bulb), 3.0 * scale)
    bottom = fall[-1, :3] + [*draw(0, 4, 2), -110.0]
    narrow = 0.5 * generator.uniform(0.78, 0.98) * fall[:, 3]
    descending = Limb(
        np.array([last, *fall[:, :3], bottom]) * scale, np.array([narrow[0], *narrow, 0.9 * narrow[-1]]) * scale
    )
    root_center = 8.5 * root_axis * scale
    root_radius = float((bulge + 9.8 * width) * scale)

    # Outflow tract of the right ventricle and pulmonary arteries, in front of the root and to its left.
    valve = np.array([-13.0, 27.0, 17.0]) + draw(0, 2, 3)
    trunk = _from(valve, [0, 0, 0], [-1, -9, 16], [-1, -27, 31])
    outflow = np.array([right_center - 12 * down, *_from(valve, [4, 5, -14], [0, 0, 0])])
    pools: dict[str, Body] = {}
    pools["rvot"] = Limb(outflow * scale, np.array([17.0, 13.0, 11.0]) * scale)
    pools["pa"] = Limb(trunk * scale, np.array([11.5, 12.5, 12.0]) * scale)
    split = trunk[-1]
    right_pa = _from(split, [0, 0, 0], [20, -18, 1], [52, -24, -3], [75, -26, -10])
    left_pa = _from(split, [0, 0, 0], [-18, -18, 6], [-36, -34, 2], [-50, -42, -14])
    pools["right_pa"] = Limb(right_pa * scale, np.array([9.5, 9.0, 8.0, 5.5]) * scale)
    pools["left_pa"] = Limb(left_pa * scale, np.array([9.5, 9.5, 8.0, 5.5]) * scale)

    # Atria with appendages.
    left_center = mitral / scale - 14 * long + np.array([-4.0, -16.0, 2.0]) + draw(0, 2, 3)
    la = lobe(left_center, np.array([32.0, 20.0, 25.0]) * generator.uniform(0.9, 1.12, 3), np.eye(3))
    appendage_root = left_center + np.array([-24.0, 6.0, 11.0])
    appendage = appendage_root + np.array([[0, 0, 0], [-11, 12, 6], [-13, 24, 8], [-7, 33, 7]])
    laa = Limb(appendage * scale, np.array([8.0, 7.5, 6.5, 4.0]) * scale)
    right_atrium = tricuspid / scale - 17 * long + np.array([9.0, -3.0, 2.0]) + draw(0, 2, 3)
    ra = lobe(right_atrium, np.array([22.0, 25.0, 32.0]) * generator.uniform(0.92, 1.1, 3), np.eye(3))
    ear = right_atrium + np.array([[-2, 8, 18], [-6, 20, 27], [-12, 31, 30]])
    raa = Limb(ear * scale, np.array([11.0, 9.0, 6.0]) * scale)
    cava = right_atrium + np.array([[-2, -10, 20], [0, -16, 45], [2, -12, 110]])
    pools["svc"] = Limb(cava * scale, np.array([9.0, 8.5, 9.0]) * scale)
    inferior = right_atrium + np.array([[-4, -6, -20], [-8, -12, -45], [-8, -14, -110]])
    pools["ivc"] = Limb(inferior * scale, np.array([11.0, 11.5, 12.0]) * scale)
    veins = {
        "vein_ru": [[20, -6, 12], [40, -12, 20], [70, -14, 34]],
        "vein_rl": [[20, -10, -8], [40, -18, -14], [68, -24, -26]],
        "vein_lu": [[-22, -6, 13], [-40, -14, 22], [-66, -18, 36]],
        "vein_ll": [[-20, -12, -8], [-38, -22, -14], [-62, -32, -28]],
    }
    for name, way in veins.items():
        pools[name] = Limb((left_center + np.array(way)) * scale, np.array([7.5, 6.5, 4.0]) * scale)

    keep_off = grown(aorta, 3.0)  # room for the wall of the root and what is around it
    blend = float(generator.uniform(*law.blend_mm)) * scale
    pools["lv"] = built(pool)
    pools["rv"] = built(rv)
    pools["la"] = Cut(built(la), without=(keep_off,))
    pools["laa"] = laa
    pools["ra"] = Cut(Joined((built(ra), raa), 4.0), without=(keep_off,))
    lv_wall = Joined((grown(pools["lv"], wall_mm),))
    rv_wall = Joined((grown(pools["rv"], 3.2 * scale), grown(pools["rvot"], 3.0 * scale)), 6.0)
    walls: dict[str, Body] = {
        "lv": lv_wall,
        "rv": rv_wall,
        "la": grown(pools["la"], 2.0),
        "laa": grown(laa, 1.5),
        "ra": grown(pools["ra"], 2.0),
        "pa": grown(pools["pa"], 1.5),
        "aorta": grown(aorta, 1.8),
    }
    return HeartShape(
        scale, long, right, down, pool, wall_mm, rv, mitral, tricuspid, root_axis, root_center, root_radius,
        pools, walls, sinuses, aorta, descending, blend,
    )  # fmt: skip
