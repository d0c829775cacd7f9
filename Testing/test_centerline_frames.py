"""Frames along centerlines, against analytic curves."""

import numpy as np
import pytest

from StenosisDetectionLib.centerline import rotation_minimizing_frames, unit_tangents


def helix(radius: float, pitch: float, turns: float, step: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """Points and exact unit tangents of a helix sampled about every `step` mm."""
    speed = np.hypot(radius, pitch)
    count = round(turns * 2 * np.pi * speed / step) + 1
    t = np.linspace(0, turns * 2 * np.pi, count)
    points = np.stack([radius * np.cos(t), radius * np.sin(t), pitch * t], axis=1)
    tangents = np.stack([-radius * np.sin(t), radius * np.cos(t), np.full_like(t, pitch)], axis=1) / speed
    return points, tangents


def angles_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(np.sum(a * b, axis=1), -1, 1)))


def test_frames_are_orthonormal_and_right_handed():
    points, _ = helix(10, 3, 2)
    frames = rotation_minimizing_frames(points)
    np.testing.assert_allclose(frames @ frames.transpose(0, 2, 1), np.broadcast_to(np.eye(3), frames.shape), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(frames), 1, atol=1e-9)


def test_tangents_of_a_helix_are_exact_to_half_a_degree():
    points, exact = helix(10, 3, 2)
    assert angles_deg(unit_tangents(points), exact).max() < 0.5


def test_tangents_resist_jitter_of_a_tenth_of_a_millimeter():
    points, exact = helix(15, 3, 1)
    jitter = np.random.default_rng(0).normal(0, 0.1, points.shape)
    inner = slice(6, -6)
    assert np.median(angles_deg(unit_tangents(points + jitter), exact)[inner]) < 5


def test_frames_do_not_rotate_about_a_plane_curve():
    t = np.linspace(0, np.pi, 300)
    points = np.stack([20 * np.sin(t), 10 * np.sin(2 * t), np.zeros_like(t)], axis=1)  # has an inflection
    frames = rotation_minimizing_frames(points)
    height = frames[:, 1, 2]  # of the normal above the plane: constant for a rotation-minimizing frame
    np.testing.assert_allclose(height, height[0], atol=1e-6)


def test_total_rotation_over_a_helix_is_its_total_torsion():
    # The Frenet frame rotates about the tangent by torsion x length against the rotation-minimizing one.
    radius, pitch = 10.0, 4.0
    points, tangents = helix(radius, pitch, 1)
    frames = rotation_minimizing_frames(points)
    t = np.linspace(0, 2 * np.pi, len(points))
    frenet_normal = np.stack([-np.cos(t), -np.sin(t), np.zeros_like(t)], axis=1)
    frenet_binormal = np.cross(tangents, frenet_normal)
    angle = np.unwrap(
        np.arctan2(np.sum(frames[:, 1] * frenet_binormal, axis=1), np.sum(frames[:, 1] * frenet_normal, axis=1))
    )
    length = 2 * np.pi * np.hypot(radius, pitch)
    torsion = pitch / (radius**2 + pitch**2)
    assert angle[0] - angle[-1] == pytest.approx(torsion * length, abs=np.radians(0.5))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_short_paths_have_frames(count):
    frames = rotation_minimizing_frames(np.arange(3 * count, dtype=float).reshape(count, 3))
    assert frames.shape == (count, 3, 3)
    assert np.isfinite(frames).all()
    if count > 1:
        np.testing.assert_allclose(frames[:, 0], np.broadcast_to(np.ones(3) / np.sqrt(3), (count, 3)), atol=1e-9)


def test_repeated_points_and_reversals_stay_finite():
    points = np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=float)
    frames = rotation_minimizing_frames(points)
    np.testing.assert_allclose(np.linalg.norm(frames, axis=2), 1)
