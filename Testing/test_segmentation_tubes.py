"""The tube filter against analytic tubes, plates and balls, and against NumPy, SciPy and skimage."""

import numpy as np
import pytest
from scipy import ndimage

from StenosisDetectionLib.errors import Cancelled
from StenosisDetectionLib.progress import no_report
from StenosisDetectionLib.segmentation.tissue import widened
from StenosisDetectionLib.segmentation.tubes import gaussian, symmetric_eigenvalues, tube_response

torch = pytest.importorskip("torch")
SPACING = 0.5


def coordinates(size: int = 61, spacing: tuple[float, float, float] = (SPACING,) * 3) -> list[np.ndarray]:
    """Return x, y, z in mm around the middle of a cube of voxels [k, j, i]."""
    axes = [(np.arange(size) - size // 2) * s for s in spacing]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return [x, y, z]


def cylinder(radius: float, direction: np.ndarray, spacing: tuple[float, float, float] = (SPACING,) * 3) -> np.ndarray:
    """Return a cylinder of contrast 1 through the middle, its border smoothed over a voxel."""
    points = np.stack(coordinates(spacing=spacing), axis=-1)
    direction = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    distance = np.linalg.norm(points - (points @ direction)[..., None] * direction, axis=-1)
    return np.clip((radius - distance) / min(spacing) + 0.5, 0.0, 1.0).astype(np.float32)


def filtered(image: np.ndarray, spacing: tuple[float, float, float] = (SPACING,) * 3) -> tuple[np.ndarray, np.ndarray]:
    return tube_response(image, spacing, np.ones(image.shape, dtype=bool), "cpu", no_report)


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0, 0), (1, 1, 0), (1, -2, 3)])
@pytest.mark.parametrize("radius", [0.75, 1.5, 2.5])
def test_response_is_the_contrast_on_the_axis_and_falls_beside_it(radius, direction):
    response, _ = filtered(cylinder(radius, np.array(direction)))
    inner = (slice(14, -14),) * 3  # the borders of the image cut the tube
    unit = np.array(direction) / np.linalg.norm(direction)
    points = np.stack(coordinates(), axis=-1)[inner]
    distance = np.linalg.norm(points - (points @ unit)[..., None] * unit, axis=-1)
    response = response[inner]
    assert 0.75 < response[16, 16, 16] < 1.05
    assert distance.ravel()[np.argmax(response)] <= SPACING
    far = distance > 2.0 * radius + 1.0
    assert far.any() and response[far].max() < 0.25


def test_the_scale_follows_the_radius():
    found = [filtered(cylinder(radius, np.array([0, 0, 1])))[1][30, 30, 30] for radius in (0.6, 1.2, 2.0, 3.0)]
    assert found == sorted(found)
    assert found[0] < 1.0 < found[2]
    assert found[3] == pytest.approx(3.0, abs=0.6)


def test_plates_steps_and_balls_are_no_tubes():
    x, y, z = coordinates()
    inner = (slice(15, -15),) * 3
    assert filtered((np.abs(x) < 1.0).astype(np.float32))[0][inner].max() < 0.01
    assert filtered((x > 0).astype(np.float32))[0][inner].max() < 0.01
    ball = np.clip((2.0 - np.sqrt(x * x + y * y + z * z)) / SPACING + 0.5, 0, 1).astype(np.float32)
    assert filtered(ball)[0][30, 30, 30] < 0.15
    assert filtered(1.0 - cylinder(1.5, np.array([0, 0, 1])))[0][30, 30, 30] == 0.0  # a dark tube


def test_voxels_may_be_anisotropic():
    spacing = (0.9, 0.5, 0.4)
    along_k = filtered(cylinder(1.5, np.array([0, 0, 1]), spacing), spacing)[0][30, 30, 30]
    along_i = filtered(cylinder(1.5, np.array([1, 0, 0]), spacing), spacing)[0][30, 30, 30]
    assert along_k == pytest.approx(along_i, abs=0.12)
    assert along_k > 0.75


def test_only_candidates_are_filtered():
    image = cylinder(1.5, np.array([0, 0, 1]))
    candidates = np.zeros(image.shape, dtype=bool)
    candidates[20:40, 28:33, 28:33] = True
    response, radius = tube_response(image, (SPACING,) * 3, candidates, "cpu", no_report)
    assert not response[~candidates].any() and not radius[~candidates].any()
    everywhere, _ = filtered(image)
    np.testing.assert_allclose(response[candidates], everywhere[candidates], atol=1e-6)


def test_eigenvalues_are_those_of_numpy():
    generator = np.random.default_rng(1)
    matrices = generator.normal(size=(500, 3, 3))
    matrices = matrices + matrices.transpose(0, 2, 1)
    matrices[0] = 0.0
    matrices[1] = np.diag([2.0, 2.0, -1.0])
    parts = [matrices[:, a, b] for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
    ours = torch.stack(symmetric_eigenvalues(*(torch.from_numpy(p.astype(np.float32)) for p in parts)), dim=1)
    np.testing.assert_allclose(ours.numpy(), np.linalg.eigvalsh(matrices), atol=2e-3)


def test_gaussian_is_that_of_scipy():
    from scipy.ndimage import gaussian_filter

    image = np.random.default_rng(2).normal(size=(30, 34, 38)).astype(np.float32)
    spacing = (0.8, 0.5, 0.4)
    ours = gaussian(torch.from_numpy(image), 1.1, spacing, lambda _: None).numpy()
    expected = gaussian_filter(image, [1.1 / s for s in spacing], mode="nearest", truncate=6.0)
    np.testing.assert_allclose(ours, expected, atol=3e-3)


def test_the_response_agrees_with_the_sato_filter_of_skimage():
    filters = pytest.importorskip("skimage.filters")
    image = np.maximum(cylinder(1.0, np.array([1, 0.5, 0.2])), cylinder(2.0, np.array([0, 1, 1])))
    inner = (slice(12, -12),) * 3
    ours = filtered(image)[0][inner]
    theirs = filters.sato(image, sigmas=[s / SPACING for s in (0.6, 0.85, 1.2, 1.7, 2.4)], black_ridges=False)[inner]
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.93


def test_a_raised_cancel_stops_the_filter():
    def report(fraction: float, message: str) -> None:
        if fraction > 0.3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        tube_response(cylinder(1.0, np.array([0, 0, 1])), (SPACING,) * 3, np.ones((61,) * 3, bool), "cpu", report)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_widening_is_the_dilation_of_scipy(steps):
    mask = np.random.default_rng(steps).random((14, 9, 11)) > 0.98
    np.testing.assert_array_equal(widened(mask, steps), ndimage.binary_dilation(mask, iterations=steps))
