"""The bodies that hearts are painted from: volumes, nearness and elliptical tubes."""

import numpy as np
import pytest

from StenosisDetectionLib.phantom.cells import Cells
from StenosisDetectionLib.phantom.heart.implicit import Cut, Implicit, Joined, Limb, Lobe, grown
from StenosisDetectionLib.phantom.solids import Tube


def _cells(low, count, size=0.2):
    matrix = np.diag([size, size, size, 1.0])
    matrix[:3, 3] = low
    return Cells((count,) * 3, matrix, (2, 2, 2))


def _volume(solid, low, count, size=0.2):
    part = solid.fraction(_cells(low, count, size))
    return float(part[1].sum(dtype=np.float64)) * size**3


def test_volumes_of_bodies():
    ball = Lobe(np.zeros(3), np.array([6.0, 8.0, 7.0]), np.eye(3))
    assert _volume(Implicit(ball, 0.5), [-9.9] * 3, 100) == pytest.approx(4 / 3 * np.pi * 6 * 8 * 7, rel=0.01)
    pill = Limb(np.array([[0.0, 0, -3], [0, 0, 3]]), np.array([4.0, 4.0]))
    assert _volume(Implicit(pill, 0.5), [-9.9] * 3, 100) == pytest.approx(np.pi * 16 * (6 + 16 / 3), rel=0.01)
    half = Cut(pill, np.zeros(3), np.array([0.0, 0, 1.0]))
    assert _volume(Implicit(half, 0.5), [-9.9] * 3, 100) == pytest.approx(np.pi * 8 * (6 + 16 / 3), rel=0.02)


def test_a_body_is_the_same_near_a_place():
    generator = np.random.default_rng(2)
    limb = Limb(generator.uniform(-40, 40, (9, 3)), generator.uniform(2, 8, 9))
    lobe = Lobe(np.array([10.0, 0, 0]), np.array([12.0, 9.0, 20.0]), np.eye(3), 2.5)
    body = Cut(
        Joined((limb, lobe, grown(lobe, -4.0)), 6.0),
        without=(Limb(np.array([[0.0, 0, 0], [9, 0, 0]]), np.full(2, 5.0)),),
    )
    for _ in range(40):
        center = generator.uniform(-40, 40, 3)
        points = center + generator.uniform(-4, 4, (60, 3))
        near = body.near(center, 7.0)(points)
        full = body(points)
        close = np.abs(full) < 3.0  # far from the surface the sign is what counts
        assert np.allclose(near[close], full[close], atol=1e-6) and np.array_equal(near < 0, full < 0)


@pytest.mark.parametrize("ratio", [1.0, 0.85, 0.7])
def test_elliptical_tubes_keep_their_area(ratio):
    z = np.linspace(-6, 6, 61)
    line = np.stack([0 * z, 0 * z, z], axis=1)
    side = np.tile([np.cos(0.4), np.sin(0.4), 0.0], (61, 1))
    tube = Tube(line, np.full(61, 1.5), wide_side=side, ratio=ratio)
    box, filled = tube.fraction(_cells([-4.0, -4.0, -1.0], 80, 0.1))
    plane = filled[10].astype(np.float64)
    assert plane.sum() * 0.01 == pytest.approx(np.pi * 1.5**2, rel=0.006)
    y, x = np.nonzero(plane > 0.5)
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(np.stack([x, y]))))
    assert spread[0] / spread[1] == pytest.approx(ratio, abs=0.02)
    assert box[0].stop - box[0].start > 20
