"""Scene files: `scene.mrb`, `segmentation.seg.nrrd` and `centerlines/<vessel>.mrk.json`, all of one scene.

In: a `StudyResult`. Out: files. Each is written into a temporary directory beside its place and moved there when it is
complete, so that no half-written file has its name. MRML writes mrk.json in LPS and says so in the file.
"""

import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import StenosisDetectionError
from ..progress import MainThread, StageReport, here, no_report, part_of
from ..study import StudyResult
from .application import create_scene
from .nodes import ResultNodes, build_scene, prepare
from .views import show_in_views

SCENE_FILE, SEGMENTATION_FILE, CENTERLINE_DIRECTORY = "scene.mrb", "segmentation.seg.nrrd", "centerlines"

_CHUNK_BYTES = 2**22


class _StudyScene:
    """The scene of a study while its files are written; every method touches MRML and must run where that may be.

    Making the object touches none.
    """

    def __init__(self, study: StudyResult) -> None:
        self._study = study
        self._prepared = prepare(study)
        self._scene: Any = None
        self._nodes: ResultNodes | None = None

    def build(self) -> list[str]:
        """Make the scene and return the names of its vessels."""
        self._scene = create_scene()
        self._nodes = build_scene(self._study, self._scene, prepared=self._prepared)
        show_in_views(self._scene, self._study, self._nodes)
        # The bundle is compressed as a whole, where that needs no MRML.
        self._nodes.volume.AddDefaultStorageNode()
        self._nodes.volume.GetStorageNode().SetUseCompression(False)
        return list(self._nodes.curves)

    def save(self, folder: Path) -> None:
        """Write the whole scene into a folder."""
        self._check(self._scene.SaveSceneToSlicerDataBundleDirectory(str(folder.resolve())), SCENE_FILE)

    def write_segmentation(self, path: Path) -> None:
        """Write the segmentation alone."""
        assert self._nodes is not None
        self._write(self._nodes.segmentation, path)

    def write_curve(self, vessel: str, path: Path) -> None:
        """Write the centerline of a vessel alone."""
        assert self._nodes is not None
        self._write(self._nodes.curves[vessel], path)

    def close(self) -> None:
        """Let go of the scene, which ends its nodes."""
        self._scene = self._nodes = None

    def _write(self, node: Any, path: Path) -> None:
        node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(str(path.resolve()))
        self._check(storage.WriteData(node) and path.is_file(), path.name)

    @staticmethod
    def _check(written: bool, name: str) -> None:
        if not written:
            raise StenosisDetectionError(
                f"could not write {name}: check the free space of the disk and its permissions"
            )


def write_scene(study: StudyResult, path: Path | str) -> None:
    """Write a study as a Slicer scene (.mrb) with the CT in it.

    Raises
    ------
    StenosisDetectionError : slicer-core is not installed, or the file could not be written.
    """
    path = Path(path)
    scene = _StudyScene(study)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".scene-") as temporary:
        scene.build()
        folder = Path(temporary) / path.stem
        folder.mkdir()
        scene.save(folder)
        _bundle(folder, Path(temporary) / path.name, no_report).replace(path)


def write_scene_files(
    study: StudyResult, directory: Path | str, report: StageReport = no_report, main: MainThread = here
) -> list[Path]:
    """Write `scene.mrb`, `segmentation.seg.nrrd` and `centerlines/<vessel>.mrk.json` into an existing directory.

    The scene is built once. Files that exist are replaced. Returns the paths written.

    Parameters
    ----------
    main : runs the steps that touch MRML, which in Slicer must be its main thread.

    Raises
    ------
    StenosisDetectionError : slicer-core is not installed, or a file could not be written.
    """
    directory = Path(directory)
    report(0.0, "recording the study")
    scene = _StudyScene(study)
    report(0.1, "building the scene")
    try:
        vessels = main(scene.build)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".scene-") as name:
            temporary = Path(name)
            folder, curves = temporary / Path(SCENE_FILE).stem, temporary / CENTERLINE_DIRECTORY
            folder.mkdir()
            curves.mkdir()
            report(0.2, "writing the scene")
            # The bundle comes first: writing a node gives it a file name of its own, which would end up in the bundle.
            main(lambda: scene.save(folder))
            report(0.4, "writing segmentation and centerlines")
            main(lambda: scene.write_segmentation(temporary / SEGMENTATION_FILE))
            for vessel in vessels:
                main(partial(scene.write_curve, vessel, curves / f"{vessel}.mrk.json"))
            _bundle(folder, temporary / SCENE_FILE, part_of(report, 0.5, 1.0))
            (directory / CENTERLINE_DIRECTORY).mkdir(exist_ok=True)
            places = [Path(SCENE_FILE), Path(SEGMENTATION_FILE)]
            places += [Path(CENTERLINE_DIRECTORY) / f"{vessel}.mrk.json" for vessel in vessels]
            for place in places:
                (temporary / place).replace(directory / place)
    finally:
        main(scene.close)
    report(1.0, "written")
    return [directory / place for place in places]


def _bundle(folder: Path, path: Path, report: StageReport) -> Path:
    """Make the .mrb file of a scene's folder: a zip archive of it, as MRML's own writer makes it."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    total, done = sum(file.stat().st_size for file in files), 0
    # Noise leaves a CT hard to compress: the fastest setting takes a fraction of the time for nearly the same size.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files:
            place = zipfile.ZipInfo.from_file(file, file.relative_to(folder.parent).as_posix())
            place.compress_type = zipfile.ZIP_DEFLATED
            with file.open("rb") as source, archive.open(place, "w", force_zip64=True) as target:
                while chunk := source.read(_CHUNK_BYTES):
                    report(done / total, "compressing the scene")
                    target.write(chunk)
                    done += len(chunk)
    return path
