"""Centerline room: from a lumen segmentation to a tree of named vessels sampled every 0.25 mm."""

from .branch_editing import drawn_vessel, with_branch, without_branch
from .frames import rotation_minimizing_frames, unit_tangents
from .renaming import rename_vessel
from .tree import extract_tree
from .vessel_labels import label_vessels

__all__ = [
    "drawn_vessel",
    "extract_tree",
    "label_vessels",
    "rename_vessel",
    "rotation_minimizing_frames",
    "unit_tangents",
    "with_branch",
    "without_branch",
]
