"""The aorta finder on the toy study, on a real cardiac CT with labels and on CTs painted from real aorta labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from StenosisDetectionLib.errors import Cancelled
from StenosisDetectionLib.geometry import transform_points
from StenosisDetectionLib.phantom import Physics, toy_study
from StenosisDetectionLib.segmentation import Aorta, find_aorta
from StenosisDetectionLib.segmentation.aorta import trimmed
from StenosisDetectionLib.segmentation.discs import ray_edges
from StenosisDetectionLib.segmentation.grid import RasGrid, resample_mask, resample_to_ras
from StenosisDetectionLib.study import CTVolume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: Path) -> CTVolume:
    """Read an image as float32 with its affine in RAS."""
    image = sitk.ReadImage(str(path))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return CTVolume(sitk.GetArrayFromImage(image).astype(np.float32), LPS_TO_RAS @ matrix)


def mean_ras(mask: np.ndarray, ijk_to_ras: np.ndarray) -> np.ndarray:
    return transform_points(ijk_to_ras, np.argwhere(mask)[:, ::-1]).mean(axis=0)


def part_inside(aorta: Aorta, truth: np.ndarray, ijk_to_ras: np.ndarray) -> float:
    """Return the part of the mask that lies in a true mask of another grid."""
    inside = resample_mask(truth, ijk_to_ras, aorta.mask.shape, aorta.ijk_to_ras)
    return float((inside & aorta.mask).sum() / aorta.mask.sum())


@pytest.fixture(scope="module")
def toy():
    return toy_study()


@pytest.fixture(scope="module")
def toy_aorta(toy):
    return find_aorta(toy.volume)


def test_the_aorta_of_the_toy_study(toy, toy_aorta):
    assert toy_aorta.found and toy_aorta.flags == ()
    assert toy_aorta.attenuation_hu == pytest.approx(400.0, abs=5.0)
    assert toy_aorta.noise_hu == pytest.approx(20.0, rel=0.1)
    assert part_inside(toy_aorta, toy.lumen.labels == 2, toy.lumen.ijk_to_ras) > 0.9
    # the painted tube has radius 12 at z = 12 and goes on beyond the top of the volume at z = 38
    assert np.interp(12.0, toy_aorta.centerline_ras[:, 2], toy_aorta.radius_mm) == pytest.approx(12.0, abs=0.7)
    assert -16.0 < toy_aorta.centerline_ras[0, 2] < 2.0
    assert toy_aorta.centerline_ras[-1, 2] > 33.0
    assert np.linalg.norm(toy_aorta.root_ras[:2]) < 6.0


@pytest.mark.parametrize(
    ("directions", "physics"),
    [
        (np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).T, Physics((0.4, 0.4, 0.45), 20.0)),
        (np.diag([-1.0, -1.0, 1.0]), Physics((0.4, 0.4, 0.45), 60.0, seed=3)),
    ],
)
def test_direction_and_noise_do_not_matter(toy_aorta, directions, physics):
    other = find_aorta(toy_study((0.8, 0.8, 1.0), directions, physics=physics).volume)
    assert other.found
    assert np.linalg.norm(other.root_ras - toy_aorta.root_ras) < 4.0
    assert other.attenuation_hu == pytest.approx(400.0, abs=6.0)
    assert other.noise_hu == pytest.approx(physics.noise_hu, rel=0.1)


@pytest.mark.parametrize("aorta_hu", [220.0, 600.0])
def test_contrast_does_not_matter(toy, toy_aorta, aorta_hu):
    voxels = toy.volume.voxels
    scaled = np.where(voxels > 60.0, 60.0 + (voxels - 60.0) * (aorta_hu - 60.0) / 340.0, voxels)
    other = find_aorta(replace(toy.volume, voxels=scaled))
    assert other.found
    assert other.attenuation_hu == pytest.approx(aorta_hu, rel=0.03)
    assert np.linalg.norm(other.root_ras - toy_aorta.root_ras) < 4.0


def test_without_contrast_there_is_no_aorta_but_an_estimate_of_the_blood(toy):
    voxels = np.where(toy.volume.voxels > 60.0, 60.0 + 0.03 * (toy.volume.voxels - 60.0), toy.volume.voxels)
    aorta = find_aorta(replace(toy.volume, voxels=voxels))
    assert not aorta.found and not aorta.mask.any() and aorta.root_ras is None
    assert aorta.flags == ("aorta_not_found", "no_contrast")
    assert 30.0 < aorta.attenuation_hu < 90.0
    assert aorta.noise_hu < 30.0


@pytest.mark.parametrize("value", [-1000.0, 40.0, 400.0])
def test_an_even_volume_has_no_aorta(value):
    aorta = find_aorta(CTVolume(np.full((40, 40, 40), value, dtype=np.float32), np.eye(4)))
    assert not aorta.found


def test_a_raised_cancel_stops_the_search(toy):
    def report(fraction: float, message: str) -> None:
        if fraction > 0.2:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        find_aorta(toy.volume, report)


def test_the_real_aorta_with_a_dissection(real_data):
    folder = real_data / "cardiac_ct_1p5mm"
    volume = read(folder / "ct.nii.gz")
    aorta = find_aorta(volume)
    assert aorta.found
    labels = read(folder / "labels" / "aorta.nii.gz")
    assert part_inside(aorta, labels.voxels > 0, labels.ijk_to_ras) > 0.9
    assert 440.0 < aorta.attenuation_hu < 500.0
    junction = read(folder / "labels" / "sinotubular_junction.nii.gz")
    nearest = np.linalg.norm(aorta.centerline_ras - mean_ras(junction.voxels > 0, junction.ijk_to_ras), axis=1).min()
    assert nearest < 5.0
    annulus = read(folder / "labels" / "annulus_proper.nii.gz")
    below = mean_ras(annulus.voxels > 0, annulus.ijk_to_ras)
    assert np.linalg.norm(aorta.centerline_ras[0] - below) < 16.0


@pytest.mark.parametrize("patient", ["0003", "0009"])
def test_real_shapes_end_near_the_left_ventricle(real_data, patient):
    from scipy import ndimage

    aorta_labels = read(real_data / "aorta_lv_labels" / "aorta" / f"{patient}.nii.gz")
    ventricle_labels = read(real_data / "aorta_lv_labels" / "left_ventricle" / f"{patient}.nii.gz")
    where = np.argwhere(ventricle_labels.voxels > 0)
    low = np.maximum(where.min(axis=0) - [8, 30, 30], 0)
    high = where.max(axis=0) + np.array([45, 30, 60])
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    blood, ventricle = aorta_labels.voxels[box] > 0, ventricle_labels.voxels[box] > 0
    matrix = aorta_labels.ijk_to_ras.copy()
    matrix[:3, 3] = transform_points(matrix, low[::-1])
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)[::-1]
    from_ventricle = ndimage.distance_transform_edt(~ventricle, sampling=spacing)
    from_aorta = ndimage.distance_transform_edt(~blood, sampling=spacing)
    ct = np.full(blood.shape, -850.0, dtype=np.float32)
    for mask, hu in (
        (from_ventricle < 30, -90),
        (from_aorta < 6, -90),
        (from_ventricle < 9, 110),
        (from_aorta < 1.5, 60),
        (ventricle, 380),
        (blood, 400),
    ):
        ct[mask] = hu
    noise = np.random.default_rng(0).normal(scale=25.0, size=ct.shape)
    ct = ndimage.gaussian_filter(ct, 0.6) + noise.astype(np.float32)
    aorta = find_aorta(CTVolume(ct, matrix))
    assert aorta.found
    assert part_inside(aorta, blood, matrix) > 0.85
    assert aorta.attenuation_hu == pytest.approx(400.0, abs=8.0)
    contact = mean_ras(blood & (from_ventricle < 4.0), matrix)
    assert np.linalg.norm(aorta.centerline_ras[0] - contact) < 12.0


def test_a_neck_without_a_heart_has_no_aortic_root(real_data):
    folder = real_data / "dicom_neck_cta"
    reader = sitk.ImageSeriesReader()
    names = sorted(folder.glob("*.dcm"))
    files = reader.GetGDCMSeriesFileNames(str(folder))
    if len(files) < len(names) // 2:
        pytest.skip("SimpleITK cannot order these DICOM files")
    reader.SetFileNames(files)
    image = reader.Execute()
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    aorta = find_aorta(CTVolume(sitk.GetArrayFromImage(image).astype(np.float32), LPS_TO_RAS @ matrix))
    assert not aorta.found
    assert 100.0 < aorta.attenuation_hu < 400.0


def test_what_is_followed_below_the_root_is_cut_where_a_network_sees_the_root(toy_aorta):
    height = toy_aorta.centerline_ras[:, 2]
    root = height[0] + 12.0
    points = transform_points(toy_aorta.ijk_to_ras, np.argwhere(toy_aorta.mask)[:, ::-1])
    grid = RasGrid(np.zeros((60, 60, 60), dtype=bool), 2.0, np.array([-60.0, -60.0, root - 30.0]))
    grid.voxels[tuple(np.rint(grid.to_kji(points[points[:, 2] > root])).astype(int).T)] = True
    cut = trimmed(toy_aorta, grid.voxels, grid.ijk_to_ras)
    assert cut.centerline_ras[0, 2] == pytest.approx(root - 4.0, abs=1.5)
    assert len(cut.centerline_ras) == len(cut.directions) == len(cut.radius_mm)
    below = points[:, 2] < root - 8.0
    assert below.any()
    kept = cut.mask[tuple(np.argwhere(toy_aorta.mask).T)]
    assert kept[below].mean() < 0.1  # the cut is square to the axis
    assert kept[points[:, 2] > root + 2.0].all()
    # what agrees stays, and so does what lies elsewhere
    whole = resample_mask(toy_aorta.mask, toy_aorta.ijk_to_ras, grid.voxels.shape, grid.ijk_to_ras)
    assert trimmed(toy_aorta, whole, grid.ijk_to_ras) is toy_aorta
    assert trimmed(toy_aorta, whole, grid.ijk_to_ras + shift(80.0)) is toy_aorta


def shift(right_mm: float) -> np.ndarray:
    matrix = np.zeros((4, 4))
    matrix[0, 3] = right_mm
    return matrix


def test_rays_end_at_half_maximum_and_at_thin_walls():
    distance = np.arange(0.0, 30.0, 0.5)
    sharp = np.where(distance < 12.0, 400.0, -90.0)
    thin_wall = np.where(np.abs(distance - 12.5) < 0.6, 280.0, 400.0)
    endless = np.full_like(distance, 400.0)
    edges = ray_edges(np.stack([sharp, thin_wall, endless]), np.full(3, 400.0), 0.5)
    assert edges[0] == pytest.approx(11.75, abs=0.3)
    assert edges[1] == pytest.approx(12.0, abs=0.6)
    assert np.isinf(edges[2])


def test_resampling_keeps_positions_for_any_direction():
    rng = np.random.default_rng(5)
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=7).as_matrix() * [0.5, 0.7, 1.1]
    matrix[:3, 3] = rng.normal(scale=50.0, size=3)
    k, j, i = np.meshgrid(*(np.arange(n) for n in (30, 40, 50)), indexing="ij")
    x, y, z = np.moveaxis(transform_points(matrix, np.stack([i, j, k], axis=-1)), -1, 0)
    grid = resample_to_ras(CTVolume((x + 2.0 * y - 3.0 * z).astype(np.float32), matrix), 0.8)
    where = np.argwhere(grid.voxels > -1000.0)
    middle = where[np.linalg.norm(where - np.array(grid.voxels.shape) / 2, axis=1) < 6]
    points = grid.to_ras(middle)
    np.testing.assert_allclose(grid.voxels[tuple(middle.T)], points @ [1.0, 2.0, -3.0], atol=0.1)
    np.testing.assert_allclose(grid.to_kji(points), middle, atol=1e-6)
    assert isinstance(grid, RasGrid)
