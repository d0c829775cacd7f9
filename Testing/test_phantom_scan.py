"""What a scan does to an image, against error functions, power spectra and displacements by hand."""

from dataclasses import replace

import numpy as np
import pytest

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.geometry import affine, transform_points
from StenosisDetectionLib.phantom.acquisition import (
    HELD_OUT_NOISE_SHAPES,
    MOTION_STRATA,
    NOISE_SHAPES,
    NOISE_STRATA,
    Acquisition,
    HUScale,
    Motion,
    Noise,
    Step,
    sample_acquisition,
)
from StenosisDetectionLib.phantom.assembly import AXIAL, Grid
from StenosisDetectionLib.phantom.motion import moved
from StenosisDetectionLib.phantom.render import Painted
from StenosisDetectionLib.phantom.scan_noise import add_noise
from StenosisDetectionLib.phantom.scanning import noise_free, scan, scene_of
from StenosisDetectionLib.phantom.solids import Ellipsoid, HalfSpace, Tube
from StenosisDetectionLib.phantom.streaks import add_streaks
from StenosisDetectionLib.phantom.tree import tree_vessel
from StenosisDetectionLib.phantom.truth import LUMEN_LABEL

SPACING = (0.4, 0.4, 0.5)


class Body:
    """The least an acquisition must know."""

    def __init__(self) -> None:
        self.heart_bounds_ras = np.array([[-60.0, -50.0, -55.0], [60.0, 50.0, 55.0]])
        self.attenuation_hu = {"kvp": 100.0}


@pytest.fixture(scope="module")
def plain() -> Acquisition:
    """A scan that adds nothing, along the axes."""
    drawn = sample_acquisition(1, "training", Body())
    return replace(
        drawn,
        center_ras=(0.0, 0.0, 0.0),
        directions=AXIAL,
        psf_sigma_mm=(0.4, 0.4, 0.5),
        hu_scale=HUScale(),
        overshoot=0.0,
        noise=Noise(0.0),
        motions=(),
        steps=(),
        shadow_hu=0.0,
        iodine_shade_hu=0.0,
        ring_hu=0.0,
    )


def grid_of(size: tuple[int, int, int], spacing: tuple[float, float, float] = SPACING) -> Grid:
    origin = -AXIAL @ ((np.array(size) - 1) / 2 * np.array(spacing))
    return Grid(size, affine(np.array(spacing), AXIAL, origin))


def edge_profile(acquisition: Acquisition, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return position along i and HU of an edge from 0 to 300 HU at the middle."""
    scene = scene_of([Painted(HalfSpace(np.zeros(3), AXIAL[:, 0]), 300.0)], 0.0, (), acquisition)
    image = noise_free(scene, acquisition, grid).image
    scan(image, scene, acquisition, grid, 400.0, 0)
    position = (np.arange(grid.size_ijk[0]) - (grid.size_ijk[0] - 1) / 2) * SPACING[0]
    return position, image[grid.size_ijk[2] // 2, grid.size_ijk[1] // 2]


def test_an_edge_has_the_point_spread_and_the_overshoot_asked_for(plain):
    from scipy.optimize import curve_fit
    from scipy.special import erf

    grid = grid_of((80, 24, 12))
    position, profile = edge_profile(plain, grid)
    (sigma,), _ = curve_fit(lambda x, s: 150 * (1 - erf(x / (np.sqrt(2) * s))), position, profile, p0=(0.5,))
    assert abs(sigma) == pytest.approx(0.4, abs=0.01)
    for overshoot in (0.05, 0.10):
        _, sharp = edge_profile(replace(plain, overshoot=overshoot), grid)
        assert sharp.max() / 300 - 1 == pytest.approx(overshoot, abs=0.012)
        assert -sharp.min() / 300 == pytest.approx(overshoot, abs=0.012)


@pytest.mark.parametrize("shape", [*NOISE_SHAPES, *HELD_OUT_NOISE_SHAPES])
def test_noise_has_its_deviation_its_peak_and_its_correlation_along_k(plain, shape):
    grid = grid_of((128, 128, 24))
    noise = Noise(30.0, shape, 0.3, 0.3, 0.0)
    image = np.zeros(grid.size_ijk[::-1], dtype=np.float32)
    add_noise(image, grid, replace(plain, noise=noise), 7)
    assert image.std() == pytest.approx(30.0, rel=0.03)
    power = (np.abs(np.fft.fft2(image)) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(128, 0.4)] * 2))
    centers = np.arange(0.05, 1.0, 0.06)
    rings = [power[np.abs(frequency - f) < 0.03].mean() for f in centers]
    assert centers[int(np.argmax(rings))] == pytest.approx(0.3, abs=0.08)
    neighbors = float((image[1:] * image[:-1]).mean() / image.var())
    taps = np.exp(-0.5 * (np.arange(-4, 5) * 0.5 / 0.3) ** 2)
    assert neighbors == pytest.approx((taps[1:] * taps[:-1]).sum() / (taps**2).sum(), abs=0.03)


def test_noise_is_weaker_off_the_middle_of_the_body(plain):
    grid = grid_of((256, 256, 4), (0.9, 0.9, 1.0))
    image = np.zeros(grid.size_ijk[::-1], dtype=np.float32)
    add_noise(image, grid, replace(plain, noise=Noise(20.0, fall=0.4)), 3)
    kji = np.argwhere(np.ones(image.shape, dtype=bool))
    points = transform_points(grid.ijk_to_ras, kji[:, ::-1])
    values = image.ravel()
    heart = np.linalg.norm(points[:, :2], axis=1) < 15
    far = np.linalg.norm(points[:, :2] - [25.0, -35.0], axis=1) > 118
    assert values[heart].std() == pytest.approx(20.0, rel=0.12)
    assert values[far].std() / values[heart].std() == pytest.approx(0.6 / 0.95, abs=0.08)


def test_a_part_that_moves_is_blurred_along_its_way_and_stays_where_it_is_on_average(plain):
    grid = grid_of((100, 100, 40))
    vessel = replace(tree_vessel("RCA", np.array([[0.0, 0.0, -30.0], [0.0, 0.0, 30.0]]), (3.0, 3.0)), motion="rca")
    tube = Painted(Tube(vessel.points_ras, np.full(len(vessel.points_ras), 1.5)), 400.0, LUMEN_LABEL)
    scene = scene_of([tube], 0.0, (vessel,), plain)
    still = noise_free(scene, plain, grid).image
    image = still.copy()
    way = 3.0
    moved(image, grid, (vessel,), (Motion("rca", (way, 0.0, 0.0), 30.0),))
    k, j, i = np.indices(image.shape)
    points = transform_points(grid.ijk_to_ras, np.stack([i, j, k], axis=-1))
    inside = (np.abs(points[..., 2]) < 4) & (np.linalg.norm(points[..., :2], axis=-1) < 6)

    def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = values[inside].astype(float)
        center = (weight[:, None] * points[inside]).sum(axis=0) / weight.sum()
        return center, (weight[:, None] * (points[inside] - center) ** 2).sum(axis=0) / weight.sum()

    (center, _), (before, _) = moments(image), moments(still)
    assert image[inside].sum() == pytest.approx(still[inside].sum(), rel=0.05)
    assert np.linalg.norm(center - before) < 0.06 * way
    # Along the way the vessel is drawn out, and low across the peak.
    along = image[20, 50]
    across = image[20, :, 50]
    assert (along > 100).sum() * 0.4 > (still[20, 50] > 100).sum() * 0.4 + 0.5 * way - 0.8
    assert (across > 100).sum() <= (still[20, :, 50] > 100).sum() + 2
    assert image.max() < still.max() * 1.2
    far = np.linalg.norm(points[..., :2], axis=-1) > 15
    assert np.abs(image - still)[far].max() < 40  # faint streaks only
    # Another group's motion does not move it.
    nothing = still.copy()
    moved(nothing, grid, (vessel,), (Motion("lad", (way, 0.0, 0.0)),))
    np.testing.assert_array_equal(nothing, still)


def test_a_step_moves_the_body_and_its_truth_alike(plain):
    stepped = replace(plain, steps=(Step(2.0, (1.5, 0.0, 0.0)),))
    vessel = tree_vessel("RCA", np.array([[0.0, 0.0, -12.0], [0.0, 0.0, 12.0]]), (3.0, 3.0))
    tube = Painted(Tube(vessel.points_ras, np.full(len(vessel.points_ras), 1.5)), 400.0, LUMEN_LABEL)
    scene = scene_of([tube], 0.0, (vessel,), stepped)
    grid = grid_of((40, 40, 40))
    result = noise_free(scene, stepped, grid)
    x = np.average(
        transform_points(grid.ijk_to_ras, np.stack([np.arange(40), np.full(40, 20), np.full(40, 20)], axis=-1))[:, 0],
        weights=result.image[30].sum(axis=0),
    )
    (shown,) = stepped.displaced((vessel,))
    above = shown.points_ras[:, 2] >= 2
    assert x == pytest.approx(1.5, abs=0.05)
    np.testing.assert_allclose(shown.points_ras[above, 0], 1.5)
    np.testing.assert_allclose(shown.points_ras[~above, 0], 0.0, atol=1e-9)
    assert ((result.labels[30] > 0) != (result.image[30] > 200)).sum() <= 6  # of voxels cut by the border


def test_dense_calcium_casts_a_shadow_of_the_depth_asked_for(plain):
    acquisition = replace(plain, shadow_hu=100.0)
    grid = grid_of((160, 160, 16))
    depths = []
    for seed in range(6):
        ball = Painted(Ellipsoid(np.zeros(3), np.full(3, 1.5), np.eye(3)), 1500.0)
        scene = scene_of([ball], 0.0, (), acquisition)
        image = noise_free(scene, acquisition, grid).image
        before = image.copy()
        add_streaks(image, grid, replace(acquisition, seed=seed), 400.0)
        change = image - before
        depths.append(-change.min())
        _, j, i = np.unravel_index(int(np.argmin(change)), change.shape)
        assert np.hypot((j - 79.5) * 0.4, (i - 79.5) * 0.4) < 5
        assert np.abs(change[:, :10, :10]).max() < 12
        soft = np.minimum(before, 300)
        without = soft.copy()
        add_streaks(without, grid, acquisition, 400.0)
        np.testing.assert_array_equal(without, soft)
    assert 40 < np.median(depths) <= 250


def test_scales_are_off_by_a_little_and_keep_the_order(plain):
    hu = np.array([-1000.0, -90.0, 0.0, 100.0, 400.0, 1200.0])
    np.testing.assert_allclose(HUScale()(hu), hu)
    bent = HUScale(1.05, -5.0, 0.95)(hu)
    assert (np.diff(bent) > 0).all()
    assert np.abs(bent - hu)[1:5].max() < 60


def test_draws_stay_in_their_ranges_and_strata():
    noises, turned = set(), 0
    for seed in range(60):
        drawn = sample_acquisition(seed, "training", Body(), "high", "strong")
        assert drawn.noise.shape in NOISE_SHAPES
        assert NOISE_STRATA["high"][0] <= drawn.noise.noise_hu <= NOISE_STRATA["high"][1]
        assert 0.25 <= drawn.psf_sigma_mm[0] <= 0.55 and 0.30 <= drawn.psf_sigma_mm[2] <= 0.65
        assert 0.28 <= drawn.spacing_mm[0] <= 0.6 and 0.25 <= drawn.spacing_mm[2] <= 1.0
        way = max(np.linalg.norm(m.way_ras) for m in drawn.motions if m.group == "rca")
        assert 0.7 * MOTION_STRATA["strong"][0] <= way <= MOTION_STRATA["strong"][1]
        tilt = np.degrees(np.arccos(np.clip((np.trace(drawn.training_directions @ AXIAL.T) - 1) / 2, -1, 1)))
        assert tilt <= 15.001
        assert drawn.training_directions[2, 2] > 0
        turned += tilt > 0.1
        noises.add(round(drawn.noise.noise_hu, 3))
        assert drawn.kvp == 100.0
    assert len(noises) == 60 and 15 < turned < 45
    assert sample_acquisition(3, "held-out", Body()).noise.shape in HELD_OUT_NOISE_SHAPES
    assert sample_acquisition(3, "training", Body()).as_dict() == sample_acquisition(3, "training", Body()).as_dict()
    with pytest.raises(InputError, match="family"):
        sample_acquisition(1, "unheard-of", Body())
