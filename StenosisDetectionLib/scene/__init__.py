"""Scene: a study as MRML nodes, in the running Slicer or, with the slicer-core package, without it.

    nodes = build_scene(study, slicer.mrmlScene, volume_node)   # inside Slicer
    write_scene_files(study, directory)                         # .mrb, .seg.nrrd and one .mrk.json per vessel

Only this room imports `slicer`, and only inside functions; it calls MRML directly and never `slicer.util`, whose
functions look at the one scene of the application.
"""

from .application import create_scene
from .nodes import Prepared, ResultNodes, build_scene, prepare
from .reading import label_map_of_segmentation, volume_of_node
from .writing import write_scene, write_scene_files

__all__ = [
    "Prepared",
    "ResultNodes",
    "build_scene",
    "create_scene",
    "label_map_of_segmentation",
    "prepare",
    "volume_of_node",
    "write_scene",
    "write_scene_files",
]
