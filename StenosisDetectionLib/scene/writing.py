"""Scene files: `scene.mrb`, `segmentation.seg.nrrd` and `centerlines/<vessel>.mrk.json`, all of one scene.

In: a `StudyResult`. Out: files. Each is written into a temporary directory beside its place and moved there when it is
complete, so that no half-written file has its name. MRML writes mrk.json in LPS and says so in the file.
"""

import tempfile
from pathlib import Path
from typing import Any

from ..errors import StenosisDetectionError
from ..progress import StageReport, no_report
from ..study import StudyResult
from .application import create_scene
from .nodes import ResultNodes, build_scene
from .views import show_in_views

SCENE_FILE, SEGMENTATION_FILE, CENTERLINE_DIRECTORY = "scene.mrb", "segmentation.seg.nrrd", "centerlines"


def write_scene(study: StudyResult, path: Path | str) -> None:
    """Write a study as a Slicer scene (.mrb) with the CT in it.

    Raises
    ------
    StenosisDetectionError : slicer-core is not installed, or the file could not be written.
    """
    path = Path(path)
    scene, _ = _study_scene(study)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".scene-") as temporary:
        _write_bundle(scene, Path(temporary) / path.name).replace(path)


def write_scene_files(study: StudyResult, directory: Path | str, report: StageReport = no_report) -> list[Path]:
    """Write `scene.mrb`, `segmentation.seg.nrrd` and `centerlines/<vessel>.mrk.json` into an existing directory.

    The scene is built once. Files that exist are replaced. Returns the paths written.

    Raises
    ------
    StenosisDetectionError : slicer-core is not installed, or a file could not be written.
    """
    directory = Path(directory)
    report(0.0, "building the scene")
    scene, nodes = _study_scene(study)
    centerlines = directory / CENTERLINE_DIRECTORY
    centerlines.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".scene-") as name:
        temporary = Path(name)
        report(0.2, "compressing the scene")
        # The bundle comes first: writing a node gives it a file name of its own, which would end up in the bundle.
        written = {_write_bundle(scene, temporary / SCENE_FILE): directory / SCENE_FILE}
        report(0.9, "writing segmentation and centerlines")
        file = _write_node(nodes.segmentation, temporary / SEGMENTATION_FILE)
        written[file] = directory / SEGMENTATION_FILE
        for vessel, curve in nodes.curves.items():
            file = _write_node(curve, temporary / f"{vessel}.mrk.json")
            written[file] = centerlines / file.name
        for file, place in written.items():
            file.replace(place)
    report(1.0, "written")
    return list(written.values())


def _study_scene(study: StudyResult) -> tuple[Any, ResultNodes]:
    scene = create_scene()
    nodes = build_scene(study, scene)
    show_in_views(scene, study, nodes)
    # Noise leaves a CT hard to compress: the fastest setting takes two thirds of the time for the same size.
    nodes.volume.AddDefaultStorageNode()
    nodes.volume.GetStorageNode().SetCompressionParameter("gzip_fastest")
    return scene, nodes


def _write_bundle(scene: Any, path: Path) -> Path:
    # MRML puts the bundle together beside the file and needs an absolute path.
    if not scene.WriteToMRB(str(path.resolve())) or not path.is_file():
        raise StenosisDetectionError(
            f"could not write {path.name}: check the free space of the disk and its permissions"
        )
    return path


def _write_node(node: Any, path: Path) -> Path:
    node.AddDefaultStorageNode()
    storage = node.GetStorageNode()
    storage.SetFileName(str(path.resolve()))
    if not storage.WriteData(node) or not path.is_file():
        raise StenosisDetectionError(
            f"could not write {path.name}: check the free space of the disk and its permissions"
        )
    return path
