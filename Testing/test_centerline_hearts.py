"""Segmentations that are no tree of one heart: a solid, a ring, the trees of two patients. Each outcome has a name."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from centerline_shapes import AORTA, HEART, Tube, paint, segmentation_of

from StenosisDetectionLib.centerline import extract_tree
from StenosisDetectionLib.cli.main import main
from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.geometry import LPS_TO_RAS, affine, spacing_of, transform_points
from StenosisDetectionLib.phantom import toy_study
from StenosisDetectionLib.segmentation import segmentation_from_labels
from StenosisDetectionLib.study import CTVolume, LabelMap, LumenSegmentation
from StenosisDetectionLib.writing.wording import FLAGS

MAIN = ("LM", "LAD", "LCX", "RCA")
SPACING = (0.6, 0.6, 0.6)


def moved(tube: Tube, shift: tuple[float, float, float]) -> Tube:
    return Tube(tuple(tuple(np.add(p, shift)) for p in tube.control), tube.start_radius, tube.end_radius)


def hearts(shift: tuple[float, float, float], second_aorta: bool, names: tuple[str, ...] = MAIN) -> LumenSegmentation:
    """Return the tree of one heart and, moved, that of another, with one aorta or two."""
    own = [HEART[n] for n in names]
    seg = segmentation_of(own + [moved(HEART[n], shift) for n in MAIN], SPACING)
    if not second_aorta:
        return seg
    aorta = seg.aorta.copy()
    (low, high), radius = AORTA
    up = np.array([0.0, 0.0, radius])
    axis = np.linspace(low + up, high - up, 20) + np.array(shift)
    paint(aorta, seg.ijk_to_ras, axis, np.full(len(axis), radius))
    return replace(seg, aorta=aorta, lumen=seg.lumen & ~aorta)


def scan_around(points: np.ndarray) -> CTVolume:
    """Return an empty CT whose field of view holds points with a margin of 12 mm."""
    low, high = points.min(axis=0) - 12, points.max(axis=0) + 12
    size = np.ceil(high - low).astype(int)[::-1]
    return CTVolume(np.broadcast_to(np.float32(0), size), affine(np.ones(3), np.eye(3), low))


OWN = np.concatenate([HEART[n].points() for n in MAIN])


def is_own(tree, shift=(0.0, 0.0, 0.0)) -> bool:
    """Return whether a tree has the main vessels of the heart, moved by `shift`, and no other."""
    ends = {v.name: v.points_ras[-1] for v in tree.vessels}
    return set(ends) == set(MAIN) and all(
        np.linalg.norm(ends[n] - np.add(HEART[n].points()[-1], shift)) < 3.0 for n in MAIN
    )


@pytest.mark.parametrize("shift", [(190.0, 0.0, 0.0), (25.0, 150.0, 40.0)], ids=["beside", "in front"])
def test_the_tree_that_is_not_on_the_aorta_is_left_out_and_told(shift):
    tree = extract_tree(hearts(shift, second_aorta=False))
    assert is_own(tree)
    assert "several_hearts" in tree.flags and "pieces_without_ostium" not in tree.flags
    assert "more than one heart" in FLAGS["several_hearts"]


def test_of_two_trees_on_two_aortas_that_in_the_image_is_kept():
    shift = (150.0, 0.0, 0.0)
    seg = hearts(shift, second_aorta=True)
    for offset in ((0.0, 0.0, 0.0), shift):
        tree = extract_tree(seg, volume=scan_around(OWN + np.array(offset)))
        assert is_own(tree, offset) and "several_hearts" in tree.flags, (offset, tree.flags)
    # without an image the larger one
    bare = hearts(shift, second_aorta=True, names=("LM", "LAD"))
    tree = extract_tree(bare)
    assert is_own(tree, shift) and "several_hearts" in tree.flags


def test_two_trees_without_aorta_are_not_guessed_at():
    shift = (190.0, 0.0, 0.0)
    seg = hearts(shift, second_aorta=False)
    seg = replace(seg, aorta=np.zeros_like(seg.aorta))
    tree = extract_tree(seg)
    assert tree.vessels == () and tree.flags == ("several_hearts_undecided",)
    assert "nothing was analyzed" in FLAGS["several_hearts_undecided"]
    # one of them lies outside of the image
    tree = extract_tree(seg, volume=scan_around(OWN))
    assert "several_hearts" in tree.flags and tree.vessels
    assert max(v.points_ras[:, 0].max() for v in tree.vessels) < 60.0


@pytest.mark.parametrize("names", [MAIN, ("LM", "LAD", "LCX"), ("RCA",)], ids=["whole", "left", "right"])
@pytest.mark.parametrize("aorta", [True, False], ids=["aorta", "no aorta"])
def test_one_heart_is_not_taken_for_two(names, aorta):
    seg = segmentation_of([HEART[n] for n in names], SPACING)
    if not aorta:
        seg = replace(seg, aorta=np.zeros_like(seg.aorta))
    tree = extract_tree(seg)
    assert tree.vessels and not {"several_hearts", "several_hearts_undecided"} & set(tree.flags)


def test_the_far_part_of_a_vessel_is_no_second_heart():
    lad = HEART["LAD"].points(0.2)
    seg = segmentation_of([HEART[n] for n in ("LM", "LCX", "RCA")] + [Tube(tuple(map(tuple, lad[250::25])), 1.4, 0.9)])
    tree = extract_tree(seg)
    assert "pieces_without_ostium" in tree.flags and "several_hearts" not in tree.flags


def solid(radius: float, margin: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Return a ball as a mask on voxels of 1 x 1 x 1.25 mm, and its affine."""
    size = np.ceil(2 * (radius + margin) / np.array([1.25, 1.0, 1.0])).astype(int)
    z, y, x = (spacing * (np.arange(n) - n / 2) for n, spacing in zip(size, (1.25, 1.0, 1.0), strict=True))
    mask = x**2 + y[:, None] ** 2 + z[:, None, None] ** 2 <= radius**2
    return mask, affine(np.array([1.0, 1.0, 1.25]), np.eye(3), np.zeros(3))


@pytest.mark.parametrize(
    ("radius", "name", "words"),
    [
        (45.0, "", r"a solid as thick as a heart, 38\d mL in all: choose the coronary lumen, not the heart"),
        (45.0, "Coronaries", r"a solid as thick as a heart, 38\d mL in all"),
        (20.0, "", r"a solid of 3\d mL with no vessel on it: choose the coronary lumen"),
        (20.0, "LM", r"a solid of 3\d mL with no vessel on it"),
        (12.0, "", r"a solid of 7 mL with no vessel on it"),
    ],
)
def test_a_solid_is_refused_with_its_size(radius, name, words):
    mask, matrix = solid(radius)
    labels = mask.astype(np.uint8)
    names = {1: name} if name else {}
    if name:  # an aorta beside it, so that the map is not split by thickness
        labels[:, :3, :3], names[2] = 2, "Aorta"
    volume = CTVolume(np.zeros(mask.shape, np.float32), matrix)
    with pytest.raises(InputError, match=words) as refusal:
        segmentation_from_labels(LabelMap(labels, matrix, names), volume)
    assert "\n" not in str(refusal.value)


def test_a_thick_part_with_a_vessel_on_it_is_no_solid():
    mask, matrix = solid(20.0, margin=25.0)
    middle = np.array(mask.shape) // 2
    vessel = np.zeros_like(mask)
    vessel[middle[0] : middle[0] + 2, middle[1] : middle[1] + 2, middle[2] : middle[2] + 40] = True
    volume = CTVolume(np.zeros(mask.shape, np.float32), matrix)
    seg = segmentation_from_labels(LabelMap((mask | vessel).astype(np.uint8), matrix), volume)
    assert (seg.lumen.sum(), seg.aorta.any()) == (pytest.approx((vessel & ~mask).sum(), abs=60), True)


def test_both_aortas_of_a_map_without_names_are_aorta():
    seg = hearts((150.0, 0.0, 0.0), second_aorta=True)
    labels = (seg.lumen | seg.aorta).astype(np.uint8)
    volume = scan_around(OWN)
    given = segmentation_from_labels(LabelMap(labels, seg.ijk_to_ras), volume)
    assert given.aorta.sum() == pytest.approx(seg.aorta.sum(), rel=0.05)
    tree = extract_tree(given, volume=volume)
    assert "several_hearts" in tree.flags and {v.name for v in tree.vessels} >= {"LM", "LAD", "LCX", "RCA"}
    assert all(v.points_ras[:, 0].max() < 60.0 for v in tree.vessels)


def torus() -> LumenSegmentation:
    angle = np.linspace(0, 2 * np.pi, 600)
    ring = np.stack([30 + 25 * np.cos(angle), 25 * np.sin(angle), np.zeros_like(angle)], axis=1)
    seg = segmentation_of([Tube(((0, -28, -8), (60, 28, 8)), 0.1, 0.1)], SPACING, aorta=False)
    lumen = np.zeros_like(seg.lumen)
    paint(lumen, seg.ijk_to_ras, ring, np.full(len(ring), 3.0))
    return replace(seg, lumen=lumen)


def test_a_ring_without_aorta_is_cut_open_and_marked():
    tree = extract_tree(torus())
    assert "ostium_estimated" in tree.flags
    for vessel in tree.vessels:
        assert np.isfinite(vessel.points_ras).all() and (vessel.radius_mm > 0).all()
    assert any("loop_cut" in v.flags for v in tree.vessels)


@pytest.fixture(scope="module")
def toy():
    return toy_study()


def bad_labels(kind: str, toy) -> LabelMap:
    """Return a bad label map for the toy study, on its own grid; voxels of the true lumen are 1, of the aorta 2."""
    labels, matrix = toy.lumen.labels, toy.lumen.ijk_to_ras
    ras = transform_points(matrix, np.argwhere(labels == 2)[:, ::-1]).mean(axis=0)
    k, j, i = np.indices(labels.shape)
    away = np.linalg.norm(np.stack([i, j, k], axis=-1) * spacing_of(matrix) - _place(matrix, ras), axis=-1)
    if kind == "one voxel":
        return LabelMap((away == away.min()).astype(np.uint8), matrix)
    if kind == "solid":
        return LabelMap((away < 14.0).astype(np.uint8), matrix)
    return LabelMap(np.zeros_like(labels), matrix)


def _place(matrix: np.ndarray, point: np.ndarray) -> np.ndarray:
    return np.asarray(transform_points(np.linalg.inv(matrix), point) * spacing_of(matrix))


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("empty", 2, "is an empty label map: every voxel is 0; choose a segmentation that holds the lumen"),
        ("solid", 2, "with no vessel on it: choose the coronary lumen, not the heart or the aorta alone"),
        ("one voxel", 3, FLAGS["no_vessel"]),
    ],
)
def test_the_command_line_says_it_in_one_line(kind, status, words, toy, tmp_path, capsys):
    labels = bad_labels(kind, toy)
    for name, array, matrix in (
        ("scan.nrrd", toy.volume.voxels, toy.volume.ijk_to_ras),
        ("labels.nrrd", labels.labels, labels.ijk_to_ras),
    ):
        lps, spacing = LPS_TO_RAS @ matrix, spacing_of(matrix)
        image = sitk.GetImageFromArray(np.ascontiguousarray(array))
        image.SetSpacing([float(x) for x in spacing])
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        sitk.WriteImage(image, str(tmp_path / name))
    out = tmp_path / "out"
    command = ["analyze", str(tmp_path / "scan.nrrd"), "--segmentation", str(tmp_path / "labels.nrrd")]
    assert main([*command, "--output", str(out), "--device", "cpu"]) == status
    said = capsys.readouterr()
    if status == 2:
        assert "Traceback" not in said.err and words in said.err
        assert len([each for each in said.err.splitlines() if "error" in each.lower()]) == 1
    else:
        assert words in next(out.glob("*/report.html")).read_text(encoding="utf-8").replace("The seg", "the seg")
