"""Centerline room: from a lumen segmentation to a tree of named vessels sampled every 0.25 mm."""

from .frames import rotation_minimizing_frames, unit_tangents

__all__ = ["rotation_minimizing_frames", "unit_tangents"]
