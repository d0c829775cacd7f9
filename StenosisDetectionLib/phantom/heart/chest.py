"""Paints everything but the coronary arteries and veins: chest wall, lungs, liver, great vessels, chambers."""

import numpy as np

from ..render import Field, Painted
from ..solids import Texture, Tube
from .implicit import Body, Cut, Implicit, Joined, Limb, Lobe, grown
from .shape import HeartShape


def lungs(hu: dict[str, float], seed: int) -> Texture:
    """Return the attenuation of lung tissue."""
    return Texture(hu["lung"], 45.0, 5.0, seed)


def chest(shape: HeartShape, hu: dict[str, float], generator: np.random.Generator) -> list[Painted]:
    """Return lung vessels, chest wall, bones, liver and mediastinum, back to front."""
    seeds = [int(n) for n in generator.integers(0, 2**31, 8)]
    muscle = Texture(hu["muscle"], 18.0, 4.0, seeds[0])
    fat = Texture(hu["fat"], 10.0, 6.0, seeds[1])
    s = shape.scale
    middle = np.array([8.0, -22.0, 0.0]) * s
    deep = float(generator.uniform(88, 98)) * s
    wide = float(generator.uniform(125, 145)) * s
    cavity = Lobe(middle, np.array([wide, deep, 420.0]), np.eye(3), 2.4)
    everything = Lobe(middle, np.array([600.0, 600.0, 600.0]), np.eye(3))
    fat_mm = float(generator.uniform(8, 35))
    scene = _lung_vessels(shape, hu, generator)
    for margin, attenuation in ((0.0, muscle), (16.0, fat), (18.0 + fat_mm, -1000.0)):
        scene.append(Painted(Implicit(Cut(everything, without=(grown(cavity, margin),)), 4.0), attenuation))
    scene += _bones(middle, wide, deep, hu, generator, seeds[2])

    # Diaphragm: liver on the right, stomach and spleen on the left.
    dome = -48.0 + float(generator.normal(0, 5))
    liver = Lobe(np.array([48.0, -15.0, dome - 75.0]) * s, np.array([105.0, 88.0, 72.0]) * s, np.eye(3), 2.3)
    left = Lobe(np.array([-75.0, -20.0, dome - 72.0]) * s, np.array([70.0, 75.0, 58.0]) * s, np.eye(3), 2.2)
    liver_hu = Texture(hu["liver"], 14.0, 5.0, seeds[3])
    scene.append(Painted(Implicit(grown(left, 2.0)), fat))
    scene.append(Painted(Implicit(left), Texture(hu["muscle"] + 20, 20.0, 12.0, seeds[4])))
    scene.append(Painted(Implicit(liver), liver_hu))

    # Mediastinum.
    aorta, down = shape.aorta, shape.descending
    windpipe = np.array([[14, -42, 130], [10, -52, 80], [8, -54, 62]]) * s
    right_bronchus = np.array([[8, -54, 62], [32, -60, 44], [54, -64, 28]]) * s
    left_bronchus = np.array([[8, -54, 62], [-16, -60, 44], [-40, -68, 36]]) * s
    gullet = Limb(
        np.array([[8, -66, 130], [2, -70, 60], [-4, -74, 0], [-8, -70, -45], [-14, -60, -140]]) * s, np.full(5, 6.0) * s
    )
    airways = [
        Limb(windpipe, np.array([8.5, 8.0, 7.5]) * s),
        Limb(right_bronchus, np.array([7.0, 6.0, 4.0]) * s),
        Limb(left_bronchus, np.array([6.5, 5.5, 4.0]) * s),
    ]
    thymus = Limb(np.array([[12, 25, 130], [10, 35, 60], [4, 50, 20]]) * s, np.array([26.0, 24.0, 12.0]) * s)
    soft: list[Body] = [grown(aorta, 5.0), grown(down, 4.0), grown(gullet, 4.0), grown(shape.pools["svc"], 4.0), thymus]
    soft += [grown(airway, 4.0) for airway in airways]
    soft += [grown(shape.pools[name], 3.0) for name in ("pa", "right_pa", "left_pa")]
    soft.append(Limb(np.array([[8, -60, 130], [4, -72, 60], [0, -78, 0], [0, -75, -120]]) * s, np.full(4, 17.0) * s))
    scene.append(Painted(Implicit(Joined(soft, 8.0)), fat))
    scene.append(Painted(Implicit(gullet), hu["muscle"]))
    for airway in airways:
        scene.append(Painted(Implicit(grown(airway, 1.3)), hu["muscle"] - 10))
        scene.append(Painted(Implicit(airway), -990.0))
    scene.append(Painted(Implicit(grown(down, 1.5)), hu["muscle"]))
    scene.append(Painted(Implicit(down), hu["descending_aorta"]))
    return scene


def heart(shape: HeartShape, hu: dict[str, float], generator: np.random.Generator) -> list[Painted]:
    """Return pericardium, epicardial fat, great vessels and chambers; the ascending aorta is left out."""
    seeds = [int(n) for n in generator.integers(0, 2**31, 4)]
    s = shape.scale
    fat = Texture(hu["fat"], 10.0, 6.0, seeds[0])
    walls, pools = shape.walls, shape.pools
    parts = [walls[name] for name in ("lv", "rv", "la", "ra", "laa", "pa", "aorta")]
    base = Joined(parts, 14.0)
    thick = float(generator.uniform(3.5, 8.0)) * s
    above = 45.0 * s  # the sac ends on the great vessels
    sac = Cut(grown(base, thick + 1.2), np.array([0.0, 0.0, above]), np.array([0.0, 0.0, 1.0]))
    room = Cut(grown(base, thick), np.array([0.0, 0.0, above]), np.array([0.0, 0.0, 1.0]))
    outside_fat = grown(Joined((walls["rv"], walls["ra"], walls["lv"]), 20.0), thick + float(generator.uniform(1, 7)))
    scene = [
        Painted(Implicit(outside_fat), fat),
        Painted(Implicit(sac), hu["pericardium"]),
        Painted(Implicit(room), fat),
    ]
    right: float | Field = Texture(hu["right_heart"], hu["right_mixing"], 11.0, seeds[1])
    myocardium = Texture(hu["myocardium"], 9.0, 6.0, seeds[2])
    cava = Texture(hu["vena_cava"], hu["right_mixing"], 7.0, seeds[3])
    for name in ("right_pa", "left_pa"):
        scene.append(Painted(Implicit(grown(pools[name], 1.2)), hu["muscle"]))
    scene.append(Painted(Implicit(grown(pools["svc"], 1.0)), hu["muscle"]))
    scene.append(Painted(Implicit(pools["svc"]), cava))
    scene.append(Painted(Implicit(pools["ivc"]), hu["inferior_cava"]))
    for name in ("vein_ru", "vein_rl", "vein_lu", "vein_ll"):
        scene.append(Painted(Implicit(pools[name]), hu["left_atrium"]))
    scene.append(Painted(Implicit(walls["ra"]), hu["atrial_wall"]))
    scene.append(Painted(Implicit(walls["la"]), hu["atrial_wall"]))
    scene.append(Painted(Implicit(walls["laa"]), hu["atrial_wall"]))
    for name in ("right_pa", "left_pa"):
        scene.append(Painted(Implicit(pools[name]), hu["pulmonary_artery"]))
    scene.append(Painted(Implicit(walls["pa"]), hu["atrial_wall"]))
    scene.append(Painted(Implicit(pools["pa"]), hu["pulmonary_artery"]))
    scene.append(Painted(Implicit(Joined((pools["la"], pools["laa"]), 3.0)), hu["left_atrium"]))
    scene.append(Painted(Implicit(pools["ra"]), right))
    scene.append(Painted(Implicit(walls["rv"]), myocardium, motion="rca"))
    scene.append(Painted(Implicit(Joined((pools["rv"], pools["rvot"]), 5.0)), right, motion="rca"))
    scene.append(Painted(Implicit(walls["lv"]), myocardium, motion="lad"))
    scene.append(Painted(Implicit(pools["lv"]), hu["left_ventricle"], motion="lad"))
    # Valves: openings between the chambers.
    axis = shape.long
    inflow = Limb(np.array([shape.mitral - 14 * axis * s, shape.mitral + 14 * axis * s]), np.array([13.0, 13.0]) * s)
    scene.append(Painted(Implicit(inflow), hu["left_ventricle"], motion="lad"))
    right_inflow = np.array([shape.tricuspid - 10 * axis * s, shape.tricuspid + 12 * axis * s])
    scene.append(Painted(Implicit(Limb(right_inflow, np.array([14.0, 14.0]) * s)), right, motion="rca"))
    # Papillary muscles stand free in the cavity.
    center, semi = shape.left_ventricle.center_ras, shape.left_ventricle.semi_axes_mm
    for angle in (2.3, 4.1):
        side = np.cos(angle) * shape.right - np.sin(angle) * shape.down
        ends = center + np.array([0.55 * semi[2] * side, 0.72 * semi[2] * side + 0.5 * semi[0] * axis])
        scene.append(Painted(Implicit(Limb(ends, np.array([3.5, 5.0]) * s)), myocardium, motion="lad"))
    for ventricle, count, motion in ((shape.left_ventricle, 14, "lad"), (shape.right_ventricle, 16, "rca")):
        scene += [Painted(tube, myocardium, motion=motion) for tube in _trabeculae(ventricle, count, generator)]
    return scene


def _trabeculae(ventricle: Lobe, count: int, generator: np.random.Generator) -> list[Tube]:
    """Return bundles of muscle along the inner surface of a ventricle, mostly toward its apex."""
    tubes = []
    for _ in range(count):
        angle, low = generator.uniform(0, 2 * np.pi), generator.uniform(-0.1, 0.6)
        along = np.linspace(low, low + generator.uniform(0.15, 0.4), 5)
        around = angle + np.cumsum(generator.normal(0, 0.12, 5))
        inner = np.sqrt(np.maximum(1 - along**2, 0.02)) * generator.uniform(0.88, 0.99)
        unit = np.stack([along, inner * np.cos(around), inner * np.sin(around)], axis=1)
        points = ventricle.center_ras + (unit * ventricle.semi_axes_mm) @ ventricle.axes.T
        tubes.append(Tube(points, np.full(5, generator.uniform(0.8, 2.2))))
    return tubes


def aortic_root(shape: HeartShape, hu: dict[str, float], label: int) -> list[Painted]:
    """Return the wall and the lumen of the ascending aorta with its sinuses and the outflow tract below it."""
    s = shape.scale
    outflow = Limb(np.array([[0.0, 0.0, 0.0], shape.left_ventricle.center_ras * 0.6]), np.array([10.5, 13.0]) * s)
    wall = Implicit(shape.walls["aorta"])
    return [
        Painted(wall, hu["vessel_wall"]),
        Painted(Implicit(outflow), hu["left_ventricle"]),
        Painted(Implicit(shape.aorta), hu["aorta"], label),
    ]


def _lung_vessels(shape: HeartShape, hu: dict[str, float], generator: np.random.Generator) -> list[Painted]:
    """Return branching arteries and veins of both lungs."""
    scene = []
    s = shape.scale
    names = ("right_pa", "left_pa", "vein_ru", "vein_rl", "vein_lu", "vein_ll")
    for name in names:
        limb = shape.pools[name]
        assert isinstance(limb, Limb)
        attenuation = hu["pulmonary_artery"] if name.endswith("pa") else hu["left_atrium"]
        root = limb.points_ras[-1]
        outward = limb.points_ras[-1] - limb.points_ras[-2]
        queue = [(root, outward / np.linalg.norm(outward), limb.radius_mm[-1] * 0.9, 0)]
        for _ in range(4 if name.endswith("pa") else 2):
            turn = generator.normal(0, 0.9, 3)
            heading = outward / np.linalg.norm(outward) + turn
            queue.append((limb.points_ras[-2], heading / np.linalg.norm(heading), limb.radius_mm[-1] * 0.7, 0))
        while queue:
            start, heading, radius, depth = queue.pop()
            steps = int(generator.integers(4, 8))
            turns = np.cumsum(generator.normal(0, 0.12, (steps, 3)), axis=0)
            way = heading + turns
            way *= (5.0 * s) / np.linalg.norm(way, axis=1, keepdims=True)
            points = np.concatenate([start[None], start + np.cumsum(way, axis=0)])
            end = max(0.78 * radius, 0.4)
            scene.append(Painted(Tube(points, np.linspace(radius, end, len(points))), attenuation))
            if depth < 4 and radius > 0.7:
                last = way[-1] / np.linalg.norm(way[-1])
                for share in (0.85, generator.uniform(0.55, 0.8)):
                    side = last + generator.normal(0, 0.45, 3)
                    queue.append((points[-1], side / np.linalg.norm(side), end * share, depth + 1))
    return scene


def _bones(
    middle: np.ndarray, wide: float, deep: float, hu: dict[str, float], generator: np.random.Generator, seed: int
) -> list[Painted]:
    """Return ribs, sternum and spine: bright cortex around marrow."""
    scene = []
    cortex, marrow = hu["cortical_bone"], Texture(hu["marrow"], 60.0, 2.5, seed)
    angle = np.linspace(0.25, 2.55, 28)  # from the spine along the side to the front
    first = float(generator.uniform(-12, 12))
    for side in (-1, 1):
        for level in range(-6, 8):
            z = first + 25.0 * level - 26.0 * (angle - 0.25) + 34.0
            power = 2 / 2.4
            x = middle[0] + side * (wide + 7) * np.abs(np.sin(angle)) ** power
            y = middle[1] - (deep + 7) * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
            points = np.column_stack([x, y, z])
            bone = points[:21]
            scene.append(Painted(Tube(points[20:], np.full(8, 5.0)), hu["muscle"] + 60))
            scene.append(Painted(Tube(bone, np.full(21, 5.5)), cortex))
            scene.append(Painted(Tube(bone, np.full(21, 4.0)), marrow))
    front = np.array([middle[0], middle[1] + deep + 8, 10.0])
    plate = Lobe(front, np.array([17.0, 6.0, 75.0]), np.eye(3), 3.0)
    scene.append(Painted(Implicit(plate), cortex))
    scene.append(Painted(Implicit(grown(plate, -1.5)), marrow))
    back = np.array([middle[0] + 2, middle[1] - deep + 2.0])
    spine = np.array([[*back, -200.0], [*back, 200.0]])
    scene.append(Painted(Tube(spine, np.array([17.0, 17.0])), hu["muscle"] + 40))
    for level in range(-7, 7):
        height = first + 25.0 * level
        body = Lobe(np.array([*back, height]), np.array([18.0, 15.0, 11.5]), np.eye(3), 3.5)
        scene.append(Painted(Implicit(body), cortex * 0.8))
        scene.append(Painted(Implicit(grown(body, -1.3)), marrow))
        for side in (-1, 1):
            lamina = back + np.array([[side * 11, -12], [side * 12, -22], [0, -36]])
            points = np.column_stack([lamina, height + np.array([2.0, -2.0, -12.0])])
            scene.append(Painted(Tube(points, np.full(3, 5.0)), cortex * 0.8))
            process = back + np.array([[side * 12, -20], [side * 32, -28]])
            scene.append(Painted(Tube(np.column_stack([process, [height, height + 4]]), np.full(2, 5.0)), cortex * 0.8))
    canal = np.column_stack([np.tile(back - [0, 22], (2, 1)), [-200.0, 200.0]])
    scene.append(Painted(Tube(canal, np.array([8.0, 8.0])), 40.0))
    return scene
