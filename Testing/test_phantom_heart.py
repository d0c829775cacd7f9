"""Planned hearts: laws, clearance, sides, lesions and plaque volumes."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial import cKDTree

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.phantom.assembly import grid_around
from StenosisDetectionLib.phantom.cells import Painted
from StenosisDetectionLib.phantom.heart import FAMILIES, HELD_OUT_FAMILIES, TRAINING_FAMILIES, plan_heart
from StenosisDetectionLib.phantom.heart.calibers import behind_bifurcation
from StenosisDetectionLib.phantom.heart.coronaries import ANOMALY_SHARE, DOMINANCE, draw_rarities, draw_tree
from StenosisDetectionLib.phantom.heart.courses import draw_courses
from StenosisDetectionLib.phantom.heart.disease import LesionLaw, draw_lesions, draw_stents
from StenosisDetectionLib.phantom.heart.families import family_of
from StenosisDetectionLib.phantom.heart.measured import draw_pose
from StenosisDetectionLib.phantom.heart.plaque import lesion_geometry, plaque_volumes
from StenosisDetectionLib.phantom.heart.routes import ANOMALIES
from StenosisDetectionLib.phantom.heart.shape import ShapeLaw, draw_shape
from StenosisDetectionLib.phantom.heart.tortuosity import TortuosityLaw
from StenosisDetectionLib.phantom.heart.vessels import Contents, vessel_solids
from StenosisDetectionLib.phantom.render import rendered
from StenosisDetectionLib.phantom.solids import Tube
from StenosisDetectionLib.phantom.tree import tree_vessel
from StenosisDetectionLib.phantom.truth import (
    LESION_KINDS,
    LUMEN_LABEL,
    SHAPES,
    SIDE_BRANCH_LABEL,
    VEIN_LABEL,
    LesionShape,
)

CASES = [(seed, family) for seed, family in enumerate(FAMILIES)]


@pytest.fixture(scope="module")
def plans():
    return [plan_heart(seed, family) for seed, family in CASES]


@pytest.fixture(scope="module")
def bare_heart():
    """A shape, its courses and its tree, without disease."""
    generator = np.random.default_rng(3)
    tree = None
    while tree is None:
        shape = draw_shape(generator, ShapeLaw(waves=0.02), 0.95)
        tree = _tree(shape, None, generator)
    return shape, tree


def _tree(shape, anomaly, generator):
    courses = draw_courses(shape, generator)
    return draw_tree(courses, False, "right", anomaly, TortuosityLaw(), ("finet",), generator)


# --- a plan as a whole


def test_a_seed_gives_the_same_heart_again_and_another_seed_another(plans):
    again, other = plan_heart(*CASES[1]), plan_heart(CASES[1][0] + 1, CASES[1][1])
    plan = plans[1]
    assert [v.name for v in plan.vessels] == [v.name for v in again.vessels]
    for one, two in zip(plan.vessels, again.vessels, strict=True):
        assert np.array_equal(one.points_ras, two.points_ras) and np.array_equal(one.diameter_mm, two.diameter_mm)
    assert plan.lesions == again.lesions and plan.attenuation_hu == again.attenuation_hu
    assert len(plan.scene) == len(again.scene)
    assert plan.attenuation_hu != other.attenuation_hu


def test_training_takes_no_held_out_family():
    assert not set(TRAINING_FAMILIES) & set(HELD_OUT_FAMILIES) and len(TRAINING_FAMILIES) >= 3
    assert plan_heart(2).family in TRAINING_FAMILIES
    with pytest.raises(InputError, match="choose one of training, ellipsoid"):
        plan_heart(1, "cubist")


def test_held_out_families_differ_in_laws():
    known = [family_of(name) for name in TRAINING_FAMILIES]
    for name in HELD_OUT_FAMILIES:
        law = family_of(name)
        assert not set(law.branching) & {b for k in known for b in k.branching}
        assert not set(law.lesions.shapes) & {s for k in known for s in k.lesions.shapes}
        assert law.tortuosity.kind not in {k.tortuosity.kind for k in known}
        assert all((law.shape.exponent, law.shape.limbs) != (k.shape.exponent, k.shape.limbs) for k in known)


def test_every_tree_has_its_trunks_and_the_posterior_vessels(plans):
    for plan in plans:
        names = [v.name for v in plan.vessels]
        assert {"LAD", "LCX", "RCA", "PDA"} <= set(names) and len(names) == len(set(names))
        parent = next(v.parent for v in plan.vessels if v.name == "PDA")
        assert parent == ("LCX" if plan.dominance == "left" else "RCA")
        for place, vessel in enumerate(plan.vessels):
            assert vessel.parent is None or vessel.parent in names[:place]
        for number in ("D2", "OM2", "AM2"):
            assert number not in names or number[:-1] + "1" in names


def test_segments_follow_the_vessels(plans):
    for plan in plans:
        for vessel in plan.vessels:
            ends = [0.0, *(end for _, _, end in vessel.segments)]
            assert [start for _, start, _ in vessel.segments] == ends[:-1]
            if vessel.segments:
                assert ends[-1] == pytest.approx(vessel.distance_mm[-1]) and np.all(np.diff(ends) > 0)
        rca = next(v for v in plan.vessels if v.name == "RCA")
        assert [number for number, _, _ in rca.segments] == [1, 2, 3]


def test_patient_left_is_left(plans):
    for plan in plans:
        if plan.anomalies:
            continue
        vessel = {v.name: v.points_ras for v in plan.vessels}
        left = plan.ostia_ras["LM"]
        assert vessel["RCA"][:, 0].max() > left[0] + 20  # right of the root
        assert vessel["RCA"][0, 1] > left[1]  # the right sinus is the anterior one
        assert vessel["LAD"][-1, 0] < left[0] - 30 and vessel["LAD"][:, 1].max() > left[1] + 20
        assert vessel["LCX"][:, 1].min() < left[1] - 10  # behind
        assert vessel["LAD"][-1, 2] < left[2] - 15  # the apex lies below


def test_points_are_even_and_branches_begin_on_their_parents(plans):
    for plan in plans:
        by_name = {v.name: v for v in plan.vessels}
        for vessel in plan.vessels:
            steps = np.linalg.norm(np.diff(vessel.points_ras, axis=0), axis=1)
            assert steps.max() < 0.26 and steps.min() > 0.15
            assert np.allclose(np.diff(vessel.distance_mm), 0.25)
            if vessel.parent:
                nearest = np.linalg.norm(by_name[vessel.parent].points_ras - vessel.points_ras[0], axis=1)
                assert nearest.min() < 0.15
                assert 0.25 * int(nearest.argmin()) == pytest.approx(vessel.parent_distance_mm, abs=0.5)


# --- laws


def test_dominance_and_anomalies_are_as_frequent_as_in_people():
    generator = np.random.default_rng(1)
    draws = [draw_rarities(generator) for _ in range(20000)]
    for name, share in DOMINANCE.items():
        assert np.mean([d == name for d, _ in draws]) == pytest.approx(share, abs=0.01)
    assert np.mean([a is not None for _, a in draws]) == pytest.approx(ANOMALY_SHARE, abs=0.004)
    assert {a for _, a in draws} == {None, *ANOMALIES}


@pytest.mark.parametrize(
    ("law", "before", "side", "behind"),
    [
        ("finet", 3.0, 1.8, 3.0 / 0.678 - 1.8),
        ("huo-kassab", 3.0, 1.8, (3.0 ** (7 / 3) - 1.8 ** (7 / 3)) ** (3 / 7)),
        ("murray", 3.0, 1.8, (27 - 1.8**3) ** (1 / 3)),
        ("finet", 3.33, 0.5, 0.98 * 3.33),  # never wider than before
    ],
)
def test_bifurcation_laws(law, before, side, behind):
    assert behind_bifurcation(before, side, law, np.random.default_rng(0)) == pytest.approx(behind, rel=1e-6)


def test_behind_a_bifurcation_of_a_vessel_that_tapered_to_nothing_there_is_a_number():
    for law in ("finet", "huo-kassab", "murray"):
        assert behind_bifurcation(-0.3, -0.24, law, np.random.default_rng(0)) == pytest.approx(-0.294)


def test_diameters_lie_in_the_range_of_people_and_never_grow(plans):
    first = {}
    for plan in plans:
        for vessel in plan.vessels:
            width = vessel.healthy_diameter_mm
            assert width.min() >= 1.0 and np.diff(width).max() < 1e-9
            first.setdefault(vessel.name, []).append(width[0])
    for name, low, high in (("LM", 2.8, 6.8), ("LAD", 2.3, 5.0), ("LCX", 1.9, 5.4), ("RCA", 1.6, 5.6)):
        assert low < min(first[name]) and max(first[name]) < high
    assert np.mean(first["LM"]) > np.mean(first["LAD"]) > np.mean(first["D1"])


def test_side_branches_are_small_and_painted_apart(plans):
    for plan in plans:
        assert len(plan.side_branches) > 5
        assert max(b.diameter_mm.max() for b in plan.side_branches) < 1.2
        assert sum(p.label == SIDE_BRANCH_LABEL for p in plan.scene) == len(plan.side_branches)
        assert {b.parent for b in plan.side_branches} <= {v.name for v in plan.vessels}


def test_poses_come_from_the_patients_measured():
    generator = np.random.default_rng(0)
    poses = [draw_pose(generator) for _ in range(400)]
    center = np.mean([p["ventricle_center"] for p in poses], axis=0)
    assert center == pytest.approx([-40.4, 3.6, -20.4], abs=0.8)
    assert all(p["long_axis"][0] < 0 < p["long_axis"][1] for p in poses)  # the apex points left and front
    assert all((p["descending"][:, 1] < p["ascending"][:, 1] - 30).all() for p in poses)


# --- clearance


def test_arteries_do_not_touch_each_other_or_the_veins(plans):
    for plan in plans:
        veins = [p.solid for p in plan.scene if p.label == VEIN_LABEL]
        assert len(veins) >= 2
        for place, vessel in enumerate(plan.vessels):
            radius = vessel.healthy_diameter_mm / 2
            for vein in veins:
                away, nearest = cKDTree(vein.points_ras).query(vessel.points_ras)
                assert (away - radius - vein.radius_mm[nearest]).min() > -0.4, (plan.family, vessel.name)
            for other in plan.vessels[:place]:
                away, nearest = cKDTree(other.points_ras).query(vessel.points_ras)
                apart = away - radius - other.healthy_diameter_mm[nearest] / 2
                if other.name == vessel.parent or (other.parent == vessel.parent and vessel.parent):
                    apart = apart[np.linalg.norm(vessel.points_ras - vessel.points_ras[0], axis=1) > 10]
                assert len(apart) == 0 or apart.min() > 0, (plan.family, vessel.name, other.name)


def test_arteries_begin_at_the_sinus_wall_and_stay_out_of_the_chambers(bare_heart):
    shape, tree = bare_heart
    for place in tree.ostia_ras.values():
        assert abs(float(shape.aorta(place[None])[0])) < 0.1
    for vessel in tree.vessels:
        outside = np.linalg.norm(vessel.points_ras - tree.ostia_ras.get(vessel.name, np.inf), axis=1) > 10
        points, radius = vessel.points_ras[outside], vessel.healthy_diameter_mm[outside] / 2
        for name in ("lv", "rv", "la", "ra", "pa"):
            if len(points):
                assert (shape.pools[name](points) - radius).min() > 0.3, (vessel.name, name)


@pytest.mark.parametrize("anomaly", ANOMALIES)
def test_anomalies(anomaly):
    tree, seed = None, 0
    while tree is None:
        generator = np.random.default_rng(seed)
        shape = draw_shape(generator, ShapeLaw(), 0.95)
        tree, seed = _tree(shape, anomaly, generator), seed + 1
    parents = {v.name: v.parent for v in tree.vessels}
    height = {name: float((p - shape.root_center) @ shape.root_axis) for name, p in tree.ostia_ras.items()}
    side = {name: p - shape.root_center for name, p in tree.ostia_ras.items()}
    assert tree.anomalies == (anomaly,)
    if anomaly == "separate ostia":
        assert "LM" not in parents and parents["LAD"] is None and parents["LCX"] is None
        assert 3 < np.linalg.norm(tree.ostia_ras["LAD"] - tree.ostia_ras["LCX"]) < 15
    elif anomaly == "circumflex from the right":
        assert parents["LCX"] is None and side["LCX"] @ shape.sinuses["left"] < 0
    elif anomaly == "right from the left sinus":
        assert side["RCA"] @ shape.sinuses["left"] > side["RCA"] @ shape.sinuses["right"]
    else:
        assert max(height.values()) > 9


# --- disease


def test_all_kinds_of_lesions_are_drawn_and_fit(plans):
    vessels = next(p.vessels for p in plans if p.dominance == "right")
    by_name = {v.name: v for v in vessels}
    law = LesionLaw()
    lesions = []
    healthy = 0
    for seed in range(250):
        own = draw_lesions(vessels, law, np.random.default_rng(seed))
        healthy += not own
        lesions += own
        for vessel in vessels:
            mine = sorted((x for x in own if x.vessel == vessel.name), key=lambda x: x.start_mm)
            assert all(a.end_mm < b.start_mm for a, b in pairwise(mine))
    assert {x.kind for x in lesions} == set(LESION_KINDS)
    assert {x.plaque for x in lesions} == {"noncalcified", "mixed", "calcified"}
    assert 0.15 < healthy / 250 < 0.45
    for lesion in lesions:
        vessel = by_name[lesion.vessel]
        assert lesion.start_mm >= 0 and lesion.end_mm < vessel.distance_mm[-1]
        assert np.interp(lesion.end_mm, vessel.distance_mm, vessel.healthy_diameter_mm) > 1.3
        if lesion.kind == "occlusion":
            assert lesion.diameter_stenosis_percent == 100 and 4 <= lesion.length_mm <= 40
        elif lesion.kind == "diffuse":
            assert 30 <= lesion.length_mm <= 60 and 20 <= lesion.diameter_stenosis_percent <= 40
        else:
            assert 10 <= lesion.diameter_stenosis_percent <= 95
        assert (lesion.kind == "bifurcation") == bool(lesion.medina) and "1" in (lesion.medina or "1")
        if vessel.parent:
            parent = by_name[vessel.parent]
            radius = np.interp(vessel.parent_distance_mm, parent.distance_mm, parent.healthy_diameter_mm) / 2
            assert lesion.throat_mm > radius


def test_stents_are_rare_and_away_from_lesions(plans):
    vessels = plans[0].vessels
    stents = [s for n in range(400) for s in draw_stents(vessels, plans[0].lesions, np.random.default_rng(n))]
    assert 5 < len(stents) < 60
    for stent in stents:
        assert 8 <= stent.end_mm - stent.start_mm <= 40 and 1500 <= stent.hu <= 3000
        own = [x for x in plans[0].lesions if x.vessel == stent.vessel]
        assert all(x.end_mm < stent.start_mm or x.start_mm > stent.end_mm for x in own)


@pytest.mark.parametrize("shape", [s for s in SHAPES if s != "occlusion"])
@pytest.mark.parametrize("skew", [-0.6, 0.0, 0.7])
def test_profile_of_a_lesion(shape, skew):
    lesion = LesionShape("LAD", 30.0, 12.0, 60.0, shape=shape, skew=skew)
    assert lesion.end_mm - lesion.start_mm == pytest.approx(12.0)
    assert (lesion.throat_mm - lesion.start_mm) / 12.0 == pytest.approx((1 + skew) / 2)
    s = np.arange(0, 60, 0.01)
    factor = lesion.factor(s)
    assert factor.min() == pytest.approx(0.4, abs=2e-3) and factor[3000] == pytest.approx(0.4)
    outside = (s < lesion.start_mm) | (s > lesion.end_mm)
    assert factor[outside] == pytest.approx(1.0, abs=1e-9) and np.abs(np.diff(factor)).max() < 0.02  # no jump


def _contents(plaques, wall=0.5, ratio=1.0):
    hu = {"lumen": 400.0, "distal_share": 1.0, "refill_share": 0.7, "fat": -90.0, "vessel_wall": 60.0}
    hu |= {"cardiac_vein": 200.0, "plaque": 50.0, "calcium": 1000.0}
    return Contents({}, plaques, (), hu, np.zeros(3), wall, {"LAD": ratio})


def test_behind_an_occlusion_the_contrast_is_less():
    vessel = tree_vessel("LAD", np.array([[0.0, 0, 0], [60.0, 0, 0]]), (3.5, 3.0))
    lesion = LesionShape("LAD", 30.0, 12.0, 100.0, shape="occlusion", kind="occlusion")
    plaque = lesion_geometry(lesion, vessel, 0.5, np.random.default_rng(0))
    scene = vessel_solids([vessel], [], _contents([plaque]))
    before, behind = [p for p in scene if p.label == LUMEN_LABEL]
    assert before.solid.points_ras[-1, 0] < 30 - 2.9 and behind.solid.points_ras[0, 0] > 30 + 2.9
    assert behind.hu.start_hu == pytest.approx(0.7 * before.hu.start_hu)


@pytest.mark.parametrize("plaque_type", ["noncalcified", "mixed", "calcified"])
def test_plaque_volumes_agree_with_voxels(plaque_type):
    angle = np.linspace(0, 1.2, 200)
    line = 25 * np.stack([np.cos(angle), np.sin(angle), 0.2 * angle], axis=1)
    vessel = tree_vessel("LAD", line, (3.6, 3.2))
    lesion = LesionShape("LAD", 15.0, 14.0, 60.0, plaque_type, "cosine", 0.6, remodeling_index=1.15)
    geometry = lesion_geometry(lesion, vessel, 0.5, np.random.default_rng(4))
    expected, calcium = plaque_volumes(geometry)
    lumen = Tube(geometry.lumen_center_ras, geometry.lumen_radius_mm, True, True)
    scene = [Painted(Tube(geometry.center_ras, geometry.plaque_radius_mm, True, True), 0.0, 5)]
    scene += [Painted(tube, 0.0, 6) for tube in geometry.calcium] + [Painted(lumen, 0.0, 7)]
    middle = geometry.center_ras
    grid = grid_around(middle.min(axis=0) - 4, middle.max(axis=0) + 4, (0.25, 0.25, 0.25))
    image = rendered(scene, grid.size_ijk, grid.ijk_to_ras, (0.3, 0.3, 0.3), 0.0, cell_mm=0.125, fraction_labels=(5, 6))
    soft, hard = (float(image.fractions[label].sum()) * 0.25**3 for label in (5, 6))
    assert soft + hard == pytest.approx(expected, rel=0.04)
    assert hard == pytest.approx(calcium, rel=0.08, abs=0.3)
    assert (calcium > 0) == (plaque_type != "noncalcified")


def test_truth_of_lesions_carries_segment_and_volumes(plans):
    plan = max(plans, key=lambda p: len(p.lesions))
    truths = plan.lesion_truths()
    assert len(truths) == len(plan.lesions) > 0
    for truth, lesion in zip(truths, plan.lesions, strict=True):
        assert truth.segment is not None and truth.kind == lesion.kind
        assert truth.plaque_volume_mm3 >= truth.calcium_volume_mm3 >= 0
        share = 1 - lesion.diameter_stenosis_percent / 100
        assert truth.minimal_lumen_diameter_mm == pytest.approx(share * truth.reference_diameter_mm, abs=1e-6)
        assert truth.remodeling_index == lesion.remodeling_index


def test_a_plan_renders_with_its_lumen_in_fat(plans):
    plan = next(p for p in plans if not any(x.kind == "occlusion" for x in p.lesions))
    lad = next(v for v in plan.vessels if v.name == "LAD")
    diseased = [(x.start_mm - 1, x.end_mm + 1) for x in plan.lesions if x.vessel == "LAD"]
    free = [n for n in range(60, 240) if not any(a < 0.25 * n < b for a, b in diseased)]
    place = lad.points_ras[free[0]]
    grid = grid_around(place - 4, place + 4, (0.4, 0.4, 0.4))
    image = rendered(plan.scene, grid.size_ijk, grid.ijk_to_ras, (0.3, 0.3, 0.3), plan.background).image
    hu = plan.attenuation_hu
    assert 0.75 * hu["lumen"] < image[9:12, 9:12, 9:12].max() < 1.05 * hu["lumen"]
    assert image.min() < 0  # fat beside it
