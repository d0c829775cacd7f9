"""Centerline room: from a lumen segmentation to a tree of named vessels sampled every 0.25 mm."""

from .frames import rotation_minimizing_frames, unit_tangents
from .tree import extract_tree
from .vessel_labels import label_vessels

__all__ = ["extract_tree", "label_vessels", "rotation_minimizing_frames", "unit_tangents"]
